//! What outlives what: restarts, lost sessions, relays that are cut.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use erp_access::control::Command;
use erp_access::demo::little_erp::{LittleErp, LittleErpHandle, Settings};
use erp_access::domain::Secret;
use erp_access::kill_switch::Scope;

use crate::support::gateway::{Gateway, LITTLE_ERP_SESSION, Setup};
use crate::support::http::{self, Connection};
use crate::support::process::Serving;

const PASSWORD: &str = "little-password-1";

const ENDPOINTS: &str = "version: 1
upstream: erp
endpoints:
  - { id: customers, methods: [GET], path: /v1/customers, upstream_path: /api/customers }
  - { id: echo, methods: [GET, POST], path: /v1/echo, upstream_path: /api/echo }
  - { id: large, methods: [GET], path: /v1/large, upstream_path: /api/large }
  - { id: upload, methods: [POST], path: /v1/upload, upstream_path: /api/upload }
  - { id: leak, methods: [GET], path: /v1/leak, upstream_path: /api/leak }
  - { id: redirect, methods: [GET], path: /v1/redirect, upstream_path: /api/redirect }
";

const POLICY: &str = "version: 1
policy: everything
schedule: exempt
rules:
  - { id: all, allow: [customers, echo, large, upload, leak, redirect] }
";

fn little_erp() -> LittleErpHandle {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    LittleErp::start(listener, Settings::new("gateway", Secret::new(PASSWORD.into()))).expect("starts")
}

fn setup(erp: &LittleErpHandle) -> Setup {
    let mut setup = Setup::new(erp.address()).session(LITTLE_ERP_SESSION);
    setup.policies.retain(|name, _| *name == "schedule.yaml");
    setup.policy("endpoints/erp.yaml", ENDPOINTS).policy("everything.yaml", POLICY)
}

fn start(erp: &LittleErpHandle) -> (Gateway, String) {
    let gateway = setup(erp).start();
    gateway.set_password("gateway", PASSWORD);
    let token = gateway.token(&gateway.issue("acme", &["everything"]));
    (gateway, token)
}

#[test]
fn tokens_kill_switch_and_upstream_session_survive_a_restart() {
    let erp = little_erp();
    let (gateway, token) = start(&erp);
    assert_eq!(gateway.get(&token, "/v1/customers").status, 200);
    assert_eq!(erp.sign_ins(), 1);
    gateway
        .operate(Command::KillEngage { scope: Scope::All, message: None, reason: "test".into(), until: None })
        .expect("engaged");
    let gateway = gateway.restart();
    assert_eq!(gateway.get(&token, "/v1/customers").code(), "kill_switch_engaged");
    gateway.operate(Command::KillRelease { scope: Scope::All, reason: "test".into() }).expect("released");
    assert_eq!(gateway.get(&token, "/v1/customers").status, 200);
    assert_eq!(erp.sign_ins(), 1, "the session was kept, sealed");
}

#[test]
fn a_lost_session_is_renewed_once_and_the_request_is_sent_again_whole() {
    let erp = little_erp();
    let (gateway, token) = start(&erp);
    assert_eq!(gateway.get(&token, "/v1/customers").status, 200);
    erp.expire_sessions();
    let body = format!("{{\"text\":\"{}\"}}", "x".repeat(50_000));
    let response = gateway.relay(&token, "POST", "/v1/echo", Some(body.as_bytes()));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(erp.sign_ins(), 2);
    let row = gateway.row_of(&response);
    assert_eq!(row["outcome"]["attempts"].as_u64(), Some(2));
    let sent: Vec<_> = erp.requests().into_iter().filter(|request| request.target == "/api/echo").collect();
    assert_eq!(sent.iter().map(|request| request.body_length).collect::<Vec<_>>(), [50_011, 50_011]);
}

#[test]
fn a_body_too_long_to_be_sent_again_is_not_sent_twice() {
    let erp = little_erp();
    let (gateway, token) = start(&erp);
    assert_eq!(gateway.get(&token, "/v1/customers").status, 200);
    erp.expire_sessions();
    let response = gateway.relay(&token, "POST", "/v1/echo", Some(&vec![b'x'; 200_000]));
    assert_eq!((response.status, response.code().as_str()), (502, "upstream_session_failed"));
    assert_eq!(gateway.get(&token, "/v1/customers").status, 200, "the next request signs in again");
}

#[test]
fn many_cold_requests_cost_one_sign_in() {
    let erp = little_erp();
    let (gateway, token) = start(&erp);
    erp.set_sign_in_delay(Duration::from_millis(200));
    let (address, token) = (gateway.address, Arc::new(token));
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let token = Arc::clone(&token);
            std::thread::spawn(move || {
                let mut connection = Connection::open(address);
                let bearer = format!("Bearer {token}");
                (0..20).all(|_| {
                    connection.request("GET", "/v1/customers", &[("Authorization", bearer.as_str())], None).status
                        == 200
                })
            })
        })
        .collect();
    assert!(clients.into_iter().all(|client| client.join().expect("a client")));
    assert_eq!(erp.sign_ins(), 1);
}

#[test]
fn a_new_secret_is_used_by_the_next_request() {
    let erp = little_erp();
    let (gateway, token) = start(&erp);
    assert_eq!(gateway.get(&token, "/v1/customers").status, 200);
    gateway.set_password("gateway", "wrong-password-1");
    assert_eq!(gateway.get(&token, "/v1/customers").code(), "upstream_session_failed");
    gateway.set_password("gateway", PASSWORD);
    assert_eq!(gateway.get(&token, "/v1/customers").status, 200);
}

