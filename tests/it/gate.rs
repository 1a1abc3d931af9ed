//! Every code of the public interface, and every step of the gate as the one that denies.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use erp_access::control::{Command, NewSet};
use erp_access::domain::Code;
use erp_access::kill_switch::Scope;
use serde_json::Value;

use crate::support::gateway::{Gateway, LITTLE_ERP_SESSION, Setup};
use crate::support::http::{self, Connection, Response};
use crate::support::recorder::Recorder;

/// A gateway with a recorder behind it, one credential set and its token.
struct Scene {
    erp: Recorder,
    gateway: Gateway,
    issued: crate::support::gateway::Issued,
    token: String,
}

impl Scene {
    fn new() -> Self {
        Self::with(|setup| setup)
    }

    fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let erp = Recorder::start();
        let gateway = change(Setup::new(erp.address())).start();
        gateway.set_api_key("erp-side-key-1");
        let issued = gateway.issue("acme", &["order-reader"]);
        let token = gateway.token(&issued);
        Self { erp, gateway, issued, token }
    }

    fn get(&self, target: &str) -> Response {
        self.gateway.get(&self.token, target)
    }

    fn operate(&self, command: Command) {
        self.gateway.operate(command).expect("done");
    }

    /// The answer has the code's status, cause and members; the row's last verdict is this step; the ERP saw nothing.
    fn denied(&self, response: &Response, code: Code, step: &str) -> Value {
        expect(response, code);
        assert_eq!(self.erp.count(), 0, "the ERP saw nothing");
        let row = self.gateway.row_of(response);
        assert_eq!((row["decision"].as_str(), row["code"].as_str()), (Some("denied"), Some(code.as_str())));
        let verdicts = row["verdicts"].as_array().expect("verdicts");
        let (last, before) = verdicts.split_last().expect("a verdict");
        assert_eq!((last[0].as_str(), last[1].as_str()), (Some(step), Some("denied")), "{row:#}");
        assert!(before.iter().all(|verdict| verdict[1] == "allowed"), "{row:#}");
        row
    }
}

/// Status, code, cause and the members of RFC 9457.
fn expect(response: &Response, code: Code) {
    assert_eq!((response.status, response.code().as_str()), (code.status(), code.as_str()), "{}", response.text());
    let body = response.json();
    assert_eq!(body["cause"].as_str(), Some(code.cause().as_str()));
    assert_eq!(response.header("x-erp-access-cause"), Some(code.cause().as_str()));
    assert_eq!(body["request_id"].as_str(), response.header("x-request-id"));
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    assert_eq!(body["status"].as_u64(), Some(u64::from(code.status())));
    assert!(body["title"].is_string() && body["type"].is_string(), "{body}");
    assert_eq!(response.header("server"), None);
}

fn policy(text: &str) -> String {
    format!("version: 1\npolicy: order-reader\n{text}\n")
}

#[test]
fn a_request_with_two_meanings_is_refused_at_the_first_step() {
    let scene = Scene::new();
    let bearer = format!("Bearer {}", scene.token);
    let send = |headers: &[(&str, &str)], method: &str, target: &str| {
        let mut all = vec![("Authorization", bearer.as_str())];
        all.extend(headers);
        http::once(scene.gateway.address, method, target, &all, None)
    };
    scene.denied(&scene.get("/v1/orders/../stock"), Code::AmbiguousPath, "request");
    scene.denied(&send(&[("Upgrade", "websocket")], "GET", "/v1/orders"), Code::BadRequest, "request");
    scene.denied(&send(&[("Content-Length", "99999999999")], "POST", "/v1/orders"), Code::TooLarge, "request");
    scene.denied(&scene.get(&format!("/v1/{}", "a".repeat(9000))), Code::UriTooLong, "request");
    let long = "x".repeat(40_000);
    scene.denied(&send(&[("X-Long", &long)], "GET", "/v1/orders"), Code::HeadersTooLarge, "request");
}

#[test]
fn two_ways_to_tell_where_the_body_ends_are_refused_not_repaired() {
    let scene = Scene::new();
    let bearer = format!("Bearer {}", scene.token);
    let headers = [("Authorization", bearer.as_str()), ("Content-Length", "4"), ("Transfer-Encoding", "chunked")];
    let mut connection = Connection::open(scene.gateway.address);
    let mut bytes = http::render("POST", "/v1/orders", &headers, None);
    bytes.extend_from_slice(b"0\r\n\r\n");
    connection.send(&bytes).expect("sent");
    let response = connection.response(false).expect("an answer");
    scene.denied(&response, Code::BadRequest, "request");
    assert!(connection.is_closed(), "nothing more is read from such a connection");
}

