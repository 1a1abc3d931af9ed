//! What a gateway at the edge of a network meets: proxies in front of it, too many connections, clocks that jump.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use erp_access::domain::ManualClock;
use openssl::ssl::{SslConnector, SslMethod};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use crate::support::certificates::{Authority, Validity};
use crate::support::gateway::{Gateway, OPEN, Setup};
use crate::support::http::Connection;
use crate::support::prepared::Prepared;
use crate::support::process::{self, Serving};
use crate::support::recorder::Recorder;

const HOST: &str = "api.example";

#[test]
fn a_proxy_says_for_whom_a_connection_is() {
    let erp = Recorder::start();
    let authority = Authority::new("an authority");
    let limits = "  proxy_protocol: [127.0.0.1]\n  limits: { connections_per_address: 1, header_timeout: 2s }\n";
    let setup = Setup::new(erp.address()).gateway(limits);
    let gateway = setup.start_with_tls(&authority.issue(HOST, Validity::Now));
    let request = "GET /v1/orders HTTP/1.1\r\nHost: a\r\n\r\n";
    let open = |header: &[u8]| {
        let mut connection = Connection::open(gateway.address);
        connection.send(header).expect("sent");
        connection
    };
    let mut first = open(b"PROXY TCP4 192.0.2.7 192.0.2.1 51000 80\r\n");
    first.send(request.as_bytes()).expect("sent");
    let answer = first.response(false).expect("an answer");
    assert_eq!(answer.status, 401);
    assert_eq!(gateway.row_of(&answer)["client"], "192.0.2.7");
    // Clients are counted by their own addresses, not by the proxy's.
    let mut second = open(b"PROXY TCP4 192.0.2.7 192.0.2.1 51001 80\r\n");
    second.send(request.as_bytes()).expect("sent");
    assert!(second.is_closed(), "a second connection of the same client");
    let mut other = open(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\xc0\x00\x02\x01\xc7\x38\x00\x50");
    other.send(request.as_bytes()).expect("sent");
    let answer = other.response(false).expect("an answer");
    assert_eq!(gateway.row_of(&answer)["client"], "192.0.2.8");
    // Without a header nobody is let in, whatever follows; a proxy that only looks leaves no row.
    drop(Connection::open(gateway.address));
    let mut without = open(request.as_bytes());
    assert!(without.is_closed());
    let refused = gateway.relay_row(|row| row["path"] == "" && row["code"] == "bad_request");
    assert!(refused["verdicts"].to_string().contains("does not begin with a PROXY header"), "{refused}");
    assert_eq!(refused["client"], "127.0.0.1");

    // The header comes before TLS.
    let mut stream = TcpStream::connect(gateway.tls.expect("TLS is spoken")).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    stream.write_all(b"PROXY TCP6 2001:db8::7 2001:db8::1 51000 443\r\n").expect("sent");
    let mut builder = SslConnector::builder(SslMethod::tls()).expect("a client");
    builder.cert_store_mut().add_cert(authority.certificate()).expect("trusted");
    let mut stream = builder.build().connect(HOST, stream).expect("TLS");
    stream.write_all(b"GET /v1/orders HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 401"), "{}", answer.escape_ascii());
    let row = gateway.relay_row(|row| row["client"] == "2001:db8::7");
    assert!(row["tls"].as_str().is_some_and(|tls| tls.starts_with("TLSv1.3")), "{row}");
}

/// Files that a process has open.
fn open_files(service: &Serving) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", service.child.id())).expect("the files").count()
}

