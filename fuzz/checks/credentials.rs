//! `Authorization` and `x-api-key`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use erp_access::gate::{presented_api_key, presented_basic, presented_bearer};
use http::{HeaderMap, HeaderValue};

/// What is taken for credentials was sent as such, in the only spelling that there is; the same header twice is refused.
pub(crate) fn credentials(input: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(input) else { return };
    let mut headers = HeaderMap::new();
    headers.insert("authorization", value.clone());
    headers.insert("x-api-key", value.clone());
    let (scheme, rest) = value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    if let Ok(Some(token)) = presented_bearer(&headers) {
        assert!(scheme.eq_ignore_ascii_case("bearer"), "{value:?}");
        assert_eq!(rest.trim_matches(' '), token.secret().expose());
        assert!(presented_basic(&headers).is_err(), "it is one thing or the other");
    }
    if let Ok(Some(basic)) = presented_basic(&headers) {
        assert!(scheme.eq_ignore_ascii_case("basic"), "{value:?}");
        let (id, password) = (&basic.client_id, basic.password.expose());
        assert_eq!(rest.trim_matches(' '), STANDARD.encode(format!("{id}:{password}")));
        assert!(!id.is_empty() && !id.contains(':'), "{id}");
        assert!(!id.contains(char::is_control) && !password.contains(char::is_control));
    }
    if let Ok(Some(key)) = presented_api_key(&headers) {
        assert_eq!(value.to_str().ok(), Some(key.secret().expose()));
    }
    headers.append("authorization", value.clone());
    headers.append("x-api-key", value);
    assert!(presented_bearer(&headers).is_err() && presented_basic(&headers).is_err());
    assert!(presented_api_key(&headers).is_err());
}
