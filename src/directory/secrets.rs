//! Changes of the secrets with which the gateway signs in at ERPs.

use serde_json::Value;

use super::change::{By, ChangeError, Result};
use super::entry::entry;
use super::{Directory, detail};
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
            let before = self.store.upstream_secrets(upstream, account)?;
            let before = before.as_ref().map_or(Value::Null, detail::secrets);
            let after = detail::secrets(secrets);
            let mut entry = entry(by, "upstream.secret.set", upstream.to_string()).changed(before, after);
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
            let before = detail::secrets(&self.store.upstream_secrets(upstream, Some(account))?.ok_or_else(none)?);
            let entry = entry(by, "upstream.secret.remove", upstream.to_string());
            let entry = entry.account(account).changed(before, Value::Null);
            self.commit(&entry, |tx| tx.delete_upstream_secrets(upstream, account).map(drop))
        })
    }
}
