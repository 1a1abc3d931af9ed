//! The worst luck: killed in the middle, a disk that is full, a database that is held by another.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::http::{self, Connection};
use crate::support::prepared::Prepared;
use crate::support::process::{self, Serving};
use crate::support::recorder::Recorder;

/// Sends numbered requests from several clients until the gateway is gone or `most` were answered.
fn bombard(address: SocketAddr, token: &str, round: usize, most: usize, answered: &Arc<AtomicUsize>) {
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (token, answered) = (token.to_owned(), Arc::clone(answered));
            std::thread::spawn(move || {
                let Ok(mut connection) = Connection::try_open(address) else { return };
                for number in 0..most {
                    let target = format!("/v1/orders/{round}-{client}-{number}");
                    let bearer = format!("Bearer {token}");
                    if connection.send(&http::render("GET", &target, &[("Authorization", &bearer)], None)).is_err() {
                        return;
                    }
                    if connection.response(false).is_none_or(|response| response.status != 200) {
                        return;
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("a client");
    }
}

#[test]
fn killed_in_the_middle_of_a_thousand_relays_every_request_that_reached_the_erp_has_its_row() {
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "");
    for round in 0..3 {
        let serving = Serving::start(prepared.folder.path());
        let token = prepared.token(serving.address);
        let answered = Arc::new(AtomicUsize::new(0));
        let (address, counted) = (serving.address, Arc::clone(&answered));
        let clients = std::thread::spawn(move || bombard(address, &token, round, 250, &counted));
        while answered.load(Ordering::Relaxed) < 1000 && !clients.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        serving.kill();
        clients.join().expect("the clients");
        let reached: Vec<String> = erp.take().into_iter().map(|request| request.target).collect();
        assert!(reached.len() >= 1000, "{} requests reached the ERP", reached.len());
        let database = prepared.audit();
        let recorded = decided_paths(&database);
        let missing: Vec<_> = reached
            .iter()
            .map(|target| target.replace("/api/", "/v1/"))
            .filter(|path| !recorded.contains(path))
            .collect();
        assert!(missing.is_empty(), "{} requests reached the ERP without a row: {missing:?}", missing.len());
        let whole: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
        assert_eq!(whole, "ok");
    }
    let serving = Serving::start(prepared.folder.path());
    let open: i64 = prepared
        .audit()
        .query_row(
            "SELECT COUNT(*) FROM decision LEFT JOIN outcome ON outcome.decision_seq = decision.seq
              WHERE kind = 'relay' AND decision = 'allowed' AND outcome.seq IS NULL",
            [],
            |row| row.get(0),
        )
        .expect("a count");
    assert_eq!(open, 0, "rows that a killed process left open are closed at the next start");
    let verified = process::succeed(prepared.folder.path(), &["audit", "verify"], "");
    assert!(verified.contains("intact: "), "{verified}");
    assert!(serving.terminate());
}

/// Kills the process at moments that a seeded generator chooses: while it starts, while rows are queued, while it commits.
#[test]
fn killed_two_hundred_times_it_loses_no_row_and_the_chain_holds() {
    const ROUNDS: usize = 200;
    let seed = 0x5eed_u64;
    let mut random = seed;
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "");
    let serving = Serving::start(prepared.folder.path());
    let token = prepared.token(serving.address);
    serving.kill();
    let mut reached = HashSet::new();
    for round in 0..ROUNDS {
        // Knuth's linear congruential generator; the upper bits are good enough here.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = Duration::from_micros((random >> 33) % 40_000);
        let serving = Serving::start(prepared.folder.path());
        let (address, token) = (serving.address, token.clone());
        let answered = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&answered);
        let clients = std::thread::spawn(move || bombard(address, &token, round, 400, &counted));
        // Every fourth is killed while it starts.
        while round % 4 != 0 && answered.load(Ordering::Relaxed) == 0 && !clients.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(moment);
        serving.kill();
        clients.join().expect("the clients");
        reached.extend(erp.take().into_iter().map(|request| request.target.replace("/api/", "/v1/")));
    }
    let database = prepared.audit();
    let recorded = decided_paths(&database);
    let missing: Vec<_> = reached.difference(&recorded).collect();
    assert!(
        missing.is_empty(),
        "seed {seed}: {} of {} requests have no row: {missing:?}",
        missing.len(),
        reached.len()
    );
    assert!(reached.len() > ROUNDS, "{} requests reached the ERP", reached.len());
    let verified = process::succeed(prepared.folder.path(), &["audit", "verify"], "");
    assert!(verified.contains("intact: "), "seed {seed}: {verified}");
}

