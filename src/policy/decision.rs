//! Deciding: a deny always wins, a rule that cannot be evaluated denies, and what no rule allows is denied.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::condition::Condition;
use super::endpoint::{Endpoint, Matched};
use super::facts::{Facts, Grants};
use super::index::Concerned;
use super::obligations::{Obligations, Owed, Unfulfillable};
use super::rules::{Effect, Policy, Rule};
use super::set::PolicySet;
use crate::directory::{CredentialKind, Grant};
use crate::domain::{PolicyName, RuleId, ScheduleName, UpstreamName};
use crate::schedule::Schedule;

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
    obligations: Obligations,
}

/// One policy that allows the request.
#[derive(Debug)]
pub struct AllowedBy(Grounds);

/// What an allowance rests on.
#[derive(Debug)]
enum Grounds {
    /// The credential set is unrestricted, and this is the schedule that counts for it.
    Unrestricted(ScheduleUse),
    /// The rule at this place of the policy's list; `rank` is its order among the policies of the endpoint.
    Rule { policy: Arc<Policy>, place: usize, rank: usize },
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

    /// What all allowing rules demand besides, open or not: an hour that passes lifts no mask.
    #[must_use]
    pub fn obligations(&self) -> &Obligations {
        &self.obligations
    }
}

impl AllowedBy {
    /// The policy; `None` for an unrestricted credential set.
    #[must_use]
    pub fn policy(&self) -> Option<&Arc<Policy>> {
        match &self.0 {
            Grounds::Unrestricted(_) => None,
            Grounds::Rule { policy, .. } => Some(policy),
        }
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> Option<&RuleId> {
        match &self.0 {
            Grounds::Unrestricted(_) => None,
            Grounds::Rule { policy, place, .. } => policy.rules.get(*place).map(|rule| &rule.id),
        }
    }

    /// When it applies.
    #[must_use]
    pub fn schedule(&self) -> &ScheduleUse {
        match &self.0 {
            Grounds::Unrestricted(schedule) => schedule,
            Grounds::Rule { policy, .. } => &policy.schedule,
        }
    }

    /// `policy/rule`, or `unrestricted`.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_name(&mut name);
        name
    }

    fn write_name(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        match (self.policy(), self.rule()) {
            (Some(policy), Some(rule)) => write!(out, "{}/{rule}", policy.name),
            _ => out.write_str("unrestricted"),
        }
    }

