//! Changes of how much may be asked for.

use serde_json::json;

use super::change::{By, ChangeError, Result, no_account, no_credential};
use super::entry::entry;
use super::{Account, Credential, Directory};
use crate::domain::{AccountName, CredentialId, Limits};

impl Directory {
    /// Says how much all sets of an account together may ask for.
    ///
    /// # Errors
    /// When there is no such account, it is so already, or the store fails.
    pub fn limit_account(&self, by: &By, name: &AccountName, limits: Option<Limits>) -> Result<Account> {
        self.with_lock(|snapshot| {
            let before = snapshot.account_named(name).ok_or_else(|| no_account(name))?;
            by.finds(before.revision)?;
            if before.limits == limits {
                return Err(ChangeError::Conflict(format!("account `{name}` has these limits already")));
            }
            let entry = entry(by, "account.limit", name.to_string()).account(before.id);
            let entry = entry.changed(json!(before.limits), json!(limits));
            let seq = self.commit(&entry, |tx| tx.put_account_limits(before.id, limits))?;
            Ok(self.put_account(Account { limits, ..Account::clone(before) }, seq))
        })
    }

    /// Says how much a credential set may ask for.
    ///
    /// # Errors
    /// When there is no such set, it is so already, or the store fails.
    pub fn limit_credential(&self, by: &By, id: CredentialId, limits: Option<Limits>) -> Result<Credential> {
        self.with_lock(|snapshot| {
            let before = snapshot.credential(id).ok_or_else(|| no_credential(id))?;
            by.finds(before.revision)?;
            if before.limits == limits {
                return Err(ChangeError::Conflict(format!("credential set `{id}` has these limits already")));
            }
            let entry = entry(by, "credential.limit", id.to_string()).account(before.account).credential(id);
            let entry = entry.changed(json!(before.limits), json!(limits));
            let seq = self.commit(&entry, |tx| tx.put_credential_limits(id, limits))?;
            Ok(self.put_credential(Credential { limits, ..Credential::clone(before) }, seq))
        })
    }
}
