//! The peers of an upstream: which one gets a request, and what becomes of it.

mod attempts;
mod check;
mod pool;
mod repeat;
mod template;
#[cfg(test)]
mod tests;
mod tls;

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::upstreams::peer::HttpPeer;

use crate::config::{Connections, HealthCheck, Upstream};
use crate::domain::Clock;
use crate::upstream::{SessionEvents, UpstreamSession};

use pool::{Lease, Pool};

pub(super) use attempts::{Attempts, NoAttempt};
pub(super) use check::HealthChecks;
pub(super) use repeat::Broken;
pub use tls::{PeerError, check_authorities};

/// The peers of one upstream, ready to be cloned.
#[derive(Debug)]
pub struct Peers {
    templates: Vec<(SocketAddr, HttpPeer)>,
    pool: Arc<Pool>,
    clock: Arc<dyn Clock>,
    connections: Connections,
    /// Makes the keys of pooled connections; random, so that a key says nothing about a session.
    keys: RandomState,
    total: Option<Duration>,
    health_check: Option<HealthCheck>,
    /// What health checks name as `Host`.
    host: String,
}

/// Tells sessions apart without knowing them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(Option<u64>);

/// A peer that was chosen for an attempt; it counts as busy until this is dropped.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) address: SocketAddr,
    pub(super) peer: Box<HttpPeer>,
    pub(super) lease: Lease,
}

impl Peers {
    /// Builds the templates. `group` keeps pooled connections of different upstreams apart; `events` is told of peers
    /// that are left out.
    ///
    /// # Errors
    /// When a certificate or a private key cannot be used.
    pub fn of(
        upstream: &Upstream,
        group: u64,
        clock: Arc<dyn Clock>,
        events: Arc<dyn SessionEvents>,
    ) -> Result<Self, PeerError> {
        let identity = tls::Identity::read(upstream)?;
        let templates = upstream.peers.iter().map(|peer| {
            let address = peer.address;
            (address, template::build(upstream, address, group, &identity))
        });
        Ok(Self {
            templates: templates.collect(),
            pool: Arc::new(Pool::of(upstream, events)),
            clock,
            connections: upstream.connections,
            keys: RandomState::new(),
            total: upstream.timeouts.total,
            health_check: upstream.health_check.clone(),
            host: upstream.host.clone(),
        })
    }

    /// The next peer besides those `tried`; `None` when there is no other.
    pub(super) fn choose(&self, tried: &[usize]) -> Option<Chosen> {
        let lease = Pool::take(&self.pool, tried, self.clock.monotonic())?;
        let (address, peer) = self.templates.get(lease.index())?;
        Some(Chosen { address: *address, peer: Box::new(peer.clone()), lease })
    }

    /// The peer took no connection.
    pub(super) fn failed(&self, lease: &Lease) {
        lease.failed(self.clock.monotonic());
    }

    /// Whether a connection may serve requests of different sessions.
    pub(super) fn shares_connections(&self) -> bool {
        match self.connections {
            Connections::Shared => true,
            Connections::PerSession => false,
        }
    }

    /// What tells the connections of this session from those of others, where that is wanted.
    pub(super) fn mark(&self, session: &UpstreamSession) -> Mark {
        Mark(match self.connections {
            Connections::Shared => None,
            Connections::PerSession => Some(self.keys.hash_one((session.key(), session.generation()))),
        })
    }

    /// The key of the connections that requests with this mark may use.
    fn connection_key(&self, group: u64, Mark(mark): Mark) -> u64 {
        mark.map_or(group, |mark| self.keys.hash_one((group, mark)))
    }
}
