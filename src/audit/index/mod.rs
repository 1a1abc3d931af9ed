//! Where rows are found: a database beside `audit.db` that is derived from it and can be deleted at any time.
//!
//! The tables of the trail carry no index for searching, so writing stays cheap however many ways of searching there
//! are. A thread reads what was committed and adds it here, in segments of [`SEGMENT`] records: what is written lies
//! close together and stays in memory, whatever the values are. A search goes through the segments from the newest on
//! and reads what is not indexed yet from the trail itself, so no answer depends on how far the index is.

mod build;
mod database;
mod search;
#[cfg(test)]
mod tests;

pub(super) use build::Indexer;
pub(super) use search::{find, first_of, forward, indexed_to, narrow, search};

use sha2::{Digest as _, Sha256};

/// Records of one segment, as a power of two.
const SEGMENT: u32 = 18;
/// Records of one zone, as a power of two.
const ZONE: u32 = 12;

/// What rows can be looked up by. The numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id = 1,
    Correlation = 2,
    Token = 3,
    UpstreamStatus = 4,
    Code = 5,
    Credential = 6,
    Actor = 7,
    Client = 8,
    Account = 9,
    Endpoint = 10,
    Policy = 11,
    Kind = 12,
    Decision = 13,
    Cause = 14,
}

/// The key of a value: 48 bits of a hash. That two values may share one costs a row that is read and put aside.
fn key(field: Field, value: &[u8]) -> i64 {
    let mut hash = Sha256::new();
    hash.update([field as u8]);
    hash.update(value);
    let hash: [u8; 32] = hash.finalize().into();
    let start = hash.first_chunk().copied().map_or(0, i64::from_be_bytes);
    (start >> 16) & 0xffff_ffff_ffff
}

/// Values that most rows have are not indexed: a scan finds them at once.
fn is_worth_a_key(field: Field, value: &[u8]) -> bool {
    match field {
        Field::Kind => value != b"relay",
        Field::Decision => value != b"allowed",
        Field::UpstreamStatus => value.first() != Some(&b'2'),
        // Rows of a credential set are found by the set.
        Field::Actor => !value.starts_with(b"credential:"),
        Field::Id
        | Field::Correlation
        | Field::Token
        | Field::Code
        | Field::Credential
        | Field::Client
        | Field::Account
        | Field::Endpoint
        | Field::Policy
        | Field::Cause => true,
    }
}
