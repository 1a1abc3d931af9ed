//! Changes of which client certificates are demanded.

use serde_json::json;

use super::change::{By, ChangeError, Result, no_account, no_credential};
use super::entry::entry;
use super::{Account, Credential, Directory};
use crate::domain::{AccountName, CredentialId, Fingerprint};

impl Directory {
    /// Says which certificates the clients of an account must show one of; none where the list is empty.
    ///
    /// # Errors
    /// When there is no such account, it is so already, or the store fails.
    pub fn demand_of_account(&self, by: &By, name: &AccountName, certificates: Vec<Fingerprint>) -> Result<Account> {
        self.with_lock(|snapshot| {
            let before = snapshot.account_named(name).ok_or_else(|| no_account(name))?;
            by.finds(before.revision)?;
            if before.certificates == certificates {
                return Err(ChangeError::Conflict(format!("account `{name}` demands these already")));
            }
            let entry = entry(by, "account.certificates", name.to_string()).account(before.id);
            let entry = entry.changed(json!(before.certificates), json!(certificates));
            let seq = self.commit(&entry, |tx| tx.put_account_certificates(before.id, &certificates))?;
            Ok(self.put_account(Account { certificates, ..Account::clone(before) }, seq))
        })
    }

    /// Says which certificates the clients of a credential set must show one of; none where the list is empty.
    ///
    /// # Errors
    /// When there is no such set, it is so already, or the store fails.
    pub fn demand_of_credential(
        &self,
        by: &By,
        id: CredentialId,
        certificates: Vec<Fingerprint>,
    ) -> Result<Credential> {
        self.with_lock(|snapshot| {
            let before = snapshot.credential(id).ok_or_else(|| no_credential(id))?;
            by.finds(before.revision)?;
            if before.certificates == certificates {
                return Err(ChangeError::Conflict(format!("credential set `{id}` demands these already")));
            }
            let entry = entry(by, "credential.certificates", id.to_string()).account(before.account).credential(id);
            let entry = entry.changed(json!(before.certificates), json!(certificates));
            let seq = self.commit(&entry, |tx| tx.put_credential_certificates(id, &certificates))?;
            Ok(self.put_credential(Credential { certificates, ..Credential::clone(before) }, seq))
        })
    }
}
