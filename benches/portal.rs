//! How long the portal's pages take, and what they weigh, where there is much: 1,000 accounts, 10,000 credential sets and
//! 10 million audit rows.
//!
//! `cargo bench --bench portal` builds all of that; `cargo test` runs the same code on a little. What a page weighs is
//! asserted; how long it takes is told.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench that cannot go on must fail, prints what it found, and measures time"
)]

mod common;
#[path = "common/trail.rs"]
mod trail;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use erp_access::app::App;
use erp_access::control::{Caller, Command, Control};
use erp_access::domain::{Actor, Clock as _, Role, SystemClock};

use trail::{Spread, fill};

const PASSWORD: &str = "heather canyon mosaic 42";
/// The most that a page may weigh with all that it loads, in bytes.
const HEAVIEST: usize = 150_000;
/// How long a page should take at most.
const SLOWEST: Duration = Duration::from_millis(50);
/// Two days, in microseconds.
const SPAN: i64 = 2 * 86_400_000_000;
const ENDPOINTS: usize = 500;

fn main() {
    let whole = std::env::args().any(|argument| argument == "--bench");
    let asked = std::env::var("ERP_ACCESS_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    let (accounts, sets, rows) = if whole { (1_000, 10_000, asked.unwrap_or(10_000_000)) } else { (50, 500, 5_000) };
    let samples = if whole { 20 } else { 1 };
    let folder = tempfile::tempdir().expect("a folder");
    let nobody: SocketAddr = "127.0.0.1:9".parse().expect("an address");
    let more = "server:\n  threads: 1\nportal:\n  listen: [\"127.0.0.1:0\"]\n";
    let config = common::files(folder.path(), nobody, ENDPOINTS, more);
    store(&folder.path().join("data/erp-access.db"), accounts, sets);
    let now = SystemClock::default().now().as_microsecond();
    let step = SPAN / i64::try_from(rows).expect("a number").max(1);
    let spread = Spread { rows, from: now - SPAN, step, accounts, sets };
    let started = Instant::now();
    fill(&folder.path().join("data/audit.db"), &spread);
    println!("{rows} rows built in {:.0?}", started.elapsed());
    let started = Instant::now();
    let app = App::build(&config, &common::world()).unwrap_or_else(|error| panic!("{error}"));
    println!("started in {:.1?}", started.elapsed());
    let address = *app.portal_addresses().first().expect("the portal is served");
    let control = Arc::clone(app.control());
    let switch = app.stop();
    let running = std::thread::spawn(move || app.run().expect("runs"));
    while control.auditor.index_lag().expect("read") > 0 {
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("indexed in {:.0?}", started.elapsed());
    let assets: usize = ["portal.css", "portal.js", "htmx.min.js"]
        .map(|name| Browser::at(address).get(&format!("/assets/{name}")).1.len())
        .iter()
        .sum();
    println!("style and scripts, loaded once: {assets} bytes");
    println!("{:<58} {:>9} {:>9} {:>9} {:>9} {:>9}", "page", "first", "median", "p95", "longest", "bytes");
    let mut slow = Vec::new();
    let mut staff = sign_in(&control, address, "aude", Role::Auditor, None);
    for page in pages(accounts, sets, rows) {
        measure(&mut staff, "", &page, assets, samples, &mut slow);
    }
    let mut client = sign_in(&control, address, "carla", Role::Client, Some("account-7"));
    let own = set_id(7);
    for page in ["/", "/credentials", "/api", "/guide", "/audit", &format!("/credentials/{own}")] {
        measure(&mut client, "client ", page, assets, samples, &mut slow);
    }
    if whole {
        match slow.as_slice() {
            [] => println!("no page took longer than {SLOWEST:?} (95 of 100)"),
            slow => println!("longer than {SLOWEST:?} (95 of 100): {}", slow.join(", ")),
        }
    }
    switch.now();
    running.join().expect("ended");
}

fn id(table: u64, number: u64) -> [u8; 16] {
    (u128::from(table) << 64 | u128::from(number)).to_be_bytes()
}

fn text(id: [u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(id));
    [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| hex.get(part).unwrap_or_default().to_owned()).join("-")
}

fn set_id(number: u64) -> String {
    text(id(2, number))
}

fn pages(accounts: u64, sets: u64, rows: u64) -> Vec<String> {
    let row = text(id(0, rows / 2));
    vec![
        "/".into(),
        "/accounts".into(),
        format!("/accounts?offset={}", accounts.saturating_sub(50)),
        "/accounts/account-7".into(),
        "/credentials".into(),
        format!("/credentials?sort=last_used_at&offset={}", sets.saturating_sub(100)),
        "/credentials?text=set-77&sort=created_at".into(),
        format!("/credentials/{}", set_id(7)),
        format!("/api?credential={}", set_id(7)),
        "/audit".into(),
        "/audit?account=account-7".into(),
        "/audit?code=not_permitted".into(),
        format!("/audit/any?id={row}"),
        format!("/audit/{row}"),
        "/audit/chain".into(),
        "/endpoints".into(),
        "/endpoints/e7".into(),
        "/grants".into(),
        "/policies".into(),
        "/policies/versions".into(),
        format!("/policies/explain?credential={}&method=GET&target=/v1/things7/1", set_id(7)),
        "/schedules".into(),
        "/upstreams".into(),
        "/users".into(),
        "/kill-switch".into(),
        "/doctor".into(),
        "/security".into(),
        "/me".into(),
    ]
}

fn measure(browser: &mut Browser, who: &str, page: &str, assets: usize, samples: usize, slow: &mut Vec<String>) {
    let once = |browser: &mut Browser| {
        let started = Instant::now();
        let (status, body) = browser.get(page);
        let took = started.elapsed();
        assert!(status == 200 || status == 303, "{page}: {status}");
        (took, body.len())
    };
    let (first, bytes) = once(browser);
    assert!(bytes + assets < HEAVIEST, "{page} weighs {bytes} bytes with {assets} of what it loads");
    let mut times: Vec<Duration> = (0..samples).map(|_| once(browser).0).collect();
    times.sort_unstable();
    let place = |percent: usize| times.get((times.len() - 1) * percent / 100).copied().unwrap_or_default();
    let millis = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    println!(
        "{:<58} {:>9} {:>9} {:>9} {:>9} {bytes:>9}",
        format!("{who}{}", page.chars().take(50).collect::<String>()),
        millis(first),
        millis(place(50)),
        millis(place(95)),
        millis(place(100))
    );
    if place(95) > SLOWEST || first > SLOWEST {
        slow.push(format!("{who}{page}"));
    }
}

// --- a browser ---

/// A connection that is kept, and a cookie.
struct Browser {
    stream: TcpStream,
    cookie: String,
}

impl Browser {
    fn at(address: SocketAddr) -> Self {
        for _ in 0..500 {
            if let Ok(stream) = TcpStream::connect(address) {
                stream.set_nodelay(true).expect("set");
                return Self { stream, cookie: String::new() };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{address} does not accept");
    }

    fn get(&mut self, target: &str) -> (u16, Vec<u8>) {
        self.ask("GET", target, "")
    }

    fn post(&mut self, target: &str, form: &[(&str, &str)]) -> u16 {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.ask("POST", target, &form).0
    }

    fn ask(&mut self, method: &str, target: &str, form: &str) -> (u16, Vec<u8>) {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\nCookie: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            self.cookie,
            form.len()
        );
        self.stream.write_all(request.as_bytes()).expect("sent");
        let mut bytes = Vec::new();
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let count = self.stream.read(&mut chunk).expect("read");
            assert!(count > 0, "{method} {target}: the connection ended");
            bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
            let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let text = String::from_utf8_lossy(bytes.get(..head).unwrap_or_default()).into_owned();
            let header = |name: &str| {
                let lines = text.lines().filter_map(|line| line.split_once(": "));
                lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
            };
            let length: usize = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            if bytes.len() < head + 4 + length {
                continue;
            }
            if let Some(cookie) = header("set-cookie").as_deref().and_then(|cookie| cookie.split(';').next()) {
                cookie.clone_into(&mut self.cookie);
            }
            let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
            return (status, bytes.split_off(head + 4));
        }
    }
}

fn sign_in(control: &Arc<Control>, address: SocketAddr, name: &str, role: Role, account: Option<&str>) -> Browser {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let account = account.map(|name| name.parse().expect("a name"));
    let command = Command::UserCreate { name: name.to_owned(), role, account };
    let created = runtime.block_on(control.run(Caller::admin(Actor::System), command)).expect("created");
    let first = created.get("password").and_then(serde_json::Value::as_str).expect("a password");
    let mut browser = Browser::at(address);
    assert_eq!(browser.post("/sign-in", &[("name", name), ("password", first)]), 303);
    assert_eq!(browser.post("/sign-in/password", &[("chosen", PASSWORD), ("again", PASSWORD)]), 303);
    browser
}

// --- what there is ---

/// Accounts, and sets of which each holds one policy; every tenth ends soon, and most were used.
fn store(file: &std::path::Path, accounts: u64, sets: u64) {
    let mut database = rusqlite::Connection::open(file).expect("opened");
    let transaction = database.transaction().expect("begun");
    let now = SystemClock::default().now().as_microsecond();
    let password = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for number in 0..accounts {
        transaction
            .prepare_cached(
                "INSERT INTO account (id, name, state, changed_at, created_at) VALUES (?1, ?2, 'active', 0, 0)",
            )
            .expect("prepared")
            .execute(rusqlite::params![id(1, number), format!("account-{number}")])
            .expect("inserted");
    }
    for number in 0..sets {
        let mut hash = [7_u8; 32];
        let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        hash.iter_mut().zip(mixed).for_each(|(byte, part)| *byte = part);
        let ends = (number % 10 == 0).then_some(now + 20 * 86_400_000_000);
        transaction
            .prepare_cached(
                "INSERT INTO credential (id, account, name, kind, state, password_hash, api_key_hash, created_at, changed_at,
                    hash_key, expires_at)
                 VALUES (?1, ?2, ?3, 'bounded', 'active', ?4, ?5, ?6, 0, x'00000000', ?7)",
            )
            .expect("prepared")
            .execute(rusqlite::params![
                id(2, number),
                id(1, number % accounts),
                format!("set-{number}"),
                password,
                hash,
                now - i64::try_from(number).expect("a number") * 60_000_000,
                ends
            ])
            .expect("inserted");
        let policy = if number % 3 == 0 { "conditioned" } else { "all" };
        transaction
            .prepare_cached("INSERT INTO granted (credential, policy, created_at) VALUES (?1, ?2, 0)")
            .expect("prepared")
            .execute(rusqlite::params![id(2, number), policy])
            .expect("inserted");
    }
    transaction.commit().expect("committed");
}
