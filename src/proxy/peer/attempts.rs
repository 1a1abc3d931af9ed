//! The attempts of one exchange: which peers failed it, and how much time is left.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use pingora_core::Error;
use pingora_core::upstreams::peer::HttpPeer;

use super::pool::Lease;
use super::repeat::Standing;
use super::{Broken, Chosen, Mark, Peers, template};

/// There is nobody to send the request to, or no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum NoAttempt {
    /// Every peer has failed this request.
    NoPeer,
    /// `timeouts.total` is over.
    TimeIsUp,
}

/// The attempts of one exchange.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Attempts {
    current: Option<Lease>,
    /// Whether the current peer has sent the head of an answer.
    answered: bool,
    /// Peers that have failed this request.
    tried: Vec<usize>,
    peers: usize,
    /// A moment of the monotonic clock.
    deadline: Option<Duration>,
}

impl Attempts {
    /// Chooses the peer of the next attempt and the connections that it may use.
    pub(in crate::proxy) fn next(
        &mut self,
        peers: &Peers,
        mark: Mark,
    ) -> Result<(SocketAddr, Box<HttpPeer>), NoAttempt> {
        let now = peers.clock.monotonic();
        if self.peers == 0 {
            self.peers = peers.pool.count();
            self.deadline = peers.total.map(|total| now.saturating_add(total));
        }
        // The peer of the attempt before is free again before the next is chosen.
        self.current = None;
        self.answered = false;
        if self.is_late(now) {
            return Err(NoAttempt::TimeIsUp);
        }
        let Chosen { address, mut peer, lease } = peers.choose(&self.tried).ok_or(NoAttempt::NoPeer)?;
        peer.group_key = peers.connection_key(peer.group_key, mark);
        if let Some(deadline) = self.deadline {
            template::hurry(&mut peer, deadline.saturating_sub(now));
        }
        self.current = Some(lease);
        Ok((address, peer))
    }

    /// The peer took no connection, so nothing was sent. Returns whether there is another to try.
    pub(in crate::proxy) fn not_connected(&mut self, now: Duration) -> bool {
        self.give_up(now);
        self.has_another()
    }

    /// The head of the final answer has come.
    pub(in crate::proxy) fn answered(&mut self, status: StatusCode, now: Duration) {
        self.answered = true;
        let Some(lease) = &self.current else { return };
        match status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                lease.failed(now);
            }
            _ => lease.succeeded(),
        }
    }

    /// The attempt broke after the connection was there. Returns whether the request may be sent again.
    pub(in crate::proxy) fn broke(&mut self, broken: Broken<'_>, error: &Error, now: Duration) -> bool {
        if !self.answered && broken.blames_peer(error) {
            self.give_up(now);
        }
        broken.may_repeat(error, Standing { answered: self.answered, another: self.has_another() })
    }

    /// Whether the time for the whole exchange is over.
    pub(in crate::proxy) fn is_late(&self, now: Duration) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    fn give_up(&mut self, now: Duration) {
        if let Some(lease) = &self.current {
            lease.failed(now);
            self.tried.push(lease.index());
        }
    }

    fn has_another(&self) -> bool {
        self.tried.len() < self.peers
    }
}
