//! One process takes over from another: no request fails, no row is lost, and the service manager is told the truth.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::certificates::{Authority, Validity};
use crate::support::gateway::Setup;
use crate::support::http::Connection;
use crate::support::http2_client::{Dial, Http2Client};
use crate::support::prepared::Prepared;
use crate::support::process::{self, free_address};
use crate::support::recorder::Recorder;
use crate::support::service_manager::ServiceManager;

/// Clients that ask all the time, and what went wrong.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

/// A client that sends one request after the other, on one connection as long as it lasts or on a new one each time.
struct Asking {
    address: SocketAddr,
    token: String,
    keep: bool,
}

impl Asking {
    fn once(&self, kept: &mut Option<Connection>) -> Result<(), String> {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::try_open(self.address).map_err(|error| format!("connect: {error}"))?,
        };
        let close = if self.keep { "" } else { "Connection: close\r\n" };
        let (host, token) = (self.address, &self.token);
        let request =
            format!("GET /v1/orders HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{close}\r\n");
        connection.send(request.as_bytes()).map_err(|error| format!("send: {error}"))?;
        let answer = connection.response(false).ok_or("the connection ended without an answer")?;
        if answer.status != 200 || !answer.whole {
            return Err(format!("{}: {}", answer.status, answer.text()));
        }
        let last = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if self.keep && !last {
            *kept = Some(connection);
        }
        Ok(())
    }
}

/// A client of HTTP/2 that goes elsewhere when it is told that the gateway leaves.
struct AskingOverHttp2 {
    address: SocketAddr,
    authority: Arc<Authority>,
    token: String,
}

impl AskingOverHttp2 {
    fn once(&self, kept: &mut Option<Http2Client>) -> Result<(), String> {
        // What GOAWAY says was not taken is sent again (RFC 9113 section 6.8), which each library does by itself.
        match self.on(kept) {
            Err(error) if error.ends_with("connection error received: not a result of an error") => self.on(kept),
            done => done,
        }
    }

    fn on(&self, kept: &mut Option<Http2Client>) -> Result<(), String> {
        let mut client = if let Some(client) = kept.take().filter(Http2Client::is_open) {
            client
        } else {
            let dial = Dial { authority: &self.authority, name: HOST, shows: None };
            Http2Client::try_connect(self.address, &dial).map_err(|error| format!("connect: {error}"))?
        };
        let bearer = format!("Bearer {}", self.token);
        let answer = client.try_ask("GET", "/v1/orders", &[("authorization", &bearer)], None)?;
        if answer.status != 200 {
            return Err(format!("{}: {}", answer.status, answer.text()));
        }
        *kept = Some(client);
        Ok(())
    }
}

impl Load {
    fn start(address: SocketAddr, over_tls: SocketAddr, authority: &Arc<Authority>, token: &str) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut load = Self { stop, served, clients: Vec::new() };
        for number in 0..14 {
            let keep = number < 10;
            let pause = Duration::from_millis(if keep { 25 } else { 40 });
            let asking = Asking { address, token: token.to_owned(), keep };
            load.add(pause, move |kept| asking.once(kept));
        }
        for _ in 0..4 {
            let asking =
                AskingOverHttp2 { address: over_tls, authority: Arc::clone(authority), token: token.to_owned() };
            let once = move |kept: &mut _| asking.once(kept).map_err(|failure| format!("HTTP/2: {failure}"));
            load.add(Duration::from_millis(25), once);
        }
        load
    }

    /// A client that asks, pauses and asks again, with what it keeps from one time to the next.
    fn add<K>(&mut self, pause: Duration, ask: impl Fn(&mut Option<K>) -> Result<(), String> + Send + 'static) {
        let (stop, served) = (Arc::clone(&self.stop), Arc::clone(&self.served));
        self.clients.push(std::thread::spawn(move || {
            let (mut kept, mut failures) = (None, Vec::new());
            while !stop.load(Ordering::Relaxed) {
                match ask(&mut kept) {
                    Ok(()) => drop(served.fetch_add(1, Ordering::Relaxed)),
                    Err(failure) => failures.push(failure),
                }
                std::thread::sleep(pause);
            }
            failures
        }));
    }

    /// Waits until so many more were served.
    fn goes_on(&self, more: usize) {
        let goal = self.served.load(Ordering::Relaxed) + more;
        for _ in 0..3000 {
            if self.served.load(Ordering::Relaxed) >= goal || self.clients.iter().any(JoinHandle::is_finished) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} were served, {goal} expected", self.served.load(Ordering::Relaxed));
    }

    fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.clients.into_iter().flat_map(|client| client.join().expect("a client")).collect();
        (self.served.load(Ordering::Relaxed), failures)
    }
}

