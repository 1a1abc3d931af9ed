//! The trail finds out what was done to it.

use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::*;
use crate::audit::{Anchor, Checkpoint, Damage, Finding, Position, verify_copy};

/// Takes away what protects the rows from statements, as somebody who can write the file would.
const UNPROTECT: &str = "
    DROP TRIGGER decision_stays; DROP TRIGGER outcome_stays; DROP TRIGGER seal_stays;
    DROP TRIGGER decision_remains; DROP TRIGGER outcome_remains; DROP TRIGGER seal_remains;";

/// A trail of denials, relays and outcomes in several spans.
fn written(rows: usize) -> Trail {
    let trail = trail();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        for number in 0..rows {
            let mut entry = relay();
            entry.path = format!("/v1/orders/{number}");
            entry.detail = Some(format!("{{\"number\":{number}}}"));
            let room = trail.auditor.reserve().await.expect("room");
            if number % 3 == 0 {
                room.commit(Entry { decision: Decision::Denied, status: Some(403), ..entry }).await.expect("committed");
            } else {
                let row = room.open_row(entry).await.expect("committed");
                row.close(Outcome {
                    status: Some(200),
                    attempts: 1,
                    ..Outcome::of(End::Completed, Timestamp::UNIX_EPOCH)
                });
            }
        }
    });
    trail.auditor.write_blocking(stop()).expect("written");
    trail
}

fn stop() -> Entry {
    Entry::system(Timestamp::UNIX_EPOCH, &SystemEntropy, "stop", "the gateway ends".into()).expect("entropy")
}

fn database(trail: &Trail) -> Connection {
    let connection = Connection::open(trail.folder.path().join("audit.db")).expect("opened");
    connection.busy_timeout(Duration::from_secs(5)).expect("set");
    connection
}

fn tampered(trail: &Trail, statements: &str) {
    database(trail).execute_batch(&format!("{UNPROTECT} {statements}")).expect("done");
}

fn verify(trail: &Trail) -> Vec<Finding> {
    verify_against(trail, None, None).0
}

fn verify_against(
    trail: &Trail,
    checkpoint: Option<&Checkpoint>,
    anchor: Option<Anchor>,
) -> (Vec<Finding>, Option<bool>) {
    let mut findings = Vec::new();
    let mut position = Position::default();
    loop {
        let progress = trail.auditor.verify(position, checkpoint, anchor).expect("read");
        findings.extend(progress.findings);
        if progress.done {
            return (findings, progress.clean_stop);
        }
        position = progress.position;
    }
}

fn first(findings: &[Finding]) -> Option<(i64, Damage)> {
    findings.first().map(|finding| (finding.seq, finding.kind))
}

fn columns(connection: &Connection, table: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("SELECT name FROM pragma_table_info('{table}')")).expect("a query");
    statement.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("names")
}

#[test]
fn an_untouched_trail_has_nothing_to_find_and_ends_with_a_stop() {
    let trail = written(20);
    let (findings, clean) = verify_against(&trail, None, trail.auditor.anchor().expect("read"));
    assert_eq!((findings, clean), (vec![], Some(true)));
    trail.auditor.write_blocking(relay()).expect("written");
    assert_eq!(verify_against(&trail, None, None), (vec![], Some(false)), "rows after the stop");
}

