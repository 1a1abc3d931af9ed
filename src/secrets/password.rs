//! Argon2id (RFC 9106), off the async threads, a bounded number at once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use super::{KeyId, KeyRing};
use crate::domain::{Clock, Secret};

/// How passwords are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashingSettings {
    /// Memory of one computation, in KiB. OWASP: at least 19456 with two iterations.
    pub memory_kib: u32,
    /// Iterations.
    pub iterations: u32,
    /// Computations at once.
    pub at_once: usize,
    /// Computations that may wait for their turn.
    pub waiting: usize,
}

/// What the check of a password found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// It is not the one hashed.
    Wrong,
    /// It is.
    Right,
    /// It is, and its hash was made with another key or other parameters than today's; this is the one to keep from now
    /// on.
    RightWithNewHash(HashedPassword),
}

/// What is kept of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedPassword {
    /// The Argon2id hash, as a PHC string.
    pub hash: String,
    /// The key whose pepper is in it.
    pub key: KeyId,
}

/// A password was not hashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// Too many are waiting.
    #[error("too many passwords are being checked at once")]
    Overloaded,
    /// The parameters are not possible.
    #[error("Argon2 does not take the parameters: {0}")]
    Parameters(String),
    /// The work was not done, at shutdown.
    #[error("the password was not checked")]
    Interrupted,
}

/// Hashes and checks passwords.
pub struct PasswordHasher {
    work: Arc<Work>,
    turn: Arc<Semaphore>,
    queued: AtomicUsize,
    most_queued: usize,
    clock: Arc<dyn Clock>,
    /// A moving average of how long one check takes, in microseconds.
    typical: AtomicU64,
}

struct Work {
    key_ring: Arc<KeyRing>,
    parameters: Params,
    /// The hash of a password that nobody has, with the current parameters.
    nobodys: String,
}

impl PasswordHasher {
    /// A hasher with these settings and the ring's peppers.
    ///
    /// # Errors
    /// When Argon2 does not take the parameters.
    pub fn new(settings: HashingSettings, key_ring: Arc<KeyRing>, clock: Arc<dyn Clock>) -> Result<Self, HashingError> {
        let parameters = Params::new(settings.memory_kib, settings.iterations, 1, None)
            .map_err(|error| HashingError::Parameters(error.to_string()))?;
        let mut work = Work { key_ring, parameters, nobodys: String::new() };
        let began = clock.monotonic();
        work.nobodys = work.hash(b"nobody")?.hash;
        let typical = micros(clock.monotonic().saturating_sub(began));
        Ok(Self {
            work: Arc::new(work),
            turn: Arc::new(Semaphore::new(settings.at_once.max(1))),
            queued: AtomicUsize::new(0),
            most_queued: settings.at_once + settings.waiting,
            clock,
            typical: AtomicU64::new(typical),
        })
    }

    /// The hash of a password, with a random salt and the pepper of the key in use.
    ///
    /// # Errors
    /// When too many wait, or at shutdown.
    pub async fn hash(&self, password: Secret) -> Result<HashedPassword, HashingError> {
        self.in_turn(move |work| work.hash(password.expose().as_bytes())).await?
    }

    /// Whether the password is the one hashed. Without a hash the work is the same and the answer is no.
    ///
    /// A right password costs a second computation when the key or the parameters have changed since it was hashed.
    ///
    /// # Errors
    /// When too many wait, or at shutdown.
    pub async fn verify(&self, password: Secret, hashed: Option<HashedPassword>) -> Result<Verified, HashingError> {
        let began = self.clock.monotonic();
        let found = self.in_turn(move |work| work.verify(password.expose().as_bytes(), hashed.as_ref())).await?;
        if !matches!(found, Verified::RightWithNewHash(_)) {
            self.note(self.clock.monotonic().saturating_sub(began));
        }
        Ok(found)
    }

