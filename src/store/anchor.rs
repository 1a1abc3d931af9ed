//! The newest place of the audit trail, noted outside of `audit.db`, so that a tail that was cut off is noticed.

use rusqlite::{OptionalExtension as _, params};

use super::{Store, StoreError};

impl Store {
    /// Notes a place of the audit trail and the head of its chain there.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn keep_audit_anchor(&self, sequence: i64, head: &[u8; 32]) -> Result<(), StoreError> {
        let value = [&sequence.to_be_bytes()[..], &head[..]].concat();
        self.connection()?.execute(
            "INSERT INTO meta (name, value) VALUES ('audit_anchor', ?1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            params![value],
        )?;
        Ok(())
    }

    /// What was noted last; `None` where nothing was.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn audit_anchor(&self) -> Result<Option<(i64, [u8; 32])>, StoreError> {
        let connection = self.connection()?;
        let value: Option<Vec<u8>> = connection
            .query_row("SELECT value FROM meta WHERE name = 'audit_anchor'", [], |row| row.get(0))
            .optional()?;
        Ok(value.as_deref().and_then(|value| {
            let (sequence, head) = value.split_first_chunk::<8>()?;
            Some((i64::from_be_bytes(*sequence), head.try_into().ok()?))
        }))
    }
}
