//! Several peers, TLS towards them, and what is sent again: real sockets, certificates made for the test.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use crate::support::certificates::{Authority, Validity};
use crate::support::erp::{Asked, Erp, NOBODY, answer, hang_up};
use crate::support::gateway::{Gateway, LITTLE_ERP_SESSION, Setup};
use crate::support::http::{self, Connection, Response};
use crate::support::http2::Http2Erp;
use crate::support::process;

const ENDPOINTS: &str = "version: 1
upstream: erp
endpoints:
  - { id: echo, methods: [GET, POST, PUT, DELETE], path: /v1/echo, upstream_path: /api/echo }
";

const POLICY: &str = "version: 1
policy: everything
schedule: exempt
rules:
  - { id: all, allow: [echo] }
";

const H1: &[u8] = b"\x08http/1.1";
const H2: &[u8] = b"\x02h2";

fn setup(peers: &[SocketAddr], upstream: &str) -> Setup {
    let mut setup = Setup::new(NOBODY[0]);
    setup.peers = peers.to_vec();
    setup.upstream.push_str(upstream);
    setup.policies.retain(|name, _| *name == "schedule.yaml");
    setup.policy("endpoints/erp.yaml", ENDPOINTS).policy("everything.yaml", POLICY)
}

/// A gateway with a token.
struct Scene {
    gateway: Gateway,
    token: String,
}

impl Scene {
    fn new(peers: &[SocketAddr], upstream: &str) -> Self {
        Self::of(setup(peers, upstream))
    }

    fn of(setup: Setup) -> Self {
        let signs_in = setup.session == LITTLE_ERP_SESSION;
        let gateway = setup.start();
        if signs_in {
            gateway.set_password("gateway", "little-password-1");
        } else {
            gateway.set_api_key("erp-side-key-1");
        }
        let token = gateway.token(&gateway.issue("acme", &["everything"]));
        Self { gateway, token }
    }

    fn get(&self) -> Response {
        self.gateway.get(&self.token, "/v1/echo")
    }

    /// Reads, and waits for the outcome: the connection to the ERP is free by then.
    fn get_and_settle(&self) {
        let response = self.get();
        assert_eq!(response.status, 200, "{}", response.text());
        self.gateway.row_of(&response);
    }

    fn send(&self, method: &str) -> Response {
        let body = (method != "DELETE").then_some(&b"{\"amount\":1}"[..]);
        self.gateway.relay(&self.token, method, "/v1/echo", body)
    }

    fn refused(&self, response: &Response, status: u16, code: &str) -> serde_json::Value {
        assert_eq!((response.status, response.code().as_str()), (status, code), "{}", response.text());
        let row = self.gateway.row_of(response);
        assert_eq!(row["outcome"]["code"].as_str(), Some(code), "{row:#}");
        row
    }
}

fn well(_: &Asked, out: &mut dyn Write) -> io::Result<()> {
    answer(out, 200, "{}")
}

fn breaking(_: &Asked, _: &mut dyn Write) -> io::Result<()> {
    hang_up()
}

/// Signs in and answers.
fn signing_in(asked: &Asked, out: &mut dyn Write) -> io::Result<()> {
    let body = if asked.target == "/api/session" { "{\"token\":\"token-of-the-erp\"}" } else { "{}" };
    answer(out, 200, body)
}

#[test]
fn peers_take_turns_and_a_dead_one_is_passed_over() {
    let (one, other) = (Erp::plain(well), Erp::plain(well));
    let scene = Scene::new(&[one.address(), NOBODY[0], other.address()], "");
    for _ in 0..6 {
        assert_eq!(scene.get().status, 200);
    }
    assert_eq!(one.count() + other.count(), 6);
    assert!(one.count() >= 2 && other.count() >= 2);
    // Nothing reaches a peer that takes no connection, so a write may go to the next one.
    for _ in 0..3 {
        assert_eq!(scene.send("POST").status, 200);
    }
    assert_eq!(one.count() + other.count(), 9, "each request exactly once");
}

