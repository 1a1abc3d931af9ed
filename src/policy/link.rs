//! Looks names up across files: endpoints in rules, schedules in policies, policies in cases.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::body::BodyHolds;
use super::cases::RawCase;
use super::condition::Condition;
use super::decision::ScheduleUse;
use super::endpoint::Endpoint;
use super::files::{self, Content, File, Kind};
use super::pattern::{self, EndpointPattern};
use super::raw_endpoints::RawEndpoint;
use super::raw_policy::{RawPolicy, RawRule};
use super::rules::{Policy, Rule};
use super::yaml::{Code, Place, Problem, Source, suggestion_among};
use crate::domain::{EndpointId, PolicyName, ScheduleName};
use crate::schedule::Schedule;

/// Endpoints, policies, schedules and cases.
pub(super) type Linked =
    (Vec<Arc<Endpoint>>, HashMap<PolicyName, Arc<Policy>>, HashMap<ScheduleName, Arc<Schedule>>, Vec<RawCase>);

/// Looks names up across files.
#[derive(Default)]
pub(super) struct Linker {
    endpoints: Vec<Arc<Endpoint>>,
    ids: HashSet<EndpointId>,
    /// Method and pattern to the endpoint there, and whether all there have body conditions.
    routes: HashMap<(&'static str, String), (EndpointId, bool)>,
    schedules: HashMap<ScheduleName, Arc<Schedule>>,
    names: HashSet<PolicyName>,
    policies: HashMap<PolicyName, Arc<Policy>>,
}

/// Which files could be read whole. One that is broken is reported by itself; references into it would only repeat
/// that.
#[derive(Clone, Copy)]
struct Complete {
    endpoints: bool,
    schedules: bool,
    policies: bool,
}

impl Complete {
    fn without(problems: &[Problem]) -> Self {
        let whole = |wanted: Kind| !problems.iter().any(|problem| files::kind(&problem.file) == Some(wanted));
        Self { endpoints: whole(Kind::Endpoints), schedules: whole(Kind::Schedules), policies: whole(Kind::Policy) }
    }
}

impl Linker {
    pub(super) fn link(mut self, files: Vec<File>, problems: &mut Vec<Problem>) -> Linked {
        let mut policies = Vec::new();
        let mut cases = Vec::new();
        for File { source, content } in files {
            match content {
                Content::Endpoints(endpoints) => {
                    for endpoint in endpoints {
                        self.add_endpoint(&source, endpoint, problems);
                    }
                }
                Content::Schedules(schedules) => {
                    self.schedules.extend(schedules.into_iter().map(|raw| (raw.name, raw.schedule)));
                }
                Content::Policy(policy) => policies.push((source, *policy)),
                Content::Cases(found) => cases.extend(found.into_iter().map(|case| (source.clone(), case))),
            }
        }
        let complete = Complete::without(problems);
        self.names = policies.iter().map(|(_, policy)| policy.name.clone()).collect();
        for (source, policy) in policies {
            self.add_policy(&source, policy, complete, problems);
        }
        let cases = cases.into_iter().map(|(source, case)| {
            self.check_case(&source, &case, complete, problems);
            case
        });
        let cases = cases.collect();
        (self.endpoints, self.policies, self.schedules, cases)
    }

    fn add_endpoint(&mut self, source: &Source, raw: RawEndpoint, problems: &mut Vec<Problem>) {
        if !self.ids.insert(raw.id.clone()) {
            let message = format!("duplicate endpoint id `{}`", raw.id);
            problems.push(source.problem(raw.place, message).coded(Code::DuplicateId));
            return;
        }
        for method in &raw.methods {
            let conditioned = matches!(raw.body.as_ref().map(|body| &body.holds), Some(BodyHolds::Values { .. }));
            match self.routes.get(&(*method, raw.path.router_pattern())) {
                Some((other, others_conditioned)) if !conditioned || !others_conditioned => {
                    let message = format!(
                        "`{}` has the same method and path as `{other}`, so one of them could never be meant; only endpoints \
                         that all have a `body: {{ where: … }}` may share a path",
                        raw.id
                    );
                    problems.push(source.problem(raw.place, message).coded(Code::DuplicateRoute));
                }
                _ => drop(self.routes.insert((*method, raw.path.router_pattern()), (raw.id.clone(), conditioned))),
            }
        }
        let RawEndpoint { id, upstream, methods, path, path_text, upstream_path, body, .. } = raw;
        let number = self.endpoints.len();
        self.endpoints.push(Arc::new(Endpoint { id, number, upstream, methods, path, path_text, upstream_path, body }));
    }

    fn add_policy(&mut self, source: &Source, raw: RawPolicy, complete: Complete, problems: &mut Vec<Problem>) {
        let schedule = self.schedule_of(source, &raw, complete, problems);
        let rules: Vec<Rule> =
            raw.rules.into_iter().map(|rule| self.link_rule(source, rule, complete, problems)).collect();
        let Some(schedule) = schedule else { return };
        let (name, description, limits) = (raw.name.clone(), raw.description, raw.limits);
        let file = source.file.clone();
        self.policies.insert(raw.name, Arc::new(Policy { name, file, description, schedule, rules, limits }));
    }

