//! The tables of credential sets and of what is granted to them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::accounts::{fingerprints, fingerprints_column, limits, limits_column};
use super::rotation::{FormerSecrets, Pair, Used, former};
use super::{ChangeTransaction, Store, StoreError, exactly_one, from_sql, to_sql, unknown};
use crate::domain::{AccountId, CredentialId, Fingerprint, Limits, PolicyName};
use crate::secrets::{HashedPassword, KeyId, KeyedHash};

/// What an integration holds: a client id, an API password, an x-api-key.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Its id, the client id of OAuth.
    pub id: CredentialId,
    /// The account that owns it.
    pub account: AccountId,
    /// What people call it.
    pub name: String,
    /// Whether it is held to its grants.
    pub kind: CredentialKind,
    /// Why it is not held to them, where it is not.
    pub reason: Option<String>,
    /// What it is for.
    pub purpose: Option<String>,
    /// The networks from which it may be used; everywhere where there are none.
    pub clients: Vec<IpNet>,
    /// Whether it can be used.
    pub state: CredentialState,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// The Argon2id hash of its password, as a PHC string.
    pub password_hash: String,
    /// The key with which its hashes were made.
    pub hash_key: KeyId,
    /// The keyed hash of its x-api-key.
    pub api_key_hash: KeyedHash,
    /// How much it may ask for.
    pub limits: Option<Limits>,
    /// The client certificates of which one must be shown; none is demanded where there are none.
    pub certificates: Vec<Fingerprint>,
    /// The number of the change that made it what it is.
    pub revision: u64,
    /// When it was issued.
    pub created_at: Timestamp,
    /// When these secrets took the place of others, where they did.
    pub rotated_at: Option<Timestamp>,
    /// The secrets before these, while they still serve.
    pub former: Option<FormerSecrets>,
    /// When its secrets were used last.
    pub used: Arc<Used>,
    /// The policies that it holds.
    pub grants: Vec<Grant>,
}

impl Credential {
    /// Whether a client at this address may use it; nobody is nowhere.
    #[must_use]
    pub fn is_for(&self, client: Option<IpAddr>) -> bool {
        let Some(client) = client.map(|client| client.to_canonical()) else { return self.clients.is_empty() };
        self.clients.is_empty() || self.clients.iter().any(|network| network.contains(&client))
    }

    /// Whether its time is over at this moment.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// The pair of secrets that has this x-api-key and serves at this moment.
    #[must_use]
    pub fn pair_of(&self, api_key: &KeyedHash, now: Timestamp) -> Option<Pair> {
        if *api_key == self.api_key_hash {
            return Some(Pair::Current);
        }
        let former = self.former.as_ref().filter(|former| former.ends_at > now)?;
        (*api_key == former.api_key_hash).then_some(Pair::Former)
    }

    /// The hash of the password of a pair.
    #[must_use]
    pub fn password_of(&self, pair: Pair) -> Option<HashedPassword> {
        let (hash, key) = match pair {
            Pair::Current => (&self.password_hash, self.hash_key),
            Pair::Former => self.former.as_ref().map(|former| (&former.password_hash, former.hash_key))?,
        };
        Some(HashedPassword { hash: hash.clone(), key })
    }
}

/// Whether a credential set is held to its grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CredentialKind {
    /// Only what granted policies allow.
    Bounded,
    /// Every mapped endpoint.
    Unrestricted,
}

/// Whether a credential set can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialState {
    /// It can.
    Active,
    /// It cannot for now.
    Disabled,
    /// It never can again.
    Revoked,
}

/// A policy held by a credential set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The policy.
    pub policy: PolicyName,
    /// When the grant ends.
    pub expires_at: Option<Timestamp>,
}

impl Grant {
    /// Whether it has not ended at this moment.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| at > now)
    }
}

impl CredentialKind {
    /// The text as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bounded => "bounded",
            Self::Unrestricted => "unrestricted",
        }
    }
}

impl CredentialState {
    /// The text as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
        }
    }
}

