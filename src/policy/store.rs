//! The set in force, and how it changes when files do.
//!
//! A broken edit keeps the last good version *of that file*; a deleted file is gone at once even while another file is
//! broken; a policy that has never been good allows nobody who holds it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::folder::{self, Reading};
use super::set::{PolicySet, SnapshotHash};
use super::yaml::{Code, Problem, Problems};
use crate::domain::PolicyName;

/// The policies in force.
#[derive(Debug)]
pub struct PolicyStore {
    folder: PathBuf,
    current: ArcSwap<PolicySet>,
    /// What was wrong at the last reading. Beside the lock: who asks does not wait for a reading.
    problems: ArcSwap<Problems>,
    /// The last text of each file that was good. Locked while the folder is read, so that readings come one by one.
    pub(super) good: Mutex<Texts>,
}

pub(super) type Texts = BTreeMap<PathBuf, Vec<u8>>;

/// What a reload did.
#[derive(Debug, Clone)]
pub struct ReloadReport {
    /// The generation in force.
    pub generation: u64,
    /// Its hash.
    pub hash: SnapshotHash,
    /// Whether it is another than before.
    pub changed: bool,
    /// Whether there is anything to tell: another generation, or other problems than at the last reading.
    pub news: bool,
    /// What is wrong in files whose last good version stays in force.
    pub problems: Problems,
}

impl PolicyStore {
    /// Reads the folder. The first reading must be whole: nothing is in force that could stay.
    ///
    /// # Errors
    /// Every mistake in every file.
    pub fn open(folder: &Path) -> Result<Self, Problems> {
        let Reading { texts, unreadable, .. } =
            folder::read(folder).map_err(|error| Problems(vec![no_folder(folder, &error)]))?;
        if !unreadable.is_empty() {
            return Err(Problems(no_files(&unreadable)).inside(folder));
        }
        let set = PolicySet::from_texts(&texts).map_err(|problems| problems.inside(folder))?;
        Ok(Self {
            folder: folder.to_owned(),
            current: ArcSwap::from_pointee(set),
            problems: ArcSwap::from_pointee(Problems::default()),
            good: Mutex::new(texts.into_iter().collect()),
        })
    }

    /// The set in force.
    #[must_use]
    pub fn current(&self) -> Arc<PolicySet> {
        self.current.load_full()
    }

    /// The number of the generation in force.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.current.load().generation()
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What was wrong at the last reading.
    #[must_use]
    pub fn problems(&self) -> Problems {
        Problems::clone(&self.problems.load())
    }

    /// What is probably not meant in the files in force.
    #[must_use]
    pub fn warnings(&self) -> Problems {
        self.current().warnings().clone().inside(&self.folder)
    }

    /// Reads the folder again and puts in force what is good.
    pub fn reload(&self) -> ReloadReport {
        self.reload_keeping(|_| ())
    }

    /// The same; `keep` sees each new set before a request can.
    pub fn reload_keeping(&self, keep: impl FnOnce(&PolicySet)) -> ReloadReport {
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        self.reload_held(&mut good, keep)
    }

    /// The same for whoever holds the last good texts already.
    pub(super) fn reload_held(&self, good: &mut Texts, keep: impl FnOnce(&PolicySet)) -> ReloadReport {
        let (reading, missing) = match folder::read(&self.folder) {
            Ok(reading) => (reading, None),
            // A folder that cannot be read says nothing about its files; one that is gone does.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut problem = no_folder(&self.folder, &error);
                problem = problem.with_help("nothing is allowed until it is there");
                (Reading::default(), Some(problem))
            }
            Err(error) => return self.report(false, Problems(vec![no_folder(&self.folder, &error)])),
        };
        let Best { set, problems, used } = best_of(&reading, good);
        let broken = broken_policies(&reading, &used);
        *good = remembered(&reading, used, good);
        let before = self.current.load_full();
        let changed = !before.is_as(set.hash(), &broken);
        if changed {
            let set = set.numbered(before.generation() + 1, broken);
            keep(&set);
            self.current.store(Arc::new(set));
        }
        let mut problems = Problems(problems).inside(&self.folder);
        problems.0.extend(missing);
        self.report(changed, problems)
    }

    fn report(&self, changed: bool, problems: Problems) -> ReloadReport {
        let before = self.problems.swap(Arc::new(problems.clone()));
        let set = self.current.load();
        let news = changed || *before != problems;
        ReloadReport { generation: set.generation(), hash: set.hash(), changed, news, problems }
    }
}

/// The best set that can be made.
struct Best {
    set: PolicySet,
    problems: Vec<Problem>,
    /// The text of each file in it.
    used: Texts,
}

/// Broken files fall back to their last good text, then they are left out, and then what still refers to them.
fn best_of(reading: &Reading, good: &Texts) -> Best {
    let mut used: Texts = reading.texts.iter().cloned().collect();
    let mut problems = no_files(&reading.unreadable);
    used.extend(
        good.iter().filter(|(path, _)| is_unreadable(reading, path)).map(|(path, text)| (path.clone(), text.clone())),
    );
    loop {
        let candidate: Vec<_> = used.clone().into_iter().collect();
        match PolicySet::from_texts(&candidate) {
            Ok(set) => return Best { set, problems, used },
            Err(found) => {
                let faulty: BTreeSet<PathBuf> = found.0.iter().map(|problem| problem.file.clone()).collect();
                let before = used.len();
                let mut changed = false;
                for path in &faulty {
                    match good.get(path) {
                        Some(text) if used.get(path).is_some_and(|now| now != text) => {
                            used.insert(path.clone(), text.clone());
                            changed = true;
                        }
                        _ => drop(used.remove(path)),
                    }
                }
                problems.extend(found.0);
                if !changed && used.len() == before {
                    // The fault is in no single file: allow nothing rather than guess.
                    return Best { set: PolicySet::empty(), problems, used: Texts::new() };
                }
            }
        }
    }
}

/// Whether a file is there, or may be, and cannot be read.
fn is_unreadable(reading: &Reading, path: &Path) -> bool {
    reading.unreadable.iter().any(|(unreadable, _)| path.starts_with(unreadable))
}

/// The last good text of each file that is there: the one in use, or the one from before where it cannot be used now.
fn remembered(reading: &Reading, used: Texts, good: &Texts) -> Texts {
    let there = |path: &Path| reading.texts.iter().any(|(known, _)| known == path) || is_unreadable(reading, path);
    let kept = good.iter().filter(|(path, _)| there(path)).map(|(path, text)| (path.clone(), text.clone()));
    let mut remembered: Texts = kept.collect();
    remembered.extend(used);
    remembered
}

/// Policies that have a file, but none that could be used.
fn broken_policies(reading: &Reading, used: &Texts) -> HashSet<PolicyName> {
    let paths = reading.texts.iter().map(|(path, _)| path).chain(reading.unreadable.iter().map(|(path, _)| path));
    paths
        .filter(|path| !used.contains_key(*path) && path.parent().is_none_or(|parent| parent.as_os_str().is_empty()))
        .filter_map(|path| path.file_stem()?.to_str()?.parse().ok())
        .collect()
}

pub(super) fn no_folder(folder: &Path, error: &io::Error) -> Problem {
    problem(folder, format!("the policy folder cannot be read: {error}"))
}

pub(super) fn no_files(unreadable: &[(PathBuf, io::Error)]) -> Vec<Problem> {
    unreadable.iter().map(|(path, error)| problem(path, format!("it cannot be read: {error}"))).collect()
}

fn problem(file: &Path, message: String) -> Problem {
    Problem::of_file(file, Code::Unreadable, message)
}

#[cfg(test)]
mod tests;
