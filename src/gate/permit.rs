//! Step 4: the endpoint exists, a granted policy allows it and none denies it.

use std::sync::Arc;

use crate::audit::Step;
use crate::directory::CredentialKind;
use crate::domain::Code;
use crate::policy::{Allowed, Facts, Grants, Matched, NotResolved, PolicySet, Route};

use super::authenticate::Known;
use super::{Denial, Gate, RequestBody, Trail};

/// Proof: a rule allows this request at this endpoint.
#[must_use]
pub(super) struct Permitted<'a> {
    pub(super) known: Known<'a>,
    pub(super) allowed: Allowed,
    /// The same for each further part of a batch.
    pub(super) further: Vec<Allowed>,
    pub(super) upstream_target: String,
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
        let matched = resolve(&known, route, body).await?;
        trail.endpoint(matched.endpoint().id());
        if matched.leads_to_batch() {
            return Err(not_permitted(Step::Endpoint, "a `$batch` carries requests that no rule would see"));
        }
        trail.passed(Step::Endpoint, format!("`{}`", matched.endpoint().id()));
        let allowed = decide(&policies, &known, &matched, trail)?;
        let mut further = Vec::new();
        for part in matched.further_parts() {
            trail.passed(Step::Endpoint, format!("`{}`, part of a batch", part.endpoint().id()));
            further.push(decide(&policies, &known, &part, trail)?);
        }
        let upstream_target = matched.upstream_target(head.target().query());
        Ok(Permitted { known, allowed, further, upstream_target })
    }
}

/// Which of the endpoints that share the route is meant; looks into the body where they differ by it.
async fn resolve<'p>(known: &Known<'_>, route: Route<'p>, body: &mut dyn RequestBody) -> Result<Matched<'p>, Denial> {
    let Some(limit) = route.needs_body() else { return route.resolve(None).map_err(unresolved) };
    known
        .running
        .request
        .head
        .json_body()
        .map_err(|reason| Denial::new(Step::Endpoint, Code::UnsupportedMediaType, reason))?;
    let bytes = body.read_whole(limit).await.map_err(|problem| Denial::body_unread(Step::Endpoint, problem, limit))?;
    route.resolve(Some(&bytes)).map_err(unresolved)
}

fn decide(
    policies: &Arc<PolicySet>,
    known: &Known<'_>,
    matched: &Matched<'_>,
    trail: &mut Trail,
) -> Result<Allowed, Denial> {
    let asked = &known.running.request.asked;
    let head = &known.running.request.head;
    let live = known.credential.grants.iter().filter(|grant| grant.expires_at.is_none_or(|at| at > asked.now));
    let mut names = live.map(|grant| &grant.policy);
    let grants = match known.credential.kind {
        CredentialKind::Bounded => Grants::Bounded(&mut names),
        CredentialKind::Unrestricted => Grants::Unrestricted(&mut names),
    };
    let facts = Facts {
        method: head.method(),
        path: head.target().path(),
        query: head.target().query(),
        client: asked.client,
        now: asked.now,
    };
    match policies.decide(matched, grants, &facts) {
        Ok(allowed) => {
            trail.passed(Step::Policy, allowed.to_string());
            Ok(allowed)
        }
        Err(refused) => {
            trail.decided_by(refused.policy(), refused.rule());
            Err(not_permitted(Step::Policy, refused.to_string()))
        }
    }
}

/// The client sees no difference between unmapped, not granted and denied by a rule; the audit row does.
fn not_permitted(step: Step, reason: impl Into<std::borrow::Cow<'static, str>>) -> Denial {
    Denial::new(step, Code::NotPermitted, reason)
}

fn unresolved(not_resolved: NotResolved) -> Denial {
    match not_resolved {
        NotResolved::BodyUnreadable(reason) => {
            Denial::new(Step::Endpoint, Code::BadRequest, format!("the body has no single meaning: {reason}"))
        }
        NotResolved::SeveralPlaces => {
            not_permitted(Step::Endpoint, "the parts of the batch belong to endpoints that lead to different places")
        }
        NotResolved::NoCandidate | NotResolved::SeveralCandidates => {
            not_permitted(Step::Endpoint, "no endpoint on this path has a condition that fits the body")
        }
    }
}
