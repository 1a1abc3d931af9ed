//! Derives one key per purpose from `APP_KEY` (HKDF-SHA-256, RFC 5869) and keeps it ready for use.

use std::fmt;

use aes_gcm_siv::{Aes256GcmSiv, KeyInit};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::AppKey;
use super::sealed::SealPurpose;

/// What a keyed hash is for. The same text hashes differently for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashPurpose {
    /// Gateway tokens.
    Token,
    /// Clients' x-api-keys.
    ApiKey,
    /// Portal sessions.
    PortalSession,
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

/// A key could not be derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key could not be derived from the APP_KEY")]
pub struct DeriveError;

/// Identifies an `APP_KEY` without telling anything about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId(pub(super) [u8; 4]);

impl KeyId {
    /// The bytes as stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    /// The id whose stored bytes these are.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }
}

/// One `APP_KEY` with all that is derived from it.
struct Derived {
    id: KeyId,
    token: Hmac<Sha256>,
    api_key: Hmac<Sha256>,
    portal_session: Hmac<Sha256>,
    audit_record: Hmac<Sha256>,
    audit_span: Hmac<Sha256>,
    checkpoint: SigningKey,
    upstream_secret: Aes256GcmSiv,
    upstream_session: Aes256GcmSiv,
    totp: Aes256GcmSiv,
    canary: Aes256GcmSiv,
    pepper: Zeroizing<[u8; 32]>,
}

impl Derived {
    fn from(key: &AppKey) -> Result<Self, DeriveError> {
        let hkdf = Hkdf::<Sha256>::new(None, key.bytes());
        let derive = |purpose: &str| -> Result<Zeroizing<[u8; 32]>, DeriveError> {
            let mut derived = Zeroizing::new([0; 32]);
            let info = format!("erp-access/v1/{purpose}");
            hkdf.expand(info.as_bytes(), derived.as_mut_slice()).map_err(|_| DeriveError)?;
            Ok(derived)
        };
        let hash = |purpose: &str| -> Result<Hmac<Sha256>, DeriveError> {
            // HMAC pads a key shorter than its block with zeros (RFC 2104).
            let mut block = Zeroizing::new([0; 64]);
            block.iter_mut().zip(derive(purpose)?.iter()).for_each(|(padded, byte)| *padded = *byte);
            Ok(<Hmac<Sha256> as KeyInit>::new((&*block).into()))
        };
        let seal = |purpose: &str| derive(purpose).map(|key| Aes256GcmSiv::new((&*key).into()));
        let [a, b, c, d, ..] = *derive("key-id")?;
        Ok(Self {
            id: KeyId([a, b, c, d]),
            token: hash("hash/token")?,
            api_key: hash("hash/api-key")?,
            portal_session: hash("hash/portal-session")?,
            audit_record: hash("hash/audit-record")?,
            audit_span: hash("hash/audit-span")?,
            checkpoint: SigningKey::from_bytes(&*derive("sign/audit-checkpoint")?),
            upstream_secret: seal("seal/upstream-secret")?,
            upstream_session: seal("seal/upstream-session")?,
            totp: seal("seal/totp")?,
            canary: seal("seal/canary")?,
            pepper: derive("pepper/password")?,
        })
    }
}

/// `APP_KEY` and its predecessors. New values use the first; old values are opened by whichever made them.
pub struct KeyRing {
    current: Derived,
    predecessors: Vec<Derived>,
}

impl KeyRing {
    /// A ring with `current` in use and `predecessors` for what they once sealed.
    ///
    /// # Errors
    /// When a key cannot be derived; nothing may then be sealed or hashed.
    pub fn new(current: &AppKey, predecessors: &[AppKey]) -> Result<Self, DeriveError> {
        let predecessors = predecessors.iter().map(Derived::from).collect::<Result<_, _>>()?;
        Ok(Self { current: Derived::from(current)?, predecessors })
    }

    /// The keyed hash of a secret. Allocates nothing.
    #[must_use]
    pub fn keyed_hash(&self, purpose: HashPurpose, secret: &[u8]) -> KeyedHash {
        hash(&self.current, purpose, secret)
    }

    /// The keyed hash as the key with this id makes it; `None` where the ring does not hold that key.
    #[must_use]
    pub fn keyed_hash_by(&self, id: KeyId, purpose: HashPurpose, secret: &[u8]) -> Option<KeyedHash> {
        self.by_id(id).map(|derived| hash(derived, purpose, secret))
    }

    /// The id of the key that is in use.
    #[must_use]
    pub fn current_id(&self) -> KeyId {
        self.current.id
    }

    /// Signs a statement about the audit trail (Ed25519, RFC 8032).
    #[must_use]
    pub fn sign_checkpoint(&self, statement: &[u8]) -> [u8; 64] {
        self.current.checkpoint.sign(statement).to_bytes()
    }

    /// The key with which anybody can check what [`KeyRing::sign_checkpoint`] signed.
    #[must_use]
    pub fn checkpoint_public_key(&self) -> [u8; 32] {
        self.current.checkpoint.verifying_key().to_bytes()
    }

    pub(super) fn current_cipher(&self, purpose: SealPurpose) -> (KeyId, &Aes256GcmSiv) {
        (self.current.id, cipher(&self.current, purpose))
    }

    pub(super) fn cipher_of(&self, id: KeyId, purpose: SealPurpose) -> Option<&Aes256GcmSiv> {
        self.by_id(id).map(|derived| cipher(derived, purpose))
    }

    fn by_id(&self, id: KeyId) -> Option<&Derived> {
        std::iter::once(&self.current).chain(&self.predecessors).find(|derived| derived.id == id)
    }

    pub(super) fn pepper(&self) -> &[u8; 32] {
        &self.current.pepper
    }
}

/// Whether a checkpoint's signature is that of this public key (strict verification: no weak keys).
#[must_use]
pub fn is_signed_by(public_key: &[u8; 32], statement: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(public_key)
        .is_ok_and(|key| key.verify_strict(statement, &Signature::from_bytes(signature)).is_ok())
}

fn hash(derived: &Derived, purpose: HashPurpose, secret: &[u8]) -> KeyedHash {
    let mut mac = match purpose {
        HashPurpose::Token => derived.token.clone(),
        HashPurpose::ApiKey => derived.api_key.clone(),
        HashPurpose::PortalSession => derived.portal_session.clone(),
        HashPurpose::AuditRecord => derived.audit_record.clone(),
        HashPurpose::AuditSpan => derived.audit_span.clone(),
    };
    mac.update(secret);
    KeyedHash(mac.finalize().into_bytes().into())
}

fn cipher(derived: &Derived, purpose: SealPurpose) -> &Aes256GcmSiv {
    match purpose {
        SealPurpose::UpstreamSecret => &derived.upstream_secret,
        SealPurpose::UpstreamSession => &derived.upstream_session,
        SealPurpose::Totp => &derived.totp,
        SealPurpose::Canary => &derived.canary,
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyRing({} predecessors)", self.predecessors.len())
    }
}
