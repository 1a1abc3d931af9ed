//! Step 4: the endpoint exists, a granted policy allows it and none denies it; in a batch, for each of its parts.

use jiff::Timestamp;

use crate::audit::Step;
use crate::directory::Credential;
use crate::domain::Code;
use crate::policy::{
    Allowed, Body, BodyForm, Facts, NotResolved, Operation, Operations, PolicySet, Refused, Requester, Route,
};

use super::authenticate::Known;
use super::{Denial, Gate, RequestBody, Trail};

/// Proof: a rule allows this request at this endpoint, and each operation in it where it is a batch.
#[must_use]
pub(super) struct Permitted<'a> {
    pub(super) known: Known<'a>,
    pub(super) allowed: Allowed,
    /// The further operations of a batch.
    pub(super) others: Vec<Allowed>,
    pub(super) upstream_target: String,
    /// The generation of the policies that were asked.
    pub(super) generation: u64,
}

impl Permitted<'_> {
    /// Each operation that is permitted.
    pub(super) fn each(&self) -> impl Iterator<Item = &Allowed> {
        std::iter::once(&self.allowed).chain(&self.others)
    }
}

impl Gate {
    pub(super) async fn permit<'a>(
        &self,
        known: Known<'a>,
        body: &mut dyn RequestBody,
        trail: &mut Trail,
    ) -> Result<Permitted<'a>, Denial> {
        let policies = self.policies.current();
        trail.policies(&policies);
        let head = &known.running.request.head;
        let route = policies
            .route(head.method(), head.target().path())
            .ok_or_else(|| not_permitted(Step::Endpoint, "no endpoint has this method and path"))?;
        let operations = operations(&known, &policies, route, body).await?;
        let first = operations.first().matched();
        trail.endpoint(first.endpoint().id());
        trail.passed(Step::Endpoint, operations.to_string());
        let (allowed, others) = decide_each(&policies, &known, &operations, trail)?;
        let sent = head.target().query();
        let forced = self.owed(&known, &allowed)?.forced_query(sent);
        let upstream_target = first.upstream_target(forced.as_deref().or(sent));
        Ok(Permitted { known, allowed, others, upstream_target, generation: policies.generation() })
    }
}

/// Which of the endpoints that share the route is meant; looks into the body where they differ by it.
async fn operations<'p>(
    known: &Known<'_>,
    policies: &'p PolicySet,
    route: Route<'p>,
    body: &mut dyn RequestBody,
) -> Result<Operations<'p>, Denial> {
    let head = &known.running.request.head;
    let Some(limit) = route.needs_body() else {
        return policies.operations(route, head.target(), None).map_err(|why| unresolved(&why));
    };
    let form = if route.takes_odata_batch() { head.batch_body() } else { head.json_body().map(|()| BodyForm::Json) };
    let form = form.map_err(|reason| Denial::new(Step::Endpoint, Code::UnsupportedMediaType, reason))?;
    let bytes = body.read_whole(limit).await.map_err(|problem| Denial::body_unread(Step::Endpoint, problem, limit))?;
    policies.operations(route, head.target(), Some(Body { bytes: &bytes, form })).map_err(|why| unresolved(&why))
}

/// Every operation must be permitted as if it came alone; the first that is not refuses them all.
fn decide_each(
    policies: &PolicySet,
    known: &Known<'_>,
    operations: &Operations<'_>,
    trail: &mut Trail,
) -> Result<(Allowed, Vec<Allowed>), Denial> {
    let allowed = decide(policies, known, operations.first(), trail)?;
    let mut others = Vec::new();
    for operation in operations.iter().skip(1) {
        others.push(decide(policies, known, operation, trail)?);
    }
    trail.passed(Step::Policy, grounds(&allowed, &others));
    Ok((allowed, others))
}

/// What allows it; in a batch, for each endpoint once.
fn grounds(allowed: &Allowed, others: &[Allowed]) -> String {
    if others.is_empty() {
        return allowed.to_string();
    }
    let mut notes: Vec<String> =
        std::iter::once(allowed).chain(others).map(|one| format!("`{}` {one}", one.endpoint().id())).collect();
    notes.sort_unstable();
    notes.dedup();
    notes.join("; ")
}

fn decide(
    policies: &PolicySet,
    known: &Known<'_>,
    operation: &Operation<'_>,
    trail: &mut Trail,
) -> Result<Allowed, Denial> {
    let asked = &known.running.request.asked;
    let head = &known.running.request.head;
    let (kind, granted) = (known.credential.kind, &known.credential.grants);
    let facts = Facts {
        method: head.method(),
        path: head.target().path(),
        query: head.target().query(),
        headers: Some(asked.head.headers),
        tls: Some(asked.tls.is_some()),
        client: asked.client,
        requester: Some(Requester::of(&known.account, &known.credential)),
        now: asked.now,
    };
    policies.decide_operation_for(operation, (kind, granted), facts).map_err(|refused| {
        // The row names the endpoint that stopped it, which in a batch need not be the first.
        trail.endpoint(operation.matched().endpoint().id());
        trail.decided_by(refused.policy(), refused.rule());
        let denial = not_permitted(Step::Policy, refused_because(&refused, &known.credential, asked.now));
        match refused {
            Refused::ConditionFailed { .. } => denial.recorded_as(Code::ConditionFailed),
            Refused::NoRuleMatched
            | Refused::DeniedByRule { .. }
            | Refused::PolicyBroken { .. }
            | Refused::Unfulfillable(_) => denial,
        }
    })
}

/// So many granted policies are named in a row.
const NAMED: usize = 16;

/// Why it is refused; where nothing allows it, also what was looked at, for grants change.
fn refused_because(refused: &Refused, credential: &Credential, now: Timestamp) -> String {
    match refused {
        Refused::NoRuleMatched => {
            let live = || credential.grants.iter().filter(|grant| grant.is_live(now));
            let held: Vec<String> = live().take(NAMED).map(|grant| format!("`{}`", grant.policy)).collect();
            let more = match live().count().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let held = if held.is_empty() { "nothing".to_owned() } else { held.join(", ") };
            format!("{refused} (granted: {held}{more})")
        }
        Refused::DeniedByRule { .. }
        | Refused::ConditionFailed { .. }
        | Refused::Unfulfillable(_)
        | Refused::PolicyBroken { .. } => refused.to_string(),
    }
}

/// The client sees no difference between unmapped, not granted and denied by a rule; the audit row does.
fn not_permitted(step: Step, reason: impl Into<std::borrow::Cow<'static, str>>) -> Denial {
    Denial::new(step, Code::NotPermitted, reason)
}

fn unresolved(not_resolved: &NotResolved) -> Denial {
    match not_resolved {
        NotResolved::BodyUnreadable(_) | NotResolved::NotABatch(_) => {
            Denial::new(Step::Endpoint, Code::BadRequest, not_resolved.to_string())
        }
        NotResolved::NoCandidate
        | NotResolved::SeveralCandidates
        | NotResolved::SpeltBatch
        | NotResolved::Part { .. } => not_permitted(Step::Endpoint, not_resolved.to_string()),
    }
}
