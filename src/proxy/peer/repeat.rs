//! Whether a request whose connection broke may be sent once more.

use http::Method;
use pingora_core::{Error, ErrorSource, ErrorType, RetryType};

/// An attempt that broke after the connection was there: the peer may have carried the request out.
#[derive(Debug, Clone, Copy)]
pub(in crate::proxy) struct Broken<'a> {
    /// The method that the ERP got.
    pub(in crate::proxy) method: &'a Method,
    /// Whether the whole body is at hand to be sent again.
    pub(in crate::proxy) whole: bool,
    /// Whether the connection came from the pool, where it may have gone stale.
    pub(in crate::proxy) pooled: bool,
}

/// How far the attempt had come, and what else there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// Whether the head of an answer has come.
    pub(super) answered: bool,
    /// Whether a peer is left that has not failed this request.
    pub(super) another: bool,
}

impl Broken<'_> {
    /// Whether to send the request again.
    // SECURITY: never a second write. A method that is not safe (RFC 9110, section 9.2.1) may have taken effect before
    // the connection broke, so it is not sent again, not even PUT and DELETE, which an ERP need not treat as idempotent.
    pub(super) fn may_repeat(self, error: &Error, standing: Standing) -> bool {
        if !self.method.is_safe() || !self.whole || standing.answered {
            return false;
        }
        match error.retry {
            RetryType::Decided(true) => true,
            RetryType::ReusedOnly if self.pooled => true,
            RetryType::Decided(false) | RetryType::ReusedOnly => standing.another && is_break(error),
        }
    }

    /// Whether this says something about the peer: a pooled connection that had gone stale does not.
    pub(super) fn blames_peer(self, error: &Error) -> bool {
        let stale = self.pooled && matches!(error.retry, RetryType::ReusedOnly);
        !stale && (is_break(error) || timed_out(error))
    }
}

/// The other side or the way there broke; not a time limit: what was slow once must not be asked for twice.
fn is_break(error: &Error) -> bool {
    let broke = matches!(
        error.etype(),
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError | ErrorType::H2Error
    );
    broke && matches!(error.esource(), ErrorSource::Upstream)
}

fn timed_out(error: &Error) -> bool {
    let late = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
    late && matches!(error.esource(), ErrorSource::Upstream)
}
