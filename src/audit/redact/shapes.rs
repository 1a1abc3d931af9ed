//! Secrets that show by their shape, whatever they are called.

use std::ops::Range;

use base64::Engine as _;

use super::bytes::{at, before, find, is_blank, is_space, part, starts, starts_in_any_case, until};
use super::spans::Spans;
use crate::domain::IssuedKind;

/// Beginnings of other vendors' secrets and the fewest characters that follow.
const VENDORS: &[(&[u8], usize)] = &[
    (b"ghp_", 16),
    (b"gho_", 16),
    (b"ghu_", 16),
    (b"ghs_", 16),
    (b"ghr_", 16),
    (b"github_pat_", 16),
    (b"glpat-", 12),
    (b"xoxb-", 10),
    (b"xoxp-", 10),
    (b"xoxa-", 10),
    (b"xoxr-", 10),
    (b"xoxs-", 10),
    (b"sk_live_", 10),
    (b"sk_test_", 10),
    (b"rk_live_", 10),
    (b"sk-", 20),
    (b"AKIA", 12),
    (b"ASIA", 12),
    (b"AIza", 20),
    (b"hvs.", 12),
    (b"npm_", 20),
    (b"pypi-", 16),
    (b"SG.", 16),
    (b"ya29.", 10),
    (b"dop_v1_", 16),
    (b"shpat_", 16),
    (b"whsec_", 10),
];
/// The first bytes of them all.
const BEGINS_VENDOR: &[u8] = b"gxsrAhnpSydw";

/// Marks what looks like a secret.
pub(super) fn mark(text: &[u8], spans: &mut Spans) {
    let (mut index, mut previous) = (0, 0);
    while let Some(byte) = text.get(index).copied() {
        // Most bytes go on with a word, and nothing begins there.
        let shape = if may_begin(previous, byte) { shape_at(text, index) } else { None };
        index = match shape {
            Some(span) => {
                let end = span.end.max(index + 1);
                spans.add(span);
                end
            }
            None => index + 1,
        };
        previous = before(text, index);
    }
}

/// Whether any shape may begin with `byte` after `previous`. Those of ours begin inside of words too.
fn may_begin(previous: u8, byte: u8) -> bool {
    if previous.is_ascii_alphanumeric() {
        matches!(byte, b'e' | b'E' | b':' | b'-')
    } else {
        is_base64(byte) || byte == b':'
    }
}

fn shape_at(text: &[u8], index: usize) -> Option<Range<usize>> {
    match at(text, index) {
        b'-' if starts(text, index, b"-----BEGIN ") => Some(private_key(text, index)),
        b':' => credentials_in_url(text, index),
        byte if is_base64(byte) => {
            let begins_run = !is_base64(before(text, index));
            let begins_word = !before(text, index).is_ascii_alphanumeric();
            issued(text, index)
                .or_else(|| begins_word.then(|| authorization(text, index).or_else(|| vendor(text, index)))?)
                .or_else(|| begins_run.then(|| json_web_token(text, index))?)
        }
        _ => None,
    }
}

/// One of ours, whole or cut.
fn issued(text: &[u8], index: usize) -> Option<Range<usize>> {
    if !matches!(at(text, index), b'e' | b'E') {
        return None;
    }
    let kinds = [IssuedKind::Token, IssuedKind::ApiKey, IssuedKind::Password];
    let prefix =
        kinds.into_iter().map(IssuedKind::prefix).find(|prefix| starts_in_any_case(text, index, prefix.as_bytes()))?;
    let end = until(text, index + prefix.len(), |byte| !(byte.is_ascii_alphanumeric() || byte == b'_'));
    Some(index..end)
}

/// RFC 7519, and the five parts of RFC 7516, in the run of base64 that begins at `index`.
fn json_web_token(text: &[u8], index: usize) -> Option<Range<usize>> {
    const SHORTEST_HEAD: usize = 10;
    let head = until(text, index, |byte| !is_base64(byte));
    if at(text, head) != b'.' {
        return None;
    }
    let start = index + find(part(text, index..head), 0, b"eyJ")?;
    let is_token = head - start >= SHORTEST_HEAD;
    is_token.then(|| start..until(text, head, |byte| !(is_base64(byte) || byte == b'.')))
}

