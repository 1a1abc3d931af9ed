//! Several peers, TLS towards the ERP, HTTP/2, time limits: over real sockets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use erp_access::domain::Code;

use crate::support::gateway::{Gateway, Setup, config_errors};
use crate::support::http::{Response, find};
use crate::support::process::free_address;
use crate::support::tls::{Authority, TlsErp, http2_erp};

/// A peer that acts as told on each connection, and counts the requests that reach it.
#[derive(Clone)]
struct Peer {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Peer {
    fn start(act: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::start_at(TcpListener::bind("127.0.0.1:0").expect("bind"), act)
    }

    fn start_at(listener: TcpListener, act: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(AtomicUsize::new(0));
        let (counted, act) = (Arc::clone(&requests), Arc::new(act));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().take(200).flatten() {
                let (counted, act) = (Arc::clone(&counted), Arc::clone(&act));
                std::thread::spawn(move || {
                    let mut received = Vec::new();
                    let mut chunk = [0; 4096];
                    while let Ok(count @ 1..) = stream.read(&mut chunk) {
                        received.extend_from_slice(&chunk[..count]);
                        if find(&received, b"\r\n\r\n").is_some() {
                            counted.fetch_add(1, Ordering::AcqRel);
                            act(&mut stream);
                            return;
                        }
                    }
                });
            }
        });
        Self { address, requests }
    }

    fn answering(name: &'static str) -> Self {
        Self::start(move |stream| {
            let length = name.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{name}");
            let _ = stream.write_all(answer.as_bytes());
        })
    }

    fn breaking_off() -> Self {
        Self::start(|_| {})
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Acquire)
    }
}

const POLICY: &str = "version: 1
policy: order-reader
schedule: exempt
rules:
  - { id: all, allow: [orders.list, orders.create] }
";

fn behind(peers: &[SocketAddr], upstream: &str) -> (Gateway, String) {
    let mut setup = Setup::new(peers[0]).policy("order-reader.yaml", POLICY);
    setup.peers = peers.to_vec();
    upstream.clone_into(&mut setup.upstream);
    ready(setup.start())
}

fn ready(gateway: Gateway) -> (Gateway, String) {
    gateway.set_api_key("erp-side-key-1");
    let token = gateway.token(&gateway.issue("acme", &["order-reader"]));
    (gateway, token)
}

fn expect(response: &Response, code: Code) {
    assert_eq!((response.status, response.code().as_str()), (code.status(), code.as_str()), "{}", response.text());
}

#[test]
fn requests_go_round_the_peers() {
    let (one, two) = (Peer::answering("one"), Peer::answering("two"));
    let (gateway, token) = behind(&[one.address, two.address], "");
    for _ in 0..6 {
        assert_eq!(gateway.get(&token, "/v1/orders").status, 200);
    }
    assert_eq!((one.requests(), two.requests()), (3, 3));
}

#[test]
fn peer_that_takes_no_connection_is_passed_over_whatever_the_method() {
    let two = Peer::answering("two");
    let (gateway, token) = behind(&[free_address(), two.address], "");
    for _ in 0..4 {
        assert_eq!(gateway.get(&token, "/v1/orders").text(), "two");
        assert_eq!(gateway.relay(&token, "POST", "/v1/orders", Some(b"{}")).text(), "two");
    }
    assert_eq!(two.requests(), 8);
}

#[test]
fn read_is_repeated_at_the_next_peer_only_where_nothing_was_done_and_a_write_never() {
    let (broken, well) = (Peer::breaking_off(), Peer::answering("well"));
    let (gateway, token) = behind(&[broken.address, well.address], "    ejection: { failures: 0 }\n");
    for _ in 0..4 {
        let response = gateway.relay(&token, "POST", "/v1/orders", Some(b"{}"));
        assert!(
            response.status == 200 || response.code() == Code::UpstreamProtocolError.as_str(),
            "{}",
            response.text()
        );
    }
    assert_eq!((broken.requests(), well.requests()), (2, 2), "each write was sent once");
}

#[test]
fn peer_that_fails_is_left_out_and_comes_back() {
    let (broken, well) = (Peer::breaking_off(), Peer::answering("well"));
    let (gateway, token) = behind(&[broken.address, well.address], "    ejection: { failures: 2, pause: 1m }\n");
    for _ in 0..20 {
        gateway.relay(&token, "POST", "/v1/orders", Some(b"{}"));
    }
    assert_eq!((broken.requests(), well.requests()), (2, 18));
    gateway.clock.advance(Duration::from_mins(1));
    for _ in 0..2 {
        gateway.relay(&token, "POST", "/v1/orders", Some(b"{}"));
    }
    assert_eq!(broken.requests(), 3, "it has its turn again");
}

#[test]
fn unwell_peer_gets_no_requests_until_it_is_well() {
    let healthy = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let says = Arc::clone(&healthy);
    let unwell = Peer::start(move |stream| {
        let status = if says.load(Ordering::Acquire) { "200 OK" } else { "503 Service Unavailable" };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 6\r\nConnection: close\r\n\r\nunwell");
        let _ = stream.write_all(answer.as_bytes());
    });
    let well = Peer::answering("well");
    let check =
        "    ejection: { failures: 0 }\n    health_check: { path: /health, every: 100ms, healthy: 1, unhealthy: 1 }\n";
    let (gateway, token) = behind(&[unwell.address, well.address], check);
    let turns = || -> Vec<String> { (0..4).map(|_| gateway.get(&token, "/v1/orders").text()).collect() };
    let eventually = |wanted: &dyn Fn(&[String]) -> bool| (0..500).any(|_| wanted(&turns()));
    assert!(eventually(&|turns| turns.iter().all(|answer| answer == "well")));
    healthy.store(true, Ordering::Release);
    assert!(eventually(&|turns| turns.iter().any(|answer| answer == "unwell")));
}

