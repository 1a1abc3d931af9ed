//! Query strings and form bodies: the value of a secret parameter ends at the next `&` and nowhere else.

use super::bytes::{at, is_space, part, until, until_byte};
use super::names::{Names, Place};
use super::spans::Spans;

/// Marks the values of secret parameters.
pub(super) fn mark(text: &[u8], names: &Names, spans: &mut Spans) {
    let mut start = 0;
    while start < text.len() {
        let end = until_byte(text, start, b'&');
        mark_in_pair(text, start, end, names, spans);
        start = end + 1;
    }
}

/// Some servers split at `;` too, so a secret may begin behind one; it still ends at the `&` only.
fn mark_in_pair(text: &[u8], start: usize, end: usize, names: &Names, spans: &mut Spans) {
    let mut name = start;
    while name < end {
        let stop = until(text, name, |byte| matches!(byte, b'=' | b';' | b'&'));
        let is_secret = || names.is_secret(part(text, name..stop).trim_ascii(), Place::Parameter);
        if at(text, stop) == b'=' && stop < end && is_secret() {
            spans.add(stop + 1..end);
            return;
        }
        name = until(text, stop, |byte| matches!(byte, b';' | b'&')) + 1;
    }
}

/// Whether a text that claims to be something else reads like a form.
pub(super) fn looks_like(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let first = text.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'%'));
    let equals = until(text, 0, |byte| matches!(byte, b'=' | b'{' | b'<' | b'"' | b':'));
    first && at(text, equals) == b'=' && !text.iter().any(|byte| is_space(*byte))
}
