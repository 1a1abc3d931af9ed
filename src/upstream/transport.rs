//! How a sign-in reaches its ERP; the proxy implements it, so that sign-ins and relays share one TLS set-up.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use zeroize::Zeroizing;

use crate::config::Upstream;

/// Longest body of an answer to a sign-in, in bytes.
pub const MAX_ANSWER: usize = 64 * 1024;

/// Sends the requests of a sign-in.
#[async_trait]
pub trait SignInTransport: Send + Sync + fmt::Debug {
    /// Sends one request to one of the upstream's peers and reads the whole answer, at most [`MAX_ANSWER`] bytes of body.
    ///
    /// Sets `Host` and `Content-Length` itself. Follows no redirects and keeps no cookies. The caller limits the time.
    ///
    /// # Errors
    /// When there is no whole answer. The error's text holds nothing of the request and nothing of the answer.
    async fn send(&self, upstream: &Upstream, request: SignInRequest) -> Result<SignInAnswer, TransportError>;
}

/// One request of a sign-in. `Debug` shows no values.
pub struct SignInRequest {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers besides `Host` and the description of the body; the values are marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Option<Zeroizing<Vec<u8>>>,
    /// The `Content-Type` of the body.
    pub content_type: Option<HeaderValue>,
}

/// The answer to one request of a sign-in. `Debug` shows no values.
pub struct SignInAnswer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Why there is no whole answer. The texts hold no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection to any peer.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection broke or spoke no HTTP.
    #[error("broken answer: {0}")]
    Protocol(String),
    /// One of the upstream's time limits ran out.
    #[error("no answer in time")]
    TimedOut,
    /// The body is longer than [`MAX_ANSWER`].
    #[error("the answer is too large")]
    TooLarge,
}

impl SignInRequest {
    /// A copy for whoever looks on while the request itself is on its way.
    pub(super) fn for_the_record(&self) -> Self {
        Self {
            method: self.method.clone(),
            path: self.path.clone(),
            headers: self.headers.clone(),
            body: self.body.clone(),
            content_type: self.content_type.clone(),
        }
    }
}

impl fmt::Debug for SignInRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        out.debug_struct("SignInRequest")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SignInAnswer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.keys().collect();
        out.debug_struct("SignInAnswer").field("status", &self.status).field("headers", &names).finish_non_exhaustive()
    }
}
