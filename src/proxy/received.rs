//! The head as it came in.
//!
//! Pingora drops `Content-Length` where `Transfer-Encoding` is sent too, and cuts `#…` off the target; the gate refuses
//! both, so it must see them. (One repair cannot be seen from here: a raw space or control character in the target has
//! become an escape before any filter runs. What is decided, relayed and recorded is then the escaped target.)

use std::sync::Arc;

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderValue, header};
use pingora::http::RequestHeader;
use pingora_core::protocols::http::v1::server::HttpSession;
use pingora_core::protocols::http::v2::server::HttpSession as Http2Session;
use pingora_core::protocols::tls::SslDigest;
use pingora_proxy::Session;

use crate::domain::Fingerprint;
use crate::gate::{Head, TlsInUse};

/// A copy of the head of the request at hand.
pub(super) struct Received {
    head: RequestHeader,
    /// The head's bytes, over HTTP/1.
    raw: Option<Bytes>,
    tls: Option<Arc<SslDigest>>,
}

impl Received {
    pub(super) fn of(session: &Session) -> Self {
        let raw = session.as_downstream().as_http1().map(HttpSession::get_headers_raw_bytes);
        let mut head = session.req_header().clone();
        let chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
        if chunked && raw.as_deref().is_some_and(names_content_length) {
            // Put back, so that the gate sees both ways to tell where the body ends. Its value does not matter.
            let _ = head.insert_header(header::CONTENT_LENGTH, "0");
        }
        if let Some(stream) = session.as_downstream().as_http2() {
            as_http1(&mut head, stream);
        }
        let tls = session.digest().and_then(|digest| digest.ssl_digest.clone());
        Self { head, raw, tls }
    }

    /// The head as the gate wants to see it.
    pub(super) fn head(&self) -> Head<'_> {
        Head {
            version: self.head.version,
            method: self.head.method.as_str(),
            raw_target: self.target(),
            headers: &self.head.headers,
        }
    }

    /// What protects the connection.
    pub(super) fn tls(&self) -> Option<TlsInUse<'_>> {
        self.tls.as_deref().map(in_use)
    }

    fn target(&self) -> &[u8] {
        match &self.raw {
            Some(raw) => target_of(raw),
            None => self.head.raw_path(),
        }
    }
}

/// What a connection's TLS is.
pub(super) fn in_use(digest: &SslDigest) -> TlsInUse<'_> {
    // Empty where none was shown.
    let certificate = digest.cert_digest.as_slice().try_into().ok().map(Fingerprint::from_bytes);
    TlsInUse { version: &digest.version, cipher: &digest.cipher, certificate }
}

/// Puts in what HTTP/2 says elsewhere, so that the gate judges both by one rule: the authority, and that a body comes whose
/// length is not said. (Pingora has refused an authority that is not the `Host`.)
fn as_http1(head: &mut RequestHeader, stream: &Http2Session) {
    if !head.headers.contains_key(header::HOST)
        && let Some(host) =
            head.uri.authority().map(Authority::as_str).and_then(|host| HeaderValue::from_str(host).ok())
    {
        let _ = head.insert_header(header::HOST, host);
    }
    if !stream.is_body_empty() && !head.headers.contains_key(header::CONTENT_LENGTH) {
        let _ = head.insert_header(header::TRANSFER_ENCODING, "chunked");
    }
}

/// Whether one of the lines of a head is a `Content-Length`.
fn names_content_length(raw: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length";
    raw.split(|byte| *byte == b'\n').any(|line| {
        line.split(|byte| *byte == b':').next().is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(NAME))
    })
}

/// What stands between the method and the version in a request line; a target with spaces keeps them.
fn target_of(raw: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let begin = raw.iter().position(|byte| !is_end(byte)).unwrap_or(raw.len());
    let line = raw.get(begin..).unwrap_or_default();
    let line = line.split(is_end).next().unwrap_or_default();
    let spaces = (line.iter().position(|byte| *byte == b' '), line.iter().rposition(|byte| *byte == b' '));
    match spaces {
        (Some(first), Some(last)) => line.get(first + 1..last).unwrap_or_default(),
        _ => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_length_that_pingora_dropped_is_seen() {
        assert!(names_content_length(b"POST / HTTP/1.1\r\nCONTENT-Length: 4\r\n\r\n"));
        assert!(!names_content_length(b"POST / HTTP/1.1\r\nX-Content-Length: 4\r\nA: content-length:\r\n\r\n"));
    }

    #[test]
    fn the_target_is_what_was_on_the_wire() {
        assert_eq!(target_of(b"GET /v1/a?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"), b"/v1/a?x=1");
        assert_eq!(target_of(b"\r\nGET /v1/a b#c HTTP/1.1\r\n\r\n"), b"/v1/a b#c");
        for broken in [b"GET".as_slice(), b"GET /v1/a", b"", b"\r\n\r\n"] {
            assert_eq!(target_of(broken), b"", "{broken:?}");
        }
    }
}
