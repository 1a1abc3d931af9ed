//! Accounts.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::credentials::demanded;
use super::{Control, ControlError, Result, render};
use crate::directory::{AccountState, By, Snapshot};
use crate::domain::{AccountId, AccountName, Fingerprint, LabelChange, Labels, Limits};

impl Control {
    pub(super) fn create_account(&self, by: &By, name: &AccountName, labels: &[LabelChange]) -> Result<Value> {
        let labels = Labels::default().changed(labels).map_err(|error| ControlError::invalid(error.to_string()))?;
        let (account, _) = self.directory.create_account(by, name, labels)?;
        Ok(render::account(&account, 0))
    }

    pub(super) fn label_account(&self, by: &By, name: &AccountName, changes: &[LabelChange]) -> Result<Value> {
        if changes.is_empty() {
            return Err(ControlError::incomplete("name the labels: `key=value` sets one, `key-` removes one"));
        }
        let (account, _) = self.directory.label_account(by, name, changes)?;
        Ok(render::account(&account, sets_of(&self.directory.snapshot(), account.id)))
    }

    pub(super) fn limit_account(&self, by: &By, name: &AccountName, limits: Option<Limits>) -> Result<Value> {
        let account = self.directory.limit_account(by, name, limits)?;
        Ok(render::account(&account, sets_of(&self.directory.snapshot(), account.id)))
    }

    pub(super) fn demand_of_account(&self, by: &By, name: &AccountName, of: Vec<Fingerprint>) -> Result<Value> {
        let account = self.directory.demand_of_account(by, name, demanded(of)?)?;
        Ok(render::account(&account, sets_of(&self.directory.snapshot(), account.id)))
    }

    pub(super) fn rename_account(&self, by: &By, name: &AccountName, new: &AccountName) -> Result<Value> {
        let (account, _) = self.directory.rename_account(by, name, new)?;
        Ok(render::account(&account, sets_of(&self.directory.snapshot(), account.id)))
    }

    pub(super) fn set_contacts(&self, by: &By, name: &AccountName, contacts: &[String]) -> Result<Value> {
        let contacts: Vec<String> = contacts.iter().map(|text| text.trim().to_owned()).collect();
        let fits =
            |text: &String| !text.is_empty() && text.chars().count() <= 200 && !text.chars().any(char::is_control);
        if contacts.len() > 10 || !contacts.iter().all(fits) {
            return Err(ControlError::invalid("contacts are at most 10 texts of 1 to 200 characters"));
        }
        let (account, _) = self.directory.set_contacts(by, name, contacts)?;
        Ok(render::account(&account, sets_of(&self.directory.snapshot(), account.id)))
    }

    pub(super) fn delete_account(&self, by: &By, name: &AccountName) -> Result<Value> {
        self.directory.delete_account(by, name)?;
        Ok(json!({ "name": name, "state": "deleted" }))
    }

    pub(super) fn list_accounts(&self) -> Value {
        let snapshot = self.directory.snapshot();
        let mut sets: HashMap<AccountId, usize> = HashMap::new();
        for credential in snapshot.credentials() {
            *sets.entry(credential.account).or_default() += 1;
        }
        let sets_of = |id| sets.get(&id).copied().unwrap_or_default();
        snapshot.accounts().iter().map(|account| render::account(account, sets_of(account.id))).collect()
    }

    pub(super) fn show_account(&self, name: &AccountName) -> Result<Value> {
        let snapshot = self.directory.snapshot();
        let account = snapshot.account_named(name).ok_or_else(|| no_account(name))?;
        let sets = self.list_credentials(Some(name))?;
        let mut shown = render::account(account, sets_of(&snapshot, account.id));
        if let Some(members) = shown.as_object_mut() {
            members.insert("sets".into(), sets);
        }
        Ok(shown)
    }

    pub(super) fn suspend_account(&self, by: &By, name: &AccountName, reason: &str) -> Result<Value> {
        if reason.trim().is_empty() {
            return Err(ControlError::invalid("a suspension needs a reason"));
        }
        let state = AccountState::Suspended { reason: reason.to_owned(), at: by.at };
        let (account, _) = self.directory.set_account_state(by, name, state)?;
        Ok(render::account(&account, sets_of(&self.directory.snapshot(), account.id)))
    }

    pub(super) fn activate_account(&self, by: &By, name: &AccountName) -> Result<Value> {
        let (account, _) = self.directory.set_account_state(by, name, AccountState::Active)?;
        Ok(json!({ "name": account.name, "state": "active" }))
    }
}

impl Control {
    /// The id of the account with this name.
    pub(super) fn account_id(&self, name: &AccountName) -> Result<AccountId> {
        self.directory.snapshot().account_named(name).map(|account| account.id).ok_or_else(|| no_account(name))
    }
}

pub(super) fn no_account(name: &AccountName) -> ControlError {
    ControlError::not_found(format!("there is no account `{name}`; `erp-access account list` shows them"))
}

fn sets_of(snapshot: &Snapshot, account: AccountId) -> usize {
    snapshot.credentials().iter().filter(|credential| credential.account == account).count()
}
