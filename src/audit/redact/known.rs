//! Secrets whose value is known, wherever they occur.

use super::bytes::{find, part, starts};
use super::spans::Spans;
use crate::domain::Secret;

/// A shorter value is too common to be looked for.
const SHORTEST: usize = 4;
/// The length of the shortest value that is looked for.
pub(super) fn shortest(known: &[Secret]) -> Option<usize> {
    known.iter().map(|secret| secret.expose().len()).filter(|length| *length >= SHORTEST).min()
}

/// A secret that was cut by the end of the text is recognised by so many of its first bytes.
const HEAD: usize = 8;

/// Marks every known value, and the beginning of one that the end of the text cuts.
pub(super) fn mark(text: &[u8], known: &[Secret], spans: &mut Spans) {
    for secret in known {
        // SECURITY: the value is compared with the text and goes nowhere.
        let value = secret.expose();
        mark_value(text, value.as_bytes(), spans);
        if value.contains(' ') {
            mark_value(text, value.replace(' ', "+").as_bytes(), spans);
        }
    }
}

fn mark_value(text: &[u8], value: &[u8], spans: &mut Spans) {
    if value.len() < SHORTEST {
        return;
    }
    let head = part(value, 0..value.len().min(HEAD));
    let mut index = 0;
    while let Some(found) = find(text, index, head) {
        let rest = part(text, found..text.len());
        index = found + 1;
        if starts(text, found, value) {
            index = found + value.len();
            spans.add(found..index);
        } else if value.starts_with(rest) {
            spans.add(found..text.len());
            return;
        }
    }
}
