//! TLS towards clients: what is spoken, which certificate is shown, how it is renewed, and what is refused.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use erp_access::control::Command;
use erp_access::domain::{Actor, Role};
use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVersion};
use serde_json::json;

use crate::support::certificates::{Authority, Validity};
use crate::support::gateway::{Gateway, Setup};
use crate::support::process;
use crate::support::recorder::Recorder;

const HOST: &str = "api.example";

/// A client of one connection.
struct Client(SslStream<TcpStream>);

/// How a client connects.
struct Wanted<'a> {
    authority: &'a Authority,
    name: &'a str,
    versions: Option<SslVersion>,
}

impl Wanted<'_> {
    fn connect(&self, address: SocketAddr) -> Result<Client, String> {
        let mut builder = SslConnector::builder(SslMethod::tls()).expect("a client");
        builder.cert_store_mut().add_cert(self.authority.certificate()).expect("trusted");
        if self.versions.is_some() {
            builder.set_min_proto_version(self.versions).expect("set");
            builder.set_max_proto_version(self.versions).expect("set");
            // Old versions need what OpenSSL no longer offers by itself.
            builder.set_security_level(0);
        }
        builder.set_alpn_protos(b"\x08http/1.1").expect("set");
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        builder.build().connect(self.name, stream).map(Client).map_err(|error| error.to_string())
    }
}

impl Client {
    fn ask(&mut self, target: &str, headers: &str) -> String {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{headers}\r\n");
        self.0.write_all(request.as_bytes()).expect("sent");
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let count = self.0.read(&mut chunk).expect("read");
            bytes.extend_from_slice(&chunk[..count]);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let length = text
                .to_ascii_lowercase()
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
            if count == 0 || length.zip(body).is_some_and(|(length, body)| body >= length) {
                return text;
            }
        }
    }

    /// The names of the certificate that is shown.
    fn shown(&self) -> Vec<String> {
        let names = self.0.ssl().peer_certificate().expect("a certificate").subject_alt_names().expect("names");
        names.iter().filter_map(|name| name.dnsname().map(str::to_owned)).collect()
    }
}

fn gateway(erp: &Recorder, authority: &Authority) -> Gateway {
    Setup::new(erp.address()).start_with_tls(&authority.issue(HOST, Validity::Now))
}

#[test]
fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let erp = Recorder::answering("application/json", &[], b"[]");
    let authority = Authority::new("an authority");
    let gateway = gateway(&erp, &authority);
    gateway.set_api_key("erp-key-over-tls");
    let token = gateway.token(&gateway.issue("acme", &["order-reader"]));
    let address = gateway.tls.expect("TLS is spoken");
    let wanted = |version| Wanted { authority: &authority, name: HOST, versions: Some(version) };
    let authorization = format!("Authorization: Bearer {token}\r\n");
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let mut client = wanted(version).connect(address).expect("a connection");
        let cipher = client.0.ssl().current_cipher().expect("a cipher").name().to_owned();
        assert!(cipher.starts_with("TLS_") || cipher.starts_with("ECDHE-"), "{cipher} keeps no secret for long");
        assert_eq!(client.0.ssl().selected_alpn_protocol(), Some(&b"http/1.1"[..]));
        for (target, headers, status) in
            [("/v1/customers", authorization.as_str(), "200"), ("/v1/customers", "", "401"), ("/status", "", "200")]
        {
            let answer = client.ask(target, headers);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{version:?} {target}: {answer}");
            assert!(
                answer.to_ascii_lowercase().contains("strict-transport-security: max-age=31536000\r\n"),
                "{answer}"
            );
        }
    }
    for version in [SslVersion::TLS1, SslVersion::TLS1_1] {
        assert!(wanted(version).connect(address).is_err(), "{version:?} is spoken");
    }
    let row = gateway.audit("relay", 4).into_iter().find(|row| row["decision"] == "allowed").expect("a row");
    assert!(row["tls"].as_str().is_some_and(|tls| tls.starts_with("TLSv1.") && tls.len() > "TLSv1.3 ".len()), "{row}");
    // The plain listener says nothing of TLS, and that of TLS nothing to those who do not speak it.
    let plain = gateway.get(&token, "/v1/customers");
    assert_eq!((plain.status, plain.header("strict-transport-security")), (200, None));
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    let stranger = Authority::new("another authority");
    assert!(Wanted { authority: &stranger, name: HOST, versions: None }.connect(address).is_err());
}

