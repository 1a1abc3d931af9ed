//! Changes: committed to the store, swapped into the view, then answered.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::entry::{Entry, entry};
use super::{Directory, Snapshot, TokenEntry, detail};
use crate::domain::{AccountId, AccountName, Actor, CredentialId, EntropyError, PolicyName, TokenId};
use crate::secrets::{KeyId, KeyedHash};
use crate::store::{
    Account, ChangeTransaction, Credential, CredentialKind, CredentialState, Grant, HashedSecrets, Pair, Seq,
    StoreError,
};

/// Why a change was not made. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It is there already, or in a state that does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// It is no longer what it was when it was looked at.
    #[error("it has changed meanwhile: revision {revision} instead of {expected}; look again before you change it")]
    Stale {
        /// What it was.
        expected: u64,
        /// What it is.
        revision: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There was no randomness for an id.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// Who makes a change, and when.
#[derive(Debug, Clone)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
    /// The revision that the account or credential set must still have.
    pub expected: Option<u64>,
}

impl By {
    /// Whether what is to be changed is still what it was when it was looked at.
    pub(super) fn finds(&self, revision: u64) -> Result<()> {
        match self.expected {
            Some(expected) if expected != revision => Err(ChangeError::Stale { expected, revision }),
            _ => Ok(()),
        }
    }
}

/// A credential set to be issued; its secrets are hashed already.
#[derive(Debug)]
pub struct NewCredential {
    /// The account that it is for.
    pub account: AccountId,
    /// What people call it.
    pub name: String,
    /// Whether it is held to its grants.
    pub kind: CredentialKind,
    /// Why it is not held to them, where it is not.
    pub reason: Option<String>,
    /// What it is for.
    pub purpose: Option<String>,
    /// The networks from which it may be used; everywhere where there are none.
    pub clients: Vec<IpNet>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// What is kept of its secrets.
    pub secrets: HashedSecrets,
    /// The policies that it holds.
    pub grants: Vec<PolicyName>,
}

pub(super) type Result<T> = std::result::Result<T, ChangeError>;

impl Directory {
    /// Issues a credential set.
    ///
    /// # Errors
    /// When the account does not exist, or the store fails.
    pub fn issue_credential(&self, by: &By, new: NewCredential) -> Result<(Credential, Seq)> {
        self.with_lock(|snapshot| {
            let account = snapshot
                .account(new.account)
                .ok_or_else(|| ChangeError::NotFound("there is no such account".into()))?;
            let id = CredentialId::new(by.at, &*self.entropy)?;
            let grants = new.grants.into_iter().map(|policy| Grant { policy, expires_at: None }).collect();
            let credential = Credential {
                id,
                account: account.id,
                name: new.name,
                kind: new.kind,
                reason: new.reason,
                purpose: new.purpose,
                clients: new.clients,
                state: CredentialState::Active,
                expires_at: new.expires_at,
                password_hash: new.secrets.password_hash,
                api_key_hash: new.secrets.api_key_hash,
                hash_key: new.secrets.hash_key,
                limits: None,
                certificates: Vec::new(),
                revision: 0,
                created_at: by.at,
                rotated_at: None,
                former: None,
                used: Arc::default(),
                grants,
            };
            let entry = entry(by, "credential.issue", id.to_string()).account(account.id).credential(id);
            let after = detail::credential(&credential);
            let entry = match &credential.reason {
                Some(reason) => entry.changed_because(reason, Value::Null, after),
                None => entry.changed(Value::Null, after),
            };
            let seq = self.commit(&entry, |tx| tx.insert_credential(&credential))?;
            let credential = self.put_credential(credential, seq);
            Ok((credential, seq))
        })
    }

    /// Disables, enables or revokes a credential set. Disabling and revoking end its tokens.
    ///
    /// # Errors
    /// When there is no such set, it is revoked or in that state already, or the store fails.
    pub fn set_credential_state(&self, by: &By, id: CredentialId, state: CredentialState) -> Result<(usize, Seq)> {
        self.with_lock(|snapshot| {
            let before = snapshot.credential(id).ok_or_else(|| no_credential(id))?;
            by.finds(before.revision)?;
            if before.state == state || before.state == CredentialState::Revoked {
                return Err(ChangeError::Conflict(format!(
                    "credential set `{id}` is {} already",
                    before.state.as_str()
                )));
            }
            let operation = match state {
                CredentialState::Active => "credential.enable",
                CredentialState::Disabled => "credential.disable",
                CredentialState::Revoked => "credential.revoke",
            };
            let credential = Credential { state, ..Credential::clone(before) };
            let entry = entry(by, operation, id.to_string()).account(before.account).credential(id);
            let entry = entry.changed(detail::credential(before), detail::credential(&credential));
            let seq = self.commit(&entry, |tx| {
                tx.update_credential_state(id, state, by.at)?;
                if state != CredentialState::Active {
                    tx.delete_tokens_of(id)?;
                }
                Ok(())
            })?;
            let ended = if state == CredentialState::Active { 0 } else { self.tokens.revoke_all(id) };
            self.put_credential(credential, seq);
            Ok((ended, seq))
        })
    }

