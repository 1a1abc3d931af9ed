//! `audit show`: what a row says in plain words, the policy text of then, and what today's policies say.

use erp_access::control::Command;
use serde_json::Value;

use crate::support::gateway::{Gateway, Issued, Setup};
use crate::support::http::{self, Response};
use crate::support::process::succeed;
use crate::support::recorder::Recorder;

/// A gateway with one credential set that holds `order-reader`.
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

    fn get(&self, target: &str) -> Response {
        self.gateway.get(&self.token, target)
    }

    fn explained(&self, response: &Response) -> Value {
        self.gateway.row_of(response)["explanation"].clone()
    }

    /// Replaces a policy and puts it in force.
    fn edit(&self, file: &str, change: impl FnOnce(String) -> String) {
        let path = self.gateway.folder.path().join("policies").join(file);
        let text = std::fs::read_to_string(&path).expect("read");
        std::fs::write(&path, change(text)).expect("written");
        self.gateway.operate(Command::PolicyReload).expect("reloaded");
    }
}

fn said(explanation: &Value) -> String {
    let sentences = explanation["sentences"].as_array().expect("sentences");
    sentences.iter().map(|sentence| sentence.as_str().expect("a text")).collect::<Vec<_>>().join("\n")
}

/// The lines of the deciding rule.
fn marked(explanation: &Value) -> Vec<String> {
    let lines = explanation["policy"]["lines"].as_array().expect("lines");
    let marked = lines.iter().filter(|line| line["deciding"] == true);
    marked.map(|line| format!("{}: {}", line["number"], line["text"].as_str().expect("a text"))).collect()
}

#[test]
fn an_allowed_relay_is_told_step_by_step_with_the_rule_that_allowed_it() {
    let scene = Scene::new();
    let explanation = scene.explained(&scene.get("/v1/orders"));
    let said = said(&explanation);
    for part in [
        "On 2026-11-23 at 07:00:00 UTC credential set `integration` (",
        "of account `acme` at 127.0.0.1 asked for GET /v1/orders, which is the endpoint `orders.list`.",
        "The token was looked up and is live, with its set and account: set `integration` of account `acme`.",
        "they lead to `orders.list`.",
        "The granted policies were asked: allowed by order-reader/read.",
        "The schedule was looked at: `default` is open.",
        "So it was allowed, by rule `read` of policy `order-reader`.",
        "The request was sent once to the ERP at 127.0.0.1:",
        "The answer was passed on whole with status 200.",
    ] {
        assert!(said.contains(part), "no `{part}` in {said}");
    }
    assert_eq!(explanation["policy"]["file"], "order-reader.yaml");
    assert_eq!(explanation["policy"]["in_force_from"], "2026-11-23T07:00:00Z");
    assert_eq!(
        marked(&explanation),
        [
            "7:   - id: read",
            "8:     allow: [customers.list, customers.read, orders.list, orders.read, stock.list, stock.read]"
        ]
    );
    let today = &explanation["today"];
    assert_eq!((&today["decision"], &today["same"]), (&"allowed".into(), &true.into()), "{today}");
    assert!(today["why"].as_str().is_some_and(|why| why.contains("Schedule, kill switches and limits")), "{today}");
}

#[test]
fn a_relay_denied_by_a_rule_shows_that_rule() {
    let scene = Scene::new();
    let explanation = scene.explained(&scene.get("/v1/orders?archived=true"));
    let said = said(&explanation);
    assert!(said.contains("refused it: denied by rule `order-reader/no-archive` (order-reader.yaml:9)."), "{said}");
    assert!(said.contains("answered with status 403, code `not_permitted`: this request is not permitted"), "{said}");
    let marked = marked(&explanation);
    assert_eq!(marked.first().map(String::as_str), Some("9:   - id: no-archive"));
    assert_eq!(marked.len(), 3, "{marked:?}");
    assert_eq!((&explanation["today"]["decision"], &explanation["today"]["same"]), (&"denied".into(), &true.into()));
}

