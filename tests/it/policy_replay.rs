//! `policy replay`: the recorded requests before a proposed folder.

use std::path::{Path, PathBuf};

use erp_access::control::Command;
use erp_access::kill_switch::Scope;
use serde_json::Value;

use crate::policy_diff::proposal;
use crate::support::gateway::{Gateway, Issued, Setup};
use crate::support::http;
use crate::support::process::run;
use crate::support::recorder::Recorder;

const SINCE: [&str; 2] = ["--since", "2026-11-01T00:00:00Z"];
/// Endpoints that differ by the body.
const RPC: &str =
    "  - { id: rpc.read, methods: [POST], path: /v1/rpc, body: { where: { /method: [read] }, batch: allowed } }
  - { id: rpc.write, methods: [POST], path: /v1/rpc, body: { where: { /method: [write] } } }
";

/// A gateway with one credential set that holds `order-reader`.
struct Scene {
    gateway: Gateway,
    issued: Issued,
    token: String,
    _erp: Recorder,
}

impl Scene {
    fn new() -> Self {
        Self::of(|setup| setup)
    }

    fn of(change: impl FnOnce(Setup) -> Setup) -> Self {
        let erp = Recorder::start();
        let gateway = change(Setup::new(erp.address())).start();
        gateway.set_api_key("erp-side-key-1");
        let issued = gateway.issue("acme", &["order-reader"]);
        let token = gateway.token(&issued);
        Self { gateway, issued, token, _erp: erp }
    }

    /// A trail of all kinds: allowed, denied by a rule, by none, by a schedule, a kill switch and a wrong token.
    fn traffic(&self) {
        for target in [
            "/v1/orders",
            "/v1/orders/5",
            "/v1/stock",
            "/v1/stock/A-1",
            "/v1/orders?archived=true",
            "/nowhere",
            "/v1//x",
        ] {
            self.gateway.get(&self.token, target);
        }
        self.gateway.relay(&self.token, "POST", "/v1/orders", Some(b"{}"));
        http::once(self.gateway.address, "GET", "/v1/orders", &[], None);
        let scope: Scope = "account:acme".parse().expect("a scope");
        let reason = "test".to_owned();
        let engage = Command::KillEngage { scope: scope.clone(), message: None, reason: reason.clone(), until: None };
        self.gateway.operate(engage).expect("engaged");
        self.gateway.get(&self.token, "/v1/orders");
        self.gateway.operate(Command::KillRelease { scope, reason }).expect("released");
        self.gateway.audit("relay", 10);
    }

    fn replay(&self, folder: &Path) -> (Option<i32>, Value) {
        replay(self.gateway.folder.path(), folder)
    }

    fn proposal(&self, file: &str, change: impl FnOnce(&str) -> String) -> PathBuf {
        proposal(self.gateway.folder.path(), file, change)
    }
}

fn replay(gateway: &Path, folder: &Path) -> (Option<i32>, Value) {
    let folder = folder.to_str().expect("a path");
    let output = run(gateway, &[&["policy", "replay", folder, "-o", "json"], &SINCE[..]].concat(), "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}")))
}

#[test]
fn a_trail_under_the_unchanged_folder_changes_nothing() {
    let scene = Scene::new();
    scene.traffic();
    let folder = scene.gateway.folder.path().join("policies");
    let (code, report) = scene.replay(&folder);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!((&report["requests"], &report["same"]), (&10.into(), &7.into()), "{report:#}");
    assert_eq!(
        report["out_of_scope"],
        serde_json::json!({ "authentication": 1, "request": 1, "scoped_kill_switch": 1 })
    );
    for nothing in ["changed", "already", "by_another_rule"] {
        assert_eq!(report[nothing], 0, "{nothing}: {report:#}");
    }
    assert_eq!(report["not_told"], serde_json::json!({}));
}

