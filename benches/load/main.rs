//! `./dev load`: what the gateway costs under load, beside a bare Pingora and beside what else could stand there, in
//! interleaved rounds of one run.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::format_push_string,
    clippy::format_collect,
    clippy::disallowed_methods,
    reason = "a measurement that cannot go on must fail, and says what it does"
)]

mod drive;
mod endure;
mod report;
#[path = "../common/roles.rs"]
mod roles;
mod subjects;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};

use drive::{Request, Work, at_rate, saturate};
use report::{Cell, Report, Table};
use subjects::{CORE_OF_OTHERS, Kind, Process, Subject, Surroundings, cores, free_address, on_core, wait_for};

/// What is asked for, and of whom.
struct Scenario {
    name: &'static str,
    about: &'static str,
    connections: usize,
    over: Over,
    /// Each request on a connection of its own.
    anew: bool,
    /// Only those who decide can deny.
    deciding: bool,
    requests: fn(&Subject) -> Vec<Request>,
}

/// What is spoken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Plain,
    Tls,
    Http2,
}

fn request(subject: &Subject, method: &'static str, target: &str, body: usize, status: u16) -> Request {
    let mut headers = vec![("authorization", format!("Bearer {}", subject.token)), ("user-agent", "load/1".to_owned())];
    if body > 0 {
        headers.push(("content-type", "application/json".to_owned()));
    }
    let body = if body > 0 { order(body) } else { Bytes::new() };
    Request { method, target: target.to_owned(), headers, body, status }
}

/// An order of so many bytes.
fn order(size: usize) -> Bytes {
    let mut text = String::from("{\"customer\":17,\"lines\":[");
    for number in 1.. {
        let line = format!("{{\"product\":\"A-{number}\",\"quantity\":{number},\"note\":\"as last time\"}},");
        if text.len() + line.len() + 4 > size {
            break;
        }
        text.push_str(&line);
    }
    text.push_str("{}]");
    text.push_str(&" ".repeat(size - 1 - text.len()));
    text.push('}');
    text.into()
}

fn get(subject: &Subject) -> Vec<Request> {
    vec![request(subject, "GET", "/v1/item", 0, 200)]
}

fn post(subject: &Subject) -> Vec<Request> {
    vec![request(subject, "POST", "/v1/item", 4096, 200)]
}

fn download(subject: &Subject) -> Vec<Request> {
    vec![request(subject, "GET", "/v1/download", 0, 200)]
}

fn denied(subject: &Subject) -> Vec<Request> {
    let of = |number| match number {
        0 => request(subject, "GET", "/v1/item", 0, 200),
        _ => request(subject, "GET", "/v1/nowhere", 0, 403),
    };
    (0..10).map(of).collect()
}

fn all_denied(subject: &Subject) -> Vec<Request> {
    vec![request(subject, "GET", "/v1/nowhere", 0, 403)]
}

fn conditions(subject: &Subject) -> Vec<Request> {
    (1..50).map(|number| request(subject, "GET", &format!("/v1/orders/{number}?limit=10"), 0, 200)).collect()
}

const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "get",
        about: "GET of 1 KiB, connections kept",
        connections: 32,
        over: Over::Plain,
        anew: false,
        deciding: false,
        requests: get,
    },
    Scenario {
        name: "denied",
        about: "90 of 100 denied (not mapped), connections kept",
        connections: 32,
        over: Over::Plain,
        anew: false,
        deciding: true,
        requests: denied,
    },
    Scenario {
        name: "all-denied",
        about: "all denied (not mapped), connections kept",
        connections: 32,
        over: Over::Plain,
        anew: false,
        deciding: true,
        requests: all_denied,
    },
    Scenario {
        name: "post",
        about: "POST of 4 KiB, connections kept",
        connections: 32,
        over: Over::Plain,
        anew: false,
        deciding: false,
        requests: post,
    },
    Scenario {
        name: "conditions",
        about: "GET under three policies with conditions",
        connections: 32,
        over: Over::Plain,
        anew: false,
        deciding: false,
        requests: conditions,
    },
    Scenario {
        name: "tls",
        about: "GET of 1 KiB over TLS 1.3, connections kept",
        connections: 32,
        over: Over::Tls,
        anew: false,
        deciding: false,
        requests: get,
    },
    Scenario {
        name: "http2",
        about: "GET of 1 KiB over HTTP/2, 32 connections",
        connections: 32,
        over: Over::Http2,
        anew: false,
        deciding: false,
        requests: get,
    },
    Scenario {
        name: "connect",
        about: "GET of 1 KiB, a new connection each",
        connections: 16,
        over: Over::Plain,
        anew: true,
        deciding: false,
        requests: get,
    },
    Scenario {
        name: "download",
        about: "GET of 1 MiB, connections kept",
        connections: 8,
        over: Over::Plain,
        anew: false,
        deciding: false,
        requests: download,
    },
];

/// Those of a run that is to be short.
const QUICK: [&str; 3] = ["get", "denied", "all-denied"];

