//! Why a gateway does not start.

use http::HeaderName;

use crate::audit::AuditError;
use crate::config::{self, ConfigErrors};
use crate::control::{ListenError, SocketError};
use crate::domain::UpstreamName;
use crate::proxy::{BindError, PeerError, ServerError};
use crate::secrets::{AppKeyError, DeriveError, HashingError};
use crate::store::StoreError;
use crate::upstream::VaultError;

/// Why the gateway does not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The policies.
    #[error("{0}")]
    Policies(crate::policy::yaml::Problems),
    /// The `APP_KEY` cannot be read.
    #[error(transparent)]
    KeyFile(#[from] config::AppKeyError),
    /// The `APP_KEY` is no key.
    #[error(transparent)]
    Key(#[from] AppKeyError),
    /// A key cannot be derived.
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// The state database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit database.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The parameters of password hashing.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// An upstream's certificate authority.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The secrets at the upstreams.
    #[error("the secrets at the upstreams cannot be read: {0}")]
    Vault(#[from] VaultError),
    /// Certificates that are shown to clients.
    #[error("{0}")]
    Certificates(String),
    /// A listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The listeners for the admin API, and for liveness, readiness and metrics.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The `APP_KEY` is not lost.
    #[error("the APP_KEY given opens the databases: nothing is lost, and nothing was changed")]
    KeyNotLost,
    /// The `server` section.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// An endpoint leads to an upstream that is not configured.
    #[error("endpoint `{0}` leads to upstream `{1}`, which the configuration does not have")]
    UnknownUpstream(String, UpstreamName),
    /// A rule forces a header that the session of an upstream sets.
    #[error("rule `{0}` forces the header `{1}`, which the session of upstream `{2}` sets; one of them must go")]
    HeaderOfSession(String, HeaderName, UpstreamName),
}
