use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;
use crate::domain::{AccountId, Actor, Labels, SystemEntropy};
use crate::secrets::{AppKey, KeyRing};

fn settings(folder: &std::path::Path) -> StoreSettings {
    StoreSettings {
        directory: folder.join("data"),
        synchronous: Synchronous::Normal,
        busy_timeout: Duration::from_millis(200),
        connections: 2,
    }
}

fn store(folder: &std::path::Path) -> Store {
    let settings = settings(folder);
    Store::migrate(&settings).expect("migrated");
    Store::open(&settings).expect("opened")
}

fn change(operation: &'static str) -> Change {
    Change {
        at: Timestamp::UNIX_EPOCH,
        actor: Actor::System,
        operation,
        subject: "x".into(),
        account: None,
        credential: None,
        detail: None,
    }
}

fn account(name: &str) -> Account {
    let id = AccountId::new(Timestamp::UNIX_EPOCH, &SystemEntropy).expect("entropy");
    let name = name.parse().expect("a name");
    Account {
        id,
        name,
        state: AccountState::Active,
        labels: Labels::default(),
        limits: None,
        certificates: Vec::new(),
        contacts: Vec::new(),
        revision: 0,
        created_at: Timestamp::UNIX_EPOCH,
    }
}

fn ring() -> KeyRing {
    KeyRing::new(&AppKey::generate(&SystemEntropy).expect("entropy"), &[]).expect("derived")
}

#[test]
fn changes_are_numbered_without_gaps_and_a_failed_one_takes_no_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let first = store.change(&change("a"), |_| Ok(())).expect("changed").1;
    let failed = store.change(&change("b"), |_| Err::<(), _>(StoreError::Affected("test", 0)));
    assert!(failed.is_err());
    let second = store.change(&change("c"), |_| Ok(())).expect("changed").1;
    assert_eq!((first, second), (Seq(1), Seq(2)));
    let names: Vec<_> = store.changes_after(Seq(0), 10).expect("read").into_iter().map(|row| row.operation).collect();
    assert_eq!(names, ["a", "c"]);
}

#[test]
fn a_change_whose_record_fails_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    store
        .connection()
        .expect("a connection")
        .execute_batch("CREATE TRIGGER broken BEFORE INSERT ON change BEGIN SELECT RAISE(ABORT, 'broken'); END")
        .expect("a trigger");
    let result = store.change(&change("account.create"), |tx| tx.insert_account(&account("acme")));
    assert!(result.is_err());
    assert!(store.accounts().expect("read").is_empty());
}

#[test]
fn another_app_key_does_not_open_the_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let (ours, another) = (ring(), ring());
    store.check_app_key(&ours, &SystemEntropy).expect("written");
    store.check_app_key(&ours, &SystemEntropy).expect("opened");
    let error = store.check_app_key(&another, &SystemEntropy).expect_err("refused");
    assert!(error.to_string().starts_with("the APP_KEY given does not open this database"), "{error}");
}

#[test]
fn a_database_that_waits_for_a_migration_is_refused_with_the_command_to_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = Store::open(&settings(folder.path())).expect_err("refused");
    assert!(error.to_string().contains("erp-access db migrate"), "{error}");
}

#[test]
fn a_database_of_the_version_before_keeps_its_accounts_and_gets_room_for_labels() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("data/erp-access.db");
    std::fs::create_dir_all(folder.path().join("data")).expect("a folder");
    std::fs::set_permissions(folder.path().join("data"), std::fs::Permissions::from_mode(0o700)).expect("a mode");
    let mut connection = rusqlite::Connection::open(&file).expect("opened");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    rusqlite_migration::Migrations::from_slice(schema::MIGRATIONS).to_version(&mut connection, 1).expect("version 1");
    let account = account("acme");
    let sql = "INSERT INTO account (id, name, state, changed_at, created_at) VALUES (?1, 'acme', 'active', 0, 0)";
    connection.execute(sql, [account.id.as_bytes()]).expect("inserted");
    drop(connection);
    let store = store(folder.path());
    assert_eq!(store.accounts().expect("read"), std::slice::from_ref(&account));
    let labels = Labels::default().changed(&["tier=gold".parse().expect("a label")]).expect("few");
    store.change(&change("label"), |tx| tx.put_labels(account.id, &labels)).expect("labelled");
    assert_eq!(store.accounts().expect("read"), [Account { labels, ..account }]);
}

