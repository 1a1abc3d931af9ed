//! The tables of upstream secrets and sessions. Only sealed values come here.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use super::{ChangeTransaction, Store, StoreError, from_sql, to_sql, unknown};
use crate::domain::{AccountId, AccountName, UpstreamName};

/// The account as the tables hold it: empty for the ERP user that all accounts share.
fn owner(account: Option<AccountId>) -> Vec<u8> {
    account.map_or_else(Vec::new, |account| account.as_bytes().to_vec())
}

/// The row that a sealed value is bound to: one account's secrets open for no other.
#[must_use]
pub fn sealed_row(upstream: &str, account: Option<AccountId>) -> String {
    account.map_or_else(|| upstream.to_owned(), |account| format!("{upstream} {account}"))
}

/// The secrets of an ERP user, sealed.
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

const FORGET_SESSION: &str = "DELETE FROM upstream_session WHERE upstream = ?1 AND account = ?2";

impl Store {
    /// The accounts that have secrets of their own at an upstream.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn accounts_with_upstream_secrets(
        &self,
        upstream: &UpstreamName,
    ) -> Result<Vec<(AccountId, AccountName)>, StoreError> {
        let connection = self.connection()?;
        let mut statement = connection.prepare(
            "SELECT account.id, account.name FROM upstream_secret JOIN account ON account.id = upstream_secret.account
              WHERE upstream = ?1",
        )?;
        let rows = statement.query_map(params![upstream.as_str()], |row| {
            let name: String = row.get(1)?;
            Ok((AccountId::from_bytes(row.get(0)?), name.parse().map_err(|_| unknown(1, &name))?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The secrets set for an upstream, or for one account there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn upstream_secrets(
        &self,
        upstream: &UpstreamName,
        account: Option<AccountId>,
    ) -> Result<Option<SealedSecrets>, StoreError> {
        let secrets = self.connection()?.query_row(
            "SELECT username, password, api_key, version FROM upstream_secret WHERE upstream = ?1 AND account = ?2",
            params![upstream.as_str(), owner(account)],
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

    /// When each of the secrets that are set was set.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn upstream_secrets_set_at(&self) -> Result<Vec<(String, Option<AccountId>, Timestamp)>, StoreError> {
        let connection = self.connection()?;
        let mut statement = connection
            .prepare("SELECT upstream, account, changed_at FROM upstream_secret ORDER BY upstream, account")?;
        let rows = statement.query_map([], |row| {
            let account: Option<[u8; 16]> = row.get::<_, Vec<u8>>(1)?.try_into().ok();
            Ok((row.get(0)?, account.map(AccountId::from_bytes), from_sql(row.get(2)?)))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The session kept for an upstream, or for one account there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn upstream_session(
        &self,
        upstream: &UpstreamName,
        account: Option<AccountId>,
    ) -> Result<Option<SealedSession>, StoreError> {
        let session = self.connection()?.query_row(
            "SELECT sealed, secret_version, signed_in_at, expires_at FROM upstream_session
              WHERE upstream = ?1 AND account = ?2",
            params![upstream.as_str(), owner(account)],
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
    pub fn put_upstream_session(
        &self,
        upstream: &UpstreamName,
        account: Option<AccountId>,
        session: &SealedSession,
    ) -> Result<(), StoreError> {
        self.connection()?.execute(
            "INSERT INTO upstream_session (upstream, account, sealed, secret_version, signed_in_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (upstream, account) DO UPDATE SET sealed = excluded.sealed, secret_version = excluded.secret_version,
                signed_in_at = excluded.signed_in_at, expires_at = excluded.expires_at",
            params![
                upstream.as_str(),
                owner(account),
                session.sealed,
                i64::try_from(session.secret_version).unwrap_or(i64::MAX),
                to_sql(session.signed_in_at),
                session.expires_at.map(to_sql),
            ],
        )?;
        Ok(())
    }

    /// Forgets the session of an upstream, or of one account there.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn delete_upstream_session(
        &self,
        upstream: &UpstreamName,
        account: Option<AccountId>,
    ) -> Result<(), StoreError> {
        self.connection()?.execute(FORGET_SESSION, params![upstream.as_str(), owner(account)])?;
        Ok(())
    }
}

impl ChangeTransaction<'_> {
    /// Sets the secrets of an upstream, or of one account there, all together, and forgets the session made with the old
    /// ones.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn put_upstream_secrets(
        &self,
        upstream: &UpstreamName,
        account: Option<AccountId>,
        secrets: &SealedSecrets,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        let version: i64 = self.connection().query_row(
            "INSERT INTO upstream_secret (upstream, account, username, password, api_key, version, changed_at)
             VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6)
             ON CONFLICT (upstream, account) DO UPDATE SET username = excluded.username, password = excluded.password,
                api_key = excluded.api_key, version = version + 1, changed_at = excluded.changed_at
             RETURNING version",
            params![upstream.as_str(), owner(account), secrets.username, secrets.password, secrets.api_key, to_sql(at)],
            |row| row.get(0),
        )?;
        self.connection().execute(FORGET_SESSION, params![upstream.as_str(), owner(account)])?;
        Ok(version.unsigned_abs())
    }

    /// Removes the secrets of one account at an upstream, and its session. Says whether there were any.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn delete_upstream_secrets(&self, upstream: &UpstreamName, account: AccountId) -> Result<bool, StoreError> {
        let (upstream, account) = (upstream.as_str(), owner(Some(account)));
        let removed = self
            .connection()
            .execute("DELETE FROM upstream_secret WHERE upstream = ?1 AND account = ?2", params![upstream, account])?;
        self.connection().execute(FORGET_SESSION, params![upstream, account])?;
        Ok(removed > 0)
    }
}
