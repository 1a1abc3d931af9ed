//! The parts of a text that must not be shown, and the text without them.

use std::fmt::Write as _;
use std::ops::Range;

/// What stands in the place of a secret.
pub(super) const PLACEHOLDER: &str = "[redacted]";

/// Parts of one text, in the order of their discovery; they may overlap.
#[derive(Debug, Default)]
pub(super) struct Spans(Vec<Range<usize>>);

impl Spans {
    /// Marks a part. An empty part marks nothing.
    pub(super) fn add(&mut self, span: Range<usize>) {
        if span.start < span.end {
            self.0.push(span);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Range<usize>> {
        self.0.iter()
    }

    /// The parts of a text that is cut at `end`.
    pub(super) fn before(self, end: usize) -> Self {
        Self(self.0.into_iter().filter(|span| span.start < end).map(|span| span.start..span.end.min(end)).collect())
    }

    /// The marked parts on character boundaries, in order, those that overlap or touch as one.
    fn merged(mut self, text: &str) -> Vec<Range<usize>> {
        self.0.sort_by_key(|span| span.start);
        let mut merged: Vec<Range<usize>> = Vec::new();
        for span in self.0 {
            let span = text.floor_char_boundary(span.start)..text.ceil_char_boundary(span.end);
            match merged.last_mut() {
                Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
                _ => merged.push(span),
            }
        }
        merged
    }

    /// The text with a placeholder for each marked part, safe to print, of at most `limit` bytes.
    pub(super) fn render(self, text: &str, limit: usize) -> String {
        let mut out = Rendered { text: String::with_capacity(text.len().min(limit)), limit };
        let mut shown = 0;
        for span in self.merged(text) {
            if !out.printable(text.get(shown..span.start).unwrap_or_default()) || !out.whole(PLACEHOLDER) {
                return out.text;
            }
            shown = span.end;
        }
        out.printable(text.get(shown..).unwrap_or_default());
        out.text
    }
}

/// Whether the text can be printed as it is.
pub(super) fn is_safe_to_print(text: &str) -> bool {
    is_plain(text) || !text.contains(steers)
}

/// ASCII without control characters, as most texts are.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

struct Rendered {
    text: String,
    limit: usize,
}

impl Rendered {
    /// Appends the piece if it fits.
    fn whole(&mut self, piece: &str) -> bool {
        let fits = self.text.len() + piece.len() <= self.limit;
        if fits {
            self.text.push_str(piece);
        }
        fits
    }

    /// Appends the text with what would steer a terminal or reorder a line written out; says whether all of it fit.
    fn printable(&mut self, text: &str) -> bool {
        if is_plain(text) && self.whole(text) {
            return true;
        }
        let mut escaped = String::new();
        for character in text.chars() {
            let fits = if steers(character) {
                escaped.clear();
                escape(character, &mut escaped);
                self.whole(&escaped)
            } else {
                self.whole(character.encode_utf8(&mut [0; 4]))
            };
            if !fits {
                return false;
            }
        }
        true
    }
}

fn escape(character: char, out: &mut String) {
    match character {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        // Writing to a string cannot fail.
        _ => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
        }
    }
}

/// Control characters, line separators, marks that reorder text and characters that cannot be seen.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, marked: &[Range<usize>], limit: usize) -> String {
        Spans(marked.to_vec()).render(text, limit)
    }

    #[test]
    fn overlapping_parts_become_one_placeholder() {
        assert_eq!(rendered("abcdefgh", &[4..6, 2..5, 6..7], 100), "ab[redacted]h");
    }

    #[test]
    fn a_part_that_ends_inside_a_character_takes_all_of_it() {
        assert_eq!(rendered("aüb", &[0..2, 0..1], 100), "[redacted]b");
    }

    #[test]
    fn what_steers_a_terminal_is_written_out() {
        assert_eq!(rendered("a\u{1b}[2J\r\nb\u{202e}c\u{9b}", &[], 100), "a\\u{1b}[2J\\r\\nb\\u{202e}c\\u{9b}");
    }

    #[test]
    fn neither_a_character_nor_a_placeholder_is_cut() {
        assert_eq!(rendered("aüb", &[], 2), "a");
        assert_eq!(rendered("aaaa", &[2..3, 2..3], 8), "aa");
        assert_eq!(rendered("a\nb", &[], 2), "a");
    }
}
