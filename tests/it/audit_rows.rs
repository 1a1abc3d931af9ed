//! What audit rows say, kind by kind.

use std::net::TcpListener;
use std::time::Duration;

use erp_access::control::Command;
use erp_access::demo::little_erp::{LittleErp, Settings};
use erp_access::domain::{ManualClock, Secret};
use erp_access::kill_switch::Scope;
use serde_json::Value;

use crate::support::gateway::{Gateway, Issued, LITTLE_ERP_SESSION, OPEN, Setup};
use crate::support::http::{self, Connection, Response};
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
        self.gateway
            .operate(Command::KillEngage { scope, message: None, reason: "test".into(), until: None })
            .expect("engaged");
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

/// Sends bytes and gives the status answered, `None` where the connection was closed without an answer.
fn send(gateway: &Gateway, bytes: &[u8]) -> Option<u16> {
    let mut connection = Connection::open(gateway.address);
    // The gateway may close before it has taken everything.
    let _ = connection.send(bytes);
    connection.head().map(|(status, _)| status)
}

/// The only row of a request that nobody could read; a request after it shows that no second one follows.
fn only_row(scene: &Scene) -> Value {
    let last = scene.gateway.row_of(&scene.gateway.get(&scene.token, "/v1/orders"));
    let mut rows = scene.gateway.audit("relay", 2);
    let at = rows.iter().position(|row| row["id"] == last["id"]).expect("the last request");
    rows.remove(at);
    assert_eq!(rows.len(), 1, "{rows:#?}");
    let row = rows.remove(0);
    let verdicts = row["verdicts"].as_array().expect("verdicts");
    assert_eq!((verdicts.len(), &verdicts[0][0], &verdicts[0][1]), (1, &"request".into(), &"denied".into()));
    assert_eq!(
        (&row["decision"], &row["client"], &row["actor"]),
        (&"denied".into(), &"127.0.0.1".into(), &"unknown".into())
    );
    row
}

fn note(row: &Value) -> &str {
    row["verdicts"][0][2].as_str().expect("a note")
}

#[test]
fn a_request_that_cannot_be_read_leaves_one_row() {
    let oversize =
        [b"GET /v1/orders HTTP/1.1\r\nHost: a\r\nX-Long: ".as_slice(), &vec![b'x'; 1_200_000], b"\r\n\r\n"].concat();
    for (bytes, status, method, path, reason) in [
        (b"GET /v1/orders NONSENSE\r\n\r\n".as_slice(), 400, "GET", "/v1/orders", "could not be read"),
        (
            b"GET /v1/orders?token=hunter2 HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n",
            400,
            "GET",
            "/v1/orders",
            "could not be read",
        ),
        (b"\x16\x03\x01\x00\x05hello\r\n\r\n", 400, "", "", "TLS was spoken"),
        (&oversize, 400, "GET", "/v1/orders", "larger than"),
        (
            b"POST /v1/orders HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
            400,
            "POST",
            "/v1/orders",
            "could not be read",
        ),
        (b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n", 405, "CONNECT", "", "CONNECT"),
    ] {
        let scene = Scene::new();
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert_eq!(send(&scene.gateway, bytes), Some(status), "{start}");
        let row = only_row(&scene);
        assert_eq!(
            (row["code"].as_str(), row["status"].as_u64()),
            (Some("bad_request"), Some(status.into())),
            "{start}"
        );
        assert_eq!((row["method"].as_str(), row["path"].as_str()), (Some(method), Some(path)), "{start}");
        assert!(note(&row).contains(reason), "{start}: {row:#}");
        assert!(!row.to_string().contains("hunter2"), "{row:#}");
    }
}

#[test]
fn conflicting_framing_that_the_gate_sees_leaves_one_row_too() {
    let scene = Scene::new();
    let bytes =
        b"POST /v1/orders HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(send(&scene.gateway, bytes), Some(400));
    assert_eq!(only_row(&scene)["code"], "bad_request");
}

#[test]
fn a_head_that_comes_too_late_leaves_one_row_and_an_idle_connection_none() {
    let erp = Recorder::start();
    let gateway = Setup::new(erp.address()).gateway("  limits:\n    header_timeout: 1s\n").start();
    gateway.set_api_key("erp-side-key-1");
    let issued = gateway.issue("acme", &["order-reader"]);
    let token = gateway.token(&issued);
    let scene = Scene { gateway, issued, token, _erp: erp };
    let mut idle = Connection::open(scene.gateway.address);
    assert!(idle.is_closed());
    let mut gone = Connection::open(scene.gateway.address);
    gone.send(b"GET /v1/orders HTTP/1.1\r\nHo").expect("sent");
    drop(gone);
    assert_eq!(send(&scene.gateway, b"GET /v1/orders HTTP/1.1\r\nHost: a\r\n"), None);
    let row = only_row(&scene);
    assert_eq!((row["code"].as_str(), row["status"].as_u64()), (Some("request_timeout"), None));
    assert_eq!((&row["method"], &row["path"]), (&"GET".into(), &"/v1/orders".into()));
}

#[test]
fn the_second_request_of_a_connection_is_seen_as_the_first() {
    let scene = Scene::new();
    let bearer = format!("Bearer {}", scene.token);
    let mut connection = Connection::open(scene.gateway.address);
    let first = connection.request("GET", "/v1/orders", &[("Authorization", &bearer)], None);
    assert_eq!(first.status, 200);
    connection.send(b"GET /v1/orders/2 HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n").expect("sent");
    assert_eq!(connection.head().map(|(status, _)| status), Some(400));
    let rows = scene.gateway.audit("relay", 2);
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["path"], &rows[0]["code"]), (&"/v1/orders/2".into(), &"bad_request".into()));
    assert_eq!(rows[1]["id"].as_str(), first.header("x-request-id"));
}

