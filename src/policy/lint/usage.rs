//! What exists and is not used, or is used and does not exist.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use super::Linted;
use crate::domain::{EndpointId, ScheduleName, UpstreamName};
use crate::policy::decision::ScheduleUse;
use crate::policy::default_schedule_name;
use crate::policy::texts::entry;
use crate::policy::yaml::{Code, Problem, suggestion_among};

pub(super) fn endpoints_that_no_rule_mentions(linted: &Linted<'_>, found: &mut Vec<Problem>) {
    let policies = linted.set.policy_names().into_iter().filter_map(|name| linted.set.policy(name));
    let mentioned: HashSet<&EndpointId> =
        policies.flat_map(|policy| &policy.rules).flat_map(|rule| &rule.endpoints).collect();
    for endpoint in linted.set.endpoints().iter().filter(|endpoint| !mentioned.contains(&endpoint.id)) {
        if let Some((tree, place)) = linted.texts.endpoint(endpoint.id.as_str()) {
            let message =
                format!("no rule mentions endpoint `{}`; only unrestricted credential sets may call it", endpoint.id);
            found.push(tree.problem(Code::UnusedEndpoint, place.id, message));
        }
    }
}

pub(super) fn schedules_that_nothing_uses(linted: &Linted<'_>, found: &mut Vec<Problem>) {
    let policies = linted.set.policy_names().into_iter().filter_map(|name| linted.set.policy(name));
    let used: HashSet<&ScheduleName> = policies
        .filter_map(|policy| match &policy.schedule {
            ScheduleUse::Named(_, name) => Some(name),
            ScheduleUse::Exempt => None,
        })
        .collect();
    let default = default_schedule_name();
    let Some(tree) = linted.texts.file(Path::new("schedule.yaml")) else { return };
    // Unrestricted credential sets are held to the default one.
    for (name, _) in linted.set.schedules().into_iter().filter(|(name, _)| default.as_ref() != Some(name)) {
        if let Some((key, _)) = entry(tree.root, name.as_str()).filter(|_| !used.contains(name)) {
            let message = format!("no policy uses schedule `{name}`; name it as `schedule: {name}` or remove it");
            found.push(tree.problem(Code::UnusedSchedule, key.place, message));
        }
    }
}

pub(super) fn upstreams_that_are_not_configured(linted: &Linted<'_>, found: &mut Vec<Problem>) {
    let Some(configured) = linted.around.upstreams else { return };
    let known: Vec<&str> = configured.iter().map(UpstreamName::as_str).collect();
    let mut told = BTreeSet::new();
    for endpoint in linted.set.endpoints().iter().filter(|endpoint| !configured.contains(&endpoint.upstream)) {
        let Some((tree, place)) = linted.texts.endpoint(endpoint.id.as_str()) else { continue };
        let hint = suggestion_among("upstreams", endpoint.upstream.as_str(), &known);
        let message = format!("the configuration has no upstream `{}`{hint}", endpoint.upstream);
        let problem = tree.problem(Code::UnknownUpstream, place.upstream, message);
        // It stands once in each file.
        if told.insert(problem.file.clone()) {
            found.push(problem);
        }
    }
}
