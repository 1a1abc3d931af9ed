//! The token endpoint.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use erp_access::control::Command;
use serde_json::Value;

use crate::support::gateway::{Gateway, Issued, Setup};
use crate::support::http::{self, Response, find};
use crate::support::recorder::Recorder;

/// A gateway, and the ERP behind it, which must outlive it.
fn gateway() -> (Recorder, Gateway) {
    let erp = Recorder::start();
    let gateway = Setup::new(erp.address()).start();
    gateway.set_api_key("erp-side-key-1");
    (erp, gateway)
}

fn post(gateway: &Gateway, path: &str, basic: &str, key: &str, body: &str) -> Response {
    let form = "application/x-www-form-urlencoded";
    let headers = [("Authorization", basic), ("x-api-key", key), ("Content-Type", form)];
    http::once(gateway.address, "POST", path, &headers, Some(body.as_bytes()))
}

fn without_ids(response: &Response) -> (u16, Value, Vec<String>) {
    let mut body = response.json();
    body.as_object_mut().expect("an object").remove("request_id");
    let ids = ["x-request-id", "date"];
    let headers = response.headers.iter().filter(|(name, _)| !ids.contains(&name.to_lowercase().as_str()));
    (response.status, body, headers.map(|(name, value)| format!("{name}: {value}")).collect())
}

#[test]
fn a_token_is_issued_for_id_password_and_key_and_no_cache_may_keep_it() {
    let (_erp, gateway) = gateway();
    let issued = gateway.issue("acme", &["order-reader"]);
    let response = post(&gateway, "/oauth/token", &issued.basic(), &issued.api_key, "grant_type=client_credentials");
    assert_eq!(response.status, 200);
    let body = response.json();
    assert_eq!((body["token_type"].as_str(), body["expires_in"].as_u64()), (Some("Bearer"), Some(900)));
    assert!(body["access_token"].as_str().is_some_and(|token| token.starts_with("erpa_tok_")));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(gateway.get(body["access_token"].as_str().expect("a token"), "/v1/orders").status, 200);
}

#[test]
fn the_grant_type_may_be_absent_or_json_but_not_another() {
    let (_erp, gateway) = gateway();
    let issued = gateway.issue("acme", &[]);
    assert_eq!(gateway.ask_for_token(&issued).status, 200);
    let basic = issued.basic();
    let headers = [
        ("Authorization", basic.as_str()),
        ("x-api-key", issued.api_key.as_str()),
        ("Content-Type", "application/json"),
    ];
    let json = br#"{"grant_type":"client_credentials"}"#;
    assert_eq!(http::once(gateway.address, "POST", "/oauth/token", &headers, Some(json)).status, 200);
    let other = post(&gateway, "/oauth/token", &basic, &issued.api_key, "grant_type=password");
    assert_eq!((other.status, other.json()["error"].as_str()), (400, Some("invalid_request")));
    let twice = post(&gateway, "/oauth/token", &basic, &issued.api_key, "grant_type=client_credentials&grant_type=x");
    assert_eq!((twice.status, twice.code().as_str()), (400, "bad_request"));
}

#[test]
fn every_failure_looks_alike() {
    let (_erp, gateway) = gateway();
    let (own, revoked) = (gateway.issue("acme", &[]), gateway.issue("acme", &[]));
    let suspended = gateway.issue("unpaid", &[]);
    gateway.operate(Command::CredentialRevoke { id: revoked.id }).expect("revoked");
    gateway
        .operate(Command::AccountSuspend { name: "unpaid".parse().expect("a name"), reason: "x".into() })
        .expect("suspended");
    let wrong = |set: &Issued| format!("Basic {}", STANDARD.encode(format!("{}:wrong", set.id)));
    let stranger =
        format!("Basic {}", STANDARD.encode(format!("019ab7c2-7d3e-7cc1-8b1f-0242ac120002:{}", own.password)));
    let answers = [
        post(&gateway, "/oauth/token", &stranger, &own.api_key, ""),
        post(&gateway, "/oauth/token", &wrong(&own), &own.api_key, ""),
        post(&gateway, "/oauth/token", &own.basic(), &revoked.api_key, ""),
        post(&gateway, "/oauth/token", &revoked.basic(), &revoked.api_key, ""),
        post(&gateway, "/oauth/token", &wrong(&suspended), &suspended.api_key, ""),
    ];
    let first = without_ids(&answers[0]);
    assert_eq!(
        (first.0, first.1["code"].as_str(), first.1["error"].as_str()),
        (401, Some("credentials_invalid"), Some("invalid_client"))
    );
    for answer in &answers {
        assert_eq!(without_ids(answer), first);
    }
    // Whoever has the right secrets may know that an operator suspended the account.
    let told = post(&gateway, "/oauth/token", &suspended.basic(), &suspended.api_key, "");
    assert_eq!((told.status, told.code().as_str()), (403, "account_suspended"));
}

