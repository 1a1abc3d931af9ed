//! Whatever the index knows, the answer is that of a scan of all rows.

use jiff::Timestamp;
use proptest::prelude::*;
use rusqlite::{Connection, params};

use super::build::advance;
use super::database;
use super::search::search;
use crate::audit::database::{AuditSettings, Synchronous, migrate};
use crate::audit::recorded;
use crate::audit::row::Filter;
use crate::domain::{AccountId, Cause, CredentialId, RequestId, TokenId};

struct Scene {
    folder: tempfile::TempDir,
    trail: Connection,
    index: Connection,
}

/// Rows around the ends of zones and segments, with outcomes that come late.
fn scene() -> Scene {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = AuditSettings {
        directory: folder.path().to_owned(),
        synchronous: Synchronous::Normal,
        busy_timeout: std::time::Duration::from_secs(5),
    };
    migrate(&settings).expect("migrated");
    let mut trail = Connection::open(folder.path().join("audit.db")).expect("opened");
    let rows = trail.transaction().expect("begun");
    for number in 0..400_i64 {
        row(&rows, number);
    }
    rows.execute("INSERT INTO seal VALUES (?1, 1, 0, x'00', x'00', x'00')", [seq(399) + 4000]).expect("sealed");
    rows.commit().expect("committed");
    let index = database::open(&folder.path().join("audit-index.db"), &trail).expect("opened");
    Scene { folder, trail, index }
}

fn seq(number: i64) -> i64 {
    // Three segments; many zones.
    3000 + number * 1500
}

fn id(number: i64) -> [u8; 16] {
    (u128::from(number.unsigned_abs()) + 1).to_be_bytes()
}

fn row(trail: &Connection, number: i64) {
    let relayed = number % 3 != 0;
    let seq = seq(number);
    trail
        .execute(
            "INSERT INTO decision VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'GET', '/', NULL, ?11, ?12, NULL,
                NULL, 1, ?13, ?14, NULL, ?15, NULL, NULL, 'node', 1, NULL, NULL, NULL, NULL)",
            params![
                seq,
                id(number),
                if number % 10 == 0 { "token_attempt" } else { "relay" },
                // The clock goes back now and then.
                number * 1_000_000 - if number % 50 == 0 { 30_000_000 } else { 0 },
                (number % 4 == 0).then(|| format!("order-{}", number % 7)),
                if number % 5 == 0 {
                    "unknown".to_owned()
                } else {
                    format!("credential:{}", CredentialId::from_bytes(id(number % 6)))
                },
                id(number % 2),
                id(number % 6),
                id(number % 40),
                format!("10.0.0.{}", number % 20),
                ["orders.list", "orders.read"][usize::try_from(number % 2).expect("small")],
                (number % 9 == 0).then_some("rare"),
                if relayed { "allowed" } else { "denied" },
                (!relayed).then_some("not_permitted"),
                format!("[[\"policy\",\"denied\",\"Rule {}\"]]", number % 30),
            ],
        )
        .expect("a row");
    if relayed {
        let late = if number % 8 == 1 { 3500 } else { 1 };
        trail
            .execute(
                "INSERT INTO outcome VALUES (?1, ?2, 0, 'completed', 200, ?3, ?4, NULL, ?5, 1, ?6, NULL, 0, 0, NULL,
                    NULL, NULL)",
                params![
                    seq + late,
                    seq,
                    (number % 25 == 1).then_some("upstream_timeout"),
                    (number % 40 == 1).then_some("the ERP hung"),
                    if number % 17 == 0 { 503 } else { 200 },
                    number % 100,
                ],
            )
            .expect("an outcome");
    }
}

fn filters() -> impl Strategy<Value = Filter> {
    fn some<T: std::fmt::Debug + Clone + 'static>(values: Vec<T>) -> BoxedStrategy<Option<T>> {
        prop_oneof![4 => Just(None), 1 => prop::sample::select(values).prop_map(Some)].boxed()
    }
    let text = |texts: &[&str]| some(texts.iter().map(|text| (*text).to_owned()).collect());
    let at = |seconds: Vec<i64>| {
        some(seconds.into_iter().map(|second| Timestamp::from_second(second).expect("a time")).collect())
    };
    let ids = (
        some((0..3).map(|n| AccountId::from_bytes(id(n))).collect()),
        some((0..7).map(|n| CredentialId::from_bytes(id(n))).collect()),
        some((0..50).map(|n| TokenId::from_bytes(id(n))).collect()),
        some((0..420).map(|n| RequestId::from_bytes(id(n))).collect()),
        text(&["10.0.0.3", "10.0.0.19", "10.0.0.99"]),
        text(&["unknown", &format!("credential:{}", CredentialId::from_bytes(id(2)))]),
        text(&["order-3", "order-9"]),
    );
    let facts = (
        text(&["not_permitted", "upstream_timeout", "no_such"]),
        text(&["relay", "token_attempt"]),
        text(&["allowed", "denied"]),
        text(&["orders.list", "orders.none"]),
        text(&["rare", "other"]),
        text(&["rule 7", "HUNG"]),
        some(vec![Cause::Policy, Cause::Outage, Cause::Client]),
        some(vec![200_u16, 503, 404]),
        some(vec![0_i64, 50, 95, 500]),
    );
    let range = (
        at(vec![-10, 0, 100, 250, 500]),
        at(vec![0, 90, 260, 399, 900]),
        some((0..420).map(seq).collect()),
        1..200_usize,
    );
    (ids, facts, range).prop_map(|(ids, facts, (since, until, before, last))| Filter {
        account: ids.0,
        credential: ids.1,
        token: ids.2,
        id: ids.3,
        client: ids.4,
        actor: ids.5,
        correlation: ids.6,
        code: facts.0,
        kind: facts.1,
        decision: facts.2,
        endpoint: facts.3,
        policy: facts.4,
        text: facts.5,
        cause: facts.6,
        upstream_status: facts.7,
        min_duration: facts.8,
        since,
        until,
        before,
        last,
    })
}

