//! What a backup needs before its state may be used.

use std::fs::File;
use std::path::Path;

use rusqlite::{Connection, params};

use super::{ChangeTransaction, RecordedChange, Seq, Store, StoreError, to_sql};
use crate::domain::{AccountId, CredentialId};

impl Store {
    /// Whether SQLite finds every page and row of the database as it should be.
    ///
    /// # Errors
    /// When it does not: [`StoreError::Damaged`].
    pub fn check_integrity(&self) -> Result<(), StoreError> {
        let found: String = self.connection()?.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if found == "ok" { Ok(()) } else { Err(StoreError::Damaged(self.settings.file(), found)) }
    }

    /// The number of the last change; 0 where there is none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last_change(&self) -> Result<Seq, StoreError> {
        let query = "SELECT COALESCE(MAX(seq), 0) FROM change";
        Ok(Seq(self.connection()?.query_row(query, [], |row| row.get::<_, i64>(0))?.unsigned_abs()))
    }

    /// The change with this number.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn change_numbered(&self, seq: Seq) -> Result<Option<RecordedChange>, StoreError> {
        let found = self.changes_after(Seq(seq.0.saturating_sub(1)), 1)?;
        Ok(found.into_iter().find(|change| change.seq == seq))
    }

    /// Adds changes that were made to another copy of this state since, so that no number is given twice. They say what
    /// happened; nothing here is what they made of it.
    ///
    /// # Errors
    /// When they do not go on where the stream ends, or on a fault of the database; none is added then.
    pub fn append_history(&self, changes: &[RecordedChange]) -> Result<(), StoreError> {
        let mut connection = self.connection()?;
        let transaction = connection.transaction()?;
        let mut last: i64 = transaction.query_row("SELECT COALESCE(MAX(seq), 0) FROM change", [], |row| row.get(0))?;
        for change in changes {
            last += 1;
            // INVARIANT: the stream has no gaps.
            if change.seq.0 != last.unsigned_abs() {
                return Err(StoreError::Gap(last.unsigned_abs()));
            }
            transaction
                .prepare_cached(
                    "INSERT INTO change (seq, at, actor, operation, subject, account, credential, detail)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    last,
                    to_sql(change.at),
                    change.actor,
                    change.operation,
                    change.subject,
                    change.account.as_ref().map(AccountId::as_bytes),
                    change.credential.as_ref().map(CredentialId::as_bytes),
                    change.detail,
                ])?;
        }
        Ok(transaction.commit()?)
    }
}

/// Makes a database one file, with nothing in a log beside it. On disk when this returns.
///
/// # Errors
/// When somebody has it open, or it cannot be written.
pub fn settle(file: &Path) -> Result<(), StoreError> {
    let connection = Connection::open(file)?;
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy != 0 {
        return Err(StoreError::Owned(file.to_owned()));
    }
    connection.close().map_err(|(_, error)| error)?;
    File::open(file).and_then(|file| file.sync_all()).map_err(|error| StoreError::File(file.to_owned(), error))
}

impl ChangeTransaction<'_> {
    /// Forgets what must not come back to life: tokens, sessions at ERPs and of the portal, what was asked for with an `Idempotency-Key`.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn forget_what_is_short_lived(&self) -> Result<(), StoreError> {
        self.connection().execute_batch(
            "DELETE FROM token; DELETE FROM upstream_session; DELETE FROM repeatable; DELETE FROM portal_session;",
        )?;
        Ok(())
    }
}
