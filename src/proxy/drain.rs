//! How connections end when the gateway stops: nobody who is about to send a request finds a closed connection.
//!
//! No connection is accepted any more; those that wait stay in the socket's queue, which the service manager keeps for
//! the next process. Each answer on an open connection is its last (`Connection: close`, GOAWAY). One that is idle stays
//! open for a moment, so that a request that is on its way is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long an idle connection stays open.
const LINGER: Duration = Duration::from_secs(1);
/// How often it is looked whether all have ended.
const LOOK: Duration = Duration::from_millis(10);
/// So many looks in a row must find none: what was accepted last may still be shaking hands.
const QUIET: u32 = 5;

/// The connections of clients.
#[derive(Debug, Default)]
pub(super) struct Drain {
    open: AtomicUsize,
    no_more: AtomicBool,
}

/// A connection that is open as long as this lives.
#[derive(Debug)]
pub(super) struct Open {
    drain: Arc<Drain>,
    others: usize,
}

impl Open {
    /// How many were open before.
    pub(super) fn others(&self) -> usize {
        self.others
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.drain.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drain {
    /// Counts a connection.
    pub(super) fn opened(self: &Arc<Self>) -> Open {
        let others = self.open.fetch_add(1, Ordering::AcqRel);
        Open { drain: Arc::clone(self), others }
    }

    /// No connection comes any more, and idle ones were closed.
    pub(super) fn accepts_no_more(&self) {
        self.no_more.store(true, Ordering::Release);
    }

    /// Gives idle connections a moment; ends at once where none is open.
    pub(super) async fn linger(&self) {
        let _ = tokio::time::timeout(LINGER, self.quiet()).await;
    }

    /// Returns when the last connection has ended.
    pub(super) async fn is_over(&self) {
        while !self.no_more.load(Ordering::Acquire) {
            tokio::time::sleep(LOOK).await;
        }
        self.quiet().await;
    }

    async fn quiet(&self) {
        let mut looks = 0;
        while looks < QUIET {
            looks = if self.open.load(Ordering::Acquire) == 0 { looks + 1 } else { 0 };
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Beats as long as the threads that serve clients do their work.
#[derive(Debug, Clone)]
pub struct Pulse {
    began: Instant,
    /// Milliseconds after that, of the last beat.
    last: Arc<AtomicU64>,
}

impl Pulse {
    /// How often it beats.
    pub const EVERY: Duration = Duration::from_millis(500);

    /// One that has beaten now.
    #[must_use]
    pub fn new() -> Self {
        Self { began: Instant::now(), last: Arc::new(AtomicU64::new(0)) }
    }

    /// How long ago it beat last.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }

    pub(super) async fn beat(self) {
        loop {
            let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.last.store(now, Ordering::Relaxed);
            tokio::time::sleep(Self::EVERY).await;
        }
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_is_over_when_the_last_connection_has_ended() {
        let drain = Arc::new(Drain::default());
        let (one, other) = (drain.opened(), drain.opened());
        assert_eq!((one.others(), other.others()), (0, 1));
        let waiting = tokio::spawn({
            let drain = Arc::clone(&drain);
            async move { drain.is_over().await }
        });
        drop(one);
        drain.accepts_no_more();
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(!waiting.is_finished(), "one is open");
        drop(other);
        waiting.await.expect("over");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_have_a_moment_and_no_more() {
        let drain = Arc::new(Drain::default());
        let open = drain.opened();
        let began = Instant::now();
        drain.linger().await;
        assert_eq!(began.elapsed(), LINGER);
        drop(open);
        let began = Instant::now();
        drain.linger().await;
        assert!(began.elapsed() < LINGER, "nobody is waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pulse_that_stops_grows_old() {
        let pulse = Pulse::new();
        let beating = tokio::spawn(pulse.clone().beat());
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(pulse.age() <= Pulse::EVERY);
        beating.abort();
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(pulse.age() >= Duration::from_secs(59));
    }
}