impl Store {
    /// All credential sets with their grants.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn credentials(&self) -> Result<Vec<Credential>, StoreError> {
        let connection = self.connection()?;
        let mut grants = grants(&connection)?;
        let mut statement = connection.prepare(
            "SELECT id, account, name, kind, state, expires_at, credential.password_hash, credential.api_key_hash,
                created_at, reason, purpose, clients, secrets_at, credential.last_used_at, former_secrets.password_hash,
                former_secrets.api_key_hash, ends_at, former_secrets.last_used_at, revision, limits, credential.hash_key,
                former_secrets.hash_key, certificates
             FROM credential LEFT JOIN former_secrets ON former_secrets.credential = credential.id",
        )?;
        let rows = statement.query_map([], |row| {
            let id = CredentialId::from_bytes(row.get(0)?);
            let kind: String = row.get(3)?;
            let state: String = row.get(4)?;
            Ok(Credential {
                id,
                account: AccountId::from_bytes(row.get(1)?),
                name: row.get(2)?,
                kind: match kind.as_str() {
                    "bounded" => CredentialKind::Bounded,
                    "unrestricted" => CredentialKind::Unrestricted,
                    other => return Err(unknown(3, other)),
                },
                state: match state.as_str() {
                    "active" => CredentialState::Active,
                    "disabled" => CredentialState::Disabled,
                    "revoked" => CredentialState::Revoked,
                    other => return Err(unknown(4, other)),
                },
                expires_at: row.get::<_, Option<_>>(5)?.map(from_sql),
                password_hash: row.get(6)?,
                hash_key: KeyId::from_bytes(row.get(20)?),
                api_key_hash: KeyedHash::from_bytes(row.get(7)?),
                created_at: from_sql(row.get(8)?),
                reason: row.get(9)?,
                purpose: row.get(10)?,
                clients: networks(row.get(11)?)?,
                rotated_at: row.get::<_, Option<_>>(12)?.map(from_sql),
                former: former(row)?,
                used: Arc::new(Used::from_columns(row.get(13)?, row.get(17)?)),
                limits: limits(row.get(19)?)?,
                certificates: fingerprints(row.get(22)?)?,
                revision: row.get::<_, i64>(18)?.unsigned_abs(),
                grants: grants.remove(&id).unwrap_or_default(),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Store {
    /// The grants that were made before this moment, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn grants_made_before(&self, at: Timestamp) -> Result<Vec<(CredentialId, PolicyName)>, StoreError> {
        let connection = self.connection()?;
        let mut statement =
            connection.prepare("SELECT credential, policy FROM granted WHERE created_at < ?1 ORDER BY created_at")?;
        let rows = statement.query_map(params![to_sql(at)], |row| {
            let policy: String = row.get(1)?;
            Ok((CredentialId::from_bytes(row.get(0)?), policy.parse().map_err(|_| unknown(1, &policy))?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Networks as a column holds them; none is NULL.
pub(super) fn networks(column: Option<String>) -> rusqlite::Result<Vec<IpNet>> {
    let Some(text) = column else { return Ok(Vec::new()) };
    serde_json::from_str(&text).map_err(|_| unknown(0, &text))
}

/// The same the other way.
pub(super) fn networks_column(networks: &[IpNet]) -> Option<String> {
    (!networks.is_empty()).then(|| serde_json::json!(networks).to_string())
}

fn grants(connection: &Connection) -> Result<HashMap<CredentialId, Vec<Grant>>, StoreError> {
    let mut statement = connection.prepare("SELECT credential, policy, expires_at FROM granted ORDER BY policy")?;
    let rows = statement.query_map([], |row| {
        let policy: String = row.get(1)?;
        let policy = policy.parse().map_err(|_| unknown(1, &policy))?;
        let grant = Grant { policy, expires_at: row.get::<_, Option<_>>(2)?.map(from_sql) };
        Ok((CredentialId::from_bytes(row.get(0)?), grant))
    })?;
    let mut grants: HashMap<_, Vec<_>> = HashMap::new();
    for row in rows {
        let (credential, grant) = row?;
        grants.entry(credential).or_default().push(grant);
    }
    Ok(grants)
}

impl ChangeTransaction<'_> {
    /// Adds a credential set with its grants.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn insert_credential(&self, credential: &Credential) -> Result<(), StoreError> {
        self.connection().execute(
            "INSERT INTO credential (id, account, name, kind, state, expires_at, password_hash, api_key_hash,
                created_at, changed_at, reason, purpose, clients, hash_key)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11, ?12, ?13)",
            params![
                credential.id.as_bytes(),
                credential.account.as_bytes(),
                credential.name,
                credential.kind.as_str(),
                credential.state.as_str(),
                credential.expires_at.map(to_sql),
                credential.password_hash,
                credential.api_key_hash.as_bytes(),
                to_sql(credential.created_at),
                credential.reason,
                credential.purpose,
                networks_column(&credential.clients),
                credential.hash_key.as_bytes(),
            ],
        )?;
        credential.grants.iter().try_for_each(|grant| self.insert_grant(credential.id, grant, credential.created_at))
    }

    /// Writes a credential set's state.
    ///
    /// # Errors
    /// When there is no such set, or on a fault of the database.
    pub fn update_credential_state(
        &self,
        id: CredentialId,
        state: CredentialState,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let affected = self.connection().execute(
            // INVARIANT: revoked is final, in the database too.
            "UPDATE credential SET state = ?2, changed_at = ?3 WHERE id = ?1 AND state <> 'revoked'",
            params![id.as_bytes(), state.as_str(), to_sql(at)],
        )?;
        exactly_one("update credential", affected)
    }

    /// Writes what people may change of a credential set.
    ///
    /// # Errors
    /// When there is no such set, or on a fault of the database.
    pub fn update_credential(&self, credential: &Credential, at: Timestamp) -> Result<(), StoreError> {
        let affected = self.connection().execute(
            "UPDATE credential SET name = ?2, purpose = ?3, clients = ?4, expires_at = ?5, changed_at = ?6 WHERE id = ?1",
            params![
                credential.id.as_bytes(),
                credential.name,
                credential.purpose,
                networks_column(&credential.clients),
                credential.expires_at.map(to_sql),
                to_sql(at),
            ],
        )?;
        exactly_one("update credential", affected)
    }

    /// Writes which client certificates a credential set demands.
    ///
    /// # Errors
    /// When there is no such set, or on a fault of the database.
    pub fn put_credential_certificates(
        &self,
        id: CredentialId,
        certificates: &[Fingerprint],
    ) -> Result<(), StoreError> {
        let affected = self.connection().execute(
            "UPDATE credential SET certificates = ?2 WHERE id = ?1",
            params![id.as_bytes(), fingerprints_column(certificates)],
        )?;
        exactly_one("update credential set", affected)
    }

    /// Writes how much a credential set may ask for.
    ///
    /// # Errors
    /// When there is no such set, or on a fault of the database.
    pub fn put_credential_limits(&self, id: CredentialId, limits: Option<Limits>) -> Result<(), StoreError> {
        let affected = self.connection().execute(
            "UPDATE credential SET limits = ?2 WHERE id = ?1",
            params![id.as_bytes(), limits_column(limits)],
        )?;
        exactly_one("update credential", affected)
    }

    /// Keeps other hashes of a credential set's secrets.
    ///
    /// # Errors
    /// When there is no such set, or the database cannot be written.
    pub fn update_hashes(&self, credential: &Credential, at: Timestamp) -> Result<(), StoreError> {
        let affected = self.connection().execute(
            "UPDATE credential SET password_hash = ?2, api_key_hash = ?3, hash_key = ?4, changed_at = ?5 WHERE id = ?1",
            params![
                credential.id.as_bytes(),
                credential.password_hash,
                credential.api_key_hash.as_bytes(),
                credential.hash_key.as_bytes(),
                to_sql(at),
            ],
        )?;
        exactly_one("update credential", affected)
    }

    /// Grants a policy, or changes when the grant ends.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn insert_grant(&self, id: CredentialId, grant: &Grant, at: Timestamp) -> Result<(), StoreError> {
        self.connection().execute(
            "INSERT INTO granted (credential, policy, expires_at, created_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (credential, policy) DO UPDATE SET expires_at = excluded.expires_at",
            params![id.as_bytes(), grant.policy.as_str(), grant.expires_at.map(to_sql), to_sql(at)],
        )?;
        Ok(())
    }

    /// Takes a grant back.
    ///
    /// # Errors
    /// When it is not there, or on a fault of the database.
    pub fn delete_grant(&self, id: CredentialId, policy: &PolicyName) -> Result<(), StoreError> {
        let affected = self.connection().execute(
            "DELETE FROM granted WHERE credential = ?1 AND policy = ?2",
            params![id.as_bytes(), policy.as_str()],
        )?;
        exactly_one("delete grant", affected)
    }
}