    fn schedule_of(
        &self,
        source: &Source,
        raw: &RawPolicy,
        complete: Complete,
        problems: &mut Vec<Problem>,
    ) -> Option<ScheduleUse> {
        let (text, place) =
            raw.schedule.as_ref().map_or(("default", Place::START), |(text, place)| (text.as_str(), *place));
        if text == "exempt" {
            return Some(ScheduleUse::Exempt);
        }
        let found = self.schedules.get_key_value(text);
        if found.is_none() && complete.schedules {
            let mut known: Vec<&str> = self.schedules.keys().map(ScheduleName::as_str).collect();
            known.push("exempt");
            let hint = suggestion_among("schedules", text, &known);
            let shown: String = text.chars().take(64).flat_map(char::escape_debug).collect();
            let message = format!("there is no schedule `{shown}`{hint}");
            problems.push(source.problem(place, message).coded(Code::UnknownSchedule));
        }
        found.map(|(name, schedule)| ScheduleUse::Named(Arc::clone(schedule), name.clone()))
    }

    fn link_rule(&self, source: &Source, raw: RawRule, complete: Complete, problems: &mut Vec<Problem>) -> Rule {
        let mut endpoints = HashSet::new();
        for (pattern, place) in &raw.endpoints {
            let fitting: Vec<EndpointId> = match pattern {
                EndpointPattern::Exactly(id) => self.ids.get(id).cloned().into_iter().collect(),
                EndpointPattern::Glob(glob) => self.ids.iter().filter(|id| glob.fits(id.as_str())).cloned().collect(),
            };
            if complete.endpoints && fitting.is_empty() {
                problems.push(self.nothing_fits(source, *place, pattern));
            }
            endpoints.extend(fitting);
        }
        if let Some(condition) = raw.condition.as_ref().filter(|_| complete.endpoints) {
            problems.extend(self.missing_params(condition, &endpoints).map(|why| source.problem(raw.place, why)));
        }
        let RawRule { id, place, effect, clients, until, condition, demands, .. } = raw;
        let demands = demands.map(Arc::new);
        Rule { id, line: place.line, effect, endpoints, clients, until, condition, demands }
    }

    /// Path parameters that a condition takes and that an endpoint of its rule does not have: it would always fail there.
    fn missing_params(&self, condition: &Condition, endpoints: &HashSet<EndpointId>) -> impl Iterator<Item = String> {
        let named = self.endpoints.iter().filter(|endpoint| endpoints.contains(&endpoint.id));
        named.flat_map(|endpoint| {
            let known: Vec<&str> = endpoint.path.parameters().collect();
            let missing = condition.params().iter().filter(move |param| !known.contains(&param.as_str()));
            missing.map(|param| {
                format!(
                    "`when`: the path of `{}` ({}) has no parameter `{param}`, so the condition always fails there; ask \
                     `has(request.params.{param})` first, or write two rules",
                    endpoint.id, endpoint.path_text
                )
            })
        })
    }

    fn nothing_fits(&self, source: &Source, place: Place, pattern: &EndpointPattern) -> Problem {
        match pattern {
            EndpointPattern::Exactly(id) => {
                let known: Vec<&str> = self.ids.iter().map(EndpointId::as_str).collect();
                let hint = suggestion_among("endpoints", id.as_str(), &known);
                source.problem(place, format!("there is no endpoint `{id}`{hint}")).coded(Code::UnknownEndpoint)
            }
            EndpointPattern::Glob(glob) => {
                let nearby = pattern::nearby(self.ids.iter().map(EndpointId::as_str));
                let nearby: Vec<&str> = nearby.iter().map(String::as_str).collect();
                let hint =
                    Some(suggestion_among("ids", glob.as_str(), &nearby)).filter(|hint| hint.contains("did you mean"));
                let hint = hint.unwrap_or_else(|| "; a glob fits an id from its first character to its last".into());
                source.problem(place, format!("no endpoint id fits `{glob}`{hint}")).coded(Code::GlobFitsNothing)
            }
        }
    }

    fn check_case(&self, source: &Source, case: &RawCase, complete: Complete, problems: &mut Vec<Problem>) {
        let is_there = |policy: &PolicyName| !complete.policies || self.names.contains(policy);
        for (policy, place) in case.grants.iter().filter(|(policy, _)| !is_there(policy)) {
            let known: Vec<&str> = self.names.iter().map(PolicyName::as_str).collect();
            let hint = suggestion_among("policies", policy.as_str(), &known);
            let message = format!("there is no policy `{policy}`{hint}");
            problems.push(source.problem(*place, message).coded(Code::UnknownPolicy));
        }
    }
}
