//! How fast an operator gets answers from a long trail, while rows go on being written; and how fast it is verified.
//!
//! Builds its own data. `cargo bench --bench audit` takes 10 million rows for searching and a million for verifying;
//! `cargo test` runs the same code on a few thousand.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench that cannot go on must fail, prints what it found, and measures time"
)]

#[path = "common/trail.rs"]
mod trail;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use erp_access::audit::{
    AuditSettings, Auditor, Decision, End, Entry, Filter, Guarantee, Kind, Outcome, Position, QueueSettings,
    Synchronous,
};
use erp_access::domain::{AccountId, Actor, Clock as _, CredentialId, RequestId, SystemClock, SystemEntropy, TokenId};
use erp_access::secrets::{AppKey, KeyRing};

use trail::{Spread, fill};

/// Rows written each second while searches run.
const RATE: u64 = 2000;
/// Searches of each kind.
const SAMPLES: u64 = 40;

fn main() {
    let whole = std::env::args().any(|argument| argument == "--bench");
    let rows = std::env::var("ERP_ACCESS_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    let (rows, verified) = if whole { (rows.unwrap_or(10_000_000), 1_000_000) } else { (20_000, 5_000) };
    search(rows);
    verify(verified);
}

fn open(folder: &Path) -> Auditor {
    let settings = AuditSettings {
        directory: folder.to_owned(),
        synchronous: Synchronous::Full,
        busy_timeout: Duration::from_secs(5),
    };
    Auditor::migrate(&settings).expect("migrated");
    let queue = QueueSettings {
        rows: 8192,
        bytes: 64 << 20,
        preview_bytes: 1024,
        reserve_timeout: Duration::from_secs(10),
        fold_after: 20,
        stalled_after: Duration::from_secs(10),
        guarantee: Guarantee::AfterResponse,
        node: "bench".into(),
    };
    let ring = KeyRing::new(&AppKey::generate(&SystemEntropy).expect("entropy"), &[]).expect("derived");
    Auditor::open(&settings, queue, Arc::new(ring), Arc::new(SystemClock::default())).expect("opened")
}

// --- searching ---

fn id(table: u64, number: u64) -> [u8; 16] {
    (u128::from(table) << 64 | u128::from(number)).to_be_bytes()
}

fn search(rows: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    drop(open(folder.path()));
    let started = Instant::now();
    let spread = Spread { rows, from: 1_700_000_000_000_000, step: 500, accounts: 1000, sets: 5000 };
    fill(&folder.path().join("audit.db"), &spread);
    println!("{rows} rows built in {:.0?}", started.elapsed());
    let auditor = open(folder.path());
    let started = Instant::now();
    while auditor.index_lag().expect("read") > 0 {
        std::thread::sleep(Duration::from_millis(50));
    }
    let size = |name: &str| std::fs::metadata(folder.path().join(name)).map_or(0, |file| file.len() >> 20);
    println!(
        "indexed in {:.0?}; the trail takes {} MiB, its index {} MiB",
        started.elapsed(),
        size("audit.db"),
        size("audit-index.db")
    );
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| write(&auditor, &stop, &written));
        let began = Instant::now();
        measure(&auditor, rows);
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = written.load(Ordering::Relaxed) * 1000 / millis;
        stop.store(true, Ordering::Relaxed);
        writing.join().expect("ended");
        println!(
            "{rate} rows/s were written meanwhile; the index was {} records behind",
            auditor.index_lag().expect("read")
        );
    });
}

