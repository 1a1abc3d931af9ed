//! HTTP/2 towards clients: a request is judged, relayed and recorded as over HTTP/1.1, and its limits hold.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::support::certificates::{Authority, Validity};
use crate::support::gateway::{Gateway, Setup};
use crate::support::http::Connection;
use crate::support::http2_client::{
    DATA, Dial, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, Http2Client, RST_STREAM, block,
};
use crate::support::recorder::Recorder;

const HOST: &str = "api.example";
/// From one byte of a body that crawls to the next.
const STEP: Duration = Duration::from_millis(20);
const ENHANCE_YOUR_CALM: u32 = 0xb;
const REFUSED_STREAM: u32 = 0x7;

/// A gateway over TLS with a client that may read and write.
struct Scene {
    erp: Recorder,
    authority: Authority,
    gateway: Gateway,
    token: String,
}

impl Scene {
    fn new(limits: &str) -> Self {
        let erp = Recorder::answering("application/json", &[], b"[]");
        let authority = Authority::new("an authority");
        let setup = Setup::new(erp.address()).gateway(limits).config("ops:\n  listen: [\"127.0.0.1:0\"]\n");
        let gateway = setup.start_with_tls(&authority.issue(HOST, Validity::Now));
        gateway.set_api_key("erp-key-over-http2");
        let token = gateway.token(&gateway.issue("acme", &["order-reader", "order-writer"]));
        Self { erp, authority, gateway, token }
    }

    fn dial(&self) -> Dial<'_> {
        Dial { authority: &self.authority, name: HOST, shows: None }
    }

    fn client(&self) -> Http2Client {
        Http2Client::connect(self.gateway.tls.expect("TLS is spoken"), &self.dial())
    }

    fn frames(&self) -> Frames {
        Frames::begin(self.gateway.tls.expect("TLS is spoken"), &self.dial())
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// The head of a request, as a frame that opens the stream.
    fn asks(&self, stream: u32, flags: u8) -> Frame {
        let bearer = self.bearer();
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", "/v1/orders"),
            ("authorization", bearer.as_str()),
        ];
        Frame::new(HEADERS, END_HEADERS | flags, stream, &block(&fields))
    }
}

#[test]
fn requests_are_relayed_as_over_http_1_1() {
    let scene = Scene::new("");
    let (mut client, bearer) = (scene.client(), scene.bearer());
    let authorization = ("authorization", bearer.as_str());
    let answer = client.ask("GET", "/v1/orders?limit=3", &[authorization], None);
    assert_eq!((answer.status, answer.text().as_str()), (200, "[]"), "{answer:?}");
    assert!(answer.header("strict-transport-security").is_some() && answer.header("x-request-id").is_some());
    assert!(answer.header("connection").is_none(), "{answer:?}");
    let json = ("content-type", "application/json");
    let body = br#"{"customer":1}"#;
    let length = body.len().to_string();
    let sized = client.ask("POST", "/v1/orders", &[authorization, json, ("content-length", &length)], Some(body));
    assert_eq!(sized.status, 200, "{}", sized.text());
    let unsized_ = client.ask("POST", "/v1/orders", &[authorization, json], Some(body));
    assert_eq!(unsized_.status, 200, "{}", unsized_.text());
    let seen = scene.erp.take();
    let [read, first, second] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((read.method.as_str(), read.target.as_str()), ("GET", "/api/orders?limit=3"));
    assert_eq!(read.header("host"), Some(scene.erp.address().to_string().as_str()), "the host is ours to set");
    assert_eq!((first.header("content-length"), first.body.as_slice()), (Some(length.as_str()), body.as_slice()));
    assert_eq!((second.header("transfer-encoding"), second.body.as_slice()), (Some("chunked"), body.as_slice()));
    for request in &seen {
        assert!(request.header("authorization").is_none(), "{request:?}");
    }
    let row = scene.gateway.audit("relay", 3).remove(0);
    assert_eq!(
        (&row["outcome"]["status"], &row["outcome"]["request_bytes"]),
        (&json!(200), &json!(body.len())),
        "{row}"
    );
    assert!(row["tls"].as_str().is_some_and(|tls| tls.starts_with("TLSv1.3 ")), "{row}");
}

