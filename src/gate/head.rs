//! The head of a request: it has one meaning, or it is refused. Nothing is repaired.
//!
//! RFC 9110 and 9112 let a server repair much of this; two servers that repair differently are how requests are
//! smuggled, so a front door does not.

use http::{HeaderMap, HeaderName, Version, header};

use crate::domain::{Code, Target};
use crate::policy::{BodyForm, Boundary, boundary_of};

/// A request's head as it came.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The protocol version.
    pub version: Version,
    /// The method.
    pub method: &'a str,
    /// The request target, byte for byte.
    pub raw_target: &'a [u8],
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// The request target, in bytes.
    pub target: usize,
    /// Header lines.
    pub headers: usize,
    /// Names and values together, in bytes.
    pub header_bytes: usize,
}

/// A head that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct HeadRefused {
    /// The code for it.
    pub code: Code,
    /// What is wrong; holds nothing of the request.
    pub reason: &'static str,
}

/// How the body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// Proof: the head has one meaning.
#[derive(Debug)]
#[must_use]
pub struct CleanHead {
    method: &'static str,
    target: Target,
    framing: BodyFraming,
    media: Media,
}

/// What the body is said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Media {
    PlainJson,
    Multipart(Boundary),
    Other,
}

/// Exact: `get` is another method than `GET`. `CONNECT` and `TRACE` are not for an API.
const METHODS: [(&str, Body); 7] = [
    ("GET", Body::Never),
    ("HEAD", Body::Never),
    ("OPTIONS", Body::Never),
    ("DELETE", Body::Never),
    ("POST", Body::Maybe),
    ("PUT", Body::Maybe),
    ("PATCH", Body::Maybe),
];

/// Whether a method comes with a body. RFC 9110 section 9.3: a body on `GET`, `HEAD` or `DELETE` has no defined meaning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    Never,
    Maybe,
}

/// Headers that may be sent once only.
const SINGLE: [HeaderName; 4] =
    [header::AUTHORIZATION, header::CONTENT_TYPE, header::CONTENT_ENCODING, HeaderName::from_static("x-api-key")];

/// What `Connection` must not name: framing, addressing and what we set ourselves.
const NOT_FOR_CONNECTION: [&str; 6] =
    ["host", "content-length", "transfer-encoding", "forwarded", "x-forwarded-for", ":path"];

impl CleanHead {
    /// Checks a head.
    ///
    /// # Errors
    /// When it is too large or two servers could read it differently.
    pub fn check(head: &Head<'_>, limits: &HeadLimits) -> Result<Self, HeadRefused> {
        check_size(head, limits)?;
        let (method, body) = *METHODS
            .iter()
            .find(|(method, _)| *method == head.method)
            .ok_or_else(|| bad("the method is not one of GET, HEAD, OPTIONS, DELETE, POST, PUT, PATCH"))?;
        check_host(head.headers)?;
        check_names_and_values(head.headers)?;
        check_connection(head.headers)?;
        let framing = framing(head)?;
        if body == Body::Never && !matches!(framing, BodyFraming::None | BodyFraming::Length(0)) {
            return Err(bad("this method comes without a body"));
        }
        let target = Target::parse(origin_form(head)?).map_err(|_| ambiguous())?;
        Ok(Self { method, target, framing, media: media(head.headers) })
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// The target.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// How the body is framed.
    #[must_use]
    pub fn framing(&self) -> BodyFraming {
        self.framing
    }

    /// The announced length of the body.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        match self.framing {
            BodyFraming::Length(length) => Some(length),
            BodyFraming::None | BodyFraming::Chunked => None,
        }
    }

    /// Whether the body is JSON that we can look into: UTF-8, not compressed.
    ///
    /// # Errors
    /// The reason why not.
    pub fn json_body(&self) -> Result<(), &'static str> {
        match &self.media {
            Media::PlainJson => Ok(()),
            Media::Multipart(_) | Media::Other => {
                Err("the body is not plain JSON in UTF-8, so its condition cannot be examined")
            }
        }
    }

    /// How the body holds other requests, where it is in one of the formats that can be taken apart.
    ///
    /// # Errors
    /// The reason why not.
    pub fn batch_body(&self) -> Result<BodyForm<'_>, &'static str> {
        match &self.media {
            Media::PlainJson => Ok(BodyForm::Json),
            Media::Multipart(boundary) => Ok(BodyForm::Multipart(boundary)),
            Media::Other => {
                Err("a batch must be plain JSON in UTF-8, or `multipart/mixed; boundary=…` with a plain boundary")
            }
        }
    }
}

