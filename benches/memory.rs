//! How much memory live tokens and credential sets take: one million and 100,000 must fit into 1 GiB.
//!
//! The rows are written to a real database in one transaction, and loaded as a start loads them.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on must fail, and prints what it found"
)]

use std::sync::Arc;
use std::time::Duration;

use erp_access::directory::Directory;
use erp_access::domain::{Clock as _, SystemClock, SystemEntropy};
use erp_access::store::{Store, StoreSettings, Synchronous};

/// The year 2100, in microseconds since 1970.
const FAR_FUTURE: i64 = 4_102_444_800_000_000;

fn main() {
    // `cargo bench` says so; `cargo test` runs the same code on less data.
    let whole = std::env::args().any(|argument| argument == "--bench");
    let (tokens, sets) = if whole { (1_000_000, 100_000) } else { (10_000_u32, 1_000_u32) };
    let folder = tempfile::tempdir().expect("a folder");
    let settings = StoreSettings {
        directory: folder.path().join("data"),
        synchronous: Synchronous::Normal,
        busy_timeout: Duration::from_secs(5),
        connections: 1,
    };
    Store::migrate(&settings).expect("migrated");
    fill(&folder.path().join("data/erp-access.db"), tokens, sets);
    let store = Arc::new(Store::open(&settings).expect("opened"));
    let before = resident();
    let directory = Directory::load(store, SystemClock::default().now(), Arc::new(SystemEntropy)).expect("loaded");
    let after = resident();
    assert_eq!(directory.token_count(), usize::try_from(tokens).expect("small"));
    let taken = after.saturating_sub(before);
    println!("{tokens} live tokens and {sets} credential sets: {} MiB in memory", taken >> 20);
    println!("{} bytes per token, its share of the credential sets included", taken / u64::from(tokens));
    assert!(taken < 1 << 30, "more than 1 GiB");
}

fn fill(file: &std::path::Path, tokens: u32, sets: u32) {
    let mut database = rusqlite::Connection::open(file).expect("opened");
    let transaction = database.transaction().expect("begun");
    let id = |kind: u8, number: u32| {
        let mut id = [kind; 16];
        id.iter_mut().zip(number.to_be_bytes()).for_each(|(byte, part)| *byte = part);
        id
    };
    let hash = |kind: u8, number: u32| {
        // Spread like a keyed hash, which the map relies on.
        let mut hash = [kind; 32];
        let spread = (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        hash.iter_mut().zip(spread).for_each(|(byte, part)| *byte = part);
        hash
    };
    let password = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    transaction
        .execute(
            "INSERT INTO account (id, name, state, changed_at, created_at) VALUES (?1, 'acme', 'active', 0, 0)",
            [id(1, 0)],
        )
        .expect("inserted");
    for number in 0..sets {
        transaction
            .prepare_cached(
                "INSERT INTO credential (id, account, name, kind, state, password_hash, api_key_hash, created_at, changed_at,
                    hash_key)
                 VALUES (?1, ?2, 'integration', 'bounded', 'active', ?3, ?4, 0, 0, x'00000000')",
            )
            .expect("prepared")
            .execute(rusqlite::params![id(2, number), id(1, 0), password, hash(2, number)])
            .expect("inserted");
        transaction
            .prepare_cached("INSERT INTO granted (credential, policy, created_at) VALUES (?1, 'order-reader', 0)")
            .expect("prepared")
            .execute([id(2, number)])
            .expect("inserted");
    }
    for number in 0..tokens {
        transaction
            .prepare_cached(
                "INSERT INTO token (hash, id, credential, issued_at, expires_at, hash_key)
                 VALUES (?1, ?2, ?3, 0, ?4, x'00000000')",
            )
            .expect("prepared")
            .execute(rusqlite::params![hash(3, number), id(3, number), id(2, number % sets), FAR_FUTURE])
            .expect("inserted");
    }
    transaction.commit().expect("committed");
}

/// Memory of this process that is in use now, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("RssAnon");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") * 1024
}
