//! The same request before today's policies. Only what is a matter of policy is asked again: endpoint and rules.

use std::sync::Arc;

use serde::Serialize;

use super::super::Control;
use super::super::proposal::{Again, Asker, NotTold, Past};
use crate::audit::{Kind, Row, Step};
use crate::directory::{CredentialState, Grant};
use crate::policy::{AllowedBy, PolicySet, Requester};

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
        // With the grants as they are now.
        let now = self.clock.now();
        let grants: Vec<Grant> = credential.grants.iter().filter(|grant| grant.is_live(now)).cloned().collect();
        let asker =
            Asker { kind: credential.kind, grants: &grants, requester: Some(Requester::of(account, credential)) };
        let decided =
            Past::from(row).decide(&policies, &|| self.policies_then(row, &policies), asker).map_err(not_told)?;
        if decided.unrecorded {
            return Err("It cannot be told: a rule looks at the headers or at TLS, which rows do not keep.");
        }
        let mut today = compared(row, &decided.again);
        if decided.query_in_doubt {
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

    /// The policies that were in force when the row was written, where their texts are kept and can still be read.
    fn policies_then(&self, row: &Row, current: &Arc<PolicySet>) -> Option<Arc<PolicySet>> {
        let hash = row.policy_snapshot.as_deref()?;
        if hash == current.hash().to_string() {
            return Some(Arc::clone(current));
        }
        self.kept_policies(hash).ok().map(Arc::new)
    }
}

/// Why what the policies say now cannot be told.
fn not_told(why: NotTold) -> &'static str {
    match why {
        NotTold::Path => "It cannot be told: the request has no path that has one meaning.",
        NotTold::Batch => "It cannot be told: it was a batch, and bodies are not kept.",
        NotTold::Body => "It cannot be told: the endpoint depends on the body, and bodies are not kept.",
    }
}

fn compared(row: &Row, now: &Again) -> Today {
    let then = then(row);
    let (decision, grounds) = match now {
        Again::Allowed(allowed) => ("allowed", allowed.to_string()),
        Again::Refused(refused) => ("denied", refused.to_string()),
        Again::NoEndpoint(why) => ("denied", why.clone()),
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

fn by_another_rule(row: &Row, now: &Again) -> bool {
    let (Some(policy), Some(rule)) = (&row.policy, &row.rule) else { return false };
    match now {
        Again::Allowed(allowed) => {
            let name = format!("{policy}/{rule}");
            !allowed.by().iter().map(AllowedBy::name).any(|by| by == name)
        }
        Again::Refused(refused) => {
            refused.policy().is_none_or(|name| name.as_str() != policy.as_str())
                || refused.rule().is_none_or(|id| id.as_str() != rule.as_str())
        }
        Again::NoEndpoint(_) => true,
    }
}
