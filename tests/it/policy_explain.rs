//! `policy explain`: what would be decided, without sending anything.

use erp_access::control::{Bounds, Command, Question};
use erp_access::kill_switch::Scope;
use serde_json::Value;

use crate::support::gateway::{Gateway, Issued, Setup};
use crate::support::process::{run, succeed};
use crate::support::recorder::Recorder;

/// Monday night in Karachi: the default schedule is closed.
const CLOSED: &str = "2026-11-23T23:00:00+05:00";

/// A gateway with one credential set that holds `order-reader`.
struct Scene {
    gateway: Gateway,
    issued: Issued,
    erp: Recorder,
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
        Self { gateway, issued, erp }
    }

    fn ask(&self, change: impl FnOnce(&mut Question)) -> Value {
        let mut question = Question {
            credential: self.issued.id.to_string(),
            method: "GET".into(),
            target: "/v1/orders".into(),
            at: None,
            client: None,
            headers: Vec::new(),
            body: None,
        };
        change(&mut question);
        self.gateway.operate(Command::PolicyExplain(Box::new(question))).expect("explained")
    }
}

/// The last step that was taken: its name and what it said.
fn last(answer: &Value) -> (String, String) {
    let step = answer["steps"].as_array().and_then(|steps| steps.last()).expect("a step");
    let text = |place: usize| step[place].as_str().expect("a text").to_owned();
    (text(0), text(1))
}

fn denied_at(step: &str) -> (String, String) {
    (step.to_owned(), "denied".to_owned())
}

#[test]
fn an_allowed_request_is_told_step_by_step_and_nothing_is_sent_or_recorded() {
    let scene = Scene::new();
    let before = scene.gateway.audit("relay", 0).len();
    let answer = scene.ask(|_| ());
    assert_eq!((&answer["decision"], &answer["rule"]), (&"allowed".into(), &"read".into()), "{answer:#}");
    let steps: Vec<_> = answer["steps"].as_array().expect("steps").iter().map(|step| step[0].clone()).collect();
    assert_eq!(
        steps,
        ["request", "kill_switch", "authentication", "endpoint", "policy", "schedule", "scoped_kill_switch", "limits"]
    );
    let limits = answer["steps"][7][2].as_str().expect("a note");
    assert_eq!(
        limits,
        "policy `order-reader` allows 600 requests per 60s and 20 at once; this question is not counted"
    );
    assert_eq!(answer["text"]["file"], "order-reader.yaml");
    assert_eq!(scene.erp.count(), 0);
    assert_eq!(scene.gateway.audit("relay", 0).len(), before);
}

