//! A moment by which something must have happened, and which moves while it is waited for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

const DISARMED: u64 = u64::MAX;

/// Set by one task and waited for by another.
#[derive(Debug)]
pub(super) struct Deadline {
    started: Instant,
    /// Milliseconds after `started`, or `DISARMED`.
    at: AtomicU64,
    /// How long one that is not set is left alone.
    pause: Duration,
}

impl Deadline {
    /// One that is not set. The shortest time it will be set to is `pause`.
    pub(super) fn new(pause: Duration) -> Self {
        Self { started: Instant::now(), at: AtomicU64::new(DISARMED), pause }
    }

    /// So long from now.
    pub(super) fn set(&self, limit: Duration) {
        self.at.store(millis(self.started.elapsed().saturating_add(limit)), Ordering::Relaxed);
    }

    /// Nothing is waited for.
    pub(super) fn clear(&self) {
        self.at.store(DISARMED, Ordering::Relaxed);
    }

    /// Whether it has passed.
    pub(super) fn has_passed(&self) -> bool {
        self.at.load(Ordering::Relaxed) <= millis(self.started.elapsed())
    }

    /// Since it was made.
    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns when it has passed.
    pub(super) async fn passed(&self) {
        loop {
            let now = millis(self.started.elapsed());
            let wait = match self.at.load(Ordering::Relaxed) {
                DISARMED => self.pause,
                at if at <= now => return,
                at => Duration::from_millis(at - now),
            };
            tokio::time::sleep(wait).await;
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(DISARMED - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_moves_and_rests() {
        let second = Duration::from_secs(1);
        let deadline = Deadline::new(second);
        assert!(tokio::time::timeout(100 * second, deadline.passed()).await.is_err(), "it is not set");
        deadline.set(10 * second);
        assert!(tokio::time::timeout(9 * second, deadline.passed()).await.is_err());
        assert!(!deadline.has_passed());
        deadline.set(10 * second);
        assert!(tokio::time::timeout(9 * second, deadline.passed()).await.is_err(), "it has moved");
        deadline.passed().await;
        assert!(deadline.has_passed());
        deadline.clear();
        assert!(!deadline.has_passed());
        assert_eq!(deadline.age(), 119 * second);
    }
}
