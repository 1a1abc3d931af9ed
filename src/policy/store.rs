//! The set in force, and how it changes when files do.
//!
//! A broken edit keeps the last good version *of that file*; a deleted file is gone at once even while another file is
//! broken; a policy that has never been good allows nobody who holds it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::set::{PolicySet, SnapshotHash, texts_of};
use super::yaml::{Code, Problem, Problems};
use crate::domain::PolicyName;

/// The policies in force.
#[derive(Debug)]
pub struct PolicyStore {
    folder: PathBuf,
    current: ArcSwap<PolicySet>,
    files: Mutex<Files>,
}

/// What is known of the files besides what is in force.
#[derive(Debug, Default)]
struct Files {
    /// The last text of each file that was good.
    good: BTreeMap<PathBuf, Vec<u8>>,
    problems: Problems,
}

/// What a reload did.
#[derive(Debug, Clone)]
pub struct ReloadReport {
    /// The generation in force.
    pub generation: u64,
    /// Its hash.
    pub hash: SnapshotHash,
    /// Whether it is another than before.
    pub changed: bool,
    /// What is wrong in files whose last good version stays in force.
    pub problems: Problems,
}

impl PolicyStore {
    /// Reads the folder. The first reading must be whole: nothing is in force that could stay.
    ///
    /// # Errors
    /// Every mistake in every file.
    pub fn open(folder: &Path) -> Result<Self, Problems> {
        let texts = texts_of(folder).map_err(|error| unreadable(folder, &error))?;
        let set = PolicySet::from_texts(&texts).map_err(|problems| inside(folder, problems))?;
        let files = Files { good: texts.into_iter().collect(), problems: Problems::default() };
        Ok(Self { folder: folder.to_owned(), current: ArcSwap::from_pointee(set), files: Mutex::new(files) })
    }

    /// The set in force.
    #[must_use]
    pub fn current(&self) -> Arc<PolicySet> {
        self.current.load_full()
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What was wrong at the last reading.
    #[must_use]
    pub fn problems(&self) -> Problems {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).problems.clone()
    }

    /// What is probably not meant in the files in force.
    #[must_use]
    pub fn warnings(&self) -> Problems {
        inside(&self.folder, self.current().warnings().clone())
    }

    /// Reads the folder again and puts in force what is good.
    pub fn reload(&self) -> ReloadReport {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current.load_full();
        let texts = match texts_of(&self.folder) {
            Ok(texts) => texts,
            Err(error) => {
                // A folder that cannot be read says nothing about its files; a file that is gone does.
                files.problems = unreadable(&self.folder, &error);
                return report(&before, false, &files.problems);
            }
        };
        let (set, problems, good) = best_of(&texts, &files.good);
        let broken = broken_policies(&texts, &good);
        files.good = good;
        files.problems = inside(&self.folder, problems);
        let changed = set.hash() != before.hash() || broken.iter().any(|name| !before.is_broken(name));
        if changed {
            self.current.store(Arc::new(set.numbered(before.generation() + 1, broken)));
        }
        report(&self.current.load_full(), changed, &files.problems)
    }
}

fn report(set: &PolicySet, changed: bool, problems: &Problems) -> ReloadReport {
    ReloadReport { generation: set.generation(), hash: set.hash(), changed, problems: problems.clone() }
}

type Best = (PolicySet, Problems, BTreeMap<PathBuf, Vec<u8>>);

/// The best set that can be made: broken files fall back to their last good text, then they are left out, and then
/// what still refers to them.
fn best_of(texts: &[(PathBuf, Vec<u8>)], good: &BTreeMap<PathBuf, Vec<u8>>) -> Best {
    let mut chosen: BTreeMap<PathBuf, Vec<u8>> = texts.iter().cloned().collect();
    let mut all_problems = Vec::new();
    loop {
        let candidate: Vec<_> = chosen.clone().into_iter().collect();
        match PolicySet::from_texts(&candidate) {
            Ok(set) => return (set, Problems(all_problems), chosen),
            Err(problems) => {
                let faulty: BTreeSet<PathBuf> = problems.0.iter().map(|problem| problem.file.clone()).collect();
                let before = chosen.len();
                let mut changed = false;
                for path in &faulty {
                    match good.get(path) {
                        Some(text) if chosen.get(path) != Some(text) => {
                            chosen.insert(path.clone(), text.clone());
                            changed = true;
                        }
                        _ => drop(chosen.remove(path)),
                    }
                }
                all_problems.extend(problems.0);
                if !changed && chosen.len() == before {
                    // The fault is in no single file: allow nothing rather than guess.
                    return (PolicySet::empty(), Problems(all_problems), BTreeMap::new());
                }
            }
        }
    }
}

/// Policies that have a file, but none that could be used.
fn broken_policies(texts: &[(PathBuf, Vec<u8>)], good: &BTreeMap<PathBuf, Vec<u8>>) -> HashSet<PolicyName> {
    texts
        .iter()
        .filter(|(path, _)| {
            !good.contains_key(path) && path.parent().is_none_or(|parent| parent.as_os_str().is_empty())
        })
        .filter_map(|(path, _)| path.file_stem()?.to_str()?.parse().ok())
        .collect()
}

pub(super) fn unreadable(folder: &Path, error: &std::io::Error) -> Problems {
    let message = format!("the policy folder cannot be read: {error}");
    Problems(vec![Problem::of_file(folder, Code::Unreadable, message)])
}

/// Names files with their folder, so that an editor finds them.
pub(super) fn inside(folder: &Path, problems: Problems) -> Problems {
    Problems(problems.0.into_iter().map(|problem| problem.inside(folder)).collect())
}
