//! Multipart bodies: the content of a part whose `Content-Disposition` carries a secret name.

use std::ops::Range;

use super::bytes::{
    at, before, end_of_line, find, is_line_end, is_space, part, starts, starts_in_any_case, until, until_byte,
};
use super::names::{Names, Place};
use super::spans::Spans;

/// Marks the content of secret parts. The boundary is read from the body, not from the head.
pub(super) fn mark(text: &[u8], names: &Names, spans: &mut Spans) {
    let mut boundary = 0..0;
    let mut line = 0;
    while line < text.len() {
        let end = end_of_line(text, line);
        if starts(text, line, b"--") {
            boundary = line..end;
        } else if starts_in_any_case(text, line, b"content-disposition:") {
            let content = content_after_head(text, line);
            let secret = has_secret_name(part(text, line..content), names);
            line = if secret { next_boundary(text, content, part(text, boundary.clone())) } else { content };
            if secret {
                spans.add(content..line);
            }
            continue;
        }
        line = end + 1;
    }
}

/// Behind the empty line that ends the head.
fn content_after_head(text: &[u8], from: usize) -> usize {
    let mut index = from;
    loop {
        index = until_byte(text, index, b'\n');
        if index >= text.len() {
            return text.len();
        }
        let next = index + 1;
        if at(text, next) == b'\n' {
            return next + 1;
        }
        if starts(text, next, b"\r\n") {
            return next + 2;
        }
        index = next;
    }
}

fn next_boundary(text: &[u8], from: usize, boundary: &[u8]) -> usize {
    let boundary = if boundary.len() > 2 { boundary } else { b"--" };
    let mut index = from;
    while let Some(found) = find(text, index, boundary) {
        if found == from || is_line_end(before(text, found)) {
            return found;
        }
        index = found + 1;
    }
    text.len()
}

/// Whether a `name` parameter in the head, in any notation, is the name of a secret.
fn has_secret_name(head: &[u8], names: &Names) -> bool {
    let mut index = 0;
    loop {
        let equals = until_byte(head, index, b'=');
        if equals >= head.len() {
            return false;
        }
        let name = part(head, 0..equals).trim_ascii_end();
        let name = name.strip_suffix(b"*").or_else(|| name.strip_suffix(b"*0")).unwrap_or(name);
        let tail = part(name, name.len().saturating_sub(4)..name.len());
        let separated = matches!(before(name, name.len().saturating_sub(4)), b';' | b' ' | b'\t' | b'\n' | b'\r');
        if separated && tail.eq_ignore_ascii_case(b"name") {
            let value = parameter_value(head, equals + 1);
            if names.is_secret(without_charset(part(head, value)), Place::Parameter) {
                return true;
            }
        }
        index = equals + 1;
    }
}

fn parameter_value(head: &[u8], from: usize) -> Range<usize> {
    let start = until(head, from, |byte| !is_space(byte));
    if at(head, start) == b'"' {
        return start + 1..until(head, start + 1, |byte| byte == b'"' || is_line_end(byte));
    }
    start..until(head, start, |byte| byte == b';' || is_space(byte))
}

/// `UTF-8''pass%77ord` without its charset and language (RFC 8187).
fn without_charset(value: &[u8]) -> &[u8] {
    value.windows(2).position(|pair| pair == b"''").map_or(value, |quotes| part(value, quotes + 2..value.len()))
}
