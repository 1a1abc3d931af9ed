//! `raw_requests.jsonl`: bytes on the wire, over plain HTTP/1.1 and over TLS.

use std::net::{Shutdown, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{judge, rows};
use crate::support::certificates::{Authority, Validity};
use crate::support::http::{Connection, Response, find};
use crate::support::recorder::{Recorded, Recorder};
use crate::support::tunnel::Tunnel;

#[expect(clippy::struct_excessive_bools, reason = "the rows of the corpus are written so")]
#[derive(Deserialize)]
struct Row {
    id: String,
    outcomes: Vec<String>,
    upstream_requests_max: usize,
    close_required: bool,
    #[serde(default)]
    bytes_b64: Option<String>,
    #[serde(default)]
    parts: Vec<Part>,
    #[serde(default)]
    upstream_body: Option<String>,
    #[serde(default)]
    upstream_not_both: Vec<String>,
    #[serde(default)]
    must_not_reach_upstream: Vec<String>,
    #[serde(default)]
    must_not_start_upstream_request: Vec<String>,
    #[serde(default)]
    must_not_be_logged: Vec<String>,
    #[serde(default)]
    also_allowed_upstream: Vec<String>,
    #[serde(default)]
    responses: Option<usize>,
    #[serde(default)]
    split: Option<String>,
    #[serde(default)]
    half_close: bool,
    #[serde(default)]
    reset_after_send: bool,
    #[serde(default)]
    upstream_session_present: bool,
}

#[derive(Deserialize)]
struct Part {
    b64: String,
    #[serde(default = "once")]
    repeat: usize,
}

fn once() -> usize {
    1
}

struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn fill(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for (name, value) in &self.0 {
            let name = format!("{{{{{name}}}}}");
            while let Some(at) = find(&bytes, name.as_bytes()) {
                bytes.splice(at..at + name.len(), value.bytes());
            }
        }
        bytes
    }
}

fn bytes_of(row: &Row, secrets: &Secrets) -> Vec<u8> {
    let decode = |text: &str| STANDARD.decode(text).expect("base64");
    match &row.bytes_b64 {
        Some(text) => secrets.fill(&decode(text)),
        None => row.parts.iter().flat_map(|part| secrets.fill(&decode(&part.b64)).repeat(part.repeat)).collect(),
    }
}

struct Seen {
    responses: Vec<Response>,
    closed: bool,
    upstream: Vec<Recorded>,
}

fn run(row: &Row, address: SocketAddr, erp: &Recorder, secrets: &Secrets) -> Seen {
    let bytes = bytes_of(row, secrets);
    let mut connection = Connection::open(address);
    let step = if row.split.as_deref() == Some("1-byte") { 1 } else { bytes.len().max(1) };
    for chunk in bytes.chunks(step) {
        if connection.send(chunk).is_err() {
            break;
        }
    }
    if row.half_close {
        let _ = connection.stream().shutdown(Shutdown::Write);
    }
    if row.reset_after_send {
        drop(connection);
        // Nobody answers. The request may still be on its way, and must not be counted with the next row.
        let _ = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            erp.count() > 0
        });
        return Seen { responses: Vec::new(), closed: true, upstream: erp.take() };
    }
    let mut responses = Vec::new();
    while let Some(response) = connection.response(false) {
        responses.push(response);
        if responses.len() >= row.responses.unwrap_or(1) {
            break;
        }
    }
    // A connection that must close is watched until it does; any other is left alone.
    let closed = if row.close_required || responses.is_empty() { connection.is_closed() } else { false };
    Seen { responses, closed, upstream: erp.take() }
}

fn outcome(seen: &Seen) -> &'static str {
    let complete = seen.upstream.iter().any(|request| request.complete);
    match (seen.responses.first().map(|response| response.status), complete) {
        (Some(200..=299), true) => "relay",
        (Some(200..=299), false) => "own-answer",
        (_, _) if seen.upstream.iter().any(|request| !request.complete) => "aborted",
        (Some(_), _) => "reject",
        (None, true) => "relay",
        (None, false) => "close",
    }
}

