use std::path::Path;
use std::time::Duration;

use proptest::prelude::{Strategy as _, any, prop, proptest};

use super::*;
use crate::domain::{Actor, SystemEntropy, UpstreamName};
use crate::secrets::AppKey;
use crate::store::{Change, SealedSecrets, SealedSession, StoreSettings, Synchronous};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn store(folder: &Path) -> Store {
    let settings = StoreSettings {
        directory: folder.join("data"),
        synchronous: Synchronous::Normal,
        busy_timeout: Duration::from_millis(200),
        connections: 2,
    };
    Store::migrate(&settings).expect("migrated");
    Store::open(&settings).expect("opened")
}

fn key() -> AppKey {
    AppKey::generate(&SystemEntropy).expect("entropy")
}

fn ring(key: &AppKey) -> KeyRing {
    KeyRing::new(key, &[]).expect("derived")
}

fn change<T>(store: &Store, change: impl FnOnce(&ChangeTransaction<'_>) -> Result<T, StoreError>) -> T {
    let entry = Change {
        at: NOW,
        actor: Actor::System,
        operation: "test",
        subject: String::new(),
        account: None,
        credential: None,
        detail: None,
    };
    store.change(&entry, change).expect("changed").0
}

fn upstream(number: usize) -> UpstreamName {
    format!("erp-{number}").parse().expect("a name")
}

fn seal(ring: &KeyRing, purpose: SealPurpose, table: &str, column: &str, row: &str) -> Vec<u8> {
    let plain = format!("{table}.{column} of {row}");
    ring.seal(purpose, &Place { table, row, column }, plain.as_bytes(), &SystemEntropy).expect("sealed")
}

/// What the row of an upstream holds, where it holds it.
fn put(store: &Store, ring: &KeyRing, number: usize, (username, password, session): (bool, bool, bool)) {
    let (name, row) = (upstream(number), upstream(number).to_string());
    let secret = |column| Some(seal(ring, SealPurpose::UpstreamSecret, "upstream_secret", column, &row));
    let secrets = SealedSecrets {
        username: username.then(|| secret("username")).flatten(),
        password: password.then(|| secret("password")).flatten(),
        api_key: secret("api_key"),
        version: 0,
    };
    change(store, |tx| tx.put_upstream_secrets(&name, None, &secrets, NOW));
    if session {
        let sealed = seal(ring, SealPurpose::UpstreamSession, "upstream_session", "sealed", &row);
        let session = SealedSession { sealed, secret_version: 1, signed_in_at: NOW, expires_at: None };
        store.put_upstream_session(&name, None, &session).expect("kept");
    }
}

/// Opens everything with this ring and says how many values there were.
fn open_all(store: &Store, ring: &KeyRing, rows: usize) -> u64 {
    let mut opened = 0;
    let mut open = |purpose, table: &str, column: &str, row: &str, sealed: Option<Vec<u8>>| {
        let Some(sealed) = sealed else { return };
        let plain = ring.open(purpose, &Place { table, row, column }, &sealed).expect("opened");
        assert_eq!(*plain, format!("{table}.{column} of {row}").into_bytes());
        opened += 1;
    };
    for number in 0..rows {
        let (name, row) = (upstream(number), upstream(number).to_string());
        let secrets = store.upstream_secrets(&name, None).expect("read").expect("there");
        open(SealPurpose::UpstreamSecret, "upstream_secret", "username", &row, secrets.username);
        open(SealPurpose::UpstreamSecret, "upstream_secret", "password", &row, secrets.password);
        open(SealPurpose::UpstreamSecret, "upstream_secret", "api_key", &row, secrets.api_key);
        let session = store.upstream_session(&name, None).expect("read").map(|session| session.sealed);
        open(SealPurpose::UpstreamSession, "upstream_session", "sealed", &row, session);
    }
    opened
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 24, ..proptest::prelude::ProptestConfig::default() })]
    #[test]
    fn after_a_rotation_every_value_opens_with_the_new_key_alone(
        rows in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 0..12),
        batch in 1_u32..5,
        interrupted_after in (0_usize..20).prop_map(|steps| steps),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(folder.path());
        let (old, new) = (key(), key());
        let turning = ring(&old);
        for (number, row) in rows.iter().enumerate() {
            put(&store, &turning, number, *row);
        }
        turning.turn_to(&new).expect("turned");
        // As far as it came before a crash.
        let mut done = Resealed::default();
        for column in SEALED.iter().cycle().take(interrupted_after) {
            store.reseal_some(column, &turning, &SystemEntropy, (i64::MIN, batch), &mut done).expect("resealed");
        }
        let before = done.moved;
        let done = store.reseal(&turning, &SystemEntropy, batch).expect("resealed");
        let values = open_all(&store, &ring(&new), rows.len());
        assert_eq!((before + done.moved, done.unreadable), (values, 0));
        let dependants = store.dependants(NOW).expect("read");
        let expected = Dependants { sealed_values: values, ..Dependants::default() };
        assert!(dependants.iter().all(|(key, found)| *key == turning.current_id() && *found == expected));
    }
}

