//! How often we may try: back-off after failures, and a limit per minute because ERPs lock users.

use std::collections::VecDeque;
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);

/// Longest pause after a failure; the first is one second, each further one doubles it.
const LONGEST_PAUSE: Duration = MINUTE;

/// The sign-ins of one upstream. All times are the clock's monotonic ones.
#[derive(Debug)]
pub(super) struct Attempts {
    per_minute: usize,
    // INVARIANT: at most `per_minute` of them lie within the last minute, oldest first.
    recent: VecDeque<Duration>,
    failures: u32,
    not_before: Duration,
    total: u64,
}

impl Attempts {
    pub(super) fn new(per_minute: u32) -> Self {
        Self {
            per_minute: usize::try_from(per_minute).unwrap_or(usize::MAX),
            recent: VecDeque::new(),
            failures: 0,
            not_before: Duration::ZERO,
            total: 0,
        }
    }

    /// How long the next sign-in has to wait; `None` when it may begin.
    pub(super) fn pause(&self, now: Duration) -> Option<Duration> {
        let back_off = self.not_before.checked_sub(now).filter(|left| !left.is_zero());
        back_off.max(self.pause_of_limit(now))
    }

    /// The same by the limit per minute alone.
    pub(super) fn pause_of_limit(&self, now: Duration) -> Option<Duration> {
        let within = || self.recent.iter().map(|at| at.saturating_add(MINUTE)).filter(|leaves| *leaves > now);
        if within().count() < self.per_minute {
            return None;
        }
        Some(within().next().map_or(MINUTE, |leaves| leaves.saturating_sub(now)))
    }

    /// A sign-in begins.
    pub(super) fn begun(&mut self, now: Duration) {
        self.recent.retain(|at| at.saturating_add(MINUTE) > now);
        self.recent.push_back(now);
        self.total = self.total.saturating_add(1);
    }

    pub(super) fn failed(&mut self, now: Duration) {
        let doubled = Duration::from_secs(1).saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.saturating_add(doubled.min(LONGEST_PAUSE));
    }

    /// The next sign-in has a fair chance again; the limit per minute stays, the ERP counts on.
    pub(super) fn cleared(&mut self) {
        self.failures = 0;
        self.not_before = Duration::ZERO;
    }

    /// Failures since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Sign-ins since the start, failures included.
    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute() {
        let mut attempts = Attempts::new(1000);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            attempts.failed(seconds(100));
            pauses.push(attempts.pause(seconds(100)).expect("a pause").as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn the_pause_ends() {
        let mut attempts = Attempts::new(1000);
        attempts.failed(seconds(100));
        assert_eq!(attempts.pause(seconds(101)), None);
    }

    #[test]
    fn a_thousand_failures_do_not_overflow() {
        let mut attempts = Attempts::new(1);
        (0..1000).for_each(|_| attempts.failed(seconds(1)));
        assert_eq!(attempts.pause(seconds(1)), Some(LONGEST_PAUSE));
    }

    #[test]
    fn the_limit_counts_a_rolling_minute() {
        let mut attempts = Attempts::new(2);
        attempts.begun(seconds(10));
        attempts.begun(seconds(40));
        assert_eq!(attempts.pause(seconds(41)), Some(seconds(29)));
        assert_eq!(attempts.pause(seconds(70)), None);
        attempts.begun(seconds(70));
        assert_eq!(attempts.pause(seconds(70)), Some(seconds(30)));
    }

    #[test]
    fn clearing_keeps_the_limit() {
        let mut attempts = Attempts::new(1);
        attempts.begun(seconds(10));
        attempts.failed(seconds(10));
        attempts.cleared();
        assert_eq!(attempts.pause(seconds(12)), Some(seconds(58)));
    }

    #[test]
    fn a_limit_of_nothing_never_signs_in() {
        assert_eq!(Attempts::new(0).pause(seconds(5)), Some(MINUTE));
    }
}
