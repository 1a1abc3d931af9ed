//! A writer that cannot write, because another process holds the database.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::domain::{ManualClock, RequestId, SystemEntropy};
use crate::secrets::{AppKey, KeyRing};

const LIMIT: Duration = Duration::from_secs(10);

struct Trail {
    auditor: Auditor,
    clock: ManualClock,
    foreign: rusqlite::Connection,
    _folder: tempfile::TempDir,
}

impl Trail {
    fn new(busy_timeout: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings =
            AuditSettings { directory: folder.path().to_owned(), synchronous: Synchronous::Normal, busy_timeout };
        Auditor::migrate(&settings).expect("migrated");
        let queue = QueueSettings {
            fold_after: 1000,
            rows: 64,
            bytes: 64 << 20,
            preview_bytes: 1024,
            reserve_timeout: Duration::from_millis(10),
            guarantee: Guarantee::BeforeRelay,
            node: "test".into(),
            stalled_after: LIMIT,
        };
        let ring = KeyRing::new(&AppKey::generate(&SystemEntropy).expect("entropy"), &[]).expect("derived");
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let auditor = Auditor::open(&settings, queue, Arc::new(ring), Arc::new(clock.clone())).expect("opened");
        let foreign = rusqlite::Connection::open(folder.path().join("audit.db")).expect("opened");
        foreign.busy_timeout(Duration::from_secs(20)).expect("set");
        Self { auditor, clock, foreign, _folder: folder }
    }

    fn foreign(&self, statement: &str) {
        self.foreign.execute_batch(statement).expect("done");
    }

    fn leave(&self) -> RequestId {
        let entry = Entry::system(Timestamp::UNIX_EPOCH, &SystemEntropy, "test", "x".into()).expect("entropy");
        let id = entry.id;
        self.auditor.leave(entry);
        id
    }

    fn state(&self) -> WriterState {
        self.auditor.health().state
    }

    /// Does `between` until the state is as wanted.
    fn until(&self, wanted: impl Fn(WriterState) -> bool, between: impl Fn()) {
        for _ in 0..4000 {
            if wanted(self.state()) {
                return;
            }
            between();
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the writer is {:?}", self.auditor.health());
    }
}

fn is_stalled(state: WriterState) -> bool {
    matches!(state, WriterState::Stalled { since } if since >= LIMIT)
}

fn is_failing(state: WriterState) -> bool {
    matches!(state, WriterState::Failing { .. })
}

#[test]
fn a_writer_that_fails_again_and_again_is_stalled_after_the_limit_and_recovers() {
    let trail = Trail::new(Duration::from_secs(1));
    trail.foreign("BEGIN IMMEDIATE");
    let id = trail.leave();
    trail.until(is_failing, || {});
    trail.clock.advance(Duration::from_secs(9));
    assert!(is_failing(trail.state()), "{:?}", trail.state());
    trail.clock.advance(Duration::from_secs(1));
    assert!(is_stalled(trail.state()), "{:?}", trail.state());
    assert_eq!((trail.auditor.health().in_use, trail.auditor.written()), (1, 0));
    trail.foreign("ROLLBACK");
    trail.until(|state| state == WriterState::Ok, || {});
    assert!(trail.auditor.find(id).expect("read").is_some(), "the row was kept");
    assert!(trail.auditor.health().failures > 0);
}

#[test]
fn a_commit_that_does_not_return_is_a_stall_before_it_is_a_failure() {
    let trail = Trail::new(Duration::from_mins(1));
    trail.foreign("BEGIN IMMEDIATE");
    let id = trail.leave();
    trail.until(is_stalled, || trail.clock.advance(LIMIT));
    assert_eq!(trail.auditor.health().failures, 0);
    trail.foreign("ROLLBACK");
    trail.until(|state| state == WriterState::Ok, || {});
    assert!(trail.auditor.find(id).expect("read").is_some());
}

#[test]
fn a_writer_with_nothing_to_write_finds_out_by_itself_that_it_can_again() {
    let trail = Trail::new(Duration::from_secs(1));
    trail.foreign("CREATE TRIGGER full BEFORE INSERT ON decision BEGIN SELECT RAISE(ABORT, 'disk full'); END");
    let entry = Entry::system(Timestamp::UNIX_EPOCH, &SystemEntropy, "test", "x".into()).expect("entropy");
    assert_eq!(trail.auditor.write_blocking(entry), Err(AuditUnavailable));
    assert!(is_failing(trail.state()));
    trail.foreign("DROP TRIGGER full");
    trail.until(|state| state == WriterState::Ok, || {});
    assert_eq!(
        (trail.auditor.written(), trail.auditor.search(&Filter { last: 9, ..Filter::default() }).expect("rows").len()),
        (0, 0)
    );
}

#[test]
fn an_idle_writer_that_is_asked_finds_out_that_it_cannot_write() {
    let trail = Trail::new(Duration::from_secs(1));
    trail.leave();
    trail.until(|_| trail.auditor.written() == 1, || {});
    trail.foreign("CREATE TRIGGER full BEFORE INSERT ON decision BEGIN SELECT RAISE(ABORT, 'disk full'); END");
    trail.auditor.ask_whether_it_writes();
    assert_eq!(trail.state(), WriterState::Ok, "it wrote a moment ago");
    trail.clock.advance(LIMIT);
    trail.auditor.ask_whether_it_writes();
    trail.until(is_failing, || {});
    trail.foreign("DROP TRIGGER full");
    trail.until(|state| state == WriterState::Ok, || {});
    let seqs: Vec<_> = (0..2).map(|_| trail.leave()).collect();
    trail.auditor.stop();
    assert!(seqs.into_iter().all(|id| trail.auditor.find(id).expect("read").is_some()), "a question takes no place");
}
