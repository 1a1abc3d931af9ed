//! Changes of accounts.

use serde_json::{Value, json};

use super::change::{By, ChangeError, Result, no_account};
use super::entry::entry;
use super::{Directory, detail};
use crate::domain::{AccountId, AccountName, LabelChange, Labels};
use crate::kill_switch::{Engaged, Scope};
use crate::store::{Account, AccountState, CredentialState, Seq};

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
            let account = Account {
                id,
                name: name.clone(),
                state,
                labels,
                limits: None,
                certificates: Vec::new(),
                contacts: Vec::new(),
                revision: 0,
                created_at: by.at,
            };
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

    /// Gives an account another name. A kill switch on the account moves along.
    ///
    /// # Errors
    /// When there is no such account, the name is taken, or the store fails.
    pub fn rename_account(&self, by: &By, name: &AccountName, new: &AccountName) -> Result<(Account, Seq)> {
        self.with_lock(|snapshot| {
            let before = snapshot.account_named(name).ok_or_else(|| no_account(name))?;
            by.finds(before.revision)?;
            if snapshot.account_named(new).is_some() {
                return Err(ChangeError::Conflict(format!("account `{new}` exists already")));
            }
            let (old_scope, new_scope) = (Scope::Account(name.clone()), Scope::Account(new.clone()));
            let moved = snapshot.kill_switches().of(&old_scope);
            let moved = moved.map(|engaged| Engaged { scope: new_scope, ..engaged.clone() });
            let entry = entry(by, "account.rename", new.to_string()).account(before.id);
            let entry = entry.changed(json!({ "name": name }), json!({ "name": new }));
            let seq = self.commit(&entry, |tx| {
                tx.rename_account(before.id, new)?;
                let Some(moved) = &moved else { return Ok(()) };
                tx.delete_kill_switch(&old_scope)?;
                tx.put_kill_switch(moved)
            })?;
            let account = Account { name: new.clone(), revision: seq.0, ..Account::clone(before) };
            // SECURITY: both at once, so that no request finds the new name without its kill switch.
            self.swap(|snapshot| {
                snapshot.put_account(account.clone());
                if let Some(moved) = &moved {
                    let switches = snapshot.kill_switches().without(&old_scope).with(moved.clone());
                    snapshot.put_kill_switches(switches);
                }
            });
            Ok((account, seq))
        })
    }

    /// Says how an account's people are reached.
    ///
    /// # Errors
    /// When there is no such account, nothing would change, or the store fails.
    pub fn set_contacts(&self, by: &By, name: &AccountName, contacts: Vec<String>) -> Result<(Account, Seq)> {
        self.with_lock(|snapshot| {
            let before = snapshot.account_named(name).ok_or_else(|| no_account(name))?;
            by.finds(before.revision)?;
            if contacts == before.contacts {
                return Err(ChangeError::Conflict(format!("account `{name}` has these contacts already")));
            }
            let entry = entry(by, "account.contacts", name.to_string()).account(before.id);
            let entry = entry.changed(json!(before.contacts), json!(contacts));
            let seq = self.commit(&entry, |tx| tx.put_contacts(before.id, &contacts))?;
            let account = self.put_account(Account { contacts, ..Account::clone(before) }, seq);
            Ok((account, seq))
        })
    }

    /// Deletes an account that nothing belongs to any more, with its revoked sets. Evidence stays.
    ///
    /// # Errors
    /// When there is no such account, something still belongs to it, or the store fails.
    pub fn delete_account(&self, by: &By, name: &AccountName) -> Result<Seq> {
        self.with_lock(|snapshot| {
            let before = snapshot.account_named(name).ok_or_else(|| no_account(name))?;
            by.finds(before.revision)?;
            let sets: Vec<_> = snapshot.credentials().into_iter().filter(|set| set.account == before.id).collect();
            let left = if sets.iter().any(|set| set.state != CredentialState::Revoked) {
                Some("credential sets that are not revoked")
            } else if snapshot.kill_switches().of(&Scope::Account(name.clone())).is_some() {
                Some("a kill switch")
            } else {
                self.store.belongings_of(before.id)?
            };
            if let Some(left) = left {
                return Err(ChangeError::Conflict(format!("account `{name}` still has {left}")));
            }
            let entry = entry(by, "account.delete", name.to_string()).account(before.id);
            let ids: Vec<_> = sets.iter().map(|set| set.id).collect();
            let was = json!({ "name": name, "created_at": before.created_at, "revoked_sets": ids });
            let seq = self.commit(&entry.changed(was, Value::Null), |tx| tx.delete_account(before.id))?;
            self.swap(|snapshot| snapshot.remove_account(before.id));
            Ok(seq)
        })
    }
}
