mod evidence;
mod power;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::domain::{ManualClock, SystemEntropy};
use crate::secrets::{AppKey, KeyRing};

struct Trail {
    folder: tempfile::TempDir,
    auditor: Auditor,
}

/// One `APP_KEY` for all tests of this process.
fn ring() -> Arc<KeyRing> {
    static RING: OnceLock<Arc<KeyRing>> = OnceLock::new();
    let new = || Arc::new(KeyRing::new(&AppKey::generate(&SystemEntropy).expect("entropy"), &[]).expect("derived"));
    Arc::clone(RING.get_or_init(new))
}

pub(super) fn settings(folder: &std::path::Path) -> AuditSettings {
    AuditSettings {
        directory: folder.to_owned(),
        synchronous: Synchronous::Normal,
        busy_timeout: Duration::from_millis(100),
    }
}

fn queue(rows: usize) -> QueueSettings {
    QueueSettings {
        rows,
        bytes: 64 * 1024 * 1024,
        preview_bytes: 1024,
        reserve_timeout: Duration::from_millis(10),
        fold_after: 1000,
        guarantee: Guarantee::BeforeRelay,
        node: "test".into(),
        stalled_after: Duration::from_secs(10),
    }
}

pub(super) fn open_in(folder: &std::path::Path, rows: usize) -> Auditor {
    Auditor::migrate(&settings(folder)).expect("migrated");
    let clock = Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH));
    Auditor::open(&settings(folder), queue(rows), ring(), clock).expect("opened")
}

fn open(folder: tempfile::TempDir, rows: usize) -> Trail {
    let auditor = open_in(folder.path(), rows);
    Trail { folder, auditor }
}

fn trail() -> Trail {
    open(tempfile::tempdir().expect("a folder"), 64)
}

pub(super) fn relay() -> Entry {
    let entry = Entry::system(Timestamp::UNIX_EPOCH, &SystemEntropy, "GET", "/v1/a".into()).expect("entropy");
    Entry { kind: Kind::Relay, ..entry }
}

/// Breaks or mends writing with a trigger: a real fault in a real database.
fn sql(trail: &Trail, statement: &str) {
    let connection = rusqlite::Connection::open(trail.folder.path().join("audit.db")).expect("opened");
    connection.busy_timeout(Duration::from_secs(5)).expect("set");
    connection.execute_batch(statement).expect("done");
}

const BREAK: &str = "CREATE TRIGGER full BEFORE INSERT ON decision BEGIN SELECT RAISE(ABORT, 'disk full'); END";

#[tokio::test]
async fn a_row_is_on_disk_when_the_relay_may_begin() {
    let trail = trail();
    let entry = relay();
    let id = entry.id;
    let row = trail.auditor.reserve().await.expect("room").open_row(entry).await.expect("committed");
    let stored = trail.auditor.find(id).expect("read").expect("there");
    assert!(stored.outcome.is_none());
    row.close(Outcome { status: Some(200), ..Outcome::of(End::Completed, Timestamp::UNIX_EPOCH) });
    trail.auditor.stop();
    let stored = trail.auditor.find(id).expect("read").expect("there");
    assert_eq!(stored.outcome.map(|outcome| outcome.ended), Some("completed".to_owned()));
}

#[tokio::test]
async fn a_row_that_cannot_be_written_lets_nothing_pass_and_writing_recovers_by_itself() {
    let trail = trail();
    sql(&trail, BREAK);
    let refused = trail.auditor.reserve().await.expect("room").open_row(relay()).await;
    assert_eq!(refused.map(drop), Err(AuditUnavailable));
    assert!(trail.auditor.is_failing());
    sql(&trail, "DROP TRIGGER full");
    let row = trail.auditor.reserve().await.expect("room").open_row(relay()).await.expect("committed");
    assert!(!trail.auditor.is_failing());
    drop(row);
}

#[tokio::test]
async fn what_nobody_waits_for_is_kept_until_it_can_be_written() {
    let trail = trail();
    sql(&trail, BREAK);
    let entry = relay();
    let id = entry.id;
    trail.auditor.reserve().await.expect("room").close_with(entry);
    let _ = trail.auditor.reserve().await.expect("room").open_row(relay()).await;
    assert!(trail.auditor.find(id).expect("read").is_none());
    sql(&trail, "DROP TRIGGER full");
    drop(trail.auditor.reserve().await.expect("room").open_row(relay()).await.expect("committed"));
    assert!(trail.auditor.find(id).expect("read").is_some());
}

#[tokio::test]
async fn a_full_queue_refuses_instead_of_waiting_for_ever() {
    let trail = open(tempfile::tempdir().expect("a folder"), 4);
    let first = trail.auditor.reserve().await.expect("room");
    let second = trail.auditor.reserve().await.expect("room");
    assert_eq!(trail.auditor.reserve().await.map(drop), Err(AuditUnavailable));
    drop(first);
    assert!(trail.auditor.reserve().await.is_ok());
    drop(second);
}

