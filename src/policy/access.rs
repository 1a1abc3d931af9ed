//! What a holder may do at an endpoint whatever the request is: the ways in, and the conditions that close them.

use std::collections::BTreeSet;
use std::fmt;

use super::decision::ScheduleUse;
use super::rules::{Effect, Policy, Rule};
use super::set::PolicySet;
use crate::domain::{EndpointId, PolicyName, ScheduleName};

/// What a holder may do at an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Never,
    /// What one of the ways allows.
    Allowed {
        /// At least one.
        ways: BTreeSet<Way>,
        /// Conditions of which none may hold.
        unless: BTreeSet<String>,
    },
}

/// One way in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// When it is open.
    pub hours: Hours,
    /// The condition that must hold.
    pub when: Option<String>,
}

/// When a way is open.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hours {
    /// At any time.
    Exempt,
    /// In the hours of this schedule.
    Named(ScheduleName),
}

impl From<&ScheduleUse> for Hours {
    fn from(schedule: &ScheduleUse) -> Self {
        match schedule {
            ScheduleUse::Exempt => Self::Exempt,
            ScheduleUse::Named(_, name) => Self::Named(name.clone()),
        }
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exempt => out.write_str("exempt"),
            Self::Named(name) => write!(out, "{name}"),
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Allowed { ways, unless } = self else { return out.write_str("not allowed") };
        let told: Vec<String> = ways
            .iter()
            .map(|way| match (&way.when, &way.hours) {
                (None, Hours::Exempt) => "allowed at any time".to_owned(),
                (None, Hours::Named(name)) => format!("allowed in `{name}`"),
                (Some(when), Hours::Exempt) => format!("allowed at any time if `{when}`"),
                (Some(when), Hours::Named(name)) => format!("allowed in `{name}` if `{when}`"),
            })
            .collect();
        out.write_str(&told.join(", or "))?;
        unless.iter().try_for_each(|condition| write!(out, ", unless `{condition}`"))
    }
}

impl Access {
    /// The hours of its ways, where conditions take no part in the question.
    #[must_use]
    pub fn hours(&self) -> BTreeSet<&Hours> {
        match self {
            Self::Never => BTreeSet::new(),
            Self::Allowed { ways, .. } => ways.iter().map(|way| &way.hours).collect(),
        }
    }

    /// Whether both ask for the same conditions, whatever the hours.
    #[must_use]
    pub fn same_conditions(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Allowed { ways, unless }, Self::Allowed { ways: others, unless: other_unless }) => {
                let when = |ways: &BTreeSet<Way>| ways.iter().map(|way| way.when.clone()).collect::<BTreeSet<_>>();
                unless == other_unless && when(ways) == when(others)
            }
            (Self::Never, Self::Never) => true,
            (Self::Never, Self::Allowed { .. }) | (Self::Allowed { .. }, Self::Never) => false,
        }
    }
}

impl PolicySet {
    /// The way in that a rule opens; `None` where there is no such rule, or it opens none.
    #[must_use]
    pub fn way_of(&self, policy: &str, rule: &str) -> Option<Way> {
        let policy = self.policy_called(policy)?;
        let rule = policy.rules.iter().find(|known| known.id.as_str() == rule)?;
        match rule.effect {
            Effect::Allow => Some(Way { hours: Hours::from(&policy.schedule), when: condition_of(rule) }),
            Effect::Deny => None,
        }
    }

    /// The conditions under which these policies deny an endpoint; `None` is always.
    #[must_use]
    pub fn denials<'n>(
        &self,
        held: impl Iterator<Item = &'n PolicyName>,
        endpoint: &EndpointId,
    ) -> BTreeSet<Option<String>> {
        let rules = held.filter_map(|name| self.policy(name)).flat_map(|policy| &policy.rules);
        let denies = |rule: &&Rule| rule.effect == Effect::Deny && rule.endpoints.contains(endpoint);
        rules.filter(denies).map(condition_of).collect()
    }
}

