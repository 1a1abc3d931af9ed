//! `tokens:` and `password_hashing:`: what it takes to get a gateway token.

use std::thread::available_parallelism;
use std::time::Duration;

use super::decode::{Section, Wrong};
use super::scalar;

/// Gateway tokens.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// How long a token serves.
    pub lifetime: Duration,
    /// Live tokens of one credential set at most; a further one is refused.
    pub per_credential: u32,
    /// Token requests per minute that name one client id.
    pub attempts_per_client: u32,
    /// Token requests per minute from one address.
    pub attempts_per_address: u32,
}

impl Tokens {
    pub(super) fn read(section: &Section<'_, '_>) -> Self {
        Self {
            lifetime: section.duration(
                "lifetime",
                Duration::from_mins(15),
                Duration::from_mins(1)..=Duration::from_hours(24),
            ),
            per_credential: section.whole("per_credential", 1000, 1..=1_000_000),
            attempts_per_client: section.whole("attempts_per_client", 10, 1..=100_000),
            attempts_per_address: section.whole("attempts_per_address", 60, 1..=100_000),
        }
    }
}

/// The cost of a password (Argon2id, one lane).
#[derive(Debug, Clone)]
pub struct PasswordHashing {
    /// Memory of one hash, in KiB. At least 19456 (OWASP Password Storage Cheat Sheet).
    pub memory_kib: u32,
    /// Passes over the memory. At least 2.
    pub iterations: u32,
    /// Hashes computed at once.
    pub at_once: u32,
    /// Requests that may wait for one; further ones are refused as overloaded.
    pub waiting: u32,
}

/// The least memory, in bytes.
const LEAST_MEMORY: u64 = 19 << 20;

impl PasswordHashing {
    pub(super) fn read(section: &Section<'_, '_>) -> Self {
        let memory = section.value(
            "memory",
            LEAST_MEMORY,
            |bytes| scalar::show_size(*bytes),
            |node| match scalar::size(node)? {
                weak if weak < LEAST_MEMORY => Err(Wrong::new("is too little: at least 19MiB keep passwords safe")),
                large if large > 4 << 30 => Err(Wrong::new("is more than 4GiB")),
                odd if odd % 1024 != 0 => Err(Wrong::new("is not a whole number of KiB")),
                bytes => Ok(bytes),
            },
        );
        Self {
            memory_kib: u32::try_from(memory / 1024).unwrap_or(u32::MAX),
            iterations: section.whole("iterations", 2, 2..=100),
            at_once: section.whole("at_once", cores(), 1..=1024),
            waiting: section.whole("waiting", 64, 0..=100_000),
        }
    }
}

/// Cores that this process may use.
pub(super) fn cores() -> u32 {
    available_parallelism().ok().and_then(|cores| u32::try_from(cores.get()).ok()).unwrap_or(1)
}
