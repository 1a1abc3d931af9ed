//! How the writer is doing: what it has written, since when it has been at it, since when it fails.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::{Durations, Histogram};
use super::ledger::Record;
use super::tally::{Counts, Tally};

/// Upper bounds of the classes in which commits are counted, in microseconds; longer ones are in a class of their own.
const BOUNDS: [u64; 8] = [1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000];

/// How the writer is doing.
#[derive(Debug, Clone)]
pub struct WriterHealth {
    /// Whether rows are written.
    pub state: WriterState,
    /// Records written since the start.
    pub written: u64,
    /// Attempts that failed since the start.
    pub failures: u64,
    /// Rows that nobody waited for and that found no room, since the start.
    pub lost: u64,
    /// How often the writer was seen to stall, since the start.
    pub stalls: u64,
    /// Rows for which room is taken.
    pub in_use: usize,
    /// Rows for which there is room in all.
    pub capacity: usize,
    /// The commits since the start.
    pub commits: Durations,
    /// What was decided since the start, and how it ended.
    pub counts: Counts,
}

/// Whether rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriterState {
    /// They are.
    Ok,
    /// The last attempt failed.
    Failing {
        /// How long no attempt has succeeded.
        since: Duration,
    },
    /// Nothing has been written for longer than `audit.stalled_after`, though there is something to write.
    Stalled {
        /// How long.
        since: Duration,
    },
}

/// What the writer thread tells the others. Moments are microseconds of the monotonic clock plus one; 0 is none.
#[derive(Debug)]
pub(super) struct Gauges {
    /// When the batch at hand was begun.
    writing_since: AtomicU64,
    /// When the first of the attempts began that have failed in a row.
    failing_since: AtomicU64,
    written: AtomicU64,
    failures: AtomicU64,
    lost: AtomicU64,
    stalls: AtomicU64,
    /// When the last attempt ended.
    last_attempt: AtomicU64,
    /// Whether the writer was asked and has not answered yet.
    asked: AtomicBool,
    commits: Histogram,
    tally: Tally,
    /// The last place in the trail.
    end: AtomicI64,
}

/// What an attempt changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It went as the one before.
    None,
    /// It failed after others had not.
    FailsNow,
    /// It succeeded after others had failed.
    WritesAgain,
}

impl Gauges {
    pub(super) fn new() -> Self {
        Self {
            writing_since: AtomicU64::default(),
            failing_since: AtomicU64::default(),
            written: AtomicU64::default(),
            failures: AtomicU64::default(),
            lost: AtomicU64::default(),
            stalls: AtomicU64::default(),
            last_attempt: AtomicU64::default(),
            asked: AtomicBool::default(),
            commits: Histogram::new(&BOUNDS),
            tally: Tally::new(),
            end: AtomicI64::default(),
        }
    }

