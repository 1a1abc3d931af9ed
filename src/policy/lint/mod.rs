//! What is probably not meant in files that are right by themselves: warnings, which never stop a load.
//!
//! Each check is a function in [`CHECKS`]; it looks at the linked set and finds the places of its findings in the texts.

mod cases;
mod grants;
mod overlap;
mod rules;
mod schedules;
mod usage;

use std::path::Path;

use jiff::Timestamp;

use super::endpoint::Conflict;
use super::folder::{self, Reading};
use super::set::{LoadedFile, PolicySet};
use super::store::{no_files, no_folder};
use super::texts::Texts;
use super::yaml::{Problem, Problems};
use crate::domain::{PolicyName, UpstreamName};

/// What is known besides the files. What is not known is not checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances<'a> {
    /// The time.
    pub now: Option<Timestamp>,
    /// The configured upstreams.
    pub upstreams: Option<&'a [UpstreamName]>,
    /// Every policy that somebody holds.
    pub held: Option<&'a [HeldPolicy]>,
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPolicy {
    /// The credential set, as it may be shown.
    pub holder: String,
    /// The policy.
    pub policy: PolicyName,
}

/// What the checks look at.
struct Linted<'s> {
    set: &'s PolicySet,
    around: &'s Circumstances<'s>,
    texts: Texts<'s>,
}

/// A check adds what it finds.
type Check = fn(&Linted<'_>, &mut Vec<Problem>);

/// All checks. One that needs the time or the grants finds nothing where they are not known.
const CHECKS: [Check; 13] = [
    overlap::templates_that_overlap,
    rules::rules_behind_a_deny,
    rules::conditions_that_never_hold,
    rules::rules_that_have_ended,
    rules::endpoints_twice_in_a_rule,
    rules::policies_that_allow_nothing,
    usage::endpoints_that_no_rule_mentions,
    usage::schedules_that_nothing_uses,
    usage::upstreams_that_are_not_configured,
    schedules::schedules_that_never_open,
    schedules::windows_inside_of_others,
    cases::files_without_cases,
    grants::grants_and_policies_that_miss_each_other,
];

/// Every finding about a set whose files are right by themselves, in the order of files and lines.
pub(super) fn look(set: &PolicySet, around: &Circumstances<'_>) -> Problems {
    let linted = Linted { set, around, texts: Texts::new(set.files()) };
    let mut found = Vec::new();
    for check in CHECKS {
        check(&linted, &mut found);
    }
    in_order(found)
}

fn in_order(mut found: Vec<Problem>) -> Problems {
    found.sort_by(|one, other| {
        (&one.file, one.line, one.column, one.code).cmp(&(&other.file, other.line, other.column, other.code))
    });
    Problems(found)
}

/// What is wrong with endpoints whose paths the router cannot keep apart.
pub(super) fn conflicts(files: &[LoadedFile], conflicts: &[Conflict]) -> Problems {
    let texts = Texts::new(files);
    Problems(conflicts.iter().map(|conflict| overlap::conflict(&texts, conflict)).collect())
}

/// Every finding about the files of a folder: all errors, or, where there are none, all warnings.
///
/// Beside an error a warning would often be about what the error took away.
#[must_use]
pub fn lint(folder: &Path, around: &Circumstances<'_>) -> Problems {
    let Reading { texts, unreadable, .. } = match folder::read(folder) {
        Ok(reading) => reading,
        Err(error) => return Problems(vec![no_folder(folder, &error)]),
    };
    let found = match PolicySet::from_texts(&texts) {
        Ok(set) => look(&set, around),
        Err(problems) => in_order(problems.0),
    };
    Problems([found.0, no_files(&unreadable)].concat()).inside(folder)
}

/// Every warning about a set whose files are in no folder yet.
#[must_use]
pub fn lint_set(set: &PolicySet, around: &Circumstances<'_>) -> Problems {
    look(set, around)
}

#[cfg(test)]
mod tests;
