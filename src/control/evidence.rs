//! The audit trail's integrity: verification, checkpoints, anchors, retention.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Control, ControlError, Result};
use crate::audit::{Anchor, Checkpoint, Decision, Entry, Kind, Position, Pruned, Step, Verdict};
use crate::directory::By;
use crate::domain::RequestId;

impl Control {
    pub(super) fn verify_audit(
        &self,
        position: Option<Position>,
        from: Option<i64>,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Value> {
        if checkpoint.is_some_and(|checkpoint| !checkpoint.is_signed()) {
            return Err(ControlError::invalid("the signature of the checkpoint is not right; the file was changed"));
        }
        let position = match (position, from) {
            (Some(position), _) => position,
            (None, Some(from)) => self.auditor.position_at(from).map_err(ControlError::failed)?,
            (None, None) => Position::default(),
        };
        let progress = self.auditor.verify(position, checkpoint, self.noted_anchor()).map_err(ControlError::failed)?;
        serde_json::to_value(progress).map_err(ControlError::failed)
    }

    pub(super) fn audit_checkpoint(&self) -> Result<Value> {
        let checkpoint = self.auditor.checkpoint().map_err(ControlError::failed)?;
        let checkpoint = checkpoint.ok_or_else(|| ControlError::not_found("the audit trail has no row yet"))?;
        serde_json::to_value(checkpoint).map_err(ControlError::failed)
    }

    pub(super) fn prune_audit(&self, by: &By, before: Timestamp, dry_run: bool) -> Result<Value> {
        let now = self.clock.now();
        if before > now {
            return Err(ControlError::invalid("only rows of the past can be pruned"));
        }
        let shipped = self.auditor.shipped_to();
        let pruned = self.auditor.prunable(before, shipped).map_err(ControlError::failed)?;
        let Some(pruned) = pruned else {
            return Ok(json!({ "records": 0, "removed": false, "shipped_to": shipped }));
        };
        if !dry_run {
            let id = RequestId::new(now, &*self.entropy).map_err(ControlError::failed)?;
            let entry =
                Entry { actor: by.actor.clone(), decision: Decision::Allowed, ..Entry::new(id, Kind::Change, now) };
            self.auditor.prune(&pruned, before, entry).map_err(ControlError::failed)?;
        }
        Ok(json!({ "records": pruned.records, "through": pruned.through, "removed": !dry_run, "shipped_to": shipped }))
    }

    /// Removes audit rows that are older than they are to be kept. For the housekeeping of a gateway.
    pub fn prune_old_rows(&self, keep: Duration) {
        match self.try_prune_old_rows(keep) {
            Ok(None) => {}
            Ok(Some(Pruned { through, records, .. })) => {
                log::info!("{records} audit records up to {through} were older than they are kept and were removed");
            }
            Err(error) => log::error!("old audit rows could not be removed: {error}"),
        }
    }

    fn try_prune_old_rows(&self, keep: Duration) -> std::result::Result<Option<Pruned>, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        self.auditor.finish_pruning().map_err(|error| text(&error))?;
        let now = self.clock.now();
        let Ok(cutoff) = now.checked_sub(keep) else { return Ok(None) };
        // What a sink has not delivered stays, however old it is.
        let pruned = self.auditor.prunable(cutoff, self.auditor.shipped_to()).map_err(|error| text(&error))?;
        let Some(pruned) = pruned else { return Ok(None) };
        let entry = Entry::system(now, &*self.entropy, "", String::new()).ok_or("there is no randomness")?;
        self.auditor.prune(&pruned, cutoff, entry).map_err(|error| text(&error))?;
        Ok(Some(pruned))
    }

    /// Notes in the state database how far the audit trail goes.
    pub fn keep_anchor(&self) {
        let noted = self.auditor.anchor().map_err(|error| error.to_string()).and_then(|anchor| match anchor {
            Some(anchor) => {
                self.store.keep_audit_anchor(anchor.sequence, &anchor.head).map_err(|error| error.to_string())
            }
            None => Ok(()),
        });
        if let Err(error) = noted {
            log::error!("the end of the audit trail could not be noted: {error}");
        }
    }

    /// Compares the audit trail with what was noted of it; a difference is reported in the log and in the trail.
    pub fn check_anchor(&self) {
        let Some(noted) = self.noted_anchor() else { return };
        match self.auditor.continues(noted) {
            Ok(true) => {}
            Ok(false) => self.report_cut(noted),
            Err(error) => log::error!("the audit trail could not be compared with what was noted of it: {error}"),
        }
    }

    fn noted_anchor(&self) -> Option<Anchor> {
        match self.store.audit_anchor() {
            Ok(noted) => noted.map(|(sequence, head)| Anchor { sequence, head }),
            Err(error) => {
                log::error!("what was noted of the audit trail could not be read: {error}");
                None
            }
        }
    }

    fn report_cut(&self, noted: Anchor) {
        let reason = format!(
            "the audit trail was noted up to record {}, which is not there as it was: its tail was cut, or an older `audit.db` was put in place",
            noted.sequence
        );
        log::error!("{reason}; run `erp-access audit verify`");
        let subject = format!("record {}", noted.sequence);
        let entry = Entry::system(self.clock.now(), &*self.entropy, "audit.anchor", subject);
        let entry = entry.map(|entry| Entry {
            decision: Decision::Denied,
            verdicts: vec![Verdict::denied(Step::Audit, reason)],
            ..entry
        });
        if let Some(Err(error)) = entry.map(|entry| self.auditor.write_blocking(entry)) {
            log::error!("{error}");
        }
    }
}
