//! Bodies of requests that come too slowly, or not at all.
//!
//! Pingora limits the time of each read over HTTP/1 and none over HTTP/2. So what is relayed must come at a least speed in
//! all; and over HTTP/2 a body that stands still ends its stream.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::deadline::Deadline;
use super::unread::UnreadRows;

tokio::task_local! {
    static STALL: Arc<Stall>;
}

/// How fast a body must come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Bytes per second; `None` is any speed.
    pub(super) least: Option<u64>,
    /// For how long it may be slower at the beginning.
    pub(super) grace: Duration,
}

impl Pace {
    /// Whether so many bytes in this time are too few.
    pub(super) fn is_too_slow(self, bytes: u64, time: Duration) -> bool {
        let due = |least: u64| u128::from(least) * time.saturating_sub(self.grace).as_millis() / 1000;
        self.least.is_some_and(|least| u128::from(bytes) < due(least))
    }
}

/// The body of a stream of HTTP/2, while it is awaited.
pub(super) struct Stall {
    deadline: Deadline,
    /// For the row of the request, which ends where it stands.
    pub(super) rows: Arc<UnreadRows>,
}

impl std::fmt::Debug for Stall {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Stall").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Stall {
    pub(super) fn new(pause: Duration, rows: Arc<UnreadRows>) -> Self {
        Self { deadline: Deadline::new(pause), rows }
    }

    /// Ends the work where a body stands still.
    pub(super) async fn watch(self: &Arc<Self>, work: impl Future<Output = Option<()>>) {
        tokio::select! {
            _ = STALL.scope(Arc::clone(self), work) => {}
            () = self.deadline.passed() => {}
        }
    }

    /// The one of the stream at hand; `None` over HTTP/1.
    pub(super) fn at_hand() -> Option<Arc<Self>> {
        STALL.try_with(Arc::clone).ok()
    }

    /// A piece must come within this time.
    pub(super) fn await_piece(&self, within: Duration) {
        self.deadline.set(within);
    }

    /// No more is awaited.
    pub(super) fn done(&self) {
        self.deadline.clear();
    }

    /// Whether that is what ended the work.
    pub(super) fn has_ended_it(&self) -> bool {
        self.deadline.has_passed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_must_keep_up_after_a_moment() {
        let seconds = Duration::from_secs;
        let pace = Pace { least: Some(500), grace: seconds(15) };
        for (bytes, time, slow) in
            [(0, 15, false), (0, 16, true), (499, 16, true), (500, 16, false), (10_000, 36, true)]
        {
            assert_eq!(pace.is_too_slow(bytes, seconds(time)), slow, "{bytes} bytes in {time} s");
        }
        assert!(!Pace { least: None, ..pace }.is_too_slow(0, seconds(10_000)));
    }
}
