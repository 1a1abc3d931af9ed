//! The same request before today's policies. Only what is a matter of policy is asked again: endpoint and rules.

use serde::Serialize;

use super::super::Control;
use crate::audit::{Kind, Row, Step};
use crate::directory::{Account, Credential, CredentialKind, CredentialState};
use crate::domain::CanonicalPath;
use crate::policy::{Allowed, AllowedBy, Facts, Grants, Matched, PolicySet, Refused, Requester};

/// What takes no part in the comparison.
const NOT_REPLAYED: &str = "Schedule, kill switches and limits are not asked again.";

/// What today's policies say to the request of a row.
#[derive(Debug, Serialize)]
pub(super) struct Today {
    /// `allowed` or `denied`; `None` where it cannot be told.
    decision: Option<&'static str>,
    /// Whether that is what was decided then; `None` where that cannot be told.
    same: Option<bool>,
    /// On what grounds, or why it cannot be told.
    why: String,
}

impl Today {
    fn unknown(why: impl Into<String>) -> Self {
        Self { decision: None, same: None, why: why.into() }
    }
}

/// What the policies said then.
enum Then {
    Allowed,
    Denied,
    /// The request was stopped before.
    NotAsked,
}

/// What the policies say now.
enum Now {
    Allowed(Allowed),
    Refused(Refused),
    NoEndpoint(String),
}

impl Control {
    pub(super) fn today(&self, row: &Row) -> Option<Today> {
        if Kind::from_text(&row.kind) != Some(Kind::Relay) {
            return None;
        }
        Some(self.decide_again(row).unwrap_or_else(Today::unknown))
    }

    fn decide_again(&self, row: &Row) -> Result<Today, &'static str> {
        let Some(id) = row.credential else {
            return Err("It cannot be told: whose request it was is not known.");
        };
        let snapshot = self.directory.snapshot();
        let credential =
            snapshot.credential(id).ok_or("It cannot be told: the credential set does not exist any more.")?;
        let policies = self.policies.current();
        let account = snapshot
            .account(credential.account)
            .ok_or("It cannot be told: the account of the credential set does not exist any more.")?;
        let (now, redacted) = ask(row, &policies, (account, credential), self.clock.now())?;
        let mut today = compared(row, &now);
        if redacted {
            today.why.push_str(" The query was redacted in the row, and a rule looks at the query: it may differ.");
        }
        match credential.state {
            CredentialState::Active => {}
            CredentialState::Disabled => today.why.push_str(" The credential set is disabled now."),
            CredentialState::Revoked => today.why.push_str(" The credential set is revoked now."),
        }
        today.why.push(' ');
        today.why.push_str(NOT_REPLAYED);
        Ok(today)
    }
}

/// What the policies say now, with the grants as they are now, and whether a query was asked that is not the one sent.
fn ask(
    row: &Row,
    policies: &PolicySet,
    (account, credential): (&Account, &Credential),
    now: jiff::Timestamp,
) -> Result<(Now, bool), &'static str> {
    let path = CanonicalPath::parse(row.path.as_bytes())
        .map_err(|_| "It cannot be told: the request has no path that has one meaning.")?;
    let matched = match endpoint(row, policies, &path)? {
        Ok(matched) => matched,
        Err(why) => return Ok((Now::NoEndpoint(why), false)),
    };
    let client = row.client.as_deref().and_then(|address| address.parse().ok());
    let requester = Some(Requester::of(account, credential));
    let facts = Facts { client, requester, ..Facts::new(&row.method, &path, row.query.as_deref(), row.at) };
    let live = || credential.grants.iter().filter(|grant| grant.is_live(now)).map(|grant| &grant.policy);
    if policies.looks_at_connection(&matched, live()) {
        return Err("It cannot be told: a rule looks at the headers or at TLS, which rows do not keep.");
    }
    let mut held = live();
    let grants = match credential.kind {
        CredentialKind::Bounded => Grants::Bounded(&mut held),
        CredentialKind::Unrestricted => Grants::Unrestricted(&mut held),
    };
    let decided = policies.decide(&matched, grants, &facts).map_or_else(Now::Refused, Now::Allowed);
    let redacted = row.query.as_deref().is_some_and(|query| query.contains("[redacted]"));
    Ok((decided, redacted && policies.looks_at_query(&matched, live())))
}

/// The endpoint that is meant today; the inner error says why there is none.
fn endpoint<'p>(
    row: &Row,
    policies: &'p PolicySet,
    path: &CanonicalPath,
) -> Result<Result<Matched<'p>, String>, &'static str> {
    let Some(route) = policies.route(&row.method, path) else {
        return Ok(Err("no endpoint has this method and path".to_owned()));
    };
    if route.needs_body().is_none() {
        let resolved = route.resolve(None).map_err(|why| why.to_string());
        return Ok(resolved.and_then(|matched| {
            if matched.leads_to_batch() {
                Err("a `$batch` carries requests that no rule would see".into())
            } else {
                Ok(matched)
            }
        }));
    }
    let note = |step: Step| row.verdicts.iter().find(|(name, ..)| name == step.as_str()).map(|(.., note)| note);
    if note(Step::Endpoint).is_some_and(|note| note.starts_with("a batch of ")) {
        return Err("It cannot be told: it was a batch, and bodies are not kept.");
    }
    // The body decided between endpoints; the row says for which.
    let endpoint = row.endpoint.as_deref();
    let endpoint = endpoint.ok_or("It cannot be told: the endpoint depends on the body, and bodies are not kept.")?;
    route.named(endpoint).map(Ok).ok_or("It cannot be told: the endpoint depends on the body, and bodies are not kept.")
}

fn compared(row: &Row, now: &Now) -> Today {
    let then = then(row);
    let (decision, grounds) = match now {
        Now::Allowed(allowed) => ("allowed", allowed.to_string()),
        Now::Refused(refused) => ("denied", refused.to_string()),
        Now::NoEndpoint(why) => ("denied", why.clone()),
    };
    let same = match then {
        Then::Allowed => Some(decision == "allowed"),
        Then::Denied => Some(decision == "denied"),
        Then::NotAsked => None,
    };
    let verdict = match same {
        Some(true) if by_another_rule(row, now) => "Today's policies would decide the same, by another rule",
        Some(true) => "Today's policies would decide the same",
        Some(false) => "Today's policies would decide differently",
        None => "The policies were not asked then; today they would decide",
    };
    let grounds = if grounds.starts_with(decision) { grounds } else { format!("{decision}, {grounds}") };
    Today { decision: Some(decision), same, why: format!("{verdict}: {grounds}.") }
}

fn then(row: &Row) -> Then {
    let said =
        |step: Step| row.verdicts.iter().find(|(name, ..)| name == step.as_str()).map(|(_, said, _)| said == "allowed");
    match (said(Step::Endpoint), said(Step::Policy)) {
        (_, Some(true)) => Then::Allowed,
        (Some(false), _) | (_, Some(false)) => Then::Denied,
        (_, None) => Then::NotAsked,
    }
}

fn by_another_rule(row: &Row, now: &Now) -> bool {
    let (Some(policy), Some(rule)) = (&row.policy, &row.rule) else { return false };
    match now {
        Now::Allowed(allowed) => {
            let name = format!("{policy}/{rule}");
            !allowed.by().iter().map(AllowedBy::name).any(|by| by == name)
        }
        Now::Refused(refused) => {
            refused.policy().is_none_or(|name| name.as_str() != policy.as_str())
                || refused.rule().is_none_or(|id| id.as_str() != rule.as_str())
        }
        Now::NoEndpoint(_) => true,
    }
}
