//! The admin API over HTTP: who gets in, what each role may do, what a tenant sees, how its document fits.

use std::net::SocketAddr;
use std::path::PathBuf;

use erp_access::control::{Command, OPERATIONS, Operation, description};
use erp_access::domain::Role;
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Issued, Setup};
use crate::support::golden;
use crate::support::http::{self, Response};
use crate::support::process::{free_address, succeed};

const PORTAL: &str = "portal:\n  listen: [\"127.0.0.1:0\"]\n";
/// An id that nothing has.
const NO_ID: &str = "019ab7c2-7d3e-7cc1-8b1f-0242ac120099";

fn gateway() -> Gateway {
    Setup::new(free_address()).config(PORTAL).start()
}

fn portal(gateway: &Gateway) -> SocketAddr {
    gateway.portal.expect("the admin API is served")
}

/// The path of an operation with this in place of what stands in braces.
fn path(operation: &Operation, place: &str) -> String {
    let segments = operation.path.split('/').map(|segment| if segment.starts_with('{') { place } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

fn ask(gateway: &Gateway, key: &str, method: &str, target: &str, body: Option<&Value>) -> Response {
    ask_with(gateway, &[("x-api-key", key)], method, target, body)
}

fn ask_with(gateway: &Gateway, headers: &[(&str, &str)], method: &str, target: &str, body: Option<&Value>) -> Response {
    let body = body.map(Value::to_string);
    let headers = [headers, &[("Content-Type", "application/json")]].concat();
    http::once(portal(gateway), method, target, &headers, body.as_deref().map(str::as_bytes))
}

#[test]
fn every_route_is_closed_without_a_key_that_serves() {
    let gateway = gateway();
    let of_client = gateway.issue("acme", &["order-reader"]).api_key;
    let (id, revoked) = gateway.operator_key(Role::Admin, None);
    gateway.operate(Command::OperatorKeyRevoke { id }).expect("revoked");
    let unknown = ("GET", "/v1/nothing".to_owned());
    let routes = OPERATIONS.iter().map(|operation| (operation.method.as_str(), path(operation, "x")));
    for (method, target) in routes.chain([unknown, ("GET", "/v1/openapi.json".to_owned())]) {
        let without = ask_with(&gateway, &[], method, &target, None);
        assert_eq!((without.status, without.code().as_str()), (401, "unauthenticated"), "{method} {target}");
    }
    let mut codes = Vec::new();
    for operation in OPERATIONS {
        for key in [of_client.as_str(), revoked.as_str(), "erpa_key_nonsense", ""] {
            let answer = ask(&gateway, key, operation.method.as_str(), &path(operation, "x"), None);
            assert!(matches!(answer.status, 401 | 429), "{}: {}", operation.name, answer.text());
            codes.push(answer.status);
        }
    }
    assert_eq!(codes[0], 401);
    assert_eq!(codes.last(), Some(&429), "guessing is slowed down");
    let rows = gateway.audit("system", 1);
    assert!(rows.iter().any(|row| row["method"] == "control.sign-in" && row["decision"] == "denied"), "{rows:#?}");
}

#[test]
fn what_each_role_may_do_is_as_written_down() {
    let gateway = gateway();
    gateway.issue("acme", &[]);
    let keys = Role::ALL.map(|role| gateway.operator_key(role, (role == Role::Client).then_some("acme")).1);
    let mut found = String::from("operation                  admin     operator  auditor   client\n");
    for operation in OPERATIONS {
        let mut line = format!("{:<27}", operation.name);
        for key in &keys {
            // Nothing that is named exists, so nothing is changed by whoever may.
            let answer = ask(&gateway, key, operation.method.as_str(), &path(operation, "x"), None);
            assert_ne!(answer.status, 401, "{}", answer.text());
            line.push_str(&format!("{:<10}", if answer.code() == "forbidden" { "-" } else { "may" }));
        }
        found.push_str(line.trim_end());
        found.push('\n');
    }
    golden::assert_kept("tests/golden/roles.txt", &found);
    let refused = gateway.audit("system", 1).into_iter().filter(|row| row["method"] == "control.refused").count();
    assert!(refused >= found.matches(" -").count(), "each refusal left a row: {refused}");
}

/// A client's key, its own set and token, and those of somebody else.
struct Tenants {
    key: String,
    own: Issued,
    others: Issued,
}

fn tenants(gateway: &Gateway) -> Tenants {
    let own = gateway.issue("acme", &["order-reader"]);
    let others = gateway.issue("globex", &["order-reader"]);
    Tenants { key: gateway.operator_key(Role::Client, Some("acme")).1, own, others }
}

#[test]
fn a_client_gets_nothing_of_another_tenant_whatever_it_asks_for() {
    let gateway = gateway();
    let Tenants { key, own, others } = tenants(&gateway);
    let (own_token, others_token) = (gateway.token(&own), gateway.token(&others));
    let own_row = gateway.row_of(&gateway.get(&own_token, "/v1/customers"))["id"].clone();
    let others_row = gateway.row_of(&gateway.get(&others_token, "/v1/customers"))["id"].clone();
    let token_of = |issued: &Issued| {
        let list = gateway.operate(Command::TokenList { credential: Some(issued.id), account: None }).expect("listed");
        list[0]["id"].as_str().expect("an id").to_owned()
    };
    let (own_token_id, others_token_id) = (token_of(&own), token_of(&others));
    let text = |value: &Value| value.as_str().expect("an id").to_owned();
    let foreign: Vec<String> =
        vec![others.id.to_string(), others_token_id.clone(), text(&others_row), "globex".to_owned()];
    let before = gateway.operate(Command::CredentialShow { id: others.id }).expect("shown");
    let mut tried = 0;
    for operation in OPERATIONS.iter().filter(|operation| operation.audience.includes(Role::Client)) {
        let method = operation.method.as_str();
        for id in &foreign {
            if operation.path.contains('{') {
                let answer = ask(&gateway, &key, method, &path(operation, id), None);
                let nobodys = if id == "globex" { "nobody" } else { NO_ID };
                let nothing = ask(&gateway, &key, method, &path(operation, nobodys), None);
                let alike = |answer: &Response, id: &str| answer.text().replace(id, "…");
                assert_eq!(answer.status, nothing.status, "{}", operation.name);
                assert_eq!(alike(&answer, id), alike(&nothing, nobodys), "{}", operation.name);
                assert!(answer.status >= 400, "{} {id}: {}", operation.name, answer.text());
            } else {
                for name in ["account", "credential", "token", "id"] {
                    let answer = ask(&gateway, &key, method, &format!("{}?{name}={id}", operation.path), None);
                    let answer = answer.text().replace(id.as_str(), "…");
                    let leaks = foreign.iter().any(|foreign| answer.contains(foreign.as_str()));
                    assert!(!leaks, "{} {name}={id}: {answer}", operation.name);
                }
            }
            tried += 1;
        }
    }
    assert!(tried >= 40, "{tried}");
    assert_eq!(gateway.operate(Command::CredentialShow { id: others.id }).expect("shown"), before);
    assert_eq!(gateway.get(&others_token, "/v1/customers").status, 502, "the other's token lives, and its ERP is away");

    let get = |target: &str| ask(&gateway, &key, "GET", target, None);
    for list in ["/v1/credentials", "/v1/grants", "/v1/tokens", "/v1/audit"] {
        let answer = get(list);
        assert_eq!(answer.status, 200, "{list}: {}", answer.text());
        assert!(!answer.json()["items"].as_array().expect("a list").is_empty(), "{list}: its own are there");
        assert!(!foreign.iter().any(|foreign| answer.text().contains(foreign.as_str())), "{list}");
    }
    assert_eq!(get("/v1/accounts/acme").json()["name"], "acme");
    let row = get(&format!("/v1/audit/{}", text(&own_row)));
    assert_eq!(row.json()["path"], "/v1/customers");
    for hidden in ["verdicts", "policy_snapshot", "explanation", "detail", "upstream_peer"] {
        assert!(!row.text().contains(hidden), "{hidden} is for the house");
    }
    let revoked = ask(&gateway, &key, "POST", &format!("/v1/tokens/{own_token_id}/revoke"), None);
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert_eq!(gateway.get(&own_token, "/v1/customers").code(), "token_invalid");
}

#[test]
fn an_idempotency_key_makes_nothing_twice() {
    let gateway = gateway();
    let (_, key) = gateway.operator_key(Role::Admin, None);
    let issue = |once: &str, name: &str| {
        let body = json!({ "account": "acme", "name": name, "kind": "bounded", "grants": [] });
        let headers = [("x-api-key", key.as_str()), ("Idempotency-Key", once)];
        ask_with(&gateway, &headers, "POST", "/v1/credentials", Some(&body))
    };
    assert_eq!(issue("k-1", "till").status, 404, "there is no such account yet, and nothing is kept of the attempt");
    assert_eq!(ask(&gateway, &key, "POST", "/v1/accounts", Some(&json!({ "name": "acme" }))).status, 201);
    let first = issue("k-1", "till");
    assert_eq!(first.status, 201, "{}", first.text());
    let again = issue("k-1", "till");
    assert_eq!((again.status, again.code().as_str()), (409, "conflict"));
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    assert!(again.text().contains(&id) && !again.text().contains("erpa_"), "{}", again.text());
    assert_eq!(issue("k-1", "another").status, 422);
    assert_eq!(issue("k-2", "till").status, 201);
    let listed = ask(&gateway, &key, "GET", "/v1/credentials", None).json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_long_list_comes_in_pages_and_whole() {
    let gateway = gateway();
    let (_, key) = gateway.operator_key(Role::Auditor, None);
    let names: Vec<String> = (0..25).map(|number| format!("account-{number:02}")).collect();
    for name in names.iter().rev() {
        let name = name.parse().expect("a name");
        gateway.operate(Command::AccountCreate { name, labels: Vec::new() }).expect("created");
    }
    let (mut seen, mut target) = (Vec::new(), "/v1/accounts?limit=10".to_owned());
    loop {
        let page = ask(&gateway, &key, "GET", &target, None).json();
        seen.extend(
            page["items"].as_array().expect("a list").iter().map(|item| item["name"].as_str().map(str::to_owned)),
        );
        let Some(next) = page["next"].as_str() else { break };
        target = format!("/v1/accounts?limit=10&after={next}");
    }
    assert_eq!(seen.into_iter().flatten().collect::<Vec<_>>(), names);
}

#[test]
fn the_command_line_gets_a_list_of_several_pages_whole() {
    let gateway = gateway();
    for number in 0..1_005 {
        let name = format!("account-{number}").parse().expect("a name");
        gateway.operate(Command::AccountCreate { name, labels: Vec::new() }).expect("created");
    }
    let listed = succeed(gateway.folder.path(), &["account", "list", "-o", "json"], "");
    let listed: Vec<Value> = serde_json::from_str(&listed).expect("JSON");
    let names: std::collections::HashSet<_> = listed.iter().map(|account| account["name"].as_str()).collect();
    assert_eq!((listed.len(), names.len()), (1_005, 1_005));
}

#[test]
fn a_key_serves_from_its_networks_and_until_it_ends_only() {
    let gateway = gateway();
    let issue = |name: &str, network: &str, ends: &str| {
        let issued = gateway.operate(Command::OperatorKeyIssue {
            name: name.to_owned(),
            role: Role::Auditor,
            account: None,
            expires_at: ends.parse().expect("a time"),
            clients: vec![network.parse().expect("a network")],
        });
        issued.expect("issued")["api_key"].as_str().expect("a key").to_owned()
    };
    let here = issue("here", "127.0.0.0/8", "2026-11-24T00:00:00Z");
    let elsewhere = issue("elsewhere", "10.0.0.0/8", "2026-11-24T00:00:00Z");
    let status = |key: &str| ask(&gateway, key, "GET", "/v1/status", None).status;
    assert_eq!((status(&here), status(&elsewhere)), (200, 401));
    gateway.clock.set("2026-11-24T00:00:00Z".parse().expect("a time"));
    assert_eq!(status(&here), 401);
    let listed = gateway.operate(Command::OperatorKeyList).expect("listed");
    assert!(listed.as_array().expect("a list").iter().all(|key| key["state"] == "expired"), "{listed}");
}

#[test]
fn a_body_that_is_none_of_ours_is_refused_with_what_is_wrong() {
    let gateway = gateway();
    let (_, key) = gateway.operator_key(Role::Admin, None);
    let headers = [("x-api-key", key.as_str()), ("Content-Type", "text/plain")];
    let text = http::once(portal(&gateway), "POST", "/v1/accounts", &headers, Some(b"{\"name\":\"a\"}"));
    assert_eq!((text.status, text.code().as_str()), (415, "unsupported_media_type"));
    let large = json!({ "name": "x".repeat(300_000) });
    assert_eq!(ask(&gateway, &key, "POST", "/v1/accounts", Some(&large)).code(), "too_large");
    let typo = ask(&gateway, &key, "POST", "/v1/accounts", Some(&json!({ "nmae": "acme" })));
    assert_eq!(typo.header("content-type"), Some("application/problem+json"));
    assert!(typo.text().contains("did you mean `name`"), "{}", typo.text());
    assert_eq!(ask(&gateway, &key, "PATCH", "/v1/accounts", None).code(), "method_not_allowed");
    assert_eq!(ask(&gateway, &key, "GET", "/v1/nothing", None).code(), "not_found");
}

#[test]
fn the_shipped_description_is_the_one_that_is_served() {
    let text = serde_json::to_string_pretty(&description()).expect("JSON") + "\n";
    golden::assert_kept("docs/admin-api.json", &text);
    let gateway = gateway();
    let (_, key) = gateway.operator_key(Role::Auditor, None);
    let served = ask(&gateway, &key, "GET", "/v1/openapi.json", None).json();
    assert_eq!(served, serde_json::from_str::<Value>(&text).expect("JSON"));
}

/// The folder of Schemathesis; `None` where it is not installed.
#[expect(clippy::disallowed_methods, reason = "the test script says where it is installed")]
pub(crate) fn schemathesis() -> Option<PathBuf> {
    let installed = std::env::var_os("ERP_ACCESS_TEST_SCHEMATHESIS").map(PathBuf::from);
    if installed.is_none() {
        eprintln!("SKIPPED: ERP_ACCESS_TEST_SCHEMATHESIS is not set: Schemathesis could not be installed");
    }
    installed
}

#[test]
fn what_is_asked_at_random_is_answered_as_the_description_says() {
    let Some(installed) = schemathesis() else { return };
    let gateway = gateway();
    gateway.issue("acme", &["order-reader"]);
    let (_, key) = gateway.operator_key(Role::Admin, None);
    let home = tempfile::tempdir().expect("a folder");
    // The key is in a file, as it would be in a script: what is on a command line, every process sees.
    let hooks = home.path().join("hooks.py");
    let hook = format!(
        "import schemathesis\n@schemathesis.auth()\nclass Key:\n    def get(self, case, context):\n        return {key:?}\n    def set(self, case, data, context):\n        case.headers = case.headers or {{}}\n        case.headers['x-api-key'] = data\n"
    );
    std::fs::write(&hooks, hook).expect("written");
    let description = home.path().join("admin-api.json");
    std::fs::write(&description, serde_json::to_vec(&erp_access::control::description()).expect("JSON"))
        .expect("written");
    let output = std::process::Command::new(installed.join("venv/bin/schemathesis"))
        .current_dir(home.path())
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", home.path())
        .args(["run", "admin-api.json", "--url", &format!("http://{}", portal(&gateway))])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "7", "--workers", "1"])
        .args(["--checks", CHECKS, "--continue-on-failure", "--suppress-health-check", "all", "--no-color"])
        .output()
        .expect("runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(gateway.audit("change", 1).len() > 10, "some of it did something");
}

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance,negative_data_rejection,unsupported_method";

#[test]
fn a_change_of_what_has_changed_since_it_was_looked_at_is_refused() {
    let gateway = gateway();
    let (_, key) = gateway.operator_key(Role::Admin, None);
    gateway.issue("acme", &["order-reader"]);
    let set = ask(&gateway, &key, "GET", "/v1/credentials", None).json()["items"][0]["id"].clone();
    let set = format!("/v1/credentials/{}", set.as_str().expect("an id"));
    let looked = ask(&gateway, &key, "GET", &set, None);
    let tag = looked.header("etag").expect("a tag").to_owned();
    let change = |tag: &str, name: &str| {
        let headers = [("x-api-key", key.as_str()), ("If-Match", tag)];
        ask_with(&gateway, &headers, "POST", &set, Some(&json!({ "name": name })))
    };
    let first = change(&tag, "till 2");
    assert_eq!(first.status, 200, "{}", first.text());
    assert_ne!(first.header("etag"), Some(tag.as_str()));
    let second = change(&tag, "till 3");
    assert_eq!((second.status, second.code().as_str()), (412, "stale"), "{}", second.text());
    assert_eq!(ask(&gateway, &key, "GET", &set, None).json()["name"], "till 2");
    assert_eq!(change("*", "till 4").status, 200);
    assert_eq!(change("till", "till 5").status, 422);
    let account = ask(&gateway, &key, "GET", "/v1/accounts/acme", None);
    let tag = account.header("etag").expect("a tag").to_owned();
    let body = json!({ "reason": "late payment" });
    let suspend = |tag: &str| {
        let headers = [("x-api-key", key.as_str()), ("If-Match", tag)];
        ask_with(&gateway, &headers, "POST", "/v1/accounts/acme/suspend", Some(&body)).status
    };
    assert_eq!((suspend("\"1\""), suspend(&tag), suspend(&tag)), (412, 200, 412));
}
