//! Deciding: a deny always wins, a rule that cannot be evaluated denies, and what no rule allows is denied.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use super::condition::Condition;
use super::endpoint::{Endpoint, Matched};
use super::rules::{Effect, Policy, Rule};
use super::set::PolicySet;
use crate::directory::{CredentialKind, Grant};
use crate::domain::{CanonicalPath, PolicyName, RuleId, ScheduleName, UpstreamName};
use crate::schedule::Schedule;

/// What is known of a request when it is decided.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The method.
    pub method: &'a str,
    /// The canonical path.
    pub path: &'a CanonicalPath,
    /// The query as sent.
    pub query: Option<&'a str>,
    /// Where it came from.
    pub client: Option<IpAddr>,
    /// When.
    pub now: Timestamp,
}

/// The policies that a credential set holds.
pub enum Grants<'a> {
    /// It may do what they allow.
    Bounded(&'a mut dyn Iterator<Item = &'a PolicyName>),
    /// It may do everything that none of them denies.
    Unrestricted(&'a mut dyn Iterator<Item = &'a PolicyName>),
}

impl fmt::Debug for Grants<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Bounded(_) => "Bounded",
            Self::Unrestricted(_) => "Unrestricted",
        })
    }
}

/// When a policy applies.
#[derive(Debug, Clone)]
pub enum ScheduleUse {
    /// At any time.
    Exempt,
    /// When this schedule is open.
    Named(Arc<Schedule>, ScheduleName),
}

/// Proof: at least one rule allows the request and none denies it.
#[derive(Debug)]
#[must_use]
pub struct Allowed {
    endpoint: Arc<Endpoint>,
    by: Vec<AllowedBy>,
}

/// One policy that allows the request.
#[derive(Debug)]
pub struct AllowedBy {
    policy: Option<Arc<Policy>>,
    rule: Option<RuleId>,
    schedule: ScheduleUse,
}

impl Allowed {
    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The first allowing policy that is open at this moment.
    #[must_use]
    pub fn open_at(&self, at: Timestamp) -> Option<&AllowedBy> {
        self.by.iter().find(|allowing| match allowing.schedule() {
            ScheduleUse::Exempt => true,
            ScheduleUse::Named(schedule, _) => schedule.is_open(at),
        })
    }

    /// Where the request goes.
    #[must_use]
    pub fn upstream(&self) -> &UpstreamName {
        self.endpoint.upstream()
    }

    /// The allowing policies, exempt ones first, then by name: the order of rules and grants changes nothing.
    #[must_use]
    pub fn by(&self) -> &[AllowedBy] {
        &self.by
    }
}

impl AllowedBy {
    /// The policy; `None` for an unrestricted credential set.
    #[must_use]
    pub fn policy(&self) -> Option<&Arc<Policy>> {
        self.policy.as_ref()
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> Option<&RuleId> {
        self.rule.as_ref()
    }

    /// When it applies.
    #[must_use]
    pub fn schedule(&self) -> &ScheduleUse {
        &self.schedule
    }

    /// `policy/rule`, or `unrestricted`.
    #[must_use]
    pub fn name(&self) -> String {
        match (&self.policy, &self.rule) {
            (Some(policy), Some(rule)) => format!("{}/{rule}", policy.name),
            _ => "unrestricted".to_owned(),
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.by.iter().map(AllowedBy::name).collect();
        write!(out, "allowed by {}", names.join(", "))
    }
}

/// Why a request is not allowed. The client never learns which.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No rule of a granted policy allows it.
    #[error("no rule of a granted policy allows it")]
    NoRuleMatched,
    /// A rule denies it.
    #[error("denied by rule `{policy}/{rule}` ({at})")]
    DeniedByRule {
        /// The policy.
        policy: PolicyName,
        /// The rule.
        rule: RuleId,
        /// File and line.
        at: String,
    },
    /// A rule's condition could not be evaluated.
    #[error("the condition of rule `{policy}/{rule}` ({at}) could not be evaluated: {message}")]
    ConditionFailed {
        /// The policy.
        policy: PolicyName,
        /// The rule.
        rule: RuleId,
        /// File and line.
        at: String,
        /// What went wrong.
        message: String,
    },
    /// A granted policy's file is broken and there is no earlier version.
    #[error("the file of the granted policy `{policy}` is broken")]
    PolicyBroken {
        /// The policy.
        policy: PolicyName,
    },
}

impl Refused {
    /// The policy that refused.
    #[must_use]
    pub fn policy(&self) -> Option<&PolicyName> {
        match self {
            Self::NoRuleMatched => None,
            Self::DeniedByRule { policy, .. }
            | Self::ConditionFailed { policy, .. }
            | Self::PolicyBroken { policy } => Some(policy),
        }
    }

