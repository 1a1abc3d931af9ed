//! What a backup says of itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::secrets::KeyId;

/// The version of the format that this program writes and reads.
pub(super) const FORMAT: u32 = 1;

/// The first file of a backup, `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format.
    pub format: u32,
    /// The moment that both databases show.
    pub made_at: Timestamp,
    /// The node that made it.
    pub node: String,
    /// The version of the program.
    pub program: String,
    /// The number of the last change of state in it.
    pub change: u64,
    /// The last sealed record of the audit trail in it.
    pub audit_sequence: i64,
    /// The head of the chain there, in hex.
    pub audit_head: String,
    /// The `APP_KEY` without which it cannot be used.
    pub key: KeyId,
    /// The databases.
    pub parts: Vec<Part>,
}

/// A database in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its file.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256, in hex.
    pub sha256: String,
}
