//! The live tokens by keyed hash: a concurrent map of small entries, one look-up a request.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::domain::{CredentialId, TokenId};
use crate::secrets::{KeyId, KeyedHash};
use crate::store::{Credential, Pair, TokenRow};

/// A live token as a request meets it: 56 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenEntry {
    /// Its id.
    pub id: TokenId,
    /// The credential set for which it was issued.
    pub credential: CredentialId,
    issued_at: i64,
    expires_at: i64,
    pair: Pair,
}

impl TokenEntry {
    /// A token of this credential set.
    #[must_use]
    pub fn new(id: TokenId, credential: CredentialId, issued_at: Timestamp, expires_at: Timestamp) -> Self {
        let (issued_at, expires_at) = (issued_at.as_microsecond(), expires_at.as_microsecond());
        Self { id, credential, issued_at, expires_at, pair: Pair::Current }
    }

    /// The same, got with this pair of the set's secrets.
    #[must_use]
    pub fn got_with(self, pair: Pair) -> Self {
        Self { pair, ..self }
    }

    /// Whether the secrets that got it still serve.
    #[must_use]
    pub fn is_backed(&self, credential: &Credential, now: Timestamp) -> bool {
        match self.pair {
            Pair::Current => true,
            Pair::Former => credential.former.as_ref().is_some_and(|former| former.ends_at > now),
        }
    }

    /// When it was issued.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        Timestamp::from_microsecond(self.issued_at).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Until when it serves.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_microsecond(self.expires_at).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    pub(super) fn row(&self, hash: KeyedHash, hash_key: KeyId) -> TokenRow {
        TokenRow {
            hash,
            hash_key,
            id: self.id,
            credential: self.credential,
            issued_at: self.issued_at(),
            expires_at: self.expires_at(),
            pair: self.pair,
        }
    }
}

impl From<&TokenRow> for TokenEntry {
    fn from(row: &TokenRow) -> Self {
        Self::new(row.id, row.credential, row.issued_at, row.expires_at).got_with(row.pair)
    }
}

/// Keyed hashes are random already: eight of their bytes are a good hash, and nobody outside can choose them.
#[derive(Debug, Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}
}

type Map = papaya::HashMap<KeyedHash, TokenEntry, BuildHasherDefault<FirstBytes>>;

/// Revocations remembered, so that a relay in progress can be told from one whose token merely expired.
const REMEMBERED: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Tokens {
    by_hash: Map,
    by_credential: Mutex<HashMap<CredentialId, Vec<KeyedHash>>>,
    revoked: Mutex<Revoked>,
}

#[derive(Debug, Default)]
struct Revoked {
    ids: HashSet<TokenId>,
    order: VecDeque<TokenId>,
}

impl Tokens {
    pub(super) fn find(&self, hash: &KeyedHash) -> Option<TokenEntry> {
        self.by_hash.pin().get(hash).copied()
    }

    pub(super) fn insert(&self, hash: KeyedHash, entry: TokenEntry) {
        self.index().entry(entry.credential).or_default().push(hash);
        self.by_hash.pin().insert(hash, entry);
    }

    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub(super) fn count_of(&self, credential: CredentialId, now: Timestamp) -> usize {
        let index = self.index();
        let pinned = self.by_hash.pin();
        let hashes = index.get(&credential).map(Vec::as_slice).unwrap_or_default();
        hashes.iter().filter(|hash| pinned.get(*hash).is_some_and(|entry| entry.expires_at() > now)).count()
    }

    pub(super) fn list(&self, credential: Option<CredentialId>, now: Timestamp) -> Vec<TokenEntry> {
        let pinned = self.by_hash.pin();
        let live = |entry: &&TokenEntry| entry.expires_at() > now;
        let mut entries: Vec<_> = match credential {
            Some(credential) => {
                let index = self.index();
                let hashes = index.get(&credential).map(Vec::as_slice).unwrap_or_default();
                hashes.iter().filter_map(|hash| pinned.get(hash)).filter(live).copied().collect()
            }
            None => pinned.values().filter(live).copied().collect(),
        };
        entries.sort_by_key(|entry| entry.id);
        entries
    }

    /// The token with this id; looks at every token where its credential set is not known.
    pub(super) fn by_id(&self, id: TokenId) -> Option<TokenEntry> {
        self.by_hash.pin().values().find(|entry| entry.id == id).copied()
    }

    /// Notes that other secrets took the place of those that got the tokens of a credential set.
    pub(super) fn outdate(&self, credential: CredentialId) {
        let index = self.index();
        let pinned = self.by_hash.pin();
        for hash in index.get(&credential).map(Vec::as_slice).unwrap_or_default() {
            pinned.update(*hash, |entry| entry.got_with(Pair::Former));
        }
    }

    /// Takes one token away for good.
    pub(super) fn revoke(&self, entry: TokenEntry) {
        let mut index = self.index();
        if let Some(hashes) = index.get_mut(&entry.credential) {
            let pinned = self.by_hash.pin();
            hashes.retain(|hash| {
                let hit = pinned.get(hash).is_none_or(|known| known.id == entry.id);
                if hit {
                    pinned.remove(hash);
                }
                !hit
            });
        }
        self.remember([entry.id]);
    }

    /// Takes all tokens of a credential set away for good and says how many there were.
    pub(super) fn revoke_all(&self, credential: CredentialId) -> usize {
        let hashes = self.index().remove(&credential).unwrap_or_default();
        let pinned = self.by_hash.pin();
        let ended: Vec<_> = hashes.iter().filter_map(|hash| pinned.remove(hash).map(|entry| entry.id)).collect();
        self.remember(ended.iter().copied());
        ended.len()
    }

    /// Forgets tokens that have expired.
    pub(super) fn forget_expired(&self, now: Timestamp) {
        let mut index = self.index();
        let pinned = self.by_hash.pin();
        index.retain(|_, hashes| {
            hashes.retain(|hash| {
                let live = pinned.get(hash).is_some_and(|entry| entry.expires_at() > now);
                if !live {
                    pinned.remove(hash);
                }
                live
            });
            !hashes.is_empty()
        });
    }

    pub(super) fn was_revoked(&self, id: TokenId) -> bool {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).ids.contains(&id)
    }

    fn remember(&self, ids: impl IntoIterator<Item = TokenId>) {
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            if revoked.ids.insert(id) {
                revoked.order.push_back(id);
            }
        }
        while revoked.order.len() > REMEMBERED {
            if let Some(oldest) = revoked.order.pop_front() {
                revoked.ids.remove(&oldest);
            }
        }
    }

    fn index(&self) -> std::sync::MutexGuard<'_, HashMap<CredentialId, Vec<KeyedHash>>> {
        self.by_credential.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
