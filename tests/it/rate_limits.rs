//! Limits of addresses, accounts and credential sets, through the gateway.

use std::time::Duration;

use erp_access::control::Command;
use erp_access::domain::Limits;

use crate::support::gateway::{Gateway, Setup};
use crate::support::http::Response;
use crate::support::recorder::Recorder;

const MINUTE: Duration = Duration::from_mins(1);

const WITHOUT_LIMITS: &str = "version: 1\npolicy: order-reader\nrules: [{ id: read, allow: [customers.list] }]\n";

fn start(rate_limits: &str) -> (Gateway, Recorder) {
    let erp = Recorder::answering("application/json", &[("RateLimit", "\"erp\";r=1;t=1")], b"[]");
    let gateway = Setup::new(erp.address()).gateway(rate_limits).start();
    gateway.set_api_key("erp-key-of-limits");
    (gateway, erp)
}

fn requests(most: u32) -> Limits {
    Limits::new(Some((most, MINUTE)), None, None)
}

fn statuses(gateway: &Gateway, token: &str, count: usize) -> Vec<u16> {
    (0..count).map(|_| gateway.get(token, "/v1/customers").status).collect()
}

fn limit_account(gateway: &Gateway, name: &str, limits: Option<Limits>) {
    let name = name.parse().expect("a name");
    gateway.operate(Command::AccountLimit { name, limits }).expect("limited");
}

#[test]
fn the_sets_of_an_account_share_its_limit_and_other_accounts_are_not_touched() {
    let (gateway, _erp) = start("");
    let token = |account: &str| gateway.token(&gateway.issue(account, &["order-reader"]));
    let (first, second, others) = (token("acme"), token("acme"), token("globex"));
    limit_account(&gateway, "acme", Some(requests(5)));
    assert_eq!(statuses(&gateway, &first, 3), [200; 3]);
    assert_eq!(statuses(&gateway, &second, 3), [200, 200, 429]);
    assert_eq!(statuses(&gateway, &others, 10), [200; 10]);
    let denied = gateway.get(&first, "/v1/customers");
    assert_eq!((denied.code().as_str(), denied.header("retry-after")), ("rate_limited", Some("12")));
    assert_eq!(denied.header("ratelimit-policy"), Some("\"account\";q=5;w=60"));
    assert!(gateway.row_of(&denied)["verdicts"].to_string().contains("the limit of the account allows 5 requests"));
    // One request flows back each twelve seconds, not sooner.
    gateway.clock.advance(Duration::from_millis(11_999));
    assert_eq!(statuses(&gateway, &first, 1), [429]);
    gateway.clock.advance(Duration::from_millis(1));
    assert_eq!(statuses(&gateway, &first, 2), [200, 429]);
    limit_account(&gateway, "acme", None);
    assert_eq!(statuses(&gateway, &first, 10), [200; 10]);
}

#[test]
fn what_is_left_is_told_with_each_answer_and_what_the_erp_says_of_its_own_limits_is_not() {
    let (gateway, _erp) =
        start("  rate_limits:\n    set: { requests: 10, per: 1m }\n    account: { requests: 100, per: 1m }\n");
    let token = gateway.token(&gateway.issue("acme", &["order-reader"]));
    let header = |answer: &Response, name: &str| answer.header(name).unwrap_or_default().to_owned();
    let first = gateway.get(&token, "/v1/customers");
    assert_eq!(
        header(&first, "ratelimit-policy"),
        "\"account\";q=100;w=60, \"credential\";q=10;w=60, \"order-reader\";q=600;w=60"
    );
    assert_eq!(header(&first, "ratelimit"), "\"account\";r=99;t=1, \"credential\";r=9;t=6, \"order-reader\";r=599;t=1");
    let second = gateway.get(&token, "/v1/customers");
    assert_eq!(
        header(&second, "ratelimit"),
        "\"account\";r=98;t=2, \"credential\";r=8;t=12, \"order-reader\";r=598;t=1"
    );
    gateway.clock.advance(MINUTE);
    let later = gateway.get(&token, "/v1/customers");
    assert_eq!(header(&later, "ratelimit"), "\"account\";r=99;t=1, \"credential\";r=9;t=6, \"order-reader\";r=599;t=1");
    let erp = Recorder::answering("application/json", &[("RateLimit", "\"erp\";r=1;t=1")], b"[]");
    let quiet = Setup::new(erp.address()).policy("order-reader.yaml", WITHOUT_LIMITS).start();
    quiet.set_api_key("erp-key-of-quiet");
    let answer = quiet.get(&quiet.token(&quiet.issue("acme", &["order-reader"])), "/v1/customers");
    assert_eq!((answer.status, answer.header("ratelimit")), (200, None));
}

#[test]
fn a_set_may_have_a_limit_of_its_own_beside_what_the_configuration_says() {
    let (gateway, _erp) = start("  rate_limits:\n    set: { requests: 2, per: 1m }\n");
    let (usual, more) = (gateway.issue("acme", &["order-reader"]), gateway.issue("acme", &["order-reader"]));
    gateway.operate(Command::CredentialLimit { id: more.id, limits: Some(requests(4)) }).expect("limited");
    assert_eq!(statuses(&gateway, &gateway.token(&usual), 3), [200, 200, 429]);
    assert_eq!(statuses(&gateway, &gateway.token(&more), 5), [200, 200, 200, 200, 429]);
    let gateway = gateway.restart();
    let shown = gateway.operate(Command::CredentialShow { id: more.id }).expect("shown");
    assert_eq!(shown["limits"]["requests"], 4);
}

#[test]
fn an_address_is_limited_before_anybody_is_asked_who_sends() {
    let (gateway, erp) = start("  rate_limits:\n    address: { requests: 6, per: 1m }\n");
    let token = gateway.token(&gateway.issue("acme", &["order-reader"]));
    let codes: Vec<_> = (0..8).map(|_| gateway.get("erpa_tok_nonsense", "/v1/customers").code()).collect();
    assert_eq!(codes[..6], ["token_invalid"; 6]);
    assert_eq!(codes[6..], ["rate_limited"; 2]);
    assert_eq!(gateway.get(&token, "/v1/customers").code(), "rate_limited", "who it is makes no difference");
    assert_eq!(erp.count(), 0);
    gateway.clock.advance(MINUTE);
    assert_eq!(gateway.get(&token, "/v1/customers").status, 200);
}

#[test]
fn a_reload_of_the_policies_gives_nobody_a_fresh_burst() {
    let (gateway, _erp) = start("");
    let token = gateway.token(&gateway.issue("acme", &["order-reader"]));
    limit_account(&gateway, "acme", Some(requests(5)));
    assert_eq!(statuses(&gateway, &token, 5), [200; 5]);
    for number in 0..100 {
        let file = gateway.folder.path().join("policies/order-reader.yaml");
        let text = std::fs::read_to_string(&file).expect("read");
        std::fs::write(&file, format!("{text}# edit {number}\n")).expect("written");
        gateway.operate(Command::PolicyReload).expect("reloaded");
    }
    assert_eq!(statuses(&gateway, &token, 1), [429]);
}
