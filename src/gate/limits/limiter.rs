//! What one holder of limits has used: requests per period, requests at once, bytes of answers per period.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::{Clock, Limits};
use crate::gate::Quota;

use super::bucket::{Bucket, NoRoom};

/// Counts for one holder. It outlives changes of its limits: a reload, or a change by an operator, is no fresh burst.
#[derive(Debug)]
pub(super) struct Limiter {
    clock: Arc<dyn Clock>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// The limits that the buckets are made for.
    limits: Limits,
    requests: Option<Bucket>,
    bytes: Option<Bucket>,
    at_once: u32,
}

/// What is left of a limit on requests after one was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) most: u32,
    pub(super) period: Duration,
    pub(super) requests: u64,
    /// Until all are there again.
    pub(super) unused_in: Duration,
}

/// A limit is reached; nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) quota: Quota,
    pub(super) period: Option<Duration>,
    pub(super) left: u64,
    /// Until there is room; `None` where no waiting makes any.
    pub(super) wait: Option<Duration>,
}

/// Nobody knows when a request in progress ends; a client that comes back after this long does no harm.
const UNTIL_A_PLACE_IS_FREE: Duration = Duration::from_secs(1);

impl Limiter {
    pub(super) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self { clock: Arc::clone(clock), counts: Mutex::default() }
    }

    /// Takes a place among the requests at once, and `requests` of those per period: each part of a batch counts.
    pub(super) fn take(&self, limits: Limits, requests: u32) -> Result<Option<Left>, Reached> {
        let (mut counts, now) = self.now();
        counts.hold_to(limits, now);
        counts.place_is_free()?;
        counts.bytes_are_left(now)?;
        let left = counts.take_requests(requests, now)?;
        counts.at_once = counts.at_once.saturating_add(1);
        Ok(left)
    }

    /// The request has ended, in whatever way.
    pub(super) fn leave(&self) {
        let (mut counts, _) = self.now();
        counts.at_once = counts.at_once.saturating_sub(1);
    }

    /// Another limit was reached: the requests that were taken under these limits do not count.
    pub(super) fn give_back(&self, limits: Limits, requests: u32) {
        let (mut counts, now) = self.now();
        // After a change they would be another share; then they stay taken.
        if counts.limits == limits
            && let Some(bucket) = &mut counts.requests
        {
            bucket.give_back(u64::from(requests), now);
        }
    }

    /// So many bytes of an answer have left. They may be more than allowed: an answer on its way is not cut.
    pub(super) fn count_bytes(&self, bytes: usize) {
        let (mut counts, now) = self.now();
        if let Some(bucket) = &mut counts.bytes {
            bucket.spend(u64::try_from(bytes).unwrap_or(u64::MAX), now);
        }
    }

    /// Whether it is as if nobody had ever asked.
    pub(super) fn is_unused(&self) -> bool {
        let (mut counts, now) = self.now();
        let Counts { requests, bytes, at_once, .. } = &mut *counts;
        *at_once == 0 && [requests, bytes].into_iter().flatten().all(|bucket| bucket.is_unused(now))
    }

    fn now(&self) -> (MutexGuard<'_, Counts>, Duration) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        (counts, self.clock.monotonic())
    }
}

impl Counts {
    /// Takes on other limits, with the same share of them used. While a reload is under way requests come with the old
    /// ones and the new ones in turns.
    fn hold_to(&mut self, limits: Limits, now: Duration) {
        if self.limits == limits {
            return;
        }
        let become_of = |bucket: Option<Bucket>, rate: Option<(u64, Duration)>| match (bucket, rate) {
            (Some(bucket), Some((most, period))) => Some(bucket.resized(most, period, now)),
            (None, Some((most, period))) => Some(Bucket::new(most, period)),
            // Kept for when the limit comes back.
            (bucket, None) => bucket,
        };
        let rate = limits.rate().map(|(requests, period)| (u64::from(requests), period));
        self.requests = become_of(self.requests, rate);
        self.bytes = become_of(self.bytes, limits.bytes());
        self.limits = limits;
    }

    fn place_is_free(&self) -> Result<(), Reached> {
        match self.limits.concurrent() {
            Some(most) if self.at_once >= most => {
                Err(Reached { quota: Quota::AtOnce(most), period: None, left: 0, wait: Some(UNTIL_A_PLACE_IS_FREE) })
            }
            _ => Ok(()),
        }
    }

    fn bytes_are_left(&mut self, now: Duration) -> Result<(), Reached> {
        let Some((bucket, (most, period))) = self.bytes.as_mut().zip(self.limits.bytes()) else { return Ok(()) };
        bucket.room_for(1, now).map_err(|no_room| Reached {
            quota: Quota::Bytes(most),
            period: Some(period),
            left: 0,
            wait: wait(no_room),
        })
    }

