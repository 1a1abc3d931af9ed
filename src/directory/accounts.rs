//! Changes of accounts.

use serde_json::Value;

use super::change::{By, ChangeError, Result, no_account};
use super::entry::entry;
use super::{Directory, detail};
use crate::domain::{AccountId, AccountName, LabelChange, Labels};
use crate::store::{Account, AccountState, Seq};

impl Directory {
    /// Creates an account.
    ///
    /// # Errors
    /// When the name is taken, or the store fails.
    pub fn create_account(&self, by: &By, name: &AccountName, labels: Labels) -> Result<(Account, Seq)> {
        self.with_lock(|snapshot| {
            if snapshot.account_named(name).is_some() {
                return Err(ChangeError::Conflict(format!("account `{name}` exists already")));
            }
            let id = AccountId::new(by.at, &*self.entropy)?;
            let state = AccountState::Active;
            let account = Account { id, name: name.clone(), state, labels, revision: 0, created_at: by.at };
            let after = detail::new_account(&account);
            let entry = entry(by, "account.create", name.to_string()).account(id).changed(Value::Null, after);
            let seq = self.commit(&entry, |tx| tx.insert_account(&account))?;
            let account = self.put_account(account, seq);
            Ok((account, seq))
        })
    }

    /// Suspends or activates an account.
    ///
    /// # Errors
    /// When there is no such account, it is in that state already, or the store fails.
    pub fn set_account_state(&self, by: &By, name: &AccountName, state: AccountState) -> Result<(Account, Seq)> {
        self.with_lock(|snapshot| {
            let known = snapshot.account_named(name).ok_or_else(|| no_account(name))?;
            by.finds(known.revision)?;
            let before = Account::clone(known);
            if before.state == AccountState::Active && state == AccountState::Active {
                return Err(ChangeError::Conflict(format!("account `{name}` is active already")));
            }
            let was = detail::account(&before.state);
            let is = detail::account(&state);
            let account = Account { state, ..before };
            let entry = |operation| entry(by, operation, name.to_string()).account(account.id);
            let entry = match &account.state {
                AccountState::Active => entry("account.activate").changed(was, is),
                AccountState::Suspended { reason, .. } => entry("account.suspend").changed_because(reason, was, is),
            };
            let seq = self.commit(&entry, |tx| tx.update_account_state(&account))?;
            let account = self.put_account(account, seq);
            Ok((account, seq))
        })
    }

    /// Changes the labels of an account. The relays that are decided from now on see the new ones.
    ///
    /// # Errors
    /// When there is no such account, it would have too many labels, nothing would change, or the store fails.
    pub fn label_account(&self, by: &By, name: &AccountName, changes: &[LabelChange]) -> Result<(Account, Seq)> {
        self.with_lock(|snapshot| {
            let before = snapshot.account_named(name).ok_or_else(|| no_account(name))?;
            by.finds(before.revision)?;
            let labels = before.labels.changed(changes).map_err(|error| ChangeError::Conflict(error.to_string()))?;
            if labels == before.labels {
                return Err(ChangeError::Conflict(format!("account `{name}` has these labels already")));
            }
            let entry = entry(by, "account.label", name.to_string()).account(before.id);
            let entry = entry.changed(detail::labels(&before.labels), detail::labels(&labels));
            let seq = self.commit(&entry, |tx| tx.put_labels(before.id, &labels))?;
            let account = Account { labels, ..Account::clone(before) };
            let account = self.put_account(account, seq);
            Ok((account, seq))
        })
    }
}
