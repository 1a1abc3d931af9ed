//! What rules demand besides: values masked in answers, parameters and headers forced, bytes counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use erp_access::control::Command;
use erp_access::domain::{Code, ManualClock};
use erp_access::kill_switch::Scope;
use serde_json::Value;

use crate::support::certificates::{Authority, Validity};
use crate::support::erp::{Asked, Erp, answer, hang_up};
use crate::support::gateway::{Gateway, Setup, config};
use crate::support::http::{self, Connection, Response, find};
use crate::support::http2::Http2Erp;
use crate::support::process::{self, Serving};
use crate::support::recorder::Recorder;

const ENDPOINTS: &str = "version: 1
upstream: erp
endpoints:
  - { id: parties.list, methods: [GET, HEAD, POST, PUT], path: /v1/parties }
  - { id: parties.open, methods: [GET], path: /v1/open }
  - { id: parties.company, methods: [GET, POST], path: /v1/company }
  - { id: parties.limited, methods: [GET], path: /v1/limited }
  - id: rpc.read
    methods: [POST]
    path: /v1/rpc
    body: { where: { /method: [read] }, batch: allowed }
";

const READER: &str = "version: 1
policy: reader
schedule: exempt
rules:
  - id: read
    allow: [parties.list, rpc.read]
    response:
      mask:
        pointers: [/bank_account, /lines/*/cost]
        with: '***'
        max_bytes: 4KiB
  - { id: open, allow: [parties.open] }
  - id: company
    allow: [parties.company]
    request:
      force_query: { company: '7' }
      force_header: { X-Company: '7', Accept-Language: en }
";

const METERED: &str = "version: 1
policy: metered
schedule: exempt
rules:
  - id: read
    allow: [parties.limited]
    response: { mask: { pointers: [/bank_account], with: '*' } }
limits: { bytes: 100, per: 100s }
";

/// Stands wherever a client, and the audit trail, must not see it.
const SECRET: &str = "DE02-secret-value";

fn party() -> String {
    format!(
        "{{\"name\" : \"Acme\", \"bank_account\":\"{SECRET}\", \"lines\":[{{\"cost\":\"{SECRET}\",\"n\":1.10}}], \
         \"b\\u0061nk_account\":[\"{SECRET}\"]}}"
    )
}

const MASKED_PARTY: &str = "{\"name\" : \"Acme\", \"bank_account\":\"***\", \"lines\":[{\"cost\":\"***\",\"n\":1.10}], \
                            \"b\\u0061nk_account\":\"***\"}";

fn setup(erp: std::net::SocketAddr) -> Setup {
    let mut setup = Setup::new(erp);
    setup.policies.retain(|name, _| *name == "schedule.yaml");
    setup.policy("endpoints/erp.yaml", ENDPOINTS).policy("reader.yaml", READER).policy("metered.yaml", METERED)
}

struct Scene {
    erp: Erp,
    gateway: Gateway,
    token: String,
}

impl Scene {
    fn new(handler: impl Fn(&Asked, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::with(handler, |setup| setup)
    }

    fn with(
        handler: impl Fn(&Asked, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
        change: impl FnOnce(Setup) -> Setup,
    ) -> Self {
        let erp = Erp::plain(handler);
        let gateway = change(setup(erp.address())).start();
        gateway.set_api_key("erp-side-key-1");
        let token = gateway.token(&gateway.issue("acme", &["reader", "metered"]));
        Self { erp, gateway, token }
    }

    fn get(&self, target: &str) -> Response {
        self.gateway.get(&self.token, target)
    }

    fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Response {
        let bearer = format!("Bearer {}", self.token);
        let headers = [&[("Authorization", bearer.as_str())], headers].concat();
        http::once(self.gateway.address, method, target, &headers, body)
    }

    /// Nothing of the body has left: not to the client, not into the audit trail. Returns the row.
    fn withheld(&self, response: &Response, says: &str) -> Value {
        assert_eq!(
            (response.status, response.code().as_str()),
            (502, "response_withheld"),
            "{says}: {}",
            response.text()
        );
        assert_eq!(response.header("x-erp-access-cause"), Some("policy"));
        let row = self.gateway.row_of(response);
        let outcome = &row["outcome"];
        assert_eq!(outcome["code"].as_str(), Some(Code::ResponseWithheld.as_str()), "{row:#}");
        assert_eq!(outcome["ended"].as_str(), Some("failed"), "{row:#}");
        assert!(outcome["upstream_status"].is_number(), "{row:#}");
        let detail = outcome["detail"].as_str().expect("a detail");
        assert!(detail.contains("`reader/read`") && detail.contains(says), "no `{says}` in {detail}");
        assert!(outcome["response_preview"].is_null(), "{row:#}");
        row
    }

    fn assert_secret_is_nowhere(&self, response: &Response) {
        assert!(!response.text().contains("secret-value"), "{}", response.text());
        assert!(!format!("{:?}", response.headers).contains("secret-value"));
        for (path, bytes) in self.gateway.database_bytes() {
            assert!(find(&bytes, b"secret-value").is_none(), "{}", path.display());
        }
    }
}

fn note(row: &Value, step: &str) -> String {
    let verdicts = row["verdicts"].as_array().expect("verdicts");
    let verdict = verdicts.iter().find(|verdict| verdict[0] == step).expect("the step");
    verdict[2].as_str().expect("a note").to_owned()
}

/// Answers with these header lines and this body.
fn reply(out: &mut dyn Write, status: &str, lines: &[&str], body: &[u8]) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {status}\r\n");
    for line in lines {
        head.push_str(line);
        head.push_str("\r\n");
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    out.write_all(&[head.as_bytes(), body].concat())
}

const JSON: &str = "Content-Type: application/json";

#[test]
fn masked_values_reach_neither_the_client_nor_the_audit_trail() {
    let scene = Scene::new(|_, out| {
        let lines = [
            JSON,
            "ETag: \"5d41402abc4b2a76\"",
            "Content-MD5: XUFAKrxLKna5cZ2REBfFkg==",
            "Digest: sha-256=x",
            "Repr-Digest: sha-256=:x:",
            "Accept-Ranges: bytes",
            "X-Kept: yes",
        ];
        reply(out, "200 OK", &lines, party().as_bytes())
    });
    let response = scene.get("/v1/parties");
    assert_eq!((response.status, response.text().as_str()), (200, MASKED_PARTY));
    assert_eq!(response.header("content-length"), Some(MASKED_PARTY.len().to_string().as_str()));
    for gone in ["etag", "content-md5", "digest", "repr-digest", "accept-ranges", "transfer-encoding"] {
        assert_eq!(response.header(gone), None, "{gone}");
    }
    assert_eq!((response.header("content-type"), response.header("x-kept")), (Some("application/json"), Some("yes")));
    let row = scene.gateway.row_of(&response);
    assert_eq!(
        note(&row, "policy"),
        "allowed by reader/read; masked /bank_account by reader/read, masked /lines/*/cost by reader/read"
    );
    let outcome = &row["outcome"];
    assert_eq!((outcome["ended"].as_str(), outcome["upstream_status"].as_u64()), (Some("completed"), Some(200)));
    assert_eq!(outcome["response_bytes"].as_u64(), u64::try_from(MASKED_PARTY.len()).ok());
    assert!(outcome["response_preview"].to_string().contains("***"), "{row:#}");
    scene.assert_secret_is_nowhere(&response);
}

