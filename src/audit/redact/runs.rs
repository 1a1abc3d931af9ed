//! Long runs of base64 or hexadecimal digits: what they stand for, and what stands before them.

use std::ops::Range;

use super::bytes::{at, before, is_line_end, part, run_back, until};
use super::known;
use super::names::Names;
use super::shapes::{decode_base64, is_base64};
use crate::domain::Secret;

/// The shortest run that is a secret after a key-like word, or that stands for a text worth looking into.
const SHORTEST: usize = 16;
/// The longest option of a command line that is looked at.
const LONGEST_OPTION: usize = 64;
/// Lines of base64 are at least so long when the run goes on in the next line.
const SHORTEST_LINE: usize = 60;

/// The shortest run of base64 that may hide one of the known values.
pub(super) fn shortest_base64(known: &[Secret]) -> usize {
    known::shortest(known).map_or(SHORTEST, |length| SHORTEST.min(length + length / 3))
}

/// The shortest run of hexadecimal digits that may hide one of the known values.
pub(super) fn shortest_hex(known: &[Secret]) -> usize {
    known::shortest(known).map_or(SHORTEST, |length| SHORTEST.min(length * 2))
}

/// The runs of base64 in a text.
pub(super) fn base64_runs(text: &[u8], shortest: usize) -> impl Iterator<Item = Range<usize>> {
    // Up to two signs of padding count too.
    runs(text, shortest, shortest.saturating_sub(2), is_base64, |start| run_end(text, start))
}

/// The runs of hexadecimal digits in a text.
pub(super) fn hex_runs(text: &[u8], shortest: usize) -> impl Iterator<Item = Range<usize>> {
    let is_digit = |byte: u8| byte.is_ascii_hexdigit();
    runs(text, shortest, shortest, is_digit, move |start| until(text, start, |byte| !is_digit(byte)))
}

/// Runs of at least `shortest` bytes whose first `digits` bytes are all digits.
fn runs(
    text: &[u8],
    shortest: usize,
    digits: usize,
    is_digit: impl Fn(u8) -> bool,
    end_of: impl Fn(usize) -> usize,
) -> impl Iterator<Item = Range<usize>> {
    let mut index = 0;
    std::iter::from_fn(move || {
        // Of so many bytes the last one that is no digit is looked for: what is before it is too short.
        while let Some(window) = text.get(index..index + digits.max(1)) {
            if let Some(other) = window.iter().rposition(|byte| !is_digit(*byte)) {
                index += other + 1;
                continue;
            }
            let start = index;
            let end = end_of(start);
            index = end;
            if end - start >= shortest {
                return Some(start..end);
            }
        }
        None
    })
}

fn run_end(text: &[u8], start: usize) -> usize {
    let mut line = start;
    loop {
        let end = until(text, line, |byte| !is_base64(byte));
        let next = if at(text, end) == b'\r' { end + 1 } else { end };
        if end - line < SHORTEST_LINE || at(text, next) != b'\n' || !is_base64(at(text, next + 1)) {
            return until(text, end, |byte| byte != b'=').min(end + 2);
        }
        line = next + 1;
    }
}

/// Whether the run is long and follows a key-like word, with at most two short words between them.
pub(super) fn follows_key_like_word(text: &[u8], run: &Range<usize>, names: &Names) -> bool {
    let digits = part(text, run.clone());
    if digits.len() < SHORTEST || !digits.iter().any(u8::is_ascii_digit) {
        return false;
    }
    let mut end = run.start;
    for _ in 0..3 {
        end = run_back(text, end, 8, |byte| !byte.is_ascii_alphanumeric() && !is_line_end(byte));
        let start = run_back(text, end, 64, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if start == end {
            return false;
        }
        if names.is_key_like(part(text, start..end)) {
            return true;
        }
        end = start;
    }
    false
}

/// The argument after an option of a command line: `--password hunter2`.
pub(super) fn argument_of_secret_option(text: &[u8], option: usize, names: &Names) -> Option<Range<usize>> {
    if part(text, option..option + 2) != b"--" || before(text, option).is_ascii_alphanumeric() {
        return None;
    }
    let seen = part(text, option + 2..text.len().min(option + LONGEST_OPTION));
    let name = part(seen, 0..until(seen, 0, |byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))));
    let end = option + 2 + name.len();
    if at(text, end) != b' ' || !names.is_only_a_secret_name(name) {
        return None;
    }
    let start = until(text, end, |byte| byte != b' ');
    Some(start..until(text, start, |byte| byte.is_ascii_whitespace() || byte == b'"'))
}

/// What base64 may stand for, begun at each of its first four digits.
pub(super) fn readings_of_base64(run: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..4).map(|offset| decode_base64(part(run, offset..run.len())))
}

/// What hexadecimal digits may stand for, begun at each of the first two.
pub(super) fn readings_of_hex(run: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..2).map(|offset| decode_hex(part(run, offset..run.len())))
}

fn decode_hex(digits: &[u8]) -> Vec<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).unwrap_or(0);
    digits.chunks_exact(2).map(|pair| value(at(pair, 0)) << 4 | value(at(pair, 1))).collect()
}