/// How much is measured.
struct Extent {
    rounds: usize,
    time: Duration,
    scenarios: Vec<&'static Scenario>,
    kinds: Vec<Kind>,
    tokens: u32,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let address = |text: &str| text.parse().expect("an address");
    match words.as_slice() {
        ["erp", at] => roles::erp(address(at)),
        ["bare", plain, tls, erp, certificate, key] => {
            roles::bare(address(plain), address(erp), Some(roles::OverTls { address: address(tls), certificate, key }));
        }
        _ => measure(&words),
    }
}

/// What stands behind a word.
fn value<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1)).copied()
}

fn extent(words: &[&str]) -> Extent {
    let value = |name| value(words, name);
    let quick = words.contains(&"--quick");
    // Without `--bench` it is run by `cargo test`: once, so that it cannot rot.
    let once = !words.contains(&"--bench");
    let only = value("--only").map(|names| names.split(',').collect::<Vec<_>>());
    let wanted = |scenario: &&Scenario| match &only {
        Some(only) => only.contains(&scenario.name),
        None => !(quick || once) || QUICK.contains(&scenario.name),
    };
    let scenarios = SCENARIOS.iter().filter(wanted).collect();
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| kind.is_there() && (!once || *kind == Kind::Bare || kind.is_ours()))
        .collect();
    let rounds = value("--rounds").map(|rounds| rounds.parse().expect("a number"));
    let time = value("--seconds").map(|seconds| Duration::from_secs_f64(seconds.parse().expect("a number")));
    Extent {
        rounds: rounds.unwrap_or(if once {
            1
        } else if quick {
            3
        } else {
            5
        }),
        time: time.unwrap_or(if once {
            Duration::from_millis(50)
        } else if quick {
            Duration::from_secs(1)
        } else {
            Duration::from_secs(2)
        }),
        scenarios,
        kinds,
        tokens: if quick || once || only.is_some() { 0 } else { 1_000_000 },
    }
}

fn measure(words: &[&str]) {
    let extent = extent(words);
    pin(CORE_OF_OTHERS);
    let folder = tempfile::tempdir().expect("a folder");
    let around = surroundings(folder.path());
    let mut command = on_core(CORE_OF_OTHERS, &std::env::current_exe().expect("this program"));
    command.args(["erp", &around.erp.to_string()]);
    let mut erp = Process(command.spawn().expect("the ERP starts"));
    wait_for(around.erp, &mut erp);
    if let Some(minutes) = value(words, "--soak") {
        let time = Duration::from_secs_f64(60.0 * minutes.parse::<f64>().expect("a number"));
        let unnoticed = endure::slowloris(&around, 2000, extent.rounds, extent.time);
        let flat = endure::soak(&around, time);
        assert!(unnoticed && flat, "it does not endure");
        return;
    }
    let mut report = Report::new(extent.rounds, extent.time);
    let subjects: Vec<Subject> = extent.kinds.iter().map(|kind| Subject::start(*kind, &around, "")).collect();
    for scenario in &extent.scenarios {
        let table = compare(scenario, &subjects, &extent);
        println!("{}", table.text());
        report.tables.push(table);
    }
    for subject in &subjects {
        report.memory.push((subject.kind.name(), subject.memory("VmHWM:") / 1024.0));
    }
    for subject in subjects {
        let mut times = Vec::new();
        let (kind, mut subject) = (subject.kind, subject);
        for _ in 0..extent.rounds {
            let (again, time) = subject.again(&around, answers);
            (subject, times) = (again, [times, vec![time.as_secs_f64() * 1000.0]].concat());
        }
        report.cold.push((kind.name(), report::median(&mut times)));
    }
    if extent.tokens > 0 {
        report.tokens = Some(many_tokens(&around, &extent));
    }
    println!("{}", report.rest());
    if words.contains(&"--bench") && extent.tokens > 0 {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/RESULTS.md");
        std::fs::write(&file, report.markdown()).expect("written");
        println!("written to {}", file.display());
    }
}