#[test]
fn json_that_comes_in_pieces_is_masked_and_trailers_do_not_leave() {
    let scene = Scene::new(|_, out| {
        let lines = ["HTTP/1.1 200 OK", JSON, "Transfer-Encoding: chunked", "Trailer: X-Secret"];
        out.write_all((lines.join("\r\n") + "\r\n\r\n").as_bytes())?;
        for piece in party().as_bytes().chunks(7) {
            out.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
            out.write_all(&[piece, b"\r\n"].concat())?;
            out.flush()?;
        }
        out.write_all(format!("0\r\nX-Secret: {SECRET}\r\n\r\n").as_bytes())
    });
    let response = scene.get("/v1/parties");
    assert_eq!((response.status, response.text().as_str()), (200, MASKED_PARTY));
    assert_eq!((response.header("trailer"), response.header("transfer-encoding")), (None, None));
    scene.gateway.row_of(&response);
    scene.assert_secret_is_nowhere(&response);
}

#[test]
fn errors_of_the_erp_are_masked_too() {
    let scene = Scene::new(|_, out| {
        reply(out, "422 Unprocessable Content", &["Content-Type: application/problem+json"], party().as_bytes())
    });
    let response = scene.get("/v1/parties");
    assert_eq!((response.status, response.text().as_str()), (422, MASKED_PARTY));
    scene.gateway.row_of(&response);
    scene.assert_secret_is_nowhere(&response);
}