#[test]
fn denials_and_tokens_are_answered_as_over_http_1_1() {
    let scene = Scene::new("");
    let issued = scene.gateway.issue("other", &["order-reader"]);
    let (mut client, bearer) = (scene.client(), scene.bearer());
    let basic = issued.basic();
    let asked =
        client.ask("POST", "/oauth/token", &[("authorization", &basic), ("x-api-key", &issued.api_key)], Some(b""));
    assert_eq!(asked.status, 200, "{}", asked.text());
    let answer: serde_json::Value = serde_json::from_slice(&asked.body).expect("JSON");
    scene.gateway.note_secret(answer["access_token"].as_str().expect("a token"));
    assert_eq!(client.ask("GET", "/status", &[], None).status, 200);
    let with_token = [("authorization", bearer.as_str())];
    for (method, target, headers, body, status, code) in [
        ("GET", "/v1/orders", &[][..], None, 401, "credentials_missing"),
        ("GET", "/v1/payroll", &with_token[..], None, 403, "not_permitted"),
        ("GET", "/v1/orders/%2e%2e/admin", &with_token[..], None, 400, "ambiguous_path"),
        ("GET", "/v1//orders", &with_token[..], None, 400, "ambiguous_path"),
        ("GET", "/v1/orders", &with_token[..], Some(&b"a body"[..]), 400, "bad_request"),
        ("TRACE", "/v1/orders", &with_token[..], None, 400, "bad_request"),
    ] {
        let answer = client.ask(method, target, headers, body);
        let told: serde_json::Value = serde_json::from_slice(&answer.body).expect("a problem");
        assert_eq!((answer.status, &told["code"]), (status, &json!(code)), "{method} {target}: {told}");
        let id = told["request_id"].as_str().expect("an id");
        let row = scene.gateway.relay_row(|row| row["id"] == id);
        assert_eq!((&row["decision"], &row["code"]), (&json!("denied"), &json!(code)), "{method} {target}: {row}");
    }
    assert_eq!(scene.erp.count(), 0, "nothing came through");
}

#[test]
fn many_streams_of_one_connection_are_answered_beside_each_other() {
    let scene = Scene::new("");
    let (mut client, bearer) = (scene.client(), scene.bearer());
    let asked: Vec<_> = (0..15)
        .map(|number| {
            let target = format!("/v1/orders?offset={number}");
            let request = client.head("GET", &target, &[("authorization", &bearer)]);
            client.send(request, None).expect("sent")
        })
        .collect();
    let mut ids: Vec<String> = asked
        .into_iter()
        .map(|response| {
            let answer = client.answer(response).expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.header("x-request-id").expect("an id").to_owned()
        })
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), scene.erp.count()), (15, 15));
    let rows = scene.gateway.audit("relay", 15);
    assert!(ids.iter().all(|id| rows.iter().any(|row| row["id"] == id.as_str() && row["outcome"]["status"] == 200)));
}

#[test]
fn a_client_that_does_not_offer_http_2_gets_http_1_1_and_so_does_everybody_where_it_is_off() {
    let scene = Scene::new("  limits: { http2_streams: 0 }\n");
    let refused = Http2Client::try_connect(scene.gateway.tls.expect("TLS is spoken"), &scene.dial());
    assert!(refused.is_err(), "HTTP/2 is spoken");
}

