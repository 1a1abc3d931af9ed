use std::io::{Read, Write};
use std::net::TcpStream;

use jiff::Timestamp;
use serde_json::Value;

use super::*;
use crate::domain::ManualClock;

struct Erp {
    handle: LittleErpHandle,
    clock: ManualClock,
}

fn erp() -> Erp {
    let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let settings = Settings {
        api_key: Some(Secret::new("static-key-1".to_owned())),
        clock: Arc::new(clock.clone()),
        ..Settings::new("gateway", Secret::new("correct horse".to_owned()))
    };
    Erp { handle: LittleErp::start(listener, settings).expect("a started ERP"), clock }
}

/// What a client saw.
struct Seen {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Seen {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Erp {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.handle.address()).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
        stream
    }

    fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> Seen {
        let mut stream = self.connect();
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: erp\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("a sent request");
        let mut answer = Vec::new();
        // An answer that breaks off is looked at as far as it came.
        let _end = stream.read_to_end(&mut answer);
        let head_ends = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8(answer[..head_ends].to_vec()).expect("a readable head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Seen { status, head, body: answer[head_ends + 4..].to_vec() }
    }

    fn sign_in(&self) -> String {
        let seen = self.try_sign_in("correct horse");
        format!("X-ERP-Session: {}\r\n", seen.json()["token"].as_str().expect("a token"))
    }

    fn try_sign_in(&self, password: &str) -> Seen {
        let body = serde_json::json!({ "username": "gateway", "password": password }).to_string();
        self.ask("POST", "/api/session", "Content-Type: application/json\r\n", &body)
    }

    fn get(&self, target: &str, session: &str) -> Seen {
        self.ask("GET", target, session, "")
    }
}

#[test]
fn the_right_password_gives_a_session_that_opens_the_routes() {
    let erp = erp();
    let seen = erp.try_sign_in("correct horse");
    assert_eq!((seen.status, &seen.json()["ok"], &seen.json()["expires_in"]), (200, &true.into(), &3600.into()));
    let session = erp.sign_in();
    for (target, family, length) in
        [("/api/customers", "customers", 20), ("/api/orders", "orders", 40), ("/api/stock", "stock", 15)]
    {
        let seen = erp.get(target, &session);
        assert_eq!((seen.status, seen.json()[family].as_array().map(Vec::len)), (200, Some(length)), "{target}");
    }
    assert_eq!(erp.get("/api/customers/20", &session).json()["name"], "Zürcher Feinmechanik");
    assert_eq!(erp.get("/api/stock/BRG-6204", &session).json()["quantity"], 840);
    assert_eq!(erp.get("/api/orders/1040", &session).json()["id"], 1040);
    assert_eq!(erp.get("/api/orders/9", &session).status, 404);
    assert_eq!(erp.get("/api/unknown", &session).status, 404);
    assert_eq!(erp.ask("PUT", "/api/customers", &session, "").status, 405);
}

#[test]
fn a_wrong_password_is_a_200_that_says_no() {
    let erp = erp();
    let seen = erp.try_sign_in("guess");
    assert_eq!((seen.status, &seen.json()["ok"]), (200, &false.into()));
    assert!(seen.json()["token"].is_null());
    assert_eq!(erp.ask("POST", "/api/session", "", "{").status, 400);
    assert_eq!(erp.handle.sign_ins(), 2);
}

#[test]
fn without_a_session_nothing_is_answered() {
    let erp = erp();
    for headers in ["", "X-ERP-Session: \r\n", "X-ERP-Session: guess\r\n", "Authorization: Bearer guess\r\n"] {
        let seen = erp.get("/api/orders", headers);
        assert_eq!((seen.status, &seen.json()["ok"]), (401, &false.into()), "{headers}");
    }
}

#[test]
fn the_static_key_opens_the_routes_without_a_sign_in() {
    let erp = erp();
    assert_eq!(erp.get("/api/orders", "Authorization: Bearer static-key-1\r\n").status, 200);
    assert_eq!(erp.handle.sign_ins(), 0);
}

#[test]
fn a_session_ends_with_its_lifetime_its_sign_out_or_a_restart() {
    let erp = erp();
    let session = erp.sign_in();
    erp.clock.advance(Duration::from_millis(3_599_999));
    assert_eq!(erp.get("/api/stock", &session).status, 200);
    erp.clock.advance(Duration::from_millis(1));
    assert_eq!(erp.get("/api/stock", &session).status, 401);

    let session = erp.sign_in();
    assert_eq!(erp.ask("DELETE", "/api/session", &session, "").status, 204);
    assert_eq!(erp.get("/api/stock", &session).status, 401);

    let session = erp.sign_in();
    erp.handle.expire_sessions();
    assert_eq!(erp.get("/api/stock", &session).status, 401);
}

#[test]
fn sign_ins_fail_and_work_again_when_told_so() {
    let erp = erp();
    erp.handle.fail_sign_ins(true);
    assert_eq!(erp.try_sign_in("correct horse").json()["ok"], false);
    erp.handle.fail_sign_ins(false);
    assert_eq!(erp.try_sign_in("correct horse").json()["ok"], true);
}

#[test]
fn a_posted_order_is_kept_and_a_wrong_one_is_refused() {
    let erp = erp();
    let session = erp.sign_in();
    let posted = r#"{"customer": 3, "lines": [{"sku": "BLT-M08", "quantity": 100}]}"#;
    let seen = erp.ask("POST", "/api/orders", &session, posted);
    assert_eq!((seen.status, &seen.json()["id"], &seen.json()["total"]), (201, &1041.into(), &1800.into()));
    assert_eq!(erp.get("/api/orders/1041", &session).json()["customer"], 3);
    let unknown = r#"{"customer": 99, "lines": [{"sku": "BLT-M08", "quantity": 1}]}"#;
    assert_eq!(erp.ask("POST", "/api/orders", &session, unknown).status, 422);
    assert_eq!(erp.ask("POST", "/api/orders", &session, "[]").status, 400);
}

#[test]
fn a_large_answer_streams_the_pattern() {
    let erp = erp();
    let session = erp.sign_in();
    let mut stream = erp.connect();
    let length = 64 * 1_048_576 + 7;
    write!(stream, "GET /api/large?bytes={length} HTTP/1.1\r\nHost: erp\r\nConnection: close\r\n{session}\r\n")
        .expect("a sent request");
    let mut reader = std::io::BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        std::io::BufRead::read_line(&mut reader, &mut head).expect("a line");
    }
    assert!(head.contains(&format!("content-length: {length}\r\n")), "{head}");
    let mut received = 0;
    let mut buffer = vec![0; 100_000];
    loop {
        let read = reader.read(&mut buffer).expect("a piece");
        if read == 0 {
            break;
        }
        assert_eq!(u64::from(buffer[0]), (received % 65_536) % 251, "at byte {received}");
        received += read as u64;
    }
    assert_eq!(received, length);
}

