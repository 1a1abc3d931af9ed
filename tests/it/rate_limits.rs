//! Limits of addresses, accounts and credential sets, through the gateway.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use erp_access::control::Command;
use erp_access::domain::Limits;

use crate::support::gateway::{Gateway, Setup};
use crate::support::http::{Connection, Response, render};
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
        "\"order-reader\";q=600;w=60, \"credential\";q=10;w=60, \"account\";q=100;w=60"
    );
    assert_eq!(header(&first, "ratelimit"), "\"order-reader\";r=599;t=1, \"credential\";r=9;t=6, \"account\";r=99;t=1");
    let second = gateway.get(&token, "/v1/customers");
    assert_eq!(
        header(&second, "ratelimit"),
        "\"order-reader\";r=598;t=1, \"credential\";r=8;t=12, \"account\";r=98;t=2"
    );
    gateway.clock.advance(MINUTE);
    let later = gateway.get(&token, "/v1/customers");
    assert_eq!(header(&later, "ratelimit"), "\"order-reader\";r=599;t=1, \"credential\";r=9;t=6, \"account\";r=99;t=1");
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
    // The request for the token was one.
    let codes: Vec<_> = (0..7).map(|_| gateway.get("erpa_tok_nonsense", "/v1/customers").code()).collect();
    assert_eq!(codes[..5], ["token_invalid"; 5]);
    assert_eq!(codes[5..], ["rate_limited"; 2]);
    assert_eq!(gateway.get(&token, "/v1/customers").code(), "rate_limited", "who it is makes no difference");
    assert_eq!(erp.count(), 0);
    gateway.clock.advance(MINUTE);
    assert_eq!(gateway.get(&token, "/v1/customers").status, 200);
}

#[test]
fn the_token_endpoint_counts_for_the_address_too() {
    let (gateway, _erp) = start("  rate_limits:\n    address: { requests: 3, per: 1m }\n");
    let issued = gateway.issue("acme", &["order-reader"]);
    assert!((0..3).all(|_| gateway.ask_for_token(&issued).status == 200));
    let denied = gateway.ask_for_token(&issued);
    assert_eq!((denied.status, denied.header("retry-after")), (429, Some("20")));
    assert_eq!(denied.json()["error"], "temporarily_unavailable");
    assert_eq!(denied.header("ratelimit"), Some("\"address\";r=0;t=20"));
    let row = gateway.row_of(&denied);
    assert_eq!((row["kind"].as_str(), row["code"].as_str()), (Some("token_attempt"), Some("rate_limited")), "{row:#}");
    assert_eq!(gateway.get("erpa_tok_nonsense", "/v1/customers").code(), "rate_limited", "both count together");
    gateway.clock.advance(MINUTE);
    assert_eq!(gateway.ask_for_token(&issued).status, 200);
}

#[test]
fn a_flood_that_the_limit_of_an_address_turns_away_is_counted_in_one_row() {
    let erp = Recorder::start();
    let setup = Setup::new(erp.address()).gateway("  rate_limits:\n    address: { requests: 1, per: 1h }\n");
    let gateway = setup.config("audit:\n  fold_after: 2\n").start();
    assert_eq!(gateway.get("erpa_tok_nonsense", "/v1/customers").status, 401);
    assert!((0..50).all(|_| gateway.get("erpa_tok_nonsense", "/v1/customers").status == 429));
    gateway.clock.advance(MINUTE * 2);
    assert_eq!(gateway.get("erpa_tok_nonsense", "/v1/customers").status, 429);
    let rows = gateway.audit("relay", 4);
    let limited = rows.iter().filter(|row| row["code"] == "rate_limited");
    let repeats: Vec<u64> = limited.map(|row| row["repeats"].as_u64().unwrap_or(1)).collect();
    assert_eq!((repeats.len(), repeats.iter().sum::<u64>()), (3, 51), "{repeats:?}");
}

#[test]
fn a_set_that_has_reached_its_own_limit_takes_nothing_of_its_accounts() {
    let (gateway, _erp) = start("");
    let (first, second) = (gateway.issue("acme", &["order-reader"]), gateway.issue("acme", &["order-reader"]));
    limit_account(&gateway, "acme", Some(requests(10)));
    gateway.operate(Command::CredentialLimit { id: first.id, limits: Some(requests(2)) }).expect("limited");
    let (first, second) = (gateway.token(&first), gateway.token(&second));
    assert_eq!(statuses(&gateway, &first, 20)[..3], [200, 200, 429]);
    assert_eq!(statuses(&gateway, &second, 9), [200, 200, 200, 200, 200, 200, 200, 200, 429]);
    let (gateway, _erp) = start("");
    let issued = gateway.issue("acme", &["order-reader"]);
    let (id, token) = (issued.id, gateway.token(&issued));
    limit_account(&gateway, "acme", Some(requests(1)));
    gateway.operate(Command::CredentialLimit { id, limits: Some(requests(5)) }).expect("limited");
    assert_eq!(statuses(&gateway, &token, 9)[..2], [200, 429]);
    limit_account(&gateway, "acme", None);
    assert_eq!(statuses(&gateway, &token, 5), [200, 200, 200, 200, 429], "what the account turned away is given back");
}