#[test]
fn weights_are_shares() {
    let (light, heavy) = (Erp::plain(well), Erp::plain(well));
    let folder = setup(&[light.address()], "").write();
    let file = folder.path().join("erp-access.yaml");
    let text = std::fs::read_to_string(&file).expect("read");
    let peers = format!("\"{}\", {{ address: \"{}\", weight: 3 }}", light.address(), heavy.address());
    std::fs::write(&file, text.replace(&format!("\"{}\"", light.address()), &peers)).expect("written");
    let clock = erp_access::domain::ManualClock::at(crate::support::gateway::OPEN.parse().expect("a time"));
    let gateway = Gateway::start(folder, clock);
    gateway.set_api_key("erp-side-key-1");
    let token = gateway.token(&gateway.issue("acme", &["everything"]));
    for _ in 0..8 {
        assert_eq!(gateway.get(&token, "/v1/echo").status, 200);
    }
    assert_eq!((light.count(), heavy.count()), (2, 6));
}

#[test]
fn peer_that_keeps_failing_is_left_out_and_comes_back_by_itself() {
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let first = Erp::plain(move |_, out| answer(out, if is_mended.load(Ordering::SeqCst) { 200 } else { 503 }, "{}"));
    let second = Erp::plain(well);
    let upstream = "    balance: in_order\n    ejection: { failures: 2, pause: 10s }\n";
    let scene = Scene::new(&[first.address(), second.address()], upstream);
    let statuses: Vec<u16> = (0..4).map(|_| scene.get().status).collect();
    assert_eq!(statuses, [503, 503, 200, 200]);
    assert_eq!((first.count(), second.count()), (2, 2));
    mended.store(true, Ordering::SeqCst);
    assert_eq!((scene.get().status, first.count()), (200, 2), "its time is not up");
    scene.gateway.clock.advance(Duration::from_secs(10));
    assert_eq!((scene.get().status, first.count()), (200, 3));
}

#[test]
fn when_every_peer_is_left_out_one_is_tried_all_the_same() {
    let erp = Erp::plain(|_, out| answer(out, 503, "{}"));
    let upstream = "    ejection: { failures: 1, pause: 1h }\n";
    let scene = Scene::new(&[erp.address(), NOBODY[0]], upstream);
    for _ in 0..5 {
        assert_eq!(scene.get().status, 503);
    }
    assert_eq!(erp.count(), 5);
}

#[test]
fn a_write_is_never_sent_twice_when_the_connection_breaks() {
    for method in ["POST", "PUT", "DELETE"] {
        let (first, second) = (Erp::plain(breaking), Erp::plain(well));
        let scene = Scene::new(&[first.address(), second.address()], "    balance: in_order\n");
        let row = scene.refused(&scene.send(method), 502, "upstream_protocol_error");
        assert_eq!(row["outcome"]["attempts"], 1, "{row:#}");
        assert_eq!((first.count(), second.count()), (1, 0), "{method}");
    }
}

#[test]
fn a_write_on_a_pooled_connection_that_breaks_is_not_sent_twice_either() {
    for method in ["POST", "PUT", "DELETE"] {
        let first = Erp::plain(|asked, out| if asked.method == "GET" { well(asked, out) } else { hang_up() });
        let second = Erp::plain(well);
        let scene = Scene::new(&[first.address(), second.address()], "    balance: in_order\n");
        scene.get_and_settle();
        scene.refused(&scene.send(method), 502, "upstream_protocol_error");
        assert_eq!(
            first.seen().iter().map(|asked| asked.connection).collect::<Vec<_>>(),
            [0, 0],
            "the same connection"
        );
        assert_eq!((first.count(), second.count()), (2, 0), "{method}");
    }
}

#[test]
fn a_read_goes_to_the_next_peer_when_the_connection_breaks() {
    let (first, second) = (Erp::plain(breaking), Erp::plain(well));
    let scene = Scene::new(&[first.address(), second.address()], "    balance: in_order\n");
    let response = scene.get();
    assert_eq!(response.status, 200, "{}", response.text());
    let row = scene.gateway.row_of(&response);
    assert_eq!(row["outcome"]["attempts"], 2, "{row:#}");
    assert_eq!(row["outcome"]["upstream_peer"].as_str(), Some(second.address().to_string().as_str()), "{row:#}");
    assert_eq!((first.count(), second.count()), (1, 1));
}

