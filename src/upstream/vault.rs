//! Where secrets come from and where sessions outlive a restart; the store implements it and seals what it keeps.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use super::key::{AccountRef, SessionKey};
use crate::domain::{Secret, UpstreamName};

/// Secrets and sessions of the upstreams. The functions block: they are called on threads that may.
pub trait SessionVault: Send + Sync + fmt::Debug {
    /// The accounts that have secrets of their own at an upstream.
    ///
    /// # Errors
    /// When they cannot be read.
    fn accounts(&self, upstream: &UpstreamName) -> Result<Vec<AccountRef>, VaultError>;

    /// The secrets set; `None` when there are none.
    ///
    /// # Errors
    /// When they cannot be read or opened.
    fn load_secrets(&self, key: &SessionKey) -> Result<Option<UpstreamSecrets>, VaultError>;

    /// The session saved last.
    ///
    /// # Errors
    /// When it cannot be read or opened.
    fn load(&self, key: &SessionKey) -> Result<Option<StoredSession>, VaultError>;

    /// Keeps a session in place of the one before.
    ///
    /// # Errors
    /// When it cannot be sealed or written.
    fn save(&self, key: &SessionKey, session: &StoredSession) -> Result<(), VaultError>;

    /// Forgets the session.
    ///
    /// # Errors
    /// When that cannot be written.
    fn delete(&self, key: &SessionKey) -> Result<(), VaultError>;
}

/// What an operator has set for an upstream.
#[derive(Debug, Clone, Default)]
pub struct UpstreamSecrets {
    /// `{{username}}`.
    pub username: Option<Secret>,
    /// `{{password}}`.
    pub password: Option<Secret>,
    /// `{{api_key}}`.
    pub api_key: Option<Secret>,
    /// Grows with each change. A session belongs to one version.
    pub version: u64,
}

/// A session as it outlives a restart.
#[derive(Debug, Clone)]
pub struct StoredSession {
    /// What the steps extracted, by name.
    pub variables: BTreeMap<String, Secret>,
    /// The version of the secrets with which we signed in.
    pub secret_version: u64,
    /// When we signed in.
    pub signed_in_at: Timestamp,
    /// When it stops to serve, skew already taken off; `None` until the ERP says that it is lost.
    pub expires_at: Option<Timestamp>,
}

/// The vault failed. The text holds no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct VaultError(pub String);