#[test]
fn the_first_record_removed_changed_moved_or_inserted_is_named() {
    let cases: &[(&str, &str, i64, Damage)] = &[
        ("changed", "UPDATE decision SET path = '/v1/other' WHERE seq = 4", 4, Damage::Changed),
        ("removed", "DELETE FROM decision WHERE seq = 6", 6, Damage::Removed),
        ("removed with its seal", "DELETE FROM decision WHERE seq = 1; DELETE FROM seal WHERE last = 1", 1, Damage::Removed),
        ("seal removed", "DELETE FROM seal WHERE last = 4", 4, Damage::Seal),
        ("all seals removed", "DELETE FROM seal", 1, Damage::Seal),
        ("first seal removed", "DELETE FROM seal WHERE last = 0", 1, Damage::Inserted),
        (
            "swapped",
            "UPDATE decision SET seq = 9999 WHERE seq = 6; UPDATE decision SET seq = 6 WHERE seq = 9;
             UPDATE decision SET seq = 9 WHERE seq = 9999",
            6,
            Damage::Moved,
        ),
        (
            "inserted at the end",
            "INSERT INTO decision SELECT seq + 100000, id, kind, at, correlation, actor, account, credential, token,
                client, method, path, query, endpoint, policy, rule, policy_snapshot, generation, decision, code,
                status, verdicts, detail, NULL, node, repeats, schedule, kill_switch, tls, mac FROM decision WHERE seq = 1",
            0,
            Damage::Inserted,
        ),
        ("cut", "DELETE FROM decision WHERE seq > (SELECT MAX(last) FROM seal WHERE last <= 10);
             DELETE FROM outcome WHERE seq > (SELECT MAX(last) FROM seal WHERE last <= 10);
             DELETE FROM seal WHERE last > 10", 10, Damage::CutTail),
    ];
    for (name, statements, seq, damage) in cases {
        let trail = written(12);
        let anchor = trail.auditor.anchor().expect("read");
        let end = anchor.map_or(0, |anchor| anchor.sequence);
        tampered(&trail, statements);
        let findings = verify_against(&trail, None, anchor).0;
        let found = first(&findings).unwrap_or_else(|| panic!("{name}: nothing was found"));
        match damage {
            Damage::Inserted if *seq == 0 => assert_eq!(found, (end + 1, *damage), "{name}: {findings:?}"),
            // Where the spans end depends on how rows met in one commit.
            Damage::Pruned | Damage::Seal | Damage::CutTail => assert_eq!(found.1, *damage, "{name}: {findings:?}"),
            Damage::Changed
            | Damage::Removed
            | Damage::Inserted
            | Damage::Moved
            | Damage::UnknownKey
            | Damage::Checkpoint => {
                assert_eq!(found, (*seq, *damage), "{name}: {findings:?}");
            }
        }
    }
}

#[test]
fn a_row_put_where_the_next_one_belongs_does_not_stop_the_writer_and_is_found() {
    let trail = written(3);
    let end = trail.auditor.anchor().expect("read").expect("sealed").sequence;
    tampered(
        &trail,
        "INSERT INTO decision SELECT (SELECT MAX(last) + 1 FROM seal), id, kind, at, correlation, actor, account,
            credential, token, client, method, path, query, endpoint, policy, rule, policy_snapshot, generation,
            decision, code, status, verdicts, detail, NULL, node, repeats, schedule, kill_switch, tls, mac
           FROM decision WHERE seq = 1",
    );
    trail.auditor.write_blocking(relay()).expect("written");
    let findings = verify(&trail);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(first(&findings), Some((end + 1, Damage::Inserted)));
}

#[test]
fn another_app_key_is_told_apart_from_damage() {
    let Trail { folder, auditor } = written(3);
    auditor.stop();
    let other = Arc::new(KeyRing::new(&AppKey::generate(&SystemEntropy).expect("entropy"), &[]).expect("derived"));
    let clock = Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH));
    let auditor = Auditor::open(&settings(folder.path()), queue(64), other, clock).expect("opened");
    let findings = verify(&Trail { folder, auditor });
    assert!(!findings.is_empty());
    assert!(findings.iter().all(|finding| finding.kind == Damage::UnknownKey), "{findings:?}");
}

/// Somebody with the `APP_KEY` can seal another history, but not one that fits an old checkpoint.
#[test]
fn a_history_written_anew_with_the_same_key_does_not_fit_the_checkpoint() {
    let trail = written(6);
    let checkpoint = trail.auditor.checkpoint().expect("read").expect("sealed");
    assert!(checkpoint.is_signed());
    assert_eq!(verify_against(&trail, Some(&checkpoint), None).0, vec![]);
    let forged = Checkpoint { sequence: checkpoint.sequence + 1, ..checkpoint.clone() };
    assert!(!forged.is_signed());
    let rewritten = written(9);
    let findings = verify_against(&rewritten, Some(&checkpoint), None).0;
    assert!(findings.iter().any(|finding| finding.kind == Damage::Checkpoint), "{findings:?}");
    let shorter = written(2);
    let findings = verify_against(&shorter, Some(&checkpoint), None).0;
    assert_eq!(first(&findings).map(|(_, kind)| kind), Some(Damage::CutTail), "{findings:?}");
}