#[test]
fn questions_use_up_nothing_of_any_limit() {
    let scene =
        Scene::of(|setup| setup.gateway("  rate_limits:\n    account: { requests: 2, per: 1h, concurrent: 1 }\n"));
    for _ in 0..5 {
        let answer = scene.ask(|_| ());
        let limits = answer["steps"][7][2].as_str().expect("a note").to_owned();
        assert!(limits.starts_with("the account allows 2 requests per 3600s and 1 at once; policy"), "{limits}");
    }
    let token = scene.gateway.token(&scene.issued);
    let statuses: Vec<u16> = (0..3)
        .map(|_| {
            let answer = scene.gateway.get(&token, "/v1/orders");
            // Its place is given back when its row is closed.
            scene.gateway.row_of(&answer);
            answer.status
        })
        .collect();
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn what_explain_says_is_what_the_gate_does() {
    let scene = Scene::new();
    let token = scene.gateway.token(&scene.issued);
    for (method, target) in [
        ("GET", "/v1/orders"),
        ("GET", "/v1/orders/5?x=1"),
        ("GET", "/v1/orders?archived=true"),
        ("GET", "/v1/orders?archived=true&archived=false"),
        ("GET", "/v1//orders"),
        ("GET", "/v1/orders/%2e%2e"),
        ("GET", "/api/session"),
        ("PUT", "/v1/orders"),
        ("BREW", "/v1/orders"),
    ] {
        let row = scene.gateway.row_of(&scene.gateway.relay(&token, method, target, None));
        let answer = scene.ask(|question| {
            (question.method, question.target) = (method.to_owned(), target.to_owned());
            question.client = "127.0.0.1".parse().ok();
        });
        for key in ["decision", "code", "policy", "rule", "endpoint", "path"] {
            assert_eq!(answer[key], row[key], "{key} of {method} {target}");
        }
        let steps = |verdicts: &Value| -> Vec<(String, String)> {
            let verdicts = verdicts.as_array().expect("a list").iter();
            // The limits are named, not counted, and what comes behind them is not done.
            let decided = verdicts
                .filter(|verdict| !["limits", "audit", "upstream_session"].iter().any(|step| verdict[0] == **step));
            decided.map(|verdict| (verdict[0].to_string(), verdict[1].to_string())).collect()
        };
        assert_eq!(steps(&answer["steps"]), steps(&row["verdicts"]), "{method} {target}");
    }
}

#[test]
fn each_granted_policy_is_told_rule_by_rule_also_while_a_kill_switch_stops_everything() {
    let scene = Scene::new();
    let policy = "stock-always".parse().expect("a name");
    scene
        .gateway
        .operate(Command::GrantAdd { credential: scene.issued.id, policy, expires_at: None })
        .expect("granted");
    let engage = Command::KillEngage { scope: Scope::All, message: None, reason: "test".into(), until: None };
    scene.gateway.operate(engage).expect("engaged");
    let answer = scene.ask(|question| question.target = "/v1/orders?archived=true".into());
    assert_eq!(last(&answer), denied_at("kill_switch"));
    let policies = &answer["granted"][0]["policies"];
    assert_eq!(
        (&policies[0]["policy"], &policies[0]["said"]),
        (&"order-reader".into(), &"denies".into()),
        "{policies:#}"
    );
    let rules = &policies[0]["rules"];
    assert_eq!((&rules[0]["applies"], &rules[0]["at"]), (&true.into(), &"order-reader.yaml:7".into()));
    assert_eq!((&rules[1]["applies"], &rules[1]["effect"]), (&true.into(), &"deny".into()));
    assert_eq!(rules[1]["when"], "request.query[\"archived\"] == \"true\"");
    assert_eq!((&policies[1]["said"], &policies[1]["other_rules"]), (&"says nothing".into(), &1.into()));
}

#[test]
fn account_set_schedule_and_scoped_kill_switch_each_deny_at_their_step() {
    let scene = Scene::new();
    let closed = scene.ask(|question| question.at = CLOSED.parse().ok());
    assert_eq!((last(&closed), &closed["code"]), (denied_at("schedule"), &"outside_schedule".into()));

    let scope: Scope = "policy:order-reader".parse().expect("a scope");
    let engage = Command::KillEngage { scope: scope.clone(), message: None, reason: "test".into(), until: None };
    scene.gateway.operate(engage).expect("engaged");
    assert_eq!(last(&scene.ask(|_| ())), denied_at("scoped_kill_switch"));
    scene.gateway.operate(Command::KillRelease { scope, reason: "test".into() }).expect("released");

    let name: erp_access::domain::AccountName = "acme".parse().expect("a name");
    scene.gateway.operate(Command::AccountSuspend { name, reason: "unpaid".into() }).expect("suspended");
    let suspended = scene.ask(|_| ());
    assert_eq!((last(&suspended), &suspended["code"]), (denied_at("authentication"), &"account_suspended".into()));

    scene.gateway.operate(Command::CredentialDisable { id: scene.issued.id }).expect("disabled");
    let disabled = scene.ask(|_| ());
    assert_eq!((last(&disabled), &disabled["code"]), (denied_at("authentication"), &"token_invalid".into()));
}

#[test]
fn a_body_decides_between_endpoints_and_one_that_is_too_long_is_refused() {
    const RPC: &str = "version: 1
upstream: erp
endpoints:
  - { id: rpc.read, methods: [POST], path: /v1/rpc, body: { max_bytes: 100, where: { /method: [read] } } }
  - { id: rpc.write, methods: [POST], path: /v1/rpc, body: { max_bytes: 100, where: { /method: [write] } } }
";
    const READER: &str = "version: 1\npolicy: order-reader\nrules: [{ id: read, allow: [rpc.read] }]\n";
    let scene = Scene::of(|mut setup| {
        setup.policies.retain(|name, _| *name == "schedule.yaml");
        setup.policy("endpoints/erp.yaml", RPC).policy("order-reader.yaml", READER)
    });
    let folder = scene.gateway.folder.path();
    let ask = |body: &str| {
        let id = scene.issued.id.to_string();
        let arguments =
            ["policy", "explain", "--credential", &id, "--method", "POST", "--path", "/v1/rpc", "--body", "-"];
        let output =
            run(folder, &[&arguments[..], &["--at", "2026-11-23T12:00:00+05:00", "-o", "json"]].concat(), body);
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), answer)
    };
    let (code, read) = ask(r#"{"method":"read"}"#);
    assert_eq!((code, &read["endpoint"]), (Some(0), &"rpc.read".into()), "{read:#}");
    let (code, write) = ask(r#"{"method":"write"}"#);
    assert_eq!((code, &write["endpoint"], &write["decision"]), (Some(3), &"rpc.write".into(), &"denied".into()));
    assert_eq!(write["granted"][0]["policies"][0]["why"], "none of its rules names the endpoint");
    let (code, long) = ask(&format!(r#"{{"method":"read","x":"{}"}}"#, "x".repeat(70_000)));
    assert_eq!((code, &long["code"]), (Some(3), &"too_large".into()), "{long:#}");
}

#[test]
fn an_unrestricted_set_is_told_as_such_and_a_name_is_as_good_as_an_id() {
    let scene = Scene::new();
    let free = scene.gateway.issue_with("globex", &[], Bounds::Unrestricted, None);
    let answer = scene.ask(|question| {
        question.credential = free.id.to_string();
        (question.method, question.target) = ("POST".into(), "/v1/orders".into());
    });
    assert_eq!((&answer["decision"], &answer["policy"]), (&"allowed".into(), &Value::Null));
    assert!(answer["granted"][0]["unrestricted"].is_string());
    let folder = scene.gateway.folder.path();
    let both = run(folder, &["policy", "explain", "--credential", "integration", "--path", "/v1/orders"], "");
    assert_eq!(both.status.code(), Some(7));
    let said = String::from_utf8_lossy(&both.stderr).into_owned();
    assert!(said.contains(&free.id.to_string()) && said.contains(&scene.issued.id.to_string()), "{said}");
    let nobody = run(folder, &["policy", "explain", "--credential", "nobody", "--path", "/v1/orders"], "");
    assert_eq!(nobody.status.code(), Some(4));
}

#[test]
fn the_command_says_the_same_with_a_gateway_and_without() {
    let scene = Scene::new();
    let arguments = [
        "policy",
        "explain",
        "--credential",
        "integration",
        "--path",
        "/v1/orders?archived=true",
        "--client",
        "192.0.2.7",
    ];
    let arguments = [&arguments[..], &["--at", "2026-11-23T12:00:00+05:00"]].concat();
    let Scene { gateway, .. } = scene;
    let running = run(gateway.folder.path(), &arguments, "");
    let folder = gateway.hand_over();
    let alone = run(folder.path(), &arguments, "");
    let shown = String::from_utf8_lossy(&running.stdout).into_owned();
    assert_eq!((running.status.code(), alone.status.code()), (Some(3), Some(3)), "{shown}");
    assert_eq!(shown, String::from_utf8_lossy(&alone.stdout));
    for part in [
        "GET /v1/orders?archived=true at 2026-11-23T07:00:00Z from 192.0.2.7, by credential set `integration` (",
        "\n   1. passed  The head of the request was read: one meaning.\n",
        "\n   5. DENIED  The granted policies were asked, and refused it: denied by rule `order-reader/no-archive`",
        "\ngranted policies at `orders.list` (GET /v1/orders)\n   order-reader denies, denied by rule",
        "\n      allow `read` (order-reader.yaml:7): applies\n      deny `no-archive` (order-reader.yaml:9) when `request.query[\"archived\"] == \"true\"`: applies\n",
        "\norder-reader.yaml, as it is in force\n",
        "\n>  9    - id: no-archive\n",
        "\nDENIED by rule `order-reader/no-archive`: the client gets status 403, code `not_permitted`\n",
    ] {
        assert!(shown.contains(part), "no `{part}` in {shown}");
    }
    let secret = run(folder.path(), &[&arguments[..], &["--header", "Authorization: Bearer erpa_tok_x"]].concat(), "");
    assert_eq!(secret.status.code(), Some(7));
    assert!(!String::from_utf8_lossy(&secret.stderr).contains("erpa_tok_x"));
    let help = succeed(folder.path(), &["policy", "explain", "--help"], "");
    assert!(help.contains("Exit codes: 0 allowed, 3 denied") && help.contains("Examples:"), "{help}");
}
