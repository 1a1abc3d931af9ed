//! What a holder may do at an endpoint whatever the request is: the ways in, and the conditions that close them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::decision::ScheduleUse;
use super::obligations::{Obligations, Owed};
use super::rules::{Effect, Policy, Rule};
use super::set::PolicySet;
use super::terms::Terms;
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
        /// Terms of rules that deny, of which none may be met.
        unless: BTreeSet<Terms>,
        /// What rules demand of the request and of its answer.
        owes: BTreeSet<String>,
    },
}

/// One way in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// When it is open.
    pub hours: Hours,
    /// What must hold besides.
    pub terms: Terms,
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
        let Self::Allowed { ways, unless, owes } = self else { return out.write_str("not allowed") };
        let told = ways.iter().map(|way| {
            let hours = match &way.hours {
                Hours::Exempt => "allowed at any time".to_owned(),
                Hours::Named(name) => format!("allowed in `{name}`"),
            };
            if way.terms.is_empty() { hours } else { format!("{hours} if {}", way.terms) }
        });
        out.write_str(&told.collect::<Vec<_>>().join(", or "))?;
        unless.iter().try_for_each(|terms| write!(out, ", unless {terms}"))?;
        owes.iter().try_for_each(|demand| write!(out, ", with {demand}"))
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
            (
                Self::Allowed { ways, unless, owes },
                Self::Allowed { ways: other_ways, unless: other_unless, owes: other_owes },
            ) => {
                let terms = |ways: &BTreeSet<Way>| ways.iter().map(|way| way.terms.clone()).collect::<BTreeSet<_>>();
                unless == other_unless && owes == other_owes && terms(ways) == terms(other_ways)
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
            Effect::Allow => Some(Way { hours: Hours::from(&policy.schedule), terms: Terms::of(rule) }),
            Effect::Deny => None,
        }
    }

    /// What these policies demand of requests to these endpoints, with the rule that does.
    #[must_use]
    pub fn demands_at<'n>(
        &self,
        held: impl Iterator<Item = &'n PolicyName>,
        endpoints: &BTreeSet<&EndpointId>,
    ) -> BTreeSet<String> {
        let policies = held.filter_map(|name| self.policy(name));
        let rules = policies.flat_map(|policy| policy.rules.iter().map(move |rule| (policy, rule)));
        let there = rules.filter(|(_, rule)| endpoints.iter().any(|endpoint| rule.endpoints.contains(*endpoint)));
        let said = |(policy, rule): (&Arc<Policy>, &Rule)| {
            let by = format!("{}/{}", policy.name, rule.id);
            demands_of(policy, rule, &Terms::of(rule)).into_iter().map(move |demand| format!("{by}: {demand}"))
        };
        there.flat_map(said).collect()
    }

    /// The terms under which these policies deny an endpoint; empty ones are always met.
    #[must_use]
    pub fn denials<'n>(&self, held: impl Iterator<Item = &'n PolicyName>, endpoint: &EndpointId) -> BTreeSet<Terms> {
        let rules = held.filter_map(|name| self.policy(name)).flat_map(|policy| &policy.rules);
        let denies = |rule: &&Rule| rule.effect == Effect::Deny && rule.endpoints.contains(endpoint);
        rules.filter(denies).map(Terms::of).collect()
    }
}

/// What a rule demands where it allows. Obligations of all rules that apply add up, so its terms matter.
fn demands_of(policy: &Arc<Policy>, rule: &Rule, terms: &Terms) -> Vec<String> {
    let Ok(owed) = Obligations::of(Owed::by(policy, rule).into_iter().collect()) else { return Vec::new() };
    let said = |demand: String| if terms.is_empty() { demand } else { format!("{demand} if {terms}") };
    owed.in_words().into_iter().map(said).collect()
}

/// What one policy adds to what its holder may do at an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Part {
    refuses: bool,
    ways: BTreeSet<Way>,
    unless: BTreeSet<Terms>,
    owes: BTreeSet<String>,
}

impl Part {
    /// Of a policy that lets its holder do nothing.
    pub(super) fn refusing() -> Self {
        Self { refuses: true, ..Self::default() }
    }

    /// Of a set that is not held to its grants.
    pub(super) fn open(hours: Hours) -> Self {
        Self { ways: BTreeSet::from([Way { hours, terms: Terms::default() }]), ..Self::default() }
    }

    pub(super) fn of(policy: &Arc<Policy>, endpoint: &EndpointId) -> Self {
        Self::by(policy, policy.rules.iter().filter(|rule| rule.endpoints.contains(endpoint)))
    }

    /// The same without rules that have ended.
    pub(super) fn at(policy: &Arc<Policy>, endpoint: &EndpointId, now: Timestamp) -> Self {
        let here = policy.rules.iter().filter(|rule| rule.endpoints.contains(endpoint));
        Self::by(policy, here.filter(|rule| !rule.has_ended(now)))
    }

    /// Whether it stops everything there, whatever other policies say.
    pub(super) fn refuses(&self) -> bool {
        self.refuses
    }

    /// Whether it opens a way.
    pub(super) fn opens(&self) -> bool {
        !self.ways.is_empty()
    }

    /// Whether each way that it opens has a condition.
    pub(super) fn is_conditional(&self) -> bool {
        self.ways.iter().all(|way| !way.terms.is_empty())
    }

    /// Whether it denies under a condition.
    pub(super) fn denies_some(&self) -> bool {
        !self.unless.is_empty()
    }

    fn by<'r>(policy: &Arc<Policy>, rules: impl Iterator<Item = &'r Rule>) -> Self {
        let mut part = Self::default();
        for rule in rules {
            let terms = Terms::of(rule);
            match rule.effect {
                Effect::Deny if terms.is_empty() => part.refuses = true,
                Effect::Deny => drop(part.unless.insert(terms)),
                Effect::Allow => {
                    part.owes.extend(demands_of(policy, rule, &terms));
                    part.ways.insert(Way { hours: Hours::from(&policy.schedule), terms });
                }
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
            all.owes.extend(part.owes.iter().cloned());
        }
        if all.refuses || all.ways.is_empty() {
            return Access::Never;
        }
        let open: Vec<Hours> =
            all.ways.iter().filter(|way| way.terms.is_empty()).map(|way| way.hours.clone()).collect();
        let always = open.contains(&Hours::Exempt);
        // A way that lies wholly within another adds nothing.
        all.ways.retain(|way| match (way.terms.is_empty(), &way.hours) {
            (true, Hours::Exempt) => true,
            (true, Hours::Named(_)) => !always,
            (false, hours) => !always && !open.contains(hours),
        });
        Access::Allowed { ways: all.ways, unless: all.unless, owes: all.owes }
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
        Way { hours, terms: terms(when) }
    }

    fn terms(when: Option<&str>) -> Terms {
        Terms { when: when.map(str::to_owned), ..Terms::default() }
    }

    fn part(ways: &[Way], unless: &[&str]) -> Part {
        let unless = unless.iter().map(|text| terms(Some(text))).collect();
        Part { refuses: false, ways: ways.iter().cloned().collect(), unless, owes: BTreeSet::new() }
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
