//! `./dev soak`: does memory stay flat under mixed load, and do others notice clients that hold connections?

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use super::drive::{Counted, at_rate, saturate};
use super::report::median;
use super::subjects::{Kind, Subject, Surroundings};
use super::{SCENARIOS, work};

/// Share of what it can do at most at which it is kept.
const SHARE: f64 = 0.3;
/// What memory may grow by from the second quarter to the last.
const GROWTH: f64 = 1.05;

/// Mixed load for so long; says how memory went, and whether it is flat.
pub(crate) fn soak(around: &Surroundings, time: Duration) -> bool {
    let subject = Subject::start(Kind::BeforeRelay, around, "");
    let scenarios: Vec<_> = SCENARIOS.iter().filter(|scenario| scenario.name != "download").collect();
    let rates: Vec<f64> = scenarios
        .iter()
        .map(|scenario| {
            let counted = saturate(&work(scenario, &subject), Duration::from_millis(500));
            SHARE * counted.answered as f64 / counted.elapsed.as_secs_f64()
        })
        .collect();
    println!("| minute | requests | failed | anonymous memory MiB | open files |\n|---:|---:|---:|---:|---:|");
    let (began, mut memory, mut answered, mut failed) = (Instant::now(), Vec::new(), 0, 0);
    let window = time / 60;
    while began.elapsed() < time {
        let each = window / u32::try_from(scenarios.len()).expect("few");
        for (scenario, rate) in scenarios.iter().zip(&rates) {
            let counted = at_rate(&work(scenario, &subject), *rate, each);
            answered += counted.answered;
            failed += counted.failed;
        }
        memory.push(subject.memory("RssAnon:") / 1024.0);
        println!(
            "| {:.1} | {answered} | {failed} | {:.1} | {} |",
            began.elapsed().as_secs_f64() / 60.0,
            memory.last().expect("one"),
            subject.open_files()
        );
    }
    let quarter = memory.len() / 4;
    let (early, late) = (&memory[quarter..2 * quarter], &memory[memory.len() - quarter..]);
    let (early, late) = (median(&mut early.to_vec()), median(&mut late.to_vec()));
    let flat = late <= early * GROWTH && failed == 0;
    let word = if flat { "flat" } else { "NOT flat" };
    println!(
        "\nmemory is {word}: {early:.1} MiB in the second quarter, {late:.1} MiB in the last; {answered} requests, {failed} failed"
    );
    flat
}

/// Clients that send their heads a byte at a time, while others ask as before; whether the others' p99 is within twice.
pub(crate) fn slowloris(around: &Surroundings, connections: usize, rounds: usize, time: Duration) -> bool {
    let subject = Subject::start(Kind::BeforeRelay, around, "");
    let work = work(&SCENARIOS[0], &subject);
    let counted = saturate(&work, time);
    let rate = counted.answered as f64 / counted.elapsed.as_secs_f64() / 2.0;
    let (mut quiet, mut beside, mut failed) = (Vec::new(), Vec::new(), 0);
    let mut note = |counted: Counted, tails: &mut Vec<f64>| {
        let mut latencies = counted.latencies;
        latencies.sort_unstable();
        tails.push(f64::from(latencies[latencies.len() * 99 / 100]));
        failed += counted.failed;
    };
    for _ in 0..rounds {
        note(at_rate(&work, rate, time), &mut quiet);
        let slow = Slow::start(subject.plain, connections);
        note(at_rate(&work, rate, time), &mut beside);
        println!("{} slow connections were open", slow.open());
    }
    let (quiet, beside) = (median(&mut quiet), median(&mut beside));
    println!(
        "p99 at half load ({rate:.0} requests/s): {quiet:.0} µs without, {beside:.0} µs beside {connections} slow connections: {:.2} times; {failed} failed",
        beside / quiet
    );
    beside <= 2.0 * quiet && failed == 0
}

/// Connections that send a byte each second and begin anew when they are closed.
struct Slow {
    open: Arc<AtomicUsize>,
    _runtime: tokio::runtime::Runtime,
}

impl Slow {
    fn start(address: SocketAddr, connections: usize) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let open = Arc::new(AtomicUsize::new(0));
        for number in 0..connections {
            // From several addresses: one may not have so many.
            let last = u8::try_from(2 + number / 500).expect("few");
            let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0);
            // Not all in the same moment of each second: that would be a flood of another kind.
            let phase =
                Duration::from_secs(1) * u32::try_from(number).expect("few") / u32::try_from(connections).expect("few");
            runtime.spawn(crawl(address, from, phase, Arc::clone(&open)));
        }
        for _ in 0..1000 {
            if open.load(Ordering::Relaxed) >= connections {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { open, _runtime: runtime }
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

async fn crawl(address: SocketAddr, from: SocketAddr, phase: Duration, open: Arc<AtomicUsize>) {
    loop {
        let socket = TcpSocket::new_v4().expect("a socket");
        if socket.bind(from).is_ok()
            && let Ok(mut stream) = socket.connect(address).await
        {
            open.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(phase).await;
            for byte in b"GET /v1/item HTTP/1.1\r\nHost: api.example\r\nX-Slow: ".iter().cycle() {
                let sent = stream.write_all(&[*byte]).await;
                let mut answer = [0; 1];
                let waited = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut answer)).await;
                if sent.is_err() || waited.is_ok() {
                    break;
                }
            }
            open.fetch_sub(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
