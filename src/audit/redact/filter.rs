//! Tells quickly that a name cannot announce a secret: most names of most bodies cannot.

use super::bytes::at;

const LETTERS: usize = 26;

/// The three letters with which the words to look for begin. A name without any such three is none of them.
#[derive(Debug)]
pub(super) struct Filter {
    beginnings: Vec<bool>,
}

impl Filter {
    /// A filter for words in lower case. Digits and signs do not count: a name may have them anywhere.
    pub(super) fn new<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut filter = Self { beginnings: vec![false; LETTERS * LETTERS * LETTERS] };
        for word in words {
            let letters: Vec<usize> = word.bytes().filter_map(letter).take(3).collect();
            // A word with other letters is only in names with other letters, and those are never turned away.
            if word.is_ascii() {
                filter.let_through(&letters);
            }
        }
        filter
    }

    fn let_through(&mut self, letters: &[usize]) {
        let any = || 0..LETTERS;
        match *letters {
            [first, second, third] => self.set(first, second, third),
            // A short word may stand at the end of a name too, where no third letter follows.
            [first, second] => any().for_each(|other| {
                self.set(first, second, other);
                self.set(other, first, second);
            }),
            _ => self.beginnings.fill(true),
        }
    }

    fn set(&mut self, first: usize, second: usize, third: usize) {
        if let Some(slot) = self.beginnings.get_mut(index_of(first, second, third)) {
            *slot = true;
        }
    }

    /// Whether the name may hold one of the words.
    pub(super) fn lets_through(&self, name: &[u8]) -> bool {
        let mut last = (0, 0);
        let mut seen = 0;
        for byte in name {
            if !byte.is_ascii() || matches!(byte, b'\\' | b'%' | b'&') {
                return true;
            }
            let Some(third) = letter(*byte) else { continue };
            seen += 1;
            if seen > 2 && self.beginnings.get(index_of(last.0, last.1, third)).copied().unwrap_or(true) {
                return true;
            }
            last = (last.1, third);
        }
        seen < 3 && at(name, 0) != 0
    }
}

fn index_of(first: usize, second: usize, third: usize) -> usize {
    (first * LETTERS + second) * LETTERS + third
}

fn letter(byte: u8) -> Option<usize> {
    let lower = byte.to_ascii_lowercase();
    lower.is_ascii_lowercase().then(|| usize::from(lower - b'a'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_turned_away_only_when_it_holds_no_word() {
        let filter = Filter::new(["password", "pw", "пароль"].into_iter());
        for name in ["password", "New_Pass-Word", "pass4w0rd", "userPw", "pw", "ab", "%70", "ü", "x-p.a.s"] {
            assert!(filter.lets_through(name.as_bytes()), "{name}");
        }
        for name in ["street", "write_date", "", "order"] {
            assert!(!filter.lets_through(name.as_bytes()), "{name}");
        }
        assert!(Filter::new(["4711"].into_iter()).lets_through(b"street"));
    }
}