    /// Keeps other hashes of the same secrets, unless the secrets or their hashes have changed meanwhile.
    ///
    /// # Errors
    /// When the store fails.
    pub fn renew_hashes(&self, by: &By, old: &Credential, new: HashedSecrets) -> Result<()> {
        self.with_lock(|snapshot| {
            let Some(before) = snapshot.credential(old.id).filter(|now| now.password_hash == old.password_hash) else {
                return Ok(());
            };
            let HashedSecrets { password_hash, api_key_hash, hash_key } = new;
            let credential = Credential { password_hash, hash_key, api_key_hash, ..Credential::clone(before) };
            let entry = entry(by, "credential.rehash", old.id.to_string()).account(old.account).credential(old.id);
            let entry = entry.changed(detail::hashing(before), detail::hashing(&credential));
            let seq = self.commit(&entry, |tx| tx.update_hashes(&credential, by.at))?;
            self.put_credential(credential, seq);
            Ok(())
        })
    }

    /// Grants a policy to a credential set, or changes when the grant ends.
    ///
    /// # Errors
    /// When there is no such set, it is revoked, or the store fails.
    pub fn add_grant(&self, by: &By, id: CredentialId, grant: Grant) -> Result<Seq> {
        self.with_lock(|snapshot| {
            let before = snapshot.credential(id).ok_or_else(|| no_credential(id))?;
            by.finds(before.revision)?;
            if before.state == CredentialState::Revoked {
                return Err(ChangeError::Conflict(format!("credential set `{id}` is revoked")));
            }
            let held = before.grants.iter().find(|held| held.policy == grant.policy);
            let entry = entry(by, "grant.add", id.to_string()).account(before.account).credential(id);
            let entry = entry.changed(held.map_or(Value::Null, detail::grant), detail::grant(&grant));
            let seq = self.commit(&entry, |tx| tx.insert_grant(id, &grant, by.at))?;
            let mut credential = Credential::clone(before);
            credential.grants.retain(|known| known.policy != grant.policy);
            credential.grants.push(grant);
            self.put_credential(credential, seq);
            Ok(seq)
        })
    }

    /// Takes a grant back.
    ///
    /// # Errors
    /// When it is not there, or the store fails.
    pub fn remove_grant(&self, by: &By, id: CredentialId, policy: &PolicyName) -> Result<Seq> {
        self.with_lock(|snapshot| {
            let before = snapshot.credential(id).ok_or_else(|| no_credential(id))?;
            by.finds(before.revision)?;
            let Some(held) = before.grants.iter().find(|grant| grant.policy == *policy) else {
                return Err(ChangeError::NotFound(format!("credential set `{id}` does not hold `{policy}`")));
            };
            let entry = entry(by, "grant.remove", id.to_string()).account(before.account).credential(id);
            let entry = entry.changed(detail::grant(held), Value::Null);
            let seq = self.commit(&entry, |tx| tx.delete_grant(id, policy))?;
            let mut credential = Credential::clone(before);
            credential.grants.retain(|grant| grant.policy != *policy);
            self.put_credential(credential, seq);
            Ok(seq)
        })
    }

    /// Adds a token, hashed with this key. `pair_of` says which of its set's secrets get it. Its record is the audit row of
    /// the attempt.
    ///
    /// # Errors
    /// When its set was disabled or revoked meanwhile, or its secrets have ended, or the store fails.
    pub fn insert_token(
        &self,
        (hash, hash_key): (KeyedHash, KeyId),
        entry: TokenEntry,
        pair_of: impl Fn(&Credential) -> Option<Pair>,
    ) -> Result<TokenEntry> {
        self.with_lock(|snapshot| {
            // A revocation that was answered while the password was checked must win.
            let credential = snapshot.credential(entry.credential).filter(|set| set.state == CredentialState::Active);
            let (credential, pair) = credential
                .and_then(|set| Some((set, pair_of(set)?)))
                .ok_or_else(|| ChangeError::Conflict("the credential set was ended meanwhile".into()))?;
            credential.used.note(pair, entry.issued_at());
            let entry = entry.got_with(pair);
            self.store.insert_token(&entry.row(hash, hash_key), credential)?;
            self.tokens.insert(hash, entry);
            Ok(entry)
        })
    }