const fn bad(reason: &'static str) -> HeadRefused {
    HeadRefused { code: Code::BadRequest, reason }
}

const fn ambiguous() -> HeadRefused {
    HeadRefused { code: Code::AmbiguousPath, reason: "the request target can be read in more than one way" }
}

fn check_size(head: &Head<'_>, limits: &HeadLimits) -> Result<(), HeadRefused> {
    if head.raw_target.len() > limits.target {
        return Err(HeadRefused { code: Code::UriTooLong, reason: "the request target is longer than allowed" });
    }
    let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if head.headers.len() > limits.headers || bytes > limits.header_bytes {
        return Err(HeadRefused { code: Code::HeadersTooLarge, reason: "the headers are larger than allowed" });
    }
    Ok(())
}

/// RFC 9112 section 3.2: exactly one `Host`, and it is a host with an optional port.
fn check_host(headers: &HeaderMap) -> Result<(), HeadRefused> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().ok_or_else(|| bad("`Host` is missing"))?;
    if hosts.next().is_some() {
        return Err(bad("`Host` is repeated"));
    }
    if is_host(host.as_bytes()) { Ok(()) } else { Err(bad("`Host` is not a host with an optional port")) }
}

fn is_host(host: &[u8]) -> bool {
    let (name, port) = match host {
        [b'[', ..] => match host.iter().position(|byte| *byte == b']') {
            Some(end) => host.split_at(end + 1),
            None => return false,
        },
        _ => match host.iter().position(|byte| *byte == b':') {
            Some(colon) => host.split_at(colon),
            None => (host, [].as_slice()),
        },
    };
    let name_fits = match name {
        [b'[', address @ .., b']'] => {
            std::str::from_utf8(address).is_ok_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
        }
        _ => {
            !name.is_empty()
                && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
    };
    let port_fits = match port {
        [] => true,
        [b':', digits @ ..] => std::str::from_utf8(digits)
            .is_ok_and(|digits| !digits.starts_with('+') && digits.parse::<u16>().is_ok_and(|port| port > 0)),
        _ => false,
    };
    name_fits && port_fits
}

fn check_names_and_values(headers: &HeaderMap) -> Result<(), HeadRefused> {
    for (name, value) in headers {
        if !name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return Err(bad("a header name has an unusual character"));
        }
        if value.as_bytes().iter().any(|byte| *byte < 0x20 && *byte != b'\t' || *byte == 0x7f) {
            return Err(bad("a header value has a control character"));
        }
    }
    if SINGLE.iter().any(|name| headers.get_all(name).iter().nth(1).is_some()) {
        return Err(bad("a header that may be sent once is repeated"));
    }
    if headers.contains_key(header::UPGRADE) || headers.contains_key("http2-settings") {
        return Err(bad("upgrades are not offered"));
    }
    let expects = headers.get_all(header::EXPECT).iter();
    for expected in expects {
        if !expected.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            return Err(bad("only `100-continue` can be expected"));
        }
    }
    Ok(())
}

/// RFC 9110 section 7.6.1: fields named by `Connection` are removed on the way; some must not be.
fn check_connection(headers: &HeaderMap) -> Result<(), HeadRefused> {
    for value in headers.get_all(header::CONNECTION) {
        let text = value.to_str().map_err(|_| bad("`Connection` is not text"))?;
        for option in text.split(',') {
            let option = option.trim().to_ascii_lowercase();
            if NOT_FOR_CONNECTION.contains(&option.as_str()) {
                return Err(bad("`Connection` names a header that is not hop by hop"));
            }
        }
    }
    Ok(())
}