#[test]
fn a_copy_is_checked_without_the_key() {
    let trail = written(6);
    let checkpoint = trail.auditor.checkpoint().expect("read").expect("sealed");
    trail.auditor.stop();
    let file = trail.folder.path().join("a copy?.db");
    database(&trail).execute("VACUUM INTO ?1", [file.to_str().expect("text")]).expect("copied");
    let check = |checkpoint: Option<&Checkpoint>| {
        let mut findings = Vec::new();
        let mut position = Position::default();
        loop {
            let progress = verify_copy(&file, position, checkpoint).expect("read");
            findings.extend(progress.findings);
            if progress.done {
                return findings;
            }
            position = progress.position;
        }
    };
    assert_eq!(check(Some(&checkpoint)), vec![]);
    let copy = Connection::open(&file).expect("opened");
    copy.execute_batch(&format!("{UNPROTECT} UPDATE decision SET path = 'x' WHERE seq = 4")).expect("done");
    drop(copy);
    let findings = check(None);
    assert_eq!(first(&findings).map(|(_, kind)| kind), Some(Damage::Changed), "{findings:?}");
}

#[test]
fn pruning_removes_whole_spans_and_leaves_a_record_that_verifies() {
    let clock = Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH));
    let folder = tempfile::tempdir().expect("a folder");
    Auditor::migrate(&settings(folder.path())).expect("migrated");
    let auditor = Auditor::open(&settings(folder.path()), queue(64), ring(), Arc::clone(&clock) as _).expect("opened");
    let write = |change: Option<u64>| auditor.write_blocking(Entry { change, ..relay() }).expect("written");
    for number in 1..=5 {
        write(Some(number));
    }
    let old = auditor.checkpoint().expect("read").expect("sealed");
    clock.advance(Duration::from_secs(1000));
    write(None);
    let cutoff = Timestamp::from_second(500).expect("a time");
    assert_eq!(auditor.prunable(Timestamp::UNIX_EPOCH, None).expect("read"), None, "nothing is that old");
    assert_eq!(auditor.prunable(cutoff, Some(2)).expect("read").expect("some").through, 2, "what a sink needs stays");
    let pruned = auditor.prunable(cutoff, None).expect("read").expect("some");
    assert_eq!((pruned.through, pruned.records), (5, 5));
    auditor.prune(&pruned, cutoff, stop()).expect("pruned");
    let trail = Trail { folder, auditor };
    let left: i64 = database(&trail).query_row("SELECT MIN(seq) FROM decision", [], |row| row.get(0)).expect("read");
    assert_eq!(left, 6);
    assert_eq!(trail.auditor.last_change().expect("read"), 5, "a change whose row is gone is not recorded again");
    assert_eq!(verify_against(&trail, Some(&old), None).0, vec![], "the checkpoint's place is where pruning ended");
    assert_eq!(trail.auditor.prunable(cutoff, None).expect("read"), None);
    // The same deletion without the record of it.
    tampered(&trail, "DELETE FROM decision WHERE seq = 7; DELETE FROM seal WHERE last = 7");
    let findings = verify(&trail);
    assert!(findings.iter().any(|finding| finding.kind == Damage::Pruned), "{findings:?}");
}

#[test]
fn a_clock_that_goes_back_an_hour_does_no_harm() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_second(10_000).expect("a time")));
    let folder = tempfile::tempdir().expect("a folder");
    Auditor::migrate(&settings(folder.path())).expect("migrated");
    let auditor = Auditor::open(&settings(folder.path()), queue(64), ring(), Arc::clone(&clock) as _).expect("opened");
    auditor.write_blocking(relay()).expect("written");
    clock.set(Timestamp::from_second(6400).expect("a time"));
    auditor.write_blocking(relay()).expect("written");
    let cutoff = Timestamp::from_second(8000).expect("a time");
    assert_eq!(auditor.prunable(cutoff, None).expect("read"), None, "a younger row stands before the old one");
    assert_eq!(verify(&Trail { folder, auditor }), vec![]);
}

