//! How long it takes to decide a long trail again under a proposed folder, with the program as operators run it: on the
//! store, and through a running gateway.
//!
//! Builds its own data. `cargo bench --bench replay` takes a million rows; `cargo test` runs the same on a few thousand.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench that cannot go on must fail, prints what it found, and measures time"
)]

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use erp_access::app::Core;
use erp_access::config::Config;
use erp_access::control::{Bounds, Caller, Command as Operation, NewSet};
use erp_access::domain::Actor;
use serde_json::Value;

/// Endpoints of the catalogue.
const ENDPOINTS: usize = 2000;
/// Endpoints about which a rule has a condition: each tenth request is decided with one.
const CONDITIONED: usize = 200;
/// Credential sets.
const SETS: usize = 20;
/// The time of the first row, in microseconds.
const FIRST: i64 = 1_764_000_000_000_000;

fn main() {
    let whole = std::env::args().any(|argument| argument == "--bench");
    let rows = std::env::var("ERP_ACCESS_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    let rows: u64 = if whole { rows.unwrap_or(1_000_000) } else { 5_000 };
    let folder = tempfile::tempdir().expect("a folder");
    let nobody = "127.0.0.1:9".parse().expect("an address");
    let config = common::files(folder.path(), nobody, ENDPOINTS, "");
    policies(&folder.path().join("policies"), &(0..ENDPOINTS).collect::<Vec<_>>());
    // The last hundredth of the endpoints is no longer allowed.
    copy(&folder.path().join("policies"), &folder.path().join("proposed"));
    policies(&folder.path().join("proposed"), &(0..ENDPOINTS - ENDPOINTS / 100).collect::<Vec<_>>());
    build(folder.path(), &config, rows);
    let asked = folder.path().join("proposed");
    measure("on the store", folder.path(), &asked, rows);
    let gateway = serve(folder.path());
    measure("through a gateway", folder.path(), &asked, rows);
    drop(gateway);
}

fn policies(folder: &Path, allowed: &[usize]) {
    let ids: Vec<String> = allowed.iter().map(|number| format!("e{number}")).collect();
    let asked: Vec<String> = (0..CONDITIONED).map(|number| format!("e{number}")).collect();
    let text = format!(
        "version: 1\npolicy: all\nrules:\n  - {{ id: all, allow: [{}] }}\n  - {{ id: no-archive, deny: [{}], when: 'request.query[\"archived\"] == \"true\"' }}\n",
        ids.join(", "),
        asked.join(", ")
    );
    let hours = "version: 1\ndefault:\n  time_zone: Asia/Karachi\n  windows: [{ days: [mon, tue, wed, thu, fri, sat, sun], from: \"00:00\", to: \"24:00\" }]\n";
    std::fs::write(folder.join("all.yaml"), text).expect("written");
    std::fs::write(folder.join("schedule.yaml"), hours).expect("written");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copied");
        }
    }
}

/// Credential sets and a trail: of 20 requests 18 were allowed, one led to no endpoint, one reached a limit.
fn build(folder: &Path, config: &Config, rows: u64) {
    let started = Instant::now();
    let world = common::world();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let core = Core::open(config, &world).expect("opened");
    let control = Arc::clone(&core.control);
    let run = |operation| {
        runtime.block_on(control.run(Caller::admin(Actor::Operator("bench".into())), operation)).expect("done")
    };
    let account: erp_access::domain::AccountName = "acme".parse().expect("a name");
    run(Operation::AccountCreate { name: account.clone(), labels: Vec::new() });
    let sets: Vec<[u8; 16]> = (0..SETS)
        .map(|number| {
            let grants = vec!["all".parse().expect("a name")];
            let (name, kind) = (format!("set {number}"), Bounds::Bounded);
            let account = account.clone();
            let issued =
                run(Operation::CredentialIssue(Box::new(NewSet { kind, ..NewSet::bounded(account, name, grants) })));
            let id: erp_access::domain::CredentialId =
                issued.get("client_id").and_then(Value::as_str).expect("an id").parse().expect("an id");
            *id.as_bytes()
        })
        .collect();
    let snapshot = *control.policies.current().hash().as_bytes();
    control.auditor.stop();
    drop((control, core));
    fill(&folder.join("data/audit.db"), rows, &sets, &snapshot);
    // What an operator finds: a trail that is indexed.
    let core = Core::open(config, &world).expect("opened");
    while core.control.auditor.index_lag().expect("read") > 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("{rows} rows built and indexed in {:.0?}", started.elapsed());
}

