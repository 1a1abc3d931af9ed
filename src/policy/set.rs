//! All files together: names looked up, catalogue built, one hash over everything.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::body::BodyHolds;
use super::cases::RawCase;
use super::decision::ScheduleUse;
use super::endpoint::{Catalogue, Endpoint, Route};
use super::files::{self, Content, File};
use super::raw_endpoints::RawEndpoint;
use super::raw_policy::{RawPolicy, RawRule};
use super::rules::{Policy, Rule};
use super::yaml::{Place, Problem, Problems, Source, suggestion};
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
    schedules: HashMap<ScheduleName, Arc<Schedule>>,
    cases: Vec<RawCase>,
    /// Policies whose file is broken and has no earlier version: whoever holds one may do nothing.
    broken: HashSet<PolicyName>,
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
            schedules: HashMap::new(),
            cases: Vec::new(),
            broken: HashSet::new(),
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
        let catalogue = Catalogue::build(&endpoints).map_err(|message| Problems(vec![nowhere(message)]))?;
        let files = texts.iter().map(|(path, text)| LoadedFile {
            path: path.clone(),
            hash: SnapshotHash(Sha256::digest(text).into()),
            text: text.clone(),
        });
        let files: Vec<_> = files.collect();
        let (generation, hash, broken) = (1, hash_of(&files), HashSet::new());
        Ok(Self { generation, hash, files, catalogue, endpoints, policies, schedules, cases, broken })
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

fn nowhere(message: String) -> Problem {
    Problem { file: PathBuf::from("endpoints"), line: 1, column: 1, message, excerpt: String::new() }
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
    policies: HashMap<PolicyName, Arc<Policy>>,
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
        // A file that is broken is reported by itself; references into it would only repeat that.
        let complete = problems.is_empty();
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
            problems.push(source.problem(raw.place, format!("duplicate endpoint id `{}`", raw.id)));
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
                    problems.push(source.problem(raw.place, message));
                }
                _ => drop(self.routes.insert((*method, raw.path.router_pattern()), (raw.id.clone(), conditioned))),
            }
        }
        let RawEndpoint { id, upstream, methods, path, path_text, upstream_path, body, .. } = raw;
        self.endpoints.push(Arc::new(Endpoint { id, upstream, methods, path, path_text, upstream_path, body }));
    }

    fn add_policy(&mut self, source: &Source, raw: RawPolicy, complete: bool, problems: &mut Vec<Problem>) {
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
        complete: bool,
        problems: &mut Vec<Problem>,
    ) -> Option<ScheduleUse> {
        let start = Place { line: 1, column: 1 };
        let (text, place) = raw.schedule.as_ref().map_or(("default", start), |(text, place)| (text.as_str(), *place));
        if text == "exempt" {
            return Some(ScheduleUse::Exempt);
        }
        let found = self.schedules.get_key_value(text);
        if found.is_none() && complete {
            let mut known: Vec<&str> = self.schedules.keys().map(ScheduleName::as_str).collect();
            known.push("exempt");
            let hint = suggestion(text, &known);
            let shown: String = text.chars().take(64).flat_map(char::escape_debug).collect();
            problems.push(source.problem(place, format!("there is no schedule `{shown}`{hint}")));
        }
        found.map(|(name, schedule)| ScheduleUse::Named(Arc::clone(schedule), name.clone()))
    }

    fn link_rule(&self, source: &Source, raw: RawRule, complete: bool, problems: &mut Vec<Problem>) -> Rule {
        for (endpoint, place) in raw.endpoints.iter().filter(|(endpoint, _)| complete && !self.ids.contains(endpoint)) {
            let known: Vec<&str> = self.ids.iter().map(EndpointId::as_str).collect();
            let hint = suggestion(endpoint.as_str(), &known);
            problems.push(source.problem(*place, format!("there is no endpoint `{endpoint}`{hint}")));
        }
        Rule {
            id: raw.id,
            line: raw.place.line,
            effect: raw.effect,
            endpoints: raw.endpoints.into_iter().map(|(endpoint, _)| endpoint).collect(),
            condition: raw.condition,
        }
    }

    fn check_case(&self, source: &Source, case: &RawCase, complete: bool, problems: &mut Vec<Problem>) {
        for (policy, place) in case.grants.iter().filter(|(policy, _)| complete && !self.policies.contains_key(policy))
        {
            let known: Vec<&str> = self.policies.keys().map(PolicyName::as_str).collect();
            let hint = suggestion(policy.as_str(), &known);
            problems.push(source.problem(*place, format!("there is no policy `{policy}`{hint}")));
        }
    }
}

/// The files of a folder, as paths inside it with their texts.
pub(super) fn texts_of(folder: &Path) -> std::io::Result<Vec<(PathBuf, Vec<u8>)>> {
    files::list(folder)
}
