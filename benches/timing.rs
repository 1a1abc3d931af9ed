//! Does the time of an answer tell more than the answer? Refusals of the token endpoint, interleaved at random, and how
//! often one kind is slower than another.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a measurement that cannot go on must fail, and says what it measures"
)]

#[path = "common/client.rs"]
mod client;
mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use erp_access::app::App;
use erp_access::control::{Caller, Command, NewSet};
use erp_access::domain::{
    Actor, Clock as _, CredentialId, Entropy as _, IssuedKind, IssuedSecret, SystemClock, SystemEntropy,
};
use serde_json::Value;

/// Who asks, with what.
struct Kind {
    name: &'static str,
    request: Vec<u8>,
    milliseconds: Vec<f64>,
}

impl Kind {
    fn new(name: &'static str, id: &str, password: &str, api_key: &str) -> Self {
        let basic = STANDARD.encode(format!("{id}:{password}"));
        let request = format!(
            "POST /oauth/token HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Basic {basic}\r\nx-api-key: {api_key}\r\nContent-Length: 0\r\n\r\n"
        );
        Self { name, request: request.into_bytes(), milliseconds: Vec::new() }
    }

    fn ask(&mut self, address: SocketAddr) {
        let mut stream = TcpStream::connect(address).expect("connected");
        stream.set_nodelay(true).expect("set");
        let began = Instant::now();
        stream.write_all(&self.request).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answered");
        self.milliseconds.push(began.elapsed().as_secs_f64() * 1000.0);
        assert!(answer.starts_with(b"HTTP/1.1 401"), "{}: {}", self.name, answer.escape_ascii());
    }

    fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.milliseconds.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the list")]
        let place = (part * (sorted.len() - 1) as f64) as usize;
        sorted[place]
    }

    /// How often this is slower than the other, of all pairs: a half tells nothing.
    fn is_slower_than(&self, other: &Self) -> f64 {
        let pairs =
            self.milliseconds.iter().flat_map(|one| other.milliseconds.iter().map(move |two| one.total_cmp(two)));
        let wins: f64 = pairs
            .map(|order| match order {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            })
            .sum();
        wins / (self.milliseconds.len() * other.milliseconds.len()) as f64
    }
}

fn main() {
    let thorough = std::env::args().any(|word| word == "--bench");
    let rounds = if thorough { 400 } else { 3 };
    let folder = tempfile::tempdir().expect("a folder");
    let unslowed =
        "tokens:\n  attempts_per_client: 100000\n  attempts_per_address: 100000\naudit:\n  fold_after: 1000000\n";
    let config = common::files(folder.path(), ([127, 0, 0, 1], 1).into(), 1, unslowed);
    let app = App::build(&config, &common::world()).unwrap_or_else(|error| panic!("{error}"));
    let (address, control) = (app.addresses()[0], Arc::clone(app.control()));
    std::thread::spawn(move || app.run().expect("runs"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let live = client::issue(&control, &runtime);
    let run = |command| runtime.block_on(control.run(Caller::admin(Actor::System), command)).expect("done");
    let another = NewSet::bounded("acme".parse().expect("a name"), "gone", Vec::new());
    let gone = run(Command::CredentialIssue(Box::new(another)));
    let text = |issued: &Value, key: &str| issued[key].as_str().expect("a text").to_owned();
    let id: CredentialId = text(&gone, "client_id").parse().expect("an id");
    run(Command::CredentialRevoke { id });
    while TcpStream::connect(address).is_err() {
        std::thread::yield_now();
    }
    let unknown = CredentialId::new(SystemClock::default().now(), &SystemEntropy).expect("entropy").to_string();
    let secret = |kind| IssuedSecret::generate(kind, &SystemEntropy).expect("entropy").secret().expose().to_owned();
    let (wrong, other_key) = (secret(IssuedKind::Password), secret(IssuedKind::ApiKey));
    let [id, password, key] = ["client_id", "password", "api_key"].map(|name| text(&live, name));
    let mut kinds = [
        Kind::new("unknown client", &unknown, &wrong, &other_key),
        Kind::new("known client, wrong x-api-key", &id, &password, &other_key),
        Kind::new("known client and x-api-key, wrong password", &id, &wrong, &key),
        Kind::new("revoked client", &text(&gone, "client_id"), &text(&gone, "password"), &text(&gone, "api_key")),
    ];
    let mut random = vec![0; rounds * kinds.len()];
    SystemEntropy.fill(&mut random).expect("entropy");
    for first in random.chunks(kinds.len()) {
        // Each kind once, beginning anywhere.
        for turn in 0..kinds.len() {
            let place = (turn + usize::from(first[0])) % kinds.len();
            kinds[place].ask(address);
        }
    }
    println!("| refused | median ms | 95 of 100 | slower than an unknown client |\n|---|---:|---:|---:|");
    for kind in &kinds {
        let slower = kind.is_slower_than(&kinds[0]);
        println!("| {} | {:.2} | {:.2} | {:.3} |", kind.name, kind.quantile(0.5), kind.quantile(0.95), slower);
    }
    // Whoever has no x-api-key must not learn whether a client exists.
    let tells = kinds[1].is_slower_than(&kinds[0]);
    assert!(!thorough || (0.42..0.58).contains(&tells), "a known client is slower in {tells:.3} of all pairs");
}
