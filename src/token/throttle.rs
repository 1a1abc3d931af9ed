//! Slows guessing down: failures per minute, by client id and by address, in a fixed amount of memory.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Cells of the table. Two keys that share a cell share its limit; which ones do cannot be predicted from outside.
const CELLS: usize = 1 << 14;
const PERIOD: Duration = Duration::from_mins(1);

/// Counts failures by key (generic cell rate algorithm: a burst of `limit`, then one each `60 s / limit`).
#[derive(Debug)]
pub struct Throttle {
    /// The theoretical arrival time of each cell, in nanoseconds of the monotonic clock.
    cells: Box<[AtomicU64]>,
    interval: u64,
    keys: RandomState,
}

impl Throttle {
    /// Allows `per_minute` failures in a burst and on average.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        let interval = nanos(PERIOD) / u64::from(per_minute.max(1));
        Self { cells: (0..CELLS).map(|_| AtomicU64::new(0)).collect(), interval, keys: RandomState::new() }
    }

    /// How long this key must wait, where it has failed too often.
    ///
    /// # Errors
    /// The time to wait.
    pub fn check(&self, key: impl Hash, now: Duration) -> Result<(), Duration> {
        let Some(cell) = self.cell(key) else { return Ok(()) };
        let arrival = cell.load(Ordering::Relaxed);
        let allowed_from = arrival.saturating_sub(nanos(PERIOD) - self.interval);
        match allowed_from.checked_sub(nanos(now)) {
            Some(wait) if wait > 0 => Err(Duration::from_nanos(wait)),
            _ => Ok(()),
        }
    }

    /// Notes a failure of this key.
    pub fn failed(&self, key: impl Hash, now: Duration) {
        let Some(cell) = self.cell(key) else { return };
        let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |arrival| {
            Some(arrival.max(nanos(now)).saturating_add(self.interval))
        });
    }

    fn cell(&self, key: impl Hash) -> Option<&AtomicU64> {
        let hash = self.keys.hash_one(key);
        let index = usize::try_from(hash % u64::try_from(CELLS).unwrap_or(1)).ok()?;
        self.cells.get(index)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_failures_is_forgiven_and_the_next_must_wait() {
        let throttle = Throttle::new(3);
        let now = Duration::from_secs(1000);
        for _ in 0..3 {
            assert_eq!(throttle.check("a", now), Ok(()));
            throttle.failed("a", now);
        }
        assert_eq!(throttle.check("a", now), Err(Duration::from_secs(20)));
        assert_eq!(throttle.check("a", now + Duration::from_secs(20)), Ok(()));
    }

    #[test]
    fn another_key_is_not_slowed() {
        let throttle = Throttle::new(1);
        throttle.failed("a", Duration::from_secs(1));
        let others = (0..100).filter(|other| throttle.check(other, Duration::from_secs(1)).is_ok()).count();
        assert!(others >= 98, "{others} of 100 other keys pass");
    }
}
