//! Undoes one spelling at a time (backslash escapes, percent escapes, character references) and remembers
//! where each byte came from, so that what is found in the plain spelling is taken out of the original.

use std::borrow::Cow;
use std::ops::Range;

use super::bytes::{at, part, until_byte};

/// A text in one spelling.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layer<'t> {
    bytes: Cow<'t, [u8]>,
    origin: Origin,
}

/// Where each byte of a layer came from.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    /// From where it stands.
    Here,
    /// One entry per byte and one for the end.
    Places(Vec<usize>),
}

impl Origin {
    fn of(&self, index: usize, length: usize) -> usize {
        match self {
            Self::Here => index.min(length),
            Self::Places(places) => places.get(index).or(places.last()).copied().unwrap_or(0),
        }
    }
}

/// One way of spelling text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spelling {
    /// `\"`, `\n`, `\u0041`, `\x41`
    Backslash,
    /// `%41`
    Percent,
    /// `&quot;`, `&#65;`, `&#x41;`
    Reference,
}

impl Spelling {
    pub(super) const ALL: [Self; 3] = [Self::Backslash, Self::Percent, Self::Reference];

    fn mark(self) -> u8 {
        match self {
            Self::Backslash => b'\\',
            Self::Percent => b'%',
            Self::Reference => b'&',
        }
    }

    /// What stands at `index` means, and the length of its spelling.
    fn read(self, text: &[u8], index: usize) -> Option<(Meaning, usize)> {
        match self {
            Self::Backslash => backslash(text, index),
            Self::Percent => hex(part(text, index + 1..index + 3)).map(|value| (byte_meaning(value), 3)),
            Self::Reference => reference(text, index),
        }
    }
}

enum Meaning {
    Byte(u8),
    Character(char),
}

impl<'t> Layer<'t> {
    /// The text as it came.
    pub(super) fn root(text: &'t [u8]) -> Self {
        Self { bytes: Cow::Borrowed(text), origin: Origin::Here }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The part of the original text that `range` of this one was spelled by.
    pub(super) fn original(&self, range: &Range<usize>) -> Range<usize> {
        let of = |index: usize| self.origin.of(index, self.bytes.len());
        of(range.start)..of(range.end)
    }

    /// The same text with one spelling undone once; nothing when that changes nothing.
    pub(super) fn without(&self, spelling: Spelling) -> Option<Self> {
        let mark = spelling.mark();
        let length = self.bytes.len();
        if until_byte(&self.bytes, 0, mark) == length {
            return None;
        }
        let mut plain = Plain { bytes: Vec::with_capacity(length), origin: Vec::with_capacity(length + 1) };
        let mut index = 0;
        let mut changed = false;
        while index < length {
            let next = until_byte(&self.bytes, index, mark);
            plain.copy(self, index..next);
            index = next;
            if let Some((meaning, spelled_by)) = spelling.read(&self.bytes, index) {
                changed = true;
                plain.push(&meaning, self.origin.of(index, length));
                index += spelled_by;
            } else {
                plain.copy(self, index..length.min(index + 1));
                index += 1;
            }
        }
        plain.origin.push(self.origin.of(length, length));
        changed.then_some(Self { bytes: Cow::Owned(plain.bytes), origin: Origin::Places(plain.origin) })
    }
}

/// A layer in the making.
struct Plain {
    bytes: Vec<u8>,
    origin: Vec<usize>,
}

impl Plain {
    fn copy(&mut self, from: &Layer<'_>, range: Range<usize>) {
        self.bytes.extend_from_slice(part(&from.bytes, range.clone()));
        self.origin.extend(range.map(|index| from.origin.of(index, from.bytes.len())));
    }

