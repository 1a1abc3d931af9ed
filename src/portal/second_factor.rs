//! Codes of an authenticator (TOTP, RFC 6238) and recovery codes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use qrcode::QrCode;
use qrcode::render::svg;
use totp_rs::{Algorithm, Builder, Totp};
use zeroize::Zeroizing;

use crate::domain::{Entropy, EntropyError, Secret, SessionId};

/// 160 bits, as RFC 4226 advises.
const SEED: usize = 20;
/// A code serves this long, in seconds.
const STEP: u64 = 30;
/// Codes of so many steps before and after are taken: clocks differ.
const SKEW: u16 = 1;
/// Seeds that wait for their first code at once.
const WAITING: usize = 1000;
/// Recovery codes that are given out.
const RECOVERY_CODES: usize = 10;
/// Without letters that are mistaken for others: 32 of them, 5 bits each.
const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";

/// The seed of a second factor.
#[derive(Clone)]
pub(super) struct Seed(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Seed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Seed[secret]")
    }
}

impl Seed {
    pub(super) fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = Zeroizing::new(vec![0; SEED]);
        entropy.fill(bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn totp(&self, user: &str) -> Option<Totp> {
        let builder = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(6).with_skew(SKEW);
        let builder = builder.with_step_duration(STEP).with_secret(self.0.to_vec());
        builder.with_account_name(user.replace(':', "_")).with_issuer(Some("ERP Access")).build().ok()
    }

    /// The step of a code that is right at this moment.
    pub(super) fn step_of(&self, code: &str, now: Timestamp) -> Option<u64> {
        let digits: String = code.chars().filter(|character| !character.is_whitespace()).collect();
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let seconds = u64::try_from(now.as_second()).ok()?;
        self.totp("user")?.check(&digits, seconds)
    }

    /// What an authenticator reads: a picture, and the same as text for typing.
    pub(super) fn shown(&self, user: &str) -> Option<(String, String)> {
        let url = self.totp(user)?.to_url().ok()?;
        let code = QrCode::new(url.as_bytes()).ok()?;
        let picture = code.render::<svg::Color<'_>>().min_dimensions(220, 220).quiet_zone(true).build();
        let text = url.split("secret=").nth(1)?.split('&').next()?.to_owned();
        Some((picture, text))
    }
}

/// Codes that serve once each in place of the second factor.
pub(super) fn recovery_codes(entropy: &dyn Entropy) -> Result<Vec<Secret>, EntropyError> {
    let code = |_| {
        let mut random = Zeroizing::new([0_u8; 12]);
        entropy.fill(random.as_mut_slice())?;
        let letters = random.iter().filter_map(|byte| LETTERS.get(usize::from(byte & 31)).copied().map(char::from));
        let mut text = String::with_capacity(14);
        for (place, letter) in letters.enumerate() {
            if place > 0 && place % 4 == 0 {
                text.push('-');
            }
            text.push(letter);
        }
        Ok(Secret::new(text))
    };
    (0..RECOVERY_CODES).map(code).collect()
}

/// A recovery code as people type it: without spaces, in small letters.
pub(super) fn as_recovery_code(text: &str) -> Option<Secret> {
    let kept: String = text.trim().to_lowercase().chars().filter(|character| !character.is_whitespace()).collect();
    let fits = kept.len() == 14 && kept.bytes().all(|byte| byte == b'-' || LETTERS.contains(&byte));
    fits.then(|| Secret::new(kept))
}

/// Seeds that were shown and not confirmed yet.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<HashMap<SessionId, Seed>>);

impl Waiting {
    /// The seed that this session was shown, or a new one.
    pub(super) fn of(&self, session: SessionId, entropy: &dyn Entropy) -> Result<Seed, EntropyError> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seed) = waiting.get(&session) {
            return Ok(seed.clone());
        }
        if waiting.len() >= WAITING {
            waiting.clear();
        }
        let seed = Seed::generate(entropy)?;
        waiting.insert(session, seed.clone());
        Ok(seed)
    }

    pub(super) fn forget(&self, session: SessionId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemEntropy;

    /// RFC 6238, appendix B, with SHA-1 and six digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let seed = Seed::from_bytes(b"12345678901234567890");
        for (second, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            let at = Timestamp::from_second(second).expect("a time");
            let step = u64::try_from(second).expect("positive") / STEP;
            assert_eq!(seed.step_of(code, at), Some(step));
            let (first, second) = code.split_at(3);
            assert_eq!(seed.step_of(&format!(" {first} {second} "), at), Some(step));
            assert_eq!(seed.step_of("000000", at), None);
        }
    }

    #[test]
    fn a_code_serves_a_step_longer_and_no_more() {
        let seed = Seed::from_bytes(b"12345678901234567890");
        let at = |second| Timestamp::from_second(second).expect("a time");
        assert!(seed.step_of("287082", at(59 + 30)).is_some());
        assert!(seed.step_of("287082", at(59 + 61)).is_none());
    }

    #[test]
    fn recovery_codes_are_read_as_people_type_them() {
        let codes = recovery_codes(&SystemEntropy).expect("entropy");
        assert_eq!(codes.len(), RECOVERY_CODES);
        for code in codes {
            let typed = format!("  {} ", code.expose().to_uppercase());
            assert_eq!(as_recovery_code(&typed).expect("a code").expose(), code.expose());
        }
        for wrong in ["", "abcd-abcd", "abcd-abcd-abc1", "abcdxabcdxabcd-"] {
            assert!(as_recovery_code(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_seed_is_shown_as_a_picture_and_as_text() {
        let seed = Seed::generate(&SystemEntropy).expect("entropy");
        let (picture, text) = seed.shown("anna").expect("shown");
        assert!(picture.contains("<svg") && text.len() == 32 && !format!("{seed:?}").contains(&text));
    }
}
