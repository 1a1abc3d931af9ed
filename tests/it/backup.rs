//! Backups are made while everything goes on, and a restore brings nothing back silently.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::http::{self, Connection};
use crate::support::prepared::Prepared;
use crate::support::process::{self, Serving};
use crate::support::recorder::Recorder;

struct Scene {
    prepared: Prepared,
    erp: Recorder,
}

impl Scene {
    fn new() -> Self {
        let erp = Recorder::start();
        let prepared = Prepared::new(erp.address(), "");
        Self { prepared, erp }
    }

    fn folder(&self) -> &Path {
        self.prepared.folder.path()
    }

    fn run(&self, arguments: &[&str]) -> String {
        process::succeed(self.folder(), arguments, "")
    }

    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = process::run(self.folder(), arguments, "");
        let said = [output.stdout, output.stderr].concat();
        assert!(!output.status.success(), "{arguments:?} succeeded");
        (output.status.code().expect("a code"), String::from_utf8_lossy(&said).into_owned())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[arguments, &["-o", "json"]].concat())).expect("JSON")
    }

    /// A backup beside the gateway's files.
    fn back_up(&self, name: &str) -> PathBuf {
        let file = self.folder().join(name);
        self.run(&["db", "backup", text(&file)]);
        file
    }

    fn restore(&self, file: &Path, flags: &[&str]) -> String {
        self.run(&[&["db", "restore", text(file), "--yes"], flags].concat())
    }

    fn set(&self) -> String {
        self.json(&["credential", "list"])[0]["id"].as_str().expect("an id").to_owned()
    }

    fn rows(&self) -> String {
        self.run(&["audit", "search", "--since", "1h", "-o", "json"])
    }

    fn verify(&self) {
        let verified = self.run(&["audit", "verify"]);
        assert!(verified.contains("intact: "), "{verified}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

fn relay(serving: &Serving, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    http::once(serving.address, "GET", "/v1/orders/1", &[("Authorization", &bearer)], None).status
}

/// Every file of the store with what is in it, but for the lock.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder.join("data")).expect("a folder").map(|entry| entry.expect("an entry"));
    let files = entries.filter(|entry| entry.path().is_file());
    let named = files.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    // SQLite's shared memory is no content.
    named
        .filter(|(name, _)| name != "lock" && !name.ends_with("-shm"))
        .map(|(name, path)| (name, std::fs::read(path).expect("read")))
        .collect()
}

#[test]
fn a_backup_is_made_while_everything_goes_on_and_both_databases_show_one_moment() {
    let scene = Scene::new();
    let serving = Serving::start(scene.folder());
    let token = scene.prepared.token(serving.address);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, address, bearer) = (Arc::clone(&stop), serving.address, format!("Bearer {token}"));
            std::thread::spawn(move || {
                let mut connection = Connection::try_open(address).expect("connected");
                let request = http::render("GET", "/v1/orders/1", &[("Authorization", &bearer)], None);
                while !stop.load(Ordering::Relaxed) {
                    connection.send(&request).expect("sent");
                    assert_eq!(connection.response(false).expect("an answer").status, 200);
                }
            })
        })
        .collect();
    let changing = {
        let (stop, folder) = (Arc::clone(&stop), scene.folder().to_owned());
        std::thread::spawn(move || {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                process::succeed(&folder, &["account", "create", &format!("account-{number}")], "");
                number += 1;
            }
        })
    };
    let backups: Vec<PathBuf> = (0..6).map(|number| scene.back_up(&format!("{number}.tar"))).collect();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no request failed");
    }
    changing.join().expect("no change failed");
    assert!(scene.rows().contains("db.backup"));
    assert!(serving.terminate());
    for file in &backups {
        let folder = tempfile::tempdir().expect("a folder");
        let unpacked = std::process::Command::new("tar").args(["xf", text(file), "-C", text(folder.path())]).status();
        assert!(unpacked.expect("tar").success());
        let manifest: Value =
            serde_json::from_slice(&std::fs::read(folder.path().join("manifest.json")).expect("read")).expect("JSON");
        let number = |name: &str, query: &str| -> i64 {
            let database = rusqlite::Connection::open(folder.path().join(name)).expect("opened");
            database.query_row(query, [], |row| row.get(0)).expect("a number")
        };
        let change = number("erp-access.db", "SELECT MAX(seq) FROM change");
        assert_eq!(manifest["change"], change);
        let rows = number("audit.db", "SELECT MAX(change) FROM decision");
        assert!(rows <= change, "the trail tells of change {rows}, and state ends with {change}");
        assert!(change - rows <= 1, "at most the change in progress has no row: {rows} of {change}");
        assert_eq!(manifest["audit_sequence"], number("audit.db", "SELECT MAX(last) FROM seal"));
        // Each can be restored.
        let said = scene.restore(file, &["--keep-revocations", "--dry-run"]);
        assert!(said.contains("verified: "), "{said}");
    }
    let accounts = scene.json(&["account", "list"]).as_array().expect("a list").len();
    scene.restore(&backups[0], &[]);
    assert!(scene.json(&["account", "list"]).as_array().expect("a list").len() < accounts);
    scene.verify();
    let serving = Serving::start(scene.folder());
    assert_eq!(relay(&serving, &token), 401, "a restore ends all tokens");
    assert_eq!(relay(&serving, &scene.prepared.token(serving.address)), 200);
    assert!(scene.erp.take().len() > 4);
}