#[test]
fn an_answer_that_cannot_be_masked_is_withheld() {
    let scene = Scene::new(|asked, out| {
        let body = party();
        let body = body.as_bytes();
        match asked.target.split_once('?').map_or("", |(_, query)| query) {
            "html" => reply(out, "200 OK", &["Content-Type: text/html"], body),
            "none" => reply(out, "200 OK", &[], body),
            "error" => reply(out, "500 Oops", &["Content-Type: text/plain"], body),
            "gzip" => reply(out, "200 OK", &[JSON, "Content-Encoding: gzip"], body),
            "part" => reply(out, "206 Partial Content", &[JSON, "Content-Range: bytes 0-9/99"], body),
            "charset" => reply(out, "200 OK", &["Content-Type: application/json; charset=utf-16"], body),
            "cut" => reply(out, "200 OK", &[JSON], &body[..body.len() - 1]),
            "mark" => reply(out, "200 OK", &[JSON], &[b"\xef\xbb\xbf", body].concat()),
            "latin" => reply(out, "200 OK", &[JSON], &[&body[..body.len() - 1], b",\"x\":\"\xe9\"}"].concat()),
            "long" => reply(out, "200 OK", &[JSON], format!("{body:?}{}", " ".repeat(4096)).as_bytes()),
            "pieces" => {
                out.write_all(format!("HTTP/1.1 200 OK\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes())?;
                for _ in 0..10 {
                    out.write_all(format!("200\r\n{}\r\n", " ".repeat(512)).as_bytes())?;
                }
                out.write_all(format!("{:x}\r\n", body.len()).as_bytes())?;
                out.write_all(&[body, b"\r\n0\r\n\r\n"].concat())
            }
            "redirect" => reply(out, "302 Found", &["Location: /v1/open", "Content-Type: text/html"], body),
            other => panic!("{other}"),
        }
    });
    for (query, says, status) in [
        ("html", "it is not of a JSON media type", 200),
        ("none", "it is not of a JSON media type", 200),
        ("error", "it is not of a JSON media type", 500),
        ("charset", "it is not of a JSON media type in UTF-8", 200),
        ("redirect", "it is not of a JSON media type", 302),
        ("gzip", "it has a content coding", 200),
        ("part", "it is a part of a document", 206),
        ("cut", "it is not exactly one JSON document", 200),
        ("mark", "it is not exactly one JSON document", 200),
        ("latin", "it is not exactly one JSON document", 200),
        ("long", "it is longer than the 4096 bytes", 200),
        ("pieces", "it is longer than the 4096 bytes", 200),
    ] {
        let response = scene.get(&format!("/v1/parties?{query}"));
        let row = scene.withheld(&response, says);
        assert_eq!(row["outcome"]["upstream_status"].as_u64(), Some(status), "{query}");
        assert_eq!(row["outcome"]["response_bytes"].as_u64(), Some(0), "{query}");
        assert_eq!(response.header("location"), None);
        scene.assert_secret_is_nowhere(&response);
    }
}

#[test]
fn an_answer_that_breaks_off_leaves_nothing_behind() {
    let scene = Scene::new(|_, out| {
        let body = party();
        out.write_all(format!("HTTP/1.1 200 OK\r\n{JSON}\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes())?;
        out.write_all(&body.as_bytes()[..body.len() - 2])?;
        hang_up()
    });
    let response = scene.get("/v1/parties");
    assert_eq!((response.status, response.code().as_str()), (502, "upstream_protocol_error"), "{}", response.text());
    assert_eq!(scene.erp.count(), 1, "it is not asked twice");
    scene.gateway.row_of(&response);
    scene.assert_secret_is_nowhere(&response);
}

#[test]
fn an_answer_without_a_body_passes_without_what_speaks_of_the_bytes() {
    let scene = Scene::new(|asked, out| {
        let tag = "ETag: \"5d41402abc4b2a76\"";
        match (asked.method.as_str(), asked.target.as_str()) {
            ("HEAD", _) => reply(out, "200 OK", &["Content-Type: text/html", tag], b"").map(drop),
            (_, "/v1/parties?unchanged") => out.write_all(format!("HTTP/1.1 304 X\r\n{tag}\r\n\r\n").as_bytes()),
            (_, "/v1/parties?none") => out.write_all(format!("HTTP/1.1 204 X\r\n{tag}\r\n\r\n").as_bytes()),
            (_, "/v1/parties?chunks") => out.write_all(
                format!("HTTP/1.1 200 X\r\n{tag}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").as_bytes(),
            ),
            (_, _) => reply(out, "201 Created", &["Location: /v1/parties/5", tag], b""),
        }
    });
    for (method, target, status) in [
        ("HEAD", "/v1/parties", 200),
        ("GET", "/v1/parties?unchanged", 304),
        ("GET", "/v1/parties?none", 204),
        ("GET", "/v1/parties?chunks", 200),
        ("GET", "/v1/parties", 201),
    ] {
        let response = scene.send(method, target, &[], None);
        assert_eq!((response.status, response.text().as_str()), (status, ""), "{method} {target}");
        assert_eq!(response.header("etag"), None, "{method} {target}");
        assert!(response.whole);
        let row = scene.gateway.row_of(&response);
        assert_eq!(row["outcome"]["ended"].as_str(), Some("completed"), "{row:#}");
    }
}

#[test]
fn the_length_of_what_is_masked_is_not_told_to_head() {
    let scene = Scene::new(|_, out| {
        out.write_all(format!("HTTP/1.1 200 OK\r\n{JSON}\r\nContent-Length: 99\r\n\r\n").as_bytes())
    });
    let masked = scene.send("HEAD", "/v1/parties", &[], None);
    assert_eq!((masked.status, masked.header("content-length")), (200, None));
}

#[test]
fn the_erp_is_asked_for_the_whole_in_plain() {
    let scene = Scene::new(|_, out| answer(out, 200, "{}"));
    let asks = [
        ("Accept-Encoding", "gzip, br"),
        ("Range", "bytes=10-20"),
        ("If-Range", "\"x\""),
        ("If-None-Match", "\"guess\""),
        ("If-Modified-Since", "Mon, 23 Nov 2026 10:00:00 GMT"),
        ("Accept", "application/json"),
    ];
    scene.send("GET", "/v1/parties", &asks, None);
    scene.send("GET", "/v1/open", &asks, None);
    let seen = scene.erp.seen();
    let header = |index: usize, name| seen[index].header(name);
    for gone in ["range", "if-range", "if-none-match"] {
        assert_eq!(header(0, gone), None, "{gone}");
        assert!(header(1, gone).is_some(), "{gone} passes where nothing is masked");
    }
    assert_eq!((header(0, "accept-encoding"), header(1, "accept-encoding")), (Some("identity"), Some("gzip, br")));
    assert!(header(0, "if-modified-since").is_some() && header(0, "accept").is_some());
}

#[test]
fn forced_values_reach_the_erp_whatever_the_client_sends() {
    let forward = "    forward_headers: [X-Company, X-Other]\n";
    let scene = Scene::with(
        |_, out| answer(out, 200, "{}"),
        |mut setup| {
            setup.upstream.push_str(forward);
            setup
        },
    );
    let plain = scene.get("/v1/company");
    let sent = [("X-Company", "8"), ("X_Company", "9"), ("X-Other", "kept"), ("Accept-Language", "de")];
    let tried = scene.send("GET", "/v1/company?company=8&a=1&Company=9&%63ompany=10&b", &sent, None);
    assert_eq!((plain.status, tried.status), (200, 200));
    let seen = scene.erp.seen();
    assert_eq!(seen[0].target, "/v1/company?company=7");
    assert_eq!(seen[1].target, "/v1/company?a=1&b&company=7");
    for asked in &seen {
        let all = |name: &str| {
            // To many servers `X_A` and `X-A` are one header.
            let alike = |known: &String| known.to_ascii_lowercase().replace('_', "-") == name;
            asked.headers.iter().filter(|(known, _)| alike(known)).map(|(_, value)| value.as_str()).collect::<Vec<_>>()
        };
        assert_eq!((all("x-company"), all("accept-language")), (vec!["7"], vec!["en"]));
    }
    assert_eq!(seen[1].header("x-other"), Some("kept"));
    let row = scene.gateway.row_of(&tried);
    assert_eq!(
        note(&row, "policy"),
        "allowed by reader/company; query company=7 by reader/company, header x-company=7 by reader/company, \
         header accept-language=en by reader/company"
    );
}

#[test]
fn what_cannot_be_demanded_of_a_request_denies_it() {
    let other = "version: 1
policy: other
schedule: exempt
rules:
  - { id: company, allow: [parties.company], request: { force_query: { company: '8' } } }
";
    let scene = Scene::with(|_, out| answer(out, 200, "{}"), |setup| setup.policy("other.yaml", other));
    let denied = |response: &Response, says: &str| {
        assert_eq!((response.status, response.code().as_str()), (403, "not_permitted"), "{says}");
        let row = scene.gateway.row_of(response);
        let last = row["verdicts"].as_array().and_then(|verdicts| verdicts.last()).expect("a verdict").clone();
        assert_eq!((last[0].as_str(), last[1].as_str()), (Some("policy"), Some("denied")), "{row:#}");
        assert!(last[2].as_str().is_some_and(|note| note.contains(says)), "no `{says}` in {last}");
        row
    };
    for form in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let response = scene.send("POST", "/v1/company", &[("Content-Type", form)], Some(b"company=8"));
        denied(&response, "the body is a form");
    }
    let batch = br#"[{"method":"read"}]"#;
    let response = scene.send("POST", "/v1/rpc", &[("Content-Type", "application/json")], Some(batch));
    let row = denied(
        &response,
        "demands `mask /bank_account`, `mask /lines/*/cost`, which cannot be done for a part of a batch",
    );
    assert_eq!((row["policy"].as_str(), row["rule"].as_str()), (Some("reader"), Some("read")));

    let both = scene.gateway.token(&scene.gateway.issue("other", &["reader", "other"]));
    let response = scene.gateway.get(&both, "/v1/company");
    denied(&response, "and `reader/company` force the query parameter `company` to different values");
    assert_eq!(scene.erp.count(), 0, "the ERP saw nothing");

    let json = scene.send("POST", "/v1/company", &[("Content-Type", "application/json")], Some(b"{}"));
    assert_eq!(json.status, 200, "{}", json.text());
}

#[test]
fn a_header_that_the_session_sets_cannot_be_forced() {
    let takes = "version: 1
policy: reader
schedule: exempt
rules:
  - { id: read, allow: [parties.open], request: { force_header: { X-ERP-Session: mine } } }
";
    let recorder = Recorder::start();
    let folder = setup(recorder.address()).policy("reader.yaml", takes).write();
    let world = erp_access::app::World {
        clock: Arc::new(ManualClock::at("2026-11-23T12:00:00Z".parse().expect("a time"))),
        entropy: Arc::new(erp_access::domain::SystemEntropy),
    };
    let settings = config(folder.path());
    erp_access::app::migrate(&settings).expect("migrated");
    let refused = erp_access::app::App::build(&settings, &world).map(drop).expect_err("does not start").to_string();
    assert_eq!(
        refused,
        "rule `reader/read` forces the header `x-erp-session`, which the session of upstream `erp` sets; one of them must go"
    );

    let check = process::run(folder.path(), &["check"], "");
    assert!(!check.status.success());
    assert!(String::from_utf8_lossy(&check.stderr).contains(&refused), "{check:?}");

    // An edit while the gateway runs.
    let scene = Scene::new(|_, out| answer(out, 200, "{}"));
    std::fs::write(scene.gateway.folder.path().join("policies/reader.yaml"), takes).expect("written");
    scene.gateway.operate(Command::PolicyReload).expect("reloaded");
    let response = scene.get("/v1/open");
    assert_eq!((response.status, response.code().as_str()), (403, "not_permitted"));
    let row = scene.gateway.row_of(&response);
    assert!(row.to_string().contains("which the session of upstream `erp` sets"), "{row:#}");
    assert_eq!(scene.erp.count(), 0);
}

#[test]
fn an_answer_without_a_mask_still_passes_piece_by_piece() {
    let (arrived, arrival) = mpsc::channel::<()>();
    let arrival = std::sync::Mutex::new(arrival);
    let scene = Scene::new(move |_, out| {
        out.write_all(
            format!("HTTP/1.1 200 OK\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{{\"a\r\n").as_bytes(),
        )?;
        out.flush()?;
        // The rest is written when the client has the beginning.
        let seen = arrival.lock().expect("lock").recv_timeout(Duration::from_secs(20));
        seen.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        out.write_all(b"4\r\n\":1}\r\n0\r\n\r\n")
    });
    let mut connection = Connection::open(scene.gateway.address);
    let bearer = format!("Bearer {}", scene.token);
    connection.send(&http::render("GET", "/v1/open", &[("Authorization", &bearer)], None)).expect("sent");
    assert_eq!(connection.head().expect("a head").0, 200);
    assert_eq!(connection.some(6), b"3\r\n{\"a");
    arrived.send(()).expect("the ERP waits");
    assert_eq!(connection.some(16), b"\r\n4\r\n\":1}\r\n0\r\n\r\n");
}

#[test]
fn connections_to_client_and_erp_are_kept_over_masked_answers() {
    let scene = Scene::new(|_, out| reply(out, "200 OK", &[JSON], party().as_bytes()));
    let bearer = format!("Bearer {}", scene.token);
    let mut connection = Connection::open(scene.gateway.address);
    for target in ["/v1/parties", "/v1/parties", "/v1/open", "/v1/parties"] {
        let response = connection.request("GET", target, &[("Authorization", &bearer)], None);
        assert_eq!(response.status, 200);
        assert_eq!(response.text().contains("***"), target != "/v1/open");
    }
    let connections: Vec<usize> = scene.erp.seen().iter().map(|asked| asked.connection).collect();
    assert_eq!(connections, [0, 0, 0, 0]);
}

#[test]
fn a_kill_switch_stops_an_answer_that_is_held_back() {
    let (written, writing) = mpsc::channel::<()>();
    let (go_on, going_on) = mpsc::channel::<()>();
    let going_on = std::sync::Mutex::new(going_on);
    let scene = Scene::new(move |_, out| {
        let body = party();
        let (first, second) = body.split_at(30);
        out.write_all(
            format!("HTTP/1.1 200 OK\r\n{JSON}\r\nContent-Length: {}\r\n\r\n{first}", body.len()).as_bytes(),
        )?;
        out.flush()?;
        let _ = written.send(());
        let _ = going_on.lock().expect("lock").recv_timeout(Duration::from_secs(20));
        out.write_all(second.as_bytes())
    });
    let mut connection = Connection::open(scene.gateway.address);
    let bearer = format!("Bearer {}", scene.token);
    connection.send(&http::render("GET", "/v1/parties", &[("Authorization", &bearer)], None)).expect("sent");
    writing.recv_timeout(Duration::from_secs(20)).expect("the ERP answers");
    let engage = Command::KillEngage { scope: Scope::All, message: None, reason: "test".into(), until: None };
    scene.gateway.operate(engage).expect("engaged");
    go_on.send(()).expect("the ERP waits");
    let response = connection.response(false).expect("an answer");
    assert_eq!((response.status, response.code().as_str()), (503, "kill_switch_engaged"), "{}", response.text());
    let row = scene.gateway.row_of(&response);
    assert_eq!(row["outcome"]["ended"].as_str(), Some("cut"), "{row:#}");
    scene.assert_secret_is_nowhere(&response);
}

/// An ERP whose answers never end, and how many bytes it could send.
fn endless_erp() -> (Erp, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let erp = Erp::plain(move |_, out| {
        out.write_all(format!("HTTP/1.1 200 OK\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes())?;
        loop {
            out.write_all(format!("1000\r\n{}\r\n", " ".repeat(4096)).as_bytes())?;
            counted.fetch_add(4096, Ordering::Relaxed);
        }
    });
    (erp, sent)
}

#[test]
fn endless_answers_are_withheld_in_constant_memory() {
    let (erp, sent) = endless_erp();
    let wide = READER.replace("max_bytes: 4KiB", "max_bytes: 1MiB");
    let gateway = setup(erp.address()).policy("reader.yaml", &wide).start();
    gateway.set_api_key("erp-side-key-1");
    let issued = gateway.issue("acme", &["reader"]);
    let folder = gateway.hand_over();
    let serving = Serving::start(folder.path());
    let bearer = format!("Bearer {}", issued.token(serving.address));
    let ask = || {
        let response = http::once(serving.address, "GET", "/v1/parties", &[("Authorization", &bearer)], None);
        assert_eq!((response.status, response.code().as_str()), (502, "response_withheld"), "{}", response.text());
    };
    ask();
    let before = serving.resident();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..5).for_each(|_| ask()));
        }
    });
    let more = serving.resident().saturating_sub(before);
    // Eight at once, each at most three times what may be kept.
    assert!(more < 8 * 3 * (1 << 20), "{} KiB more", more >> 10);
    let sent = sent.load(Ordering::Relaxed);
    // What is kept, and what the buffers of the sockets take in besides.
    assert!(sent < 41 * (16 << 20), "the ERP could send {sent} bytes");
}