#[test]
fn a_changed_limit_is_used_as_much_as_it_was_before() {
    let (gateway, _erp) = start("");
    let token = gateway.token(&gateway.issue("acme", &["order-reader"]));
    limit_account(&gateway, "acme", Some(requests(4)));
    assert_eq!(statuses(&gateway, &token, 2), [200; 2]);
    limit_account(&gateway, "acme", Some(requests(10)));
    assert_eq!(statuses(&gateway, &token, 6), [200, 200, 200, 200, 200, 429], "half of it is used");
    limit_account(&gateway, "acme", None);
    limit_account(&gateway, "acme", Some(requests(4)));
    assert_eq!(statuses(&gateway, &token, 1), [429], "nor does taking it away and setting it again help");
}

/// An ERP that tells of each request and answers it when told to.
fn patient_erp() -> (SocketAddr, Receiver<()>, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    let ((arrived, arrival), (go, gone)) = (channel(), channel::<()>());
    let gone = Arc::new(Mutex::new(gone));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().take(20).flatten() {
            let (arrived, gone) = (arrived.clone(), Arc::clone(&gone));
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ = arrived.send(());
                if gone.lock().expect("lock").recv().is_ok() {
                    let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
                    let _ =
                        stream.write_all(&[&head[..], b"Content-Length: 2\r\nConnection: close\r\n\r\n[]"].concat());
                }
            });
        }
    });
    (address, arrival, go)
}

#[test]
fn requests_at_once_are_counted_over_all_sets_of_an_account_and_until_they_end() {
    let (erp, arrival, go) = patient_erp();
    let gateway = Setup::new(erp).gateway("  rate_limits:\n    account: { concurrent: 1 }\n").start();
    gateway.set_api_key("erp-key-of-the-patient");
    let token = |account: &str| gateway.token(&gateway.issue(account, &["order-reader"]));
    let (first, second) = (token("acme"), token("acme"));
    let begin = |token: &str| {
        let mut connection = Connection::open(gateway.address);
        let bearer = format!("Bearer {token}");
        connection.send(&render("GET", "/v1/customers", &[("Authorization", &bearer)], None)).expect("sent");
        arrival.recv_timeout(Duration::from_mins(1)).expect("at the ERP");
        connection
    };
    let mut waiting = begin(&first);
    let denied = gateway.get(&second, "/v1/customers");
    assert_eq!((denied.status, denied.header("retry-after")), (429, Some("1")));
    assert_eq!(denied.header("ratelimit-policy"), Some("\"account\";q=1;qu=\"concurrent-requests\""));
    assert_eq!(denied.header("ratelimit"), Some("\"account\";r=0;t=1"));
    // A change of the limit forgets nobody who is in progress.
    limit_account(&gateway, "acme", Some(Limits::new(Some((100, MINUTE)), Some(1), None)));
    assert_eq!(gateway.get(&second, "/v1/customers").code(), "rate_limited");
    go.send(()).expect("sent");
    let answer = waiting.response(false).expect("an answer");
    assert_eq!(gateway.row_of(&answer)["outcome"]["ended"], "completed");
    // Whoever breaks off gives the place back too.
    drop(begin(&second));
    let rows = gateway.audit("relay", 4);
    assert_eq!(rows[0]["outcome"]["ended"], "aborted", "{:#}", rows[0]);
    go.send(()).expect("sent");
    go.send(()).expect("sent");
    assert_eq!(gateway.get(&first, "/v1/customers").status, 200);
}

#[test]
fn a_storm_of_reloads_that_change_a_limit_lets_nobody_have_more() {
    let limited = |most: u32| format!("{WITHOUT_LIMITS}limits: {{ requests: {most}, per: 1h }}\n");
    let erp = Recorder::answering("application/json", &[], b"[]");
    let gateway = Setup::new(erp.address()).policy("order-reader.yaml", &limited(20)).start();
    gateway.set_api_key("erp-key-of-the-storm");
    let token = gateway.token(&gateway.issue("acme", &["order-reader"]));
    let file = gateway.folder.path().join("policies/order-reader.yaml");
    let passed = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| statuses(&gateway, &token, 60).iter().filter(|status| **status == 200).count()))
            .collect();
        for round in 0..40 {
            std::fs::write(&file, limited(if round % 2 == 0 { 10 } else { 20 })).expect("written");
            gateway.operate(Command::PolicyReload).expect("reloaded");
        }
        clients.into_iter().map(|client| client.join().expect("joined")).sum::<usize>()
    });
    assert!((10..=20).contains(&passed), "{passed} of 180");
    assert_eq!(erp.count(), passed);
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