fn decided_paths(database: &rusqlite::Connection) -> HashSet<String> {
    let mut statement =
        database.prepare("SELECT path FROM decision WHERE kind = 'relay' AND decision = 'allowed'").expect("a query");
    let paths = statement.query_map([], |row| row.get(0)).expect("rows");
    paths.collect::<Result<_, _>>().expect("paths")
}

/// Nothing passes while `broken` holds, and everything passes again when it ends.
fn denied_while(broken: impl FnOnce(&Prepared) -> Box<dyn FnOnce(&Prepared)>) {
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "");
    let serving = Serving::start(prepared.folder.path());
    let token = prepared.token(serving.address);
    let get =
        || http::once(serving.address, "GET", "/v1/orders/1", &[("Authorization", &format!("Bearer {token}"))], None);
    assert_eq!(get().status, 200);
    erp.take();
    let mend = broken(&prepared);
    for _ in 0..5 {
        let response = get();
        assert_eq!((response.status, response.code().as_str()), (503, "audit_unavailable"));
        assert_eq!(response.header("x-erp-access-cause"), Some("outage"));
    }
    let headers = [("Authorization", prepared.basic.as_str()), ("x-api-key", prepared.api_key.as_str())];
    assert_eq!(
        http::once(serving.address, "POST", "/oauth/token", &headers, Some(b"")).status,
        503,
        "no token without its row"
    );
    assert_eq!(erp.count(), 0, "nothing reaches the ERP");
    mend(&prepared);
    let recovered = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        get().status == 200
    });
    assert!(recovered, "it recovers by itself\n{}", process::log(prepared.folder.path()));
    assert!(serving.terminate());
}

#[test]
fn a_database_that_cannot_be_written_denies_until_it_can() {
    denied_while(|prepared| {
        let broken = "CREATE TRIGGER full BEFORE INSERT ON decision BEGIN SELECT RAISE(ABORT, 'disk full'); END";
        prepared.audit().execute_batch(broken).expect("broken");
        Box::new(|prepared| prepared.audit().execute_batch("DROP TRIGGER full").expect("mended"))
    });
}

#[test]
fn a_database_held_by_a_foreign_writer_denies_until_it_is_free() {
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "");
    // A short wait for the lock, so that the test does not wait long.
    let config = std::fs::read_to_string(prepared.folder.path().join("erp-access.yaml")).expect("read");
    let config = config.replace("  directory: data\n", "  directory: data\n  busy_timeout: 100ms\n");
    std::fs::write(prepared.folder.path().join("erp-access.yaml"), config).expect("written");
    let serving = Serving::start(prepared.folder.path());
    let token = prepared.token(serving.address);
    let get =
        || http::once(serving.address, "GET", "/v1/orders/1", &[("Authorization", &format!("Bearer {token}"))], None);
    let foreign = prepared.audit();
    foreign.execute_batch("BEGIN IMMEDIATE").expect("held");
    let response = get();
    assert_eq!((response.status, response.code().as_str()), (503, "audit_unavailable"));
    foreign.execute_batch("ROLLBACK").expect("freed");
    let recovered = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        get().status == 200
    });
    assert!(recovered);
    assert!(serving.terminate());
}