/// Takes away what can be taken away, and gives the set that is left.
fn take_away(scene: &Scene) -> String {
    let set = scene.set();
    scene.run(&["account", "create", "globex"]);
    scene.run(&["credential", "disable", &set]);
    scene.run(&["grant", "remove", &set, "order-reader"]);
    scene.run(&["account", "suspend", "acme", "--reason", "late payment"]);
    scene.run(&["kill", "engage", "--scope", "upstream:erp", "--reason", "inventory", "--yes"]);
    scene.run(&["user", "disable", "bert"]);
    set
}

fn with_users(scene: &Scene) {
    for (name, role) in [("anna", "admin"), ("bert", "admin")] {
        scene.run(&["user", "create", name, "--role", role]);
    }
}

const TAKEN: [&str; 5] =
    ["was disabled (", "`order-reader` was taken", "late payment", "`upstream:erp` was engaged", "`bert`"];

#[test]
fn what_was_taken_away_since_is_listed_and_must_be_answered_and_is_taken_away_again() {
    let scene = Scene::new();
    with_users(&scene);
    let file = scene.back_up("backup.tar");
    let set = take_away(&scene);
    let before = contents(scene.folder());
    let (code, said) = scene.fails(&["db", "restore", text(&file), "--yes"]);
    assert!(code == 2 && said.contains("--keep-revocations"), "{code}: {said}");
    for part in TAKEN {
        assert!(said.contains(part), "`{part}` is not listed: {said}");
    }
    assert!(said.contains("1 × account.create"), "{said}");
    assert_eq!(contents(scene.folder()), before, "nothing is touched before it is answered");
    scene.restore(&file, &["--keep-revocations"]);
    let shown = scene.json(&["credential", "show", &set]);
    assert_eq!(shown["state"], "disabled");
    assert_eq!(shown["grants"].as_array().map(Vec::len), Some(0), "{shown}");
    assert_eq!(scene.json(&["account", "show", "acme"])["state"], "suspended");
    let (code, said) = scene.fails(&["kill", "status"]);
    assert!(code == 3 && said.contains("upstream:erp"), "{said}");
    assert_eq!(scene.json(&["user", "show", "bert"])["state"], "disabled");
    assert_eq!(scene.fails(&["account", "show", "globex"]).0, 4, "what was made since is gone");
    scene.verify();
    let rows = scene.rows();
    assert!(rows.contains("db.restore") && rows.contains("account.suspend"), "{rows}");
    // Changes go on with numbers that nothing had before.
    scene.run(&["account", "create", "initech"]);
    assert!(scene.rows().contains("initech"), "a change after the restore has its row");
}

#[test]
fn discarded_revocations_come_back_and_a_row_names_them() {
    let scene = Scene::new();
    with_users(&scene);
    let file = scene.back_up("backup.tar");
    let set = take_away(&scene);
    scene.restore(&file, &["--discard-revocations"]);
    assert_eq!(scene.json(&["credential", "show", &set])["state"], "active");
    assert_eq!(scene.json(&["account", "show", "acme"])["state"], "active");
    let row = scene.json(&["audit", "search", "--since", "1h", "--text", "db.restore"]).to_string();
    let rows = if row.contains("late payment") { row } else { scene.rows() };
    let start = rows.find("db.restore").expect("a row");
    assert!(rows[start.saturating_sub(4000)..].contains("discarded"), "{rows}");
    scene.verify();
}

