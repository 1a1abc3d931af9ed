//! One ERP as configured: where it is, how to sign in, what to send with each request.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, StatusCode};

use super::recipe::{BodyMatch, Recipe};
use crate::domain::UpstreamName;

/// One protected ERP.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The name that endpoints refer to.
    pub name: UpstreamName,
    /// Where it listens; resolved when the configuration is loaded. Never empty.
    pub peers: Vec<UpstreamPeer>,
    /// How requests are spread over the peers.
    pub balance: Balance,
    /// When a peer that fails is left out for a while.
    pub ejection: Ejection,
    /// How peers are asked whether they are well; `None` does not ask.
    pub health_check: Option<HealthCheck>,
    /// The version of HTTP spoken to it.
    pub http_version: HttpVersion,
    /// Who may share a connection.
    pub connections: Connections,
    /// How to encrypt the connection; `None` is plain HTTP.
    pub tls: Option<UpstreamTls>,
    /// The `Host` that the ERP sees, always ours.
    pub host: String,
    /// How long to wait for what.
    pub timeouts: UpstreamTimeouts,
    /// Request headers that pass to this ERP besides the standard list.
    pub forward_headers: Vec<HeaderName>,
    /// How the ERP reports failures of its own inside of a success; `None` does not look.
    pub application_error: Option<ApplicationError>,
    /// How to sign in.
    pub session: Recipe,
}

impl Upstream {
    /// Whether bodies of answers are looked into; they must come uncompressed then.
    #[must_use]
    pub fn looks_into_answers(&self) -> bool {
        self.application_error.is_some() || self.session.lost.iter().any(|rule| rule.body.is_some())
    }
}

/// How an ERP reports failures of its own inside of a success, as JSON-RPC does.
#[derive(Debug, Clone, PartialEq)]
pub struct ApplicationError {
    /// In an answer with one of these statuses.
    pub status: Vec<StatusCode>,
    /// That holds this.
    pub body: BodyMatch,
}

/// One address of an ERP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamPeer {
    /// The address. Nothing that a client sends chooses it.
    pub address: SocketAddr,
    /// Its share of the requests beside the others'.
    pub weight: u32,
}

/// How requests are spread over peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// In turn, as often as the weights say.
    RoundRobin,
    /// To the peer with the fewest exchanges in progress for its weight.
    LeastConnections,
    /// To the first that is well; the others stand by.
    InOrder,
}

/// When a peer that fails is left out for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// After so many failures in a row; 0 never.
    pub failures: u32,
    /// For so long.
    pub pause: Duration,
}

/// How peers are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path that is asked for, without any credentials.
    pub path: String,
    /// How often.
    pub every: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// A peer is well again after so many good answers in a row.
    pub healthy: u32,
    /// A peer is unwell after so many bad ones in a row.
    pub unhealthy: u32,
    /// What is a good answer.
    pub status: Vec<StatusCode>,
}

/// The version of HTTP spoken to an ERP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1.
    One,
    /// HTTP/2, over TLS where there is TLS, else by prior knowledge.
    Two,
}

/// Who may share a connection to an ERP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// All requests.
    Shared,
    /// Only requests with the same session, for ERPs that sign in a connection.
    PerSession,
}

/// TLS towards an ERP.
#[derive(Debug, Clone)]
pub struct UpstreamTls {
    /// The name asked for and verified. Never empty: Pingora verifies nothing without it.
    pub server_name: String,
    /// A private certificate authority in PEM; `None` trusts the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, with its chain, and its key; both in PEM.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
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
    /// One exchange, from sending to the last byte; `None` is unlimited.
    pub total: Option<Duration>,
}
