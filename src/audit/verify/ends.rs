//! Where the chain starts and ends, and what was noted elsewhere about it.

use crate::audit::chain::Seal;
use crate::audit::database::AuditError;
use crate::audit::ledger::end_of;

use super::{Damage, Walk, seals};

impl Walk<'_> {
    /// Finds where the chain starts; `false` where there is none.
    pub(super) fn begin(&mut self) -> Result<bool, AuditError> {
        let first = seals(self.transaction, "ORDER BY last LIMIT 1", &[])?.pop();
        let Some(first) = first else {
            let end = end_of(self.transaction)?;
            if end > 0 {
                self.found(1, Damage::Seal, format!("there is no seal at all, but records up to {end}"));
            }
            return Ok(false);
        };
        if first.is_genesis() {
            if first.head != first.expected_head(&[0; 32], std::iter::empty()) {
                self.found(first.first, Damage::Seal, "the first seal was changed".to_owned());
            }
            self.position.unsealed_to = first.last;
        } else {
            self.position.pruned_to = Some(first.last);
            self.position.pruned_head = Some(hex::encode(first.head));
            let stray = "SELECT (SELECT COUNT(*) FROM decision WHERE seq <= ?1) + (SELECT COUNT(*) FROM outcome WHERE seq <= ?1)";
            let stray: i64 = self.transaction.query_row(stray, [first.last], |row| row.get(0))?;
            if stray > 0 {
                let text = format!("{stray} records up to {} have no seal", first.last);
                self.found(first.last, Damage::Inserted, text);
            }
        }
        self.check_seal(&first);
        self.meet_checkpoint(&first);
        self.position.checked_to = first.last;
        self.position.head = Some(hex::encode(first.head));
        Ok(true)
    }

    pub(super) fn meet_checkpoint(&mut self, seal: &Seal) {
        let Some(checkpoint) = self.against.checkpoint.filter(|checkpoint| checkpoint.sequence == seal.last) else {
            return;
        };
        self.position.checkpoint_met = true;
        if checkpoint.head != hex::encode(seal.head) {
            let text = format!("the history up to {} is not the one of which the checkpoint was taken", seal.last);
            self.found(seal.last, Damage::Checkpoint, text);
        }
    }

    /// The last seal is passed: what lies behind it, and what should be there. Says whether the trail ends with a stop.
    pub(super) fn end(&mut self, end: i64) -> Result<bool, AuditError> {
        let last = self.position.checked_to;
        if end > last {
            let text = format!("the records {} to {end} have no seal: they were inserted", last.saturating_add(1));
            self.found(last.saturating_add(1), Damage::Inserted, text);
        }
        if let Some(pruned) = self.position.pruned_to.filter(|_| !self.position.pruning_recorded) {
            let text = format!("the records up to {pruned} are gone and no sealed row says that they were pruned");
            self.found(pruned, Damage::Pruned, text);
        }
        self.end_of_checkpoint(last);
        self.end_of_anchor(last)?;
        let method = "SELECT kind = 'system' AND method = 'stop' FROM decision ORDER BY seq DESC LIMIT 1";
        let stopped = self.transaction.query_row(method, [], |row| row.get(0));
        match stopped {
            Ok(stopped) => Ok(stopped),
            Err(rusqlite::Error::QueryReturnedNoRows) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn end_of_checkpoint(&mut self, last: i64) {
        let Some(checkpoint) = self.against.checkpoint.filter(|_| !self.position.checkpoint_met) else { return };
        let place = checkpoint.sequence;
        if place > last {
            let text = format!("the checkpoint was taken at {place}, but the trail ends at {last}: its tail was cut");
            self.found(last, Damage::CutTail, text);
        } else if self.position.pruned_to.is_none_or(|pruned| place > pruned) {
            let text = format!("the checkpoint was taken at {place}, where the trail has no seal");
            self.found(place, Damage::Checkpoint, text);
        }
    }

    fn end_of_anchor(&mut self, last: i64) -> Result<(), AuditError> {
        let Some((place, head)) = self.against.anchor else { return Ok(()) };
        if place > last {
            let text = format!(
                "the state database remembers the trail up to {place}, but it ends at {last}: its tail was cut, or an older file was put in place"
            );
            self.found(last, Damage::CutTail, text);
        } else if let Some(seal) = seals(self.transaction, "WHERE last = ?1", &[place])?.first()
            && seal.head != head
        {
            let text = format!("the state database remembers another history up to {place}");
            self.found(place, Damage::Checkpoint, text);
        }
        Ok(())
    }
}
