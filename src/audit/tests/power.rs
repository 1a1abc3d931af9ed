//! The power goes at any moment: what was confirmed is there, and the chain holds.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::audit::{Anchor, Position};

/// How long the write-ahead log was when a row was confirmed, and which row that was.
struct Confirmed {
    length: u64,
    id: crate::domain::RequestId,
}

/// Waits for locks as long as it takes: a busy machine takes its time to recover a log.
fn patient(folder: &std::path::Path) -> AuditSettings {
    AuditSettings { busy_timeout: Duration::from_mins(1), ..settings(folder) }
}

/// Writes rows one by one and notes when each was confirmed; the log is neither folded back nor deleted.
fn written(folder: &std::path::Path) -> (Vec<Confirmed>, Auditor) {
    let durable = AuditSettings { synchronous: Synchronous::Full, ..patient(folder) };
    Auditor::migrate(&durable).expect("migrated");
    let clock = Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH));
    let auditor = Auditor::open(&durable, queue(64), ring(), clock).expect("opened");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let log = folder.join("audit.db-wal");
    let mut confirmed = Vec::new();
    runtime.block_on(async {
        for number in 0..60 {
            let entry = Entry { path: format!("/v1/orders/{number}"), ..relay() };
            let id = entry.id;
            let row = auditor.reserve().await.expect("room").open_row(entry).await.expect("confirmed");
            confirmed.push(Confirmed { length: std::fs::metadata(&log).expect("a log").len(), id });
            if number % 7 != 0 {
                row.close(Outcome { status: Some(200), ..Outcome::of(End::Completed, Timestamp::UNIX_EPOCH) });
            } else {
                // In progress when the power goes.
                std::mem::forget(row);
            }
        }
    });
    (confirmed, auditor)
}

#[test]
fn a_log_cut_anywhere_leaves_a_chain_that_holds_and_every_row_that_was_confirmed_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let (confirmed, auditor) = written(folder.path());
    let main = std::fs::read(folder.path().join("audit.db")).expect("a database");
    let log = std::fs::read(folder.path().join("audit.db-wal")).expect("a log");
    drop(auditor);
    let whole = u64::try_from(log.len()).expect("small");
    let first = confirmed.first().expect("rows").length;
    assert!(confirmed.is_sorted_by_key(|row| row.length) && first < whole, "the log only grew");
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    // What stands behind the cut is gone, or was never written and holds whatever was there before.
    let cuts = (0..=whole, prop::collection::vec(any::<u8>(), 0..3000));
    TestRunner::new(config)
        .run(&cuts, |(cut, garbage)| {
            let after = tempfile::tempdir().expect("a folder");
            let kept = usize::try_from(cut).expect("small");
            let torn = [log.get(..kept).expect("inside"), &garbage[..]].concat();
            std::fs::write(after.path().join("audit.db"), &main).expect("written");
            std::fs::write(after.path().join("audit.db-wal"), torn).expect("written");
            let clock = Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH));
            if cut < first && Auditor::migrate(&patient(after.path())).is_err() {
                return Ok(());
            }
            let auditor = Auditor::open(&patient(after.path()), queue(64), ring(), clock).expect("opens");
            let findings = all_findings(&auditor, None);
            prop_assert!(findings.is_empty(), "{:?}", findings);
            for row in confirmed.iter().filter(|row| row.length <= cut) {
                let stored = auditor.find(row.id).expect("read");
                prop_assert!(
                    stored.is_some_and(|row| row.outcome.is_some()),
                    "a confirmed row is gone, or was left open"
                );
            }
            Ok(())
        })
        .expect("nothing is lost");
}

/// What a cut takes is noticed where the state database, or a checkpoint, remembers more.
#[test]
fn a_tail_that_is_gone_is_noticed_by_what_was_noted_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let (confirmed, auditor) = written(folder.path());
    let noted = auditor.anchor().expect("read").expect("sealed");
    let main = std::fs::read(folder.path().join("audit.db")).expect("a database");
    let log = std::fs::read(folder.path().join("audit.db-wal")).expect("a log");
    drop(auditor);
    let half = usize::try_from(confirmed.get(confirmed.len() / 2).expect("rows").length).expect("small");
    let after = tempfile::tempdir().expect("a folder");
    std::fs::write(after.path().join("audit.db"), main).expect("written");
    std::fs::write(after.path().join("audit.db-wal"), log.get(..half).expect("inside")).expect("written");
    let clock = Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH));
    let auditor = Auditor::open(&patient(after.path()), queue(64), ring(), clock).expect("opens");
    assert!(!auditor.continues(noted).expect("read"));
    let kinds: Vec<_> = all_findings(&auditor, Some(noted)).into_iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [crate::audit::Damage::CutTail]);
}

fn all_findings(auditor: &Auditor, anchor: Option<Anchor>) -> Vec<crate::audit::Finding> {
    let mut findings = Vec::new();
    let mut position = Position::default();
    loop {
        let progress = auditor.verify(position, None, anchor).expect("read");
        findings.extend(progress.findings);
        if progress.done {
            return findings;
        }
        position = progress.position;
    }
}