#[test]
fn guessing_is_slowed_by_client_id_and_does_not_slow_anybody_else() {
    let (_erp, gateway) = gateway();
    let (victim, other) = (gateway.issue("acme", &[]), gateway.issue("acme", &[]));
    let wrong = format!("Basic {}", STANDARD.encode(format!("{}:wrong", victim.id)));
    for _ in 0..10 {
        assert_eq!(post(&gateway, "/oauth/token", &wrong, &victim.api_key, "").status, 401);
    }
    let slowed = post(&gateway, "/oauth/token", &wrong, &victim.api_key, "");
    assert_eq!((slowed.status, slowed.code().as_str()), (429, "rate_limited"));
    assert_eq!(slowed.header("retry-after"), Some("6"));
    assert_eq!(gateway.ask_for_token(&other).status, 200);
    gateway.clock.advance(Duration::from_secs(6));
    assert_eq!(gateway.ask_for_token(&victim).status, 200);
}

#[test]
fn guessing_without_the_key_slows_the_address_and_never_the_owner_of_the_id() {
    let (_erp, gateway) = gateway();
    let victim = gateway.issue("acme", &[]);
    let wrong = format!("Basic {}", STANDARD.encode(format!("{}:wrong", victim.id)));
    let key = gateway.issue("other", &[]).api_key;
    for _ in 0..60 {
        assert_eq!(post(&gateway, "/oauth/token", &wrong, &key, "").status, 401);
    }
    assert_eq!(post(&gateway, "/oauth/token", &wrong, &key, "").status, 429);
    gateway.clock.advance(Duration::from_mins(1));
    assert_eq!(gateway.ask_for_token(&victim).status, 200);
}

#[test]
fn every_attempt_leaves_a_row_and_no_secret() {
    let (_erp, gateway) = gateway();
    let issued = gateway.issue("acme", &["order-reader"]);
    let token = gateway.token(&issued);
    let wrong = format!("Basic {}", STANDARD.encode(format!("{}:hunter2-hunter2", issued.id)));
    post(&gateway, "/oauth/token", &wrong, &issued.api_key, "");
    let get = http::once(gateway.address, "GET", "/oauth/token?client_secret=hunter3-hunter3", &[], None);
    assert_eq!(get.status, 400);
    let rows = gateway.audit("token_attempt", 3);
    let seen: Vec<_> = rows.iter().map(|row| (row["decision"].as_str(), row["code"].as_str())).collect();
    let denied = |code| (Some("denied"), Some(code));
    assert_eq!(seen, [denied("bad_request"), denied("credentials_invalid"), (Some("allowed"), None)]);
    assert_eq!(rows[2]["credential"].as_str(), Some(issued.id.to_string().as_str()));
    gateway.row_of(&get);
    for secret in [&token, &issued.password, &issued.api_key, "hunter2-hunter2", "hunter3-hunter3", "erp-side-key-1"] {
        for (path, bytes) in gateway.database_bytes() {
            assert!(find(&bytes, secret.as_bytes()).is_none(), "a secret stands in {}", path.display());
        }
    }
}

#[test]
fn a_token_can_be_examined_and_ended_by_its_own_set_only() {
    let (_erp, gateway) = gateway();
    let (own, other) = (gateway.issue("acme", &["order-reader"]), gateway.issue("other", &["order-reader"]));
    let token = gateway.token(&own);
    let body = format!("token={token}");
    let ask = |set: &Issued, path: &str| post(&gateway, path, &set.basic(), &set.api_key, &body);
    let mine = ask(&own, "/oauth/introspect").json();
    assert_eq!((mine["active"].as_bool(), mine["client_id"].as_str()), (Some(true), Some(own.id.to_string().as_str())));
    assert_eq!(ask(&other, "/oauth/introspect").json(), serde_json::json!({ "active": false }));
    assert_eq!(ask(&other, "/oauth/revoke").status, 200);
    assert_eq!(gateway.get(&token, "/v1/orders").status, 200, "another set's token is not ended");
    assert_eq!(ask(&own, "/oauth/revoke").status, 200);
    assert_eq!(gateway.get(&token, "/v1/orders").code(), "token_invalid");
    assert_eq!(ask(&own, "/oauth/introspect").json(), serde_json::json!({ "active": false }));
}

#[test]
fn a_password_is_hashed_anew_when_the_parameters_have_changed() {
    let (_erp, gateway) = gateway();
    let issued = gateway.issue("acme", &["order-reader"]);
    let clock = gateway.clock.clone();
    let folder = gateway.hand_over();
    let file = folder.path().join("erp-access.yaml");
    let config = std::fs::read_to_string(&file).expect("read");
    std::fs::write(&file, format!("password_hashing:\n  iterations: 3\n{config}")).expect("written");
    let gateway = Gateway::start(folder, clock);
    let hash = || -> String {
        let database =
            rusqlite::Connection::open(gateway.folder.path().join("data/erp-access.db")).expect("a database");
        database.query_row("SELECT password_hash FROM credential", [], |row| row.get(0)).expect("a hash")
    };
    assert!(hash().contains("t=2"));
    let wrong = Issued { password: "wrong".into(), ..issued.clone() };
    assert_eq!(gateway.ask_for_token(&wrong).status, 401);
    assert!(hash().contains("t=2"), "a wrong password changes nothing");
    assert_eq!(gateway.ask_for_token(&issued).status, 200);
    assert!(hash().contains("t=3"), "{}", hash());
    assert_eq!(gateway.ask_for_token(&issued).status, 200);
}