fn fill(file: &Path, rows: u64, sets: &[[u8; 16]], snapshot: &[u8; 32]) {
    const VERDICTS: &str = r#"[["request","allowed","one meaning"],["kill_switch","allowed","not engaged"],["authentication","allowed","set `set 1` of account `acme`"],["endpoint","allowed","`e1`"],["policy","allowed","allowed by all/all"],["schedule","allowed","`default` is open"],["scoped_kill_switch","allowed","not engaged"]]"#;
    const LIMITED: &str = r#"[["request","allowed","one meaning"],["policy","allowed","allowed by all/all"],["schedule","allowed","`default` is open"],["limits","denied","policy `all` allows 600 requests per 60s"]]"#;
    const UNMAPPED: &str =
        r#"[["request","allowed","one meaning"],["endpoint","denied","no endpoint has this method and path"]]"#;
    let mut database = rusqlite::Connection::open(file).expect("opened");
    let transaction = database.transaction().expect("begun");
    let first: i64 = transaction
        .query_row(
            "SELECT MAX(COALESCE((SELECT MAX(seq) FROM decision), 0), COALESCE((SELECT MAX(seq) FROM outcome), 0))",
            [],
            |row| row.get(0),
        )
        .expect("read");
    let mut insert = transaction
        .prepare(
            "INSERT INTO decision (seq, id, kind, at, actor, credential, client, method, path, query, endpoint, policy,
                 rule, policy_snapshot, generation, decision, code, verdicts, node, repeats, schedule, kill_switch, mac)
             VALUES (?1, ?2, 'relay', ?3, 'credential:x', ?4, '192.0.2.7', 'GET', ?5, ?6, ?7, ?8, ?9, ?10, 1, ?11, ?12,
                 ?13, 'bench', 1, 'open', 'none', zeroblob(16))",
        )
        .expect("prepared");
    for number in 0..rows {
        let place = usize::try_from(number).expect("small");
        let seq = first + 1 + i64::try_from(number).expect("small");
        let at = FIRST + i64::try_from(number).expect("small") * 500_000;
        let id = (u128::from(number) + 1).to_be_bytes();
        let endpoint = place.wrapping_mul(7919) % ENDPOINTS;
        let path = format!("/v1/things{endpoint}/{number}");
        let query = (number % 3 == 0).then(|| format!("archived=false&page={number}"));
        let set = sets.get(place % sets.len()).expect("a set");
        let named = Some(format!("e{endpoint}"));
        let (path, named, rule, decision, code, verdicts) = match number % 20 {
            18 => (path, named, Some("all"), "denied", Some("rate_limited"), LIMITED),
            19 => (format!("/nowhere/{number}"), None, None, "denied", Some("not_permitted"), UNMAPPED),
            _ => (path, named, Some("all"), "allowed", None, VERDICTS),
        };
        let row =
            rusqlite::params![seq, id, at, set, path, query, named, rule, rule, snapshot, decision, code, verdicts];
        insert.execute(row).expect("inserted");
    }
    drop(insert);
    let last = first + i64::try_from(rows).expect("small");
    transaction
        .execute("INSERT INTO seal SELECT ?1, ?2, 0, zeroblob(4), zeroblob(32), zeroblob(32)", [last, first + 1])
        .expect("sealed");
    transaction.commit().expect("committed");
}

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_erp-access"));
    command.arg("--config").arg(folder.join("erp-access.yaml")).stdin(Stdio::null());
    command
}

fn measure(how: &str, folder: &Path, proposed: &Path, rows: u64) {
    let started = Instant::now();
    let mut child = program(folder)
        .args(["-o", "json", "policy", "replay", "--since", "2025-01-01T00:00:00Z"])
        .arg(proposed)
        .stdout(Stdio::from(std::fs::File::create(folder.join("report")).expect("a file")))
        .spawn()
        .expect("started");
    let mut peak = 0;
    let status = loop {
        peak = peak.max(most_memory(child.id()));
        match child.try_wait().expect("watched") {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let took = started.elapsed();
    assert_eq!(status.code(), Some(1), "some decisions would change");
    let report: Value = serde_json::from_slice(&std::fs::read(folder.join("report")).expect("read")).expect("JSON");
    let count = |key: &str| report.get(key).and_then(Value::as_u64).unwrap_or_default();
    assert_eq!(count("requests"), rows, "{report:#}");
    let limited = report.pointer("/out_of_scope/limits").and_then(Value::as_u64).unwrap_or_default();
    assert_eq!(count("same") + count("changed") + limited, rows, "{report:#}");
    assert!(count("changed") > 0, "{report:#}");
    println!(
        "{rows} rows decided again {how} in {took:.2?}: {} would change; the command took at most {} MiB",
        count("changed"),
        peak >> 10
    );
}

/// The most memory that a process has had, in KiB; 0 when it is over.
fn most_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// Ends it when dropped.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(folder: &Path) -> Serving {
    let log = std::fs::File::create(folder.join("log")).expect("a file");
    let child = program(folder).arg("serve").stdout(Stdio::null()).stderr(log).spawn().expect("started");
    let serving = Serving(child);
    for _ in 0..3000 {
        if std::os::unix::net::UnixStream::connect(folder.join("admin.sock")).is_ok() {
            return serving;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no gateway: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
}
