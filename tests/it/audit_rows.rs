//! What audit rows say, kind by kind.

use std::net::TcpListener;
use std::time::Duration;

use erp_access::control::Command;
use erp_access::demo::little_erp::{LittleErp, Settings};
use erp_access::domain::{ManualClock, Secret};
use erp_access::kill_switch::Scope;
use serde_json::Value;

use crate::support::gateway::{Gateway, Issued, LITTLE_ERP_SESSION, OPEN, Setup};
use crate::support::http::{self, Response};
use crate::support::recorder::Recorder;

/// A gateway with a recorder behind it, one credential set and its token.
struct Scene {
    gateway: Gateway,
    issued: Issued,
    token: String,
    _erp: Recorder,
}

impl Scene {
    fn new() -> Self {
        let erp = Recorder::start();
        let gateway = Setup::new(erp.address()).start();
        gateway.set_api_key("erp-side-key-1");
        let issued = gateway.issue("acme", &["order-reader"]);
        let token = gateway.token(&issued);
        Self { gateway, issued, token, _erp: erp }
    }

    fn row_of_get(&self, token: &str, target: &str) -> Value {
        self.gateway.row_of(&self.gateway.get(token, target))
    }

    fn engage(&self, scope: &str) {
        let scope = scope.parse().expect("a scope");
        self.gateway.operate(Command::KillEngage { scope, message: None, reason: "test".into() }).expect("engaged");
    }
}

/// What the row says of the schedule and of the kill switch.
fn controls(row: &Value) -> (Option<&str>, Option<&str>) {
    (row["schedule"].as_str(), row["kill_switch"].as_str())
}