/// RFC 9112 section 6: one way to tell where the body ends.
fn framing(head: &Head<'_>) -> Result<BodyFraming, HeadRefused> {
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let (length, coding) = (lengths.next(), codings.next());
    if lengths.next().is_some() {
        return Err(bad("`Content-Length` is repeated"));
    }
    if codings.next().is_some() {
        return Err(bad("`Transfer-Encoding` is repeated"));
    }
    match (length, coding) {
        (Some(_), Some(_)) => Err(bad("`Content-Length` and `Transfer-Encoding` are both sent")),
        (None, Some(_)) if head.version == Version::HTTP_10 => Err(bad("HTTP/1.0 has no `Transfer-Encoding`")),
        (None, Some(coding)) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(BodyFraming::Chunked),
        (None, Some(_)) => Err(bad("`Transfer-Encoding` is not exactly `chunked`")),
        (Some(length), None) => {
            let digits =
                length.to_str().ok().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
            let length =
                digits.and_then(|digits| digits.parse::<i64>().ok()).and_then(|length| u64::try_from(length).ok());
            length.map(BodyFraming::Length).ok_or_else(|| bad("`Content-Length` is not a number"))
        }
        (None, None) => Ok(BodyFraming::None),
    }
}

/// The path and query of the target.
///
/// Absolute form (RFC 9112 section 3.2.2) is accepted when it names `http` or `https` and exactly our `Host`.
fn origin_form<'a>(head: &Head<'a>) -> Result<&'a [u8], HeadRefused> {
    let target = head.raw_target;
    if target.first() == Some(&b'/') {
        return Ok(target);
    }
    let rest = target.strip_prefix(b"http://").or_else(|| target.strip_prefix(b"https://")).ok_or_else(ambiguous)?;
    let host = head.headers.get(header::HOST).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let path = rest.strip_prefix(host).ok_or_else(ambiguous)?;
    if path.first() == Some(&b'/') { Ok(path) } else { Err(ambiguous()) }
}

