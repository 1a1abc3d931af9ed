//! One ERP as configured: where it is, how to sign in, what to send with each request.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::recipe::Recipe;
use crate::domain::UpstreamName;

/// One protected ERP.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The name that endpoints refer to.
    pub name: UpstreamName,
    /// Where it listens; resolved when the configuration is loaded. Never empty; tried in turn.
    pub peers: Vec<SocketAddr>,
    /// How to encrypt the connection; `None` is plain HTTP.
    pub tls: Option<UpstreamTls>,
    /// The `Host` that the ERP sees, always ours.
    pub host: String,
    /// How long to wait for what.
    pub timeouts: UpstreamTimeouts,
    /// Request headers that pass to this ERP besides the standard list.
    pub forward_headers: Vec<HeaderName>,
    /// How to sign in.
    pub session: Recipe,
}

/// TLS towards an ERP.
#[derive(Debug, Clone)]
pub struct UpstreamTls {
    /// The name asked for and verified. Never empty: Pingora verifies nothing without it.
    pub server_name: String,
    /// A private certificate authority in PEM; `None` trusts the system's.
    pub ca_file: Option<PathBuf>,
}

/// How long to wait for an ERP.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamTimeouts {
    /// To connect, TLS included.
    pub connect: Duration,
    /// Between two reads of an answer.
    pub read: Duration,
    /// For one write to be taken.
    pub write: Duration,
    /// A pooled connection may stay idle this long.
    pub idle: Duration,
    /// A request may wait for a session this long.
    pub sign_in: Duration,
}