#[test]
fn a_read_that_breaks_at_the_only_peer_is_not_repeated() {
    let erp = Erp::plain(breaking);
    let scene = Scene::new(&[erp.address()], "");
    scene.refused(&scene.get(), 502, "upstream_protocol_error");
    assert_eq!(erp.count(), 1);
}

#[test]
fn an_answer_that_breaks_in_the_middle_is_not_asked_for_again() {
    let first = Erp::plain(|_, out| {
        out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").and_then(|()| hang_up())
    });
    let second = Erp::plain(well);
    let scene = Scene::new(&[first.address(), second.address()], "    balance: in_order\n");
    let mut connection = Connection::open(scene.gateway.address);
    let bearer = format!("Bearer {}", scene.token);
    connection.send(&http::render("GET", "/v1/echo", &[("Authorization", &bearer)], None)).expect("sent");
    let response = connection.response(false).expect("a head");
    assert_eq!((response.status, response.body.as_slice()), (200, &b"half"[..]));
    assert_eq!((first.count(), second.count()), (1, 0));
}

#[test]
fn nobody_there_is_said_so() {
    let scene = Scene::new(&NOBODY, "");
    scene.refused(&scene.get(), 502, "upstream_unreachable");
    scene.refused(&scene.send("POST"), 502, "upstream_unreachable");
}

/// An ERP that takes requests and answers none while the test goes on.
fn silent() -> (Erp, mpsc::Sender<()>) {
    let (end, ended) = mpsc::channel();
    let ended = Mutex::new(ended);
    let erp = Erp::plain(move |_, _| {
        let _ = ended.lock().expect("lock").recv();
        hang_up()
    });
    (erp, end)
}

#[test]
fn a_slow_read_is_not_asked_for_twice() {
    let (first, _end) = silent();
    let second = Erp::plain(well);
    let upstream = "    balance: in_order\n    timeouts: { read: 100ms }\n";
    let scene = Scene::new(&[first.address(), second.address()], upstream);
    scene.refused(&scene.get(), 504, "upstream_timeout");
    assert_eq!((first.count(), second.count()), (1, 0));
}

#[test]
fn time_for_the_whole_exchange_ends_the_wait_for_an_answer() {
    let (erp, _end) = silent();
    let scene = Scene::new(&[erp.address()], "    timeouts: { total: 1s }\n");
    scene.refused(&scene.get(), 504, "upstream_timeout");
}

#[test]
fn time_for_the_whole_exchange_cuts_an_answer_in_progress() {
    let (go_on, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let erp = Erp::plain(move |_, out| {
        // More than any buffer on the way keeps back.
        out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 262149\r\n\r\n")?;
        out.write_all(&vec![b'x'; 262_144])?;
        out.flush()?;
        let _ = wait.lock().expect("lock").recv();
        out.write_all(b"other")
    });
    let scene = Scene::new(&[erp.address()], "    timeouts: { total: 30s }\n");
    let mut connection = Connection::open(scene.gateway.address);
    let bearer = format!("Bearer {}", scene.token);
    connection.send(&http::render("GET", "/v1/echo", &[("Authorization", &bearer)], None)).expect("sent");
    let (status, headers) = connection.head().expect("a head");
    assert_eq!(status, 200);
    scene.gateway.clock.advance(Duration::from_secs(30));
    go_on.send(()).expect("the ERP goes on");
    let mut rest = Vec::new();
    let _ = io::Read::read_to_end(&mut connection, &mut rest);
    assert!(!rest.ends_with(b"other"), "what came after the time was up is not passed on");
    let row = scene.gateway.row_of(&Response { status, headers, body: Vec::new(), whole: false });
    assert_eq!(row["outcome"]["code"], "upstream_timeout", "{row:#}");
}

#[test]
fn least_busy_peer_gets_the_request() {
    let (busy, end) = silent();
    let idle = Erp::plain(well);
    let scene = Scene::new(&[busy.address(), idle.address()], "    balance: least_connections\n");
    let bearer = format!("Bearer {}", scene.token);
    let mut waiting = Connection::open(scene.gateway.address);
    waiting.send(&http::render("GET", "/v1/echo", &[("Authorization", &bearer)], None)).expect("sent");
    until(|| busy.count() == 1);
    for _ in 0..4 {
        assert_eq!(scene.get().status, 200);
    }
    assert_eq!((busy.count(), idle.count()), (1, 4));
    drop(end);
}

/// Waits until something holds, and fails when it never does.
fn until(holds: impl Fn() -> bool) {
    let held = (0..2000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        holds()
    });
    assert!(held, "it never came to that");
}