#[test]
fn the_row_of_a_relay_says_everything_about_it() {
    let scene = Scene::new();
    let bearer = format!("Bearer {}", scene.token);
    let headers = [("Authorization", bearer.as_str()), ("X-Request-Id", "order-7")];
    let response: Response = http::once(scene.gateway.address, "GET", "/v1/orders/7?x=1&password=p", &headers, None);
    assert_eq!(response.status, 200);
    let row = scene.gateway.row_of(&response);
    let texts = ["id", "at", "account", "token", "policy_snapshot", "node"];
    assert!(texts.iter().all(|name| row[name].as_str().is_some_and(|text| !text.is_empty())), "{row:#}");
    let credential = scene.issued.id.to_string();
    for (name, wanted) in [
        ("kind", "relay"),
        ("actor", format!("credential:{credential}").as_str()),
        ("credential", credential.as_str()),
        ("correlation", "order-7"),
        ("client", "127.0.0.1"),
        ("method", "GET"),
        ("path", "/v1/orders/7"),
        ("endpoint", "orders.read"),
        ("policy", "order-reader"),
        ("rule", "read"),
        ("decision", "allowed"),
        ("schedule", "open"),
        ("kill_switch", "none"),
    ] {
        assert_eq!(row[name], wanted, "{name}");
    }
    assert_eq!((row["repeats"].as_u64(), row["generation"].as_u64()), (Some(1), Some(1)));
    assert!(row["query"].as_str().is_some_and(|query| query.contains("x=1") && !query.contains("=p")), "{row:#}");
    let steps: Vec<_> = row["verdicts"].as_array().expect("verdicts").iter().map(|verdict| &verdict[0]).collect();
    let expected = [
        "request",
        "kill_switch",
        "authentication",
        "endpoint",
        "policy",
        "schedule",
        "scoped_kill_switch",
        "limits",
        "audit",
    ];
    assert_eq!(steps, expected);
    let outcome = &row["outcome"];
    assert_eq!((outcome["ended"].as_str(), outcome["status"].as_u64()), (Some("completed"), Some(200)));
    assert_eq!((outcome["upstream_status"].as_u64(), outcome["attempts"].as_u64()), (Some(200), Some(1)));
    assert!(outcome["upstream_peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{row:#}");
    let numbers = ["duration", "upstream_duration", "request_bytes"];
    assert!(numbers.iter().all(|name| outcome[name].is_u64()), "{row:#}");
    assert!(outcome["response_bytes"].as_u64() > Some(0) && outcome["response_preview"].is_string(), "{row:#}");
}

#[test]
fn a_row_says_what_the_schedule_and_the_kill_switch_said() {
    let scene = Scene::new();
    let always = scene.gateway.token(&scene.gateway.issue("night", &["stock-always"]));
    assert_eq!(controls(&scene.row_of_get(&always, "/v1/stock")), (Some("exempt"), Some("none")));
    let unknown = scene.row_of_get("erpa_tok_wrong", "/v1/stock");
    assert_eq!(controls(&unknown), (None, Some("none")), "the schedule was not asked");
    let unreadable = scene.row_of_get(&scene.token, "/v1/orders/../stock");
    assert_eq!(controls(&unreadable), (None, None), "neither was asked");
    scene.engage("policy:order-reader");
    let stopped = scene.row_of_get(&scene.token, "/v1/orders");
    assert_eq!(controls(&stopped), (Some("open"), Some("policy:order-reader")));
    assert_eq!((&stopped["policy"], &stopped["cause"]), (&"order-reader".into(), &"operator_control".into()));
    scene.engage("all");
    assert_eq!(controls(&scene.row_of_get(&scene.token, "/v1/orders")), (None, Some("all")));
    let attempt = scene.gateway.row_of(&scene.gateway.ask_for_token(&scene.issued));
    assert_eq!(controls(&attempt), (None, Some("all")));
}

#[test]
fn a_closed_schedule_is_named_with_the_policy_that_follows_it() {
    let scene = Scene::new();
    scene.gateway.clock.set("2026-11-23T20:00:00+05:00".parse().expect("a time"));
    let token = scene.gateway.token(&scene.issued);
    let row = scene.row_of_get(&token, "/v1/orders");
    assert_eq!(row["code"], "outside_schedule");
    assert_eq!(controls(&row), (Some("closed"), Some("none")));
    assert_eq!((&row["policy"], &row["rule"]), (&"order-reader".into(), &"read".into()));
}

#[test]
fn a_change_says_who_made_it_and_what_it_replaced() {
    let scene = Scene::new();
    scene.engage("all");
    scene.gateway.operate(Command::KillRelease { scope: Scope::All, reason: "over".into() }).expect("released");
    let rows = scene.gateway.audit("change", 2);
    assert_eq!((&rows[0]["method"], &rows[0]["path"]), (&"kill.release".into(), &"all".into()));
    assert_eq!(rows[0]["actor"], "operator:tester");
    let detail: Value = serde_json::from_str(rows[0]["detail"].as_str().expect("a detail")).expect("JSON");
    assert_eq!((&detail["reason"], &detail["before"]["reason"]), (&"over".into(), &"test".into()));
    assert!(detail["after"].is_null(), "{detail}");
}

fn detail(row: &Value) -> Value {
    serde_json::from_str(row["detail"].as_str().unwrap_or_else(|| panic!("no detail: {row:#}"))).expect("JSON")
}

/// The rows of one operation of the system, newest first, when there are so many.
fn system_rows(gateway: &Gateway, operation: &str, at_least: usize) -> Vec<Value> {
    for _ in 0..1000 {
        let mut rows = gateway.audit("system", 1);
        rows.retain(|row| row["method"] == operation);
        if rows.len() >= at_least {
            return rows;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("fewer than {at_least} rows of {operation}: {:#?}", gateway.audit("system", 0));
}

#[test]
fn a_start_says_which_version_on_which_configuration_and_a_stop_follows_it() {
    let gateway = Scene::new().gateway;
    let address = gateway.address.to_string();
    let gateway = gateway.restart();
    let starts = system_rows(&gateway, "start", 2);
    let (again, first) = (detail(&starts[0]), detail(&starts[1]));
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(first["addresses"][0], address.as_str());
    assert!(first["configuration"].as_str().is_some_and(|hash| hash.len() == 64));
    assert_eq!(first["configuration"], again["configuration"]);
    assert_eq!((&first["generation"], &first["policies"]), (&1.into(), &again["policies"]));
    let rows = gateway.audit("system", 3);
    let order: Vec<_> = rows.iter().map(|row| row["method"].as_str().expect("a text")).collect();
    assert_eq!(order, ["start", "stop", "start"]);
    assert!(rows.iter().all(|row| row["actor"] == "system" && row["decision"] == "allowed"));
}

#[test]
fn a_reload_says_what_is_in_force_and_who_asked_for_it() {
    let scene = Scene::new();
    let file = scene.gateway.folder.path().join("policies/order-reader.yaml");
    let good = std::fs::read_to_string(&file).expect("read");
    std::fs::write(&file, format!("{good}\n# changed\n")).expect("written");
    scene.gateway.operate(Command::PolicyReload).expect("reloaded");
    let reloaded = system_rows(&scene.gateway, "policy.reload", 1).remove(0);
    let said = detail(&reloaded);
    assert_eq!((&said["generation"], &said["changed"], &said["problems"]), (&2.into(), &true.into(), &0.into()));
    assert_eq!((&reloaded["actor"], &reloaded["decision"]), (&"operator:tester".into(), &"allowed".into()));
    assert_eq!(said["hash"], reloaded["policy_snapshot"]);
    std::fs::write(&file, "version: 1\npolicy: order-reader\nrules: [{ id: read, allow: [no.such] }]\n")
        .expect("written");
    scene.gateway.operate(Command::PolicyReload).expect_err("broken");
    let refused = system_rows(&scene.gateway, "policy.reload", 2).remove(0);
    assert_eq!((&refused["decision"], &detail(&refused)["problems"]), (&"denied".into(), &1.into()), "{refused:#}");
}

#[test]
fn a_reload_by_the_watcher_is_the_systems() {
    let erp = Recorder::start();
    let folder = Setup::new(erp.address()).write();
    let config = folder.path().join("erp-access.yaml");
    let text = std::fs::read_to_string(&config).expect("read").replace("watch: false", "watch: true");
    std::fs::write(&config, text).expect("written");
    let gateway = Gateway::start(folder, ManualClock::at(OPEN.parse().expect("a time")));
    std::fs::write(gateway.folder.path().join("policies/order-writer.yaml"), "version: 1\nbroken: [").expect("written");
    let row = system_rows(&gateway, "policy.reload", 1).remove(0);
    assert_eq!((&row["actor"], &row["decision"]), (&"system".into(), &"denied".into()), "{row:#}");
}

#[test]
fn a_peer_that_is_left_out_and_comes_back_leaves_its_rows() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = gone.local_addr().expect("an address");
    drop(gone);
    let gateway = Setup::new(address).start();
    gateway.set_api_key("erp-side-key-1");
    let token = gateway.token(&gateway.issue("acme", &["order-reader"]));
    for _ in 0..10 {
        assert_eq!(gateway.get(&token, "/v1/orders").status, 502);
    }
    let row = system_rows(&gateway, "upstream.circuit.open", 1).remove(0);
    assert_eq!(row["path"], format!("erp {address}"));
    assert_eq!((&detail(&row)["guards"], &row["actor"]), (&"peer".into(), &"system".into()));
    gateway.clock.advance(Duration::from_mins(10));
    let token = gateway.token(&gateway.issue("acme", &["order-reader"]));
    assert_eq!(gateway.get(&token, "/v1/orders").status, 502);
    assert_eq!(system_rows(&gateway, "upstream.circuit.half-open", 1).len(), 1);
    assert_eq!(system_rows(&gateway, "upstream.circuit.open", 2).len(), 2);
}

#[test]
fn a_sign_in_that_is_left_alone_leaves_its_rows() {
    let little = TcpListener::bind("127.0.0.1:0").expect("bind");
    let settings = Settings::new("gateway", Secret::new("little-password-1".into()));
    let erp = LittleErp::start(little, settings).expect("starts");
    let gateway = Setup::new(erp.address()).session(LITTLE_ERP_SESSION).start();
    let token = gateway.token(&gateway.issue("acme", &["order-reader"]));
    gateway.set_password("gateway", "wrong-password-1");
    assert_eq!(gateway.get(&token, "/v1/orders").code(), "upstream_session_failed");
    let row = system_rows(&gateway, "upstream.circuit.open", 1).remove(0);
    assert_eq!((&row["path"], &detail(&row)["guards"]), (&"erp".into(), &"sign_in".into()), "{row:#}");
    gateway.set_password("gateway", "little-password-1");
    let row = system_rows(&gateway, "upstream.circuit.closed", 1).remove(0);
    assert_eq!(detail(&row)["note"], "other secrets are set");
}