fn found(trail: &Connection, index: Option<&Connection>, filter: &Filter) -> Vec<i64> {
    search(trail, index, filter).expect("read").iter().map(|row| row.seq).collect()
}

#[test]
fn the_index_changes_no_answer_however_far_it_is() {
    let mut scene = scene();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    // Not begun, in the middle of segments and zones, complete.
    for stage in [0, 150_001, 130_000, 1_000_000] {
        while stage > 0 && advance(&scene.trail, &mut scene.index, stage).expect("indexed") && stage == 1_000_000 {}
        let (trail, index) = (&scene.trail, &scene.index);
        runner
            .run(&filters(), |filter| {
                prop_assert_eq!(found(trail, Some(index), &filter), found(trail, None, &filter));
                Ok(())
            })
            .expect("the same answers");
    }
    let one = Filter { last: 10, code: Some("upstream_timeout".into()), ..Filter::default() };
    assert_eq!(found(&scene.trail, Some(&scene.index), &one).len(), 10, "the filters do find something");
}

#[test]
fn an_index_of_another_trail_or_of_more_than_there_is_is_made_anew() {
    let mut scene = scene();
    while advance(&scene.trail, &mut scene.index, 100_000).expect("indexed") {}
    let file = scene.folder.path().join("audit-index.db");
    let kept = |trail: &Connection| {
        let index = database::open(&file, trail).expect("opened");
        database::Progress::read(&index).expect("read").indexed_to > 0
    };
    assert!(kept(&scene.trail));
    scene.trail.execute_batch("DROP TRIGGER seal_stays; UPDATE seal SET head = randomblob(32)").expect("done");
    assert!(!kept(&scene.trail), "another history");
    let mut index = database::open(&file, &scene.trail).expect("opened");
    while advance(&scene.trail, &mut index, 100_000).expect("indexed") {}
    scene
        .trail
        .execute_batch(
            "DROP TRIGGER decision_remains; DROP TRIGGER outcome_remains; DROP TRIGGER seal_remains;
            DELETE FROM decision WHERE seq > 30000; DELETE FROM outcome WHERE seq > 30000; DELETE FROM seal;",
        )
        .expect("done");
    assert!(!kept(&scene.trail), "an older file was put in place");
    std::fs::write(&file, b"this is no database, whatever its name says").expect("written");
    assert!(!kept(&scene.trail), "a broken index");
}

#[test]
fn what_was_pruned_leaves_the_index_too() {
    let mut scene = scene();
    while advance(&scene.trail, &mut scene.index, 100_000).expect("indexed") {}
    let count = |index: &Connection| -> i64 {
        index.query_row("SELECT COUNT(*) FROM lookup", [], |row| row.get(0)).expect("a count")
    };
    let before = count(&scene.index);
    scene.trail.execute("INSERT INTO mark VALUES ('prune_through', 270000)", []).expect("marked");
    scene
        .trail
        .execute_batch("DELETE FROM decision WHERE seq <= 270000; DELETE FROM outcome WHERE seq <= 270000")
        .expect("done");
    advance(&scene.trail, &mut scene.index, 100_000).expect("indexed");
    assert!(count(&scene.index) < before);
    let all = Filter { last: 1000, endpoint: Some("orders.list".into()), ..Filter::default() };
    assert_eq!(found(&scene.trail, Some(&scene.index), &all), found(&scene.trail, None, &all));
}

#[test]
fn requests_to_be_decided_again_begin_where_the_index_says_and_none_is_missed() {
    let all = |scene: &Scene, index: Option<&Connection>, filter: &Filter| {
        let part = |after, through| recorded::next(&scene.trail, index, filter, after, through).expect("read");
        let first = part(None, None);
        let (mut after, mut found) = (first.checked_to, Vec::new());
        while after < first.end {
            let next = part(Some(after), Some(first.end));
            assert!(next.checked_to > after, "it goes on");
            after = next.checked_to;
            found.extend(next.rows);
        }
        (first.checked_to, found)
    };
    let mut scene = scene();
    for stage in [0, 200_000, 1_000_000] {
        while stage > 0 && advance(&scene.trail, &mut scene.index, stage).expect("indexed") && stage == 1_000_000 {}
        for second in [-100, 0, 100, 250, 399, 900] {
            let since = Some(Timestamp::from_second(second).expect("a time"));
            for credential in [None, Some(CredentialId::from_bytes(id(2)))] {
                let filter = Filter { since, credential, kind: Some("relay".into()), ..Filter::default() };
                let (_, scanned) = all(&scene, None, &filter);
                let (start, found) = all(&scene, Some(&scene.index), &filter);
                assert_eq!(found, scanned, "since {second}, {stage} indexed");
                assert!(if second == 900 { found.is_empty() } else { second > 250 || !found.is_empty() });
                assert!(second < 250 || stage < 1_000_000 || start > seq(150), "the index is of no use: {start}");
            }
        }
    }
}
