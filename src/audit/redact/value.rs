//! Where the value after a secret name ends. In doubt it ends later.

use std::ops::Range;

use super::bytes::{
    after_closing_bracket, after_closing_quote, at, find, inside_quotes, is_blank, is_line_end, is_space, part, starts,
    until,
};
use super::pairs::{Key, after_separator};

/// The value of `key` after the `=` or `:` at `separator`.
pub(super) fn after(text: &[u8], separator: usize, key: &Key) -> Range<usize> {
    let after = after_separator(text, separator);
    let space = if key.quoted { is_space } else { is_blank };
    let start = until(text, after, |byte| !space(byte));
    match at(text, start) {
        b'"' if starts(text, start, b"\"\"\"") => start..past(text, start + 3, b"\"\"\""),
        b'"' | b'`' => inside_quotes(text, start, after_closing_quote(text, start)),
        b'\'' => inside_quotes(text, start, after_doubled_quotes(text, start)),
        b'{' | b'[' => start..after_closing_bracket(text, start),
        // Still escaped: it is found where the escapes are undone, and there with its true end.
        b'\\' if is_escaped_quote(text, start) => start..start,
        _ if key.quoted => start..end_of_quoted_keys_value(text, start),
        _ => start..end_of_bare_value(text, separator, start, key),
    }
}

fn past(text: &[u8], from: usize, needle: &[u8]) -> usize {
    find(text, from, needle).map_or(text.len(), |found| found + needle.len())
}

/// YAML and SQL write a quote inside single quotes twice.
fn after_doubled_quotes(text: &[u8], start: usize) -> usize {
    let mut end = after_closing_quote(text, start);
    while at(text, end) == b'\'' {
        end = after_closing_quote(text, end);
    }
    end
}

fn is_escaped_quote(text: &[u8], start: usize) -> bool {
    let quote = until(text, start, |byte| byte != b'\\');
    matches!(at(text, quote), b'"' | b'\'')
}

/// A number or word of JSON ends where it ends; anything else is not JSON and goes on to the end of the line.
fn end_of_quoted_keys_value(text: &[u8], start: usize) -> usize {
    let end = until(text, start, |byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')));
    let next = until(text, end, |byte| !is_blank(byte));
    let is_literal = end > start && matches!(at(text, next), b',' | b'}' | b']' | b'\r' | b'\n' | 0);
    if is_literal { end } else { until(text, start, is_line_end) }
}

fn end_of_bare_value(text: &[u8], separator: usize, start: usize, key: &Key) -> usize {
    let colon = at(text, separator) == b':';
    if key.takes_the_line && colon {
        let end = until(text, start, |byte| is_line_end(byte) || byte == b'"');
        return key.indent.map_or(end, |indent| after_indented_lines(text, end, indent, start == end));
    }
    match (colon, key.indent) {
        (true, Some(indent)) => {
            let end = until(text, start, is_line_end);
            after_indented_lines(text, end, indent, start == end)
        }
        (true, None) => end_of_inline_value(text, start),
        (false, Some(_)) => until(text, start, |byte| is_line_end(byte) || byte == b'&'),
        (false, None) => until(text, start, |byte| is_space(byte) || b"\"&<>".contains(&byte)),
    }
}

/// In running text a comma, semicolon or brace ends a value only where a word ends too.
fn end_of_inline_value(text: &[u8], start: usize) -> usize {
    let mut index = start;
    loop {
        index = until(text, index, |byte| is_line_end(byte) || b"\",;<}&".contains(&byte));
        let may_belong = matches!(at(text, index), b',' | b';' | b'}');
        let ends_word = matches!(at(text, index + 1), 0 | b' ' | b'\t' | b'\r' | b'\n' | b'}' | b']' | b')' | b'"');
        if !may_belong || ends_word {
            return index;
        }
        index += 1;
    }
}

/// YAML goes on in the lines that are indented more; a list under an empty value may be indented as its key is.
fn after_indented_lines(text: &[u8], end_of_line: usize, indent: usize, is_empty: bool) -> usize {
    let mut end = end_of_line;
    let mut line = end_of_line;
    while line < text.len() {
        let start = after_line_end(text, line);
        let content = until(text, start, |byte| !is_blank(byte));
        let line_end = until(text, content, is_line_end);
        let depth = content - start;
        let is_item = is_empty && at(text, content) == b'-' && is_blank(at(text, content + 1)) && depth >= indent;
        if content == line_end && line_end < text.len() {
            line = line_end;
        } else if content < line_end && (depth > indent || is_item) {
            end = line_end;
            line = line_end;
        } else {
            break;
        }
    }
    end
}

fn after_line_end(text: &[u8], index: usize) -> usize {
    if part(text, index..index + 2) == b"\r\n" { index + 2 } else { index + 1 }
}
