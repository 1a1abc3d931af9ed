//! Finds `name = value` and `name: value` in any notation: forms, queries, YAML, headers, logs, code, broken JSON.

use std::ops::Range;

use super::bytes::{at, before, is_blank, is_line_end, is_space, part, run_back, until_either};
use super::names::{Names, Place, takes_the_line};
use super::spans::Spans;
use super::value;

const LONGEST_NAME: usize = 128;

/// A secret name, as it stands before its `=` or `:`.
pub(super) struct Key {
    /// It stands in quotes, so the value follows the rules of JSON.
    pub quoted: bool,
    /// It is the first thing on its line, which is indented by so many bytes.
    pub indent: Option<usize>,
    /// Its value takes the whole line.
    pub takes_the_line: bool,
}

/// Marks the value after every secret name.
pub(super) fn mark(text: &[u8], names: &Names, spans: &mut Spans) {
    let mut index = 0;
    loop {
        let separator = until_either(text, index, *b"=:");
        if separator >= text.len() {
            return;
        }
        index = separator + 1;
        if let Some(key) = secret_key_before(text, separator, names) {
            let value = value::after(text, separator, &key);
            index = index.max(value.end);
            spans.add(value);
        }
    }
}

fn secret_key_before(text: &[u8], separator: usize, names: &Names) -> Option<Key> {
    let end = before_comment(text, trim_back(text, separator, is_space));
    let quoted = matches!(before(text, end), b'"' | b'\'' | b'`').then(|| quoted_name(text, end)).flatten();
    if let Some(name) = quoted.clone()
        && names.is_secret(part(text, name.clone()), Place::Field)
    {
        return Some(describe(text, &name, name.start.saturating_sub(1), Notation::Quoted));
    }
    let end = if quoted.is_some() { end } else { trim_back(text, separator, is_blank) };
    let name = bare_name(text, end)?;
    let place = match before(text, name.start) {
        b'?' | b'&' | b'#' | b';' => Place::Parameter,
        _ => Place::Field,
    };
    let phrase = with_the_word_before(text, &name);
    let secret = names.is_secret(part(text, name.clone()), place)
        || phrase.is_some_and(|phrase| names.is_secret(part(text, phrase), place));
    secret.then(|| describe(text, &name, name.start, Notation::Bare))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Notation {
    Quoted,
    Bare,
}

fn describe(text: &[u8], name: &Range<usize>, start: usize, notation: Notation) -> Key {
    Key {
        quoted: notation == Notation::Quoted,
        indent: indent_of(text, start),
        takes_the_line: takes_the_line(part(text, name.clone())),
    }
}

/// The name in the quotes that close at `end`. A backslash before the closing quote belongs to the quote.
fn quoted_name(text: &[u8], end: usize) -> Option<Range<usize>> {
    let quote = before(text, end);
    let inside = run_back(text, end - 1, 4, |byte| byte == b'\\');
    let start = run_back(text, inside, LONGEST_NAME, |byte| byte != quote && !is_line_end(byte));
    (before(text, start) == quote).then_some(start..inside)
}

fn bare_name(text: &[u8], end: usize) -> Option<Range<usize>> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"_-.[]$%+@!*\\".contains(&byte);
    let start = run_back(text, end, LONGEST_NAME, fits);
    (start < end).then_some(start..end)
}

/// `api key: …` is two words; `forgotten password page: …` is not about a password.
fn with_the_word_before(text: &[u8], name: &Range<usize>) -> Option<Range<usize>> {
    let last = part(text, name.clone());
    let needs_another = [&b"key"[..], b"code", b"phrase", b"word", b"id"];
    if before(text, name.start) != b' ' || !needs_another.iter().any(|word| last.eq_ignore_ascii_case(word)) {
        return None;
    }
    let first = bare_name(text, name.start - 1)?;
    Some(first.start..name.end)
}

fn indent_of(text: &[u8], start: usize) -> Option<usize> {
    let line = run_back(text, start, start, |byte| is_blank(byte) || byte == b'-');
    (line == 0 || is_line_end(before(text, line))).then_some(start - line)
}

fn before_comment(text: &[u8], end: usize) -> usize {
    if part(text, end.saturating_sub(2)..end) != b"*/" {
        return end;
    }
    let seen = part(text, end.saturating_sub(LONGEST_NAME)..end);
    match seen.windows(2).rposition(|pair| pair == b"/*") {
        Some(offset) => trim_back(text, end - seen.len() + offset, is_space),
        None => end,
    }
}

fn trim_back(text: &[u8], end: usize, space: impl Fn(u8) -> bool) -> usize {
    run_back(text, end, LONGEST_NAME, space)
}

/// Whether a value may go on here after `=>`, `:=` and the like.
pub(super) fn after_separator(text: &[u8], separator: usize) -> usize {
    match (at(text, separator), at(text, separator + 1)) {
        (b'=', b'>') | (b':', b'=') => separator + 2,
        _ => separator + 1,
    }
}