fn faults(row: &Row, seen: &Seen) -> Vec<String> {
    let mut faults = Vec::new();
    let found = outcome(seen);
    let waited = row.outcomes.iter().any(|safe| safe == "wait") && matches!(found, "reject" | "close");
    if !waited && !row.outcomes.iter().any(|safe| safe == found) {
        let answers: Vec<_> = seen.responses.iter().map(|response| (response.status, response.text())).collect();
        faults.push(format!("{found}, safe is {:?}: {answers:?}", row.outcomes));
    }
    let counted = seen.upstream.iter().filter(|request| {
        let line = format!("{} {}", request.method, request.target);
        !row.also_allowed_upstream.iter().any(|allowed| line.starts_with(allowed.as_str()))
    });
    let most = row.upstream_requests_max.max(row.responses.unwrap_or(0));
    if counted.count() > most {
        faults.push(format!("{} requests reached the ERP, {most} allowed", seen.upstream.len()));
    }
    if row.close_required && found != "relay" && !seen.closed {
        faults.push("the connection stays open".into());
    }
    if let Some(wanted) = row.responses
        && seen.responses.len() != wanted
    {
        faults.push(format!("{} answers, {wanted} expected", seen.responses.len()));
    }
    for request in &seen.upstream {
        faults.extend(request_faults(row, request));
    }
    faults
}

fn request_faults(row: &Row, request: &Recorded) -> Vec<String> {
    let mut faults = Vec::new();
    let head = String::from_utf8_lossy(&request.head).to_lowercase();
    let line = format!("{} {}", request.method, request.target);
    faults.extend(request.fault.clone());
    for needle in &row.must_not_reach_upstream {
        if head.contains(&needle.to_lowercase()) {
            faults.push(format!("{needle:?} reached the ERP"));
        }
    }
    for canary in &row.must_not_start_upstream_request {
        if line.starts_with(canary.as_str()) {
            faults.push(format!("smuggled: {line}"));
        }
    }
    if !row.upstream_not_both.is_empty() && row.upstream_not_both.iter().all(|name| request.header(name).is_some()) {
        faults.push(format!("both of {:?} reached the ERP", row.upstream_not_both));
    }
    if let Some(body) = &row.upstream_body
        && request.body != body.as_bytes()
    {
        faults.push(format!("body {:?}", String::from_utf8_lossy(&request.body)));
    }
    if row.upstream_session_present && request.header("x-erp-session") != Some("erp-side-key-1") {
        faults.push("without our session".into());
    }
    faults
}

#[test]
fn every_request_of_the_corpus_is_relayed_whole_or_refused() {
    let erp = Recorder::start();
    let authority = Authority::new("an authority");
    let gateway = super::path::setup(&erp)
        .gateway("  limits:\n    header_timeout: 1s\n    body_read_timeout: 1s\n")
        .config("tokens:\n  attempts_per_address: 1000\n")
        .start_with_tls(&authority.issue("api.example", Validity::Now));
    let tunnel = Tunnel::to(gateway.tls.expect("TLS is spoken"), &authority, "api.example");
    gateway.set_api_key("erp-side-key-1");
    let (own, other) = (gateway.issue("acme", &["corpus"]), gateway.issue("other", &["corpus"]));
    let token = gateway.token(&own);
    let dead = gateway.token(&gateway.issue("third", &["corpus"]));
    let secrets = Secrets(vec![
        ("TOKEN_REVOKED", dead),
        ("TOKEN_B", gateway.token(&other)),
        ("TOKEN", token.clone()),
        ("API_KEY", own.api_key.clone()),
        ("BASIC", own.basic().trim_start_matches("Basic ").to_owned()),
    ]);
    let rows: Vec<Row> = rows(include_str!("../../corpus/raw_requests.jsonl"));
    let mut wrong = Vec::new();
    let over = [("plain", gateway.address), ("TLS", tunnel.address)];
    for (row, (how, address)) in rows.iter().flat_map(|row| over.map(|over| (row, over))) {
        let seen = run(row, address, &erp, &secrets);
        wrong.extend(faults(row, &seen).into_iter().map(|fault| format!("{} over {how}: {fault}", row.id)));
        let healthy = gateway.get(&token, "/v1/orders").status;
        if healthy != 200 {
            wrong.push(format!("{} over {how}: afterwards a plain request gets {healthy}", row.id));
        }
        erp.take();
    }
    let files = gateway.database_bytes();
    for row in &rows {
        for secret in &row.must_not_be_logged {
            let secret = secrets.fill(secret.as_bytes());
            if files.iter().any(|(_, bytes)| find(bytes, &secret).is_some()) {
                wrong.push(format!("{}: {:?} stands in a database", row.id, String::from_utf8_lossy(&secret)));
            }
        }
    }
    judge(&wrong, rows.len());
}