#[test]
fn without_the_state_the_audit_trail_tells_what_was_taken_away() {
    let scene = Scene::new();
    with_users(&scene);
    let file = scene.back_up("backup.tar");
    let set = take_away(&scene);
    for name in ["erp-access.db", "erp-access.db-wal", "erp-access.db-shm"] {
        let _ = std::fs::remove_file(scene.folder().join("data").join(name));
    }
    let said = scene.restore(&file, &["--keep-revocations"]);
    for part in TAKEN {
        assert!(said.contains(part), "`{part}` is not listed: {said}");
    }
    assert_eq!(scene.json(&["credential", "show", &set])["state"], "disabled");
    scene.verify();
    scene.run(&["account", "create", "initech"]);
    assert!(scene.rows().contains("initech"), "a change after the restore has its row");
}

#[test]
fn on_a_new_machine_nothing_is_known_and_that_must_be_accepted() {
    let scene = Scene::new();
    let file = scene.back_up("backup.tar");
    std::fs::remove_dir_all(scene.folder().join("data")).expect("removed");
    let (code, said) = scene.fails(&["db", "restore", text(&file), "--keep-revocations", "--yes"]);
    assert!(code == 2 && said.contains("nothing here tells what to keep"), "{said}");
    scene.restore(&file, &["--discard-revocations"]);
    scene.verify();
    let serving = Serving::start(scene.folder());
    assert_eq!(relay(&serving, &scene.prepared.token(serving.address)), 200);
}

#[test]
fn new_secrets_that_the_backup_does_not_have_leave_the_set_disabled() {
    let scene = Scene::new();
    let set = scene.set();
    let file = scene.back_up("backup.tar");
    let secrets = scene.folder().join("new.json");
    scene.run(&["credential", "rotate", &set, "--overlap", "0", "--secrets-file", text(&secrets)]);
    let said = scene.restore(&file, &["--keep-revocations"]);
    assert!(said.contains("got other secrets"), "{said}");
    assert_eq!(scene.json(&["credential", "show", &set])["state"], "disabled");
}

