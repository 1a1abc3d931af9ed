//! What each granted policy says about a request, rule by rule: also where another step has stopped it before.

use serde::Serialize;

use super::super::Control;
use super::question::Question;
use crate::directory::{Credential, CredentialKind, Grant};
use crate::gate::{Asked, CleanHead, HeadLimits};
use crate::policy::{Body, BodyForm, Facts, Operation, PolicySet, Requester, Said, ScheduleUse, Told};

/// So many operations of a batch are told about.
const OPERATIONS: usize = 20;

/// What the granted policies say at one endpoint.
#[derive(Debug, Serialize)]
pub(super) struct AtEndpoint {
    endpoint: String,
    /// `METHOD template`.
    route: String,
    policies: Vec<Granted>,
    /// Of an unrestricted set: what it may do where no policy denies.
    unrestricted: Option<&'static str>,
}

/// What one granted policy says.
#[derive(Debug, Serialize)]
struct Granted {
    policy: String,
    /// `allows`, `denies`, `says nothing`, or why it gives nothing.
    said: &'static str,
    why: String,
    /// When it applies, and whether that is at the moment asked about.
    schedule: Option<String>,
    open: Option<bool>,
    rules: Vec<Rule>,
    /// How many of its rules are about other endpoints.
    other_rules: usize,
}

#[derive(Debug, Serialize)]
struct Rule {
    id: String,
    effect: &'static str,
    /// File and line.
    at: String,
    when: Option<String>,
    /// All that narrows it, in words.
    narrowed: Option<String>,
    /// What it demands where it allows.
    owes: Vec<String>,
    applies: Option<bool>,
    /// Why that cannot be told; such a rule denies.
    failed: Option<String>,
}

impl Control {
    /// Nothing where the request does not lead to an endpoint.
    pub(super) fn granted(
        &self,
        question: &Question,
        asked: &Asked<'_>,
        limits: HeadLimits,
        sender: &Credential,
        body: &[u8],
    ) -> Vec<AtEndpoint> {
        let Ok(head) = CleanHead::check(&asked.head, &limits) else { return Vec::new() };
        let policies = self.policies.current();
        let Some(route) = policies.route(head.method(), head.target().path()) else { return Vec::new() };
        let form = match (route.needs_body(), route.takes_odata_batch()) {
            (None, _) => None,
            (Some(_), true) => head.batch_body().ok(),
            (Some(_), false) => head.json_body().ok().map(|()| BodyForm::Json),
        };
        let needed = route.needs_body().is_some();
        let body = form.map(|form| Body { bytes: body, form });
        if needed && (body.is_none() || question.body.is_none()) {
            return Vec::new();
        }
        let Ok(operations) = policies.operations(route, head.target(), body) else { return Vec::new() };
        let snapshot = self.directory.snapshot();
        let account = snapshot.account(sender.account);
        let requester = account.map(|account| Requester::of(account, sender));
        let facts = Facts {
            method: head.method(),
            path: head.target().path(),
            query: head.target().query(),
            headers: Some(asked.head.headers),
            tls: Some(asked.tls.is_some()),
            client: asked.client,
            requester,
            now: asked.now,
        };
        operations.iter().take(OPERATIONS).map(|one| at_endpoint(&policies, sender, one, facts)).collect()
    }
}

fn at_endpoint(policies: &PolicySet, sender: &Credential, operation: &Operation<'_>, facts: Facts<'_>) -> AtEndpoint {
    let facts = operation.facts(facts);
    let endpoint = operation.matched().endpoint();
    let told = |grant: &Grant| {
        if grant.is_live(facts.now) {
            granted(policies, grant, policies.tell(&grant.policy, operation.matched(), &facts), &facts)
        } else {
            ended(grant)
        }
    };
    AtEndpoint {
        endpoint: endpoint.id().to_string(),
        route: format!("{} {}", facts.method, endpoint.path()),
        policies: sender.grants.iter().map(told).collect(),
        unrestricted: match sender.kind {
            CredentialKind::Bounded => None,
            CredentialKind::Unrestricted => {
                Some("the set is unrestricted: what no granted policy denies is allowed in the hours of `default`")
            }
        },
    }
}

fn ended(grant: &Grant) -> Granted {
    let at = grant.expires_at.map_or_else(String::new, |at| format!(" at {at}"));
    Granted {
        policy: grant.policy.to_string(),
        said: "gives nothing",
        why: format!("the grant ended{at}"),
        schedule: None,
        open: None,
        rules: Vec::new(),
        other_rules: 0,
    }
}

fn granted(policies: &PolicySet, grant: &Grant, told: Told, facts: &Facts<'_>) -> Granted {
    let (said, why) = match &told.said {
        Said::Missing => ("gives nothing", "there is no policy of this name".to_owned()),
        Said::Nothing if told.rules.is_empty() => ("says nothing", "none of its rules names the endpoint".to_owned()),
        Said::Nothing => ("says nothing", "none of its rules about the endpoint applies".to_owned()),
        Said::Allows(rule) => ("allows", format!("by rule `{rule}`")),
        Said::Refuses(refused) => ("denies", refused.to_string()),
    };
    let schedule = policies.policy(&grant.policy).map(|policy| policy.schedule().clone());
    let (schedule, open) = match schedule {
        None => (None, None),
        Some(ScheduleUse::Exempt) => (Some("exempt".to_owned()), Some(true)),
        Some(ScheduleUse::Named(schedule, name)) => (Some(name.to_string()), Some(schedule.is_open(facts.now))),
    };
    let rules = told.rules.into_iter().map(|rule| {
        let (applies, failed) = match rule.applies {
            Ok(applies) => (Some(applies), None),
            Err(why) => (None, Some(why)),
        };
        let narrowed = (!rule.terms.is_empty()).then(|| rule.terms.to_string());
        let when = rule.terms.when;
        Rule {
            id: rule.id.to_string(),
            effect: rule.effect,
            at: rule.at,
            when,
            narrowed,
            owes: rule.owes,
            applies,
            failed,
        }
    });
    let rules = rules.collect();
    Granted { policy: grant.policy.to_string(), said, why, schedule, open, rules, other_rules: told.others }
}
