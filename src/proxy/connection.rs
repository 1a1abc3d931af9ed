//! What Pingora does not limit: the number of connections and the time that a request's head may take.
//!
//! Pingora's own limit is per read, so a client that sends a byte now and then is never cut off, and from the second
//! request on a connection there is no limit at all.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use pingora_core::apps::{HttpServerApp, ServerApp};
use pingora_core::protocols::tls::SslStream;
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::server::ShutdownWatch;
use pingora_core::tls::ssl::{Ssl, SslContext};

use super::connections::{Connections, Most};
use super::deadline::Deadline;
use super::head_watch::{HeadWatch, Seen, WatchedStream};
use super::http2::{self, Http2Limits};
use super::proxied::{self, Unsaid, address_of};
use super::unread::{Unread, UnreadRows};

tokio::task_local! {
    static HEAD_TIMER: Arc<HeadTimer>;
}

/// The request at hand has its head: stop the timer.
pub(super) fn head_arrived() {
    let _ = HEAD_TIMER.try_with(|timer| {
        timer.deadline.clear();
        timer.watch.arrived();
    });
}

/// The request at hand is over: the next head must arrive within the keep-alive time plus the head time.
pub(super) fn waiting_for_next_head() {
    let _ = HEAD_TIMER.try_with(|timer| {
        timer.deadline.set(timer.limits.keep_alive + timer.limits.head);
        timer.watch.await_next();
    });
}

/// Whether the connection of the request at hand has served long enough. HTTP/2 sees to that itself.
pub(super) fn has_had_its_time() -> bool {
    HEAD_TIMER.try_with(|timer| timer.deadline.age() > timer.limits.lifetime).unwrap_or(false)
}

/// Limits of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionLimits {
    /// From the first byte expected to the end of the head.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) keep_alive: Duration,
    /// From its beginning to its last request.
    pub(super) lifetime: Duration,
    /// Connections at once.
    pub(super) connections: Most,
}

struct HeadTimer {
    deadline: Deadline,
    limits: ConnectionLimits,
    watch: Arc<HeadWatch>,
}

/// Wraps Pingora's HTTP application with the limits of a connection.
pub(super) struct Limited<A> {
    pub(super) inner: Arc<A>,
    pub(super) limits: ConnectionLimits,
    pub(super) http2: Http2Limits,
    pub(super) connections: Arc<Connections>,
    /// Whose connections are not counted by address.
    pub(super) trusted_proxies: Vec<IpNet>,
    /// Who says first for whom the connection is.
    pub(super) proxy_protocol: Vec<IpNet>,
    pub(super) rows: Arc<UnreadRows>,
    /// With what a connection begins where TLS is spoken.
    pub(super) tls: Option<SslContext>,
}

/// Makes the handshake; `None` where the client does not speak TLS, or not in time.
async fn shake(context: &SslContext, stream: Stream, within: Duration) -> Option<Stream> {
    let watch = HeadWatch::new();
    // What is encrypted is not looked at.
    watch.arrived();
    let stream = WatchedStream { stream, head: Arc::new(watch) };
    let mut stream = SslStream::new(Ssl::new(context).ok()?, stream).ok()?;
    match tokio::time::timeout(within, stream.accept()).await {
        Ok(Ok(())) => Some(Box::new(stream)),
        Ok(Err(_)) | Err(_) => None,
    }
}

impl<A> Limited<A> {
    /// Lets a proxy say for whom the connection is; `None` where it does not.
    async fn learn_for_whom(&self, stream: &mut Stream) -> Option<()> {
        let proxy = address_of(stream).filter(|address| is_in(&self.proxy_protocol, address));
        let Some(proxy) = proxy else { return Some(()) };
        match tokio::time::timeout(self.limits.head, proxied::read(stream)).await {
            Ok(Ok(Some(address))) => proxied::comes_from(stream, address),
            Ok(Ok(None)) => {}
            Ok(Err(Unsaid::Nothing)) => return None,
            Ok(Err(Unsaid::Malformed)) | Err(_) => {
                self.rows.leave(Unread::ForNobody, Some(proxy), &Seen::default());
                return None;
            }
        }
        Some(())
    }
}

fn is_in(networks: &[IpNet], address: &IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Pingora is done with it.
    Done,
    /// A head was overdue.
    Overdue,
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Limited<A> {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let (mut open, room) = self.connections.opened(self.limits.connections);
        let room = match room {
            Ok(()) => {
                self.learn_for_whom(&mut stream).await?;
                // Behind a proxy many clients share an address.
                let counted = address_of(&stream).filter(|client| !is_in(&self.trusted_proxies, client));
                counted.map_or(Ok(()), |client| open.counts_for(client, self.limits.connections))
            }
            Err(refused) => Err(refused),
        };
        let client = address_of(&stream);
        if let Err(refused) = room {
            self.rows.leave(Unread::TooMany(refused), client, &Seen::default());
            return None;
        }
        // Whoever does not come as far as a request leaves no row, as whoever connects and goes away.
        let stream = match &self.tls {
            Some(context) => shake(context, stream, self.limits.head).await?,
            None => stream,
        };
        if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            http2::serve(&self.inner, stream, self.http2, shutdown, &self.connections, &self.rows, client).await;
            return None;
        }
        let watch = Arc::new(HeadWatch::new());
        let timer = Arc::new(HeadTimer {
            deadline: Deadline::new(self.limits.head),
            limits: self.limits,
            watch: Arc::clone(&watch),
        });
        timer.deadline.set(self.limits.head);
        let stream: Stream = Box::new(WatchedStream { stream, head: Arc::clone(&watch) });
        let (ended, stream) = tokio::select! {
            stream = HEAD_TIMER.scope(Arc::clone(&timer), self.inner.process_new(stream, shutdown)) => {
                (Ended::Done, stream)
            }
            () = timer.deadline.passed() => (Ended::Overdue, None),
        };
        let stopping = *shutdown.borrow();
        if let Some((unread, seen)) = unread(ended, &watch).filter(|_| !stopping) {
            self.rows.leave(unread, client, &seen);
        }
        stream
    }

    async fn cleanup(&self) {
        self.connections.linger().await;
        self.inner.cleanup().await;
    }
}

/// What became of the head that was awaited last, where Pingora or a limit has refused it. A client that goes away by
/// itself was not refused.
fn unread(ended: Ended, watch: &HeadWatch) -> Option<(Unread, Seen)> {
    let seen = watch.seen()?;
    let unread = match (seen.answered, ended) {
        (Some(status), _) => Unread::Refused(status),
        (None, _) if seen.bytes == 0 || seen.ended => return None,
        // Pingora's own limit on the time between two bytes may come first.
        (None, Ended::Overdue | Ended::Done) => Unread::Late,
    };
    Some((unread, seen))
}
