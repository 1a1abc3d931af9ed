//! Every operation of the admin API, carried out over HTTP, answers with exactly what its description says.

use std::collections::{BTreeMap, BTreeSet};

use erp_access::control::{OPERATIONS, Operation, description};
use erp_access::domain::Role;
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Setup};
use crate::support::http;
use crate::support::recorder::Recorder;

struct Scene {
    gateway: Gateway,
    key: String,
    description: Value,
    called: BTreeSet<&'static str>,
    seen: BTreeSet<String>,
    wrong: Vec<String>,
    _erp: Recorder,
}

impl Scene {
    fn new() -> Self {
        let erp = Recorder::answering("application/json", &[], b"[]");
        let gateway = Setup::new(erp.address()).config("portal:\n  listen: [\"127.0.0.1:0\"]\n").start();
        let (_, key) = gateway.operator_key(Role::Admin, None);
        let description = serde_json::to_value(description()).expect("JSON");
        Self { gateway, key, description, called: BTreeSet::new(), seen: BTreeSet::new(), wrong: Vec::new(), _erp: erp }
    }

    /// Carries an operation out, which must work, and holds the answer against the description.
    fn call(&mut self, name: &str, place: &[&str], body: &Value) -> Value {
        let operation = Operation::named(name).unwrap_or_else(|| panic!("there is no `{name}`"));
        let mut places = place.iter();
        let segments = operation
            .path
            .split('/')
            .map(|segment| if segment.starts_with('{') { *places.next().expect("a place") } else { segment });
        let mut target = segments.collect::<Vec<_>>().join("/");
        let method = operation.method.as_str();
        let body = match (method, body) {
            ("GET" | "DELETE", Value::Object(members)) => {
                let pairs =
                    members.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
                target = format!("{target}?{}", pairs.collect::<Vec<_>>().join("&"));
                None
            }
            (_, Value::Null) => None,
            (_, body) => Some(body.to_string()),
        };
        let headers = [("x-api-key", self.key.as_str()), ("Content-Type", "application/json")];
        let address = self.gateway.portal.expect("the admin API is served");
        let answer = http::once(address, method, &target, &headers, body.as_deref().map(str::as_bytes));
        assert!((200..300).contains(&answer.status), "{name}: {} {}", answer.status, answer.text());
        let described = &self.description["paths"][operation.path][method.to_lowercase().as_str()]["responses"];
        let schema = described[answer.status.to_string()]["content"]["application/json"]["schema"].clone();
        assert!(!schema.is_null(), "{name}: the status {} is not described", answer.status);
        let answer = answer.json();
        let mut wrong = Vec::new();
        self.check(name, &answer, &schema, &mut wrong);
        if !wrong.is_empty() {
            self.wrong.push(format!("{}\n{answer:#}", wrong.join("\n")));
        }
        self.called.insert(operation.name);
        answer
    }

    fn check(&mut self, at: &str, value: &Value, schema: &Value, wrong: &mut Vec<String>) {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            self.seen.insert(name.to_owned());
            let named = self.description["components"]["schemas"][name].clone();
            assert!(!named.is_null(), "{at}: there is no `{name}` in the description");
            return self.check(at, value, &named, wrong);
        }
        if let Some(options) = schema["oneOf"].as_array() {
            let fits = options.iter().any(|option| {
                let mut wrong = Vec::new();
                self.check(at, value, option, &mut wrong);
                wrong.is_empty()
            });
            if !fits {
                wrong.push(format!("{at}: {value} is none of {schema}"));
            }
            return;
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return,
        };
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        if !kinds.contains(&kind) {
            wrong.push(format!("{at}: {value} is not {kinds:?}"));
        }
        for (number, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check(&format!("{at}[{number}]"), item, &schema["items"], wrong);
        }
        if let (Some(members), Some(described)) = (value.as_object(), schema["properties"].as_object()) {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            for name in required.iter().filter_map(Value::as_str).filter(|name| !members.contains_key(*name)) {
                wrong.push(format!("{at}: `{name}` is missing"));
            }
            for (name, member) in members {
                match described.get(name) {
                    Some(schema) => self.check(&format!("{at}.{name}"), member, schema, wrong),
                    None => wrong.push(format!("{at}: `{name}` is not described")),
                }
            }
        }
    }
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_else(|| panic!("{value} has no `{member}`"))
}

const FUTURE: &str = "2099-01-01T00:00:00Z";