fn media(headers: &HeaderMap) -> Media {
    let text = |name| {
        headers.get(name).map(|value: &http::HeaderValue| value.to_str().unwrap_or("?").trim().to_ascii_lowercase())
    };
    let identity = text(header::CONTENT_ENCODING).is_none_or(|coding| coding == "identity");
    let Some(content_type) = text(header::CONTENT_TYPE) else { return Media::Other };
    let mut parts = content_type.split(';').map(str::trim);
    let json = matches!(parts.next(), Some("application/json" | "application/json-rpc"));
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some(("charset", charset)) => charset.trim_matches('"') == "utf-8",
        _ => true,
    });
    // As it was written: a boundary may be in capitals.
    let written = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match boundary_of(written) {
        Some(boundary) if identity => Media::Multipart(boundary),
        _ if json && utf8 && identity => Media::PlainJson,
        _ => Media::Other,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { target: 200, headers: 10, header_bytes: 400 };

    fn check(method: &str, target: &str, headers: &[(&str, &[u8])]) -> Result<CleanHead, HeadRefused> {
        check_version(Version::HTTP_11, method, target, headers)
    }

    fn check_version(
        version: Version,
        method: &str,
        target: &str,
        headers: &[(&str, &[u8])],
    ) -> Result<CleanHead, HeadRefused> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a name");
            map.append(name, HeaderValue::from_bytes(value).expect("a value"));
        }
        CleanHead::check(&Head { version, method, raw_target: target.as_bytes(), headers: &map }, &LIMITS)
    }

    const HOST: (&str, &[u8]) = ("host", b"gateway.test");

    fn refused(method: &str, headers: &[(&str, &[u8])]) -> bool {
        let all: Vec<_> = std::iter::once(HOST).chain(headers.iter().copied()).collect();
        check(method, "/v1/orders", &all).is_err_and(|refused| refused.code == Code::BadRequest)
    }

    #[test]
    fn a_plain_request_is_clean() {
        let head = check("GET", "/v1/orders?x=1", &[HOST]).expect("clean");
        assert_eq!(
            (head.method(), head.target().path().as_str(), head.target().query()),
            ("GET", "/v1/orders", Some("x=1"))
        );
        assert_eq!(head.framing(), BodyFraming::None);
    }

    #[test]
    fn framing_with_two_readings_is_refused() {
        let cases: [&[(&str, &[u8])]; 13] = [
            &[("content-length", b"4"), ("transfer-encoding", b"chunked")],
            &[("content-length", b"4"), ("content-length", b"4")],
            &[("transfer-encoding", b"chunked"), ("transfer-encoding", b"chunked")],
            &[("transfer-encoding", b"gzip, chunked")],
            &[("transfer-encoding", b"chunked, chunked")],
            &[("transfer-encoding", b",chunked")],
            &[("transfer-encoding", b"identity")],
            &[("content-length", b"+4")],
            &[("content-length", b"4 ")],
            &[("content-length", b"")],
            &[("content-length", b"0x4")],
            &[("content-length", b"9223372036854775808")],
            &[("content-length", b"\xd9\xa2")],
        ];
        for headers in cases {
            assert!(refused("POST", headers), "{headers:?}");
        }
        assert!(check_version(Version::HTTP_10, "POST", "/a", &[HOST, ("transfer-encoding", b"chunked")]).is_err());
    }

    #[test]
    fn a_body_on_a_method_without_one_is_refused() {
        for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
            assert!(refused(method, &[("content-length", b"4")]), "{method}");
            assert!(!refused(method, &[("content-length", b"0")]), "{method}");
        }
    }

    #[test]
    fn a_host_that_is_none_or_several_is_refused() {
        assert!(check("GET", "/a", &[]).is_err());
        assert!(check("GET", "/a", &[HOST, HOST]).is_err());
        for host in ["", "a b", "a,b", "a/b", "user@a", "a:", "a:0", "a:99999", "a:+80", "[::1", "a:80:80"] {
            assert!(check("GET", "/a", &[("host", host.as_bytes())]).is_err(), "{host}");
        }
        for host in ["a", "a.b:8080", "127.0.0.1", "[::1]:80"] {
            assert!(check("GET", "/a", &[("host", host.as_bytes())]).is_ok(), "{host}");
        }
    }

    #[test]
    fn methods_match_exactly() {
        for method in ["get", "TRACE", "CONNECT", "PRI", "FOO", "GET "] {
            assert!(refused(method, &[]), "{method}");
        }
    }

    #[test]
    fn upgrades_and_repeated_credentials_are_refused() {
        assert!(refused("GET", &[("upgrade", b"websocket")]));
        assert!(refused("GET", &[("http2-settings", b"AAMAAABk")]));
        assert!(refused("GET", &[("authorization", b"Bearer a"), ("authorization", b"Bearer b")]));
        assert!(refused("GET", &[("connection", b"close, Content-Length")]));
        assert!(refused("POST", &[("expect", b"200-ok")]));
    }

    #[test]
    fn absolute_form_is_accepted_for_our_host_only() {
        let head = check("GET", "http://gateway.test/v1/orders", &[HOST]).expect("ours");
        assert_eq!(head.target().path().as_str(), "/v1/orders");
        for target in [
            "http://evil.test/v1/orders",
            "ftp://gateway.test/a",
            "http://gateway.test:99/a",
            "@evil/a",
            "?x=1",
            "*",
            "http://gateway.test",
        ] {
            assert_eq!(
                check("GET", target, &[HOST]).map(drop).map_err(|refused| refused.code),
                Err(Code::AmbiguousPath),
                "{target}"
            );
        }
    }

    #[test]
    fn a_head_that_is_too_large_is_refused_with_its_code() {
        let code = |result: Result<CleanHead, HeadRefused>| result.map(drop).map_err(|refused| refused.code);
        assert_eq!(code(check("GET", &format!("/{}", "a".repeat(200)), &[HOST])), Err(Code::UriTooLong));
        assert_eq!(
            code(check("GET", "/a", &[HOST, ("x-pad", "a".repeat(500).as_bytes())])),
            Err(Code::HeadersTooLarge)
        );
    }

    #[test]
    fn only_plain_json_can_be_looked_into() {
        let media = |headers: &[(&str, &[u8])]| {
            let all: Vec<_> = std::iter::once(HOST).chain(headers.iter().copied()).collect();
            check("POST", "/a", &all).expect("clean").json_body().is_ok()
        };
        assert!(media(&[("content-type", b"application/json; charset=UTF-8")]));
        assert!(!media(&[]));
        assert!(!media(&[("content-type", b"text/plain")]));
        assert!(!media(&[("content-type", b"application/json; charset=utf-16")]));
        assert!(!media(&[("content-type", b"application/json"), ("content-encoding", b"gzip")]));
    }
}