#[test]
fn changes_are_grouped_by_credential_and_rule_with_an_example() {
    let scene = Scene::new();
    scene.traffic();
    let folder = scene.proposal("order-reader.yaml", |text| {
        text.replace("stock.list, stock.read", "orders.create").replace("deny: [orders.list]", "deny: [customers.list]")
    });
    let (code, report) = scene.replay(&folder);
    assert_eq!((code, &report["changed"]), (Some(1), &4.into()), "{report:#}");
    let groups = report["changes"].as_array().expect("groups");
    let told: Vec<String> = groups
        .iter()
        .map(|group| {
            let text = |key: &str| group[key].as_str().expect("a text").to_owned();
            format!("{} {}: {} → {}", group["requests"], text("becomes"), text("before"), text("after"))
        })
        .collect();
    assert_eq!(
        told,
        [
            "2 denied: order-reader/read → no rule of a granted policy allows it",
            "1 allowed: denied by order-reader/no-archive → order-reader/read",
            "1 allowed: no rule allowed it → order-reader/read",
        ]
    );
    assert_eq!(groups[0]["credential"], scene.issued.id.to_string());
    assert_eq!((&groups[0]["name"], &groups[0]["account"]), (&"integration".into(), &"acme".into()));
    let example = &groups[0]["example"];
    assert_eq!((&example["method"], &example["path"]), (&"GET".into(), &"/v1/stock".into()));
    let id = example["id"].as_str().expect("an id").parse().expect("an id");
    let row = scene.gateway.operate(Command::AuditShow { id }).expect("the row");
    assert_eq!(row["path"], "/v1/stock");
}

#[test]
fn hours_are_those_of_the_proposal_at_the_time_of_the_row() {
    let scene = Scene::new();
    scene.traffic();
    let (_, report) = scene.replay(&scene.proposal("schedule.yaml", |text| text.replace("11:00", "13:00")));
    assert_eq!(report["changed"], 4, "{report:#}");
    assert_eq!(report["changes"][0]["after"], "order-reader/read outside of `default`");
}

