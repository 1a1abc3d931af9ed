//! The secrets that we issue: `erpa_tok_…`, `erpa_key_…`, `erpa_pwd_…`, `erpa_ses_…`.
//!
//! A prefix that names the kind, 32 random bytes in base62 (43 characters) and a CRC-32 of all that
//! (6 characters of base62): secret scanners find them with
//! `erpa_(tok|key|pwd|ses)_[0-9A-Za-z]{49}`, and a typing error is refused without a look-up.

use std::fmt;

use zeroize::Zeroizing;

use super::{Entropy, EntropyError, Secret};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_CHARACTERS: usize = 43;
const CHECK_CHARACTERS: usize = 6;

/// What an issued secret is for. A secret of one kind never passes for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssuedKind {
    /// A gateway token.
    Token,
    /// A client's x-api-key.
    ApiKey,
    /// A client's API password.
    Password,
    /// What a browser holds of a portal session.
    Session,
}

impl IssuedKind {
    /// The text that every secret of this kind begins with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Token => "erpa_tok_",
            Self::ApiKey => "erpa_key_",
            Self::Password => "erpa_pwd_",
            Self::Session => "erpa_ses_",
        }
    }
}

/// The text given has not the form of a secret of the kind asked for.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("not a secret of the expected kind, or mistyped")]
pub struct NotIssued;

/// A secret in the form in which we issue them. That it has the form says nothing about whether it is live.
#[derive(Clone)]
pub struct IssuedSecret {
    kind: IssuedKind,
    text: Secret,
}

impl IssuedSecret {
    /// A new random secret with 256 bits of entropy.
    ///
    /// # Errors
    /// When the source of randomness fails.
    pub fn generate(kind: IssuedKind, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut random = Zeroizing::new([0_u8; 32]);
        entropy.fill(random.as_mut_slice())?;
        let mut text = String::with_capacity(kind.prefix().len() + RANDOM_CHARACTERS + CHECK_CHARACTERS);
        text.push_str(kind.prefix());
        push_base62(&mut text, &random);
        push_check(&mut text);
        Ok(Self { kind, text: Secret::new(text) })
    }

    /// Reads a presented secret.
    ///
    /// # Errors
    /// When the prefix, the length, the alphabet or the check characters are wrong.
    pub fn parse(kind: IssuedKind, text: &str) -> Result<Self, NotIssued> {
        let body = text.strip_prefix(kind.prefix()).ok_or(NotIssued)?;
        if body.len() != RANDOM_CHARACTERS + CHECK_CHARACTERS || !body.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return Err(NotIssued);
        }
        let checked = text.get(..text.len() - CHECK_CHARACTERS).ok_or(NotIssued)?;
        let mut expected = String::with_capacity(text.len());
        expected.push_str(checked);
        push_check(&mut expected);
        if expected == text { Ok(Self { kind, text: Secret::new(expected) }) } else { Err(NotIssued) }
    }

    /// What the secret is for.
    #[must_use]
    pub fn kind(&self) -> IssuedKind {
        self.kind
    }

    /// The whole text, prefix and check characters included.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.text
    }
}

impl fmt::Debug for IssuedSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}[secret]", self.kind.prefix())
    }
}

/// Appends the number that `bytes` spell, most significant digit first, padded to a fixed length.
fn push_base62(text: &mut String, bytes: &[u8; 32]) {
    let mut number = Zeroizing::new(*bytes);
    let mut digits = Zeroizing::new([0_u8; RANDOM_CHARACTERS]);
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_u32;
        for byte in number.iter_mut() {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            remainder = value % 62;
        }
        *digit = base62_digit(remainder);
    }
    text.extend(digits.iter().map(|digit| char::from(*digit)));
}

fn push_check(text: &mut String) {
    let mut check = crc32fast::hash(text.as_bytes());
    let mut digits = [0_u8; CHECK_CHARACTERS];
    for digit in digits.iter_mut().rev() {
        *digit = base62_digit(check % 62);
        check /= 62;
    }
    text.extend(digits.iter().map(|digit| char::from(*digit)));
}

fn base62_digit(value: u32) -> u8 {
    usize::try_from(value).ok().and_then(|index| ALPHABET.get(index)).copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemEntropy;

    #[test]
    fn what_is_issued_is_read_back_as_its_own_kind_only() {
        for kind in [IssuedKind::Token, IssuedKind::ApiKey, IssuedKind::Password] {
            let issued = IssuedSecret::generate(kind, &SystemEntropy).expect("entropy");
            let text = issued.secret().expose();
            assert_eq!(text.len(), 9 + 49);
            for asked in [IssuedKind::Token, IssuedKind::ApiKey, IssuedKind::Password] {
                assert_eq!(IssuedSecret::parse(asked, text).is_ok(), asked == kind);
            }
        }
    }

    #[test]
    fn any_changed_character_is_refused() {
        let issued = IssuedSecret::generate(IssuedKind::Token, &SystemEntropy).expect("entropy");
        let text = issued.secret().expose().to_owned();
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(changed).expect("ascii");
            assert!(IssuedSecret::parse(IssuedKind::Token, &changed).is_err(), "{at}");
        }
    }

    #[test]
    fn debug_names_the_kind_and_nothing_else() {
        let issued = IssuedSecret::generate(IssuedKind::Password, &SystemEntropy).expect("entropy");
        assert_eq!(format!("{issued:?}"), "erpa_pwd_[secret]");
    }
}