#[test]
fn a_body_that_stands_still_or_crawls_ends_its_request() {
    let limits = "  limits: { body_read_timeout: 1s, write_timeout: 1s, minimum_receive_rate: 64KiB }\n";
    let scene = Scene::new(limits);
    let (mut client, bearer) = (scene.client(), scene.bearer());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let begun = client.head("POST", "/v1/orders", &headers);
    let (response, mut body) = client.open(begun, false).expect("sent");
    body.send_data(Bytes::from_static(b"{"), false).expect("sent");
    let error = client.answer(response).expect_err("no answer");
    assert!(error.contains("no longer needed"), "{error}");
    // Nobody else on the connection is concerned.
    assert_eq!(client.ask("GET", "/v1/orders", &headers[..1], None).status, 200);
    let row = scene.gateway.audit("relay", 2).into_iter().find(|row| row["method"] == "POST").expect("a row");
    assert_eq!(
        (&row["outcome"]["ended"], &row["outcome"]["code"]),
        (&json!("failed"), &json!("request_timeout")),
        "{row}"
    );

    let begun = client.head("POST", "/v1/orders", &headers);
    let (response, mut body) = client.open(begun, false).expect("sent");
    for _ in 0..200 {
        if body.send_data(Bytes::from_static(b" "), false).is_err() {
            break;
        }
        scene.gateway.clock.advance(STEP);
        std::thread::sleep(STEP);
    }
    let answer = client.answer(response).expect("an answer");
    assert_eq!((answer.status, answer.text().contains("request_timeout")), (408, true), "{}", answer.text());

    // Over HTTP/1.1 too, where each read comes in time.
    let mut plain = Connection::open(scene.gateway.address);
    let head = format!(
        "POST /v1/orders HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    );
    plain.send(head.as_bytes()).expect("sent");
    for _ in 0..200 {
        if plain.send(b" ").is_err() {
            break;
        }
        scene.gateway.clock.advance(STEP);
        std::thread::sleep(STEP);
    }
    let answer = plain.response(false).expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
}

#[test]
fn a_connection_has_its_number_of_requests_and_its_time() {
    let scene = Scene::new("  limits: { requests_per_connection: 3, header_timeout: 1s, keep_alive: 1s }\n");
    let (mut client, bearer) = (scene.client(), scene.bearer());
    for _ in 0..3 {
        assert_eq!(client.ask("GET", "/v1/orders", &[("authorization", &bearer)], None).status, 200);
    }
    let refused = client.try_ask("GET", "/v1/orders", &[("authorization", &bearer)], None);
    assert!(refused.is_err(), "a fourth is served: {refused:?}");
    client.end().expect("it ends in order");

    // Idle: told to go, and closed.
    let mut idle = scene.frames();
    let goodbye = std::iter::from_fn(|| idle.next()).find(|frame| frame.kind == GOAWAY).expect("GOAWAY");
    assert_eq!(goodbye.reason(), 0);
    while idle.next().is_some() {}

    // Who does not begin is not waited for.
    let mut silent = Frames::connect(scene.gateway.tls.expect("TLS is spoken"), &scene.dial());
    assert!(silent.raw(b"PRI * HT"));
    while silent.next().is_some() {}

    // The first answer after the time of a connection says that it is the last.
    let scene = Scene::new("  limits: { connection_lifetime: 1s }\n");
    let mut plain = Connection::open(scene.gateway.address);
    std::thread::sleep(Duration::from_millis(1100));
    let answer = plain.request("GET", "/status", &[], None);
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(plain.is_closed());
}

/// CVE-2023-44487: streams that are opened and reset at once cost the client nothing and the server much.
#[test]
fn a_flood_of_resets_ends_the_connection_and_nobody_elses() {
    let scene = Scene::new("  limits: { http2_streams: 10 }\n");
    let mut other = scene.client();
    let bearer = scene.bearer();
    let mut frames = scene.frames();
    for number in 0..5000 {
        let stream = 2 * number + 1;
        let reset = Frame::new(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        if !frames.send(&scene.asks(stream, END_STREAM)) || !frames.send(&reset) {
            break;
        }
    }
    let ended: Vec<Frame> = std::iter::from_fn(|| frames.next()).collect();
    // It may be closed before the reason could be read.
    if let Some(goodbye) = ended.iter().find(|frame| frame.kind == GOAWAY) {
        assert_eq!(goodbye.reason(), ENHANCE_YOUR_CALM);
    }
    let row = scene.gateway.relay_row(|row| row["code"] == "overloaded");
    assert_eq!((&row["path"], &row["decision"]), (&json!(""), &json!("denied")), "{row}");
    assert!(scene.erp.count() < 1000, "{} requests came through", scene.erp.count());
    assert_eq!(other.ask("GET", "/v1/orders", &[("authorization", &bearer)], None).status, 200);
}

#[test]
fn more_streams_than_allowed_are_refused_so_that_they_can_be_sent_again() {
    let scene = Scene::new("  limits: { http2_streams: 2 }\n");
    let mut frames = scene.frames();
    // Their bodies do not come, so they stay open.
    for stream in [1, 3] {
        frames.send(&scene.posts(stream));
    }
    frames.send(&scene.posts(5));
    let refused = std::iter::from_fn(|| frames.next()).find(|frame| frame.kind == RST_STREAM).expect("RST_STREAM");
    assert_eq!((refused.stream, refused.reason()), (5, REFUSED_STREAM));
    for stream in [1, 3] {
        frames.send(&Frame::new(DATA, END_STREAM, stream, b"{}"));
    }
    for _ in 0..2 {
        let answer = std::iter::from_fn(|| frames.next()).find(|frame| frame.kind == HEADERS).expect("an answer");
        // `:status: 200` by its index (RFC 7541 appendix A).
        assert_eq!(answer.payload.first(), Some(&0x88), "{answer:?}");
    }
}

/// The protocol does not count a stream that its client has reset; we do, until the work on it is over.
#[test]
fn streams_that_were_reset_count_until_the_work_on_them_is_over() {
    let scene = Scene::new("  limits: { http2_streams: 1 }\n");
    let ops = scene.gateway.ops.expect("it is watched over");
    let refused = (0..100).any(|_| {
        let mut frames = scene.frames();
        let reset = |stream| Frame::new(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        let all = [scene.asks(1, END_STREAM), reset(1), scene.asks(3, END_STREAM), reset(3), scene.asks(5, END_STREAM)];
        frames.raw(&all.iter().flat_map(Frame::bytes).collect::<Vec<u8>>());
        let _ = std::iter::from_fn(|| frames.next()).find(|frame| frame.stream == 5);
        let metrics = crate::support::http::once(ops, "GET", "/metrics", &[], None).text();
        !metrics.contains("erp_access_http2_streams_refused_total 0\n")
    });
    assert!(refused, "none was refused");
}

impl Scene {
    fn posts(&self, stream: u32) -> Frame {
        let bearer = self.bearer();
        let fields = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", "/v1/orders"),
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
        ];
        Frame::new(HEADERS, END_HEADERS, stream, &block(&fields))
    }
}