#[test]
fn a_secret_that_is_set_during_a_rotation_is_not_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let turning = ring(&key());
    for number in 0..2 {
        put(&store, &turning, number, (true, true, true));
    }
    turning.turn_to(&key()).expect("turned");
    let mut done = Resealed::default();
    let password = SEALED.get(1).expect("a column");
    let first = store.reseal_some(password, &turning, &SystemEntropy, (i64::MIN, 1), &mut done).expect("resealed");
    let place = Place { table: "upstream_secret", row: "erp-1", column: "password" };
    let newer = turning.seal(SealPurpose::UpstreamSecret, &place, b"newer", &SystemEntropy).expect("sealed");
    let secrets = SealedSecrets { password: Some(newer), ..SealedSecrets::default() };
    change(&store, |tx| tx.put_upstream_secrets(&upstream(1), None, &secrets, NOW));
    let after = first.expect("one was moved");
    store.reseal_some(password, &turning, &SystemEntropy, (after, 1), &mut done).expect("resealed");
    let kept = store.upstream_secrets(&upstream(1), None).expect("read").expect("there");
    assert_eq!(kept.version, 2, "resealing is no change of a secret");
    let opened = turning.open(SealPurpose::UpstreamSecret, &place, &kept.password.expect("set")).expect("opened");
    assert_eq!(opened.as_slice(), b"newer");
}

#[test]
fn a_value_that_no_key_opens_stays_and_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    put(&store, &ring(&key()), 0, (false, false, false));
    let turning = ring(&key());
    put(&store, &turning, 1, (false, false, false));
    turning.turn_to(&key()).expect("turned");
    let done = store.reseal(&turning, &SystemEntropy, 1).expect("resealed");
    assert_eq!(done, Resealed { moved: 1, unreadable: 1 });
    assert_eq!(store.dependants(NOW).expect("read").len(), 2);
}

#[test]
fn every_sealed_column_of_the_schema_is_moved() {
    let schema = format!("{:?}", super::super::schema::MIGRATIONS);
    let sealed = schema.split("\\n").filter(|line| line.contains("-- sealed") || line.contains("sealed BLOB"));
    let names: Vec<_> = sealed
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let at = words
                .iter()
                .position(|word| *word == "BLOB" || *word == "BLOB,")
                .or_else(|| words.iter().position(|word| word.starts_with("BLOB")));
            words[at.expect("a BLOB") - 1].to_owned()
        })
        .collect();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        assert!(SEALED.iter().any(|column| column.column == name), "`{name}` is not moved by a rotation");
    }
}

#[test]
fn hashes_from_before_keys_had_names_are_those_of_the_key_of_the_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let connection = store.connection().expect("a connection");
    connection
        .execute_batch(
            "INSERT INTO portal_user (id, name, role, password_hash, must_change_password, created_at)
             VALUES (zeroblob(16), 'anna', 'admin', '', 1, 0)",
        )
        .expect("inserted");
    let old = key();
    let made_by = store.check_app_key(&ring(&old), &SystemEntropy).expect("a new canary");
    let dependants = store.dependants(NOW).expect("read");
    assert_eq!(dependants.get(&made_by).map(|found| found.user_passwords), Some(1));
    // Told once: what comes later names its own key.
    let rotated = KeyRing::new(&key(), std::slice::from_ref(&old)).expect("derived");
    assert_eq!(store.check_app_key(&rotated, &SystemEntropy).expect("opened"), made_by);
    assert_eq!(store.dependants(NOW).expect("read"), dependants);
}

#[test]
fn a_lost_key_is_abandoned_and_what_only_it_could_open_is_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let lost = ring(&key());
    store.check_app_key(&lost, &SystemEntropy).expect("a new canary");
    put(&store, &lost, 0, (true, true, true));
    let today = ring(&key());
    assert!(matches!(store.check_app_key(&today, &SystemEntropy), Err(StoreError::WrongKey)));
    change(&store, |tx| tx.abandon_lost_key(&today, &SystemEntropy));
    assert_eq!(store.check_app_key(&today, &SystemEntropy).expect("opened"), today.current_id());
    assert!(store.upstream_secrets(&upstream(0), None).expect("read").is_none());
    assert!(store.upstream_session(&upstream(0), None).expect("read").is_none());
    assert!(matches!(store.check_app_key(&lost, &SystemEntropy), Err(StoreError::WrongKey)));
}
