//! New secrets for a credential set: both pairs serve during the overlap, and the former one ends as it was said.

use erp_access::control::{Command, ErrorKind, NewSet};
use erp_access::domain::{Clock as _, CredentialId};
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Issued, Setup};
use crate::support::http::{self, Response};
use crate::support::recorder::Recorder;

struct Scene {
    gateway: Gateway,
    former: Issued,
    _erp: Recorder,
}

impl Scene {
    fn new() -> Self {
        let erp = Recorder::answering("application/json", &[], b"[]");
        let gateway = Setup::new(erp.address()).start();
        gateway.set_api_key("erp-key-of-rotation");
        let former = gateway.issue("acme", &["order-reader"]);
        Self { gateway, former, _erp: erp }
    }

    fn rotate(&self, overlap_seconds: u32) -> Issued {
        let id = self.former.id;
        let command = Command::CredentialRotate { id, overlap_seconds: Some(overlap_seconds) };
        self.gateway.issued(&self.gateway.operate(command).expect("rotated"))
    }

    fn show(&self) -> Value {
        self.gateway.operate(Command::CredentialShow { id: self.former.id }).expect("shown")
    }

    fn relay(&self, token: &str, api_key: &str) -> Response {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), ("x-api-key", api_key)];
        http::once(self.gateway.address, "GET", "/v1/customers", &headers, None)
    }

    fn introspect(&self, issued: &Issued, token: &str) -> Value {
        let basic = issued.basic();
        let headers = [
            ("Authorization", basic.as_str()),
            ("x-api-key", issued.api_key.as_str()),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let body = format!("token={token}");
        http::once(self.gateway.address, "POST", "/oauth/introspect", &headers, Some(body.as_bytes())).json()
    }

    fn works(&self, token: &str) -> bool {
        self.gateway.get(token, "/v1/customers").status == 200
    }
}

fn mixed(id: CredentialId, password: &Issued, key: &Issued) -> Issued {
    Issued { id, password: password.password.clone(), api_key: key.api_key.clone() }
}

#[test]
fn both_pairs_serve_during_the_overlap_each_by_itself() {
    let scene = Scene::new();
    let before = scene.gateway.token(&scene.former);
    let new = scene.rotate(3600);
    assert_ne!((&new.password, &new.api_key), (&scene.former.password, &scene.former.api_key));
    for pair in [&new, &scene.former] {
        let token = scene.gateway.token(pair);
        assert_eq!(scene.relay(&token, &pair.api_key).status, 200);
    }
    assert!(scene.works(&before), "a token from before the rotation lives on");
    for pair in [mixed(new.id, &new, &scene.former), mixed(new.id, &scene.former, &new)] {
        assert_eq!(scene.gateway.ask_for_token(&pair).code(), "credentials_invalid", "pairs are not mixed");
    }
    let again = Command::CredentialRotate { id: new.id, overlap_seconds: None };
    let error = scene.gateway.operate(again).expect_err("one overlap at a time");
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.message.contains("rotate-end"), "{error}");
}

#[test]
fn what_the_former_pair_got_ends_with_the_overlap_and_what_the_new_one_got_lives_on() {
    let scene = Scene::new();
    let before = scene.gateway.token(&scene.former);
    let new = scene.rotate(60);
    let (by_former, by_new) = (scene.gateway.token(&scene.former), scene.gateway.token(&new));
    scene.gateway.clock.advance(std::time::Duration::from_secs(59));
    assert!(scene.works(&before) && scene.works(&by_former) && scene.works(&by_new));
    scene.gateway.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(scene.gateway.get(&before, "/v1/customers").code(), "token_invalid");
    assert_eq!(scene.gateway.get(&by_former, "/v1/customers").code(), "token_invalid");
    assert!(scene.works(&by_new));
    assert_eq!(scene.gateway.ask_for_token(&scene.former).code(), "credentials_invalid");
    assert_eq!(scene.introspect(&new, &by_former)["active"], false);
    assert_eq!(scene.introspect(&new, &by_new)["active"], true);
    scene.gateway.control().look_after_rotations();
    assert_eq!(scene.show()["former_secrets"], Value::Null);
    assert_eq!(scene.show()["live_tokens"], 1);
    scene.gateway.control().copy_changes();
    let ended = scene.gateway.audit("change", 1).into_iter().find(|row| row["method"] == "credential.rotate-end");
    assert_eq!(ended.expect("a row")["actor"], "system");
    let Scene { gateway, .. } = scene;
    let gateway = gateway.restart();
    assert_eq!(gateway.get(&by_former, "/v1/customers").code(), "token_invalid");
}

#[test]
fn the_end_can_be_now_and_is_in_force_when_the_answer_is_there() {
    let scene = Scene::new();
    let new = scene.rotate(3600);
    let (by_former, by_new) = (scene.gateway.token(&scene.former), scene.gateway.token(&new));
    let ended = scene.gateway.operate(Command::CredentialRotateEnd { id: new.id }).expect("ended");
    assert_eq!(ended["tokens_ended"], 1);
    assert_eq!(scene.gateway.get(&by_former, "/v1/customers").code(), "token_invalid");
    assert!(scene.works(&by_new));
    let none = scene.gateway.operate(Command::CredentialRotateEnd { id: new.id }).expect_err("it has ended");
    assert_eq!(none.kind, ErrorKind::Conflict);
    let newest = scene.rotate(0);
    assert_eq!(scene.gateway.get(&by_new, "/v1/customers").code(), "token_invalid", "without overlap all end at once");
    assert!(scene.works(&scene.gateway.token(&newest)));
}

