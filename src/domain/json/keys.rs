//! The keys of one object: none twice, none that looks like another that decides.

use std::borrow::Cow;
use std::collections::HashSet;

/// Up to so many keys, looking through them all is faster than hashing.
const FEW: usize = 12;

/// The keys seen so far.
#[derive(Debug, Default)]
pub(super) struct Keys<'d> {
    few: Vec<Cow<'d, str>>,
    /// Hashed with a key of its own: a body must not choose where its keys collide.
    many: HashSet<Cow<'d, str>>,
}

impl<'d> Keys<'d> {
    /// Whether the key is new.
    pub(super) fn insert(&mut self, key: Cow<'d, str>) -> bool {
        if self.few.contains(&key) {
            return false;
        }
        if self.few.len() < FEW {
            self.few.push(key);
            return true;
        }
        self.many.insert(key)
    }
}

/// Whether some parsers take `key` for `wanted`, because they ignore case or end a text at NUL.
pub(super) fn look_alike(wanted: &str, key: &str) -> bool {
    let key = key.split('\0').next().unwrap_or_default();
    if wanted.is_ascii() && key.is_ascii() {
        return wanted.eq_ignore_ascii_case(key);
    }
    wanted.chars().flat_map(folded).eq(key.chars().flat_map(folded))
}

/// Upper and then lower case, so that the long s and the Kelvin sign become the letters they are taken for.
fn folded(character: char) -> impl Iterator<Item = char> {
    character.to_uppercase().flat_map(char::to_lowercase)
}
