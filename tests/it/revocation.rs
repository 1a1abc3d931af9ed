//! A change is in force when it returns: no request that begins afterwards is let in, whatever races it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use erp_access::control::Command;
use erp_access::domain::CredentialId;

use crate::lifecycle::end_of_a_relay;
use crate::support::gateway::{Gateway, Setup};
use crate::support::http::Connection;
use crate::support::recorder::Recorder;

const CLIENTS: usize = 6;
/// Requests let in before the change is made.
const BEFORE: usize = 600;
/// Requests that each client begins after the change has returned.
const AFTER: usize = 60;

/// What the clients saw, all together.
#[derive(Default)]
struct Seen {
    let_in: AtomicUsize,
    /// Requests that were begun after the change had returned, and were let in all the same.
    let_in_after: AtomicUsize,
    begun_after: AtomicUsize,
}

fn client(address: std::net::SocketAddr, token: &str, returned: &AtomicBool, seen: &Seen) {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let mut connection = Connection::open(address);
    let mut after = 0;
    while after < AFTER {
        let began_after = returned.load(Ordering::SeqCst);
        let answer = connection.try_request("GET", "/v1/customers", &headers, None);
        // A connection whose relay was cut is closed.
        let Some(answer) = answer else {
            connection = Connection::open(address);
            continue;
        };
        let let_in = answer.status == 200;
        seen.let_in.fetch_add(usize::from(let_in), Ordering::SeqCst);
        if began_after {
            after += 1;
            seen.begun_after.fetch_add(1, Ordering::SeqCst);
            seen.let_in_after.fetch_add(usize::from(let_in), Ordering::SeqCst);
        }
        if answer.header("connection").is_some_and(|value| value == "close") {
            connection = Connection::open(address);
        }
    }
}

/// Lets clients send without pause while the change is made.
fn race(name: &str, change: impl FnOnce(&Gateway, CredentialId, &str)) {
    let erp = Recorder::answering("application/json", &[], b"[]");
    let gateway = Setup::new(erp.address()).gateway("  limits:\n    requests_per_connection: 1000000\n").start();
    gateway.set_api_key("erp-key-of-the-race");
    let issued = gateway.issue("acme", &["order-reader"]);
    let token = gateway.token(&issued);
    let (seen, returned) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (address, token) = (gateway.address, token.clone());
            let (returned, seen) = (Arc::clone(&returned), Arc::clone(&seen));
            std::thread::spawn(move || client(address, &token, &returned, &seen))
        })
        .collect();
    while seen.let_in.load(Ordering::SeqCst) < BEFORE {
        assert!(clients.iter().any(|client| !client.is_finished()), "{name}: no client is left");
        std::thread::yield_now();
    }
    change(&gateway, issued.id, &token);
    returned.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().expect("a client");
    }
    assert!(seen.let_in.load(Ordering::SeqCst) >= BEFORE, "{name}");
    assert!(seen.begun_after.load(Ordering::SeqCst) >= CLIENTS * AFTER, "{name}");
    assert_eq!(seen.let_in_after.load(Ordering::SeqCst), 0, "{name}: let in after the change had returned");
}

fn kill(gateway: &Gateway, scope: &str) {
    let (scope, reason) = (scope.parse().expect("a scope"), "the race".to_owned());
    gateway.operate(Command::KillEngage { scope, message: None, reason, until: None }).expect("engaged");
}

#[test]
fn nothing_is_let_in_after_a_set_was_revoked_or_disabled() {
    race("revoke", |gateway, id, _| drop(gateway.operate(Command::CredentialRevoke { id }).expect("revoked")));
    race("disable", |gateway, id, _| drop(gateway.operate(Command::CredentialDisable { id }).expect("disabled")));
}

#[test]
fn nothing_is_let_in_after_a_token_was_revoked() {
    race("token revoke", |gateway, id, _| {
        let list = gateway.operate(Command::TokenList { credential: Some(id), account: None }).expect("listed");
        let id = list[0]["id"].as_str().expect("an id").parse().expect("an id");
        gateway.operate(Command::TokenRevoke { id }).expect("revoked");
    });
    race("token revoke --credential", |gateway, credential, _| {
        drop(gateway.operate(Command::TokenRevokeAll { credential }).expect("revoked"));
    });
}

