//! Real ERPs behind recipes: Tryton in its three styles, and a server shaped like SAP Gateway; and all that goes wrong on
//! the way to them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use erp_access::control::Command;
use erp_access::domain::Code;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::gateway::{Gateway, Setup};
use crate::support::http::{Response, find};
use crate::support::process::free_address;
use crate::support::sap::{self, Sap};
use crate::support::tryton::Tryton;
use crate::support::wire::{Trouble, Wire};

const POLICY: &str = "version: 1
policy: reader
schedule: exempt
rules:
  - { id: all, allow: [read, write] }
";

/// One way to sign in to one ERP.
struct Style {
    recipe: &'static str,
    read: &'static str,
    write: &'static str,
    /// The method and body of reading, and what must be in the answer.
    reading: (&'static str, Option<&'static [u8]>, &'static str),
    writing: &'static [u8],
    signs_in: bool,
}

const SEARCH: &[u8] = br#"{"id":1,"method":"model.party.party.search_read","params":[[],0,10,null,["name"],{}]}"#;
const CREATE: &[u8] = br#"{"id":2,"method":"model.party.party.create","params":[[{"name":"New Ltd"}],{}]}"#;

const TRYTON: Style = Style {
    recipe: "recipe: tryton, parameters: { database: erp }",
    read: "/erp/rpc/",
    write: "/erp/rpc/",
    reading: ("POST", Some(SEARCH), "ACME GmbH"),
    writing: CREATE,
    signs_in: true,
};

const TRYTON_COOKIE: Style =
    Style { recipe: "recipe: tryton-cookie, parameters: { database: erp }, secure_over_http: true", ..TRYTON };

const TRYTON_KEY: Style = Style {
    recipe: "recipe: bearer",
    read: "/erp/rest/model/party.party",
    write: "/erp/rest/model/party.party",
    reading: ("GET", None, "ACME GmbH"),
    writing: br#"{"name":"New Ltd"}"#,
    signs_in: false,
};

const SAP: Style = Style {
    recipe: "recipe: sap-gateway, parameters: { system: ERP }",
    read: "/sap/opu/odata4/sap/shop/SalesOrders",
    write: "/sap/opu/odata4/sap/shop/SalesOrders",
    reading: ("GET", None, "ACME GmbH"),
    writing: br#"{"ID":"77","Customer":"New Ltd","Amount":"1.00"}"#,
    signs_in: true,
};

/// A gateway in front of a wire to an ERP.
struct Scene {
    gateway: Gateway,
    token: String,
    wire: Wire,
    style: Style,
}

impl Scene {
    fn new(style: Style, erp: std::net::SocketAddr) -> Self {
        let wire = Wire::to(erp);
        let endpoints = format!(
            "version: 1\nupstream: erp\nendpoints:\n  - {{ id: read, methods: [{}], path: /v1/read, upstream_path: '{}' }}\n  - {{ id: write, methods: [POST], path: /v1/write, upstream_path: '{}' }}\n",
            style.reading.0, style.read, style.write
        );
        let mut setup = Setup::new(wire.address());
        setup.policies.retain(|name, _| *name == "schedule.yaml");
        let mut setup = setup
            .policy("endpoints/erp.yaml", &endpoints)
            .policy("reader.yaml", POLICY)
            .config("tokens:\n  lifetime: 12h\n");
        setup.session = "";
        setup.upstream = format!(
            "    timeouts: {{ sign_in: 20s, read: 15s }}\n    ejection: {{ failures: 0 }}\n    session: {{ {} }}\n",
            style.recipe
        );
        let gateway = setup.start();
        let token = gateway.token(&gateway.issue("acme", &["reader"]));
        Self { gateway, token, wire, style }
    }

    fn read(&self) -> Response {
        let (method, body, _) = self.style.reading;
        self.gateway.relay(&self.token, method, "/v1/read", body)
    }

    fn write(&self) -> Response {
        self.gateway.relay(&self.token, "POST", "/v1/write", Some(self.style.writing))
    }

    fn reads(&self) {
        let response = self.read();
        assert_eq!(response.status, 200, "{:#}", self.gateway.row_of(&response)["outcome"]);
        assert!(response.text().contains(self.style.reading.2), "{}", response.text());
    }

    /// Reads, perhaps not at the first try: an ERP that has just been ill-treated may be slow, on a busy machine all the
    /// more. Each try comes after the pause for which the ERP is left alone.
    fn recovers(&self) {
        let recovered = (0..5).any(|_| {
            self.gateway.clock.advance(Duration::from_mins(2));
            self.read().status == 200
        });
        assert!(recovered, "the ERP is well and the gateway does not find out");
        self.reads();
    }

    fn writes(&self) {
        let response = self.write();
        assert!(matches!(response.status, 200 | 201), "{} {}", response.status, response.text());
    }

    fn fails(&self, response: &Response, code: Code) {
        assert_eq!((response.status, response.code().as_str()), (code.status(), code.as_str()), "{}", response.text());
        let row = self.gateway.row_of(response);
        assert_eq!(row["outcome"]["code"].as_str(), Some(code.as_str()), "{row:#}");
    }

