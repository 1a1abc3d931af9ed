//! Looking at bytes without ever stepping outside of them.

use std::ops::Range;

/// The byte at `index`; zero past the end. No text that is analysed holds a zero byte of meaning.
pub(super) fn at(text: &[u8], index: usize) -> u8 {
    text.get(index).copied().unwrap_or(0)
}

/// The byte before `index`; zero at the start.
pub(super) fn before(text: &[u8], index: usize) -> u8 {
    index.checked_sub(1).map_or(0, |previous| at(text, previous))
}

/// The bytes of `range`; none where the range is not within the text.
pub(super) fn part(text: &[u8], range: Range<usize>) -> &[u8] {
    text.get(range).unwrap_or_default()
}

/// The first position from `from` on whose byte is wanted, or the end of the text.
pub(super) fn until(text: &[u8], from: usize, wanted: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    rest.iter().position(|byte| wanted(*byte)).map_or(text.len(), |offset| from + offset)
}

/// The same for one byte.
pub(super) fn until_byte(text: &[u8], from: usize, wanted: u8) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    memchr::memchr(wanted, rest).map_or(text.len(), |offset| from + offset)
}

/// The same for two bytes.
pub(super) fn until_either(text: &[u8], from: usize, wanted: [u8; 2]) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    memchr::memchr2(wanted[0], wanted[1], rest).map_or(text.len(), |offset| from + offset)
}

/// The end of the line that `from` is in.
pub(super) fn end_of_line(text: &[u8], from: usize) -> usize {
    until_either(text, from, *b"\r\n")
}

/// Where the run of fitting bytes that ends before `end` begins, looking at no more than `most` bytes.
pub(super) fn run_back(text: &[u8], end: usize, most: usize, fits: impl Fn(u8) -> bool) -> usize {
    let floor = end.saturating_sub(most);
    let seen = part(text, floor..end);
    end - seen.iter().rev().take_while(|byte| fits(**byte)).count()
}

/// The first occurrence of `needle` from `from` on.
pub(super) fn find(text: &[u8], from: usize, needle: &[u8]) -> Option<usize> {
    let rest = text.get(from..).filter(|_| !needle.is_empty())?;
    memchr::memmem::find(rest, needle).map(|offset| from + offset)
}

/// Whether `needle` stands at `index`.
pub(super) fn starts(text: &[u8], index: usize, needle: &[u8]) -> bool {
    text.get(index..).is_some_and(|rest| rest.starts_with(needle))
}

/// Whether `needle` stands at `index` in any case of its letters.
pub(super) fn starts_in_any_case(text: &[u8], index: usize, needle: &[u8]) -> bool {
    part(text, index..index.saturating_add(needle.len())).eq_ignore_ascii_case(needle)
}

/// Space, tab, carriage return or line feed.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Space or tab.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Carriage return or line feed.
pub(super) fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Past the quote that closes the quoted text whose opening quote stands at `open`; the end of the text if none does.
pub(super) fn after_closing_quote(text: &[u8], open: usize) -> usize {
    let quote = at(text, open);
    let mut index = open + 1;
    loop {
        index = until_either(text, index, [quote, b'\\']);
        if index >= text.len() {
            return text.len();
        }
        if at(text, index) == quote {
            return index + 1;
        }
        index += 2;
    }
}

/// Past the bracket that closes the one at `open`, brackets in quoted text not counted; the end of the text if none does.
pub(super) fn after_closing_bracket(text: &[u8], open: usize) -> usize {
    let mut depth = 0_usize;
    let mut index = open;
    while index < text.len() {
        match at(text, index) {
            b'"' => {
                index = after_closing_quote(text, index);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return index + 1;
                }
            }
            _ => {}
        }
        index += 1;
    }
    text.len()
}

/// The inside of quoted text that spans `start..end`, whether or not it was closed.
pub(super) fn inside_quotes(text: &[u8], start: usize, end: usize) -> Range<usize> {
    let closed = end > start + 1 && before(text, end) == at(text, start);
    start + 1..if closed { end - 1 } else { end }
}
