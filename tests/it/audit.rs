//! The audit trail as an operator sees it: evidence, retention, exports.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::support::http;
use crate::support::prepared::{ERP_KEY, Prepared};
use crate::support::process::{self, Serving, run, succeed};
use crate::support::recorder::Recorder;
use crate::support::secrets::assert_nothing_secret;

fn get(serving: &Serving, token: &str, target: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    http::once(serving.address, "GET", target, &[("Authorization", &bearer)], None).status
}

fn document(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&succeed(folder, &[arguments, &["-o", "json"]].concat(), "")).expect("JSON")
}

#[test]
fn an_operator_proves_that_the_history_was_not_touched_and_sees_when_it_was() {
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "");
    let folder = prepared.folder.path();
    let serving = Serving::start(folder);
    let token = prepared.token(serving.address);
    assert_eq!(get(&serving, &token, "/v1/orders/1"), 200);
    let verified = succeed(folder, &["audit", "verify"], "");
    assert!(verified.contains("intact: ") && verified.contains("does not end with a stop"), "{verified}");
    let (checkpoint, old) = (folder.join("checkpoint.json"), folder.join("old.db"));
    let (checkpoint, old) = (checkpoint.to_str().expect("text"), old.to_str().expect("text"));
    succeed(folder, &["audit", "checkpoint", "--file", checkpoint], "");
    assert!(!run(folder, &["audit", "checkpoint", "--file", checkpoint], "").status.success(), "never overwritten");
    prepared.audit().execute("VACUUM INTO ?1", [old]).expect("copied");
    assert_eq!(get(&serving, &token, "/v1/orders/2"), 200);
    let verified = succeed(folder, &["audit", "verify", "--checkpoint", checkpoint], "");
    assert!(verified.contains("is that of the checkpoint"), "{verified}");
    assert!(serving.terminate());
    let verified = succeed(folder, &["audit", "verify", "--from", "3"], "");
    assert!(verified.contains("from 3 on") && verified.contains("the trail ends with an orderly stop"), "{verified}");
    let copied = succeed(folder, &["audit", "verify", "--database", old, "--checkpoint", checkpoint], "");
    assert!(copied.contains("the chain alone"), "{copied}");

    // A checkpoint that was changed is no checkpoint.
    let text = std::fs::read_to_string(checkpoint).expect("a file");
    let forged = folder.join("forged.json");
    std::fs::write(&forged, text.replace("\"sequence\": ", "\"sequence\": 1")).expect("written");
    let forged = run(folder, &["audit", "verify", "--checkpoint", forged.to_str().expect("text")], "");
    assert_eq!(forged.status.code(), Some(7), "{}", String::from_utf8_lossy(&forged.stderr));

    // An older file put in place is noticed at the start, and by every verification until the next anchor.
    let trail = folder.join("data/audit.db");
    let whole = std::fs::read(&trail).expect("a file");
    std::fs::copy(old, &trail).expect("copied");
    let damaged = run(folder, &["audit", "verify"], "");
    let said = String::from_utf8_lossy(&damaged.stdout).into_owned();
    assert!(damaged.status.code() == Some(1) && said.contains("the state database remembers"), "{said}");
    let noticed = document(folder, &["audit", "search", "--kind", "system"]);
    let noticed = noticed.as_array().expect("rows").iter().find(|row| row["method"] == "audit.anchor").expect("a row");
    assert!(noticed["verdicts"][0][2].as_str().expect("text").contains("its tail was cut"), "{noticed}");
    std::fs::write(&trail, whole).expect("written");
    let rows = document(folder, &["audit", "search", "--last", "100"]);
    assert!(rows.as_array().expect("rows").len() > 4, "the index follows the file that is there");

    // A row that is changed by hand is named.
    let sql = "DROP TRIGGER decision_stays; UPDATE decision SET path = '/v1/orders/9' WHERE path = '/v1/orders/2'";
    prepared.audit().execute_batch(sql).expect("done");
    let place: i64 = prepared
        .audit()
        .query_row("SELECT seq FROM decision WHERE path = '/v1/orders/9'", [], |row| row.get(0))
        .expect("a row");
    let damaged = run(folder, &["audit", "verify"], "");
    let said = String::from_utf8_lossy(&damaged.stdout).into_owned();
    assert_eq!(damaged.status.code(), Some(1));
    assert!(said.contains(&format!("DAMAGED at {place}: the decision record {place} was changed")), "{said}");
    let report = run(folder, &["audit", "verify", "-o", "json"], "");
    let report: Value = serde_json::from_slice(&report.stdout).expect("JSON");
    assert_eq!((report["intact"].as_bool(), report["findings"][0]["kind"].as_str()), (Some(false), Some("changed")));
}