    /// Ends one token whose end is recorded elsewhere. Says whether it was live.
    ///
    /// # Errors
    /// When the store fails.
    pub fn withdraw_token(&self, token: TokenEntry) -> Result<bool> {
        self.with_lock(|_| {
            let deleted = self.store.delete_token(token.id)?;
            self.tokens.revoke(token);
            self.changed();
            Ok(deleted)
        })
    }

    /// Revokes one token.
    ///
    /// # Errors
    /// When there is no such live token, or the store fails.
    pub fn revoke_token(&self, by: &By, id: TokenId) -> Result<Seq> {
        self.with_lock(|snapshot| {
            let token =
                self.tokens.by_id(id).ok_or_else(|| ChangeError::NotFound(format!("there is no live token `{id}`")))?;
            let mut change = entry(by, "token.revoke", id.to_string()).credential(token.credential);
            change = change.changed(detail::token(&token), Value::Null);
            if let Some(credential) = snapshot.credential(token.credential) {
                change = change.account(credential.account);
            }
            let seq = self.commit(&change, |tx| tx.delete_token(id).map(drop))?;
            self.tokens.revoke(token);
            self.changed();
            Ok(seq)
        })
    }

    /// Revokes all tokens of a credential set and says how many there were.
    ///
    /// # Errors
    /// When there is no such set, or the store fails.
    pub fn revoke_tokens_of(&self, by: &By, id: CredentialId) -> Result<(usize, Seq)> {
        self.with_lock(|snapshot| {
            let credential = snapshot.credential(id).ok_or_else(|| no_credential(id))?;
            by.finds(credential.revision)?;
            let live = self.live_tokens_of(id, by.at);
            let entry = entry(by, "token.revoke-all", id.to_string()).account(credential.account).credential(id);
            let entry = entry.changed(json!({ "live_tokens": live }), json!({ "live_tokens": 0 }));
            let seq = self.commit(&entry, |tx| tx.delete_tokens_of(id).map(drop))?;
            let ended = self.tokens.revoke_all(id);
            self.changed();
            Ok((ended, seq))
        })
    }

    /// Forgets tokens that have expired and says how many there were in the store.
    ///
    /// # Errors
    /// When the store fails.
    pub fn forget_expired_tokens(&self, now: Timestamp) -> Result<usize> {
        self.with_lock(|_| {
            let deleted = self.store.delete_expired_tokens(now)?;
            self.tokens.forget_expired(now);
            Ok(deleted)
        })
    }

    pub(super) fn with_lock<T>(&self, change: impl FnOnce(&Snapshot) -> Result<T>) -> Result<T> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        change(&self.snapshot.load_full())
    }

    pub(super) fn commit(
        &self,
        entry: &Entry,
        change: impl FnOnce(&ChangeTransaction<'_>) -> std::result::Result<(), StoreError>,
    ) -> Result<Seq> {
        Ok(self.store.change(&entry.0, change)?.1)
    }

    /// Shows the change to every request that begins from now on, and makes those in progress look again.
    pub(super) fn swap(&self, change: impl Fn(&mut Snapshot)) {
        self.snapshot.rcu(|before| {
            let mut after = Snapshot::clone(before);
            change(&mut after);
            after
        });
        self.changed();
    }

    /// Shows a set as this change made it.
    pub(super) fn put_credential(&self, credential: Credential, seq: Seq) -> Credential {
        let credential = Credential { revision: seq.0, ..credential };
        self.swap(|snapshot| snapshot.put_credential(credential.clone()));
        credential
    }

    /// Shows an account as this change made it.
    pub(super) fn put_account(&self, account: Account, seq: Seq) -> Account {
        let account = Account { revision: seq.0, ..account };
        self.swap(|snapshot| snapshot.put_account(account.clone()));
        account
    }

    pub(super) fn changed(&self) {
        self.epoch.fetch_add(1, Ordering::Release);
    }
}

pub(super) fn no_account(name: &AccountName) -> ChangeError {
    ChangeError::NotFound(format!("there is no account `{name}`; `erp-access account list` shows them"))
}

pub(super) fn no_credential(id: CredentialId) -> ChangeError {
    ChangeError::NotFound(format!("there is no credential set `{id}`; `erp-access credential list` shows them"))
}