#[test]
fn a_long_body_is_masked_whole() {
    let wide = READER.replace("max_bytes: 4KiB", "max_bytes: 8MiB");
    let line = format!("{{\"cost\":\"{SECRET}\",\"n\":1.10}}");
    let body = |line: &str| format!("{{\"lines\":[{}]}}", vec![line; 100_000].join(","));
    let long = body(&line);
    let scene = Scene::with(
        move |_, out| reply(out, "200 OK", &[JSON], long.as_bytes()),
        |setup| setup.policy("reader.yaml", &wide),
    );
    let response = scene.get("/v1/parties");
    assert!(response.whole && response.text() == body("{\"cost\":\"***\",\"n\":1.10}"));
    let row = scene.gateway.row_of(&response);
    assert_eq!(row["outcome"]["response_bytes"].as_u64(), u64::try_from(response.body.len()).ok());
    scene.assert_secret_is_nowhere(&response);
}

#[test]
fn what_the_erp_reports_inside_of_a_masked_value_is_still_recorded() {
    let scene = Scene::with(
        |_, out| answer(out, 200, &format!("{{\"bank_account\":{{\"error\":\"{SECRET}\"}}}}")),
        |mut setup| {
            setup.upstream.push_str("    application_error: { pointer: /bank_account/error }\n");
            setup
        },
    );
    let response = scene.get("/v1/parties");
    assert_eq!(response.text(), "{\"bank_account\":\"***\"}");
    let row = scene.gateway.row_of(&response);
    assert_eq!(row["outcome"]["code"].as_str(), Some("upstream_app_error"), "{row:#}");
    scene.assert_secret_is_nowhere(&response);
}