#[test]
fn old_rows_are_pruned_and_the_trail_says_so() {
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "");
    let folder = prepared.folder.path();
    let serving = Serving::start(folder);
    let token = prepared.token(serving.address);
    for number in 0..20 {
        assert_eq!(get(&serving, &token, &format!("/v1/orders/{number}")), 200);
    }
    let nothing = succeed(folder, &["audit", "prune", "--older-than", "1d", "--yes"], "");
    assert!(nothing.contains("no sealed span is older"), "{nothing}");
    let dry = document(folder, &["audit", "prune", "--older-than", "0s", "--dry-run"]);
    assert!(dry["records"].as_i64() > Some(40) && dry["removed"] == false, "{dry}");
    let refused = run(folder, &["audit", "prune", "--older-than", "0s"], "");
    assert_eq!(refused.status.code(), Some(2), "a person is asked");
    let done = succeed(folder, &["audit", "prune", "--older-than", "0s", "--yes"], "");
    assert!(done.contains("records up to"), "{done}");
    let left = document(folder, &["audit", "search", "--last", "100"]);
    let left = left.as_array().expect("rows");
    assert!(left.iter().all(|row| row["kind"] != "relay") && !left.is_empty(), "{left:?}");
    assert_eq!(left[0]["method"], "audit.prune");
    let verified = succeed(folder, &["audit", "verify"], "");
    assert!(verified.contains("were pruned") && verified.contains("intact"), "{verified}");
    assert_eq!(get(&serving, &token, "/v1/orders/after"), 200, "and the gateway goes on");
    assert!(serving.terminate());
    succeed(folder, &["account", "create", "later"], "");
    let changes = document(folder, &["audit", "search", "--kind", "change", "--last", "100"]);
    let created = changes.as_array().expect("rows").iter().filter(|row| row["path"] == "acme").count();
    assert_eq!(created, 0, "a change whose row was pruned is not recorded a second time");
}

#[test]
fn exports_are_whole_recorded_and_hold_no_secret() {
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "");
    let folder = prepared.folder.path();
    let serving = Serving::start(folder);
    let token = prepared.token(serving.address);
    for number in 0..50 {
        assert_eq!(get(&serving, &token, &format!("/v1/orders/{number}?access_token={token}&sort=%3Dname")), 200);
    }
    let _ = get(&serving, "erpa_tok_wrong", "/v1/orders");
    let export =
        |format: &str, more: &[&str]| succeed(folder, &[&["audit", "export", "--format", format], more].concat(), "");
    let lines = export("ndjson", &[]);
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let relays = rows.iter().filter(|row| row["kind"] == "relay").count();
    assert_eq!(relays, 51, "every row");
    let places: Vec<_> = rows.iter().map(|row| row["seq"].as_i64().expect("a number")).collect();
    assert!(places.is_sorted(), "oldest first");
    let last = rows.last().expect("rows");
    assert_eq!((last["method"].as_str(), last["kind"].as_str()), (Some("audit.export"), Some("change")));
    let denied = export("csv", &["--decision", "denied"]);
    assert_eq!(denied.matches("\r\n").count(), 2, "a header and one row: {denied}");
    let events = export("ocsf", &["--kind", "relay"]);
    assert!(events.lines().all(|line| serde_json::from_str::<Value>(line).expect("JSON")["class_uid"] == 6003));
    let file = folder.join("rows.csv");
    let text = file.to_str().expect("text");
    succeed(folder, &["audit", "export", "--format", "csv", "--file", text], "");
    assert!(!run(folder, &["audit", "export", "--file", text], "").status.success(), "never overwritten");
    let exports = document(folder, &["audit", "search", "--kind", "change", "--text", "", "--last", "100"]);
    let exports = exports.as_array().expect("rows").iter().filter(|row| row["method"] == "audit.export").count();
    assert_eq!(exports, 4, "each export has a row");

    let secrets = [token, prepared.password.clone(), prepared.api_key.clone(), ERP_KEY.to_owned()];
    let outputs =
        [lines, denied, events, std::fs::read_to_string(&file).expect("a file"), process::log(folder)].concat();
    assert!(serving.terminate());
    assert_nothing_secret(folder, &secrets, &outputs);
}

