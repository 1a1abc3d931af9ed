//! The tables of upstream secrets and sessions. Only sealed values come here.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use super::{ChangeTransaction, Store, StoreError, from_sql, to_sql};
use crate::domain::UpstreamName;

/// The secrets of an upstream, sealed.
#[derive(Debug, Clone, Default)]
pub struct SealedSecrets {
    /// The user name.
    pub username: Option<Vec<u8>>,
    /// The password.
    pub password: Option<Vec<u8>>,
    /// The API key.
    pub api_key: Option<Vec<u8>>,
    /// Grows with each change.
    pub version: u64,
}

/// A session at an upstream, sealed.
#[derive(Debug, Clone)]
pub struct SealedSession {
    /// What the sign-in gave.
    pub sealed: Vec<u8>,
    /// The version of the secrets with which we signed in.
    pub secret_version: u64,
    /// When.
    pub signed_in_at: Timestamp,
    /// When it stops to serve.
    pub expires_at: Option<Timestamp>,
}

impl Store {
    /// The secrets set for an upstream.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn upstream_secrets(&self, upstream: &UpstreamName) -> Result<Option<SealedSecrets>, StoreError> {
        let secrets = self.connection()?.query_row(
            "SELECT username, password, api_key, version FROM upstream_secret WHERE upstream = ?1",
            params![upstream.as_str()],
            |row| {
                Ok(SealedSecrets {
                    username: row.get(0)?,
                    password: row.get(1)?,
                    api_key: row.get(2)?,
                    version: row.get::<_, i64>(3)?.unsigned_abs(),
                })
            },
        );
        Ok(secrets.optional()?)
    }

    /// The session kept for an upstream.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn upstream_session(&self, upstream: &UpstreamName) -> Result<Option<SealedSession>, StoreError> {
        let session = self.connection()?.query_row(
            "SELECT sealed, secret_version, signed_in_at, expires_at FROM upstream_session WHERE upstream = ?1",
            params![upstream.as_str()],
            |row| {
                Ok(SealedSession {
                    sealed: row.get(0)?,
                    secret_version: row.get::<_, i64>(1)?.unsigned_abs(),
                    signed_in_at: from_sql(row.get(2)?),
                    expires_at: row.get::<_, Option<_>>(3)?.map(from_sql),
                })
            },
        );
        Ok(session.optional()?)
    }

    /// Keeps a session in place of the one before.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn put_upstream_session(&self, upstream: &UpstreamName, session: &SealedSession) -> Result<(), StoreError> {
        self.connection()?.execute(
            "INSERT INTO upstream_session (upstream, sealed, secret_version, signed_in_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (upstream) DO UPDATE SET sealed = excluded.sealed, secret_version = excluded.secret_version,
                signed_in_at = excluded.signed_in_at, expires_at = excluded.expires_at",
            params![
                upstream.as_str(),
                session.sealed,
                i64::try_from(session.secret_version).unwrap_or(i64::MAX),
                to_sql(session.signed_in_at),
                session.expires_at.map(to_sql),
            ],
        )?;
        Ok(())
    }

    /// Forgets the session of an upstream.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn delete_upstream_session(&self, upstream: &UpstreamName) -> Result<(), StoreError> {
        self.connection()?.execute("DELETE FROM upstream_session WHERE upstream = ?1", params![upstream.as_str()])?;
        Ok(())
    }
}

impl ChangeTransaction<'_> {
    /// Sets the secrets of an upstream, all together, and forgets the session made with the old ones.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn put_upstream_secrets(
        &self,
        upstream: &UpstreamName,
        secrets: &SealedSecrets,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        let version: i64 = self.connection().query_row(
            "INSERT INTO upstream_secret (upstream, username, password, api_key, version, changed_at)
             VALUES (?1, ?2, ?3, ?4, 1, ?5)
             ON CONFLICT (upstream) DO UPDATE SET username = excluded.username, password = excluded.password,
                api_key = excluded.api_key, version = version + 1, changed_at = excluded.changed_at
             RETURNING version",
            params![upstream.as_str(), secrets.username, secrets.password, secrets.api_key, to_sql(at)],
            |row| row.get(0),
        )?;
        self.connection().execute("DELETE FROM upstream_session WHERE upstream = ?1", params![upstream.as_str()])?;
        Ok(version.unsigned_abs())
    }
}
