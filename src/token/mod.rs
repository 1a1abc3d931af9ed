//! The token endpoint: issue, revoke (RFC 7009), introspect (RFC 7662).
//!
//! Every attempt leaves an audit row; neither the secrets presented nor the token issued are ever in it.

mod authenticate;
mod form;
mod issue;
mod manage;
mod row;
mod throttle;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;

use crate::audit::Auditor;
use crate::directory::Directory;
use crate::domain::{Clock, Entropy, RequestId};
use crate::gate::TlsInUse;
use crate::secrets::{KeyRing, PasswordHasher};

pub use throttle::Throttle;

/// What the configuration says about tokens.
#[derive(Debug, Clone, Copy)]
pub struct TokenRules {
    /// How long a token lives.
    pub lifetime: Duration,
    /// Live tokens of one credential set at most.
    pub per_credential: usize,
    /// Failed attempts per minute that one client id may make with its right x-api-key.
    pub attempts_per_client: u32,
    /// Failed attempts per minute that one address may make.
    pub attempts_per_address: u32,
}

/// Issues, revokes and examines gateway tokens.
#[derive(Debug)]
pub struct TokenEndpoint {
    directory: Arc<Directory>,
    key_ring: Arc<KeyRing>,
    hasher: Arc<PasswordHasher>,
    auditor: Arc<Auditor>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    rules: TokenRules,
    by_client: Throttle,
    by_address: Throttle,
}

/// A request to the token endpoint whose head has one meaning and whose body has been read.
#[derive(Debug)]
pub struct TokenAsked<'a> {
    /// The id that we gave it.
    pub id: RequestId,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, at most a few kilobytes.
    pub body: Bytes,
    /// Where it came from.
    pub client: Option<IpAddr>,
    /// What protects the connection that brought it; `None` where nothing does.
    pub tls: Option<TlsInUse<'a>>,
    /// When it came.
    pub now: Timestamp,
}

impl TokenEndpoint {
    /// Puts the endpoint together.
    #[must_use]
    pub fn new(
        directory: Arc<Directory>,
        key_ring: Arc<KeyRing>,
        hasher: Arc<PasswordHasher>,
        auditor: Arc<Auditor>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        rules: TokenRules,
    ) -> Self {
        let by_client = Throttle::new(rules.attempts_per_client);
        let by_address = Throttle::new(rules.attempts_per_address);
        Self { directory, key_ring, hasher, auditor, clock, entropy, rules, by_client, by_address }
    }
}