#[test]
fn a_client_that_waited_for_leave_to_send_is_told_that_its_answer_is_withheld() {
    let scene = Scene::new(|_, out| reply(out, "200 OK", &["Content-Type: text/html"], party().as_bytes()));
    let mut connection = Connection::open(scene.gateway.address);
    let bearer = format!("Bearer {}", scene.token);
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Expect", "100-continue"),
        ("Content-Length", "17"),
    ];
    let request = http::render("POST", "/v1/rpc", &headers, None);
    connection.send(&request).expect("sent");
    connection.send(br#"{"method":"read"}"#).expect("sent");
    let response = connection.response(false).expect("an answer");
    scene.withheld(&response, "it is not of a JSON media type");
}

#[test]
fn an_erp_that_speaks_http_2_is_masked_alike() {
    let authority = Authority::new("authority");
    let folder = tempfile::tempdir().expect("a folder");
    let file = authority.write(folder.path());
    let body: &'static str = Box::leak(party().into_boxed_str());
    let erp = Http2Erp::start(authority.issue("erp.test", Validity::Now).acceptor(b"\x02h2", None), body);
    let mut setup = setup(erp.address());
    setup.upstream.push_str(&format!(
        "    http_version: http2\n    host: erp.test\n    tls: {{ server_name: erp.test, ca_file: {} }}\n",
        file.display()
    ));
    let gateway = setup.start();
    gateway.set_api_key("erp-side-key-1");
    let token = gateway.token(&gateway.issue("acme", &["reader"]));
    for _ in 0..2 {
        let response = gateway.get(&token, "/v1/parties?company=8");
        assert_eq!((response.status, response.text().as_str()), (200, MASKED_PARTY));
        assert_eq!(response.header("content-length"), Some(MASKED_PARTY.len().to_string().as_str()));
    }
    gateway.get(&token, "/v1/company?company=8");
    let seen = erp.seen();
    assert_eq!(seen[0].header("accept-encoding"), Some("identity"));
    assert_eq!((seen[2].target.as_str(), seen[2].header("x-company")), ("/v1/company?company=7", Some("7")));
    assert!(seen.iter().all(|asked| asked.connection == 0), "one connection serves all");
}