    fn push(&mut self, meaning: &Meaning, source: usize) {
        match meaning {
            Meaning::Byte(byte) => self.bytes.push(*byte),
            Meaning::Character(character) => {
                self.bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        self.origin.resize(self.bytes.len(), source);
    }
}

/// The text with every spelling undone, at most three deep: for short names.
pub(super) fn fully(name: &[u8]) -> Vec<u8> {
    let mut layer = Layer::root(name);
    for _ in 0..3 {
        let before = layer.bytes.len();
        for spelling in Spelling::ALL {
            layer = layer.without(spelling).unwrap_or(layer);
        }
        if layer.bytes.len() == before {
            break;
        }
    }
    layer.bytes.into_owned()
}

fn backslash(text: &[u8], index: usize) -> Option<(Meaning, usize)> {
    let short = |byte| Some((Meaning::Byte(byte), 2));
    match at(text, index + 1) {
        quoted @ (b'"' | b'\'' | b'\\' | b'/' | b'`') => short(quoted),
        b'n' => short(b'\n'),
        b'r' => short(b'\r'),
        b't' => short(b'\t'),
        b'b' | b'f' => short(b' '),
        b'x' => hex(part(text, index + 2..index + 4)).map(|value| (character(value), 4)),
        b'u' => unicode(text, index),
        _ => None,
    }
}

fn unicode(text: &[u8], index: usize) -> Option<(Meaning, usize)> {
    let high = hex(part(text, index + 2..index + 6))?;
    if !(0xd800..0xdc00).contains(&high) {
        return Some((character(high), 6));
    }
    let low = hex(part(text, index + 8..index + 12)).filter(|_| part(text, index + 6..index + 8) == b"\\u");
    let pair = low.and_then(|low| low.checked_sub(0xdc00)).filter(|low| *low < 0x400);
    match pair {
        Some(low) => Some((character(0x1_0000 + ((high - 0xd800) << 10) + low), 12)),
        None => Some((Meaning::Character(char::REPLACEMENT_CHARACTER), 6)),
    }
}

fn reference(text: &[u8], index: usize) -> Option<(Meaning, usize)> {
    const LONGEST: usize = 12;
    let body = part(text, index + 1..text.len().min(index + LONGEST));
    let length = body.iter().position(|byte| *byte == b';')?;
    let name = part(body, 0..length);
    let meaning = match name {
        b"quot" => Meaning::Byte(b'"'),
        b"apos" => Meaning::Byte(b'\''),
        b"amp" => Meaning::Byte(b'&'),
        b"lt" => Meaning::Byte(b'<'),
        b"gt" => Meaning::Byte(b'>'),
        b"nbsp" => Meaning::Byte(b' '),
        [b'#', b'x' | b'X', digits @ ..] => character(hex(digits)?),
        [b'#', digits @ ..] => character(str::from_utf8(digits).ok()?.parse().ok()?),
        _ => return None,
    };
    Some((meaning, length + 2))
}

fn byte_meaning(value: u32) -> Meaning {
    u8::try_from(value).map_or(Meaning::Character(char::REPLACEMENT_CHARACTER), Meaning::Byte)
}

fn character(value: u32) -> Meaning {
    Meaning::Character(char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER))
}

fn hex(digits: &[u8]) -> Option<u32> {
    // `from_str_radix` takes a sign too.
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = str::from_utf8(digits).ok().filter(|_| all_digits)?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str, spelling: Spelling) -> Option<String> {
        Layer::root(text.as_bytes()).without(spelling).map(|layer| String::from_utf8_lossy(&layer.bytes).into_owned())
    }

    #[test]
    fn each_spelling_is_undone_once() {
        assert_eq!(plain(r#"\"a\\\u00fc\ud83d\ude00\x41\q"#, Spelling::Backslash).as_deref(), Some("\"a\\ü😀A\\q"));
        assert_eq!(plain("%41%2541%c3%BC%4", Spelling::Percent).as_deref(), Some("A%41ü%4"));
        assert_eq!(plain("&quot;&#65;&#x42;&amp;lt;&x;", Spelling::Reference).as_deref(), Some("\"AB&lt;&x;"));
        assert_eq!(plain("plain", Spelling::Percent), None);
        assert_eq!(plain("100%", Spelling::Percent), None);
    }

    #[test]
    fn a_range_of_the_plain_text_leads_back_to_the_original() {
        let root = Layer::root(b"a%2541z");
        let twice =
            root.without(Spelling::Percent).and_then(|once| once.without(Spelling::Percent)).expect("two levels");
        assert_eq!(twice.bytes(), b"aAz");
        assert_eq!(twice.original(&(1..2)), 1..6);
        assert_eq!(twice.original(&(2..3)), 6..7);
    }
}