#[test]
fn nothing_is_let_in_after_an_account_was_suspended() {
    race("suspend", |gateway, _, _| {
        let name = "acme".parse().expect("a name");
        gateway.operate(Command::AccountSuspend { name, reason: "the race".into() }).expect("suspended");
    });
}

#[test]
fn nothing_is_let_in_after_a_kill_switch_was_engaged() {
    for scope in ["all", "account:acme", "policy:order-reader", "upstream:erp"] {
        race(scope, |gateway, _, _| kill(gateway, scope));
    }
}

#[test]
fn nothing_is_let_in_after_a_grant_was_taken_back_or_its_policy_deleted() {
    race("grant remove", |gateway, credential, _| {
        let policy = "order-reader".parse().expect("a name");
        drop(gateway.operate(Command::GrantRemove { credential, policy }).expect("removed"));
    });
    race("policy deletion", |gateway, _, _| {
        std::fs::remove_file(gateway.folder.path().join("policies/order-reader.yaml")).expect("removed");
        drop(gateway.operate(Command::PolicyReload).expect("reloaded"));
    });
}

fn disable(gateway: &Gateway) {
    let list = gateway.operate(Command::CredentialList { account: None }).expect("listed");
    let id = list[0]["id"].as_str().expect("an id").parse().expect("an id");
    gateway.operate(Command::CredentialDisable { id }).expect("disabled");
}

fn take_back(gateway: &Gateway) {
    let list = gateway.operate(Command::CredentialList { account: None }).expect("listed");
    let credential = list[0]["id"].as_str().expect("an id").parse().expect("an id");
    let policy = "everything".parse().expect("a name");
    gateway.operate(Command::GrantRemove { credential, policy }).expect("removed");
}

fn delete_policy(gateway: &Gateway) {
    std::fs::remove_file(gateway.folder.path().join("policies/everything.yaml")).expect("removed");
    gateway.operate(Command::PolicyReload).expect("reloaded");
}

#[test]
fn which_changes_cut_a_relay_in_progress_is_configured() {
    let none = "  cut_in_flight: []\n";
    assert_eq!(end_of_a_relay(none, |gateway| kill(gateway, "all")), "completed");
    assert_eq!(end_of_a_relay("", disable), "completed");
    assert_eq!(end_of_a_relay("", take_back), "completed");
    assert_eq!(end_of_a_relay("", delete_policy), "completed");
    let all = "  cut_in_flight: [kill, suspend, revoke, disable, grant, policy]\n";
    for (name, change) in [("disable", disable as fn(&Gateway)), ("grant", take_back), ("policy", delete_policy)] {
        assert_eq!(end_of_a_relay(all, change), "cut", "{name}");
    }
}

#[test]
fn a_kill_switch_with_an_end_releases_itself_and_says_so() {
    let erp = Recorder::answering("application/json", &[], b"[]");
    let gateway = Setup::new(erp.address()).start();
    gateway.set_api_key("erp-key-of-the-kill");
    let token = gateway.token(&gateway.issue("acme", &["order-reader"]));
    let (scope, reason) = ("account:acme".parse().expect("a scope"), "for an hour".to_owned());
    let until = Some("2026-11-23T13:00:00+05:00".parse().expect("a time"));
    gateway
        .operate(Command::KillEngage { scope, message: Some("back at one".into()), reason, until })
        .expect("engaged");
    let stopped = gateway.get(&token, "/v1/customers");
    assert_eq!((stopped.code().as_str(), stopped.header("retry-after")), ("kill_switch_engaged", Some("3600")));
    gateway.clock.set("2026-11-23T13:00:00+05:00".parse().expect("a time"));
    // Tokens of the morning have expired with the clock.
    let issued = gateway.issue("acme", &["order-reader"]);
    assert_eq!(gateway.get(&gateway.token(&issued), "/v1/customers").status, 200);
    assert_eq!(gateway.operate(Command::KillStatus).expect("shown"), serde_json::json!([]));
    gateway.control().remove_ended_kill_switches();
    gateway.control().copy_changes();
    let ended = gateway.audit("change", 1).into_iter().find(|row| row["method"] == "kill.end").expect("a row");
    assert_eq!((&ended["actor"], &ended["path"]), (&"system".into(), &"account:acme".into()));
}