#[test]
fn every_operation_answers_with_what_its_description_says() {
    let mut scene = Scene::new();
    let none = Value::Null;
    scene.call("account-create", &[], &json!({ "name": "acme", "labels": ["tier=gold"] }));
    accounts(&mut scene);
    let (set, token) = credentials(&mut scene);
    explanations(&mut scene, &set);
    scene.call("token-revoke", &[&token], &none);
    scene.call("token-revoke-all", &[&set], &none);
    scene.call("token-revoke-account", &["acme"], &none);
    users_and_keys(&mut scene);
    schedules_and_switches(&mut scene);
    upstreams(&mut scene);
    let row = scene.call("audit-search", &[], &json!({ "kind": "relay" }))["items"][0].clone();
    scene.call("audit-show", &[text(&row, "id")], &none);
    as_a_client(&mut scene, text(&row, "id"));
    for operation in ["audit-forward", "audit-export"] {
        let format = (operation == "audit-export").then_some("json-lines");
        let mut body = json!({ "query": { "kind": "relay" }, "after": 0 });
        if let Some(format) = format {
            body["format"] = json!(format);
        }
        scene.call(operation, &[], &body);
    }
    scene.call("audit-stats", &[], &json!({ "query": {}, "by": "code" }));
    scene.call("audit-recorded", &[], &none);
    scene.call("audit-verify", &[], &json!({}));
    scene.call("audit-checkpoint", &[], &none);
    scene.call("audit-prune", &[], &json!({ "before": "2020-01-01T00:00:00Z", "dry_run": true }));
    scene.call("status", &[], &none);
    scene.call("doctor", &[], &none);
    scene.call("key-rotate", &[], &none);
    scene.call("key-status", &[], &none);
    scene.call("db-backup", &[], &json!({}));
    scene.call("credential-revoke", &[&set], &none);
    scene.call("account-create", &[], &json!({ "name": "globex" }));
    scene.call("account-delete", &["globex"], &none);
    assert!(scene.wrong.is_empty(), "answered otherwise than described:\n{}", scene.wrong.join("\n\n"));
    let all: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.name).collect();
    let missed: BTreeSet<_> = all.difference(&scene.called).copied().collect();
    // A former key is kept while audit seals need it, and a second factor cannot be set yet.
    assert_eq!(missed, BTreeSet::from(["key-retire", "user-reset-totp"]));
    let named: BTreeMap<String, Value> =
        serde_json::from_value(scene.description["components"]["schemas"].clone()).expect("schemas");
    let not_seen: Vec<_> = ["Finding", "Key", "FormerSecrets", "AuditGroup", "Holder"]
        .into_iter()
        .filter(|name| !named.contains_key(*name) || !scene.seen.contains(*name))
        .collect();
    assert!(not_seen.is_empty(), "{not_seen:?}");
}

/// A client is shown less, and what it is shown is described too.
fn as_a_client(scene: &mut Scene, row: &str) {
    let (_, key) = scene.gateway.operator_key(Role::Client, Some("acme"));
    let staff = std::mem::replace(&mut scene.key, key);
    scene.call("account-show", &["acme"], &Value::Null);
    let listed = scene.call("credential-list", &[], &Value::Null);
    let set = text(&listed["items"][0], "id").to_owned();
    scene.call("credential-access", &[&set], &Value::Null);
    scene.call("credential-openapi", &[&set], &Value::Null);
    scene.call("account-api", &["acme"], &Value::Null);
    scene.call("audit-stats", &[], &json!({ "query": {}, "by": "hour" }));
    let shown = scene.call("audit-show", &[row], &Value::Null);
    assert!(shown.get("verdicts").is_none(), "{shown}");
    scene.key = staff;
}

fn accounts(scene: &mut Scene) {
    let none = Value::Null;
    scene.call("account-list", &[], &none);
    scene.call("account-show", &["acme"], &none);
    scene.call("account-label", &["acme"], &json!({ "changes": ["tier=silver"] }));
    let certificates = json!({ "certificates": ["ab".repeat(32)] });
    scene.call("account-certificates", &["acme"], &certificates);
    scene.call("account-certificates", &["acme"], &json!({ "certificates": [] }));
    scene.call("account-limit", &["acme"], &json!({ "limits": { "requests": 1000, "per_seconds": 60 } }));
    scene.call("account-contacts", &["acme"], &json!({ "contacts": ["ops@acme.example"] }));
    scene.call("account-rename", &["acme"], &json!({ "new_name": "initech" }));
    scene.call("account-rename", &["initech"], &json!({ "new_name": "acme" }));
    scene.call("account-suspend", &["acme"], &json!({ "reason": "late payment" }));
    scene.call("account-activate", &["acme"], &none);
}

