//! The chain of seals, as pure computation.
//!
//! Each record has a digest of its place and content, and a mark: a keyed hash of the digest, which names the record
//! that was touched. The records of one commit form a span. The head of a span is a hash of the head before it and of
//! the span's digests, so it stands for the whole history up to there; anybody can compute it. The seal is a keyed
//! hash of the head, so only a holder of the `APP_KEY` can make it.

use rusqlite::types::ValueRef;
use sha2::{Digest as _, Sha256};

use crate::secrets::{HashPurpose, KeyId, KeyRing};

/// A SHA-256.
pub(super) type Digest = [u8; 32];
/// The first half of an HMAC-SHA-256, stored beside each record.
pub(super) type Mark = [u8; 16];

/// The table of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Decision,
    Outcome,
}

impl Table {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Outcome => "outcome",
        }
    }
}

/// Adds one column to the canonical bytes of a record: its type, its length, its content.
pub(super) fn encode(body: &mut Vec<u8>, value: ValueRef<'_>) {
    let mut counted = |tag: u8, bytes: &[u8]| {
        body.push(tag);
        body.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        body.extend_from_slice(bytes);
    };
    match value {
        ValueRef::Null => counted(0, &[]),
        ValueRef::Integer(number) => counted(1, &number.to_be_bytes()),
        ValueRef::Real(number) => counted(2, &number.to_bits().to_be_bytes()),
        ValueRef::Text(text) => counted(3, text),
        ValueRef::Blob(bytes) => counted(4, bytes),
    }
}

/// The digest of a record with these canonical bytes at this place.
pub(super) fn digest(table: Table, seq: i64, body: &[u8]) -> Digest {
    let mut hash = Sha256::new_with_prefix(b"erp-access audit record 1\0");
    hash.update(table.name().as_bytes());
    hash.update([0]);
    hash.update(seq.to_be_bytes());
    hash.update(body);
    hash.finalize().into()
}

/// The mark of a record; `None` where the ring does not hold the key.
pub(super) fn mark(ring: &KeyRing, key: KeyId, digest: &Digest) -> Option<Mark> {
    let hash = ring.keyed_hash_by(key, HashPurpose::AuditRecord, digest)?;
    let (mark, _) = hash.as_bytes().split_first_chunk::<16>()?;
    Some(*mark)
}

/// The seal of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) first: i64,
    pub(super) last: i64,
    /// Microseconds since the epoch.
    pub(super) at: i64,
    pub(super) key: KeyId,
    pub(super) head: Digest,
    /// The keyed hash of the head.
    pub(super) code: Digest,
}

impl Seal {
    /// The seal from which the chain starts. It covers no record; those up to `last` were written before.
    pub(super) fn genesis(ring: &KeyRing, last: i64, at: i64) -> Option<Self> {
        Self::close(ring, ring.current_id(), &[0; 32], (last.saturating_add(1), last), at, std::iter::empty())
    }

    /// The seal of the records from `first` to `last`, with this key.
    pub(super) fn close(
        ring: &KeyRing,
        key: KeyId,
        before: &Digest,
        (first, last): (i64, i64),
        at: i64,
        digests: impl Iterator<Item = Digest>,
    ) -> Option<Self> {
        let mut seal = Self { first, last, at, key, head: [0; 32], code: [0; 32] };
        seal.head = seal.expected_head(before, digests);
        seal.code = seal.expected_code(ring)?;
        Some(seal)
    }

    /// What the head must be after this head and these digests.
    pub(super) fn expected_head(&self, before: &Digest, digests: impl Iterator<Item = Digest>) -> Digest {
        let mut hash = Sha256::new_with_prefix(b"erp-access audit span 1\0");
        hash.update(before);
        for number in [self.first, self.last, self.at] {
            hash.update(number.to_be_bytes());
        }
        hash.update(self.key.as_bytes());
        for digest in digests {
            hash.update(digest);
        }
        hash.finalize().into()
    }

    /// What the code must be; `None` where the ring does not hold the key.
    pub(super) fn expected_code(&self, ring: &KeyRing) -> Option<Digest> {
        ring.keyed_hash_by(self.key, HashPurpose::AuditSpan, &self.head).map(|hash| *hash.as_bytes())
    }

    pub(super) fn is_genesis(&self) -> bool {
        self.first > self.last
    }
}