mod bytes {
    use super::*;

    /// 50 bytes leave of what is 61 at the ERP.
    fn fifty(out: &mut dyn Write) -> io::Result<()> {
        answer(out, 200, &format!("{{\"bank_account\":\"*123456789*\",\"x\":\"{}\"}}", "x".repeat(23)))
    }

    #[test]
    fn a_budget_of_bytes_denies_when_it_is_used_up_and_fills_again() {
        let scene = Scene::new(|_, out| fifty(out));
        for _ in 0..2 {
            let response = scene.get("/v1/limited");
            assert_eq!((response.status, response.body.len()), (200, 50), "{}", response.text());
            // The bytes have left when the client has them.
            scene.gateway.row_of(&response);
        }
        let limited = scene.get("/v1/limited");
        assert_eq!((limited.status, limited.code().as_str()), (429, Code::RateLimited.as_str()));
        assert_eq!(limited.header("retry-after"), Some("1"), "one byte flows back in a second");
        assert_eq!(limited.header("ratelimit-policy"), Some("\"metered\";q=100;qu=\"content-bytes\";w=100"));
        let row = scene.gateway.row_of(&limited);
        assert!(row.to_string().contains("policy `metered` allows 100 bytes of answers per 100s"), "{row:#}");
        assert_eq!(scene.erp.count(), 2);
        scene.gateway.clock.advance(Duration::from_secs(1));
        assert_eq!(scene.get("/v1/limited").status, 200, "there is a byte in it");
    }