#[test]
fn renewed_certificates_are_shown_and_open_connections_go_on() {
    let erp = Recorder::answering("application/json", &[], b"[]");
    let authority = Authority::new("an authority");
    let gateway = gateway(&erp, &authority);
    let address = gateway.tls.expect("TLS is spoken");
    let connect = |name| Wanted { authority: &authority, name, versions: None }.connect(address);
    let mut before = connect(HOST).expect("a connection");
    assert!(before.ask("/status", "").starts_with("HTTP/1.1 200"));
    let folder: &Path = gateway.folder.path();
    std::fs::write(folder.join("main.pem"), "broken").expect("written");
    gateway.control().reload(Some(&Actor::System));
    assert_eq!(connect(HOST).expect("a connection").shown(), [HOST], "a broken file changes nothing");
    let doctor = gateway.operate(Command::Doctor).expect("told").to_string();
    assert!(doctor.contains("renewed files are not shown") && doctor.contains("main.pem"), "{doctor}");
    authority.issue("new.example", Validity::Now).write(folder, "main");
    gateway.control().reload(Some(&Actor::System));
    assert_eq!(connect("new.example").expect("a connection").shown(), ["new.example"]);
    assert!(connect(HOST).is_err(), "the former one is shown to nobody any more");
    assert!(before.ask("/status", "").starts_with("HTTP/1.1 200"), "a connection from before goes on");
    let doctor = gateway.operate(Command::Doctor).expect("told").to_string();
    assert!(!doctor.contains("not shown") && doctor.contains("new.example"), "{doctor}");
    let rows = gateway.audit("system", 3);
    let did = |what: &str| rows.iter().any(|row| row["method"] == what && row["path"] == "gateway.tls");
    assert!(did("tls.renewed") && did("tls.not-renewed"), "{rows:?}");
}

#[test]
fn a_gateway_whose_certificates_are_wrong_does_not_start_and_says_all_of_it() {
    let erp = Recorder::start();
    let authority = Authority::new("an authority");
    let tls = |name: &str| {
        format!("  tls:\n    certificates:\n      main: {{ chain_file: {name}.pem, key_file: {name}.key }}\n")
    };
    let setup = Setup::new(erp.address()).gateway(&tls("missing"));
    let folder = setup.config(&format!("portal:\n  listen: [\"127.0.0.1:0\"]\n{}", tls("wide"))).write();
    authority.issue(HOST, Validity::Now).write(folder.path(), "wide");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(folder.path().join("wide.key"), mode).expect("a mode");
    for command in [&["check"][..], &["serve", "--migrate"]] {
        let output = process::run(folder.path(), command, "");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{told}");
        for part in
            ["`gateway.tls.certificates`: `", "missing.pem", "`portal.tls.certificates`", "wide.key` is open to others"]
        {
            assert!(told.contains(part), "{command:?}: {part}: {told}");
        }
    }
    for (setting, listen, told) in [
        ("gateway", "0.0.0.0:8080", "there is no TLS"),
        ("portal", "192.0.2.1:8445", "is not an address of this machine alone"),
    ] {
        let folder = Setup::new(erp.address()).write();
        let set = format!("{setting}.listen=[\"{listen}\"]");
        let output = process::run(folder.path(), &["check", "--set", &set], "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(told), "{said}");
    }
}

#[test]
fn the_portal_and_its_api_speak_tls() {
    let erp = Recorder::start();
    let authority = Authority::new("an authority");
    let portal = "portal:\n  listen: [\"127.0.0.1:0\"]\n  tls:\n    certificates:\n      main: { chain_file: main.pem, key_file: main.key }\n    hsts: 24h\n";
    let gateway = Setup::new(erp.address()).config(portal).start_with_tls(&authority.issue(HOST, Validity::Now));
    let address = gateway.portal.expect("the portal is served");
    let connect = || Wanted { authority: &authority, name: HOST, versions: None }.connect(address);
    // Somebody who does not go on with the handshake holds nobody up.
    let silent = TcpStream::connect(address).expect("connected");
    let mut client = connect().expect("a connection");
    let page = client.ask("/sign-in", "");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("Sign in"), "{page}");
    assert!(page.to_ascii_lowercase().contains("strict-transport-security: max-age=86400\r\n"), "{page}");
    let (_, key) = gateway.operator_key(Role::Auditor, None);
    let status = connect().expect("a connection").ask("/v1/status", &format!("x-api-key: {key}\r\n"));
    assert!(status.starts_with("HTTP/1.1 200") && status.contains("policy_generation"), "{status}");
    drop(silent);
    authority.issue("portal.example", Validity::Now).write(gateway.folder.path(), "main");
    gateway.control().reload(Some(&Actor::System));
    let named = Wanted { authority: &authority, name: "portal.example", versions: None };
    assert_eq!(named.connect(address).expect("a connection").shown(), ["portal.example"]);
    let doctor = gateway.operate(Command::Doctor).expect("told");
    let ends = doctor.as_array().expect("findings").iter().filter(|finding| finding["check"] == "certificates").count();
    assert_eq!(ends, 2, "one for each listener: {}", json!(doctor));
}

#[test]
fn a_handshake_that_stands_still_is_a_connection_and_ends() {
    let erp = Recorder::start();
    let authority = Authority::new("an authority");
    let limits = "  limits: { connections_per_address: 2, header_timeout: 2s }\n";
    let setup = Setup::new(erp.address()).gateway(limits);
    let gateway = setup.start_with_tls(&authority.issue(HOST, Validity::Now));
    let address = gateway.tls.expect("TLS is spoken");
    let connect = || Wanted { authority: &authority, name: HOST, versions: None }.connect(address);
    let connections = || gateway.control().connections.as_ref().expect("counted").open();
    let silent: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(address).expect("connected")).collect();
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let came = (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            is_so()
        });
        assert!(came, "{what}");
    };
    until("both are counted", &|| connections() == 2);
    assert!(connect().is_err(), "there is no room beside them");
    until("they end by themselves", &|| connections() == 0);
    let mut client = connect().expect("a connection");
    assert!(client.ask("/status", "").starts_with("HTTP/1.1 200"));
    drop(silent);
}
