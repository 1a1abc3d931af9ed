//! Changes of the secrets with which the gateway signs in at ERPs.

use serde_json::json;

use super::Directory;
use super::change::{By, ChangeError, Result};
use super::entry::entry;
use crate::domain::{AccountId, UpstreamName};
use crate::store::{SealedSecrets, Seq};

impl Directory {
    /// Sets the sealed secrets of an upstream, or of one account there, all together. The session made with the old ones
    /// is forgotten.
    ///
    /// # Errors
    /// When there is no such account, or the store fails.
    pub fn put_upstream_secrets(
        &self,
        by: &By,
        upstream: &UpstreamName,
        account: Option<AccountId>,
        secrets: &SealedSecrets,
    ) -> Result<Seq> {
        self.with_lock(|snapshot| {
            let set = |value: &Option<Vec<u8>>| if value.is_some() { "set" } else { "unset" };
            let detail = json!({
                "username": set(&secrets.username), "password": set(&secrets.password), "api_key": set(&secrets.api_key),
            });
            let mut entry = entry(by, "upstream.secret.set", upstream.to_string()).detail(detail);
            if let Some(id) = account {
                let known = snapshot.account(id);
                known.ok_or_else(|| ChangeError::NotFound("there is no such account".into()))?;
                entry = entry.account(id);
            }
            self.commit(&entry, |tx| tx.put_upstream_secrets(upstream, account, secrets, by.at).map(drop))
        })
    }

    /// Removes the secrets that an account has at an upstream, and its session.
    ///
    /// # Errors
    /// When it has none there, or the store fails.
    pub fn remove_upstream_secrets(&self, by: &By, upstream: &UpstreamName, account: AccountId) -> Result<Seq> {
        self.with_lock(|_| {
            let none = || ChangeError::NotFound(format!("the account has no secrets of its own at `{upstream}`"));
            if self.store.upstream_secrets(upstream, Some(account))?.is_none() {
                return Err(none());
            }
            let entry = entry(by, "upstream.secret.remove", upstream.to_string()).account(account);
            self.commit(&entry, |tx| tx.delete_upstream_secrets(upstream, account).map(drop))
        })
    }
}
