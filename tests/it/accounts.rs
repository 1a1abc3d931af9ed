//! Accounts and portal users over their lives: renamed, emptied, deleted, and what stays of them.

use erp_access::control::{Command, ControlError, ErrorKind};
use erp_access::domain::{AccountName, Role};
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Setup};
use crate::support::recorder::Recorder;

fn gateway() -> (Gateway, Recorder) {
    let erp = Recorder::answering("application/json", &[], b"[]");
    let gateway = Setup::new(erp.address()).start();
    gateway.set_api_key("erp-key-of-accounts");
    (gateway, erp)
}

fn name(text: &str) -> AccountName {
    text.parse().expect("a name")
}

fn kind(result: Result<Value, ControlError>) -> ErrorKind {
    result.expect_err("refused").kind
}

#[test]
fn a_renamed_account_keeps_its_sets_its_kill_switch_and_its_rows() {
    let (gateway, _erp) = gateway();
    let token = gateway.token(&gateway.issue("acme", &["order-reader"]));
    let row = gateway.row_of(&gateway.get(&token, "/v1/customers"))["id"].clone();
    let (scope, reason) = ("account:acme".parse().expect("a scope"), "incident".to_owned());
    gateway.operate(Command::KillEngage { scope, message: None, reason, until: None }).expect("engaged");
    let rename =
        |old: &str, new: &str| gateway.operate(Command::AccountRename { name: name(old), new_name: name(new) });
    assert_eq!(rename("acme", "acme-gmbh").expect("renamed")["name"], "acme-gmbh");
    assert_eq!(gateway.get(&token, "/v1/customers").code(), "kill_switch_engaged", "the kill switch moved along");
    let switches = gateway.operate(Command::KillStatus).expect("shown");
    assert_eq!(switches[0]["scope"], "account:acme-gmbh");
    let scope = "account:acme-gmbh".parse().expect("a scope");
    gateway.operate(Command::KillRelease { scope, reason: "over".into() }).expect("released");
    assert_eq!(gateway.get(&token, "/v1/customers").status, 200);
    for asked in ["acme", "acme-gmbh"] {
        let query = erp_access::control::AuditQuery { account: Some(name(asked)), last: 100, ..Default::default() };
        let rows = gateway.operate(Command::AuditSearch(Box::new(query))).expect("rows");
        assert!(rows.as_array().expect("a list").iter().any(|found| found["id"] == row), "{asked}");
    }
    gateway.operate(Command::AccountCreate { name: name("globex"), labels: Vec::new() }).expect("created");
    assert_eq!(kind(rename("acme-gmbh", "globex")), ErrorKind::Conflict);
    assert_eq!(kind(rename("acme", "initech")), ErrorKind::NotFound);
    let gateway = gateway.restart();
    assert_eq!(gateway.operate(Command::AccountShow { name: name("acme-gmbh") }).expect("shown")["credential_sets"], 1);
}

#[test]
fn an_account_is_deleted_when_nothing_belongs_to_it_and_its_rows_stay_and_name_it() {
    let (gateway, _erp) = gateway();
    let issued = gateway.issue("acme", &["order-reader"]);
    let token = gateway.token(&issued);
    let relayed = gateway.row_of(&gateway.get(&token, "/v1/customers"))["id"].as_str().expect("an id").to_owned();
    let delete = || gateway.operate(Command::AccountDelete { name: name("acme") });
    let refused = |what: &str| {
        let error = delete().expect_err("refused");
        assert_eq!(error.kind, ErrorKind::Conflict);
        assert!(error.message.contains(what), "{error}");
    };
    refused("credential sets");
    gateway.operate(Command::CredentialRevoke { id: issued.id }).expect("revoked");
    let account = Some(name("acme"));
    gateway
        .operate(Command::UserCreate { name: "carla".into(), role: Role::Client, account })
        .map(|user| {
            gateway.note_secret(user["password"].as_str().expect("a password"));
        })
        .expect("created");
    refused("portal users");
    let demote = Command::UserRole { name: "carla".into(), role: Role::Auditor, account: None };
    gateway.operate(demote).expect("changed");
    assert_eq!(delete().expect("deleted")["state"], "deleted");
    assert_eq!(kind(gateway.operate(Command::AccountShow { name: name("acme") })), ErrorKind::NotFound);
    assert_eq!(gateway.get(&token, "/v1/customers").code(), "token_invalid");
    let shown = gateway.operate(Command::AuditShow { id: relayed.parse().expect("an id") }).expect("the row stays");
    assert!(shown["explanation"].to_string().contains("acme"), "{shown:#}");
    let gateway = gateway.restart();
    let query = erp_access::control::AuditQuery { account: Some(name("acme")), last: 100, ..Default::default() };
    let rows = gateway.operate(Command::AuditSearch(Box::new(query))).expect("rows");
    assert!(rows.as_array().expect("a list").iter().any(|row| row["method"] == "account.delete"), "{rows:#}");
    // The name is free again, for another account.
    gateway.operate(Command::AccountCreate { name: name("acme"), labels: Vec::new() }).expect("created");
}