#[test]
fn exchange_that_drags_on_is_cut_at_its_total() {
    // A byte again and again keeps every read in time.
    let dragging = Peer::start(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let mut setup = Setup::new(dragging.address).policy("order-reader.yaml", POLICY);
    setup.upstream = "    timeouts: { total: 300ms }\n".to_owned();
    let (gateway, token) = ready(setup.start());
    let folder_clock = gateway.clock.clone();
    let ticking = std::thread::spawn(move || {
        for _ in 0..100 {
            folder_clock.advance(Duration::from_millis(100));
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let bearer = format!("Bearer {token}");
    let mut connection = crate::support::http::Connection::open(gateway.address);
    let request = crate::support::http::render("GET", "/v1/orders", &[("Authorization", &bearer)], None);
    connection.send(&request).expect("sent");
    let (status, headers) = connection.head().expect("a head");
    assert_eq!(status, 200);
    let mut body = Vec::new();
    let _ = connection.read_to_end(&mut body);
    assert!(body.len() < 100_000, "{} bytes", body.len());
    ticking.join().expect("ticked");
    let response = Response { status, headers, body, whole: false };
    let row = gateway.row_of(&response);
    assert_eq!(row["outcome"]["code"].as_str(), Some("upstream_timeout"), "{row:#}");
}

fn with_tls(
    erp: SocketAddr,
    authority: &Authority,
    more: &str,
    prepare: impl FnOnce(&std::path::Path),
) -> (Gateway, String) {
    let setup = Setup::new(erp).policy("order-reader.yaml", POLICY);
    let folder = tempfile::tempdir().expect("a folder");
    authority.write(folder.path());
    prepare(folder.path());
    let mut setup = setup;
    setup.upstream = format!("    tls:\n      server_name: erp.test\n      ca_file: ca.pem\n{more}");
    ready(setup.start_in(folder))
}

#[test]
fn tls_trusts_the_private_authority_and_the_right_name_only() {
    let authority = Authority::new();
    let erp = TlsErp::start(&authority.issue("erp.test"), None);
    let (gateway, token) = with_tls(erp.address, &authority, "", |_| {});
    assert_eq!(gateway.get(&token, "/v1/orders").status, 200);

    let other_name = TlsErp::start(&authority.issue("other.test"), None);
    let (gateway, token) = with_tls(other_name.address, &authority, "", |_| {});
    expect(&gateway.get(&token, "/v1/orders"), Code::UpstreamUnreachable);

    let stranger = TlsErp::start(&Authority::new().issue("erp.test"), None);
    let (gateway, token) = with_tls(stranger.address, &authority, "", |_| {});
    expect(&gateway.get(&token, "/v1/orders"), Code::UpstreamUnreachable);
    assert_eq!(other_name.answered() + stranger.answered(), 0, "nothing is sent to somebody else");
}

const OWN: &str = "      client_certificate: { certificate_file: own.pem, key_file: own.key }\n";

#[test]
fn our_certificate_is_shown_to_an_erp_that_asks_for_one() {
    let authority = Authority::new();
    let erp = TlsErp::start(&authority.issue("erp.test"), Some(&authority));
    let (gateway, token) = with_tls(erp.address, &authority, OWN, |folder| {
        authority.issue("gateway.test").write(folder);
    });
    assert_eq!(gateway.get(&token, "/v1/orders").status, 200);
    let (gateway, token) = with_tls(erp.address, &authority, "", |_| {});
    assert!(gateway.get(&token, "/v1/orders").status >= 502);
    assert_eq!(erp.answered(), 1);
}

#[test]
fn certificate_and_key_that_cannot_be_used_are_named_at_the_start() {
    use std::os::unix::fs::PermissionsExt as _;
    let authority = Authority::new();
    let problem = |prepare: &dyn Fn(&std::path::Path)| {
        let folder = tempfile::tempdir().expect("a folder");
        authority.write(folder.path());
        authority.issue("gateway.test").write(folder.path());
        prepare(folder.path());
        let mut setup = Setup::new(free_address());
        setup.upstream = format!("    tls:\n      server_name: erp.test\n      ca_file: ca.pem\n{OWN}");
        config_errors(&setup, &folder)
    };
    let mode = |file: &std::path::Path, mode| {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    assert!(problem(&|folder| mode(&folder.join("own.key"), 0o640)).contains("can be read by others; run `chmod 600"));
    assert!(problem(&|folder| drop(std::fs::write(folder.join("own.pem"), "x"))).contains("own.pem` holds no PEM"));
    assert!(
        problem(&|folder| drop(std::fs::write(folder.join("own.key"), "x")))
            .contains("own.key` holds no PEM private key")
    );
    let other = problem(&|folder| {
        let key = Authority::new().issue("other").key.private_key_to_pem_pkcs8().expect("PEM");
        std::fs::write(folder.join("own.key"), key).expect("written");
    });
    assert!(other.contains("is not the one of the certificate"), "{other}");
}

#[test]
fn http2_is_spoken_where_the_configuration_says_so() {
    let authority = Authority::new();
    let erp = http2_erp(&authority.issue("erp.test"));
    let (gateway, token) = with_tls(erp, &authority, "    http_version: http2\n", |_| {});
    for _ in 0..3 {
        let response = gateway.get(&token, "/v1/orders");
        assert_eq!(response.status, 200, "{}", response.text());
        // The answer repeats the key, which the gateway would take out of headers but passes in a body.
        assert!(response.text().starts_with("HTTP/2.0 /api/orders "), "{}", response.text());
    }
}