/// A real full disk: a small file system in memory. Needs the right to mount.
#[test]
fn a_full_disk_denies_until_there_is_room() {
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "");
    let data = prepared.folder.path().join("data");
    let Some(mounted) = Mounted::over(&data) else {
        eprintln!("SKIPPED: a file system cannot be mounted here, so the disk cannot be filled");
        return;
    };
    let serving = Serving::start(prepared.folder.path());
    let token = prepared.token(serving.address);
    let get =
        || http::once(serving.address, "GET", "/v1/orders/1", &[("Authorization", &format!("Bearer {token}"))], None);
    assert_eq!(get().status, 200);
    let ballast = data.join("ballast");
    fill(&ballast);
    let denied = (0..2000).find(|_| get().status == 503);
    assert!(denied.is_some(), "the disk is full");
    erp.take();
    let response = get();
    assert_eq!((response.status, response.code().as_str()), (503, "audit_unavailable"));
    assert_eq!(erp.count(), 0);
    std::fs::remove_file(&ballast).expect("room again");
    let recovered = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        get().status == 200
    });
    assert!(recovered, "{}", process::log(prepared.folder.path()));
    assert!(serving.terminate());
    drop(mounted);
}

/// A disk that is too small. Needs the right to mount.
#[test]
fn without_room_no_backup_is_left_and_no_restore_begins() {
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "");
    let folder = prepared.folder.path();
    let backup = folder.join("backup.tar");
    let backup = backup.to_str().expect("a path");
    process::succeed(folder, &["db", "backup", backup], "");
    std::fs::remove_dir_all(folder.join("data/backups")).expect("removed");
    let data = folder.join("data");
    let Some(mounted) = Mounted::over(&data) else {
        eprintln!("SKIPPED: a file system cannot be mounted here, so there is no disk without room");
        return;
    };
    let refused = process::run(folder, &["db", "backup"], "");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("are free in"), "{said}");
    assert_eq!(std::fs::read_dir(data.join("backups")).expect("a folder").count(), 0, "something is left");
    process::succeed(folder, &["account", "create", "globex"], "");
    fill(&data.join("ballast"));
    let restore = ["db", "restore", backup, "--keep-revocations", "--yes"];
    let refused = process::run(folder, &restore, "");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("o space left"), "{said}");
    std::fs::remove_file(data.join("ballast")).expect("room again");
    process::succeed(folder, &["account", "show", "globex"], "");
    process::succeed(folder, &restore, "");
    assert!(!process::run(folder, &["account", "show", "globex"], "").status.success(), "the backup is in place");
    drop(mounted);
}

/// A file system that the system has made read-only, as it does after an error. Needs the right to mount.
#[test]
fn a_read_only_file_system_is_refused_at_the_start_with_a_clear_error() {
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "");
    let folder = prepared.folder.path();
    let data = folder.join("data");
    let Some(mounted) = Mounted::over(&data) else {
        eprintln!("SKIPPED: a file system cannot be mounted here, so it cannot be made read-only");
        return;
    };
    mounted.remount("ro");
    let refused = process::run(folder, &["serve"], "");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("data") && said.contains("ead-only"), "{said}");
    mounted.remount("rw");
    let serving = Serving::start(folder);
    let token = prepared.token(serving.address);
    let bearer = format!("Bearer {token}");
    assert_eq!(http::once(serving.address, "GET", "/v1/orders/1", &[("Authorization", &bearer)], None).status, 200);
    assert!(serving.terminate());
    drop(mounted);
}

fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).expect("created");
    for size in [64 * 1024, 4096, 512] {
        let block = vec![0_u8; size];
        while file.write_all(&block).is_ok() {}
    }
}

/// A file system of 8 MiB over a folder, with what was in the folder.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn over(folder: &'a Path) -> Option<Self> {
        let files: Vec<_> = std::fs::read_dir(folder)
            .expect("the folder")
            .map(|entry| entry.expect("an entry").path())
            .map(|path| (path.clone(), std::fs::read(&path).expect("a file")))
            .collect();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs"])
            .arg(folder)
            .stderr(std::process::Stdio::null())
            .status();
        if !mount.is_ok_and(|status| status.success()) {
            return None;
        }
        for (path, bytes) in files {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::write(&path, bytes).expect("copied");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        }
        Some(Self(folder))
    }

    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        let status = std::process::Command::new("mount").args(["-o", &options]).arg(self.0).status();
        assert!(status.is_ok_and(|status| status.success()), "remounted");
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}