/// Whether a first request is answered as it must be.
fn answers(address: std::net::SocketAddr, token: &str) -> bool {
    use std::io::{Read as _, Write as _};
    let request =
        format!("GET /v1/item HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
    let asked = std::net::TcpStream::connect(address).and_then(|mut stream| {
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    });
    asked.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
}

fn work(scenario: &Scenario, subject: &Subject) -> Work {
    let http2 = scenario.over == Over::Http2;
    let tls = (scenario.over != Over::Plain).then(|| {
        let mut builder = SslConnector::builder(SslMethod::tls()).expect("a client");
        builder.set_verify(SslVerifyMode::NONE);
        builder.set_alpn_protos(if http2 { b"\x02h2" } else { b"\x08http/1.1" }).expect("set");
        builder.build()
    });
    Work {
        address: if tls.is_some() { subject.tls } else { subject.plain },
        requests: (scenario.requests)(subject),
        connections: scenario.connections,
        tls,
        http2,
        anew: scenario.anew,
    }
}

fn compare(scenario: &Scenario, subjects: &[Subject], extent: &Extent) -> Table {
    eprintln!("{}: {}", scenario.name, scenario.about);
    // To whom nothing can be denied is still what others are compared with.
    let fits = |subject: &&Subject| !scenario.deciding || subject.kind.decides();
    let subjects: Vec<&Subject> = subjects.iter().filter(fits).collect();
    let mut cells: Vec<Cell> = subjects.iter().map(|subject| Cell::new(subject.kind)).collect();
    let works: Vec<Work> = subjects.iter().map(|subject| work(scenario, subject)).collect();
    for (work, subject) in works.iter().zip(&subjects) {
        let warm = saturate(work, extent.time / 4);
        assert_eq!(warm.failed, 0, "{}, {}: {:?}", scenario.name, subject.kind.name(), warm.first_failure);
    }
    for round in 0..extent.rounds {
        for place in 0..subjects.len() {
            // Nobody always comes after the same.
            let place = if round % 2 == 0 { place } else { subjects.len() - 1 - place };
            let before = subjects[place].cpu();
            let counted = saturate(&works[place], extent.time);
            let used = subjects[place].cpu() - before;
            cells[place].saturated(&counted, used);
        }
    }
    for _ in 0..extent.rounds {
        for place in 0..subjects.len() {
            let rate = cells[place].rate() / 2.0;
            cells[place].at_half_load(at_rate(&works[place], rate, extent.time));
        }
    }
    Table { name: scenario.name, about: scenario.about, cells }
}

/// The same gateway with few and with a million live tokens, in turn.
fn many_tokens(around: &Surroundings, extent: &Extent) -> report::Tokens {
    let few = Subject::start(Kind::AfterResponse, around, "");
    let many = Subject::start(Kind::AfterResponse, around, "");
    let (scenario, tokens) = (&SCENARIOS[0], extent.tokens);
    let few_memory = few.memory("VmRSS:");
    let many = with_tokens(many, around, tokens);
    let many_memory = many.memory("VmRSS:");
    let (works, mut rates) = ([work(scenario, &few), work(scenario, &many)], [Vec::new(), Vec::new()]);
    for _ in 0..2 * extent.rounds {
        for (work, rates) in works.iter().zip(&mut rates) {
            let counted = saturate(work, extent.time);
            rates.push(counted.answered as f64 / counted.elapsed.as_secs_f64());
        }
    }
    let [few_rate, many_rate] = rates.map(|mut rates| report::median(&mut rates));
    report::Tokens {
        count: tokens,
        ratio: many_rate / few_rate,
        bytes: (many_memory - few_memory) * 1024.0 / f64::from(tokens),
    }
}

fn with_tokens(subject: Subject, around: &Surroundings, count: u32) -> Subject {
    let data = subject.folder().join("data/erp-access.db");
    let fill = move || {
        let mut database = rusqlite::Connection::open(data).expect("the database");
        let transaction = database.transaction().expect("begun");
        let row = "SELECT credential, issued_at, expires_at, by_former_secrets, hash_key FROM token LIMIT 1";
        transaction
            .execute_batch(&format!(
                "CREATE TEMP TABLE one AS {row};
                 WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {count})
                 INSERT INTO token (hash, id, credential, issued_at, expires_at, by_former_secrets, hash_key)
                 SELECT randomblob(32), randomblob(16), credential, issued_at, expires_at, by_former_secrets, hash_key
                 FROM number, one;"
            ))
            .expect("filled");
        transaction.commit().expect("committed");
    };
    subject.meanwhile(around, fill, answers)
}

fn pin(core: usize) {
    if cores() >= 2 {
        let mut set = rustix::thread::CpuSet::new();
        set.set(core);
        let _ = rustix::thread::sched_setaffinity(None, &set);
    }
}

fn surroundings(folder: &Path) -> Surroundings {
    use openssl::asn1::Asn1Time;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::PKey;
    use openssl::x509::extension::SubjectAlternativeName;
    use openssl::x509::{X509, X509NameBuilder};
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
    let mut name = X509NameBuilder::new().expect("a name");
    name.append_entry_by_nid(Nid::COMMONNAME, "api.example").expect("a name");
    let name = name.build();
    let mut builder = X509::builder().expect("a certificate");
    builder.set_version(2).expect("set");
    builder.set_subject_name(&name).expect("set");
    builder.set_issuer_name(&name).expect("set");
    builder.set_pubkey(&key).expect("set");
    builder.set_not_before(&Asn1Time::days_from_now(0).expect("a time")).expect("set");
    builder.set_not_after(&Asn1Time::days_from_now(2).expect("a time")).expect("set");
    let alternative = SubjectAlternativeName::new().dns("api.example").build(&builder.x509v3_context(None, None));
    builder.append_extension(alternative.expect("a name")).expect("set");
    builder.sign(&key, MessageDigest::sha256()).expect("signed");
    let (certificate, private) = (builder.build().to_pem().expect("PEM"), key.private_key_to_pem_pkcs8().expect("PEM"));
    let write = |name: &str, text: &[u8]| {
        use std::os::unix::fs::PermissionsExt as _;
        let file = folder.join(name);
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        file
    };
    Surroundings {
        erp: free_address(),
        certificate: write("chain.pem", &certificate),
        key: write("key.pem", &private),
        both: write("both.pem", &[certificate, private].concat()),
    }
}
