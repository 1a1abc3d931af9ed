//! The only folder that knows Pingora's server: phases, peers, answers, listeners.

mod body;
mod connection;
mod connections;
mod deadline;
mod failure;
mod head_watch;
mod held;
mod http2;
mod listener;
mod local;
mod outgoing;
mod peer;
mod proxied;
mod pulse;
mod received;
mod respond;
mod server;
mod service;
mod sign_in;
mod slow_body;
mod unread;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use ipnet::IpNet;
use pingora_proxy::Session;

use crate::audit::{Entry, Kind};
use crate::domain::{Entropy, RequestId, UpstreamName};
use crate::gate::{Admission, Asked, Denial, Gate};
use crate::relay::{Answer, PublicUrl};
use crate::token::TokenEndpoint;

use received::Received;

pub use connections::Connections;
pub use listener::{BindError, BoundListener};
pub use peer::{PeerError, Peers, check_authorities};
pub use pulse::Pulse;
pub use server::{ServerError, Signals, Stop, run};
pub use sign_in::PingoraTransport;

/// What the configuration says about the client's side.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Paths that the gateway answers itself.
    pub token_path: String,
    /// RFC 7009.
    pub revoke_path: String,
    /// RFC 7662.
    pub introspect_path: String,
    /// How clients reach the gateway.
    pub public_url: Option<PublicUrl>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Proxies that say by the PROXY protocol for whom a connection is.
    pub proxy_protocol: Vec<IpNet>,
    /// What clients over TLS are told of using TLS only.
    pub hsts: Option<HeaderValue>,
    /// Bytes of a body's preview.
    pub preview_bytes: usize,
    /// Time limits towards clients.
    pub downstream: Downstream,
}

/// Limits towards clients.
#[derive(Debug, Clone, Copy)]
pub struct Downstream {
    /// The head of a request, in all.
    pub head: Duration,
    /// Between two reads of a body.
    pub body_read: Duration,
    /// The least speed at which the body of a request comes, in bytes per second.
    pub minimum_receive_rate: Option<u64>,
    /// One write.
    pub write: Duration,
    /// The least speed at which a client takes an answer, in bytes per second.
    pub minimum_send_rate: Option<usize>,
    /// Between two requests on one connection.
    pub keep_alive: Duration,
    /// From the beginning of a connection to its last request.
    pub connection_lifetime: Duration,
    /// Requests on one connection.
    pub requests_per_connection: u32,
    /// Requests at once on one connection of HTTP/2; none where it is not offered.
    pub http2_streams: u32,
    /// Connections at once.
    pub connections: usize,
    /// Connections of one address at once; `None` where that is not limited.
    pub connections_per_address: Option<usize>,
    /// Requests at once.
    pub requests_at_once: usize,
}

/// The gateway as Pingora sees it.
pub struct Gateway {
    gate: Arc<Gate>,
    tokens: Arc<TokenEndpoint>,
    peers: Arc<HashMap<UpstreamName, Peers>>,
    entropy: Arc<dyn Entropy>,
    settings: Settings,
    in_flight: Arc<AtomicUsize>,
    connections: Arc<Connections>,
    stopping: Arc<AtomicBool>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Gateway").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Puts the gateway together.
    #[must_use]
    pub fn new(
        gate: Arc<Gate>,
        tokens: Arc<TokenEndpoint>,
        peers: Arc<HashMap<UpstreamName, Peers>>,
        entropy: Arc<dyn Entropy>,
        connections: Arc<Connections>,
        settings: Settings,
    ) -> Self {
        Self {
            gate,
            tokens,
            peers,
            entropy,
            settings,
            in_flight: Arc::new(AtomicUsize::new(0)),
            connections,
            stopping: Arc::new(AtomicBool::new(false)),
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn new_id(&self) -> Option<RequestId> {
        RequestId::new(self.gate.clock.now(), &*self.entropy).ok()
    }

    async fn admit(&self, session: &mut Session, id: RequestId) -> Result<Admission, Denial> {
        if self.in_flight.load(Ordering::Relaxed) > self.settings.downstream.requests_at_once {
            let denial = Denial::overloaded();
            self.record_refused(session, id, &denial, Kind::Relay).await;
            return Err(denial);
        }
        // The head is lent to the gate while the body is read from the same session, hence the copy.
        let received = Received::of(session);
        let asked = self.asked(session, &received, id);
        let mut body = body::SessionBody { session, time_limit: self.settings.downstream.body_read };
        self.gate.admit(asked, &mut body).await
    }

    /// Sends an answer of our own.
    async fn send(&self, session: &mut Session, answer: Answer) -> pingora_core::Result<()> {
        respond::send(session, answer, self.hsts(session).cloned()).await
    }

    /// What is told over this connection of using TLS only.
    fn hsts(&self, session: &Session) -> Option<&HeaderValue> {
        self.settings.hsts.as_ref().filter(|_| is_tls(session))
    }

    fn asked<'a>(&self, session: &Session, received: &'a Received, id: RequestId) -> Asked<'a> {
        let (client, now) = (self.client_address(session), self.gate.clock.now());
        Asked { id, head: received.head(), client, tls: received.tls(), now }
    }

    /// Where the request came from: the nearest address that is not a trusted proxy.
    fn client_address(&self, session: &Session) -> Option<IpAddr> {
        let peer = session.client_addr().and_then(|address| address.as_inet()).map(std::net::SocketAddr::ip)?;
        let forwarded = session.req_header().headers.get_all("x-forwarded-for").iter();
        let forwarded = forwarded.filter_map(|value| value.to_str().ok());
        Some(crate::domain::client_address(peer, forwarded, &self.settings.trusted_proxies))
    }

    /// Leaves the row of a request that is refused before anybody asks who sent it.
    async fn record_refused(&self, session: &Session, id: RequestId, denial: &Denial, kind: Kind) {
        let received = Received::of(session);
        let asked = self.asked(session, &received, id);
        let row = Entry { kind, ..self.gate.refused_row(&asked, denial) };
        self.gate.auditor.leave_in_time(row).await;
    }
}

fn is_tls(session: &Session) -> bool {
    session.digest().is_some_and(|digest| digest.ssl_digest.is_some())
}
