//! What can be asked about the trail's own integrity, and what ends it: retention.

use std::collections::BTreeMap;

use crate::secrets::KeyId;
use jiff::Timestamp;

use super::at_rest::{continues, newest};
use super::auditor::{AuditUnavailable, Auditor};
use super::checkpoint::Checkpoint;
use super::database::AuditError;
use super::entry::Entry;
use super::retention::{self, PRUNE, Pruned};
use super::verify::{self, Against, Position, Progress, seals};

/// A place in the trail with the head of the chain there, noted outside of `audit.db`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// The last record of the span.
    pub sequence: i64,
    /// The head of the chain.
    pub head: [u8; 32],
}

impl Anchor {
    /// The head as a manifest writes it.
    #[must_use]
    pub fn head_in_hex(&self) -> String {
        hex::encode(self.head)
    }
}

/// Why old rows were not removed.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The database.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The row that says so cannot be written: nothing was removed.
    #[error("{0}, so nothing was removed")]
    Unrecorded(#[from] AuditUnavailable),
}

impl Auditor {
    /// How many seals each key made that are still there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn seals_by_key(&self) -> Result<BTreeMap<KeyId, u64>, AuditError> {
        let connection = self.pool.get()?;
        let mut statement = connection.prepare("SELECT key, COUNT(*) FROM seal GROUP BY key")?;
        let rows = statement
            .query_map([], |row| Ok((KeyId::from_bytes(row.get(0)?), row.get::<_, i64>(1)?.unsigned_abs())))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Checks the next part of the trail, some ten thousand records at most.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn verify(
        &self,
        position: Position,
        checkpoint: Option<&Checkpoint>,
        anchor: Option<Anchor>,
    ) -> Result<Progress, AuditError> {
        let against = Against {
            ring: Some(&self.key_ring),
            checkpoint,
            anchor: anchor.map(|anchor| (anchor.sequence, anchor.head)),
        };
        verify::next(&mut *self.pool.get()?, position, &against)
    }

    /// A position from which [`Auditor::verify`] goes on at this record, trusting what lies before it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn position_at(&self, sequence: i64) -> Result<Position, AuditError> {
        verify::from(&*self.pool.get()?, sequence)
    }

    /// The newest sealed place.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn anchor(&self) -> Result<Option<Anchor>, AuditError> {
        newest(&*self.pool.get()?)
    }

    /// Whether the trail is the one of which this was noted, as far as that can be told without reading it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn continues(&self, noted: Anchor) -> Result<bool, AuditError> {
        continues(&*self.pool.get()?, noted)
    }

    /// A signed statement of the newest sealed place, to be kept outside of this host.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>, AuditError> {
        let newest = seals(&*self.pool.get()?, "ORDER BY last DESC LIMIT 1", &[])?;
        Ok(newest.first().map(|seal| {
            let at = Timestamp::from_microsecond(seal.at).unwrap_or(Timestamp::UNIX_EPOCH);
            Checkpoint::sign(&self.key_ring, &self.settings.node, seal.last, &seal.head, at)
        }))
    }

    /// What [`Auditor::prune`] would remove: whole spans sealed before `cutoff`, none behind `keep_from`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn prunable(&self, cutoff: Timestamp, keep_from: Option<i64>) -> Result<Option<Pruned>, AuditError> {
        let connection = self.pool.get()?;
        let Some(seal) = retention::boundary(&connection, cutoff.as_microsecond(), keep_from)? else { return Ok(None) };
        let records = retention::count_through(&connection, seal.last)?;
        Ok(Some(Pruned { through: seal.last, head: hex::encode(seal.head), records }))
    }

    /// Removes what [`Auditor::prunable`] said, after `entry` with that as its detail is on disk.
    ///
    /// # Errors
    /// When the row cannot be written; nothing is removed then. When the database fails; a later call goes on.
    pub fn prune(&self, pruned: &Pruned, cutoff: Timestamp, entry: Entry) -> Result<(), PruneError> {
        let detail = serde_json::json!({
            "through": pruned.through, "head": pruned.head, "records": pruned.records, "sealed_before": cutoff,
        });
        let path = format!("records up to {}", pruned.through);
        self.write_blocking(Entry { method: PRUNE.into(), path, detail: Some(detail.to_string()), ..entry })?;
        retention::allow(&mut *self.pool.get().map_err(AuditError::from)?, pruned.through)?;
        Ok(self.finish_pruning()?)
    }

    /// Removes what a pruning that was interrupted left.
    ///
    /// # Errors
    /// When the database fails.
    pub fn finish_pruning(&self) -> Result<(), AuditError> {
        while retention::delete_some(&mut *self.pool.get()?)? {}
        Ok(())
    }
}