#[test]
fn a_backup_that_is_not_whole_or_not_ours_changes_nothing() {
    let scene = Scene::new();
    let file = scene.back_up("backup.tar");
    let good = std::fs::read(&file).expect("read");
    let bad = scene.folder().join("bad.tar");
    let before = contents(scene.folder());
    let refused = |bytes: &[u8], part: &str| {
        std::fs::write(&bad, bytes).expect("written");
        let (code, said) = scene.fails(&["db", "restore", text(&bad), "--keep-revocations", "--yes"]);
        assert!(code == 7 && said.contains(part), "{part}: {code}: {said}");
        assert_eq!(contents(scene.folder()), before, "{part}");
    };
    refused(b"not a backup", "not a whole backup");
    for part in 1..8 {
        let cut = good.len() * part / 8;
        refused(&good[..cut], "");
    }
    for at in [700, 2000, good.len() / 3, good.len() / 2, good.len() - 20_000] {
        let mut changed = good.clone();
        changed[at] ^= 1;
        // A flip in the padding of the archive is no change of anything.
        std::fs::write(&bad, &changed).expect("written");
        let output =
            process::run(scene.folder(), &["db", "restore", text(&bad), "--keep-revocations", "--dry-run"], "");
        if output.status.success() {
            assert_eq!(unpack(&file), unpack(&bad), "a changed backup was taken for a good one (byte {at})");
        } else {
            refused(&changed, "");
        }
    }
    let newer = replace(&good, b"\"format\": 1,", b"\"format\": 7,");
    refused(&newer, "format 7");
    // Another gateway's backup.
    let other = Scene::new();
    other.run(&["key", "rotate", "--yes"]);
    let foreign = other.back_up("backup.tar");
    refused(&std::fs::read(foreign).expect("read"), "not in the key ring");
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("it is there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

fn unpack(file: &Path) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder");
    let done = std::process::Command::new("tar").args(["xf", text(file), "-C", text(folder.path())]).status();
    assert!(done.expect("tar").success());
    ["manifest.json", "erp-access.db", "audit.db"]
        .map(|name| std::fs::read(folder.path().join(name)).expect("read"))
        .into()
}

#[test]
fn an_encrypted_backup_opens_with_its_key_only() {
    let scene = Scene::new();
    let (key, other) = (scene.folder().join("backup.key"), scene.folder().join("other.key"));
    let public = scene.run(&["db", "backup-key", text(&key)]);
    scene.run(&["db", "backup-key", text(&other)]);
    let named = scene.folder().join("backup.pub");
    std::fs::write(&named, &public).expect("written");
    let file = scene.folder().join("backup.tar.age");
    scene.run(&["db", "backup", text(&file), "--encrypt-to", text(&named)]);
    let sealed = std::fs::read(&file).expect("read");
    assert!(memchr::memmem::find(&sealed, b"SQLite format 3").is_none(), "it is not encrypted");
    let restore = ["db", "restore", text(&file), "--keep-revocations", "--yes"];
    let with = |key| [&restore[..], &["--decrypt-with", text(key)]].concat();
    let (code, said) = scene.fails(&restore);
    assert!(code == 7 && said.contains("--decrypt-with"), "{said}");
    let (code, said) = scene.fails(&with(&other));
    assert!(code == 7 && said.contains("does not open the backup"), "{said}");
    // Cut or changed, its own authentication says so.
    let bad = scene.folder().join("bad.tar.age");
    std::fs::write(&bad, &sealed[..sealed.len() - 100]).expect("written");
    let cut = ["db", "restore", text(&bad), "--decrypt-with", text(&key), "--keep-revocations", "--yes"];
    assert_eq!(scene.fails(&cut).0, 7);
    let (code, said) = scene.fails(&["db", "backup", "--encrypt-to", "age1nonsense"]);
    assert!(code == 7 && said.contains("backup-key"), "{said}");
    scene.run(&with(&key));
    scene.verify();
}

#[test]
fn a_restore_does_not_begin_beside_a_gateway_and_never_overwrites_a_backup() {
    let scene = Scene::new();
    let file = scene.back_up("backup.tar");
    let (code, said) = scene.fails(&["db", "backup", text(&file)]);
    assert!(code == 5 && said.contains("exists already"), "{said}");
    let serving = Serving::start(scene.folder());
    let (code, said) = scene.fails(&["db", "restore", text(&file), "--keep-revocations", "--yes"]);
    assert!(code == 5 && said.contains("stop it first"), "{said}");
    let left = scene.json(&["db", "backup"]);
    let kept = Path::new(left["file"].as_str().expect("a file"));
    assert!(kept.starts_with(scene.folder().join("data/backups")) && kept.exists());
    assert!(serving.terminate());
}

#[test]
fn another_history_is_not_replaced_without_being_asked_for() {
    let scene = Scene::new();
    let file = scene.back_up("backup.tar");
    // Somebody began anew, with the same key.
    std::fs::remove_dir_all(scene.folder().join("data")).expect("removed");
    scene.run(&["db", "migrate"]);
    scene.run(&["account", "create", "stranger"]);
    let (code, said) = scene.fails(&["db", "restore", text(&file), "--discard-revocations", "--yes"]);
    assert!(code == 5 && said.contains("--with-audit"), "{said}");
    let said = scene.restore(&file, &["--discard-revocations", "--with-audit"]);
    assert!(said.contains("nothing here tells"), "{said}");
    scene.verify();
    let aside = contents(scene.folder());
    assert!(aside.keys().any(|name| name.starts_with("audit.db.before-restore-")), "{:?}", aside.keys());
    assert_eq!(scene.fails(&["account", "show", "stranger"]).0, 4);
}

/// Kills the restore at moments that a seeded generator chooses: what is there is the old state or the new one, whole.
#[test]
fn killed_while_it_restores_there_is_the_old_state_or_the_new_one() {
    let seed = 0xba_c0_u64;
    let mut random = seed;
    let scene = Scene::new();
    let file = scene.back_up("backup.tar");
    let (mut old, mut new) = (0, 0);
    for round in 0..24 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let marker = format!("since-{round}");
        scene.run(&["account", "create", &marker]);
        let mut restoring = start(scene.folder(), &["db", "restore", text(&file), "--keep-revocations", "--yes"]);
        std::thread::sleep(Duration::from_micros((random >> 33) % 70_000));
        let _ = restoring.kill();
        let _ = restoring.wait();
        let names = scene.json(&["account", "list"]).to_string();
        assert!(names.contains("acme"), "seed {seed}, round {round}: {names}");
        if names.contains(&marker) { old += 1 } else { new += 1 }
    }
    scene.verify();
    eprintln!("{old} times the old state, {new} times the new one");
    assert!(old > 0, "no restore was interrupted");
    scene.restore(&file, &["--keep-revocations"]);
    let serving = Serving::start(scene.folder());
    assert_eq!(relay(&serving, &scene.prepared.token(serving.address)), 200);
    scene.verify();
}

fn start(folder: &Path, arguments: &[&str]) -> Child {
    process::program()
        .arg("--config")
        .arg(folder.join("erp-access.yaml"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}