#[test]
fn tail_follows_what_happens_until_it_is_interrupted() {
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "");
    let folder = prepared.folder.path();
    let serving = Serving::start(folder);
    let token = prepared.token(serving.address);
    let mut tail = process::program()
        .arg("--config")
        .arg(folder.join("erp-access.yaml"))
        .args(["audit", "tail", "-f", "--last", "1", "-o", "ndjson", "--kind", "relay"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(tail.stdout.take().expect("a pipe")).lines();
    // Rows that are there when it starts are shown at once; so a first row proves that it follows.
    let mut seen = Vec::new();
    for number in 0..5 {
        assert_eq!(get(&serving, &token, &format!("/v1/orders/{number}")), 200);
        if number == 0 {
            seen.push(lines.next().expect("a line").expect("text"));
        }
    }
    while seen.len() < 5 {
        seen.push(lines.next().expect("a line").expect("text"));
    }
    let rows: Vec<Value> = seen.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let paths: Vec<_> = rows.iter().map(|row| row["path"].as_str().expect("a path")).collect();
    assert_eq!(paths, ["/v1/orders/0", "/v1/orders/1", "/v1/orders/2", "/v1/orders/3", "/v1/orders/4"]);
    assert!(rows.iter().skip(1).all(|row| row["outcome"]["ended"] == "completed"), "rows are shown when they end");
    let pid = tail.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    assert_eq!(tail.wait().expect("ended").code(), Some(130));
}

#[test]
fn a_flood_of_unknown_clients_is_counted_in_one_row() {
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "audit:\n  fold_after: 5\n");
    let folder = prepared.folder.path();
    let serving = Serving::start(folder);
    let token = prepared.token(serving.address);
    for _ in 0..60 {
        assert_eq!(get(&serving, "erpa_tok_wrong", "/v1/orders"), 401);
        assert_eq!(get(&serving, &token, "/v1/orders"), 200);
    }
    assert!(serving.terminate());
    let rows = document(folder, &["audit", "search", "--kind", "relay", "--last", "1000"]);
    let (denied, allowed): (Vec<&Value>, Vec<&Value>) =
        rows.as_array().expect("rows").iter().partition(|row| row["decision"] == "denied");
    assert_eq!(allowed.len(), 60, "what somebody is known to have sent is never folded");
    let counted: u64 = denied.iter().map(|row| row["repeats"].as_u64().expect("a number")).sum();
    assert_eq!(counted, 60, "every request is counted");
    // The minute may turn while the test runs.
    assert!(denied.len() <= 12, "{} rows", denied.len());
    let counted_row = denied.iter().find(|row| row["repeats"].as_u64() > Some(1)).expect("a folded row");
    assert_eq!(
        (counted_row["client"].as_str(), counted_row["code"].as_str()),
        (Some("127.0.0.1"), Some("token_invalid"))
    );
}
