//! `APP_KEY` and its predecessors. The ring is turned while the gateway runs: whoever holds it sees the new key at once.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ed25519_dalek::{Signature, VerifyingKey};

use super::AppKey;
use super::derived::{DeriveError, Derived};
use super::key_id::KeyId;
use super::keyed_hash::{HashPurpose, KeyedHash};

/// `APP_KEY` and its predecessors. New values use the first; old values are opened by whichever made them.
pub struct KeyRing {
    keys: ArcSwap<Keys>,
}

/// The keys at one moment, newest first.
struct Keys {
    current: Arc<Derived>,
    predecessors: Vec<Arc<Derived>>,
}

impl Keys {
    fn all(&self) -> impl Iterator<Item = &Arc<Derived>> {
        std::iter::once(&self.current).chain(&self.predecessors)
    }
}

impl KeyRing {
    /// A ring with `current` in use and `predecessors` for what they once sealed, newest first. A key that is named twice
    /// is held once.
    ///
    /// # Errors
    /// When a key cannot be derived; nothing may then be sealed or hashed.
    pub fn new(current: &AppKey, predecessors: &[AppKey]) -> Result<Self, DeriveError> {
        let current = Arc::new(Derived::from(current)?);
        let mut ring = Keys { current, predecessors: Vec::with_capacity(predecessors.len()) };
        for key in predecessors {
            let derived = Derived::from(key)?;
            if ring.all().all(|held| held.id != derived.id) {
                ring.predecessors.push(Arc::new(derived));
            }
        }
        Ok(Self { keys: ArcSwap::from_pointee(ring) })
    }

    /// Puts a new key into use; the one before becomes its predecessor. Gives the ids of both, the new one first.
    ///
    /// # Errors
    /// When the key cannot be derived; nothing has changed then.
    pub fn turn_to(&self, new: &AppKey) -> Result<(KeyId, KeyId), DeriveError> {
        let new = Arc::new(Derived::from(new)?);
        let before = self.keys.rcu(|keys| {
            let older = keys.all().filter(|held| held.id != new.id).map(Arc::clone);
            Keys { current: Arc::clone(&new), predecessors: older.collect() }
        });
        Ok((new.id, before.current.id))
    }

    /// Lets go of a predecessor: what it made can no longer be opened or found.
    pub fn forget(&self, id: KeyId) {
        self.keys.rcu(|keys| Keys {
            current: Arc::clone(&keys.current),
            predecessors: keys.predecessors.iter().filter(|held| held.id != id).map(Arc::clone).collect(),
        });
    }

    /// The ids of its keys; the one in use first, then its predecessors, newest first.
    #[must_use]
    pub fn ids(&self) -> Vec<KeyId> {
        self.keys.load().all().map(|held| held.id).collect()
    }

    /// The id of the key that is in use.
    #[must_use]
    pub fn current_id(&self) -> KeyId {
        self.keys.load().current.id
    }

    /// The keyed hash of a secret, with the key in use. Allocates nothing.
    #[must_use]
    pub fn keyed_hash(&self, purpose: HashPurpose, secret: &[u8]) -> (KeyedHash, KeyId) {
        let keys = self.keys.load();
        (keys.current.hash(purpose, secret), keys.current.id)
    }

    /// The keyed hash as the key with this id makes it; `None` where the ring does not hold that key.
    #[must_use]
    pub fn keyed_hash_by(&self, id: KeyId, purpose: HashPurpose, secret: &[u8]) -> Option<KeyedHash> {
        self.keys.load().all().find(|held| held.id == id).map(|held| held.hash(purpose, secret))
    }

    /// What `look` finds under the keyed hash of a secret, whichever key made it. The key in use is tried first, so that
    /// what was made since the last rotation costs one hash.
    pub fn find<T>(
        &self,
        purpose: HashPurpose,
        secret: &[u8],
        mut look: impl FnMut(&KeyedHash) -> Option<T>,
    ) -> Option<T> {
        self.keys.load().all().find_map(|held| look(&held.hash(purpose, secret)))
    }

    /// Signs a statement about the audit trail (Ed25519, RFC 8032). Gives the key with which anybody can check that, and
    /// the signature.
    #[must_use]
    pub fn sign_checkpoint(&self, statement: &[u8]) -> ([u8; 32], [u8; 64]) {
        let current = self.current();
        (current.public_key(), current.sign(statement))
    }

    pub(super) fn current(&self) -> Arc<Derived> {
        Arc::clone(&self.keys.load().current)
    }

    pub(super) fn by_id(&self, id: KeyId) -> Option<Arc<Derived>> {
        self.keys.load().all().find(|held| held.id == id).map(Arc::clone)
    }
}

/// Whether a checkpoint's signature is that of this public key (strict verification: no weak keys).
#[must_use]
pub fn is_signed_by(public_key: &[u8; 32], statement: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(public_key)
        .is_ok_and(|key| key.verify_strict(statement, &Signature::from_bytes(signature)).is_ok())
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyRing({} predecessors)", self.keys.load().predecessors.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemEntropy;

    fn key() -> AppKey {
        AppKey::generate(&SystemEntropy).expect("entropy")
    }

    fn finds(ring: &KeyRing, hash: KeyedHash) -> bool {
        ring.find(HashPurpose::Token, b"secret", |made| (*made == hash).then_some(())).is_some()
    }

    #[test]
    fn what_was_hashed_before_a_turn_is_found_until_its_key_is_forgotten() {
        let (old, new) = (key(), key());
        let ring = KeyRing::new(&old, &[]).expect("derived");
        let (before, old_id) = ring.keyed_hash(HashPurpose::Token, b"secret");
        assert_eq!(ring.turn_to(&new), Ok((ring.current_id(), old_id)));
        let (after, new_id) = ring.keyed_hash(HashPurpose::Token, b"secret");
        assert!(before != after && old_id != new_id);
        assert!(finds(&ring, before) && finds(&ring, after));
        assert_eq!(ring.ids(), [new_id, old_id]);
        ring.forget(old_id);
        assert!(!finds(&ring, before) && finds(&ring, after));
        assert_eq!(ring.keyed_hash_by(old_id, HashPurpose::Token, b"secret"), None);
    }

    #[test]
    fn the_key_in_use_is_never_forgotten() {
        let ring = KeyRing::new(&key(), &[]).expect("derived");
        let id = ring.current_id();
        ring.forget(id);
        assert_eq!(ring.ids(), [id]);
    }

    #[test]
    fn a_key_that_is_named_twice_is_held_once() {
        let (one, other) = (key(), key());
        let ring = KeyRing::new(&one, &[other.clone(), one.clone(), other]).expect("derived");
        assert_eq!(ring.ids().len(), 2);
        let before = ring.ids();
        ring.turn_to(&one).expect("derived");
        assert_eq!(ring.ids(), before);
    }
}
