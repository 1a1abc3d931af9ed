//! All files together: names looked up, catalogue built, one hash over everything.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::cases::RawCase;
use super::endpoint::{Catalogue, Endpoint, Route};
use super::files::{self};
use super::index::{Here, RuleIndex};
use super::link::Linker;
use super::lint::{self, Circumstances};
use super::rules::Policy;
use super::yaml::Problems;
use crate::domain::{CanonicalPath, PolicyName, ScheduleName};
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

    /// The hash of the text of one file, by its path inside the policy folder.
    #[must_use]
    pub fn text_hash(&self, path: &std::path::Path) -> Option<SnapshotHash> {
        self.files.iter().find(|file| file.path == path).map(|file| file.hash)
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