#[tokio::test]
async fn a_row_that_is_dropped_says_aborted() {
    let trail = trail();
    let entry = relay();
    let id = entry.id;
    drop(trail.auditor.reserve().await.expect("room").open_row(entry).await.expect("committed"));
    trail.auditor.stop();
    let outcome = trail.auditor.find(id).expect("read").expect("there").outcome;
    assert_eq!(outcome.map(|outcome| outcome.ended), Some("aborted".to_owned()));
}

#[tokio::test]
async fn rows_left_open_by_a_crash_are_closed_as_interrupted() {
    let Trail { folder, auditor } = trail();
    let entry = relay();
    let id = entry.id;
    let row = auditor.reserve().await.expect("room").open_row(entry).await.expect("committed");
    std::mem::forget(row);
    auditor.stop();
    drop(auditor);
    let again = open(folder, 64);
    let outcome = again.auditor.find(id).expect("read").expect("there").outcome;
    assert_eq!(outcome.map(|outcome| outcome.ended), Some("interrupted".to_owned()));
}

#[test]
fn rows_cannot_be_changed_or_deleted_by_statement() {
    let trail = trail();
    trail.auditor.write_blocking(relay()).expect("written");
    let connection = rusqlite::Connection::open(trail.folder.path().join("audit.db")).expect("opened");
    for statement in ["UPDATE decision SET path = 'x'", "DELETE FROM decision"] {
        let error = connection.execute(statement, []).expect_err("refused").to_string();
        assert!(error.contains("append-only"), "{error}");
    }
}

#[test]
fn a_change_is_recorded_once() {
    let trail = trail();
    for _ in 0..2 {
        let entry = Entry { kind: Kind::Change, change: Some(7), ..relay() };
        trail.auditor.write_blocking(entry).expect("written");
    }
    let rows = trail.auditor.search(&Filter { last: 10, ..Filter::default() }).expect("read");
    assert_eq!(rows.len(), 1);
    assert_eq!(trail.auditor.last_change().expect("read"), 7);
}

/// Each filter finds the rows that it means, alone and together with another.
#[tokio::test]
async fn rows_are_found_by_what_they_say() {
    let trail = trail();
    let at = |second: i64| Timestamp::from_second(second).expect("a time");
    let mut ids = Vec::new();
    for number in 0..6_i64 {
        let mut entry = relay();
        entry.at = at(100 + number);
        entry.correlation = Some(format!("order-{number}"));
        entry.client = Some(std::net::Ipv4Addr::new(10, 0, 0, u8::try_from(number).expect("small")).into());
        entry.endpoint = Some(if number % 2 == 0 { "orders.list" } else { "orders.read" }.parse().expect("an id"));
        entry.policy = Some("reader".parse().expect("a name"));
        ids.push(entry.id);
        let room = trail.auditor.reserve().await.expect("room");
        if number == 5 {
            room.commit(Entry { decision: Decision::Denied, ..entry }).await.expect("committed");
            continue;
        }
        entry.decision = Decision::Allowed;
        let row = room.open_row(entry).await.expect("committed");
        let mut outcome = Outcome::of(End::Completed, at(200));
        outcome.upstream_status = Some(if number == 0 { 500 } else { 200 });
        outcome.duration = Duration::from_millis(u64::try_from(number).expect("small") * 10);
        row.close(outcome);
    }
    trail.auditor.stop();
    let found = |filter: Filter| -> Vec<usize> {
        let rows = trail.auditor.search(&Filter { last: 100, ..filter }).expect("rows");
        rows.iter().map(|row| ids.iter().position(|id| *id == row.id).expect("known")).collect()
    };
    let none = Filter::default;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(found(none()), [5, 4, 3, 2, 1, 0]);
    assert_eq!(found(Filter { since: Some(at(104)), ..none() }), [5, 4]);
    assert_eq!(found(Filter { until: Some(at(102)), ..none() }), [1, 0]);
    assert_eq!(found(Filter { since: Some(at(101)), until: Some(at(103)), ..none() }), [2, 1]);
    assert_eq!(found(Filter { decision: text("denied"), ..none() }), [5]);
    assert_eq!(found(Filter { endpoint: text("orders.list"), ..none() }), [4, 2, 0]);
    assert_eq!(found(Filter { endpoint: text("orders.list"), since: Some(at(102)), ..none() }), [4, 2]);
    assert_eq!(found(Filter { policy: text("reader"), ..none() }).len(), 6);
    assert_eq!(found(Filter { policy: text("writer"), ..none() }).len(), 0);
    assert_eq!(found(Filter { client: text("10.0.0.3"), ..none() }), [3]);
    assert_eq!(found(Filter { correlation: text("order-2"), ..none() }), [2]);
    assert_eq!(found(Filter { upstream_status: Some(500), ..none() }), [0]);
    assert_eq!(found(Filter { min_duration: Some(30_000), ..none() }), [4, 3]);
    assert_eq!(found(Filter { actor: text("system"), ..none() }).len(), 6);
    let second = trail.auditor.search(&Filter { last: 2, ..none() }).expect("rows").last().expect("two").seq;
    assert_eq!(found(Filter { before: Some(second), ..none() }), [3, 2, 1, 0], "the next page");
}