    /// Counts what was written.
    pub(super) fn count<'r>(&self, records: impl Iterator<Item = &'r Record>) {
        records.for_each(|record| self.tally.take(record));
    }

    /// An attempt to write begins.
    pub(super) fn begin(&self, now: Duration) {
        self.writing_since.store(moment(now), Ordering::Relaxed);
    }

    /// The attempt has written so many records.
    pub(super) fn committed(&self, now: Duration, records: usize) -> Turn {
        let begun = self.ended(now);
        let took = moment(now).saturating_sub(begun);
        self.written.fetch_add(u64::try_from(records).unwrap_or(0), Ordering::Relaxed);
        self.commits.count(took);
        match self.failing_since.swap(0, Ordering::Relaxed) {
            0 => Turn::None,
            _ => Turn::WritesAgain,
        }
    }

    /// The attempt has failed.
    pub(super) fn failed(&self, now: Duration) -> Turn {
        let begun = self.ended(now);
        self.failures.fetch_add(1, Ordering::Relaxed);
        match self.failing_since.compare_exchange(0, begun.max(1), Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Turn::FailsNow,
            Err(_) => Turn::None,
        }
    }

    /// Says when the attempt began.
    fn ended(&self, now: Duration) -> u64 {
        self.last_attempt.store(moment(now), Ordering::Relaxed);
        self.asked.store(false, Ordering::Relaxed);
        self.writing_since.swap(0, Ordering::Relaxed)
    }

    /// Whether the last attempt is so long ago that another may be asked for; once until it has ended.
    pub(super) fn may_ask(&self, now: Duration, after: Duration) -> bool {
        let idle = moment(now).saturating_sub(self.last_attempt.load(Ordering::Relaxed));
        Duration::from_micros(idle) >= after && !self.asked.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing_since.load(Ordering::Relaxed) != 0
    }

    /// The last place in the trail.
    pub(super) fn end(&self) -> i64 {
        self.end.load(Ordering::Relaxed)
    }

    pub(super) fn set_end(&self, end: i64) {
        self.end.store(end, Ordering::Relaxed);
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// A row found no room. Says whether it is the first.
    pub(super) fn lost(&self) -> bool {
        self.lost.fetch_add(1, Ordering::Relaxed) == 0
    }

    pub(super) fn stalled(&self) {
        self.stalls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn health(&self, now: Duration, stalled_after: Duration, room: (usize, usize)) -> WriterHealth {
        let (in_use, capacity) = room;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriterHealth {
            state: self.state(now, stalled_after),
            written: self.written(),
            failures: load(&self.failures),
            lost: load(&self.lost),
            stalls: load(&self.stalls),
            in_use,
            capacity,
            commits: self.commits.read(),
            counts: self.tally.read(),
        }
    }

    fn state(&self, now: Duration, stalled_after: Duration) -> WriterState {
        let since = |gauge: &AtomicU64| match gauge.load(Ordering::Relaxed) {
            0 => None,
            begun => Some(Duration::from_micros(moment(now).saturating_sub(begun))),
        };
        let (writing, failing) = (since(&self.writing_since), since(&self.failing_since));
        match (writing.max(failing), failing) {
            (Some(since), _) if since >= stalled_after => WriterState::Stalled { since },
            (_, Some(since)) => WriterState::Failing { since },
            (_, None) => WriterState::Ok,
        }
    }
}

fn moment(at: Duration) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(u64::MAX - 1).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn second(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    fn state(gauges: &Gauges, now: u64) -> WriterState {
        gauges.health(second(now), LIMIT, (0, 1)).state
    }

    #[test]
    fn a_writer_with_nothing_to_write_is_well_however_long() {
        let gauges = Gauges::new();
        assert_eq!(state(&gauges, 1_000_000), WriterState::Ok);
        gauges.begin(second(0));
        assert_eq!(gauges.committed(second(0), 1), Turn::None);
        assert_eq!(state(&gauges, 1_000_000), WriterState::Ok);
    }

    #[test]
    fn a_commit_that_does_not_return_stalls_the_writer() {
        let gauges = Gauges::new();
        gauges.begin(second(5));
        assert_eq!(state(&gauges, 14), WriterState::Ok);
        assert_eq!(state(&gauges, 15), WriterState::Stalled { since: LIMIT });
        assert_eq!(gauges.committed(second(20), 3), Turn::None);
        assert_eq!(state(&gauges, 20), WriterState::Ok);
    }

    #[test]
    fn failures_in_a_row_count_from_the_first_and_end_with_a_success() {
        let gauges = Gauges::new();
        gauges.begin(second(1));
        assert_eq!(gauges.failed(second(1)), Turn::FailsNow);
        gauges.begin(second(4));
        assert_eq!(gauges.failed(second(4)), Turn::None);
        assert_eq!(state(&gauges, 6), WriterState::Failing { since: second(5) });
        assert_eq!(state(&gauges, 11), WriterState::Stalled { since: LIMIT });
        gauges.begin(second(12));
        assert_eq!(gauges.committed(second(12), 1), Turn::WritesAgain);
        assert_eq!(state(&gauges, 12), WriterState::Ok);
    }

    #[test]
    fn a_writer_is_asked_once_and_only_when_nothing_was_tried_for_a_while() {
        let gauges = Gauges::new();
        gauges.begin(second(1));
        gauges.committed(second(1), 1);
        assert!(!gauges.may_ask(second(10), LIMIT));
        assert!(gauges.may_ask(second(11), LIMIT));
        assert!(!gauges.may_ask(second(12), LIMIT), "the first question has no answer yet");
        gauges.begin(second(12));
        gauges.failed(second(12));
        assert!(gauges.may_ask(second(30), LIMIT));
    }

    #[test]
    fn commits_are_counted_in_classes_that_include_each_other() {
        let gauges = Gauges::new();
        for micros in [500, 1_000, 1_001, 9_000_000] {
            gauges.begin(second(1));
            gauges.committed(second(1) + Duration::from_micros(micros), 2);
        }
        let health = gauges.health(second(20), LIMIT, (1, 4));
        let counts: Vec<_> = health.commits.within.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 3, 3, 3, 3, 3, 3, 3]);
        assert_eq!((health.commits.count, health.written), (4, 8));
        assert_eq!(health.commits.sum, Duration::from_micros(9_002_501));
    }
}
