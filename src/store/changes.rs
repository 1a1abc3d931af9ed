//! The stream of changes: every change of state has its gapless number, written in the transaction that makes it.

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};

use super::{Store, StoreError, from_sql, to_sql};
use crate::domain::{AccountId, Actor, CredentialId};

/// The number of a change; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seq(pub u64);

/// Who changed what. Never holds a secret.
#[derive(Debug, Clone)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What was done, as in `account.suspend`.
    pub operation: &'static str,
    /// To what.
    pub subject: String,
    /// The account concerned.
    pub account: Option<AccountId>,
    /// The credential set concerned.
    pub credential: Option<CredentialId>,
    /// Before and after, as JSON.
    pub detail: Option<serde_json::Value>,
}

/// A change as read back.
#[derive(Debug, Clone)]
pub struct RecordedChange {
    /// Its number.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// Who, as text.
    pub actor: String,
    /// What was done.
    pub operation: String,
    /// To what.
    pub subject: String,
    /// The account concerned.
    pub account: Option<AccountId>,
    /// The credential set concerned.
    pub credential: Option<CredentialId>,
    /// Before and after, as JSON.
    pub detail: Option<String>,
}

impl RecordedChange {
    /// Reads one from a row of its number, moment, actor, operation, subject, account, credential set and detail.
    ///
    /// # Errors
    /// When the row has other columns.
    pub fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: Seq(row.get::<_, i64>(0)?.unsigned_abs()),
            at: from_sql(row.get(1)?),
            actor: row.get(2)?,
            operation: row.get(3)?,
            subject: row.get(4)?,
            account: row.get::<_, Option<_>>(5)?.map(AccountId::from_bytes),
            credential: row.get::<_, Option<_>>(6)?.map(CredentialId::from_bytes),
            detail: row.get(7)?,
        })
    }
}

/// A transaction in which tables are changed.
#[derive(Debug)]
pub struct ChangeTransaction<'a>(pub(super) &'a Transaction<'a>);

impl ChangeTransaction<'_> {
    pub(super) fn connection(&self) -> &Connection {
        self.0
    }
}

impl Store {
    /// Makes one change: what `change` does to the tables, and its entry in the stream. All or nothing.
    ///
    /// # Errors
    /// When anything fails; nothing has changed then.
    pub fn change<T>(
        &self,
        entry: &Change,
        change: impl FnOnce(&ChangeTransaction<'_>) -> Result<T, StoreError>,
    ) -> Result<(T, Seq), StoreError> {
        let mut connection = self.connection()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = change(&ChangeTransaction(&transaction))?;
        let seq = append(&transaction, entry)?;
        revise(&transaction, entry, seq)?;
        transaction.commit()?;
        Ok((value, seq))
    }

    /// The changes after this one, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn changes_after(&self, after: Seq, limit: usize) -> Result<Vec<RecordedChange>, StoreError> {
        let connection = self.connection()?;
        let mut statement = connection.prepare_cached(
            "SELECT seq, at, actor, operation, subject, account, credential, detail
               FROM change WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let after = i64::try_from(after.0).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![after, limit], RecordedChange::read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// A credential set, or else an account, is what its last change made of it.
fn revise(transaction: &Transaction<'_>, entry: &Change, seq: Seq) -> Result<(), StoreError> {
    let seq = i64::try_from(seq.0).unwrap_or(i64::MAX);
    match (&entry.credential, &entry.account) {
        (Some(id), _) => {
            transaction.execute("UPDATE credential SET revision = ?2 WHERE id = ?1", params![id.as_bytes(), seq])?
        }
        (None, Some(id)) => {
            transaction.execute("UPDATE account SET revision = ?2 WHERE id = ?1", params![id.as_bytes(), seq])?
        }
        (None, None) => 0,
    };
    Ok(())
}

// INVARIANT: the number is one more than the last, taken under the write lock, so the stream has no gaps.
fn append(transaction: &Transaction<'_>, entry: &Change) -> Result<Seq, StoreError> {
    let seq: i64 = transaction.query_row("SELECT COALESCE(MAX(seq), 0) + 1 FROM change", [], |row| row.get(0))?;
    transaction.execute(
        "INSERT INTO change (seq, at, actor, operation, subject, account, credential, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            seq,
            to_sql(entry.at),
            entry.actor.to_string(),
            entry.operation,
            entry.subject,
            entry.account.as_ref().map(AccountId::as_bytes),
            entry.credential.as_ref().map(CredentialId::as_bytes),
            entry.detail.as_ref().map(ToString::to_string),
        ],
    )?;
    Ok(Seq(seq.unsigned_abs()))
}
