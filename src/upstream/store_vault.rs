//! The vault over the state database: what it keeps is sealed with the key ring.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::key::{AccountRef, SessionKey};
use super::vault::{SessionVault, StoredSession, UpstreamSecrets, VaultError};
use crate::domain::{Entropy, Secret, UpstreamName};
use crate::secrets::{KeyRing, Place, SealError, SealPurpose};
use crate::store::{SealedSecrets, SealedSession, Store, sealed_row};

/// Upstream secrets and sessions in the state database, sealed.
pub struct StoreVault {
    store: Arc<Store>,
    key_ring: Arc<KeyRing>,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for StoreVault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("StoreVault")
    }
}

impl StoreVault {
    /// A vault on this store.
    #[must_use]
    pub fn new(store: Arc<Store>, key_ring: Arc<KeyRing>, entropy: Arc<dyn Entropy>) -> Self {
        Self { store, key_ring, entropy }
    }

    /// Seals what an operator sets, ready for the store.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn seal_secrets(&self, key: &SessionKey, secrets: &UpstreamSecrets) -> Result<SealedSecrets, SealError> {
        let row = row(key);
        let seal = |column: &str, secret: &Option<Secret>| {
            let place = Place { table: "upstream_secret", row: &row, column };
            let sealed = secret.as_ref().map(|secret| {
                self.key_ring.seal(SealPurpose::UpstreamSecret, &place, secret.expose().as_bytes(), &*self.entropy)
            });
            sealed.transpose()
        };
        Ok(SealedSecrets {
            username: seal("username", &secrets.username)?,
            password: seal("password", &secrets.password)?,
            api_key: seal("api_key", &secrets.api_key)?,
            version: 0,
        })
    }

    fn open(&self, purpose: SealPurpose, place: &Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.key_ring.open(purpose, place, sealed).map_err(failed)
    }
}

impl SessionVault for StoreVault {
    fn accounts(&self, upstream: &UpstreamName) -> Result<Vec<AccountRef>, VaultError> {
        let accounts = self.store.accounts_with_upstream_secrets(upstream).map_err(failed)?;
        Ok(accounts.into_iter().map(|(id, name)| AccountRef { id, name }).collect())
    }

    fn load_secrets(&self, key: &SessionKey) -> Result<Option<UpstreamSecrets>, VaultError> {
        let sealed = self.store.upstream_secrets(&key.upstream, key.account).map_err(failed)?;
        let Some(sealed) = sealed else { return Ok(None) };
        let row = row(key);
        let open = |column: &str, sealed: Option<Vec<u8>>| {
            let place = Place { table: "upstream_secret", row: &row, column };
            let opened = sealed.map(|sealed| text(&self.open(SealPurpose::UpstreamSecret, &place, &sealed)?));
            opened.transpose()
        };
        Ok(Some(UpstreamSecrets {
            username: open("username", sealed.username)?,
            password: open("password", sealed.password)?,
            api_key: open("api_key", sealed.api_key)?,
            version: sealed.version,
        }))
    }

    fn load(&self, key: &SessionKey) -> Result<Option<StoredSession>, VaultError> {
        let kept = self.store.upstream_session(&key.upstream, key.account).map_err(failed)?;
        let Some(kept) = kept else { return Ok(None) };
        let opened = self.open(SealPurpose::UpstreamSession, &session_place(&row(key)), &kept.sealed)?;
        let variables: BTreeMap<String, String> =
            serde_json::from_slice(&opened).map_err(|_| VaultError("a kept session cannot be read".into()))?;
        Ok(Some(StoredSession {
            variables: variables.into_iter().map(|(name, value)| (name, Secret::new(value))).collect(),
            secret_version: kept.secret_version,
            signed_in_at: kept.signed_in_at,
            expires_at: kept.expires_at,
        }))
    }

    fn save(&self, key: &SessionKey, session: &StoredSession) -> Result<(), VaultError> {
        let variables: BTreeMap<&str, &str> =
            session.variables.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        let plain = Zeroizing::new(serde_json::to_vec(&variables).map_err(failed)?);
        let row = row(key);
        let place = session_place(&row);
        let sealed =
            self.key_ring.seal(SealPurpose::UpstreamSession, &place, &plain, &*self.entropy).map_err(failed)?;
        let session = SealedSession {
            sealed,
            secret_version: session.secret_version,
            signed_in_at: session.signed_in_at,
            expires_at: session.expires_at,
        };
        self.store.put_upstream_session(&key.upstream, key.account, &session).map_err(failed)
    }

    fn delete(&self, key: &SessionKey) -> Result<(), VaultError> {
        self.store.delete_upstream_session(&key.upstream, key.account).map_err(failed)
    }
}

fn session_place(row: &str) -> Place<'_> {
    Place { table: "upstream_session", row, column: "sealed" }
}

fn row(key: &SessionKey) -> String {
    sealed_row(key.upstream.as_str(), key.account)
}

fn text(bytes: &[u8]) -> Result<Secret, VaultError> {
    std::str::from_utf8(bytes)
        .map(|text| Secret::new(text.to_owned()))
        .map_err(|_| VaultError("a kept secret is not a text".into()))
}

fn failed(error: impl fmt::Display) -> VaultError {
    VaultError(error.to_string())
}
