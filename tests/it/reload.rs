//! Policy files change while requests are served.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use erp_access::control::Command;
use erp_access::domain::ManualClock;
use serde_json::Value;

use crate::support::gateway::{Gateway, OPEN, Setup};
use crate::support::http;
use crate::support::process::{self, Serving, succeed};
use crate::support::recorder::Recorder;

const SCHEDULE: &str = "version: 1
default:
  time_zone: UTC
  windows: [{ days: [mon, tue, wed, thu, fri, sat, sun], from: \"00:00\", to: \"24:00\" }]
";

/// One version of all files: endpoint, rule and path at the ERP all carry its name.
fn write_version(folder: &Path, name: &str) {
    std::fs::create_dir_all(folder.join("endpoints")).expect("a folder");
    let endpoints = format!(
        "version: 1\nupstream: erp\nendpoints:\n  - {{ id: orders.{name}, methods: [GET], path: /v1/orders, upstream_path: /{name} }}\n"
    );
    std::fs::write(folder.join("endpoints/erp.yaml"), endpoints).expect("written");
    std::fs::write(folder.join("order-reader.yaml"), policy(name, "all")).expect("written");
    std::fs::write(folder.join("schedule.yaml"), SCHEDULE).expect("written");
}

fn policy(name: &str, description: &str) -> String {
    format!(
        "version: 1\npolicy: order-reader\ndescription: {description}\nrules:\n  - {{ id: rule-{name}, allow: [orders.{name}] }}\n"
    )
}

/// A gateway that watches `policies`, a symlink to the version `one`.
fn watching(erp: &Recorder) -> Gateway {
    let folder = Setup::new(erp.address()).write();
    let at = |path: &str| folder.path().join(path);
    std::fs::remove_dir_all(at("policies")).expect("removed");
    for version in ["one", "two"] {
        write_version(&at(version), version);
    }
    symlink("one", at("policies")).expect("linked");
    let config = std::fs::read_to_string(at("erp-access.yaml")).expect("read");
    std::fs::write(at("erp-access.yaml"), config.replace("watch: false", "watch: true")).expect("written");
    Gateway::start(folder, ManualClock::at(OPEN.parse().expect("a time")))
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} does not come");
}

/// Every row of a relay names a kept policy text, and endpoint and rule in it fit each other.
fn check_rows(gateway: &Gateway, at_least: usize) -> BTreeMap<String, usize> {
    let mut rules = BTreeMap::new();
    let mut texts = BTreeMap::new();
    for row in gateway.audit("relay", at_least) {
        let text = |name: &str| row[name].as_str().unwrap_or_else(|| panic!("no {name}: {row:#}"));
        let version = text("rule").strip_prefix("rule-").expect("a rule").to_owned();
        assert_eq!(text("endpoint"), format!("orders.{version}"), "half of one and half of the other: {row:#}");
        assert!(row["generation"].as_u64().is_some_and(|generation| generation > 0), "{row:#}");
        let kept = texts.entry(text("policy_snapshot").to_owned()).or_insert_with(|| texts_of(gateway, &row));
        assert!(kept.contains(&format!("id: rule-{version}")), "{version} is not in {kept}");
        assert!(kept.contains(&format!("id: orders.{version}")), "{version} is not in {kept}");
        *rules.entry(version).or_default() += 1;
    }
    rules
}

/// The texts that were in force when a row was written, as the store kept them.
fn texts_of(gateway: &Gateway, row: &Value) -> String {
    let hash = row["policy_snapshot"].as_str().expect("a hash");
    let byte = |at: usize| u8::from_str_radix(&hash[at..at + 2], 16).expect("hex");
    let hash: [u8; 32] = std::array::from_fn(|at| byte(2 * at));
    let store = &gateway.control().store;
    let snapshot = store.policy_snapshot(&hash).expect("read").expect("each generation is kept");
    let text = |hash: &[u8; 32]| store.policy_text(hash).expect("read").expect("each text is kept");
    let texts = snapshot.files.iter().map(|(_, hash)| String::from_utf8(text(hash)).expect("a text"));
    texts.collect::<Vec<_>>().join("\n")
}

#[test]
fn no_request_is_dropped_nor_decided_by_a_half_loaded_state_while_files_change() {
    let erp = Recorder::start();
    let gateway = watching(&erp);
    gateway.set_api_key("erp-side-key-1");
    let token = gateway.token(&gateway.issue("acme", &["order-reader"]));
    let bearer = format!("Bearer {token}");
    let stop = AtomicBool::new(false);
    let address = gateway.address;
    let sent: usize = std::thread::scope(|scope| {
        let client = || {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                let response = http::once(address, "GET", "/v1/orders", &[("Authorization", &bearer)], None);
                assert_eq!(response.status, 200, "dropped: {}", response.text());
                sent += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
            sent
        };
        let clients = [scope.spawn(client), scope.spawn(client)];
        let changes = scope.spawn(|| change_everything(&gateway));
        let ended = changes.join();
        stop.store(true, Ordering::Relaxed);
        let sent = clients.map(|client| client.join().expect("every request was served")).iter().sum();
        ended.expect("every change took effect");
        sent
    });
    let rules = check_rows(&gateway, sent);
    assert_eq!(rules.values().sum::<usize>(), sent, "each request has its row");
    let targets = erp.take();
    for version in ["one", "two"] {
        let arrived = targets.iter().filter(|request| request.target == format!("/{version}")).count();
        assert_eq!(rules.get(version).copied(), Some(arrived), "{version}: what was decided is what was sent");
    }
}

fn change_everything(gateway: &Gateway) {
    let at = |path: &str| gateway.folder.path().join(path);
    let current = || gateway.control().policies.current();
    let generation = || current().generation();
    let next = |what: &str, act: &dyn Fn()| {
        let before = generation();
        act();
        wait(what, || generation() > before);
    };
    for version in ["two", "one", "two", "one"] {
        next("a swap of the folder", &|| {
            symlink(version, at("next")).expect("linked");
            std::fs::rename(at("next"), at("policies")).expect("swapped");
        });
    }
    let edit = |description: &str| std::fs::write(at("one/order-reader.yaml"), policy("one", description));
    next("an edit in place", &|| edit("in-place").expect("written"));
    next("an edit by renaming", &|| {
        std::fs::write(at("one/tmp"), policy("one", "renamed")).expect("written");
        std::fs::rename(at("one/tmp"), at("one/order-reader.yaml")).expect("renamed");
    });
    std::fs::write(at("one/order-reader.yaml"), "broken: [").expect("written");
    wait("the problem", || !gateway.control().policies.problems().is_empty());
    next("a repair", &|| edit("mended").expect("written"));
    wait("no problem", || gateway.control().policies.problems().is_empty());
    // A hundred saves a second.
    let (before, mut saves) = (generation(), 0_u32);
    wait("generations in a storm", || {
        saves += 1;
        edit(&format!("save{saves}")).expect("written");
        generation() >= before + 4
    });
    edit("last").expect("written");
    wait("the last save", || {
        let policy = "order-reader".parse().expect("a name");
        current().policy(&policy).and_then(|policy| policy.description().map(str::to_owned)).as_deref() == Some("last")
    });
}

fn status(folder: &Path) -> Value {
    serde_json::from_str(&succeed(folder, &["status", "-o", "json"], "")).expect("JSON")
}

#[test]
fn sighup_reads_the_files_again_and_status_shows_generation_files_and_errors() {
    let erp = Recorder::start();
    let folder = Setup::new(erp.address()).write();
    let file = folder.path().join("policies/order-reader.yaml");
    let serving = Serving::start(folder.path());
    let before = status(folder.path());
    assert_eq!((&before["policy_generation"], &before["policy_problems"]), (&1.into(), &serde_json::json!([])));
    let good = std::fs::read_to_string(&file).expect("read");
    std::fs::write(&file, format!("{good}\n# changed\n")).expect("written");
    serving.signal("HUP");
    wait("the new generation", || status(folder.path())["policy_generation"] == 2);
    let after = status(folder.path());
    let shown = |status: &Value| -> Vec<String> {
        let files = status["policy_files"].as_array().expect("files");
        files.iter().map(|file| file.as_str().expect("a text").to_owned()).collect()
    };
    let differ: Vec<_> = shown(&after).into_iter().filter(|file| !shown(&before).contains(file)).collect();
    assert!(differ.len() == 1 && differ[0].starts_with("order-reader.yaml "), "{differ:?}");
    assert_eq!(shown(&after).len(), 5, "{after}");
    std::fs::write(&file, "version: 1\npolicy: order-reader\nrules: 7\n").expect("written");
    serving.signal("HUP");
    wait("the problem", || !status(folder.path())["policy_problems"].as_array().expect("a list").is_empty());
    let broken = status(folder.path());
    assert_eq!((&broken["policy_generation"], shown(&broken)), (&2.into(), shown(&after)), "the last good version");
    assert!(broken["policy_problems"][0].as_str().expect("a text").contains("order-reader.yaml:3:"), "{broken}");
    let rows = succeed(folder.path(), &["audit", "search", "--kind", "system", "-o", "json"], "");
    let rows: Value = serde_json::from_str(&rows).expect("JSON");
    let reloads: Vec<_> =
        rows.as_array().expect("rows").iter().filter(|row| row["method"] == "policy.reload").collect();
    assert_eq!(reloads.iter().map(|row| &row["decision"]).collect::<Vec<_>>(), ["denied", "allowed"]);
    assert!(serving.terminate(), "{}", process::log(folder.path()));
}

#[test]
fn a_reload_that_nobody_asked_for_leaves_a_row_only_for_news() {
    let erp = Recorder::start();
    let gateway = Setup::new(erp.address()).start();
    let file = gateway.folder.path().join("policies/order-reader.yaml");
    std::fs::write(&file, "version: 1\npolicy: order-reader\nrules: 7\n").expect("written");
    for _ in 0..3 {
        gateway.control().reload(None);
    }
    gateway.operate(Command::PolicyReload).expect_err("broken");
    let rows = gateway.audit("system", 3);
    let reloads: Vec<_> = rows.iter().filter(|row| row["method"] == "policy.reload").map(|row| &row["actor"]).collect();
    assert_eq!(reloads, ["operator:tester", "system"]);
}