    /// Exempt ones first, then by the names of the policies; one policy allows a request by one rule only.
    fn compare(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Grounds::Rule { rank: one, .. }, Grounds::Rule { rank: other, .. }) => one.cmp(other),
            (Grounds::Unrestricted(_), _) | (_, Grounds::Unrestricted(_)) => self.order().cmp(&other.order()),
        }
    }

    fn order(&self) -> (bool, &str) {
        let in_hours = matches!(self.schedule(), ScheduleUse::Named(..));
        (in_hours, self.policy().map_or("unrestricted", |policy| policy.name.as_str()))
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("allowed by ")?;
        for (place, by) in self.by.iter().enumerate() {
            out.write_str(if place == 0 { "" } else { ", " })?;
            by.write_name(out)?;
        }
        if self.obligations.is_empty() { Ok(()) } else { write!(out, "; {}", self.obligations) }
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
    /// What the allowing rules demand cannot be done.
    #[error(transparent)]
    Unfulfillable(#[from] Unfulfillable),
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
            Self::Unfulfillable(why) => Some(why.policy()),
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
            Self::Unfulfillable(why) => Some(why.rule()),
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
        let mut here = self.here(matched.endpoint());
        let mut by = Vec::with_capacity(here.len());
        let mut owed = Vec::new();
        let held = match grants {
            Grants::Bounded(held) => held,
            Grants::Unrestricted(held) => {
                by.extend(self.unrestricted());
                held
            }
        };
        for name in held {
            if !self.none_is_broken() && self.is_broken(name) {
                return Err(Refused::PolicyBroken { policy: name.clone() });
            }
            // A grant to a policy that does not exist gives nothing.
            let Some(concerned) = here.of(name) else { continue };
            by.extend(weigh(concerned, matched, facts, &mut owed)?);
        }
        if by.is_empty() {
            return Err(Refused::NoRuleMatched);
        }
        by.sort_unstable_by(AllowedBy::compare);
        let obligations = Obligations::of(owed)?;
        Ok(Allowed { endpoint: Arc::clone(matched.shared_endpoint()), by, obligations })
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
        self.decide(matched, Grants::of(kind, &mut held), facts)
    }

    /// Whether a rule of these policies looks at the query of a request at this endpoint.
    pub fn looks_at_query<'n>(&self, matched: &Matched<'_>, mut held: impl Iterator<Item = &'n PolicyName>) -> bool {
        let mut here = self.here(matched.endpoint());
        held.any(|name| {
            here.of(name).is_some_and(|concerned| {
                concerned.rules().any(|(_, rule)| rule.condition.as_ref().is_some_and(Condition::uses_query))
            })
        })
    }

    /// Whether a rule of these policies looks at what no row keeps: the headers, and whether the connection was TLS.
    pub fn looks_at_connection<'n>(
        &self,
        matched: &Matched<'_>,
        mut held: impl Iterator<Item = &'n PolicyName>,
    ) -> bool {
        let mut here = self.here(matched.endpoint());
        held.any(|name| {
            here.of(name).is_some_and(|concerned| {
                concerned.rules().any(|(_, rule)| rule.condition.as_ref().is_some_and(Condition::uses_connection))
            })
        })
    }

    /// Everything that is mapped, in the hours of the default schedule. Without that schedule nothing.
    fn unrestricted(&self) -> Option<AllowedBy> {
        let name = super::default_schedule_name()?;
        let schedule = self.shared_schedule(&name)?;
        Some(AllowedBy(Grounds::Unrestricted(ScheduleUse::Named(Arc::clone(schedule), name))))
    }
}

/// What one policy says: its allowing rule with the smallest id, where none of its rules denies.
///
/// What any of its allowing rules demands is added to `owed`.
pub(super) fn weigh(
    concerned: &Concerned,
    matched: &Matched<'_>,
    facts: &Facts<'_>,
    owed: &mut Vec<Owed>,
) -> Result<Option<AllowedBy>, Refused> {
    let policy = concerned.policy();
    let mut allowing = None;
    for (place, rule) in concerned.rules() {
        if !applies(policy, rule, matched, facts)? {
            continue;
        }
        match rule.effect {
            Effect::Deny => {
                let (policy, rule, at) = named(policy, rule);
                return Err(Refused::DeniedByRule { policy, rule, at });
            }
            Effect::Allow => {
                owed.extend(Owed::by(policy, rule));
                allowing.get_or_insert(place);
            }
        }
    }
    Ok(allowing.map(|place| AllowedBy(Grounds::Rule { policy: Arc::clone(policy), place, rank: concerned.rank() })))
}

/// Whether a rule is in force, for this client, and its condition holds. A condition that cannot be evaluated refuses the
/// request, on an allow rule too.
pub(super) fn applies(policy: &Policy, rule: &Rule, matched: &Matched<'_>, facts: &Facts<'_>) -> Result<bool, Refused> {
    if rule.has_ended(facts.now) || !rule.is_for(facts.client) {
        return Ok(false);
    }
    let Some(condition) = &rule.condition else { return Ok(true) };
    condition.holds(facts, matched.parameters()).map_err(|message| {
        let (policy, rule, at) = named(policy, rule);
        Refused::ConditionFailed { policy, rule, at, message }
    })
}

pub(super) fn named(policy: &Policy, rule: &Rule) -> (PolicyName, RuleId, String) {
    (policy.name.clone(), rule.id.clone(), format!("{}:{}", policy.file.display(), rule.line))
}