    /// Leaves no session and no back-off, as an operator would.
    fn starts_anew(&self) {
        self.gateway.clock.advance(Duration::from_mins(2));
        let upstream = "erp".parse().expect("a name");
        self.gateway.operate(Command::UpstreamLogout { upstream, account: None }).expect("signed out");
    }

    /// What goes wrong on the wire, with a session and while signing in.
    fn survives_the_wire(&self) {
        self.reads();
        for (trouble, code) in
            [(Trouble::Hangs, Code::UpstreamTimeout), (Trouble::Garbage, Code::UpstreamProtocolError)]
        {
            self.wire.set(trouble);
            self.fails(&self.read(), code);
            self.wire.set(Trouble::None);
            self.recovers();
        }
        self.wire.set(Trouble::Split);
        let split = self.gateway.relay(&self.token, "POST", "/v1/write", Some(self.style.writing));
        assert!(split.status >= 500 || !split.whole, "{} {}", split.status, split.text());
        self.wire.set(Trouble::None);
        self.recovers();
        if self.style.signs_in {
            self.survives_the_wire_while_signing_in();
        }
    }

    fn survives_the_wire_while_signing_in(&self) {
        for trouble in [Trouble::Hangs, Trouble::Garbage, Trouble::Nonsense, Trouble::Split] {
            self.wire.set(Trouble::None);
            self.starts_anew();
            self.wire.set(trouble);
            self.fails(&self.read(), Code::UpstreamSessionFailed);
            // The next request does not bother the ERP.
            let before = self.wire.connections();
            self.fails(&self.read(), Code::UpstreamSessionFailed);
            assert_eq!(self.wire.connections(), before, "{trouble:?}");
            self.wire.set(Trouble::None);
            self.recovers();
        }
    }

    /// What stands in the databases must not hold any of these.
    fn keeps_to_itself(&self, secrets: &[String]) {
        assert!(!secrets.is_empty());
        for (name, bytes) in self.gateway.database_bytes() {
            for secret in secrets {
                assert!(find(&bytes, secret.as_bytes()).is_none(), "a secret stands in {}", name.display());
            }
        }
    }