#[test]
fn the_kill_switch_stops_everything_and_the_row_still_names_the_actor() {
    let scene = Scene::new();
    let message = Some("stock-taking".to_owned());
    scene.operate(Command::KillEngage { scope: Scope::All, message, reason: "test".into(), until: None });
    let response = scene.get("/v1/orders");
    let row = scene.denied(&response, Code::KillSwitchEngaged, "kill_switch");
    assert_eq!(row["credential"].as_str(), Some(scene.issued.id.to_string().as_str()));
    assert_eq!(response.json()["detail"].as_str(), Some("stock-taking"));
    assert!(response.header("retry-after").is_some());
    assert_eq!(scene.gateway.ask_for_token(&scene.issued).status, 503, "no token either");
    let status = http::once(scene.gateway.address, "GET", "/status", &[], None);
    assert_eq!((status.status, status.json()["state"].as_str()), (200, Some("stopped")));
    scene.operate(Command::KillRelease { scope: Scope::All, reason: "test".into() });
    assert_eq!(scene.get("/v1/orders").status, 200);
}

#[test]
fn only_a_live_token_of_a_live_set_of_a_live_account_is_taken() {
    let scene = Scene::new();
    let none = http::once(scene.gateway.address, "GET", "/v1/orders", &[], None);
    scene.denied(&none, Code::CredentialsMissing, "authentication");
    assert_eq!(none.header("www-authenticate"), Some("Bearer realm=\"erp-access\""));
    scene.denied(&scene.gateway.get("erpa_tok_wrong", "/v1/orders"), Code::TokenInvalid, "authentication");
    let bearer = format!("Bearer {}", scene.token);
    let foreign = scene.gateway.issue("other", &[]).api_key;
    let headers = [("Authorization", bearer.as_str()), ("x-api-key", foreign.as_str())];
    let response = http::once(scene.gateway.address, "GET", "/v1/orders", &headers, None);
    scene.denied(&response, Code::CredentialsInvalid, "authentication");

    let name: erp_access::domain::AccountName = "acme".parse().expect("a name");
    scene.operate(Command::AccountSuspend { name: name.clone(), reason: "unpaid".into() });
    let row = scene.denied(&scene.get("/v1/orders"), Code::AccountSuspended, "authentication");
    assert!(row["verdicts"].to_string().contains("unpaid"));
    scene.operate(Command::AccountActivate { name });
    assert_eq!(scene.get("/v1/orders").status, 200);
    scene.erp.take();

    scene.operate(Command::CredentialDisable { id: scene.issued.id });
    scene.denied(&scene.get("/v1/orders"), Code::TokenInvalid, "authentication");
    scene.operate(Command::CredentialEnable { id: scene.issued.id });
    let token = scene.gateway.token(&scene.issued);
    scene.gateway.clock.advance(Duration::from_mins(15));
    scene.denied(&scene.gateway.get(&token, "/v1/orders"), Code::TokenInvalid, "authentication");
    let token = scene.gateway.token(&scene.issued);
    scene.operate(Command::CredentialRevoke { id: scene.issued.id });
    scene.denied(&scene.gateway.get(&token, "/v1/orders"), Code::TokenInvalid, "authentication");
}

#[test]
fn a_set_that_has_expired_is_not_taken() {
    let scene = Scene::new();
    let end = "2026-11-23T12:05:00+05:00".parse().expect("a time");
    let bounds = erp_access::control::Bounds::Bounded;
    let short = scene.gateway.issue_with("acme", &["order-reader"], bounds, Some(end));
    let token = scene.gateway.token(&short);
    scene.gateway.clock.advance(Duration::from_mins(5));
    scene.denied(&scene.gateway.get(&token, "/v1/orders"), Code::TokenInvalid, "authentication");
    assert_eq!(scene.gateway.ask_for_token(&short).code(), "credentials_invalid");
}