/// What an operator does while a large answer is on its way.
fn cut_by(act: impl FnOnce(&Gateway)) {
    assert_eq!(end_of_a_relay("", act), "cut");
}

/// The same where these changes cut; how the relay ends, and that all of its bytes came unless it was cut.
pub(crate) fn end_of_a_relay(cut_in_flight: &str, act: impl FnOnce(&Gateway)) -> String {
    // Large enough that the change is made while it is on its way.
    const BYTES: usize = 20 << 20;
    let erp = little_erp();
    let gateway = setup(&erp).gateway(cut_in_flight).start();
    gateway.set_password("gateway", PASSWORD);
    let token = gateway.token(&gateway.issue("acme", &["everything"]));
    let mut connection = Connection::open(gateway.address);
    let bearer = format!("Bearer {token}");
    let request = http::render("GET", "/v1/large?bytes=20971520", &[("Authorization", &bearer)], None);
    connection.send(&request).expect("sent");
    let (status, headers) = connection.head().expect("a head");
    assert_eq!(status, 200);
    act(&gateway);
    let mut received = 0;
    let mut chunk = vec![0; 1024 * 1024];
    while received < BYTES
        && let Ok(count @ 1..) = std::io::Read::read(&mut connection, &mut chunk)
    {
        received += count;
    }
    let id = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-request-id")).expect("an id").1.clone();
    let row = (0..500)
        .find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            let row = gateway.operate(Command::AuditShow { id: id.parse().expect("an id") }).expect("a row");
            (!row["outcome"].is_null()).then_some(row)
        })
        .expect("an outcome");
    let ended = row["outcome"]["ended"].as_str().expect("a text").to_owned();
    assert_eq!(ended != "cut", received == BYTES, "{received} bytes came, and the relay was {ended}");
    ended
}

#[test]
fn the_kill_switch_cuts_a_relay_in_progress() {
    cut_by(|gateway| {
        gateway
            .operate(Command::KillEngage { scope: Scope::All, message: None, reason: "test".into(), until: None })
            .expect("engaged");
    });
}

#[test]
fn a_suspension_cuts_a_relay_in_progress() {
    cut_by(|gateway| {
        let name = "acme".parse().expect("a name");
        gateway.operate(Command::AccountSuspend { name, reason: "test".into() }).expect("suspended");
    });
}

/// The gateway as a process of its own, so that its memory can be measured, and a token.
fn start_process(erp: &LittleErpHandle) -> (Serving, String, tempfile::TempDir) {
    let gateway = setup(erp).start();
    gateway.set_password("gateway", PASSWORD);
    let issued = gateway.issue("acme", &["everything"]);
    let folder = gateway.hand_over();
    let serving = Serving::start(folder.path());
    let token = issued.token(serving.address);
    let bearer = format!("Bearer {token}");
    let warm = http::once(serving.address, "GET", "/v1/customers", &[("Authorization", &bearer)], None);
    assert_eq!(warm.status, 200);
    (serving, bearer, folder)
}

/// What the gateway may take beyond its memory at rest: far less than what passes through it.
const CONSTANT: u64 = 100 << 20;

#[test]
fn a_gigabyte_comes_down_in_constant_memory() {
    let erp = little_erp();
    let (serving, bearer, _folder) = start_process(&erp);
    let before = serving.resident();
    let mut connection = Connection::open(serving.address);
    connection
        .send(&http::render("GET", "/v1/large?bytes=1073741824", &[("Authorization", &bearer)], None))
        .expect("sent");
    assert_eq!(connection.head().expect("a head").0, 200);
    let (mut received, mut most) = (0_u64, 0);
    let mut chunk = vec![0; 1024 * 1024];
    while received < 1 << 30 {
        let count = std::io::Read::read(&mut connection, &mut chunk).expect("read");
        assert!(count > 0, "the answer ended after {received} bytes");
        received += u64::try_from(count).expect("small");
        most = most.max(serving.resident());
    }
    assert!(most.saturating_sub(before) < CONSTANT, "{} MiB more", most.saturating_sub(before) >> 20);
}

#[test]
fn two_hundred_megabytes_go_up_in_constant_memory() {
    let erp = little_erp();
    let (serving, bearer, _folder) = start_process(&erp);
    let before = serving.resident();
    let length = 200_u64 << 20;
    let mut connection = Connection::open(serving.address);
    let announced = length.to_string();
    let headers = [("Authorization", bearer.as_str()), ("Content-Length", announced.as_str())];
    connection.send(&http::render("POST", "/v1/upload", &headers, None)).expect("sent");
    let chunk = vec![b'x'; 1 << 20];
    let mut most = 0;
    for _ in 0..200 {
        connection.send(&chunk).expect("sent");
        most = most.max(serving.resident());
    }
    let response = connection.response(false).expect("an answer");
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.text().contains(&announced), "{}", response.text());
    assert!(most.saturating_sub(before) < CONSTANT, "{} MiB more", most.saturating_sub(before) >> 20);
}

#[test]
fn nothing_of_the_erps_session_reaches_the_client() {
    let erp = little_erp();
    let (gateway, token) = start(&erp);
    let response = gateway.get(&token, "/v1/leak");
    assert_eq!(response.status, 200);
    let session = erp.requests().last().expect("a request").header("x-erp-session").expect("a session").to_owned();
    let headers: String = response.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    assert!(!headers.contains(&session), "{headers}");
    let redirect = gateway.get(&token, "/v1/redirect");
    assert!(redirect.header("set-cookie").is_none());
    assert!(
        redirect.header("location").is_none_or(|location| location.starts_with('/')),
        "{:?}",
        redirect.header("location")
    );
}
