//! Whether the threads that serve clients do their work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

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
