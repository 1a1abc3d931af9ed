//! The whole relay on loopback, beside a bare Pingora proxy in the same run: what does the gateway cost?

#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on must fail")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use async_trait::async_trait;
use criterion::{Criterion, criterion_group, criterion_main};
use erp_access::app::App;
use erp_access::control::{Caller, Command, NewSet, SecretText};
use erp_access::domain::{Actor, Secret};
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

const BODY: &[u8] = &[b'x'; 1024];

/// An ERP that answers 1 KiB to everything and keeps connections.
fn erp() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", BODY.len()).into_bytes();
    answer.extend_from_slice(BODY);
    let mut buffer = vec![0; 16 * 1024];
    let mut filled = 0;
    while let Ok(count @ 1..) = stream.read(buffer.get_mut(filled..).unwrap_or_default()) {
        filled += count;
        if buffer.get(..filled).is_some_and(|bytes| bytes.ends_with(b"\r\n\r\n")) {
            filled = 0;
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    }
}

/// Pingora without any of us.
struct Bare(SocketAddr);

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora_core::Result<Box<HttpPeer>> {
        #[expect(clippy::disallowed_methods, reason = "a socket address resolves to itself")]
        let peer = HttpPeer::new(self.0, false, String::new());
        Ok(Box::new(peer))
    }
}

fn bare(erp: SocketAddr) -> SocketAddr {
    let address = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut server = Server::new_with_opt_and_conf(None, ServerConf { threads: 1, ..ServerConf::default() });
        server.bootstrap();
        let mut service = http_proxy_service(&server.configuration, Bare(erp));
        service.add_tcp(&address.to_string());
        server.add_service(service);
        server.run_forever();
    });
    wait_for(address);
    address
}

/// The gateway with this audit section, and the headers of a request that it lets pass.
fn gateway(erp: SocketAddr, audit: &str) -> (SocketAddr, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = common::files(folder.path(), erp, 20, &format!("server:\n  threads: 1\n{audit}"));
    let app = App::build(&config, &common::world()).unwrap_or_else(|error| panic!("{error}"));
    let (address, control) = (app.addresses()[0], Arc::clone(app.control()));
    std::thread::spawn(move || app.run().expect("runs"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let run = |command| runtime.block_on(control.run(Caller::admin(Actor::System), command)).expect("done");
    let api_key = Some(SecretText::new(Secret::new("erp-side-key".into())));
    run(Command::UpstreamSecretSet {
        upstream: "erp".parse().expect("a name"),
        account: None,
        username: None,
        password: None,
        api_key,
    });
    run(Command::AccountCreate { name: "acme".parse().expect("a name"), labels: Vec::new() });
    let issued = run(Command::CredentialIssue(Box::new(NewSet::bounded(
        "acme".parse().expect("a name"),
        "bench",
        vec!["all".parse().expect("a name")],
    ))));
    wait_for(address);
    let text = |key: &str| issued[key].as_str().expect("a text");
    let headers = format!(
        "Authorization: Basic {}\r\nx-api-key: {}\r\n",
        basic(text("client_id"), text("password")),
        text("api_key")
    );
    let mut stream = TcpStream::connect(address).expect("connected");
    let request =
        format!("POST /oauth/token HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}Content-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let token = answer.split("\"access_token\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a token");
    // The folder must outlive the gateway, which ends with the process.
    std::mem::forget(folder);
    (address, format!("Authorization: Bearer {token}\r\n"))
}

fn basic(id: &str, password: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("{id}:{password}"))
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_nodelay(true).expect("set");
    stream
}

fn wait_for(address: SocketAddr) {
    for _ in 0..500 {
        if TcpStream::connect(address).is_ok() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{address} does not accept");
}

/// A connection of the gateway ends after 1,000 requests, so the client takes a new one before.
const REQUESTS_PER_CONNECTION: u32 = 900;

/// A client that keeps its connection.
struct Client {
    address: SocketAddr,
    stream: TcpStream,
    sent: u32,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Client {
    fn new(address: SocketAddr, headers: &str) -> Self {
        let request = format!("GET /v1/things0/42 HTTP/1.1\r\nHost: a\r\n{headers}\r\n").into_bytes();
        Self { address, stream: connect(address), sent: 0, request, buffer: vec![0; 64 * 1024] }
    }

    fn get(&mut self) {
        if self.sent == REQUESTS_PER_CONNECTION {
            self.stream = connect(self.address);
            self.sent = 0;
        }
        self.sent += 1;
        self.stream.write_all(&self.request).expect("sent");
        let mut filled = 0;
        loop {
            let count = self.stream.read(self.buffer.get_mut(filled..).unwrap_or_default()).expect("read");
            assert!(count > 0, "the connection was closed");
            filled += count;
            let received = self.buffer.get(..filled).unwrap_or_default();
            if received.ends_with(BODY) {
                assert!(received.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(received));
                return;
            }
        }
    }
}

fn relay(criterion: &mut Criterion) {
    let erp = erp();
    let mut group = criterion.benchmark_group("relay 1 KiB");
    let mut client = Client::new(bare(erp), "");
    group.bench_function("bare Pingora", |bencher| bencher.iter(|| client.get()));
    for (name, audit) in [
        ("after_response", "audit:\n  guarantee: after_response\n"),
        ("before_relay, synchronous normal", "audit:\n  synchronous: normal\n"),
        ("before_relay, synchronous full", ""),
    ] {
        let (address, headers) = gateway(erp, audit);
        let mut client = Client::new(address, &headers);
        group.bench_function(name, |bencher| bencher.iter(|| client.get()));
    }
    group.finish();
}

criterion_group! {
    name = whole;
    config = Criterion::default().sample_size(20).warm_up_time(std::time::Duration::from_millis(200)).measurement_time(std::time::Duration::from_secs(2));
    targets = relay
}
criterion_main!(whole);