const ROUNDS: usize = 4;
const HOST: &str = "api.example";

#[test]
fn a_restart_under_load_fails_no_request_and_loses_no_row() {
    let erp = Recorder::answering("application/json", &[], b"[]");
    let (address, over_tls) = (free_address(), free_address());
    let listen = format!(
        "  plain_listen: [\"{address}\"]\n  tls: {{ certificates: {{ main: {{ chain_file: main.pem, key_file: main.key }} }} }}\n"
    );
    let authority = Arc::new(Authority::new("an authority"));
    let setup = Setup::new(erp.address()).config("audit:\n  guarantee: before_relay\n").gateway(&listen);
    let prepared = Prepared::of(setup);
    let folder = prepared.folder.path();
    authority.issue(HOST, Validity::Now).write(folder, "main");
    let mut manager = ServiceManager::new(folder);
    let mut service = manager.start(folder, over_tls);
    assert_eq!(manager.kept.len(), 2, "the sockets are kept: {:?}", manager.heard);
    let load = Load::start(address, over_tls, &authority, &prepared.token(address));
    load.goes_on(200);
    for round in 1..=ROUNDS {
        assert!(service.terminate(), "round {round}\n{}", process::log(folder));
        manager.hear();
        assert!(manager.heard.iter().any(|line| line == "STOPPING=1"), "{:?}", manager.heard);
        service = manager.start(folder, over_tls);
        // A change by the second owner is not lost by the third.
        process::succeed(folder, &["account", "create", &format!("round-{round}")], "");
        load.goes_on(200);
    }
    let (served, failures) = load.end();
    assert!(failures.is_empty(), "{} of {served} failed: {:?}", failures.len(), &failures[..failures.len().min(5)]);
    assert!(service.terminate());
    assert!(!process::log(folder).contains("were cut off"), "{}", process::log(folder));
    let rows: (i64, i64) = prepared
        .audit()
        .query_row(
            "SELECT count(*), count(*) FILTER (WHERE seq NOT IN (SELECT decision_seq FROM outcome WHERE status = 200))
             FROM decision WHERE kind = 'relay'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("counted");
    assert_eq!(rows, (i64::try_from(served).expect("a number"), 0), "each request has one row, with how it ended");
    assert_eq!(erp.count(), served);
    process::succeed(folder, &["audit", "verify"], "");
    let accounts = process::succeed(folder, &["account", "list", "-o", "json"], "");
    assert!((1..=ROUNDS).all(|round| accounts.contains(&format!("round-{round}"))), "{accounts}");
}

#[test]
fn an_idle_connection_is_answered_once_more_while_the_gateway_stops() {
    let erp = Recorder::answering("application/json", &[], b"[]");
    let prepared = Prepared::new(erp.address(), "");
    let folder = prepared.folder.path();
    let address = free_address();
    let mut manager = ServiceManager::new(folder);
    let mut service = manager.start(folder, address);
    let asking = Asking { address, token: prepared.token(address), keep: true };
    let mut kept = None;
    asking.once(&mut kept).expect("served");
    assert!(kept.is_some(), "the connection stays open");
    service.signal("TERM");
    manager.hear_until("STOPPING=1", &mut service, folder);
    // A second client waits in the queue of the socket meanwhile.
    let waiting = std::thread::spawn({
        let asking = Asking { address, token: asking.token.clone(), keep: false };
        move || asking.once(&mut None)
    });
    asking.once(&mut kept).expect("served while it stops");
    assert!(kept.is_none(), "it was told that this was the last");
    assert!(service.child.wait().expect("ended").success());
    let second = manager.start(folder, address);
    waiting.join().expect("a client").expect("served by the next process");
    assert!(second.terminate());
}

#[test]
fn a_socket_whose_address_is_gone_is_given_back_and_the_gateway_says_that_it_lives() {
    let erp = Recorder::answering("application/json", &[], b"[]");
    let prepared = Prepared::new(erp.address(), "");
    let folder = prepared.folder.path();
    let (before, after) = (free_address(), free_address());
    let mut manager = ServiceManager::new(folder).with_watchdog(Duration::from_secs(2));
    let mut service = manager.start(folder, before);
    manager.hear_until("WATCHDOG=1", &mut service, folder);
    assert!(service.terminate());
    let service = manager.start(folder, after);
    manager.hear();
    let kept: Vec<&str> = manager.kept.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(kept, [after.to_string().replace(':', "_")]);
    assert!(Connection::try_open(before).is_err(), "nobody listens there");
    assert!(Connection::try_open(after).is_ok());
    assert!(service.terminate());
}