fn condition_of(rule: &Rule) -> Option<String> {
    rule.condition.as_ref().map(|condition| condition.source().to_owned())
}

/// What one policy adds to what its holder may do at an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Part {
    refuses: bool,
    ways: BTreeSet<Way>,
    unless: BTreeSet<String>,
}

impl Part {
    /// Of a policy that lets its holder do nothing.
    pub(super) fn refusing() -> Self {
        Self { refuses: true, ..Self::default() }
    }

    /// Of a set that is not held to its grants.
    pub(super) fn open(hours: Hours) -> Self {
        Self { ways: BTreeSet::from([Way { hours, when: None }]), ..Self::default() }
    }

    pub(super) fn of(policy: &Policy, endpoint: &EndpointId) -> Self {
        let mut part = Self::default();
        for rule in policy.rules.iter().filter(|rule| rule.endpoints.contains(endpoint)) {
            match (rule.effect, condition_of(rule)) {
                (Effect::Deny, None) => part.refuses = true,
                (Effect::Deny, Some(when)) => drop(part.unless.insert(when)),
                (Effect::Allow, when) => drop(part.ways.insert(Way { hours: Hours::from(&policy.schedule), when })),
            }
        }
        part
    }

    /// What a holder of all these may do. That a condition may fail when it is evaluated is not looked at.
    pub(super) fn together<'a>(parts: impl Iterator<Item = &'a Self>) -> Access {
        let mut all = Self::default();
        for part in parts {
            all.refuses |= part.refuses;
            all.ways.extend(part.ways.iter().cloned());
            all.unless.extend(part.unless.iter().cloned());
        }
        if all.refuses || all.ways.is_empty() {
            return Access::Never;
        }
        let open: Vec<Hours> = all.ways.iter().filter(|way| way.when.is_none()).map(|way| way.hours.clone()).collect();
        let always = open.contains(&Hours::Exempt);
        // A way that lies wholly within another adds nothing.
        all.ways.retain(|way| match (&way.when, &way.hours) {
            (None, Hours::Exempt) => true,
            (None, Hours::Named(_)) => !always,
            (Some(_), hours) => !always && !open.contains(hours),
        });
        Access::Allowed { ways: all.ways, unless: all.unless }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(hours: &str, when: Option<&str>) -> Way {
        let hours = match hours {
            "exempt" => Hours::Exempt,
            name => Hours::Named(name.parse().expect("a name")),
        };
        Way { hours, when: when.map(str::to_owned) }
    }

    fn part(ways: &[Way], unless: &[&str]) -> Part {
        let unless = unless.iter().map(|text| (*text).to_owned()).collect();
        Part { refuses: false, ways: ways.iter().cloned().collect(), unless }
    }

    fn told(parts: &[Part]) -> String {
        Part::together(parts.iter()).to_string()
    }

    #[test]
    fn a_way_within_another_is_not_told() {
        let narrow = part(&[way("default", Some("x"))], &[]);
        assert_eq!(told(std::slice::from_ref(&narrow)), "allowed in `default` if `x`");
        assert_eq!(told(&[narrow.clone(), part(&[way("default", None)], &[])]), "allowed in `default`");
        assert_eq!(
            told(&[narrow.clone(), part(&[way("night", None)], &[])]),
            "allowed in `default` if `x`, or allowed in `night`"
        );
        assert_eq!(told(&[narrow, part(&[way("exempt", None)], &[])]), "allowed at any time");
    }

    #[test]
    fn one_refusal_closes_all_ways_and_a_condition_some() {
        let open = part(&[way("exempt", None)], &[]);
        assert_eq!(told(&[open.clone(), part(&[], &["y"])]), "allowed at any time, unless `y`");
        assert_eq!(told(&[open, Part::refusing()]), "not allowed");
        assert_eq!(told(&[]), "not allowed");
        assert_eq!(told(&[part(&[], &["y"])]), "not allowed");
    }
}