#[test]
fn what_the_row_does_not_hold_is_counted_and_not_guessed() {
    let endpoints = format!("{}{RPC}", include_str!("../../policies/endpoints/erp.yaml"));
    let reader = include_str!("../../policies/order-reader.yaml")
        .replace("orders.list, orders.read", "orders.list, orders.read, rpc.read");
    let scene = Scene::of(|setup| setup.policy("endpoints/erp.yaml", &endpoints).policy("order-reader.yaml", &reader));
    let rpc = |body: &[u8]| scene.gateway.relay(&scene.token, "POST", "/v1/rpc", Some(body));
    assert_eq!(rpc(br#"{"method":"read"}"#).status, 200);
    assert_eq!(rpc(br#"{"method":"write"}"#).status, 403);
    assert_eq!(rpc(br#"{"method":"other"}"#).status, 403);
    assert_eq!(rpc(br#"[{"method":"read"},{"method":"read"}]"#).status, 200);
    scene.gateway.get(&scene.token, "/v1/orders?token=abcdefgh12345678");
    scene.gateway.get(&scene.token, "/v1/customers?token=abcdefgh12345678");
    scene.gateway.audit("relay", 6);
    let told = |folder: &Path| {
        let (_, report) = scene.replay(folder);
        (report["same"].as_u64(), report["changed"].as_u64(), report["not_told"].clone())
    };
    let batches = "batches: what was in them is not kept";
    let bodies = "requests whose endpoint depends on the body, which is not kept";
    let queries = "requests with a condition that looks at a query with redacted parts";
    let unchanged = serde_json::json!({ batches: 1, bodies: 1, queries: 1 });
    assert_eq!(told(&scene.gateway.folder.path().join("policies")), (Some(3), Some(0), unchanged.clone()));
    // Which endpoint is allowed may change, as long as bodies are told apart alike.
    let writer = scene.proposal("order-reader.yaml", |text| text.replace("rpc.read", "rpc.write"));
    assert_eq!(told(&writer), (Some(1), Some(2), unchanged));
    let other =
        scene.proposal("endpoints/erp.yaml", |text| text.replace("/method: [write]", "/method: [write, other]"));
    assert_eq!(told(&other), (Some(1), Some(0), serde_json::json!({ batches: 1, bodies: 3, queries: 1 })));
}

#[test]
fn a_grant_that_came_later_is_not_laid_at_the_proposals_door() {
    let scene = Scene::new();
    scene.gateway.relay(&scene.token, "POST", "/v1/orders", Some(b"{}"));
    scene.gateway.audit("relay", 1);
    let policy = "order-writer".parse().expect("a name");
    scene
        .gateway
        .operate(Command::GrantAdd { credential: scene.issued.id, policy, expires_at: None })
        .expect("granted");
    let (code, report) = scene.replay(&scene.gateway.folder.path().join("policies"));
    assert_eq!((code, &report["changed"], &report["already"]), (Some(0), &0.into(), &1.into()), "{report:#}");
    assert_eq!(report["already_so"][0]["after"], "order-writer/create");
}

#[test]
fn rows_of_policies_that_are_gone_say_what_a_body_meant_then() {
    let endpoints = format!("{}{RPC}", include_str!("../../policies/endpoints/erp.yaml"));
    let reader = include_str!("../../policies/order-reader.yaml")
        .replace("orders.list, orders.read", "orders.list, orders.read, rpc.read");
    let scene = Scene::of(|setup| setup.policy("endpoints/erp.yaml", &endpoints).policy("order-reader.yaml", &reader));
    assert_eq!(scene.gateway.relay(&scene.token, "POST", "/v1/rpc", Some(br#"{"method":"read"}"#)).status, 200);
    scene.gateway.audit("relay", 1);
    // Another name for the same endpoint, and then other policies in force.
    let path = scene.gateway.folder.path().join("policies");
    for (file, text) in [("endpoints/erp.yaml", &endpoints), ("order-reader.yaml", &reader)] {
        std::fs::write(path.join(file), text.replace("rpc.read", "rpc.search")).expect("written");
    }
    scene.gateway.operate(Command::PolicyReload).expect("reloaded");
    let (code, report) = scene.replay(&path);
    assert_eq!(
        (code, &report["same"], &report["not_told"]),
        (Some(0), &1.into(), &serde_json::json!({})),
        "{report:#}"
    );
}

#[test]
fn the_command_says_the_same_with_a_gateway_and_without_in_the_order_of_the_trail() {
    let scene = Scene::new();
    scene.traffic();
    let folder = scene.proposal("order-reader.yaml", |text| text.replace("stock.list, stock.read", "orders.create"));
    let arguments = [&["policy", "replay", folder.to_str().expect("a path")], &SINCE[..]].concat();
    let running = run(scene.gateway.folder.path(), &arguments, "");
    let Scene { gateway, issued, .. } = scene;
    let own = gateway.hand_over();
    let alone = run(own.path(), &arguments, "");
    let shown = String::from_utf8_lossy(&running.stdout).into_owned();
    assert_eq!((running.status.code(), alone.status.code()), (Some(1), Some(1)), "{shown}{running:?}");
    assert_eq!(shown, String::from_utf8_lossy(&alone.stdout));
    for part in [
        "10 requests since 2026-11-01T00:00:00Z: 3 would be decided otherwise\n   4 the same, 0 of these by another rule\n",
        "\n   1 denied by another step: scoped_kill_switch\n",
        &format!(
            "\nwould be decided otherwise\n   - 2 requests of `integration` ({}) of account `acme` would be denied\n",
            issued.id
        ),
        "\n        order-reader/read → no rule of a granted policy allows it\n        such as ",
        ": GET /v1/stock\n",
    ] {
        assert!(shown.contains(part), "no `{part}` in {shown}");
    }
    let lines = run(own.path(), &[&arguments[..], &["-o", "ndjson"]].concat(), "");
    assert_eq!(String::from_utf8_lossy(&lines.stdout).lines().count(), 2);
    let later =
        run(own.path(), &["policy", "replay", folder.to_str().expect("a path"), "--since", "2027-01-01T00:00:00Z"], "");
    assert_eq!(later.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&later.stdout).starts_with("0 requests since"), "{later:?}");
}
