//! `APP_KEY`: 32 random bytes, written `base64:…`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::derived::{DeriveError, Derived};
use super::key_id::KeyId;
use crate::domain::{Entropy, EntropyError, Secret};

const PREFIX: &str = "base64:";

/// The key from which every other key is derived.
#[derive(Clone)]
pub struct AppKey(Zeroizing<[u8; 32]>);

/// A text is not an `APP_KEY`. Says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppKeyError {
    /// The prefix is missing.
    #[error("the APP_KEY does not begin with `base64:`; make one with `erp-access key generate`")]
    Prefix,
    /// What follows is not base64.
    #[error("the APP_KEY is not valid base64 after `base64:`; was a part of it lost in copying?")]
    Base64,
    /// The key has another length.
    #[error("the APP_KEY holds {0} bytes, 32 are needed; make one with `erp-access key generate`")]
    Length(usize),
}

impl AppKey {
    /// A new random key.
    ///
    /// # Errors
    /// When the source of randomness fails.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy.fill(bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    /// Reads a key as written. White space around it is ignored.
    ///
    /// # Errors
    /// When it is not `base64:` and 32 bytes in base64.
    pub fn parse(text: &Secret) -> Result<Self, AppKeyError> {
        let encoded = text.expose().trim().strip_prefix(PREFIX).ok_or(AppKeyError::Prefix)?;
        let bytes = Zeroizing::new(BASE64.decode(encoded).map_err(|_| AppKeyError::Base64)?);
        let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| AppKeyError::Length(bytes.len()))?;
        Ok(Self(Zeroizing::new(key)))
    }

    /// The key as it is written to a file.
    #[must_use]
    pub fn to_text(&self) -> Secret {
        Secret::new(format!("{PREFIX}{}", BASE64.encode(self.0.as_slice())))
    }

    /// What it is called.
    ///
    /// # Errors
    /// When that cannot be derived.
    pub fn id(&self) -> Result<KeyId, DeriveError> {
        Ok(Derived::from(self)?.id)
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for AppKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("AppKey[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemEntropy;

    #[test]
    fn a_generated_key_is_read_back() {
        let key = AppKey::generate(&SystemEntropy).expect("entropy");
        assert_eq!(AppKey::parse(&key.to_text()).expect("a key").bytes(), key.bytes());
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_quoted() {
        for (text, error) in [
            ("c2VjcmV0", AppKeyError::Prefix),
            ("base64:***", AppKeyError::Base64),
            ("base64:c2VjcmV0", AppKeyError::Length(6)),
        ] {
            let refused = AppKey::parse(&Secret::new(text.into())).expect_err("refused");
            assert_eq!(refused, error);
            assert!(!refused.to_string().contains("c2VjcmV0"));
        }
    }
}