/// A PEM block, or what is there of it.
fn private_key(text: &[u8], index: usize) -> Range<usize> {
    const LONGEST_LAST_LINE: usize = 80;
    let end = find(text, index, b"-----END ").map_or(text.len(), |end| {
        let line = part(text, end..text.len().min(end + LONGEST_LAST_LINE));
        end + find(line, 9, b"-----").map_or(line.len(), |dashes| dashes + 5)
    });
    index..end
}

/// `https://user:password@host`
fn credentials_in_url(text: &[u8], index: usize) -> Option<Range<usize>> {
    if !starts(text, index, b"://") {
        return None;
    }
    let start = index + 3;
    let end = until(text, start, |byte| is_space(byte) || b"/?#\"'<>\\".contains(&byte));
    let at_sign = part(text, start..end).iter().rposition(|byte| *byte == b'@')?;
    Some(start..start + at_sign)
}

/// The credentials after `Bearer` or `Basic` (RFC 6750, RFC 7617).
fn authorization(text: &[u8], index: usize) -> Option<Range<usize>> {
    if !matches!(at(text, index), b'b' | b'B') {
        return None;
    }
    let bearer = starts_in_any_case(text, index, b"bearer");
    let scheme = if bearer { b"bearer".len() } else { b"basic".len() };
    if !bearer && !starts_in_any_case(text, index, b"basic") {
        return None;
    }
    let start = until(text, index + scheme, |byte| !(is_blank(byte) || byte == b'+'));
    if start == index + scheme {
        return None;
    }
    let end = until(text, start, |byte| !(is_base64(byte) || matches!(byte, b'.' | b'~' | b'=')));
    let credentials = part(text, start..end);
    let is_secret = if bearer { !is_about_bearers(credentials) } else { is_basic(credentials) };
    is_secret.then_some(start..end)
}

/// `Bearer token`, `Bearer realm="…"`: what stands here is a word of its own.
fn is_about_bearers(word: &[u8]) -> bool {
    let words = ["token", "tokens", "authentication", "authorization", "auth", "scheme"];
    words.iter().any(|about| word.eq_ignore_ascii_case(about.as_bytes()))
}

fn is_basic(credentials: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| credentials.iter().any(kind);
    let padded = credentials.len() > 3 && credentials.ends_with(b"=");
    let long = credentials.len() >= 16 && has(u8::is_ascii_digit);
    padded || long || decode_base64(credentials).contains(&b':')
}

fn vendor(text: &[u8], index: usize) -> Option<Range<usize>> {
    let first = text.get(index).filter(|first| BEGINS_VENDOR.contains(first))?;
    let mut likely = VENDORS.iter().filter(|(prefix, _)| prefix.first() == Some(first));
    let (prefix, fewest) = likely.find(|(prefix, _)| starts(text, index, prefix))?;
    let body = index + prefix.len();
    let end = until(text, body, |byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')));
    // Where the text ends a secret may have been cut.
    (end - body >= *fewest || end == text.len()).then_some(index..end)
}

/// Whether the byte belongs to one of the two alphabets of RFC 4648.
pub(super) fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// What base64 in any alphabet, with or without padding, stands for; other bytes are passed over.
pub(super) fn decode_base64(text: &[u8]) -> Vec<u8> {
    use base64::alphabet::STANDARD;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone),
    );
    let plain = |byte: &u8| match byte {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        byte if is_base64(*byte) => Some(*byte),
        _ => None,
    };
    let mut digits: Vec<u8> = text.iter().filter_map(plain).collect();
    // One digit alone stands for no byte.
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    LENIENT.decode(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vendor_is_looked_for_at_its_first_byte() {
        for (prefix, fewest) in VENDORS {
            let text = [prefix, "x".repeat(*fewest).as_bytes()].concat();
            assert_eq!(vendor(&text, 0), Some(0..text.len()), "{}", prefix.escape_ascii());
        }
    }
}
