//! One key per purpose, derived from an `APP_KEY` (HKDF-SHA-256, RFC 5869) and kept ready for use.

use aes_gcm_siv::{Aes256GcmSiv, KeyInit};
use ed25519_dalek::{Signer as _, SigningKey};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::AppKey;
use super::key_id::KeyId;
use super::keyed_hash::{HashPurpose, KeyedHash};
use super::sealed::SealPurpose;

/// A key could not be derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key could not be derived from the APP_KEY")]
pub struct DeriveError;

/// One `APP_KEY` with all that is derived from it.
pub(super) struct Derived {
    pub(super) id: KeyId,
    pub(super) pepper: Zeroizing<[u8; 32]>,
    token: Hmac<Sha256>,
    api_key: Hmac<Sha256>,
    portal_session: Hmac<Sha256>,
    recovery_code: Hmac<Sha256>,
    audit_record: Hmac<Sha256>,
    audit_span: Hmac<Sha256>,
    checkpoint: SigningKey,
    upstream_secret: Aes256GcmSiv,
    upstream_session: Aes256GcmSiv,
    totp: Aes256GcmSiv,
    canary: Aes256GcmSiv,
}

impl Derived {
    pub(super) fn from(key: &AppKey) -> Result<Self, DeriveError> {
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
            id: KeyId::from_bytes([a, b, c, d]),
            pepper: derive("pepper/password")?,
            token: hash("hash/token")?,
            api_key: hash("hash/api-key")?,
            portal_session: hash("hash/portal-session")?,
            recovery_code: hash("hash/recovery-code")?,
            audit_record: hash("hash/audit-record")?,
            audit_span: hash("hash/audit-span")?,
            checkpoint: SigningKey::from_bytes(&*derive("sign/audit-checkpoint")?),
            upstream_secret: seal("seal/upstream-secret")?,
            upstream_session: seal("seal/upstream-session")?,
            totp: seal("seal/totp")?,
            canary: seal("seal/canary")?,
        })
    }

    pub(super) fn hash(&self, purpose: HashPurpose, secret: &[u8]) -> KeyedHash {
        let mut mac = match purpose {
            HashPurpose::Token => self.token.clone(),
            HashPurpose::ApiKey => self.api_key.clone(),
            HashPurpose::PortalSession => self.portal_session.clone(),
            HashPurpose::RecoveryCode => self.recovery_code.clone(),
            HashPurpose::AuditRecord => self.audit_record.clone(),
            HashPurpose::AuditSpan => self.audit_span.clone(),
        };
        mac.update(secret);
        KeyedHash::from_bytes(mac.finalize().into_bytes().into())
    }

    pub(super) fn cipher(&self, purpose: SealPurpose) -> &Aes256GcmSiv {
        match purpose {
            SealPurpose::UpstreamSecret => &self.upstream_secret,
            SealPurpose::UpstreamSession => &self.upstream_session,
            SealPurpose::Totp => &self.totp,
            SealPurpose::Canary => &self.canary,
        }
    }

    pub(super) fn sign(&self, statement: &[u8]) -> [u8; 64] {
        self.checkpoint.sign(statement).to_bytes()
    }

    pub(super) fn public_key(&self) -> [u8; 32] {
        self.checkpoint.verifying_key().to_bytes()
    }
}
