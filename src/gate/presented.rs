//! The credentials that a request presents. None of them is ever quoted in an error.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};
use zeroize::Zeroizing;

use crate::domain::{Code, IssuedKind, IssuedSecret, Secret};

/// Longest client id and longest password, in bytes.
const LONGEST: usize = 256;

/// Client id and password of HTTP Basic (RFC 7617).
#[derive(Debug)]
pub struct BasicCredentials {
    /// The client id, not yet known to be one of ours.
    pub client_id: String,
    /// The password, not trimmed.
    pub password: Secret,
}

/// What was presented cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PresentedError {
    /// A header is repeated.
    #[error("credentials are sent twice")]
    Repeated,
    /// `Authorization` has another scheme or none.
    #[error("the Authorization header does not have the expected scheme")]
    Scheme,
    /// A bearer token has not the form in which we issue them.
    #[error("the token has not the form of a gateway token")]
    NotAToken,
    /// An x-api-key has not the form in which we issue them.
    #[error("the x-api-key has not the form of one")]
    NotAKey,
    /// Basic credentials cannot be read.
    #[error("the Basic credentials cannot be read")]
    Basic,
}

impl PresentedError {
    /// The code for it.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Repeated => Code::BadRequest,
            Self::NotAToken => Code::TokenInvalid,
            Self::Scheme => Code::CredentialsMissing,
            Self::NotAKey | Self::Basic => Code::CredentialsInvalid,
        }
    }
}

/// The bearer token, where one is sent (RFC 6750 section 2.1; no other transport is offered).
///
/// # Errors
/// When `Authorization` is there but holds no token of ours in form.
pub fn presented_bearer(headers: &HeaderMap) -> Result<Option<IssuedSecret>, PresentedError> {
    let Some(text) = authorization(headers, "bearer")? else { return Ok(None) };
    IssuedSecret::parse(IssuedKind::Token, text).map(Some).map_err(|_| PresentedError::NotAToken)
}

/// The x-api-key, where one is sent.
///
/// # Errors
/// When it is repeated or has not the form in which we issue them.
pub fn presented_api_key(headers: &HeaderMap) -> Result<Option<IssuedSecret>, PresentedError> {
    let Some(value) = single(headers, "x-api-key")? else { return Ok(None) };
    let text = value.to_str().map_err(|_| PresentedError::NotAKey)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    IssuedSecret::parse(IssuedKind::ApiKey, text).map(Some).map_err(|_| PresentedError::NotAKey)
}

/// Client id and password, where they are sent.
///
/// # Errors
/// When `Authorization` is there but holds no readable Basic credentials.
pub fn presented_basic(headers: &HeaderMap) -> Result<Option<BasicCredentials>, PresentedError> {
    let Some(text) = authorization(headers, "basic")? else { return Ok(None) };
    // Strict: padding present, no spaces, no second spelling of the same bytes.
    let decoded = Zeroizing::new(STANDARD.decode(text).map_err(|_| PresentedError::Basic)?);
    let decoded = std::str::from_utf8(&decoded).map_err(|_| PresentedError::Basic)?;
    // RFC 7617 section 2: the first colon splits; control characters are not allowed.
    let (client_id, password) = decoded.split_once(':').ok_or(PresentedError::Basic)?;
    let unfit = |part: &str| part.len() > LONGEST || part.chars().any(char::is_control);
    if unfit(client_id) || unfit(password) || client_id.is_empty() {
        return Err(PresentedError::Basic);
    }
    Ok(Some(BasicCredentials { client_id: client_id.to_owned(), password: Secret::new(password.to_owned()) }))
}

/// What follows the scheme in the one `Authorization` header; the scheme is case-insensitive (RFC 9110 section 11.1).
fn authorization<'h>(headers: &'h HeaderMap, scheme: &str) -> Result<Option<&'h str>, PresentedError> {
    let Some(value) = single(headers, header::AUTHORIZATION.as_str())? else { return Ok(None) };
    let text = value.to_str().map_err(|_| PresentedError::Scheme)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let (sent, rest) = text.split_once(' ').ok_or(PresentedError::Scheme)?;
    if !sent.eq_ignore_ascii_case(scheme) {
        return Err(PresentedError::Scheme);
    }
    Ok(Some(rest.trim_matches(' ')))
}

fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h HeaderValue>, PresentedError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(PresentedError::Repeated) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemEntropy;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().expect("a value"));
        }
        map
    }

    fn basic(text: &str) -> Result<Option<(String, String)>, PresentedError> {
        let value = format!("Basic {}", STANDARD.encode(text));
        let presented = presented_basic(&headers(&[("authorization", &value)]))?;
        Ok(presented.map(|basic| (basic.client_id, basic.password.expose().to_owned())))
    }

    #[test]
    fn the_first_colon_splits_and_nothing_is_trimmed() {
        assert_eq!(basic("id:pass:word "), Ok(Some(("id".into(), "pass:word ".into()))));
        assert_eq!(basic("id:"), Ok(Some(("id".into(), String::new()))));
    }

    #[test]
    fn basic_credentials_that_cannot_be_read_are_refused() {
        for text in ["id", ":password", "id:pass\n", "id:\0", "i\rd:x"] {
            assert_eq!(basic(text), Err(PresentedError::Basic), "{text:?}");
        }
        for value in ["Basic aWQ6cHc", "Basic ====", "Basic aWQ 6cHc=", "Basic _-_-", "Basic aWQ6cHd="] {
            assert!(presented_basic(&headers(&[("authorization", value)])).is_err(), "{value}");
        }
    }

    #[test]
    fn another_scheme_or_two_headers_are_refused() {
        for value in ["Bearer x", "Digest a=b", "aWQ6cHc=", "Basic\taWQ6cHc="] {
            assert_eq!(
                presented_basic(&headers(&[("authorization", value)])).map(drop),
                Err(PresentedError::Scheme),
                "{value}"
            );
        }
        let twice = headers(&[("authorization", "Basic aWQ6cHc="), ("authorization", "Bearer x")]);
        assert_eq!(presented_basic(&twice).map(drop), Err(PresentedError::Repeated));
    }

    #[test]
    fn a_token_is_taken_from_the_bearer_header_only() {
        let token = IssuedSecret::generate(IssuedKind::Token, &SystemEntropy).expect("entropy");
        let text = token.secret().expose();
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let value = format!("{scheme} {text}");
            let presented = presented_bearer(&headers(&[("authorization", &value)])).expect("read").expect("there");
            assert_eq!(presented.secret().expose(), text);
        }
        assert!(presented_bearer(&headers(&[("cookie", text), ("x-authorization", text)])).expect("read").is_none());
    }

    #[test]
    fn an_api_key_is_no_token_and_no_error_quotes_it() {
        let key = IssuedSecret::generate(IssuedKind::ApiKey, &SystemEntropy).expect("entropy");
        let value = format!("Bearer {}", key.secret().expose());
        let error = presented_bearer(&headers(&[("authorization", &value)])).expect_err("refused");
        assert_eq!(error.code(), Code::TokenInvalid);
        assert!(!error.to_string().contains(key.secret().expose()));
    }
}
