//! All files together: names looked up, catalogue built, one hash over everything.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::body::BodyHolds;
use super::cases::RawCase;
use super::condition::Condition;
use super::decision::ScheduleUse;
use super::endpoint::{Catalogue, Endpoint, Route};
use super::files::{self, Content, File, Kind};
use super::index::{Here, RuleIndex};
use super::lint::{self, Circumstances};
use super::pattern::{self, EndpointPattern};
use super::raw_endpoints::RawEndpoint;
use super::raw_policy::{RawPolicy, RawRule};
use super::rules::{Policy, Rule};
use super::yaml::{Code, Place, Problem, Problems, Source, suggestion_among};
use crate::domain::{CanonicalPath, EndpointId, PolicyName, ScheduleName};
use crate::schedule::Schedule;

/// The hash of the texts in force.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SnapshotHash([u8; 32]);

impl SnapshotHash {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for SnapshotHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for SnapshotHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SnapshotHash({self})")
    }
}

/// One file in force.
#[derive(Debug, Clone)]
pub struct LoadedFile {
    /// Its path inside the policy folder.
    pub path: PathBuf,
    /// The hash of its text.
    pub hash: SnapshotHash,
    /// Its text.
    pub text: Vec<u8>,
}

/// Everything in force at one moment. It never changes; a reload makes another.
#[derive(Debug)]
pub struct PolicySet {
    generation: u64,
    hash: SnapshotHash,
    files: Vec<LoadedFile>,
    catalogue: Catalogue,
    endpoints: Vec<Arc<Endpoint>>,
    policies: HashMap<PolicyName, Arc<Policy>>,
    index: RuleIndex,
    schedules: HashMap<ScheduleName, Arc<Schedule>>,
    cases: Vec<RawCase>,
    /// Policies whose file is broken and has no earlier version: whoever holds one may do nothing.
    broken: HashSet<PolicyName>,
    warnings: Problems,
}

