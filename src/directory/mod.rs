//! The live view of accounts, credentials, grants and tokens that a request is checked against.
//!
//! A relay reads no SQL: it takes the snapshot and one look-up among the tokens. Every change is committed first and
//! swapped in before it is answered; nothing else changes the directory.

mod accounts;
mod certificates;
mod change;
mod detail;
mod entry;
mod keys;
mod kill_switches;
mod limits;
mod operator_keys;
mod overrides;
mod rotation;
mod secrets;
mod snapshot;
#[cfg(test)]
mod tests;
mod tokens;
mod users;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::{ArcSwap, Guard};
use jiff::Timestamp;

use crate::config::CutBy;
use crate::domain::{CredentialId, Entropy, PolicyName, Principal, UpstreamName};
use crate::kill_switch::Engaged;
use crate::secrets::KeyedHash;
use crate::store::{Store, StoreError};

pub use crate::store::{
    Account, AccountState, Credential, CredentialKind, CredentialState, FormerSecrets, Grant, HashedSecrets,
    OperatorKey, Pair,
};
pub use change::{By, ChangeError, NewCredential};
pub use operator_keys::NewOperatorKey;
pub use rotation::{CredentialChange, NewSecrets};
pub use snapshot::Snapshot;
pub use tokens::TokenEntry;

use tokens::Tokens;

/// The live view, and the only way to change what it shows.
#[derive(Debug)]
pub struct Directory {
    snapshot: ArcSwap<Snapshot>,
    tokens: Tokens,
    /// Grows with each change, so that relays in progress notice cheaply that they must look again.
    epoch: AtomicU64,
    /// Changes are made one after the other.
    changing: Mutex<()>,
    store: Arc<Store>,
    entropy: Arc<dyn Entropy>,
}

/// Who holds a right to relay, and what it rests on.
#[derive(Debug)]
pub struct Holder<'a> {
    /// Token, credential set and account.
    pub principal: &'a Principal,
    /// The policy that allowed it.
    pub policy: Option<&'a PolicyName>,
    /// Where it goes.
    pub upstream: &'a UpstreamName,
}

/// Why a right to relay has ended.
#[derive(Debug, Clone)]
pub enum Cut {
    /// A kill switch was engaged.
    KillSwitch(Box<Engaged>),
    /// The account was suspended.
    Suspended,
    /// The token or its credential set was revoked or disabled.
    Revoked,
    /// The policy that allowed it is no longer granted.
    NotGranted,
}

/// The changes that cut relays in progress; the others let them end. None of them lets a new one begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CutInFlight(u8);

impl CutInFlight {
    /// These do.
    #[must_use]
    pub fn new(changes: &[CutBy]) -> Self {
        Self(changes.iter().fold(0, |set, change| set | bit(*change)))
    }

    /// Whether this change does.
    #[must_use]
    pub const fn by(self, change: CutBy) -> bool {
        self.0 & bit(change) != 0
    }
}

const fn bit(change: CutBy) -> u8 {
    match change {
        CutBy::Kill => 1,
        CutBy::Suspend => 2,
        CutBy::Revoke => 4,
        CutBy::Disable => 8,
        CutBy::Grant => 16,
        CutBy::Policy => 32,
    }
}

impl Directory {
    /// Loads everything that is live at `now`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn load(store: Arc<Store>, now: Timestamp, entropy: Arc<dyn Entropy>) -> Result<Self, StoreError> {
        let snapshot = Snapshot::load(&store)?;
        let tokens = Tokens::default();
        store.for_each_token(now, |row| tokens.insert(row.hash, TokenEntry::from(&row)))?;
        Ok(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            tokens,
            epoch: AtomicU64::new(0),
            changing: Mutex::new(()),
            store,
            entropy,
        })
    }

    /// What is live now.
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// How many changes there were since the start.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The live token with this keyed hash.
    #[must_use]
    pub fn find_token(&self, hash: &KeyedHash, now: Timestamp) -> Option<TokenEntry> {
        self.tokens.find(hash).filter(|entry| entry.expires_at() > now)
    }

    /// How many tokens of a credential set are live.
    #[must_use]
    pub fn live_tokens_of(&self, credential: CredentialId, now: Timestamp) -> usize {
        self.tokens.count_of(credential, now)
    }

    /// The live tokens, of one credential set or all.
    #[must_use]
    pub fn tokens(&self, credential: Option<CredentialId>, now: Timestamp) -> Vec<TokenEntry> {
        self.tokens.list(credential, now)
    }

    /// How many tokens are kept.
    #[must_use]
    pub fn token_count(&self) -> usize {
        self.tokens.len()
    }

    /// Whether a right to relay still holds, as far as the changes that cut relays in progress are concerned.
    ///
    /// # Errors
    /// The change that ended it.
    pub fn still_permitted(&self, holder: &Holder<'_>, cutting: CutInFlight, now: Timestamp) -> Result<(), Cut> {
        let snapshot = self.snapshot();
        let Holder { principal, policy, upstream } = *holder;
        // What is gone was revoked before.
        let account = snapshot.account(principal.account).ok_or(Cut::Revoked)?;
        if cutting.by(CutBy::Kill)
            && let Some(engaged) = snapshot.kill_switches().hit(&account.name, policy, upstream, now)
        {
            return Err(Cut::KillSwitch(Box::new(engaged.clone())));
        }
        if cutting.by(CutBy::Suspend) && matches!(account.state, AccountState::Suspended { .. }) {
            return Err(Cut::Suspended);
        }
        let credential = snapshot.credential(principal.credential).ok_or(Cut::Revoked)?;
        if cutting.by(CutBy::Grant)
            && policy.is_some_and(|policy| !credential.grants.iter().any(|grant| grant.policy == *policy))
        {
            return Err(Cut::NotGranted);
        }
        // A token may expire while its request is served; it may not be revoked. Disabling ends tokens too.
        let ended = match credential.state {
            CredentialState::Disabled => cutting.by(CutBy::Disable),
            CredentialState::Revoked => cutting.by(CutBy::Revoke),
            CredentialState::Active => cutting.by(CutBy::Revoke) && self.tokens.was_revoked(principal.token),
        };
        if ended { Err(Cut::Revoked) } else { Ok(()) }
    }
}
