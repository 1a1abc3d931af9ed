//! Which passwords a user may choose (NIST SP 800-63B-4, section 3.1.1.2): long enough, not easily guessed, no rules of
//! composition.

use crate::domain::Secret;

/// What a password must have where it is the only factor.
const ALONE: usize = 15;
/// What it must have where there is a second one.
const WITH_SECOND_FACTOR: usize = 8;
/// Longer ones are refused: hashing must not be made expensive from outside.
const LONGEST: usize = 1000;

/// Whether a second factor is asked for besides the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Factors {
    One,
    Two,
}

/// Why a password is not taken; shown to who chose it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Weak {
    #[error("a password needs at least {0} characters; several words in a row are easy to keep in mind")]
    Short(usize),
    #[error("a password has at most {LONGEST} characters")]
    Long,
    #[error("this password is among the first that are tried: choose one that nobody else would")]
    Guessable,
}

/// Checks a password that a user with this name has chosen.
pub(super) fn check(password: &Secret, user: &str, factors: Factors) -> Result<(), Weak> {
    let least = match factors {
        Factors::One => ALONE,
        Factors::Two => WITH_SECOND_FACTOR,
    };
    // SECURITY: looked at here and nowhere kept; characters are counted as people see them, not as bytes.
    let text = password.expose();
    match text.chars().count() {
        count if count < least => return Err(Weak::Short(least)),
        count if count > LONGEST => return Err(Weak::Long),
        _ => {}
    }
    // Lists of common passwords, names, patterns of the keyboard, and what is known of the user.
    let guesses = zxcvbn::zxcvbn(text, &[user, "erp", "access", "erp-access"]);
    if guesses.score() < zxcvbn::Score::Three { Err(Weak::Guessable) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, factors: Factors) -> Result<(), Weak> {
        check(&Secret::new(text.into()), "anna.schmidt", factors)
    }

    #[test]
    fn length_counts_and_composition_does_not() {
        assert_eq!(checked("heather canyon mosaic", Factors::One), Ok(()));
        assert_eq!(checked("tq7zhbwkx2", Factors::Two), Ok(()));
        assert_eq!(checked("tq7zhbwkx2", Factors::One), Err(Weak::Short(15)));
        assert_eq!(checked("Xy9$!", Factors::Two), Err(Weak::Short(8)));
        assert_eq!(checked("пёстрая лошадь бежит", Factors::One), Ok(()));
        assert_eq!(checked(&"a long word ".repeat(100), Factors::One), Err(Weak::Long));
    }

    #[test]
    fn what_is_tried_first_is_not_taken() {
        for guessable in
            ["password1234567", "qwertyuiopasdfgh", "anna.schmidt2026", "aaaaaaaaaaaaaaaa", "erp-access123456"]
        {
            assert_eq!(checked(guessable, Factors::One), Err(Weak::Guessable), "{guessable}");
        }
    }
}
