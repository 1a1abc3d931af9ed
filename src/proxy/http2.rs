//! HTTP/2 towards clients: one connection and its streams, within limits that Pingora's own loop has none for.
//!
//! Each stream is a request as any other; [`super::service`] sees no difference.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{self, H2Accept, H2Options, HttpSession};
use pingora_core::protocols::{Digest, Stream};
use pingora_core::server::ShutdownWatch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::connection::ConnectionLimits;
use super::connections::Connections;
use super::head_watch::Seen;
use super::slow_body::Stall;
use super::unread::{Unread, UnreadRows};
use crate::gate::HeadLimits;

/// What a connection may ask for beyond its streams, before it is closed: unreadable requests, and streams that come while
/// those that were reset are still worked on.
const REFUSALS: usize = 64;

/// Limits of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Http2Limits {
    /// Streams at once; none where HTTP/2 is not offered.
    pub(super) streams: u32,
    /// Requests in all.
    pub(super) requests: u32,
    /// The head of each request.
    pub(super) head: HeadLimits,
    /// What every connection has. The time for a head is that for its beginning, and for its end.
    pub(super) connection: ConnectionLimits,
}

impl Http2Limits {
    /// What the client is told in SETTINGS. The `h2` library's own limits stay: on streams that are reset before they are
    /// looked at (CVE-2023-44487), on frames that carry nothing, on CONTINUATION (CVE-2024-27316).
    fn options(self) -> H2Options {
        let mut options = server::default_h2_options();
        // RFC 9113 section 6.5.2 counts 32 bytes for each field. The double: so that what is a little too long comes as far
        // as the gate and leaves a row.
        let lines = 32 * (self.head.headers + 4);
        let list = 2 * (self.head.header_bytes + self.head.target + lines);
        options.max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX));
        options.max_concurrent_streams(self.streams);
        options
    }
}

/// How a connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// By the client, or in order.
    Quietly,
    /// What came was not HTTP/2.
    Malformed,
    /// It asked for more than it may, again and again.
    Excessive,
}

/// Serves a connection until it ends, and its streams with it.
pub(super) async fn serve<A: HttpServerApp + Send + Sync + 'static>(
    app: &Arc<A>,
    stream: Stream,
    limits: Http2Limits,
    shutdown: &ShutdownWatch,
    connections: &Connections,
    rows: &Arc<UnreadRows>,
    client: Option<IpAddr>,
) {
    let mut connection = Connection {
        app,
        limits,
        connections,
        rows,
        client,
        shutdown: shutdown.clone(),
        streams: JoinSet::new(),
        accepted: 0,
        refused: 0,
    };
    match connection.run(stream).await {
        Ended::Quietly => {}
        // As with HTTP/1: who is cut off by a stop was not refused.
        Ended::Malformed | Ended::Excessive if *shutdown.borrow() => {}
        Ended::Malformed => rows.leave(Unread::NotHttp2, client, &Seen::default()),
        Ended::Excessive => rows.leave(Unread::TooManyStreams(connection.refused), client, &Seen::default()),
    }
    // They find out by themselves that their client has gone, and leave their rows.
    while connection.streams.join_next().await.is_some() {}
}

struct Connection<'a, A> {
    app: &'a Arc<A>,
    limits: Http2Limits,
    connections: &'a Connections,
    rows: &'a Arc<UnreadRows>,
    client: Option<IpAddr>,
    shutdown: ShutdownWatch,
    streams: JoinSet<()>,
    accepted: u32,
    refused: usize,
}

impl<A: HttpServerApp + Send + Sync + 'static> Connection<'_, A> {
    async fn run(&mut self, stream: Stream) -> Ended {
        let digest = Arc::new(Digest {
            ssl_digest: stream.get_ssl_digest(),
            timing_digest: stream.get_timing_digest(),
            proxy_digest: stream.get_proxy_digest(),
            socket_digest: stream.get_socket_digest(),
        });
        let beginning = server::handshake(stream, Some(self.limits.options()));
        let mut connection = match tokio::time::timeout(self.limits.connection.head, beginning).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return ended_by(&error),
            Err(_) => return Ended::Quietly,
        };
        let born = Instant::now();
        let (mut leaving, mut shutdown) = (false, self.shutdown.clone());
        let mut quiet_since = born;
        loop {
            // GOAWAY tells the client to go elsewhere; what it has sent until then is answered.
            let ConnectionLimits { head, keep_alive, .. } = self.limits.connection;
            let wait = if leaving { head } else { keep_alive };
            tokio::select! {
                biased;
                _ = shutdown.wait_for(|stop| *stop), if !leaving => {
                    leaving = true;
                    quiet_since = Instant::now();
                    connection.graceful_shutdown();
                }
                Some(_) = self.streams.join_next() => quiet_since = Instant::now(),
                next = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => match next {
                    Ok(Some(H2Accept::Session(session))) => {
                        self.take(session);
                        let old = born.elapsed() > self.limits.connection.lifetime;
                        if !leaving && (old || self.accepted >= self.limits.requests) {
                            leaving = true;
                            connection.graceful_shutdown();
                        }
                    }
                    Ok(Some(H2Accept::Rejected)) => {
                        self.refused += 1;
                        self.rows.leave(Unread::Refused(400), self.client, &Seen::default());
                    }
                    Ok(None) => return Ended::Quietly,
                    Err(error) => return ended_by(&error),
                },
                () = tokio::time::sleep_until(quiet_since + wait), if self.streams.is_empty() => {
                    if leaving {
                        return Ended::Quietly;
                    }
                    leaving = true;
                    quiet_since = Instant::now();
                    connection.graceful_shutdown();
                }
            }
            if self.refused > REFUSALS {
                connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
                // For the frame that says so to be sent.
                let _ = tokio::time::timeout(Duration::from_secs(1), connection.accept()).await;
                return Ended::Excessive;
            }
        }
    }

    /// Lets the stream be answered beside the others, or refuses it.
    fn take(&mut self, mut session: HttpSession) {
        // The protocol does not count streams that the client has reset; the work on them is not over yet.
        if self.streams.len() >= usize::try_from(self.limits.streams).unwrap_or(usize::MAX) {
            self.refused += 1;
            self.connections.refuse_stream();
            return session.shutdown_with_reason(h2::Reason::REFUSED_STREAM);
        }
        self.accepted += 1;
        if session.req_header().method == http::Method::CONNECT {
            // Pingora answers it before any filter sees it.
            self.rows.leave(Unread::Refused(405), self.client, &Seen::default());
        }
        let (app, shutdown) = (Arc::clone(self.app), self.shutdown.clone());
        let stall = Arc::new(Stall::new(self.limits.connection.head, Arc::clone(self.rows)));
        self.streams.spawn(async move {
            let session = ServerSession::new_http2(session);
            stall.watch(async { app.process_new_http(session, &shutdown).await.map(drop) }).await;
        });
    }
}

/// A connection that the client closes, or that breaks, was not refused.
fn ended_by(error: &pingora_core::Error) -> Ended {
    match error.cause.as_deref().and_then(|cause| cause.downcast_ref::<h2::Error>()) {
        Some(cause) if cause.is_library() && cause.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM) => Ended::Excessive,
        Some(cause) if cause.is_library() => Ended::Malformed,
        Some(_) | None => Ended::Quietly,
    }
}
