//! The table of operator keys: with one a program carries operations out over HTTP.

use ipnet::IpNet;
use jiff::Timestamp;
use rusqlite::params;

use super::credentials::{networks, networks_column};
use super::{ChangeTransaction, Store, StoreError, exactly_one, from_sql, to_sql, unknown};
use crate::domain::{AccountId, Authority, OperatorKeyId};
use crate::secrets::{KeyId, KeyedHash};

/// A key with which a program carries operations out.
#[derive(Debug, Clone)]
pub struct OperatorKey {
    /// Its id.
    pub id: OperatorKeyId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub authority: Authority,
    /// Its keyed hash.
    pub hash: KeyedHash,
    /// The key with which it was made.
    pub hash_key: KeyId,
    /// The networks from which it serves; everywhere where there are none.
    pub clients: Vec<IpNet>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whether it was ended for good.
    pub revoked: bool,
    /// When it was issued.
    pub created_at: Timestamp,
}

impl OperatorKey {
    /// Whether it serves at this moment.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.revoked && self.expires_at > now
    }
}

impl Store {
    /// All operator keys.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn operator_keys(&self) -> Result<Vec<OperatorKey>, StoreError> {
        let connection = self.connection()?;
        let mut statement = connection.prepare(
            "SELECT id, name, role, account, key_hash, clients, expires_at, revoked, created_at, hash_key
               FROM operator_key",
        )?;
        let rows = statement.query_map([], |row| {
            let role: String = row.get(2)?;
            let account = row.get::<_, Option<_>>(3)?.map(AccountId::from_bytes);
            let authority = role.parse().ok().and_then(|role| Authority::of(role, account));
            Ok(OperatorKey {
                id: OperatorKeyId::from_bytes(row.get(0)?),
                name: row.get(1)?,
                authority: authority.ok_or_else(|| unknown(2, &role))?,
                hash: KeyedHash::from_bytes(row.get(4)?),
                clients: networks(row.get(5)?)?,
                expires_at: from_sql(row.get(6)?),
                revoked: row.get(7)?,
                created_at: from_sql(row.get(8)?),
                hash_key: KeyId::from_bytes(row.get(9)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl ChangeTransaction<'_> {
    /// Adds an operator key.
    ///
    /// # Errors
    /// When the name is taken, or on a fault of the database.
    pub fn insert_operator_key(&self, key: &OperatorKey) -> Result<(), StoreError> {
        self.connection().execute(
            "INSERT INTO operator_key (id, name, role, account, key_hash, clients, expires_at, created_at, hash_key)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                key.id.as_bytes(),
                key.name,
                key.authority.role().as_str(),
                key.authority.account().as_ref().map(AccountId::as_bytes),
                key.hash.as_bytes(),
                networks_column(&key.clients),
                to_sql(key.expires_at),
                to_sql(key.created_at),
                key.hash_key.as_bytes(),
            ],
        )?;
        Ok(())
    }

    /// Ends an operator key for good.
    ///
    /// # Errors
    /// When it is not there or ended already, or on a fault of the database.
    pub fn revoke_operator_key(&self, id: OperatorKeyId) -> Result<(), StoreError> {
        let affected = self
            .connection()
            .execute("UPDATE operator_key SET revoked = 1 WHERE id = ?1 AND revoked = 0", params![id.as_bytes()])?;
        exactly_one("revoke operator key", affected)
    }
}