    /// The rule that refused.
    #[must_use]
    pub fn rule(&self) -> Option<&RuleId> {
        match self {
            Self::NoRuleMatched | Self::PolicyBroken { .. } => None,
            Self::DeniedByRule { rule, .. } | Self::ConditionFailed { rule, .. } => Some(rule),
        }
    }
}

impl PolicySet {
    /// Decides about a request at an endpoint.
    ///
    /// # Errors
    /// When it is not allowed; denying is what happens by default.
    pub fn decide(&self, matched: &Matched<'_>, grants: Grants<'_>, facts: &Facts<'_>) -> Result<Allowed, Refused> {
        let mut by = Vec::new();
        let held = match grants {
            Grants::Bounded(held) => held,
            Grants::Unrestricted(held) => {
                by.extend(self.unrestricted());
                held
            }
        };
        for name in held {
            if self.is_broken(name) {
                return Err(Refused::PolicyBroken { policy: name.clone() });
            }
            // A grant to a policy that does not exist gives nothing.
            let Some(policy) = self.policy(name) else { continue };
            by.extend(weigh(policy, matched, facts)?);
        }
        if by.is_empty() {
            return Err(Refused::NoRuleMatched);
        }
        by.sort_by_key(|allowed| (matches!(allowed.schedule, ScheduleUse::Named(..)), allowed.name()));
        Ok(Allowed { endpoint: Arc::clone(matched.shared_endpoint()), by })
    }

    /// The same for a credential set: with the grants that are live at the time of the request.
    ///
    /// # Errors
    /// When it is not allowed.
    pub fn decide_for(
        &self,
        matched: &Matched<'_>,
        kind: CredentialKind,
        granted: &[Grant],
        facts: &Facts<'_>,
    ) -> Result<Allowed, Refused> {
        let mut held = granted.iter().filter(|grant| grant.is_live(facts.now)).map(|grant| &grant.policy);
        let grants = match kind {
            CredentialKind::Bounded => Grants::Bounded(&mut held),
            CredentialKind::Unrestricted => Grants::Unrestricted(&mut held),
        };
        self.decide(matched, grants, facts)
    }

    /// Whether a rule of these policies looks at something of a request at this endpoint that no audit row holds.
    pub fn looks_at_connection<'n>(
        &self,
        matched: &Matched<'_>,
        mut held: impl Iterator<Item = &'n PolicyName>,
    ) -> bool {
        let looks = |rule: &Rule| {
            rule.endpoints.contains(matched.endpoint().id())
                && rule.condition.as_ref().is_some_and(Condition::uses_connection)
        };
        held.any(|name| self.policy(name).is_some_and(|policy| policy.rules.iter().any(looks)))
    }

    /// Whether a rule of these policies looks at the query of a request at this endpoint.
    pub fn looks_at_query<'n>(&self, matched: &Matched<'_>, mut held: impl Iterator<Item = &'n PolicyName>) -> bool {
        let looks = |rule: &Rule| {
            rule.endpoints.contains(matched.endpoint().id())
                && rule.condition.as_ref().is_some_and(Condition::uses_query)
        };
        held.any(|name| self.policy(name).is_some_and(|policy| policy.rules.iter().any(looks)))
    }

    /// Everything that is mapped, in the hours of the default schedule. Without that schedule nothing.
    fn unrestricted(&self) -> Option<AllowedBy> {
        let name = super::default_schedule_name()?;
        let schedule = self.shared_schedule(&name)?;
        Some(AllowedBy { policy: None, rule: None, schedule: ScheduleUse::Named(Arc::clone(schedule), name) })
    }
}

/// What one policy says: its first allowing rule, where none of its rules denies.
pub(super) fn weigh(
    policy: &Arc<Policy>,
    matched: &Matched<'_>,
    facts: &Facts<'_>,
) -> Result<Option<AllowedBy>, Refused> {
    let mut allowing: Option<&Rule> = None;
    for rule in policy.rules.iter().filter(|rule| rule.endpoints.contains(matched.endpoint().id())) {
        if !applies(policy, rule, matched, facts)? {
            continue;
        }
        match rule.effect {
            Effect::Deny => {
                let (policy, rule, at) = named(policy, rule);
                return Err(Refused::DeniedByRule { policy, rule, at });
            }
            Effect::Allow => {
                // The smallest id, so that the order of rules changes nothing.
                if allowing.is_none_or(|known| rule.id < known.id) {
                    allowing = Some(rule);
                }
            }
        }
    }
    Ok(allowing.map(|rule| AllowedBy {
        policy: Some(Arc::clone(policy)),
        rule: Some(rule.id.clone()),
        schedule: policy.schedule.clone(),
    }))
}

/// Whether a rule's condition holds. One that cannot be evaluated refuses the request, on an allow rule too.
pub(super) fn applies(policy: &Policy, rule: &Rule, matched: &Matched<'_>, facts: &Facts<'_>) -> Result<bool, Refused> {
    let Some(condition) = &rule.condition else { return Ok(true) };
    condition.holds(facts, matched.parameters()).map_err(|message| {
        let (policy, rule, at) = named(policy, rule);
        Refused::ConditionFailed { policy, rule, at, message }
    })
}

pub(super) fn named(policy: &Policy, rule: &Rule) -> (PolicyName, RuleId, String) {
    (policy.name.clone(), rule.id.clone(), format!("{}:{}", policy.file.display(), rule.line))
}
