//! The table of what was asked for with an `Idempotency-Key`: the same key makes nothing twice.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use super::{Store, StoreError, to_sql};

/// Whether something was asked for before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It was not; it is now.
    First,
    /// It was.
    Before {
        /// The hash of what was asked for then.
        request: [u8; 32],
        /// What was made; empty while that is not known.
        subject: String,
    },
}

impl Store {
    /// Notes that something is asked for with this key, where it was not before.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn ask_once(&self, key: &[u8; 32], request: &[u8; 32], now: Timestamp) -> Result<Asked, StoreError> {
        let mut connection = self.connection()?;
        let transaction = connection.transaction()?;
        let inserted = transaction.execute(
            "INSERT INTO repeatable (key, request, subject, at) VALUES (?1, ?2, '', ?3) ON CONFLICT (key) DO NOTHING",
            params![key, request, to_sql(now)],
        )?;
        let asked = if inserted == 1 {
            Asked::First
        } else {
            let before = transaction
                .query_row("SELECT request, subject FROM repeatable WHERE key = ?1", params![key], |row| {
                    Ok(Asked::Before { request: row.get(0)?, subject: row.get(1)? })
                })
                .optional()?;
            before.ok_or(StoreError::Affected("ask once", 0))?
        };
        transaction.commit()?;
        Ok(asked)
    }

    /// Notes what was made for a key.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn made_for(&self, key: &[u8; 32], subject: &str) -> Result<(), StoreError> {
        self.connection()?.execute("UPDATE repeatable SET subject = ?2 WHERE key = ?1", params![key, subject])?;
        Ok(())
    }

    /// Forgets a key for which nothing was made.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn made_nothing_for(&self, key: &[u8; 32]) -> Result<(), StoreError> {
        self.connection()?.execute("DELETE FROM repeatable WHERE key = ?1", params![key])?;
        Ok(())
    }

    /// Forgets keys that came before this moment.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn forget_keys_before(&self, moment: Timestamp) -> Result<(), StoreError> {
        self.connection()?.execute("DELETE FROM repeatable WHERE at < ?1", params![to_sql(moment)])?;
        Ok(())
    }
}