#[test]
fn what_no_rule_allows_is_told_as_denied_by_default_with_what_was_looked_at() {
    let scene = Scene::new();
    let explanation = scene.explained(&scene.gateway.relay(&scene.token, "POST", "/v1/orders", Some(b"{}")));
    let said = said(&explanation);
    assert!(said.contains("no rule of a granted policy allows it (granted: `order-reader`)."), "{said}");
    assert!(said.contains("denied by default"), "{said}");
    assert!(explanation["policy"].is_null());
    assert_eq!((&explanation["today"]["decision"], &explanation["today"]["same"]), (&"denied".into(), &true.into()));

    let policy = "order-writer".parse().expect("a name");
    scene
        .gateway
        .operate(Command::GrantAdd { credential: scene.issued.id, policy, expires_at: None })
        .expect("granted");
    let unmapped = scene.explained(&scene.get("/api/session"));
    let today = &unmapped["today"];
    assert_eq!((&today["decision"], &today["same"]), (&"denied".into(), &true.into()), "{today}");
    assert!(today["why"].as_str().is_some_and(|why| why.contains("no endpoint has this method and path")), "{today}");
}

#[test]
fn a_grant_that_came_later_makes_today_differ() {
    let scene = Scene::new();
    let denied = scene.gateway.relay(&scene.token, "POST", "/v1/orders", Some(b"{}"));
    let policy = "order-writer".parse().expect("a name");
    scene
        .gateway
        .operate(Command::GrantAdd { credential: scene.issued.id, policy, expires_at: None })
        .expect("granted");
    let today = scene.explained(&denied)["today"].clone();
    assert_eq!((&today["decision"], &today["same"]), (&"allowed".into(), &false.into()), "{today}");
    assert!(today["why"].as_str().is_some_and(|why| why.contains("differently: allowed by order-writer/")), "{today}");
}

#[test]
fn after_an_edit_the_old_text_is_shown_and_today_differs() {
    let scene = Scene::new();
    let response = scene.get("/v1/orders");
    assert_eq!(response.status, 200);
    scene.edit("order-reader.yaml", |text| {
        format!("# Orders are for others.\n{}", text.replace("orders.list, orders.read, ", ""))
    });
    let explanation = scene.explained(&response);
    assert_eq!(
        marked(&explanation).last().map(String::as_str),
        Some("8:     allow: [customers.list, customers.read, orders.list, orders.read, stock.list, stock.read]"),
        "the text of then"
    );
    let today = &explanation["today"];
    assert_eq!((&today["decision"], &today["same"]), (&"denied".into(), &false.into()), "{today}");
    assert!(today["why"].as_str().is_some_and(|why| why.contains("no rule of a granted policy allows it")), "{today}");

    let newer = scene.explained(&scene.get("/v1/customers"));
    assert_eq!(
        marked(&newer).last().map(String::as_str),
        Some("9:     allow: [customers.list, customers.read, stock.list, stock.read]")
    );
    assert_ne!(newer["policy"]["snapshot"], explanation["policy"]["snapshot"]);
}

#[test]
fn a_query_that_was_redacted_is_not_trusted_where_a_rule_looks_at_it() {
    let scene = Scene::new();
    let looked_at = scene.explained(&scene.get("/v1/orders?token=abcdefgh12345678"));
    let why = looked_at["today"]["why"].as_str().expect("a text");
    assert!(why.contains("The query was redacted in the row"), "{why}");
    let ignored = scene.explained(&scene.get("/v1/customers?token=abcdefgh12345678"));
    let why = ignored["today"]["why"].as_str().expect("a text");
    assert!(!why.contains("redacted"), "{why}");
}

