//! A signed statement of what the history was at one moment.
//!
//! Kept outside of the gateway's host it proves later that the history was not rewritten since, even by somebody who
//! holds the `APP_KEY`: he can make new seals, but no other history with the same head (SHA-256).

use hex::FromHex;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::secrets::{KeyRing, is_signed_by};

/// The history up to `sequence` has this head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The version of this format: 1.
    pub version: u32,
    /// The node that wrote the trail.
    pub node: String,
    /// The last record that is covered.
    pub sequence: i64,
    /// The head of the chain there: SHA-256, in hex.
    pub head: String,
    /// When it was sealed.
    pub sealed_at: Timestamp,
    /// The Ed25519 key (RFC 8032) that checks the signature, in hex.
    pub public_key: String,
    /// The signature over [`Checkpoint::statement`], in hex.
    pub signature: String,
}

impl Checkpoint {
    pub(super) fn sign(ring: &KeyRing, node: &str, sequence: i64, head: &[u8; 32], sealed_at: Timestamp) -> Self {
        let mut checkpoint = Self {
            version: 1,
            node: node.to_owned(),
            sequence,
            head: hex::encode(head),
            sealed_at,
            public_key: String::new(),
            signature: String::new(),
        };
        let (public_key, signature) = ring.sign_checkpoint(checkpoint.statement().as_bytes());
        checkpoint.public_key = hex::encode(public_key);
        checkpoint.signature = hex::encode(signature);
        checkpoint
    }

    /// The text that is signed, so that other programs can check it too.
    #[must_use]
    pub fn statement(&self) -> String {
        let Self { version, node, sequence, head, sealed_at, .. } = self;
        format!(
            "erp-access audit checkpoint {version}\nnode {node}\nsequence {sequence}\nhead {head}\nsealed {sealed_at}\n"
        )
    }

    /// Whether the signature is right.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        let (Ok(key), Ok(signature)) = (FromHex::from_hex(&self.public_key), FromHex::from_hex(&self.signature)) else {
            return false;
        };
        self.version == 1 && is_signed_by(&key, self.statement().as_bytes(), &signature)
    }
}
