//! The client's own request id, kept beside ours where it is harmless.

use http::HeaderMap;

/// Longest id that is kept, in characters.
const LONGEST: usize = 128;

/// The `X-Request-Id` that the client sent: 1 to 128 of letters, digits, `.`, `_`, `-`. Anything else is ignored.
#[must_use]
pub fn accepted_correlation(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("x-request-id")?.to_str().ok()?;
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let looks_secret = text.starts_with("erpa_");
    ((1..=LONGEST).contains(&text.len()) && text.bytes().all(harmless) && !looks_secret).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(value: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", http::HeaderValue::from_static(value));
        accepted_correlation(&headers)
    }

    #[test]
    fn a_harmless_id_is_kept() {
        assert_eq!(accepted("order-17_a.b").as_deref(), Some("order-17_a.b"));
    }

    #[test]
    fn anything_else_is_ignored() {
        for value in ["", "a b", "a%0d%0aadmin login ok", "<b>", "=1+1", "erpa_tok_x"] {
            assert_eq!(accepted(value), None, "{value}");
        }
    }
}
