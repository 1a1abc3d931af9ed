//! Which rules concern an endpoint, found without looking at the others.

use std::collections::HashMap;
use std::sync::Arc;

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
        Self { at }
    }

    /// The rules of a policy that name an endpoint; `None` where there are none.
    pub(super) fn of(&self, endpoint: &Endpoint, policy: &PolicyName) -> Option<&Concerned> {
        let here = self.at.get(endpoint.number)?;
        let place = here.binary_search_by(|concerned| concerned.policy.name.cmp(policy)).ok()?;
        here.get(place)
    }
}

fn add(here: &mut Vec<Concerned>, policy: &Arc<Policy>, place: usize) {
    match here.last_mut() {
        Some(last) if last.policy.name == policy.name => last.rules.push(place),
        _ => here.push(Concerned { policy: Arc::clone(policy), rules: vec![place] }),
    }
}

impl Concerned {
    pub(super) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The rules with their places in the policy, the smallest id first.
    pub(super) fn rules(&self) -> impl Iterator<Item = (usize, &Rule)> {
        self.rules.iter().filter_map(|place| Some((*place, self.policy.rules.get(*place)?)))
    }
}