/// A set that has been through everything, and a live token of it.
fn credentials(scene: &mut Scene) -> (String, String) {
    let none = Value::Null;
    let new = json!({ "account": "acme", "name": "shop", "kind": "bounded", "grants": ["order-reader"] });
    let issued = scene.call("credential-issue", &[], &new);
    let set = text(&issued, "id").to_owned();
    scene.call("credential-list", &[], &none);
    scene.call("credential-search", &[], &json!({ "text": "shop", "sort": "expires_at" }));
    scene.call("credential-update", &[&set], &json!({ "purpose": "the till" }));
    scene.call("credential-certificates", &[&set], &json!({ "certificates": ["ab".repeat(32)] }));
    scene.call("credential-certificates", &[&set], &json!({ "certificates": [] }));
    scene.call("credential-limit", &[&set], &json!({ "limits": { "requests": 1000, "per_seconds": 60 } }));
    scene.call("credential-rotate", &[&set], &json!({ "overlap_seconds": 3600 }));
    scene.call("credential-show", &[&set], &none);
    scene.call("credential-rotate-end", &[&set], &none);
    scene.call("credential-disable", &[&set], &none);
    scene.call("credential-enable", &[&set], &none);
    scene.call("grant-remove", &[&set, "order-reader"], &none);
    scene.call("grant-add", &[&set, "order-reader"], &json!({ "expires_at": FUTURE }));
    scene.call("grant-list", &[], &none);
    let issued = scene.call("credential-rotate", &[&set], &json!({ "overlap_seconds": 0 }));
    let issued = scene.gateway.issued(&issued);
    scene.gateway.set_api_key("erp-key-of-answers");
    let token = scene.gateway.token(&issued);
    assert_eq!(scene.gateway.get(&token, "/v1/customers").status, 200);
    let tokens = scene.call("token-list", &[], &json!({ "credential": set }));
    (set, text(&tokens["items"][0], "id").to_owned())
}

fn explanations(scene: &mut Scene, set: &str) {
    let none = Value::Null;
    scene.call("policy-explain", &[], &json!({ "credential": set, "method": "GET", "target": "/v1/customers" }));
    scene.call("policy-reload", &[], &none);
    let in_force = scene.call("policy-in-force", &[], &none);
    scene.call("policy-snapshot", &[text(&in_force, "hash")], &none);
    let hash = text(&in_force, "hash");
    scene.gateway.clock.advance(std::time::Duration::from_secs(1));
    let policy = "version: 1\npolicy: nobody\nrules:\n  - { id: none, deny: [orders.list] }\n";
    scene.call("policy-apply", &[], &json!({ "file": "nobody.yaml", "text": policy, "based_on": hash }));
    let versions = scene.call("policy-versions", &[], &json!({ "last": "5" }));
    assert_eq!((&versions["items"][0]["in_force"], &versions["items"][1]["hash"]), (&json!(true), &json!(hash)));
    let listed = scene.call("endpoint-list", &[], &json!({ "text": "customers", "credential": set }));
    let id = text(&listed["items"][0], "id");
    scene.call("endpoint-show", &[id], &none);
    scene.call("grant-matrix", &[], &json!({ "account": "acme" }));
}

fn users_and_keys(scene: &mut Scene) {
    let none = Value::Null;
    scene.call("user-create", &[], &json!({ "name": "anna", "role": "admin" }));
    scene.call("user-create", &[], &json!({ "name": "bert", "role": "auditor" }));
    scene.call("user-list", &[], &none);
    scene.call("user-show", &["bert"], &none);
    scene.call("user-role", &["bert"], &json!({ "role": "client", "account": "acme" }));
    scene.call("user-disable", &["bert"], &none);
    scene.call("user-enable", &["bert"], &none);
    scene.call("user-reset-password", &["bert"], &none);
    let key = json!({ "name": "tickets", "role": "auditor", "expires_at": in_a_month() });
    let key = scene.call("operator-key-issue", &[], &key);
    scene.call("operator-key-list", &[], &none);
    scene.call("operator-key-revoke", &[text(&key, "id")], &none);
}

/// Keys end within 400 days.
fn in_a_month() -> String {
    use erp_access::domain::{Clock as _, SystemClock};
    let month = jiff::SignedDuration::from_hours(24 * 30);
    SystemClock::default().now().checked_add(month).expect("a time").to_string()
}

fn schedules_and_switches(scene: &mut Scene) {
    let none = Value::Null;
    scene.call("kill-engage", &[], &json!({ "scope": "upstream:erp", "reason": "inventory", "message": "back soon" }));
    scene.call("kill-status", &[], &none);
    scene.call("status", &[], &none);
    scene.call("kill-release", &["upstream:erp"], &json!({ "reason": "over" }));
    scene.call("schedule-show", &[], &none);
    scene.call("schedule-next", &[], &none);
    let held = json!({ "held": "open", "until": in_a_month(), "reason": "stock-taking" });
    scene.call("schedule-override", &["default"], &held);
    scene.call("schedule-overrides", &[], &none);
    scene.call("schedule-show", &[], &none);
    scene.call("schedule-lift", &["default"], &json!({ "reason": "over" }));
}

fn upstreams(scene: &mut Scene) {
    let none = Value::Null;
    scene.call("upstream-secret-set", &["erp"], &json!({ "api_key": "erp-key-of-answers" }));
    scene.call("upstream-secret-set", &["erp"], &json!({ "api_key": "erp-key-of-acme", "account": "acme" }));
    scene.call("upstream-secret-remove", &["erp", "acme"], &none);
    scene.call("upstream-list", &[], &none);
    scene.call("upstream-login", &["erp"], &json!({}));
    scene.call("upstream-show", &["erp"], &none);
    scene.call("upstream-test", &["erp"], &json!({}));
    scene.call("upstream-logout", &["erp"], &json!({}));
}
