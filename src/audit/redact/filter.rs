//! Tells quickly that a name cannot announce a secret: most names of most bodies cannot.

const LETTERS: usize = 26;
/// No word begins so.
const NONE: u16 = 0;
/// A word begins so and ends there too.
const WHOLE: u16 = 1;

/// Knows the letters of the words to look for. A name without the letters of any of them, in their order and with nothing
/// but digits and signs between them, is none of them.
#[derive(Debug)]
pub(super) struct Filter {
    /// For each three letters the place in `ends` of the words that begin so.
    beginnings: Vec<u16>,
    /// The letters after the first three, of words that begin alike.
    ends: Vec<Vec<Vec<u8>>>,
    /// Words of two letters, which may be all the letters that a name has.
    pairs: Vec<bool>,
    /// There is a word of less than two letters: nothing is turned away.
    everything: bool,
}

impl Filter {
    /// A filter for words in lower case. Digits and signs do not count: a name may have them anywhere.
    pub(super) fn new<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut filter = Self {
            beginnings: vec![NONE; LETTERS * LETTERS * LETTERS],
            ends: vec![Vec::new(), vec![Vec::new()]],
            pairs: vec![false; LETTERS * LETTERS],
            everything: false,
        };
        // A word with other letters is only in names with other letters, and those are never turned away.
        words.filter(|word| word.is_ascii()).for_each(|word| filter.let_through(word));
        filter
    }

    fn let_through(&mut self, word: &str) {
        let letters: Vec<usize> = word.bytes().filter_map(letter).collect();
        match *letters.as_slice() {
            [first, second, third, ..] => {
                self.begin(index_of(first, second, third), letters_of(word).skip(3).collect());
            }
            // A short word may stand at the end of a name too, where no third letter follows.
            [first, second] => {
                for other in 0..LETTERS {
                    self.begin(index_of(first, second, other), Vec::new());
                    self.begin(index_of(other, first, second), Vec::new());
                }
                if let Some(pair) = self.pairs.get_mut(first * LETTERS + second) {
                    *pair = true;
                }
            }
            [_] | [] => self.everything = true,
        }
    }

    fn begin(&mut self, beginning: usize, end: Vec<u8>) {
        let Some(place) = self.beginnings.get_mut(beginning) else { return };
        match (*place, end.is_empty(), self.ends.get_mut(usize::from(*place))) {
            (WHOLE, ..) => {}
            (_, true, _) => *place = WHOLE,
            (NONE, ..) | (_, _, None) => match u16::try_from(self.ends.len()) {
                Ok(next) => {
                    *place = next;
                    self.ends.push(vec![end]);
                }
                Err(_) => self.everything = true,
            },
            (_, false, Some(ends)) => ends.push(end),
        }
    }

    /// Whether the name may hold one of the words.
    pub(super) fn lets_through(&self, name: &[u8]) -> bool {
        if self.everything {
            return true;
        }
        let mut last = (0, 0);
        let mut seen = 0;
        for (index, byte) in name.iter().enumerate() {
            if !byte.is_ascii() || matches!(byte, b'\\' | b'%' | b'&') {
                return true;
            }
            let Some(third) = letter(*byte) else { continue };
            seen += 1;
            let beginning = self.beginnings.get(index_of(last.0, last.1, third)).copied().unwrap_or(WHOLE);
            if seen > 2 && beginning != NONE && self.goes_on(beginning, name.get(index + 1..).unwrap_or_default()) {
                return true;
            }
            last = (last.1, third);
        }
        seen == 2 && self.pairs.get(last.0 * LETTERS + last.1).copied().unwrap_or(true)
    }

    /// Whether a word that begins so may end in the rest of the name.
    fn goes_on(&self, beginning: u16, rest: &[u8]) -> bool {
        let Some(ends) = self.ends.get(usize::from(beginning)) else { return true };
        // What is spelled in another way is decided by those who undo the spelling.
        let other = |byte: &u8| !byte.is_ascii() || matches!(byte, b'\\' | b'%' | b'&');
        ends.iter().any(|end| {
            let mut letters = rest.iter().filter(|byte| other(byte) || byte.is_ascii_alphabetic());
            end.iter().all(|wanted| letters.next().is_some_and(|byte| other(byte) || byte.eq_ignore_ascii_case(wanted)))
        })
    }
}

fn index_of(first: usize, second: usize, third: usize) -> usize {
    (first * LETTERS + second) * LETTERS + third
}

fn letter(byte: u8) -> Option<usize> {
    let lower = byte.to_ascii_lowercase();
    lower.is_ascii_lowercase().then(|| usize::from(lower - b'a'))
}

fn letters_of(word: &str) -> impl Iterator<Item = u8> {
    word.bytes().filter(u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_turned_away_only_when_it_holds_no_word() {
        let filter = Filter::new(["password", "pw", "пароль"].into_iter());
        for name in ["password", "New_Pass-Word", "pass4word", "userPw", "pw", "%70", "ü", "p4w", "pas%73word"] {
            assert!(filter.lets_through(name.as_bytes()), "{name}");
        }
        for name in ["street", "write_date", "", "order", "ab", "A-17", "p", "2024", "pass", "passwort", "x-p.a.s"] {
            assert!(!filter.lets_through(name.as_bytes()), "{name}");
        }
        assert!(Filter::new(["4711"].into_iter()).lets_through(b"street"));
    }
}