#[test]
fn an_upload_is_counted_and_recorded_with_its_length() {
    let erp = erp();
    let session = erp.sign_in();
    let body = "x".repeat(300_000);
    let seen = erp.ask("POST", "/api/upload", &session, &body);
    assert_eq!(seen.json(), serde_json::json!({ "received": 300_000, "crc32": crc32fast::hash(body.as_bytes()) }));
    let recorded = erp.handle.requests().pop().expect("a recorded request");
    assert_eq!((recorded.method.as_str(), recorded.target.as_str()), ("POST", "/api/upload"));
    assert_eq!(recorded.body_length, 300_000);
    assert_eq!(recorded.header("host"), Some("erp"));
    assert_eq!(erp.handle.requests_total(), 2);
}

#[test]
fn more_requests_than_are_kept_push_out_the_oldest() {
    let recorder = recorder::Recorder::default();
    let (head, ()) = http::Request::get("/first").body(()).expect("a request").into_parts();
    let first = recorder.arrived(&head);
    let (head, ()) = http::Request::get("/later").body(()).expect("a request").into_parts();
    for _ in 0..Recorded::KEPT {
        recorder.arrived(&head);
    }
    recorder.body_arrived(first, 5);
    assert_eq!(recorder.requests().len(), Recorded::KEPT);
    assert!(recorder.requests().iter().all(|recorded| recorded.target == "/later" && recorded.body_length == 0));
    assert_eq!(recorder.total(), Recorded::KEPT as u64 + 1);
}

#[test]
fn the_badly_behaved_routes_behave_badly() {
    let erp = erp();
    let session = erp.sign_in();
    let token = session.trim_start_matches("X-ERP-Session: ").trim_end().to_owned();

    assert_eq!(erp.get("/api/fail", &session).status, 500);

    let seen = erp.get("/api/redirect", &session);
    let inside = format!("http://{}/api/orders", erp.handle.address());
    assert_eq!((seen.status, seen.header("location")), (302, Some(inside.as_str())));
    assert!(seen.header("set-cookie").is_some());

    let seen = erp.get("/api/leak", &session);
    assert_eq!(seen.header("x-debug-session"), Some(token.as_str()));
    assert_eq!(seen.json()["debug"]["session"], token.as_str());

    let seen = erp.get("/api/reset", &session);
    assert_eq!((seen.status, seen.header("content-length")), (200, Some("1000000")));
    assert!(!seen.body.is_empty() && seen.body.len() < 1000, "{}", seen.body.len());

    assert_eq!(erp.get("/api/slow?ms=1", &session).json()["waited_ms"], 1);
}

#[test]
fn an_echo_shows_what_arrived() {
    let erp = erp();
    let seen = erp.ask("PATCH", "/api/echo?a=%2F&b", "Authorization: Bearer static-key-1\r\nX-Odd:  two \r\n", "{}");
    let echoed = seen.json();
    assert_eq!((&echoed["method"], &echoed["path"]), (&"PATCH".into(), &"/api/echo".into()));
    assert_eq!(echoed["target"], "/api/echo?a=%2F&b");
    assert!(echoed["headers"].as_array().expect("headers").contains(&serde_json::json!(["x-odd", "two"])));
}

#[test]
fn a_hanging_request_ends_when_the_handle_is_dropped() {
    let erp = erp();
    let session = erp.sign_in();
    let mut hanging = erp.connect();
    write!(hanging, "GET /api/hang HTTP/1.1\r\nHost: erp\r\n{session}\r\n").expect("a sent request");
    while erp.handle.requests_total() < 2 {
        std::thread::yield_now();
    }
    let address = erp.handle.address();
    drop(erp);
    let mut rest = Vec::new();
    let _end = hanging.read_to_end(&mut rest);
    assert!(rest.is_empty());
    assert!(TcpStream::connect(address).is_err());
}