#[test]
fn health_checks_leave_a_peer_out_and_bring_it_back_without_a_request_and_without_secrets() {
    let ill = Arc::new(AtomicBool::new(true));
    let is_ill = Arc::clone(&ill);
    let first = Erp::plain(move |asked, out| {
        let status = if asked.target == "/health" && is_ill.load(Ordering::SeqCst) { 500 } else { 200 };
        answer(out, status, "{}")
    });
    let second = Erp::plain(well);
    let upstream = "    balance: in_order
    health_check: { path: /health, every: 100ms, timeout: 10s, healthy: 1, unhealthy: 1 }
";
    let scene = Scene::new(&[first.address(), second.address()], upstream);
    let relays = |erp: &Erp| erp.seen().iter().filter(|asked| asked.target == "/api/echo").count();
    // The second question follows the evaluation of the first.
    until(|| first.count() >= 2);
    assert_eq!(scene.get().status, 200);
    assert_eq!((relays(&first), relays(&second)), (0, 1));
    ill.store(false, Ordering::SeqCst);
    until(|| scene.get().status == 200 && relays(&first) > 0);
    let question = first.seen().into_iter().find(|asked| asked.target == "/health").expect("a question");
    let mut names: Vec<_> = question.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    assert_eq!((question.method.as_str(), names), ("GET", vec!["host".to_owned(), "user-agent".to_owned()]));
}

#[test]
fn pooled_connections_are_shared_by_sessions_only_where_that_is_allowed() {
    for (connections, shared) in [("shared", true), ("per_session", false)] {
        let erp = Erp::plain(well);
        let scene = Scene::new(&[erp.address()], &format!("    connections: {connections}\n"));
        scene.get_and_settle();
        scene.get_and_settle();
        scene.gateway.set_api_key("erp-side-key-2");
        scene.get_and_settle();
        let used: Vec<usize> = erp.seen().iter().map(|asked| asked.connection).collect();
        assert_eq!(used, if shared { [0, 0, 0] } else { [0, 0, 1] }, "{connections}");
    }
}

// --- TLS ---

/// A folder with certificates, and the `tls:` section that trusts the authority.
struct Certified {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Certified {
    fn new() -> Self {
        let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new("Test authority"));
        authority.write(folder.path());
        Self { folder, authority }
    }

    fn tls(&self, server_name: &str, more: &str) -> String {
        let ca_file = self.folder.path().join("authority.pem");
        format!("    tls:\n      server_name: {server_name}\n      ca_file: {}\n{more}", ca_file.display())
    }

    fn client(&self, issued_by: &Authority) -> String {
        let (certificate, key) = issued_by.issue("gateway.test", Validity::Now).write(self.folder.path(), "client");
        let (certificate, key) = (certificate.display(), key.display());
        format!("      client_certificate: {{ certificate_file: {certificate}, key_file: {key} }}\n")
    }

    fn erp(&self, name: &str, validity: Validity) -> Erp {
        Erp::tls(self.authority.issue(name, validity).acceptor(H1, None), signing_in)
    }
}