    #[test]
    fn each_credential_set_and_each_policy_has_a_budget_of_its_own() {
        let scene = Scene::new(|_, out| fifty(out));
        for _ in 0..2 {
            scene.gateway.row_of(&scene.get("/v1/limited"));
        }
        assert_eq!(scene.get("/v1/limited").status, 429);
        assert_eq!(scene.get("/v1/open").status, 200, "another policy decides");
        let other = scene.gateway.token(&scene.gateway.issue("other", &["metered"]));
        assert_eq!(scene.gateway.get(&other, "/v1/limited").status, 200);
    }

    #[test]
    fn an_answer_on_its_way_is_not_cut_but_paid_for() {
        let scene = Scene::new(|_, out| answer(out, 200, &format!("[{}]", " ".repeat(998))));
        let response = scene.get("/v1/limited");
        assert_eq!((response.status, response.body.len()), (200, 1000));
        scene.gateway.row_of(&response);
        assert_eq!(scene.get("/v1/limited").header("retry-after"), Some("901"));
    }

    #[test]
    fn what_is_withheld_costs_nothing() {
        let scene = Scene::new(|_, out| reply(out, "200 OK", &["Content-Type: text/html"], &[b'x'; 1000]));
        for _ in 0..3 {
            assert_eq!(scene.get("/v1/limited").code(), Code::ResponseWithheld.as_str());
        }
    }
}
