//! A name as the words that it is made of.

use super::decode;

/// The parts of `user[address].city`.
pub(super) fn segments(name: &str) -> impl Iterator<Item = &str> {
    name.split(['[', ']', '.', ':', '/', '$', '@']).filter(|segment| !segment.is_empty())
}

/// A name as its words: `user[newPassword2]` is `user`, `new`, `password`.
pub(super) struct Words {
    /// The name without escapes.
    pub plain: String,
    pub list: Vec<String>,
    pub joined: String,
}

impl Words {
    pub(super) fn of(name: &[u8]) -> Self {
        let escaped = name.iter().any(|byte| matches!(byte, b'\\' | b'%' | b'&'));
        let plain = if escaped {
            String::from_utf8_lossy(&decode::fully(name)).into_owned()
        } else {
            String::from_utf8_lossy(name).into_owned()
        };
        let mut words = Self::split(&plain);
        words.plain = plain;
        words
    }

    pub(super) fn split(name: &str) -> Self {
        let mut list: Vec<String> = Vec::new();
        let mut word = String::new();
        let mut previous = ' ';
        let mut characters = name.chars().map(narrow).peekable();
        while let Some(character) = characters.next() {
            let next_is_small = characters.peek().is_some_and(|next| next.is_lowercase());
            let starts = character.is_uppercase() && (previous.is_lowercase() || next_is_small);
            if starts || !character.is_alphanumeric() {
                take_word(&mut list, &mut word);
            }
            if character.is_alphanumeric() {
                word.extend(character.to_lowercase());
            }
            previous = character;
        }
        take_word(&mut list, &mut word);
        let joined = list.concat();
        Self { plain: String::new(), list, joined }
    }
}

fn take_word(list: &mut Vec<String>, word: &mut String) {
    let trimmed = word.trim_end_matches(|character: char| character.is_ascii_digit());
    let kept = if trimmed.is_empty() { word.as_str() } else { trimmed };
    if !kept.is_empty() {
        list.push(kept.to_owned());
    }
    word.clear();
}

/// The ASCII letter that a full-width letter looks like.
fn narrow(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character),
        _ => character,
    }
}