#[test]
fn the_api_key_must_come_along_where_the_configuration_says_so() {
    let scene = Scene::with(|setup| setup.gateway("  api_key_on_relay: required\n"));
    scene.denied(&scene.get("/v1/orders"), Code::CredentialsMissing, "authentication");
    let bearer = format!("Bearer {}", scene.token);
    let headers = [("Authorization", bearer.as_str()), ("x-api-key", scene.issued.api_key.as_str())];
    assert_eq!(http::once(scene.gateway.address, "GET", "/v1/orders", &headers, None).status, 200);
}

#[test]
fn unmapped_not_granted_and_denied_by_rule_look_alike_to_the_client() {
    let scene = Scene::new();
    let answers = [
        scene.get("/v1/nothing"),
        scene.gateway.relay(&scene.token, "POST", "/v1/orders", None),
        scene.get("/v1/orders?archived=true"),
    ];
    let steps = ["endpoint", "policy", "policy"];
    let mut bodies = Vec::new();
    for (answer, step) in answers.iter().zip(steps) {
        scene.denied(answer, Code::NotPermitted, step);
        let mut body = answer.json();
        body.as_object_mut().expect("an object").remove("request_id");
        bodies.push(body);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:#?}");
    let row = scene.gateway.row_of(&answers[2]);
    assert_eq!((row["policy"].as_str(), row["rule"].as_str()), (Some("order-reader"), Some("no-archive")));
}

#[test]
fn a_condition_that_fails_denies() {
    let rules = policy("rules: [{ id: read, allow: [orders.list], when: 'int(request.query[\"page\"]) < 5' }]");
    let scene = Scene::with(|setup| setup.policy("order-reader.yaml", &rules));
    assert_eq!(scene.get("/v1/orders?page=4").status, 200);
    scene.erp.take();
    let failed = scene.get("/v1/orders?page=hunter2");
    let refused = scene.get("/v1/orders?page=6");
    assert_eq!((failed.status, failed.code().as_str()), (403, "not_permitted"));
    let told = |response: &Response| {
        let mut body = response.json();
        body.as_object_mut().expect("an object").remove("request_id");
        body
    };
    assert_eq!(told(&failed), told(&refused), "the client sees no difference");
    assert!(scene.erp.take().is_empty(), "nothing reached the ERP");
    let row = scene.gateway.row_of(&failed);
    assert_eq!(row["code"].as_str(), Some(Code::ConditionFailed.as_str()), "{row:#}");
    assert_eq!((row["status"].as_u64(), row["cause"].as_str()), (Some(403), Some("policy")));
    assert_eq!((row["policy"].as_str(), row["rule"].as_str()), (Some("order-reader"), Some("read")));
    let verdicts = row["verdicts"].to_string();
    assert!(verdicts.contains("could not be evaluated") && !verdicts.contains("hunter2"), "{row:#}");
    assert_eq!(scene.gateway.row_of(&refused)["code"].as_str(), Some("not_permitted"));
}

#[test]
fn a_condition_sees_the_headers_and_the_labels_of_the_account_as_they_are_now() {
    let rules = policy(
        "rules: [{ id: read, allow: [orders.list], when: 'request.headers[\"x-channel\"] == \"shop\" && principal.labels.tier == \"gold\" && !request.tls && principal.account == \"acme\"' }]",
    );
    let scene = Scene::with(|setup| setup.policy("order-reader.yaml", &rules));
    let bearer = format!("Bearer {}", scene.token);
    let get = |channel| {
        let headers = [("Authorization", bearer.as_str()), ("X-Channel", channel)];
        http::once(scene.gateway.address, "GET", "/v1/orders", &headers, None).status
    };
    let label = |change: &str| {
        let name = "acme".parse().expect("a name");
        scene.operate(Command::AccountLabel { name, changes: vec![change.parse().expect("a label")] });
    };
    assert_eq!(get("shop"), 403, "no label yet");
    label("tier=gold");
    assert_eq!((get("shop"), get("pos")), (200, 403));
    label("tier-");
    assert_eq!(get("shop"), 403);
}

#[test]
fn an_operation_over_the_admin_api_that_lacks_what_it_needs_says_what() {
    let scene = Scene::new();
    let refused = |reason: Option<&str>, expires_at: Option<&str>| {
        let issue = Command::CredentialIssue(Box::new(NewSet {
            kind: erp_access::control::Bounds::Unrestricted,
            reason: reason.map(str::to_owned),
            expires_at: expires_at.map(|at| at.parse().expect("a time")),
            ..NewSet::bounded("acme".parse().expect("a name"), "move", Vec::new())
        }));
        let error = scene.gateway.operate(issue).map(drop).expect_err("refused");
        assert_eq!(error.kind, erp_access::control::ErrorKind::Incomplete, "which is 400 over HTTP: {error}");
        error.message
    };
    assert!(refused(None, Some("2099-01-01T00:00:00Z")).contains("--reason"));
    assert!(refused(Some("moving"), None).contains("--expires-at"));
}

#[test]
fn a_rule_for_some_clients_is_not_for_others() {
    for (clients, expected) in [("[127.0.0.0/8]", 200), ("[192.0.2.0/24, '2001:db8::/32']", 403)] {
        let rules = policy(&format!("rules: [{{ id: read, allow: [orders.*], clients: {clients} }}]"));
        let scene = Scene::with(|setup| setup.policy("order-reader.yaml", &rules));
        assert_eq!(scene.get("/v1/orders").status, expected, "{clients}");
    }
}

#[test]
fn a_rule_ends_while_the_gateway_runs() {
    let rules = policy("rules: [{ id: read, allow: [orders.*], until: 2026-11-23T12:10:00+05:00 }]");
    let scene = Scene::with(|setup| setup.policy("order-reader.yaml", &rules));
    assert_eq!(scene.get("/v1/orders").status, 200);
    scene.gateway.clock.advance(Duration::from_mins(10));
    assert_eq!(scene.get("/v1/orders").status, 403);
}

#[test]
fn outside_its_hours_the_api_says_when_it_opens_and_an_exempt_policy_goes_on() {
    let scene = Scene::new();
    let night = scene.gateway.issue("night", &["stock-always"]);
    scene.gateway.clock.set("2026-11-23T20:00:00+05:00".parse().expect("a time"));
    let token = scene.gateway.token(&scene.issued);
    let response = scene.gateway.get(&token, "/v1/orders");
    scene.denied(&response, Code::OutsideSchedule, "schedule");
    assert_eq!(response.json()["opens_at"].as_str(), Some("2026-11-24T06:00:00Z"));
    assert_eq!(response.header("retry-after"), Some("54000"));
    let exempt = scene.gateway.token(&night);
    assert_eq!(scene.gateway.get(&exempt, "/v1/stock").status, 200);
    scene.erp.take();
    scene.denied(&scene.gateway.get("erpa_tok_wrong", "/v1/stock"), Code::TokenInvalid, "authentication");
    scene.operate(Command::AccountSuspend { name: "night".parse().expect("a name"), reason: "test".into() });
    scene.denied(&scene.gateway.get(&exempt, "/v1/stock"), Code::AccountSuspended, "authentication");
}

#[test]
fn a_scoped_kill_switch_stops_its_scope_only() {
    for scope in ["account:acme", "policy:order-reader", "upstream:erp"] {
        let scene = Scene::new();
        let scope: Scope = scope.parse().expect("a scope");
        scene.operate(Command::KillEngage { scope: scope.clone(), message: None, reason: "test".into(), until: None });
        scene.denied(&scene.get("/v1/orders"), Code::KillSwitchEngaged, "scoped_kill_switch");
    }
    let scene = Scene::new();
    let scope = "account:other".parse().expect("a scope");
    scene.operate(Command::KillEngage { scope, message: None, reason: "test".into(), until: None });
    assert_eq!(scene.get("/v1/orders").status, 200);
}

#[test]
fn a_policys_limit_is_exact_and_says_when_to_come_back() {
    let rules =
        policy("schedule: exempt\nrules: [{ id: read, allow: [orders.list] }]\nlimits: { requests: 3, per: 1m }");
    let scene = Scene::with(|setup| setup.policy("order-reader.yaml", &rules));
    assert!((0..3).all(|_| scene.get("/v1/orders").status == 200));
    scene.erp.take();
    let response = scene.get("/v1/orders");
    scene.denied(&response, Code::RateLimited, "limits");
    assert_eq!(response.header("retry-after"), Some("20"));
    assert_eq!(response.header("ratelimit-policy"), Some("\"order-reader\";q=3;w=60"));
    assert_eq!(response.header("ratelimit"), Some("\"order-reader\";r=0;t=20"));
    scene.gateway.clock.advance(Duration::from_secs(20));
    assert_eq!(scene.get("/v1/orders").status, 200);
}

const RPC: &str = "version: 1
upstream: erp
endpoints:
  - id: orders.list
    methods: [GET]
    path: /v1/orders
  - id: rpc.read
    methods: [POST]
    path: /v1/rpc
    body: { max_bytes: 100, where: { /method: [read] } }
";

#[test]
fn a_body_condition_wants_plain_json_of_bounded_size_with_one_meaning() {
    let rules = policy("schedule: exempt\nrules: [{ id: read, allow: [orders.list, rpc.read] }]");
    let scene = Scene::with(|mut setup| {
        setup.policies.retain(|name, _| *name == "schedule.yaml");
        setup.policy("endpoints/erp.yaml", RPC).policy("order-reader.yaml", &rules)
    });
    let rpc = |body: &str| scene.gateway.relay(&scene.token, "POST", "/v1/rpc", Some(body.as_bytes()));
    let passed = rpc(r#"{"method":"read"}"#);
    assert_eq!(passed.status, 200, "{}", passed.text());
    assert_eq!(scene.erp.take()[0].body, br#"{"method":"read"}"#);
    scene.denied(&rpc(r#"{"method":"delete"}"#), Code::NotPermitted, "endpoint");
    scene.denied(&rpc(r#"{"method":"read","method":"delete"}"#), Code::BadRequest, "endpoint");
    scene.denied(&rpc(r#"[{"method":"read"}]"#), Code::BadRequest, "endpoint");
    scene.denied(&rpc(r#"[{"method":"read","method":"read"}]"#), Code::BadRequest, "endpoint");
    scene.denied(&rpc(&format!(r#"{{"method":"read","x":"{}"}}"#, "x".repeat(100))), Code::TooLarge, "endpoint");
    let bearer = format!("Bearer {}", scene.token);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "text/plain")];
    let plain = http::once(scene.gateway.address, "POST", "/v1/rpc", &headers, Some(br#"{"method":"read"}"#));
    scene.denied(&plain, Code::UnsupportedMediaType, "endpoint");
}

#[test]
fn an_odata_batch_that_a_parameter_spells_never_passes() {
    const REST: &str = "version: 1
upstream: erp
endpoints:
  - { id: odata, methods: [POST], path: '/v1/odata/{path...}', upstream_path: '/odata/{path...}' }
";
    let rules = policy("schedule: exempt\nrules: [{ id: all, allow: [odata] }]");
    let scene = Scene::with(|mut setup| {
        setup.policies.retain(|name, _| *name == "schedule.yaml");
        setup.policy("endpoints/erp.yaml", REST).policy("order-reader.yaml", &rules)
    });
    for path in ["$batch", "shop/$batch", "shop/%24batch", "shop/$BATCH"] {
        let response = scene.gateway.relay(&scene.token, "POST", &format!("/v1/odata/{path}"), Some(b"{}"));
        scene.denied(&response, Code::NotPermitted, "endpoint");
    }
    let other = scene.gateway.relay(&scene.token, "POST", "/v1/odata/shop/Orders", Some(b"{}"));
    assert_eq!(other.status, 200, "{}", other.text());
}

#[test]
fn an_audit_trail_without_room_denies() {
    let scene = Scene::new();
    let data = scene.gateway.folder.path().join("data/audit.db");
    let database = rusqlite::Connection::open(data).expect("opened");
    database.busy_timeout(Duration::from_secs(5)).expect("set");
    database
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON decision BEGIN SELECT RAISE(ABORT, 'full'); END")
        .expect("broken");
    let response = scene.get("/v1/orders");
    expect(&response, Code::AuditUnavailable);
    assert_eq!(scene.erp.count(), 0);
    database.execute_batch("DROP TRIGGER full").expect("mended");
    assert_eq!(scene.get("/v1/orders").status, 200);
}

/// An ERP that does one thing to every connection.
fn odd_erp(act: impl Fn(std::net::TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    let act = std::sync::Arc::new(act);
    std::thread::spawn(move || {
        for stream in listener.incoming().take(50).flatten() {
            let act = std::sync::Arc::clone(&act);
            std::thread::spawn(move || act(stream));
        }
    });
    address
}

fn behind(erp: SocketAddr, change: impl FnOnce(Setup) -> Setup) -> (Gateway, String) {
    let gateway = change(Setup::new(erp)).start();
    gateway.set_api_key("erp-side-key-1");
    let token = gateway.token(&gateway.issue("acme", &["order-reader"]));
    (gateway, token)
}

/// The request was allowed, and the outcome says what went wrong.
fn failed(gateway: &Gateway, response: &Response, code: Code) {
    expect(response, code);
    let row = gateway.row_of(response);
    assert_eq!(row["decision"].as_str(), Some("allowed"), "{row:#}");
    assert_eq!(
        (row["outcome"]["ended"].as_str(), row["outcome"]["code"].as_str()),
        (Some("failed"), Some(code.as_str())),
        "{row:#}"
    );
}

#[test]
fn outages_of_the_erp_are_told_apart() {
    let (gateway, token) = behind(([127, 0, 0, 1], 1).into(), |setup| setup);
    failed(&gateway, &gateway.get(&token, "/v1/orders"), Code::UpstreamUnreachable);

    let read = |stream: &mut std::net::TcpStream| drop(stream.read(&mut [0; 4096]));
    let silent = odd_erp(move |mut stream| {
        read(&mut stream);
        std::thread::sleep(Duration::from_secs(20));
    });
    let (gateway, token) = behind(silent, |mut setup| {
        setup.upstream.push_str("    timeouts: { read: 200ms }\n");
        setup
    });
    failed(&gateway, &gateway.get(&token, "/v1/orders"), Code::UpstreamTimeout);

    let babbling = odd_erp(move |mut stream| {
        read(&mut stream);
        let _ = stream.write_all(b"this is not HTTP\r\n\r\n");
    });
    let (gateway, token) = behind(babbling, |setup| setup);
    failed(&gateway, &gateway.get(&token, "/v1/orders"), Code::UpstreamProtocolError);

    let (gateway, token) = behind(([127, 0, 0, 1], 1).into(), |setup| setup.session(LITTLE_ERP_SESSION));
    gateway.set_password("gateway", "wrong");
    let response = gateway.get(&token, "/v1/orders");
    failed(&gateway, &response, Code::UpstreamSessionFailed);
}

#[test]
fn a_body_that_does_not_arrive_is_told_so() {
    let scene = Scene::with(|setup| setup.gateway("  limits:\n    body_read_timeout: 1s\n"));
    let mut connection = Connection::open(scene.gateway.address);
    let basic = scene.issued.basic();
    let headers =
        [("Authorization", basic.as_str()), ("x-api-key", scene.issued.api_key.as_str()), ("Content-Length", "10")];
    connection.send(&http::render("POST", "/oauth/token", &headers, None)).expect("sent");
    let response = connection.response(false).expect("an answer");
    assert_eq!((response.status, response.code().as_str()), (408, "request_timeout"));
}

#[test]
fn more_requests_at_once_than_allowed_are_told_to_come_back() {
    let (arrived, arrival) = std::sync::mpsc::channel();
    let slow = odd_erp(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = arrived.send(());
        // Answers nothing until the gateway gives up.
        let _ = stream.read(&mut [0; 4096]);
    });
    let (gateway, token) = behind(slow, |setup| setup.gateway("  limits:\n    requests_at_once: 1\n"));
    let bearer = format!("Bearer {token}");
    let request = http::render("GET", "/v1/orders", &[("Authorization", &bearer)], None);
    let mut waiting = Vec::new();
    // The request for the token may still be counted when the first one comes.
    let arrived = (0..60).any(|_| {
        let mut connection = Connection::open(gateway.address);
        connection.send(&request).expect("sent");
        waiting.push(connection);
        arrival.recv_timeout(Duration::from_secs(1)).is_ok()
    });
    assert!(arrived, "a request is at the ERP");
    let response = gateway.get(&token, "/v1/orders");
    expect(&response, Code::Overloaded);
    assert!(response.header("retry-after").is_some());
}

/// Codes that the tests of this file and its neighbours see; a new code wants a test.
#[test]
fn every_code_has_a_test() {
    let sources = [
        include_str!("gate.rs"),
        include_str!("token.rs"),
        include_str!("lifecycle.rs"),
        include_str!("obligations.rs"),
        include_str!("upstreams.rs"),
    ]
    .concat();
    // A defect of the gateway cannot be provoked on purpose.
    let untestable = [Code::InternalError];
    let missing: Vec<_> = Code::ALL
        .iter()
        .filter(|code| !untestable.contains(code))
        .filter(|code| !sources.contains(&format!("Code::{code:?}")) && !sources.contains(&format!("\"{code}\"")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