    fn report(&self) -> serde_json::Value {
        let upstream = "erp".parse().expect("a name");
        self.gateway.operate(Command::UpstreamTest { upstream, account: None }).expect("tried")
    }
}

fn with_password(scene: &Scene, username: &str, password: &str) {
    scene.gateway.set_password(username, "wrong-password-1");
    let response = scene.read();
    scene.fails(&response, Code::UpstreamSessionFailed);
    let report = scene.report();
    assert!(report["error"].as_str().is_some_and(|error| error.contains("refused: status 401")), "{report:#}");
    let rows = scene.gateway.audit("system", 3);
    let refused = rows.iter().find(|row| row["method"] == "upstream.login").expect("a row of the sign-in");
    assert_eq!((refused["decision"].as_str(), refused["path"].as_str()), (Some("denied"), Some("erp")), "{refused:#}");
    scene.gateway.set_password(username, password);
    scene.reads();
    let settled = |row: &serde_json::Value| row["method"] == "upstream.login" && row["decision"] == "allowed";
    assert!(scene.gateway.audit("system", 5).iter().any(settled));
    let report = scene.report().to_string();
    assert!(report.contains("\"error\":null") && !report.contains(password), "{report}");
    scene.gateway.clock.advance(Duration::from_mins(2));
}

fn tryton(style: Style) {
    let Some(mut tryton) = Tryton::start() else { return };
    let scene = Scene::new(style, tryton.address());
    let mut secrets = vec![tryton.password().to_owned(), tryton.rest_key().to_owned()];
    if scene.style.signs_in {
        with_password(&scene, "admin", tryton.password());
    } else {
        scene.gateway.set_api_key("0123456789abcdef");
        assert_eq!(scene.read().code(), Code::UpstreamSessionFailed.as_str());
        scene.gateway.set_api_key(tryton.rest_key());
    }
    scene.reads();
    scene.writes();
    if scene.style.signs_in {
        secrets.extend(tryton.session_tokens());
        tryton.lose_all_sessions();
        scene.reads();
        tryton.lose_all_sessions();
        scene.writes();
        secrets.extend(tryton.session_tokens());
    }
    tryton.stop();
    scene.fails(&scene.read(), Code::UpstreamProtocolError);
    tryton.restart();
    scene.recovers();
    scene.survives_the_wire();
    scene.keeps_to_itself(&secrets);
}

#[test]
fn tryton_with_a_session_over_json_rpc() {
    tryton(TRYTON);
}

#[test]
fn tryton_with_a_cookie() {
    tryton(TRYTON_COOKIE);
}

#[test]
fn tryton_with_a_key() {
    tryton(TRYTON_KEY);
}

#[test]
fn failures_of_trytons_own_are_told_apart_in_the_audit() {
    let Some(tryton) = Tryton::start() else { return };
    let wrong = br#"{"id":1,"method":"model.party.party.read","params":[[999999],["name"],{}]}"#;
    let mut scene = Scene::new(TRYTON, tryton.address());
    scene.gateway.set_password("admin", tryton.password());
    let plain = scene.gateway.relay(&scene.token, "POST", "/v1/write", Some(wrong));
    assert_eq!(plain.status, 200);
    assert!(scene.gateway.row_of(&plain)["outcome"]["code"].is_null());
    // The same with a rule.
    let folder = scene.gateway.hand_over();
    let file = folder.path().join("erp-access.yaml");
    let text = std::fs::read_to_string(&file).expect("read");
    let text = text.replace("    ejection:", "    application_error: { pointer: /error }\n    ejection:");
    std::fs::write(&file, text).expect("written");
    let clock = erp_access::domain::ManualClock::at("2026-11-23T10:00:00Z".parse().expect("a time"));
    scene.gateway = Gateway::start(folder, clock);
    scene.token = scene.gateway.token(&scene.gateway.issue("acme", &["reader"]));
    let marked = scene.gateway.relay(&scene.token, "POST", "/v1/write", Some(wrong));
    assert_eq!((marked.status, marked.json()["error"].is_null()), (200, false), "the client gets the ERP's answer");
    let row = scene.gateway.row_of(&marked);
    assert_eq!(row["outcome"]["code"].as_str(), Some(Code::UpstreamAppError.as_str()), "{row:#}");
    assert_eq!(row["outcome"]["ended"].as_str(), Some("completed"));
    let other = scene.gateway.relay(&scene.token, "POST", "/v1/read", Some(SEARCH));
    assert!(scene.gateway.row_of(&other)["outcome"]["code"].is_null());
}

#[test]
fn sap_gateway_with_cookie_and_csrf_token() {
    let Some(mut erp) = Sap::start() else { return };
    let scene = Scene::new(SAP, erp.address());
    with_password(&scene, "gateway", sap::PASSWORD);
    scene.reads();
    scene.writes();
    let mut secrets = erp.secrets();
    for _ in 0..2 {
        erp.lose_all_sessions();
        scene.reads();
        erp.lose_all_sessions();
        assert_eq!(scene.write().status, 201, "a write is sent again when the ERP had refused it");
    }
    secrets.extend(erp.secrets());
    secrets.push(sap::PASSWORD.to_owned());
    let response = scene.read();
    for header in ["set-cookie", "x-csrf-token", "www-authenticate"] {
        assert_eq!(response.header(header), None);
    }
    erp.stop();
    scene.fails(&scene.read(), Code::UpstreamProtocolError);
    erp.restart();
    scene.recovers();
    scene.survives_the_wire();
    scene.keeps_to_itself(&secrets);
}

#[test]
fn thousand_requests_at_once_wait_for_one_slow_sign_in() {
    let Some(erp) = Sap::start() else { return };
    let scene = Scene::new(SAP, erp.address());
    scene.gateway.set_password("gateway", sap::PASSWORD);
    scene.wire.set(Trouble::Slow(Duration::from_millis(700)));
    let (address, token) = (scene.gateway.address, scene.token.clone());
    let answered = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&answered);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let statuses = runtime.block_on(async move {
        let ask = move |_| {
            let (token, counted) = (token.clone(), std::sync::Arc::clone(&counted));
            tokio::spawn(async move {
                let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
                let request = format!(
                    "GET /v1/read HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
                );
                stream.write_all(request.as_bytes()).await.expect("sent");
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer).await;
                counted.fetch_add(1, Ordering::AcqRel);
                String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
            })
        };
        let asked: Vec<_> = (0..1000).map(ask).collect();
        let mut statuses = Vec::new();
        for one in asked {
            statuses.push(one.await.expect("an answer"));
        }
        statuses
    });
    assert_eq!(answered.load(Ordering::Acquire), 1000);
    let count = |wanted: &str| statuses.iter().filter(|status| *status == wanted).count();
    assert_eq!(
        erp.sign_ins(),
        1,
        "{} of 1000 were answered 200, {} 502, {} 504",
        count("200"),
        count("502"),
        count("504")
    );
    assert!(count("200") > 0);
}

#[test]
fn erp_that_is_not_there_is_said_to_be_unreachable() {
    let scene = {
        let mut scene = Scene::new(TRYTON_KEY, free_address());
        scene.gateway.set_api_key("some-key-12345");
        scene.token = scene.gateway.token(&scene.gateway.issue("acme", &["reader"]));
        scene
    };
    // The wire takes the connection and breaks it off: the peer itself is there.
    scene.fails(&scene.read(), Code::UpstreamProtocolError);
    let upstream = "erp".parse().expect("a name");
    let shown = scene.gateway.operate(Command::UpstreamShow { upstream, account: None }).expect("shown");
    assert_eq!(shown["state"], json!("signed in"), "{shown}");
}
