//! A change of one policy file on behalf of an administrator who looked at what it would change.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::explain::hash_of;
use super::{Control, ControlError, ErrorKind, Result};
use crate::audit::{Decision, Entry, Kind, Step, Verdict};
use crate::directory::By;
use crate::domain::RequestId;
use crate::policy::{Edit, NotApplied, Planned, PolicyFile, SnapshotHash};

/// Longest text of a file, in bytes.
const LONGEST: usize = 1024 * 1024;

/// What an administrator wants of a file.
pub(super) struct Wanted {
    pub(super) file: PolicyFile,
    pub(super) text: Option<String>,
    pub(super) delete: bool,
    pub(super) based_on: String,
}

impl Control {
    /// Changes one file of the policy folder. The new policies are in force when this returns; its row is on disk before
    /// anything is touched.
    pub(super) fn apply_policy(&self, by: &By, wanted: Wanted) -> Result<Value> {
        let Wanted { file, text, delete, based_on } = wanted;
        let text = match (text, delete) {
            (Some(text), false) if text.len() > LONGEST => {
                return Err(ControlError::invalid(format!("a policy file is at most {LONGEST} bytes long")));
            }
            (Some(text), false) => Some(text.into_bytes()),
            (None, true) => None,
            (Some(_), true) | (None, false) => {
                return Err(ControlError::invalid("give the new `text` of the file, or `delete`"));
            }
        };
        let based_on = hash_of(&based_on).ok_or_else(|| {
            ControlError::invalid("`based_on` is the hash of the policies that were in force when the draft was made")
        })?;
        let deleted = text.is_none();
        let edit = Edit { file, text, based_on };
        let mut noted = None;
        let note = |planned: &Planned| {
            let change = match (planned.text_before, deleted) {
                (_, true) => "deleted",
                (None, false) => "created",
                (Some(_), false) => "changed",
            };
            let row = self.row_of(by, &edit.file, change, planned)?;
            self.auditor.write_blocking(row).map_err(|error| error.to_string())?;
            let hash = |hash: Option<SnapshotHash>| hash.map(|hash| hash.to_string());
            noted = Some((change, hash(planned.text_before), hash(planned.text_after)));
            Ok(())
        };
        match self.policies.apply(&edit, note, &|set| self.keep(set)) {
            Ok(report) => {
                log::info!("{} applied `{}`: generation {} is in force", by.actor, edit.file, report.generation);
                let (change, before, after) = noted.unwrap_or_default();
                Ok(json!({
                    "file": edit.file, "change": change, "generation": report.generation, "hash": report.hash.to_string(),
                    "text_before": before, "text_after": after, "warnings": self.policies.warnings().0.len(),
                }))
            }
            Err(error) => {
                if noted.is_some() {
                    self.leave_undone(by, &edit.file, &error);
                }
                Err(error.into())
            }
        }
    }

    fn row_of(
        &self,
        by: &By,
        file: &PolicyFile,
        change: &str,
        planned: &Planned,
    ) -> std::result::Result<Entry, String> {
        let text = |hash: Option<SnapshotHash>| hash.map(|hash| hash.to_string());
        let detail = json!({
            "change": change,
            "before": { "policies": planned.before.to_string(), "text": text(planned.text_before) },
            "after": { "policies": planned.after.to_string(), "text": text(planned.text_after) },
        });
        let id = RequestId::new(by.at, &*self.entropy).map_err(|error| error.to_string())?;
        Ok(Entry {
            actor: by.actor.clone(),
            method: Cow::Borrowed("policy.apply"),
            path: file.to_string(),
            decision: Decision::Allowed,
            detail: Some(detail.to_string()),
            ..Entry::new(id, Kind::Change, by.at)
        })
    }

    /// The row before says what was about to happen; this one that it did not.
    fn leave_undone(&self, by: &By, file: &PolicyFile, error: &NotApplied) {
        log::error!("`{file}` was not applied: {error}");
        let row = self.system_row("policy.apply", file.to_string(), &json!({ "undone": true }));
        self.leave(row.map(|mut row| {
            row.verdicts.push(Verdict::denied(Step::Policy, error.to_string()));
            Entry { actor: by.actor.clone(), kind: Kind::Change, decision: Decision::Denied, ..row }
        }));
    }
}

impl From<NotApplied> for ControlError {
    fn from(error: NotApplied) -> Self {
        let kind = match &error {
            NotApplied::Conflict { .. } | NotApplied::Unsettled(_) | NotApplied::NotWritable(_) => ErrorKind::Conflict,
            NotApplied::NoFile(_) => ErrorKind::NotFound,
            NotApplied::Same | NotApplied::Mistakes(_) => ErrorKind::Invalid,
            NotApplied::Unreadable(_)
            | NotApplied::NotNoted(_)
            | NotApplied::NotWritten(_)
            | NotApplied::NotInForce { .. } => ErrorKind::Failed,
        };
        Self { kind, message: error.to_string() }
    }
}