#[test]
fn it_is_shown_when_the_former_pair_was_used_last_and_a_restart_knows_it() {
    let scene = Scene::new();
    let old = scene.gateway.token(&scene.former);
    let new = scene.rotate(86_400);
    scene.gateway.clock.advance(std::time::Duration::from_mins(10));
    assert_eq!(scene.relay(&old, &scene.former.api_key).status, 200, "a relay with the former x-api-key counts");
    let at = scene.gateway.clock.now().to_string();
    assert_eq!(scene.show()["former_secrets"]["last_used_at"], json!(at));
    assert_eq!(scene.show()["last_used_at"], Value::Null, "nobody has used the new pair");
    scene.gateway.control().look_after_rotations();
    scene.gateway.clock.advance(std::time::Duration::from_mins(1));
    scene.gateway.token(&new);
    let Scene { gateway, former, .. } = scene;
    let gateway = gateway.restart();
    let shown = gateway.operate(Command::CredentialShow { id: former.id }).expect("shown");
    assert_eq!(shown["former_secrets"]["last_used_at"], json!(at));
    assert_eq!(shown["last_used_at"], json!(gateway.clock.now().to_string()));
}

#[test]
fn a_set_serves_from_its_networks_only() {
    let scene = Scene::new();
    let id = scene.former.id;
    let token = scene.gateway.token(&scene.former);
    let from = |networks: &[&str]| {
        let clients = networks.iter().map(|network| network.parse().expect("a network")).collect();
        let (name, purpose, expires_at) = (None, None, None);
        let update =
            Command::CredentialUpdate { id, name, purpose, clients: Some(clients), expires_at, no_expiry: false };
        scene.gateway.operate(update).expect("updated");
    };
    from(&["10.0.0.0/8"]);
    let refused = scene.gateway.ask_for_token(&scene.former);
    assert_eq!((refused.status, refused.code().as_str()), (401, "credentials_invalid"));
    assert!(scene.gateway.row_of(&refused)["verdicts"].to_string().contains("not for this address"));
    let denied = scene.gateway.get(&token, "/v1/customers");
    assert_eq!((denied.status, denied.code().as_str()), (403, "not_permitted"));
    assert!(scene.gateway.row_of(&denied)["verdicts"].to_string().contains("not for this address"));
    from(&["10.0.0.0/8", "127.0.0.0/8"]);
    assert!(scene.works(&token) && scene.works(&scene.gateway.token(&scene.former)));
    from(&[]);
    assert!(scene.works(&token));
}

#[test]
fn what_a_set_is_can_be_changed_but_not_into_something_that_cannot_be() {
    let scene = Scene::new();
    let update = |change: Value| {
        let mut members = json!({ "operation": "credential-update", "id": scene.former.id });
        members.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        scene.gateway.operate(serde_json::from_value(members).expect("a command"))
    };
    let shown = update(json!({ "name": "till 2", "purpose": "nightly", "expires_at": "2027-01-01T00:00:00Z" }));
    let shown = shown.expect("updated");
    assert_eq!((&shown["name"], &shown["purpose"]), (&json!("till 2"), &json!("nightly")));
    assert_eq!(update(json!({ "no_expiry": true, "purpose": "" })).expect("updated")["expires_at"], Value::Null);
    assert_eq!(update(json!({ "name": "till 2" })).expect_err("so already").kind, ErrorKind::Conflict);
    assert_eq!(update(json!({ "expires_at": "2001-01-01T00:00:00Z" })).expect_err("over").kind, ErrorKind::Invalid);
    let free = NewSet {
        kind: erp_access::control::Bounds::Unrestricted,
        reason: Some("a test".into()),
        expires_at: Some("2027-01-01T00:00:00Z".parse().expect("a time")),
        ..NewSet::bounded("acme".parse().expect("a name"), "free", Vec::new())
    };
    let free = scene.gateway.operate(Command::CredentialIssue(Box::new(free))).expect("issued");
    scene.gateway.issued(&free);
    let endless = json!({ "operation": "credential-update", "id": free["id"], "no_expiry": true });
    let error = scene.gateway.operate(serde_json::from_value(endless).expect("a command")).expect_err("it must end");
    assert_eq!(error.kind, ErrorKind::Invalid);
}

#[test]
fn a_set_is_not_given_an_end_and_none_at_once() {
    let gateway = Setup::new(crate::support::process::free_address()).start();
    let id = gateway.issue("acme", &[]).id;
    let end = gateway.clock.now().checked_add(jiff::SignedDuration::from_hours(24)).ok();
    let (name, purpose, clients) = (None, None, None);
    let both = Command::CredentialUpdate { id, name, purpose, clients, expires_at: end, no_expiry: true };
    let refused = gateway.operate(both).expect_err("refused");
    assert_eq!(refused.kind, ErrorKind::Invalid);
}