impl PolicySet {
    /// The set that allows nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            generation: 0,
            hash: hash_of(&[]),
            files: Vec::new(),
            catalogue: Catalogue::default(),
            endpoints: Vec::new(),
            policies: HashMap::new(),
            index: RuleIndex::default(),
            schedules: HashMap::new(),
            cases: Vec::new(),
            broken: HashSet::new(),
            warnings: Problems::default(),
        }
    }

    /// Reads and links the files of a policy folder.
    ///
    /// # Errors
    /// Every mistake in every file.
    pub fn from_texts(texts: &[(PathBuf, Vec<u8>)]) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut read = Vec::new();
        for (path, bytes) in texts {
            read.extend(files::read(path, bytes, &mut problems));
        }
        let linked = Linker::default().link(read, &mut problems);
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let (endpoints, policies, schedules, cases) = linked;
        let index = RuleIndex::build(&endpoints, policies.values());
        let files = texts.iter().map(|(path, text)| LoadedFile {
            path: path.clone(),
            hash: SnapshotHash(Sha256::digest(text).into()),
            text: text.clone(),
        });
        let files: Vec<_> = files.collect();
        let catalogue = Catalogue::build(&endpoints).map_err(|conflicts| lint::conflicts(&files, &conflicts))?;
        let (generation, hash, broken, warnings) = (1, hash_of(&files), HashSet::new(), Problems::default());
        let set =
            Self { generation, hash, files, catalogue, endpoints, policies, index, schedules, cases, broken, warnings };
        let warnings = lint::look(&set, &Circumstances::default());
        Ok(Self { warnings, ..set })
    }

    /// What is probably not meant in the files in force. Their names are paths inside the policy folder.
    #[must_use]
    pub fn warnings(&self) -> &Problems {
        &self.warnings
    }

    pub(super) fn numbered(mut self, generation: u64, broken: HashSet<PolicyName>) -> Self {
        self.generation = generation;
        self.broken = broken;
        self
    }

    /// The number of this generation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The hash of the texts.
    #[must_use]
    pub fn hash(&self) -> SnapshotHash {
        self.hash
    }

    /// The files in force.
    #[must_use]
    pub fn files(&self) -> &[LoadedFile] {
        &self.files
    }

    /// The endpoints, in the order written.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The names of the policies, sorted.
    #[must_use]
    pub fn policy_names(&self) -> Vec<&PolicyName> {
        let mut names: Vec<_> = self.policies.keys().collect();
        names.sort();
        names
    }

    /// Every policy that has a file, also one that is broken.
    pub(super) fn known_policies(&self) -> impl Iterator<Item = &PolicyName> {
        self.policies.keys().chain(&self.broken)
    }

    /// The same where these policies' files are broken and have no earlier version.
    #[must_use]
    pub fn with_broken(mut self, broken: HashSet<PolicyName>) -> Self {
        self.broken = broken;
        self
    }

    /// The names of the policies whose files are broken and have no earlier version, sorted.
    #[must_use]
    pub fn broken_policies(&self) -> Vec<&PolicyName> {
        let mut names: Vec<_> = self.broken.iter().collect();
        names.sort();
        names
    }

    /// The policy with this name.
    #[must_use]
    pub fn policy(&self, name: &PolicyName) -> Option<&Arc<Policy>> {
        self.policies.get(name)
    }

    pub(super) fn policy_called(&self, name: &str) -> Option<&Arc<Policy>> {
        self.policies.get(name)
    }

    /// The schedules, by name.
    #[must_use]
    pub fn schedules(&self) -> Vec<(&ScheduleName, &Schedule)> {
        let mut schedules: Vec<_> = self.schedules.iter().map(|(name, schedule)| (name, &**schedule)).collect();
        schedules.sort_by_key(|(name, _)| (*name).clone());
        schedules
    }

    /// The schedule with this name.
    #[must_use]
    pub fn schedule(&self, name: &ScheduleName) -> Option<&Schedule> {
        self.schedules.get(name).map(|schedule| &**schedule)
    }

    /// The endpoints at this method and path.
    #[must_use]
    pub fn route(&self, method: &str, path: &CanonicalPath) -> Option<Route<'_>> {
        self.catalogue.find(method, path)
    }

    /// The policies with rules on an endpoint.
    pub(super) fn here(&self, endpoint: &Endpoint) -> Here<'_> {
        self.index.at(endpoint)
    }

    /// Whether no policy's file is broken without an earlier version.
    pub(super) fn none_is_broken(&self) -> bool {
        self.broken.is_empty()
    }

    /// Whether an endpoint looks into bodies.
    #[must_use]
    pub fn asks_for_bodies(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.body.is_some())
    }

    /// Whether a policy's file is broken and has no earlier version.
    #[must_use]
    pub fn is_broken(&self, name: &PolicyName) -> bool {
        self.broken.contains(name)
    }

    /// Whether the same texts are in force, and the same files are broken.
    pub(super) fn is_as(&self, hash: SnapshotHash, broken: &HashSet<PolicyName>) -> bool {
        self.hash == hash && self.broken == *broken
    }

    pub(super) fn shared_schedule(&self, name: &ScheduleName) -> Option<&Arc<Schedule>> {
        self.schedules.get(name)
    }

    pub(super) fn cases(&self) -> &[RawCase] {
        &self.cases
    }
}

/// A hash over paths and texts, each with its length before it.
fn hash_of(files: &[LoadedFile]) -> SnapshotHash {
    let mut hasher = Sha256::new();
    for file in files {
        let path = file.path.to_string_lossy();
        for part in [path.as_bytes(), &file.text] {
            hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(part);
        }
    }
    SnapshotHash(hasher.finalize().into())
}

type Linked =
    (Vec<Arc<Endpoint>>, HashMap<PolicyName, Arc<Policy>>, HashMap<ScheduleName, Arc<Schedule>>, Vec<RawCase>);

/// Looks names up across files.
#[derive(Default)]
struct Linker {
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
    fn link(mut self, files: Vec<File>, problems: &mut Vec<Problem>) -> Linked {
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
