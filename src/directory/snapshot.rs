//! Accounts, credential sets, kill switches and overrides of schedules at one moment; swapped as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::{AccountId, AccountName, CredentialId};
use crate::kill_switch::KillSwitches;
use crate::schedule::Overrides;
use crate::secrets::KeyedHash;
use crate::store::{Account, Credential, OperatorKey, Store, StoreError};

/// Everything but the tokens, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    accounts: HashMap<AccountId, Arc<Account>>,
    credentials: HashMap<CredentialId, Arc<Credential>>,
    operator_keys: HashMap<KeyedHash, Arc<OperatorKey>>,
    kill_switches: Arc<KillSwitches>,
    overrides: Arc<Overrides>,
}

impl Snapshot {
    pub(super) fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            accounts: store.accounts()?.into_iter().map(|account| (account.id, Arc::new(account))).collect(),
            credentials: store.credentials()?.into_iter().map(|set| (set.id, Arc::new(set))).collect(),
            operator_keys: store.operator_keys()?.into_iter().map(|key| (key.hash, Arc::new(key))).collect(),
            kill_switches: Arc::new(KillSwitches::new(store.kill_switches()?)),
            overrides: Arc::new(Overrides::new(store.overrides()?)),
        })
    }

    /// The account with this id.
    #[must_use]
    pub fn account(&self, id: AccountId) -> Option<&Arc<Account>> {
        self.accounts.get(&id)
    }

    /// The account with this name.
    #[must_use]
    pub fn account_named(&self, name: &AccountName) -> Option<&Arc<Account>> {
        self.accounts.values().find(|account| account.name == *name)
    }

    /// The accounts, by name.
    #[must_use]
    pub fn accounts(&self) -> Vec<&Arc<Account>> {
        let mut accounts: Vec<_> = self.accounts.values().collect();
        accounts.sort_by(|one, other| one.name.cmp(&other.name));
        accounts
    }

    /// The credential set with this id.
    #[must_use]
    pub fn credential(&self, id: CredentialId) -> Option<&Arc<Credential>> {
        self.credentials.get(&id)
    }

    /// The credential sets, oldest first.
    #[must_use]
    pub fn credentials(&self) -> Vec<&Arc<Credential>> {
        let mut credentials: Vec<_> = self.credentials.values().collect();
        credentials.sort_by_key(|credential| credential.id);
        credentials
    }

    /// The operator key with this keyed hash, live or not.
    #[must_use]
    pub fn operator_key(&self, hash: &KeyedHash) -> Option<&Arc<OperatorKey>> {
        self.operator_keys.get(hash)
    }

    /// The operator keys, in no order.
    pub fn operator_keys(&self) -> impl Iterator<Item = &Arc<OperatorKey>> {
        self.operator_keys.values()
    }

    /// The kill switches that are engaged.
    #[must_use]
    pub fn kill_switches(&self) -> &KillSwitches {
        &self.kill_switches
    }

    /// The overrides of schedules.
    #[must_use]
    pub fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    pub(super) fn put_account(&mut self, account: Account) {
        self.accounts.insert(account.id, Arc::new(account));
    }

    /// Takes an account away with its sets and keys.
    pub(super) fn remove_account(&mut self, id: AccountId) {
        self.accounts.remove(&id);
        self.credentials.retain(|_, set| set.account != id);
        self.operator_keys.retain(|_, key| key.authority.account() != Some(id));
    }

    pub(super) fn put_credential(&mut self, credential: Credential) {
        self.credentials.insert(credential.id, Arc::new(credential));
    }

    pub(super) fn put_operator_key(&mut self, key: OperatorKey) {
        self.operator_keys.insert(key.hash, Arc::new(key));
    }

    pub(super) fn put_kill_switches(&mut self, kill_switches: KillSwitches) {
        self.kill_switches = Arc::new(kill_switches);
    }

    pub(super) fn put_overrides(&mut self, overrides: Overrides) {
        self.overrides = Arc::new(overrides);
    }
}