#[test]
fn a_token_attempt_with_a_wrong_password_is_told() {
    let scene = Scene::new();
    let wrong = Issued { password: scene.issued.password.replace(char::is_numeric, "x"), ..scene.issued.clone() };
    let response = scene.gateway.ask_for_token(&wrong);
    assert_eq!(response.status, 401);
    let explanation = scene.explained(&response);
    let said = said(&explanation);
    for part in [
        "somebody who was not recognised at 127.0.0.1 asked for a token, with the client id of credential set `integration`",
        "Client id, password and x-api-key were not accepted: ",
        "status 401, code `credentials_invalid`",
    ] {
        assert!(said.contains(part), "no `{part}` in {said}");
    }
    assert!(explanation["policy"].is_null() && explanation["today"].is_null(), "{explanation:#}");
}

#[test]
fn a_request_whose_sender_is_not_known_cannot_be_decided_again() {
    let scene = Scene::new();
    let explanation = scene.explained(&http::once(scene.gateway.address, "GET", "/v1/orders", &[], None));
    let today = &explanation["today"];
    assert!(today["decision"].is_null() && today["same"].is_null(), "{today}");
    assert!(today["why"].as_str().is_some_and(|why| why.contains("cannot be told")), "{today}");
}

#[test]
fn a_change_is_told_with_before_and_after() {
    let scene = Scene::new();
    scene.gateway.operate(Command::CredentialDisable { id: scene.issued.id }).expect("disabled");
    let id = scene.gateway.audit("change", 1)[0]["id"].as_str().expect("an id").to_owned();
    let shown = scene.gateway.operate(Command::AuditShow { id: id.parse().expect("an id") }).expect("shown");
    let explanation = &shown["explanation"];
    let said = said(explanation);
    assert!(said.contains("operator `tester` disabled the credential set"), "{said}");
    assert!(said.contains("Its state was `active` before and is `disabled` since."), "{said}");
    assert!(explanation["policy"].is_null() && explanation["today"].is_null(), "{explanation:#}");
}

#[test]
fn the_command_prints_sentences_text_and_today_or_the_whole_row() {
    let scene = Scene::new();
    let response = scene.get("/v1/orders?archived=true");
    scene.gateway.row_of(&response);
    let id = response.header("x-request-id").expect("an id").to_owned();
    let folder = scene.gateway.folder.path();
    let shown = succeed(folder, &["audit", "show", &id], "");
    for part in [
        "\ndecision path\n   1. passed  The head of the request was read: one meaning.\n",
        "\n   5. DENIED  The granted policies were asked, and refused it: denied by rule `order-reader/no-archive`",
        "\norder-reader.yaml, as it was then (snapshot ",
        "\n   8      allow: [customers.list,",
        "\n>  9    - id: no-archive\n> 10      deny: [orders.list]\n> 11      when: 'request.query[\"archived\"] == \"true\"'\n  12  limits:",
        "\ntoday\n   Today's policies would decide the same: denied by rule",
    ] {
        assert!(shown.contains(part), "no `{part}` in {shown}");
    }
    let json: Value = serde_json::from_str(&succeed(folder, &["audit", "show", &id, "-o", "json"], "")).expect("JSON");
    assert_eq!(json["id"], id);
    assert_eq!(json["explanation"]["policy"]["first_line"], 1);
    let line = succeed(folder, &["audit", "show", &id, "-o", "ndjson"], "");
    assert_eq!((line.lines().count(), serde_json::from_str::<Value>(&line).expect("JSON")), (1, json));
}

#[test]
fn what_rows_do_not_keep_is_not_guessed_when_today_is_asked() {
    let scene = Scene::new();
    let response = scene.get("/v1/orders");
    assert_eq!(scene.explained(&response)["today"]["same"], true);
    scene.edit("order-reader.yaml", |text| text.replace("request.query[\"archived\"]", "request.headers[\"x-kind\"]"));
    let today = scene.explained(&response)["today"].clone();
    assert!(today["same"].is_null() && today["why"].to_string().contains("headers"), "{today:#}");
}
