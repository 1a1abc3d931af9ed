//! The whole relay on loopback, beside a bare Pingora proxy in the same run: what does the gateway cost?

#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on must fail")]

#[path = "common/client.rs"]
mod client;
mod common;
#[path = "common/roles.rs"]
mod roles;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use erp_access::app::App;

/// The ERP's answer ends with so many bytes.
const BODY: usize = 1 << 10;

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("an address")
}

fn erp() -> SocketAddr {
    let address = free_address();
    std::thread::spawn(move || roles::erp(address));
    wait_for(address);
    address
}

fn bare(erp: SocketAddr) -> SocketAddr {
    let address = free_address();
    std::thread::spawn(move || roles::bare(address, erp, None));
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
    let issued = client::issue(&control, &runtime);
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
            let head = memchr::memmem::find(received, b"\r\n\r\n");
            if head.is_some_and(|head| received.len() >= head + 4 + BODY) {
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