/// One bit of one column of one record.
fn flip(connection: &Connection, table: &str, column: &str, row: usize, bit: usize) -> bool {
    let place = format!("SELECT rowid, {column} FROM {table} ORDER BY rowid LIMIT 1 OFFSET {row}");
    let (id, value): (i64, Value) =
        connection.query_row(&place, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("read");
    let turned = |bytes: &mut Vec<u8>| {
        let count = bytes.len() * 8;
        if count == 0 {
            bytes.push(1);
        } else if let Some(byte) = bytes.get_mut(bit % count / 8) {
            *byte ^= 1 << (bit % 8);
        }
    };
    let (value, cast) = match value {
        Value::Null | Value::Real(_) => return false,
        Value::Integer(number) => (Value::Integer(number ^ (1 << (bit % 63))), ""),
        Value::Text(text) => {
            let mut bytes = text.into_bytes();
            turned(&mut bytes);
            // SQLite keeps text that is not UTF-8 as it is.
            (Value::Blob(bytes), "AS TEXT")
        }
        Value::Blob(mut bytes) => {
            turned(&mut bytes);
            (Value::Blob(bytes), "")
        }
    };
    let new = if cast.is_empty() { "?1".to_owned() } else { format!("CAST(?1 {cast})") };
    // Where the place is taken already, nothing was changed.
    connection
        .execute(&format!("UPDATE {table} SET {column} = {new} WHERE rowid = ?2"), rusqlite::params![value, id])
        .is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whichever bit is turned in whichever column of whichever record or seal: it is found.
    #[test]
    fn any_flipped_bit_is_found(table in 0..3_usize, column in any::<prop::sample::Index>(), row in 0..8_usize, bit in 0..4096_usize) {
        let trail = written(9);
        let connection = database(&trail);
        connection.execute_batch(UNPROTECT).expect("done");
        let table = ["decision", "outcome", "seal"][table];
        let names = columns(&connection, table);
        let name = column.get(&names).clone();
        let rows: usize = connection.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get::<_, u32>(0)).expect("read") as usize;
        if flip(&connection, table, &name, row % rows, bit) {
            let findings = verify(&trail);
            prop_assert!(!findings.is_empty(), "{table}.{name}");
        }
    }

    /// Any records removed, swapped or inserted anywhere: found, at the first place that was touched.
    #[test]
    fn any_record_removed_swapped_or_inserted_is_found(at in 1..20_i64, other in 1..20_i64, what in 0..3_usize) {
        let trail = written(14);
        let connection = database(&trail);
        connection.execute_batch(UNPROTECT).expect("done");
        let table = |seq: i64| {
            let found = "SELECT EXISTS (SELECT 1 FROM decision WHERE seq = ?1)";
            let decision: bool = connection.query_row(found, [seq], |row| row.get(0)).expect("read");
            if decision { "decision" } else { "outcome" }
        };
        let (here, there) = (table(at), table(other));
        let touched = match what {
            0 => {
                connection.execute(&format!("DELETE FROM {here} WHERE seq = {at}"), []).expect("deleted");
                at
            }
            1 => {
                connection.execute(&format!("UPDATE {here} SET seq = -1 WHERE seq = {at}"), []).expect("moved");
                let moved = connection.execute(&format!("UPDATE {there} SET seq = {at} WHERE seq = {other}"), []).expect("moved");
                connection.execute(&format!("UPDATE {here} SET seq = {other} WHERE seq = -1"), []).expect("moved");
                if moved == 0 { return Ok(()) }
                at.min(other)
            }
            _ => {
                // A copy of another row in the place of one that is moved out of the way.
                let names = columns(&connection, "decision").join(", ").replace("seq, ", "").replace("change", "NULL");
                let into = columns(&connection, "decision").join(", ");
                let taken = connection.execute(&format!("DELETE FROM {here} WHERE seq = {at}"), []).expect("deleted");
                let copied = connection.execute(&format!("INSERT INTO decision ({into}) SELECT {at}, {names} FROM decision WHERE seq = (SELECT MIN(seq) FROM decision WHERE seq <> {at})"), []).expect("inserted");
                prop_assert_eq!((taken, copied), (1, 1));
                at
            }
        };
        let findings = verify(&trail);
        let found = first(&findings);
        prop_assert_eq!(found.map(|(seq, _)| seq), Some(touched), "{:?}", findings);
    }
}
