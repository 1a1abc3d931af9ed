//! A draft: what is in force with one file changed, and what would come of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::in_force::InForce;
use crate::domain::UpstreamName;
use crate::policy::yaml::Problems;
use crate::policy::{Circumstances, HeldPolicy, PolicyFile, PolicySet, lint_set};

/// A file with another text, or without one.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The file.
    pub file: PolicyFile,
    /// Its text; `None` deletes it.
    pub text: Option<String>,
}

/// What was found in a draft.
#[derive(Debug)]
pub enum Checked {
    /// Mistakes: it cannot be in force.
    Mistakes(Problems),
    /// It could be.
    Sound {
        /// The policies that it makes.
        proposed: Box<PolicySet>,
        /// What is probably not meant: in its file, or elsewhere because of it.
        warnings: Problems,
        /// How many warnings there are besides, as before.
        as_before: usize,
    },
}

impl Draft {
    /// What the policies would be with it; `current` are those in force.
    #[must_use]
    pub fn check(&self, in_force: &InForce, current: &PolicySet, upstreams: &[UpstreamName]) -> Checked {
        let texts = in_force.files.iter().map(|(path, text)| (PathBuf::from(path), text.clone().into_bytes()));
        let mut texts: BTreeMap<PathBuf, Vec<u8>> = texts.collect();
        match &self.text {
            Some(text) => drop(texts.insert(self.file.path(), text.clone().into_bytes())),
            None => drop(texts.remove(&self.file.path())),
        }
        let texts: Vec<_> = texts.into_iter().collect();
        let proposed = match PolicySet::from_texts(&texts) {
            Err(mistakes) => return Checked::Mistakes(mistakes),
            Ok(proposed) => proposed,
        };
        let held = held(in_force);
        let around = Circumstances { now: Some(in_force.at), upstreams: Some(upstreams), held: Some(&held) };
        let before = lint_set(current, &around);
        let (as_before, warnings): (Vec<_>, Vec<_>) = lint_set(&proposed, &around).0.into_iter().partition(|warning| {
            let same = |known: &crate::policy::yaml::Problem| {
                (&known.file, known.code, &known.message) == (&warning.file, warning.code, &warning.message)
            };
            warning.file != self.file.path() && before.0.iter().any(same)
        });
        Checked::Sound { proposed: Box::new(proposed), warnings: Problems(warnings), as_before: as_before.len() }
    }
}

/// Every grant of a set that can be used.
fn held(in_force: &InForce) -> Vec<HeldPolicy> {
    let usable = in_force.holders.iter().filter(|holder| holder.usable);
    let grants = usable.flat_map(|holder| holder.grants.iter().map(move |(policy, _)| (holder, policy)));
    grants.map(|(holder, policy)| HeldPolicy { holder: holder.name.clone(), policy: policy.clone() }).collect()
}
