//! Keyed hashes: what is kept of secrets that are looked up.

use std::fmt;

use subtle::ConstantTimeEq;

/// What a keyed hash is for. The same text hashes differently for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashPurpose {
    /// Gateway tokens.
    Token,
    /// Clients' x-api-keys.
    ApiKey,
    /// Portal sessions.
    PortalSession,
    /// Codes that serve in place of a second factor.
    RecoveryCode,
    /// Records of the audit trail.
    AuditRecord,
    /// Spans of the audit trail.
    AuditSpan,
}

/// HMAC-SHA-256 of a secret under a key of ours: enough to find it, of no use to a thief of the database.
#[derive(Clone, Copy, Eq, PartialOrd, Ord)]
pub struct KeyedHash([u8; 32]);

impl KeyedHash {
    /// The bytes as stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash whose stored bytes these are.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for KeyedHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::hash::Hash for KeyedHash {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for KeyedHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("KeyedHash[…]")
    }
}
