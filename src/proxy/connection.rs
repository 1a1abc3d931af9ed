//! What Pingora does not limit: the number of connections and the time that a request's head may take.
//!
//! Pingora's own limit is per read, so a client that sends a byte now and then is never cut off, and from the second
//! request on a connection there is no limit at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::{ALPN, Stream};
use pingora_core::server::ShutdownWatch;
use tokio::time::Instant;

tokio::task_local! {
    static HEAD_TIMER: Arc<HeadTimer>;
}

/// The request at hand has its head: stop the timer.
pub(super) fn head_arrived() {
    let _ = HEAD_TIMER.try_with(|timer| timer.deadline.store(DISARMED, Ordering::Relaxed));
}

/// The request at hand is over: the next head must arrive within the keep-alive time plus the head time.
pub(super) fn waiting_for_next_head() {
    let _ = HEAD_TIMER.try_with(|timer| timer.arm(timer.limits.keep_alive + timer.limits.head));
}

const DISARMED: u64 = u64::MAX;

/// Limits of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionLimits {
    /// From the first byte expected to the end of the head.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) keep_alive: Duration,
    /// Connections at once.
    pub(super) connections: usize,
}

struct HeadTimer {
    started: Instant,
    /// Milliseconds after `started`, or `DISARMED`.
    deadline: AtomicU64,
    limits: ConnectionLimits,
}

impl HeadTimer {
    fn arm(&self, limit: Duration) {
        let at = self.started.elapsed().saturating_add(limit);
        self.deadline.store(u64::try_from(at.as_millis()).unwrap_or(DISARMED - 1), Ordering::Relaxed);
    }

    /// Returns when a head is overdue.
    async fn overdue(&self) {
        loop {
            let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(DISARMED - 1);
            let wait = match self.deadline.load(Ordering::Relaxed) {
                DISARMED => self.limits.head,
                deadline if deadline <= now => return,
                deadline => Duration::from_millis(deadline - now),
            };
            tokio::time::sleep(wait).await;
        }
    }
}

/// Wraps Pingora's HTTP application with the limits of a connection.
pub(super) struct Limited<A> {
    inner: Arc<A>,
    limits: ConnectionLimits,
    open: Arc<AtomicUsize>,
}

impl<A> Limited<A> {
    pub(super) fn new(inner: A, limits: ConnectionLimits) -> Self {
        Self { inner: Arc::new(inner), limits, open: Arc::new(AtomicUsize::new(0)) }
    }
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Limited<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let already_open = self.open.fetch_add(1, Ordering::Relaxed);
        let _open = Open(Arc::clone(&self.open));
        if already_open >= self.limits.connections {
            return None;
        }
        // The streams of HTTP/2 run in tasks of their own; Pingora's idle limit serves there.
        if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            return self.inner.process_new(stream, shutdown).await;
        }
        let timer = Arc::new(HeadTimer { started: Instant::now(), deadline: AtomicU64::new(0), limits: self.limits });
        timer.arm(self.limits.head);
        tokio::select! {
            stream = HEAD_TIMER.scope(Arc::clone(&timer), self.inner.process_new(stream, shutdown)) => stream,
            () = timer.overdue() => None,
        }
    }

    async fn cleanup(&self) {
        self.inner.cleanup().await;
    }
}