/// Relays at a steady rate, from clients of their own.
fn write(auditor: &Auditor, stop: &AtomicBool, written: &AtomicU64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let clock = SystemClock::default();
    runtime.block_on(async {
        let began = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let due = u64::try_from(began.elapsed().as_millis()).unwrap_or(0) * RATE / 1000;
            while written.load(Ordering::Relaxed) < due {
                relay(auditor, &clock, written.fetch_add(1, Ordering::Relaxed)).await;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}

async fn relay(auditor: &Auditor, clock: &SystemClock, number: u64) {
    let credential = CredentialId::from_bytes(id(2, number % 5000));
    let entry = Entry {
        actor: Actor::Credential(credential),
        credential: Some(credential),
        account: Some(AccountId::from_bytes(id(1, number % 1000))),
        token: Some(TokenId::from_bytes(id(3, number % 100_000))),
        client: Some([10, 1, 2, 3].into()),
        correlation: Some(format!("new-{number}")),
        method: "GET".into(),
        path: format!("/v1/orders/{number}"),
        decision: Decision::Allowed,
        ..Entry::new(RequestId::new(clock.now(), &SystemEntropy).expect("entropy"), Kind::Relay, clock.now())
    };
    let row = auditor.reserve().await.expect("room").open_row(entry).await.expect("queued");
    row.close(Outcome { status: Some(200), attempts: 1, ..Outcome::of(End::Completed, clock.now()) });
}

type Ask<'a> = Box<dyn Fn(u64) -> Filter + 'a>;

fn measure(auditor: &Auditor, rows: u64) {
    let none = || Filter { last: 100, ..Filter::default() };
    // Numbers spread over the whole trail.
    let spread = |sample: u64, of: u64| (sample + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) % of;
    let at = |sample: u64| {
        jiff::Timestamp::from_microsecond(
            1_700_000_000_000_000 + i64::try_from(spread(sample, rows) * 500).expect("small"),
        )
        .expect("a time")
    };
    let asks: Vec<(&str, Ask<'_>)> = vec![
        ("request id", Box::new(|n| Filter { id: Some(RequestId::from_bytes(id(0, spread(n, rows)))), ..none() })),
        ("correlation", Box::new(|n| Filter { correlation: Some(format!("order-{}", spread(n, rows))), ..none() })),
        ("token", Box::new(|n| Filter { token: Some(TokenId::from_bytes(id(3, spread(n, 100_000)))), ..none() })),
        (
            "credential, newest 100",
            Box::new(|n| Filter { credential: Some(CredentialId::from_bytes(id(2, spread(n, 5000)))), ..none() }),
        ),
        (
            "account, newest 100",
            Box::new(|n| Filter { account: Some(AccountId::from_bytes(id(1, spread(n, 1000)))), ..none() }),
        ),
        ("client address", Box::new(|n| Filter { client: Some(format!("10.3.{}.17", n % 250)), ..none() })),
        ("actor that is rare", Box::new(|n| Filter { actor: Some(format!("operator:{n}")), ..none() })),
        (
            "status 500 of one account",
            Box::new(|n| Filter {
                account: Some(AccountId::from_bytes(id(1, spread(n, 1000)))),
                upstream_status: Some(500),
                last: 20,
                ..Filter::default()
            }),
        ),
        (
            "one minute long ago",
            Box::new(|n| Filter {
                since: Some(at(n)),
                until: at(n).checked_add(Duration::from_mins(1)).ok(),
                ..none()
            }),
        ),
        ("newest 100", Box::new(|_| none())),
    ];
    println!("{:<28} {:>10} {:>10} {:>10} {:>10}   rows", "search by", "median", "p95", "longest", "mean CPU");
    for (name, ask) in asks {
        let (mut found, mut work) = (0, Duration::ZERO);
        let mut times: Vec<Duration> = (0..SAMPLES)
            .map(|sample| {
                let filter = ask(sample);
                let (started, used) = (Instant::now(), cpu());
                found += auditor.search(&filter).expect("read").len();
                work += cpu().saturating_sub(used);
                started.elapsed()
            })
            .collect();
        times.sort_unstable();
        let place = |percent: usize| times.get((times.len() - 1) * percent / 100).copied().unwrap_or_default();
        let millis = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
        let mean = millis(work / u32::try_from(SAMPLES).unwrap_or(1));
        let (median, p95, longest) = (millis(place(50)), millis(place(95)), millis(place(100)));
        println!("{name:<28} {median:>10} {p95:>10} {longest:>10} {mean:>10}   {found}");
    }
}

/// CPU time of this thread: what a search costs, however busy the machine is.
fn cpu() -> Duration {
    let said = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = said.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

// --- verifying ---

fn verify(rows: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let auditor = open(folder.path());
    let clock = SystemClock::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let started = Instant::now();
    runtime.block_on(async {
        for number in 0..rows {
            relay(&auditor, &clock, number).await;
        }
    });
    auditor.stop();
    let built = started.elapsed();
    let started = Instant::now();
    let mut position = Position::default();
    loop {
        let progress = auditor.verify(position, None, None).expect("read");
        assert!(progress.findings.is_empty(), "{:?}", progress.findings);
        position = progress.position;
        if progress.done {
            break;
        }
    }
    let took = started.elapsed();
    println!("{rows} relays ({} records) were written in {built:.1?} and verified in {took:.2?}", position.records);
}
