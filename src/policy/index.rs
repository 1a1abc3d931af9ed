//! Which rules concern an endpoint, found without looking at the others.

use std::collections::HashMap;
use std::sync::Arc;

use super::decision::ScheduleUse;
use super::endpoint::Endpoint;
use super::rules::{Policy, Rule};
use crate::domain::{EndpointId, PolicyName};

/// The rules of all policies by the endpoints that they name.
#[derive(Debug, Default)]
pub(super) struct RuleIndex {
    /// By the number of the endpoint; each sorted by the name of the policy.
    at: Vec<Vec<Concerned>>,
}

/// One policy with those of its rules that name the endpoint.
#[derive(Debug)]
pub(super) struct Concerned {
    policy: Arc<Policy>,
    /// Its name, beside the policy so that comparing it costs no look at the policy.
    name: PolicyName,
    /// Its place among the policies here when exempt ones come first, then the names decide.
    rank: usize,
    /// Places in the policy's list, sorted by the id of the rule: the order in which rules are written changes nothing.
    rules: Vec<usize>,
}

impl RuleIndex {
    /// Sorts the rules of these policies by endpoint; endpoints are numbered as they stand in the list.
    pub(super) fn build<'p>(endpoints: &[Arc<Endpoint>], policies: impl Iterator<Item = &'p Arc<Policy>>) -> Self {
        let numbers: HashMap<&EndpointId, usize> =
            endpoints.iter().enumerate().map(|(number, endpoint)| (&endpoint.id, number)).collect();
        let mut at: Vec<Vec<Concerned>> = endpoints.iter().map(|_| Vec::new()).collect();
        let mut policies: Vec<_> = policies.collect();
        policies.sort_by(|one, other| one.name.cmp(&other.name));
        for policy in policies {
            let mut rules: Vec<(usize, &Rule)> = policy.rules.iter().enumerate().collect();
            rules.sort_by(|(_, one), (_, other)| one.id.cmp(&other.id));
            for (place, rule) in rules {
                for number in rule.endpoints.iter().filter_map(|id| numbers.get(id)) {
                    if let Some(here) = at.get_mut(*number) {
                        add(here, policy, place);
                    }
                }
            }
        }
        for here in &mut at {
            rank(here);
        }
        Self { at }
    }

    /// What there is on an endpoint.
    pub(super) fn at(&self, endpoint: &Endpoint) -> Here<'_> {
        Here { concerned: self.at.get(endpoint.number).map(Vec::as_slice).unwrap_or_default(), next: 0 }
    }
}

/// The policies with rules on one endpoint.
#[derive(Debug, Clone)]
pub(super) struct Here<'p> {
    concerned: &'p [Concerned],
    /// Grants are mostly kept by name too, so the next one asked for is mostly behind the last one found.
    next: usize,
}

impl<'p> Here<'p> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.concerned.len()
    }

    /// All of them, by name.
    pub(super) fn all(&self) -> impl Iterator<Item = &'p Concerned> {
        self.concerned.iter()
    }

    /// The rules of a policy; `None` where none of them names the endpoint.
    pub(super) fn of(&mut self, policy: &PolicyName) -> Option<&'p Concerned> {
        let next = self.concerned.get(self.next).filter(|concerned| concerned.name == *policy);
        let place = match next {
            Some(_) => self.next,
            None => self.concerned.binary_search_by(|concerned| concerned.name.cmp(policy)).ok()?,
        };
        self.next = place + 1;
        self.concerned.get(place)
    }
}

fn rank(here: &mut [Concerned]) {
    let in_hours = |concerned: &Concerned| matches!(concerned.policy.schedule, ScheduleUse::Named(..));
    let exempt = here.iter().filter(|concerned| !in_hours(concerned)).count();
    let (mut first, mut then) = (0, exempt);
    for concerned in here {
        let next = if in_hours(concerned) { &mut then } else { &mut first };
        concerned.rank = *next;
        *next += 1;
    }
}

fn add(here: &mut Vec<Concerned>, policy: &Arc<Policy>, place: usize) {
    match here.last_mut() {
        Some(last) if last.name == policy.name => last.rules.push(place),
        _ => {
            here.push(Concerned { policy: Arc::clone(policy), name: policy.name.clone(), rank: 0, rules: vec![place] });
        }
    }
}

impl Concerned {
    pub(super) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Its place among the policies of the endpoint when exempt ones come first, then the names decide.
    pub(super) fn rank(&self) -> usize {
        self.rank
    }

    /// The rules with their places in the policy, the smallest id first.
    pub(super) fn rules(&self) -> impl Iterator<Item = (usize, &Rule)> {
        self.rules.iter().filter_map(|place| Some((*place, self.policy.rules.get(*place)?)))
    }
}