#[test]
fn an_erp_with_a_private_authority_is_spoken_to_over_tls_also_when_signing_in() {
    let certified = Certified::new();
    let erp = certified.erp("erp.test", Validity::Now);
    let scene = Scene::of(setup(&[erp.address()], &certified.tls("erp.test", "")).session(LITTLE_ERP_SESSION));
    assert_eq!(scene.get().status, 200);
    assert_eq!(scene.send("POST").status, 200);
    let targets: Vec<String> = erp.seen().into_iter().map(|asked| asked.target).collect();
    assert_eq!(targets, ["/api/session", "/api/echo", "/api/echo"]);
}

#[test]
fn certificates_that_prove_nothing_are_refused_before_a_byte_is_sent() {
    let certified = Certified::new();
    let stranger = Certified::new();
    for (erp, tls, what) in [
        (certified.erp("other.test", Validity::Now), certified.tls("erp.test", ""), "another name"),
        (certified.erp("erp.test", Validity::Past), certified.tls("erp.test", ""), "expired"),
        (stranger.erp("erp.test", Validity::Now), certified.tls("erp.test", ""), "a foreign authority"),
        (certified.erp("erp.test", Validity::Now), "    tls: { server_name: erp.test }\n".into(), "the system's"),
    ] {
        let scene = Scene::new(&[erp.address()], &tls);
        scene.refused(&scene.get(), 502, "upstream_unreachable");
        scene.refused(&scene.send("POST"), 502, "upstream_unreachable");
        let signing_in = Scene::of(setup(&[erp.address()], &tls).session(LITTLE_ERP_SESSION));
        let response = signing_in.get();
        assert_eq!((response.status, response.code().as_str()), (502, "upstream_session_failed"), "{what}");
        assert_eq!(erp.count(), 0, "{what}");
    }
}

#[test]
fn a_peer_whose_certificate_is_wrong_is_passed_over_like_a_dead_one() {
    let certified = Certified::new();
    let wrong = certified.erp("other.test", Validity::Now);
    let right = certified.erp("erp.test", Validity::Now);
    let scene = Scene::new(&[wrong.address(), right.address()], &certified.tls("erp.test", ""));
    for _ in 0..4 {
        assert_eq!(scene.send("POST").status, 200);
    }
    assert_eq!((wrong.count(), right.count()), (0, 4));
}

#[test]
fn a_certificate_of_our_own_is_shown_where_the_erp_asks_for_one_also_when_signing_in() {
    let certified = Certified::new();
    let acceptor = || certified.authority.issue("erp.test", Validity::Now).acceptor(H1, Some(&certified.authority));
    let erp = Erp::tls(acceptor(), signing_in);

    let without = Scene::new(&[erp.address()], &certified.tls("erp.test", ""));
    assert_eq!(without.get().status, 502);
    let foreign = certified.client(&Authority::new("Another authority"));
    let foreign = Scene::new(&[erp.address()], &certified.tls("erp.test", &foreign));
    assert_eq!(foreign.get().status, 502);
    assert_eq!(erp.count(), 0);

    let tls = certified.tls("erp.test", &certified.client(&certified.authority));
    let scene = Scene::of(setup(&[erp.address()], &tls).session(LITTLE_ERP_SESSION));
    assert_eq!(scene.get().status, 200);
    let clients: Vec<_> = erp.seen().into_iter().map(|asked| (asked.target, asked.client)).collect();
    let ours = Some("gateway.test".to_owned());
    assert_eq!(clients, [("/api/session".to_owned(), ours.clone()), ("/api/echo".to_owned(), ours)]);
}

