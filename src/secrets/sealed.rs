//! Sealed values: AES-256-GCM-SIV (RFC 8452) with the value's place as associated data, so that a ciphertext copied to
//! another row or column does not open.
//!
//! Form: `1` · id of the key (4 bytes) · nonce (12 bytes) · ciphertext and tag.

use aes_gcm_siv::Nonce;
use aes_gcm_siv::aead::{Aead, Payload};
use zeroize::Zeroizing;

use super::{KeyId, KeyRing};
use crate::domain::{Entropy, EntropyError};

const FORMAT: u8 = 1;
const KEY_ID: usize = 4;
const NONCE: usize = 12;

/// What a sealed value is. Each has a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealPurpose {
    /// Passwords and keys for an ERP.
    UpstreamSecret,
    /// A session at an ERP.
    UpstreamSession,
    /// A second factor's seed.
    Totp,
    /// The row that tells a wrong `APP_KEY` at the start.
    Canary,
}

/// Where a sealed value stands.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The table.
    pub table: &'a str,
    /// The row's key.
    pub row: &'a str,
    /// The column.
    pub column: &'a str,
}

/// A value cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There were no random bytes for a nonce.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The value has a format that this version does not know.
    #[error("the sealed value has an unknown format")]
    Format,
    /// None of our keys made it.
    #[error("the value was sealed with an APP_KEY that is not in the key ring; add it as a predecessor")]
    UnknownKey,
    /// The value was changed, or copied from another place.
    #[error("the sealed value was changed or moved")]
    Broken,
}

impl KeyRing {
    /// Seals a value for its place.
    ///
    /// # Errors
    /// When there is no randomness for the nonce.
    pub fn seal(
        &self,
        purpose: SealPurpose,
        place: &Place<'_>,
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, SealError> {
        let current = self.current();
        let id = current.id;
        let mut nonce = [0; NONCE];
        entropy.fill(&mut nonce)?;
        let payload = Payload { msg: plain, aad: &associated_data(place, id) };
        let ciphertext =
            current.cipher(purpose).encrypt(&Nonce::from(nonce), payload).map_err(|_| SealError::Broken)?;
        let mut sealed = Vec::with_capacity(1 + KEY_ID + NONCE + ciphertext.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(id.as_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }

    /// Opens a value that was sealed for this place.
    ///
    /// # Errors
    /// When it was not: another key, another place, or changed bytes.
    pub fn open(
        &self,
        purpose: SealPurpose,
        place: &Place<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (format, rest) = sealed.split_first().ok_or(SealError::Format)?;
        if *format != FORMAT {
            return Err(SealError::Format);
        }
        let (id, rest) = rest.split_first_chunk::<KEY_ID>().ok_or(SealError::Format)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>().ok_or(SealError::Format)?;
        let id = KeyId::from_bytes(*id);
        let key = self.by_id(id).ok_or(SealError::UnknownKey)?;
        let payload = Payload { msg: ciphertext, aad: &associated_data(place, id) };
        let plain = key.cipher(purpose).decrypt(&Nonce::from(*nonce), payload).map_err(|_| SealError::Broken)?;
        Ok(Zeroizing::new(plain))
    }
}

/// The id of the key that a sealed value names; `None` where it has no form of ours.
#[must_use]
pub fn sealed_with(sealed: &[u8]) -> Option<KeyId> {
    let (format, rest) = sealed.split_first()?;
    let (id, _) = rest.split_first_chunk::<KEY_ID>()?;
    (*format == FORMAT).then(|| KeyId::from_bytes(*id))
}

/// Each part with its length before it, so that no two places give the same bytes.
fn associated_data(place: &Place<'_>, id: KeyId) -> Vec<u8> {
    let mut data = Vec::with_capacity(64);
    for part in [place.table.as_bytes(), place.row.as_bytes(), place.column.as_bytes(), id.as_bytes()] {
        data.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        data.extend_from_slice(part);
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemEntropy;
    use crate::secrets::AppKey;

    const HERE: Place<'_> = Place { table: "upstream_secret", row: "erp", column: "password" };

    fn key() -> AppKey {
        AppKey::generate(&SystemEntropy).expect("entropy")
    }

    fn seal(ring: &KeyRing) -> Vec<u8> {
        ring.seal(SealPurpose::UpstreamSecret, &HERE, b"AdminPw-1", &SystemEntropy).expect("sealed")
    }

    #[test]
    fn a_sealed_value_opens_at_its_place() {
        let ring = KeyRing::new(&key(), &[]).expect("derived");
        let opened = ring.open(SealPurpose::UpstreamSecret, &HERE, &seal(&ring)).expect("opened");
        assert_eq!(opened.as_slice(), b"AdminPw-1");
    }

    #[test]
    fn a_value_does_not_open_elsewhere() {
        let ring = KeyRing::new(&key(), &[]).expect("derived");
        let sealed = seal(&ring);
        for place in [
            Place { table: "upstream_session", ..HERE },
            Place { row: "crm", ..HERE },
            Place { column: "username", ..HERE },
            Place { table: "upstream_secreterp", row: "", column: "password" },
        ] {
            assert!(
                matches!(ring.open(SealPurpose::UpstreamSecret, &place, &sealed), Err(SealError::Broken)),
                "{place:?}"
            );
        }
        assert!(matches!(ring.open(SealPurpose::Totp, &HERE, &sealed), Err(SealError::Broken)));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let ring = KeyRing::new(&key(), &[]).expect("derived");
        let sealed = seal(&ring);
        for at in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert!(ring.open(SealPurpose::UpstreamSecret, &HERE, &changed).is_err(), "bit {at}");
        }
    }

    #[test]
    fn a_predecessor_opens_what_it_sealed_and_a_stranger_does_not() {
        let (old, new) = (key(), key());
        let sealed = seal(&KeyRing::new(&old, &[]).expect("derived"));
        let rotated = KeyRing::new(&new, std::slice::from_ref(&old)).expect("derived");
        assert!(rotated.open(SealPurpose::UpstreamSecret, &HERE, &sealed).is_ok());
        let stranger = KeyRing::new(&new, &[]).expect("derived");
        assert!(matches!(stranger.open(SealPurpose::UpstreamSecret, &HERE, &sealed), Err(SealError::UnknownKey)));
    }

    #[test]
    fn a_nonce_is_not_used_twice() {
        let ring = KeyRing::new(&key(), &[]).expect("derived");
        let nonces: std::collections::HashSet<_> = (0..2000).map(|_| seal(&ring)[5..17].to_vec()).collect();
        assert_eq!(nonces.len(), 2000);
    }
}