    fn take_requests(&mut self, requests: u32, now: Duration) -> Result<Option<Left>, Reached> {
        let Some((bucket, (most, period))) = self.requests.as_mut().zip(self.limits.rate()) else { return Ok(None) };
        match bucket.take(u64::from(requests), now) {
            Ok(()) => Ok(Some(Left { most, period, requests: bucket.left(), unused_in: bucket.unused_in() })),
            Err(no_room) => Err(Reached {
                quota: Quota::Requests(most),
                period: Some(period),
                left: bucket.left(),
                wait: wait(no_room),
            }),
        }
    }
}

fn wait(no_room: NoRoom) -> Option<Duration> {
    match no_room {
        NoRoom::For(wait) => Some(wait),
        NoRoom::Ever => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::ManualClock;

    const MINUTE: Duration = Duration::from_mins(1);

    fn limiter() -> (ManualClock, Arc<Limiter>) {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        (clock, Arc::new(Limiter::new(&shared)))
    }

    fn requests(most: u32) -> Limits {
        Limits::new(Some((most, MINUTE)), None, None)
    }

    /// How many of `asked` requests pass under these limits, all in progress at once.
    fn passed(limiter: &Limiter, limits: Limits, asked: u32) -> u32 {
        (0..asked).map(|_| u32::from(limiter.take(limits, 1).is_ok())).sum()
    }

    #[test]
    fn a_request_that_a_limit_turns_away_takes_nothing() {
        let (_, limiter) = limiter();
        let limits = Limits::new(Some((3, MINUTE)), Some(1), None);
        assert_eq!(passed(&limiter, limits, 10), 1);
        limiter.leave();
        let left = limiter.take(limits, 1).expect("room").expect("a limit on requests");
        assert_eq!((left.requests, left.unused_in), (1, MINUTE * 2 / 3));
        limiter.leave();
        let reached = limiter.take(limits, 2).expect_err("one is left");
        assert_eq!((reached.left, reached.wait), (1, Some(MINUTE / 3)));
        assert_eq!(passed(&limiter, limits, 10), 1);
    }

    #[test]
    fn a_changed_limit_keeps_what_was_used_and_who_is_in_progress() {
        let (_, limiter) = limiter();
        assert_eq!(passed(&limiter, requests(10), 5), 5);
        assert_eq!(passed(&limiter, requests(4), 9), 2, "half is used");
        assert_eq!(passed(&limiter, requests(10), 1), 0);
        let seven_at_once = Limits::new(None, Some(7), None);
        assert_eq!(passed(&limiter, seven_at_once, 1), 0, "seven are in progress");
        limiter.leave();
        assert_eq!(passed(&limiter, seven_at_once, 2), 1);
        assert_eq!(passed(&limiter, requests(10), 1), 0, "a limit that comes back comes back used");
    }

    #[test]
    fn a_storm_of_changes_lets_nobody_have_more() {
        let (_, limiter) = limiter();
        let let_in: u32 = std::thread::scope(|scope| {
            let storms: Vec<_> = (0..4)
                .map(|_| {
                    let limiter = &limiter;
                    scope.spawn(move || {
                        (0..2000)
                            .map(|round| passed(limiter, requests(if round % 2 == 0 { 100 } else { 50 }), 1))
                            .sum::<u32>()
                    })
                })
                .collect();
            storms.into_iter().map(|storm| storm.join().expect("joined")).sum()
        });
        assert!((50..=100).contains(&let_in), "{let_in}");
        assert_eq!(passed(&limiter, requests(100), 1) + passed(&limiter, requests(50), 1), 0);
    }

    #[test]
    fn of_many_threads_exactly_as_many_pass_as_are_allowed() {
        let (_, limiter) = limiter();
        let let_in: u32 = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| passed(&limiter, requests(1000), 500))).collect();
            all.into_iter().map(|one| one.join().expect("joined")).sum()
        });
        assert_eq!(let_in, 1000);
    }

    #[test]
    fn what_is_given_back_after_a_change_stays_taken() {
        let (_, limiter) = limiter();
        limiter.take(requests(100), 1).expect("room");
        assert_eq!(passed(&limiter, requests(1), 1), 0);
        limiter.give_back(requests(100), 1);
        assert_eq!(passed(&limiter, requests(1), 1), 0);
        limiter.give_back(requests(1), 1);
        assert_eq!(passed(&limiter, requests(1), 1), 1);
    }

    #[test]
    fn it_is_unused_when_all_has_flowed_back_what_was_overdrawn_too() {
        let (clock, limiter) = limiter();
        let limits = Limits::new(None, None, Some((10, MINUTE)));
        assert!(limiter.is_unused());
        limiter.take(limits, 1).expect("room");
        assert!(!limiter.is_unused(), "a request is in progress");
        limiter.count_bytes(30);
        limiter.leave();
        clock.advance(MINUTE * 2);
        assert!(!limiter.is_unused() && limiter.take(limits, 1).is_err());
        clock.advance(MINUTE);
        assert!(limiter.is_unused());
    }
}