#[test]
fn a_connection_beyond_the_limit_leaves_a_row() {
    let erp = Recorder::start();
    let gateway = Setup::new(erp.address()).gateway("  limits:\n    connections: 1\n").start();
    // A connection that has been served is a connection that is counted.
    let mut held = Connection::open(gateway.address);
    assert_eq!(held.request("GET", "/status", &[], None).status, 200);
    assert_eq!(send(&gateway, b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n"), None);
    let row = gateway.audit("relay", 1).remove(0);
    assert_eq!((row["code"].as_str(), row["status"].as_u64()), (Some("overloaded"), None), "{row:#}");
    assert!(note(&row).contains("1 connections are open"), "{row:#}");
    assert_eq!(held.request("GET", "/status", &[], None).status, 200, "the one that was there goes on");
}

#[test]
fn connections_of_one_address_are_limited_but_not_those_of_a_trusted_proxy() {
    let erp = Recorder::start();
    let limits = "  limits:\n    connections_per_address: 2\n";
    let gateway = Setup::new(erp.address()).gateway(limits).config("ops:\n  listen: [\"127.0.0.1:0\"]\n").start();
    let mut held: Vec<Connection> = (0..2).map(|_| Connection::open(gateway.address)).collect();
    for held in &mut held {
        assert_eq!(held.request("GET", "/status", &[], None).status, 200);
    }
    assert_eq!(send(&gateway, b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n"), None);
    let row = gateway.audit("relay", 1).remove(0);
    assert_eq!(row["code"].as_str(), Some("overloaded"), "{row:#}");
    assert!(note(&row).contains("2 connections of this address are open"), "{row:#}");
    let page = crate::support::http::once(gateway.ops.expect("an ops listener"), "GET", "/metrics", &[], None).text();
    for line in ["erp_access_connections 2", "erp_access_connections_refused_total{limit=\"address\"} 1"] {
        assert!(page.lines().any(|known| known == line), "{line}: {page}");
    }
    assert_eq!(held[0].request("GET", "/status", &[], None).status, 200, "those that were there go on");
    let proxied = format!("{limits}  trusted_proxies: [127.0.0.1]\n");
    let gateway = Setup::new(erp.address()).gateway(&proxied).start();
    let mut many: Vec<Connection> = (0..5).map(|_| Connection::open(gateway.address)).collect();
    assert!(many.iter_mut().all(|one| one.request("GET", "/status", &[], None).status == 200));
}