#[test]
fn http_2_is_spoken_where_it_is_wanted_also_when_signing_in() {
    let certified = Certified::new();
    let acceptor = certified.authority.issue("erp.test", Validity::Now).acceptor(H2, None);
    let erp = Http2Erp::start(acceptor, "{\"token\":\"token-of-the-erp\"}");
    let upstream = certified.tls("erp.test", "    http_version: http2\n    host: erp.test\n");
    let scene = Scene::of(setup(&[erp.address()], &upstream).session(LITTLE_ERP_SESSION));
    let response = scene.get();
    scene.gateway.row_of(&response);
    assert_eq!((response.status, response.text().as_str()), (200, "{\"token\":\"token-of-the-erp\"}"));
    assert_eq!(scene.send("POST").status, 200);
    // A client that waits for leave to send its body gets it from the gateway.
    let bearer = format!("Bearer {}", scene.token);
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Expect", "100-continue"),
        ("Content-Length", "2"),
    ];
    let mut waiting = Connection::open(scene.gateway.address);
    waiting.send(&http::render("POST", "/v1/echo", &headers, None)).expect("sent");
    let mut interim = [0; 12];
    io::Read::read_exact(waiting.stream(), &mut interim).expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100");
    waiting.send(b"{}").expect("sent");
    until(|| erp.seen().len() == 4);

    let seen = erp.seen();
    let targets: Vec<_> = seen.iter().map(|asked| (asked.method.as_str(), asked.target.as_str())).collect();
    let echo = "/api/echo";
    assert_eq!(targets, [("POST", "/api/session"), ("GET", echo), ("POST", echo), ("POST", echo)]);
    let bodies: Vec<&[u8]> = seen.iter().skip(2).map(|asked| asked.body.as_slice()).collect();
    assert_eq!(bodies, [&b"{\"amount\":1}"[..], b"{}"]);
    for asked in &seen {
        assert_eq!((asked.header(":authority"), asked.header(":scheme")), (Some("erp.test"), Some("https")));
        assert_eq!((asked.header("connection"), asked.header("transfer-encoding")), (None, None));
        assert_eq!(asked.header("expect"), None);
    }
    assert_eq!(seen[1].header("x-erp-session"), Some("token-of-the-erp"));
    assert_eq!(seen[1].connection, seen[2].connection, "the connection is used again");
}

#[test]
fn an_erp_that_refuses_http_2_is_not_spoken_to_in_http_1() {
    let certified = Certified::new();
    let erp = certified.erp("erp.test", Validity::Now);
    let scene = Scene::new(&[erp.address()], &certified.tls("erp.test", "    http_version: http2\n"));
    scene.refused(&scene.get(), 502, "upstream_unreachable");
    assert_eq!(erp.count(), 0);
}

#[test]
fn check_names_the_key_and_the_file_of_a_certificate_that_cannot_be_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let certified = Certified::new();
    let folder = certified.folder.path();
    let client = certified.client(&certified.authority);
    let check = |tls: &str| {
        let files = setup(&[NOBODY[0]], tls).write();
        let output = process::run(files.path(), &["check"], "");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let refused = |parts: &[&str]| {
        let (accepted, report) = check(&certified.tls("erp.test", &client));
        assert!(!accepted);
        for part in parts {
            assert!(report.contains(part), "{part} is not in:\n{report}");
        }
    };
    let (accepted, report) = check(&certified.tls("erp.test", &client));
    assert!(accepted, "{report}");

    let key = folder.join("client.key");
    let set = |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).expect("a mode");
    set(0o640);
    let key_file = "`upstreams.erp.tls.client_certificate.key_file`";
    refused(&[key_file, "client.key", "open to others (mode 0640): run `chmod 0600"]);
    set(0o600);
    let good = std::fs::read(&key).expect("a key");
    std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n").expect("written");
    refused(&[key_file, "client.key", "holds no private key in PEM"]);
    let (_, foreign) = certified.authority.issue("x.test", Validity::Now).write(folder, "foreign");
    std::fs::copy(foreign, &key).expect("copied");
    refused(&[key_file, "does not belong to the first certificate"]);
    std::fs::write(&key, good).expect("written");

    std::fs::write(folder.join("client.pem"), "no certificate\n").expect("written");
    refused(&["`upstreams.erp.tls.client_certificate.certificate_file`", "client.pem", "holds no certificates"]);
    std::fs::write(folder.join("authority.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .expect("written");
    refused(&["`upstreams.erp.tls.ca_file`", "authority.pem", "holds no certificates"]);
    std::fs::remove_file(folder.join("authority.pem")).expect("removed");
    refused(&["`upstreams.erp.tls.ca_file`", "authority.pem", "cannot be read"]);
}