#[test]
fn a_proxy_over_ipv4_is_known_on_a_listener_for_both_families() {
    let erp = Recorder::start();
    let folder = Setup::new(erp.address()).gateway("  proxy_protocol: [127.0.0.1]\n").write();
    let file = folder.path().join("erp-access.yaml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    // As `[::]` sees it: IPv4 written as IPv6.
    std::fs::write(&file, text.replace("\"127.0.0.1:0\"", "\"[::ffff:127.0.0.1]:0\"")).expect("written");
    let gateway = Gateway::start(folder, ManualClock::at(OPEN.parse().expect("a time")));
    assert!(gateway.address.is_ipv6(), "{}", gateway.address);
    let mut connection = Connection::open(gateway.address);
    connection.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 51000 80\r\n").expect("sent");
    connection.send(b"GET /v1/orders HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    let answer = connection.response(false).expect("an answer");
    assert_eq!(gateway.row_of(&answer)["client"], "192.0.2.7");
}

#[test]
fn a_gateway_that_runs_out_of_descriptors_serves_again_when_there_are_some() {
    let erp = Recorder::answering("application/json", &[], b"[]");
    let prepared = Prepared::new(erp.address(), "");
    let folder = prepared.folder.path();
    let service = Serving::start(folder);
    let address = service.address;
    let token = prepared.token(address);
    let ask = |connection: &mut Connection| {
        let bearer = format!("Bearer {token}");
        connection.try_request("GET", "/v1/orders", &[("Authorization", bearer.as_str())], None)
    };
    let mut kept = Connection::open(address);
    assert_eq!(ask(&mut kept).expect("an answer").status, 200);
    let most = u64::try_from(open_files(&service) + 20).expect("a number");
    let pid = Pid::from_raw(i32::try_from(service.child.id()).expect("an id"));
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) }).expect("limited");
    // More than can be accepted; the rest waits in the queue.
    let crowd: Vec<_> = (0..60).map(|_| Connection::try_open(address)).collect();
    for _ in 0..500 {
        if u64::try_from(open_files(&service)).expect("a number") >= most {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(u64::try_from(open_files(&service)).expect("a number") >= most, "some are left");
    // Whoever is connected is answered: with what it asked for, or with a denial that says that it is our fault.
    for _ in 0..5 {
        let answer = ask(&mut kept).expect("an answer");
        assert!([200, 502, 503].contains(&answer.status), "{} {}", answer.status, answer.text());
    }
    drop(crowd);
    let served = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        Connection::try_open(address)
            .ok()
            .and_then(|mut fresh| ask(&mut fresh))
            .is_some_and(|answer| answer.status == 200)
    });
    assert!(served, "it does not recover\n{}", process::log(folder));
    assert!(service.terminate());
    process::succeed(folder, &["audit", "verify"], "");
}

#[test]
fn a_clock_that_jumps_a_day_opens_nothing_and_breaks_nothing() {
    let erp = Recorder::answering("application/json", &[], b"[]");
    let gateway = Setup::new(erp.address()).start();
    gateway.set_api_key("erp-key-through-time");
    let set = gateway.issue("acme", &["order-reader"]);
    let token = gateway.token(&set);
    let noon: jiff::Timestamp = OPEN.parse().expect("a time");
    let day = jiff::SignedDuration::from_hours(24);
    let status = |token: &str| gateway.get(token, "/v1/orders").status;
    assert_eq!(status(&token), 200);
    // Ahead: what has ended there has ended, and new tokens are for then.
    gateway.clock.set(noon + day);
    assert_eq!(status(&token), 401, "the token is over");
    let of_tomorrow = gateway.token(&set);
    assert_eq!(status(&of_tomorrow), 200);
    // Back: nothing that an operator has stopped is open again, and limits and sessions hold.
    gateway.operate(erp_access::control::Command::CredentialRevoke { id: set.id }).expect("revoked");
    gateway.clock.set(noon - day);
    assert_eq!((status(&token), status(&of_tomorrow)), (401, 401), "revoked is revoked at any time");
    // Sunday before Monday: the schedule of the wall clock is closed.
    let fresh = gateway.issue("acme", &["order-reader"]);
    let token = gateway.token(&fresh);
    let answer = gateway.get(&token, "/v1/orders");
    assert_eq!((answer.status, answer.code().as_str()), (403, "outside_schedule"));
    gateway.clock.set(noon);
    assert_eq!(status(&token), 401, "that of yesterday is over");
    let token = gateway.token(&fresh);
    assert_eq!(status(&token), 200);
    let verified =
        gateway.operate(erp_access::control::Command::AuditVerify { position: None, from: None, checkpoint: None });
    let verified = verified.expect("verified");
    assert_eq!(verified["findings"], json!([]), "{verified}");
}