    /// How long a check takes at present.
    #[must_use]
    pub fn typical_duration(&self) -> Duration {
        Duration::from_micros(self.typical.load(Ordering::Relaxed))
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Work) -> T + Send + 'static,
    ) -> Result<T, HashingError> {
        let _queued = Queued::enter(&self.queued, self.most_queued)?;
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| HashingError::Interrupted)?;
        let work = Arc::clone(&self.work);
        // The turn goes with the work: a client that goes away does not make room for more work than allowed.
        let done = tokio::task::spawn_blocking(move || {
            let result = job(&work);
            drop(turn);
            result
        });
        done.await.map_err(|_| HashingError::Interrupted)
    }

    fn note(&self, took: Duration) {
        let before = self.typical.load(Ordering::Relaxed);
        self.typical.store((before * 7 + micros(took)) / 8, Ordering::Relaxed);
    }
}

impl PasswordHasher {
    /// What passwords are hashed with, for people.
    #[must_use]
    pub fn told(&self) -> String {
        let parameters = &self.work.parameters;
        format!("Argon2id, {} KiB, {} times over", parameters.m_cost(), parameters.t_cost())
    }
}

impl fmt::Debug for PasswordHasher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PasswordHasher(m={}, t={})", self.work.parameters.m_cost(), self.work.parameters.t_cost())
    }
}

struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn enter(count: &'a AtomicUsize, most: usize) -> Result<Self, HashingError> {
        let before = count.fetch_add(1, Ordering::AcqRel);
        let queued = Self(count);
        if before < most { Ok(queued) } else { Err(HashingError::Overloaded) }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Work {
    fn argon2<'a>(&self, pepper: &'a [u8; 32]) -> Result<Argon2<'a>, HashingError> {
        Argon2::new_with_secret(pepper, Algorithm::Argon2id, Version::V0x13, self.parameters.clone())
            .map_err(|error| HashingError::Parameters(error.to_string()))
    }

    fn hash(&self, password: &[u8]) -> Result<HashedPassword, HashingError> {
        let key = self.key_ring.current();
        let hash: PasswordHash = self
            .argon2(&key.pepper)?
            .hash_password(password)
            .map_err(|error| HashingError::Parameters(error.to_string()))?;
        Ok(HashedPassword { hash: hash.to_string(), key: key.id })
    }

    /// A hash that is missing, cannot be read or was made with a key that is gone costs the same as one that does not fit.
    fn verify(&self, password: &[u8], hashed: Option<&HashedPassword>) -> Verified {
        let current = self.key_ring.current();
        let known =
            hashed.and_then(|hashed| Some((PasswordHash::new(&hashed.hash).ok()?, self.key_ring.by_id(hashed.key)?)));
        let Some((hash, key)) = known else {
            if let (Ok(argon2), Ok(nobodys)) = (self.argon2(&current.pepper), PasswordHash::new(&self.nobodys)) {
                let _ = argon2.verify_password(password, &nobodys);
            }
            return Verified::Wrong;
        };
        let right = self.argon2(&key.pepper).is_ok_and(|argon2| argon2.verify_password(password, &hash).is_ok());
        if !right {
            return Verified::Wrong;
        }
        if key.id == current.id && self.made_today(&hash) {
            return Verified::Right;
        }
        // A password that is right stays right when it cannot be hashed anew.
        self.hash(password).map_or(Verified::Right, Verified::RightWithNewHash)
    }

    fn made_today(&self, hash: &PasswordHash) -> bool {
        let parameter = |name| hash.params.get_decimal(name);
        parameter("m") == Some(self.parameters.m_cost()) && parameter("t") == Some(self.parameters.t_cost())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{SystemClock, SystemEntropy};
    use crate::secrets::AppKey;

    fn ring() -> Arc<KeyRing> {
        Arc::new(KeyRing::new(&AppKey::generate(&SystemEntropy).expect("entropy"), &[]).expect("derived"))
    }

    fn hasher(ring: &Arc<KeyRing>, at_once: usize, waiting: usize) -> PasswordHasher {
        let settings = HashingSettings { memory_kib: 64, iterations: 1, at_once, waiting };
        PasswordHasher::new(settings, Arc::clone(ring), Arc::new(SystemClock::default())).expect("settings")
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    #[tokio::test]
    async fn the_right_password_is_right_and_every_other_is_wrong() {
        let hasher = hasher(&ring(), 2, 8);
        let hash = hasher.hash(secret("correct horse")).await.expect("hashed");
        assert!(hash.hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash:?}");
        assert_eq!(hasher.verify(secret("correct horse"), Some(hash.clone())).await, Ok(Verified::Right));
        for wrong in ["correct hors", "correct horse ", "correct horse\0", ""] {
            assert_eq!(hasher.verify(secret(wrong), Some(hash.clone())).await, Ok(Verified::Wrong), "{wrong:?}");
        }
        assert_eq!(hasher.verify(secret("correct horse"), None).await, Ok(Verified::Wrong));
        let no_hash = HashedPassword { hash: "not a hash".into(), ..hash };
        assert_eq!(hasher.verify(secret("correct horse"), Some(no_hash)).await, Ok(Verified::Wrong));
    }

    #[tokio::test]
    async fn another_pepper_makes_the_right_password_wrong() {
        let hash = hasher(&ring(), 1, 1).hash(secret("correct horse")).await.expect("hashed");
        assert_eq!(hasher(&ring(), 1, 1).verify(secret("correct horse"), Some(hash)).await, Ok(Verified::Wrong));
    }

    #[tokio::test]
    async fn a_right_password_is_hashed_anew_when_the_parameters_have_changed() {
        let ring = ring();
        let old = hasher(&ring, 1, 1).hash(secret("correct horse")).await.expect("hashed");
        let settings = HashingSettings { memory_kib: 128, iterations: 2, at_once: 1, waiting: 1 };
        let today =
            PasswordHasher::new(settings, Arc::clone(&ring), Arc::new(SystemClock::default())).expect("settings");
        assert_eq!(today.verify(secret("wrong"), Some(old.clone())).await, Ok(Verified::Wrong));
        let Ok(Verified::RightWithNewHash(new)) = today.verify(secret("correct horse"), Some(old)).await else {
            panic!("the hash is not renewed");
        };
        assert!(new.hash.starts_with("$argon2id$v=19$m=128,t=2,p=1$"), "{new:?}");
        assert_eq!(today.verify(secret("correct horse"), Some(new)).await, Ok(Verified::Right));
    }

    #[tokio::test]
    async fn a_right_password_is_hashed_anew_after_the_key_was_rotated() {
        let ring = ring();
        let hasher = hasher(&ring, 1, 1);
        let old = hasher.hash(secret("correct horse")).await.expect("hashed");
        ring.turn_to(&AppKey::generate(&SystemEntropy).expect("entropy")).expect("derived");
        assert_eq!(hasher.verify(secret("wrong"), Some(old.clone())).await, Ok(Verified::Wrong));
        let renewed = hasher.verify(secret("correct horse"), Some(old.clone())).await;
        let Ok(Verified::RightWithNewHash(new)) = renewed else { panic!("the hash is not renewed: {renewed:?}") };
        assert_eq!(new.key, ring.current_id());
        assert_eq!(hasher.verify(secret("correct horse"), Some(new)).await, Ok(Verified::Right));
        ring.forget(old.key);
        assert_eq!(hasher.verify(secret("correct horse"), Some(old)).await, Ok(Verified::Wrong));
    }

    #[tokio::test]
    async fn more_than_may_wait_are_turned_away() {
        let hasher = hasher(&ring(), 1, 1);
        // Nobody's turn comes before all three have asked.
        let turn = Arc::clone(&hasher.turn).try_acquire_owned().expect("free");
        let first = hasher.verify(secret("a"), None);
        let second = hasher.verify(secret("b"), None);
        let third = async {
            let turned_away = hasher.verify(secret("c"), None).await;
            drop(turn);
            turned_away
        };
        let (first, second, third) = tokio::join!(biased; first, second, third);
        assert_eq!((first, second, third), (Ok(Verified::Wrong), Ok(Verified::Wrong), Err(HashingError::Overloaded)));
    }
}