#[test]
fn contacts_are_kept_and_must_make_sense() {
    let (gateway, _erp) = gateway();
    gateway.operate(Command::AccountCreate { name: name("acme"), labels: Vec::new() }).expect("created");
    let set = |contacts: &[&str]| {
        let contacts = contacts.iter().map(|text| (*text).to_owned()).collect();
        gateway.operate(Command::AccountContacts { name: name("acme"), contacts })
    };
    assert_eq!(set(&["it@acme.test", "+49 30 1234"]).expect("set")["contacts"], json!(["it@acme.test", "+49 30 1234"]));
    assert_eq!(kind(set(&["it@acme.test", "+49 30 1234"])), ErrorKind::Conflict);
    assert_eq!(kind(set(&[" "])), ErrorKind::Invalid);
    assert_eq!(kind(set(&["a\nb"])), ErrorKind::Invalid);
    let gateway = gateway.restart();
    assert_eq!(
        gateway.operate(Command::AccountShow { name: name("acme") }).expect("shown")["contacts"][0],
        "it@acme.test"
    );
}

#[test]
fn all_tokens_of_an_account_end_at_once_and_those_of_others_do_not() {
    let (gateway, _erp) = gateway();
    let tokens = |account: &str| {
        let issued = gateway.issue(account, &["order-reader"]);
        gateway.token(&issued)
    };
    let (first, second, others) = (tokens("acme"), tokens("acme"), tokens("globex"));
    let revoked = gateway.operate(Command::TokenRevokeAccount { name: name("acme") }).expect("revoked");
    assert_eq!(revoked["revoked"], 2);
    for token in [first, second] {
        assert_eq!(gateway.get(&token, "/v1/customers").code(), "token_invalid");
    }
    assert_eq!(gateway.get(&others, "/v1/customers").status, 200);
}

#[test]
fn the_last_administrator_stays_one_and_a_client_has_an_account() {
    let (gateway, _erp) = gateway();
    let create = |user: &str, role: Role, account: Option<&str>| {
        let account = account.map(name);
        let created = gateway.operate(Command::UserCreate { name: user.into(), role, account })?;
        gateway.note_secret(created["password"].as_str().expect("a password"));
        Ok(created)
    };
    let anna = create("anna", Role::Admin, None).expect("created");
    assert_eq!((&anna["role"], &anna["must_change_password"]), (&json!("admin"), &json!(true)));
    assert_eq!(kind(create("anna", Role::Admin, None)), ErrorKind::Conflict);
    assert_eq!(kind(create("carla", Role::Client, None)), ErrorKind::Incomplete);
    assert_eq!(kind(create("carla", Role::Client, Some("nobody"))), ErrorKind::NotFound);
    assert_eq!(kind(create("dora", Role::Auditor, Some("nobody"))), ErrorKind::NotFound);
    assert_eq!(kind(create("two words", Role::Auditor, None)), ErrorKind::Invalid);
    let disable = |user: &str| gateway.operate(Command::UserDisable { name: user.into() });
    assert_eq!(kind(disable("anna")), ErrorKind::Conflict);
    let demote = || gateway.operate(Command::UserRole { name: "anna".into(), role: Role::Auditor, account: None });
    assert_eq!(kind(demote()), ErrorKind::Conflict);
    create("bert", Role::Admin, None).expect("created");
    assert_eq!(disable("anna").expect("disabled")["state"], "disabled");
    assert_eq!(kind(disable("bert")), ErrorKind::Conflict, "a disabled administrator does not count");
    gateway.operate(Command::UserEnable { name: "anna".into() }).expect("enabled");
    let reset = gateway.operate(Command::UserResetPassword { name: "anna".into() }).expect("reset");
    gateway.note_secret(reset["password"].as_str().expect("a password"));
    assert_ne!(reset["password"], anna["password"]);
    assert_eq!(kind(gateway.operate(Command::UserResetTotp { name: "anna".into() })), ErrorKind::Conflict);
    let listed = gateway.operate(Command::UserList).expect("listed");
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    assert!(!listed.to_string().contains("argon2"), "{listed}");
}
