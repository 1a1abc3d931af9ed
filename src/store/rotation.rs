//! The secrets of a credential set that others took the place of, and when secrets were used last.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::{ChangeTransaction, Credential, Store, StoreError, exactly_one, from_sql, to_sql};
use crate::secrets::{KeyId, KeyedHash};

/// What is kept of a set's secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedSecrets {
    /// The Argon2id hash of the password, as a PHC string.
    pub password_hash: String,
    /// The keyed hash of the x-api-key.
    pub api_key_hash: KeyedHash,
    /// The key with which both were made.
    pub hash_key: KeyId,
}

/// Secrets that serve a while longer beside those that took their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerSecrets {
    /// The Argon2id hash of the password, as a PHC string.
    pub password_hash: String,
    /// The keyed hash of the x-api-key.
    pub api_key_hash: KeyedHash,
    /// The key with which both were made.
    pub hash_key: KeyId,
    /// Until when they serve.
    pub ends_at: Timestamp,
}

/// When secrets were used last, in microseconds since the epoch; 0 for never. Shared by all copies of a set.
#[derive(Debug, Default)]
pub struct Used {
    current: AtomicI64,
    former: AtomicI64,
}

/// Which of a set's secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pair {
    /// Those that were issued last.
    Current,
    /// Those before them.
    Former,
}

impl Used {
    fn of(&self, pair: Pair) -> &AtomicI64 {
        match pair {
            Pair::Current => &self.current,
            Pair::Former => &self.former,
        }
    }

    /// Notes that these secrets are used now.
    pub fn note(&self, pair: Pair, now: Timestamp) {
        self.of(pair).fetch_max(to_sql(now), Ordering::Relaxed);
    }

    /// When they were used last.
    #[must_use]
    pub fn last(&self, pair: Pair) -> Option<Timestamp> {
        Some(self.of(pair).load(Ordering::Relaxed)).filter(|at| *at > 0).map(from_sql)
    }

    pub(super) fn from_columns(current: Option<i64>, former: Option<i64>) -> Self {
        Self { current: AtomicI64::new(current.unwrap_or(0)), former: AtomicI64::new(former.unwrap_or(0)) }
    }
}

impl Store {
    /// Writes when a set's secrets were used last. No change: who used what when is in the audit trail.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn note_use(&self, credential: &Credential) -> Result<(), StoreError> {
        note_use(&*self.connection()?, credential)
    }
}

pub(super) fn note_use(connection: &Connection, credential: &Credential) -> Result<(), StoreError> {
    let id = credential.id.as_bytes();
    let last = |pair| credential.used.last(pair).map(to_sql);
    connection
        .prepare_cached("UPDATE credential SET last_used_at = ?2 WHERE id = ?1")?
        .execute(params![id, last(Pair::Current)])?;
    if credential.former.is_some() {
        connection
            .prepare_cached("UPDATE former_secrets SET last_used_at = ?2 WHERE credential = ?1")?
            .execute(params![id, last(Pair::Former)])?;
    }
    Ok(())
}

pub(super) fn former(row: &Row<'_>) -> rusqlite::Result<Option<FormerSecrets>> {
    let Some(password_hash) = row.get(14)? else { return Ok(None) };
    let (api_key_hash, ends_at) = (KeyedHash::from_bytes(row.get(15)?), from_sql(row.get(16)?));
    let hash_key = KeyId::from_bytes(row.get(21)?);
    Ok(Some(FormerSecrets { password_hash, api_key_hash, hash_key, ends_at }))
}

impl ChangeTransaction<'_> {
    /// Puts new secrets in place of a credential set's, and keeps or forgets the former ones as it says.
    ///
    /// # Errors
    /// When there is no such set, or on a fault of the database.
    pub fn replace_secrets(&self, credential: &Credential, at: Timestamp) -> Result<(), StoreError> {
        let id = credential.id.as_bytes();
        let affected = self.connection().execute(
            "UPDATE credential SET password_hash = ?2, api_key_hash = ?3, secrets_at = ?4, changed_at = ?5,
                last_used_at = ?6, hash_key = ?7 WHERE id = ?1",
            params![
                id,
                credential.password_hash,
                credential.api_key_hash.as_bytes(),
                credential.rotated_at.map(to_sql),
                to_sql(at),
                credential.used.last(Pair::Current).map(to_sql),
                credential.hash_key.as_bytes(),
            ],
        )?;
        exactly_one("update credential", affected)?;
        self.connection().execute("DELETE FROM former_secrets WHERE credential = ?1", params![id])?;
        if let Some(former) = &credential.former {
            self.connection().execute(
                "INSERT INTO former_secrets (credential, password_hash, api_key_hash, ends_at, last_used_at, hash_key)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    id,
                    former.password_hash,
                    former.api_key_hash.as_bytes(),
                    to_sql(former.ends_at),
                    credential.used.last(Pair::Former).map(to_sql),
                    former.hash_key.as_bytes(),
                ],
            )?;
        }
        Ok(())
    }
}