#[test]
fn labels_whose_change_fails_stay_as_they_were() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let labels = |text: &str| Labels::default().changed(&[text.parse().expect("a label")]).expect("few");
    let account = Account { labels: labels("tier=gold"), ..account("acme") };
    store.change(&change("account.create"), |tx| tx.insert_account(&account)).expect("created");
    let failed = store.change(&change("label"), |tx| {
        tx.put_labels(account.id, &labels("tier=silver"))?;
        Err::<(), _>(StoreError::Affected("test", 0))
    });
    assert!(failed.is_err());
    assert_eq!(store.accounts().expect("read"), [account]);
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(store(folder.path()));
    let connection = rusqlite::Connection::open(folder.path().join("data/erp-access.db")).expect("opened");
    connection.pragma_update(None, "user_version", 99).expect("set");
    drop(connection);
    for result in [Store::open(&settings(folder.path())).map(drop), Store::migrate(&settings(folder.path()))] {
        assert!(matches!(result, Err(StoreError::Newer(_))), "{result:?}");
    }
}

#[test]
fn a_second_owner_is_refused_while_the_first_lives() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = StoreLock::take(folder.path()).expect("taken");
    assert!(matches!(StoreLock::take(folder.path()), Err(StoreError::Owned(_))));
    drop(first);
    assert!(StoreLock::take(folder.path()).is_ok());
}

#[test]
fn files_are_for_their_owner_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    store.change(&change("a"), |_| Ok(())).expect("changed");
    let data = folder.path().join("data");
    assert_eq!(std::fs::metadata(&data).expect("there").permissions().mode() & 0o777, 0o700);
    for entry in std::fs::read_dir(&data).expect("read") {
        let path = entry.expect("an entry").path();
        let mode = std::fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
}

#[test]
fn a_revoked_set_stays_revoked_in_the_database_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let account = account("acme");
    let id = crate::domain::CredentialId::new(Timestamp::UNIX_EPOCH, &SystemEntropy).expect("entropy");
    let credential = Credential {
        id,
        account: account.id,
        name: "n".into(),
        kind: CredentialKind::Bounded,
        reason: None,
        purpose: None,
        clients: Vec::new(),
        state: CredentialState::Active,
        expires_at: None,
        password_hash: String::new(),
        api_key_hash: crate::secrets::KeyedHash::from_bytes([1; 32]),
        hash_key: crate::secrets::KeyId::from_bytes([0; 4]),
        limits: None,
        certificates: Vec::new(),
        revision: 0,
        created_at: Timestamp::UNIX_EPOCH,
        rotated_at: None,
        former: None,
        used: std::sync::Arc::default(),
        grants: Vec::new(),
    };
    let at = Timestamp::UNIX_EPOCH;
    let set = |state| store.change(&change("set"), |tx| tx.update_credential_state(id, state, at)).map(drop);
    store
        .change(&change("issue"), |tx| {
            tx.insert_account(&account)?;
            tx.insert_credential(&credential)
        })
        .expect("issued");
    set(CredentialState::Revoked).expect("revoked");
    assert!(set(CredentialState::Active).is_err());
}

#[test]
fn the_first_version_of_the_database_is_brought_up_with_what_is_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path());
    let file = folder.path().join("data/erp-access.db");
    drop(database::create_private(&folder.path().join("data"), &file).expect("created"));
    let mut connection = rusqlite::Connection::open(&file).expect("opened");
    let first = schema::MIGRATIONS.get(..1).expect("a migration");
    rusqlite_migration::Migrations::from_slice(first).to_latest(&mut connection).expect("of the first version");
    connection
        .execute("INSERT INTO kill_switch VALUES ('all', NULL, 'test', 'operator:tester', 0)", [])
        .expect("inserted");
    drop(connection);
    assert!(matches!(Store::open(&settings), Err(StoreError::Pending(_))));
    Store::migrate(&settings).expect("migrated");
    let store = Store::open(&settings).expect("opened");
    assert_eq!(store.kill_switches().expect("read").len(), 1);
    assert!(store.overrides().expect("read").is_empty());
}
