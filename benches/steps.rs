//! What each step of a request costs by itself.

#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on must fail")]

#[path = "common/client.rs"]
mod client;
mod common;

#[path = "common/scene.rs"]
mod scene;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use erp_access::audit::{ContentDescription, Decision, Entry, Kind, PreviewCollector, RedactionLists, Redactor};
use erp_access::domain::{AccountId, Clock as _, PolicyName, Secret, SystemClock, SystemEntropy, Target};
use erp_access::gate::{CleanHead, Head};
use erp_access::policy::{Body, Facts, Grants, PolicySet};
use erp_access::secrets::{AppKey, HashPurpose, HashingSettings, KeyRing, PasswordHasher, Place, SealPurpose};
use erp_access::upstream::AccountRef;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use scene::{LIMITS, NoBody, Scene, headers, rules};

fn canonicalise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("canonicalise");
    let targets: [(&str, &[u8]); 3] = [
        ("plain", b"/v1/orders/42?page=2&size=50"),
        ("escaped", b"/v1/%6f%72ders/caf%c3%a9?page=2"),
        ("refused", b"/v1/orders/%2e%2e/admin"),
    ];
    for (name, target) in targets {
        group.bench_function(name, |bencher| bencher.iter(|| Target::parse(black_box(target))));
    }
    let headers = headers("Bearer x");
    let head = Head { version: Version::HTTP_11, method: "GET", raw_target: b"/v1/orders/42", headers: &headers };
    group.bench_function("whole head", |bencher| bencher.iter(|| CleanHead::check(black_box(&head), &LIMITS).is_ok()));
    group.finish();
}

fn authenticate(criterion: &mut Criterion) {
    let scene = Scene::new(1, "");
    let (ring, directory) = (&scene.core.control.key_ring, &scene.core.control.directory);
    let now = SystemClock::default().now();
    let mut group = criterion.benchmark_group("authenticate");
    group.bench_function("keyed hash and look-up", |bencher| {
        let find = |text: &[u8]| ring.find(HashPurpose::Token, text, |hash| directory.find_token(hash, now));
        bencher.iter(|| find(black_box(b"erpa_tok_unknown")));
    });
    let settings = HashingSettings { memory_kib: 19 * 1024, iterations: 2, at_once: 1, waiting: 1 };
    let hasher = PasswordHasher::new(settings, Arc::clone(ring), Arc::new(SystemClock::default())).expect("settings");
    group.sample_size(10);
    group.bench_function("argon2id 19 MiB t=2", |bencher| {
        bencher.iter(|| scene.runtime.block_on(hasher.verify(Secret::new("wrong".into()), None)));
    });
    group.finish();
}

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    for (name, endpoints, policy, target) in [
        ("20 endpoints", 20, "all", "/v1/things7/42"),
        ("2,000 endpoints", 2000, "all", "/v1/things1999/42"),
        ("one CEL condition", 20, "conditioned", "/v1/things0/42?archived=false"),
    ] {
        let scene = Scene::new(endpoints, "");
        let set: Arc<PolicySet> = scene.core.control.policies.current();
        let target = Target::parse(target.as_bytes()).expect("a target");
        let grant = policy.parse().expect("a name");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let matched = set.route("GET", target.path()).expect("mapped").resolve(None).expect("one");
                let facts = Facts::new("GET", target.path(), target.query(), jiff::Timestamp::UNIX_EPOCH);
                set.decide(&matched, Grants::Bounded(&mut std::iter::once(&grant)), &facts).is_ok()
            });
        });
    }
    group.finish();
}

/// Finding the endpoint and deciding, by the size of the catalogue and by what is granted.
fn decide_granted(criterion: &mut Criterion) {
    let target = Target::parse(b"/v1/things0/42?archived=false").expect("a target");
    let mut group = criterion.benchmark_group("find the endpoint");
    for endpoints in [20, 200, 2000] {
        let set = rules(endpoints, 1, 1, "");
        group.bench_function(format!("{endpoints} endpoints"), |bencher| {
            bencher.iter(|| set.route("GET", black_box(target.path())).expect("mapped").resolve(None).is_ok());
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("decide with 2,000 endpoints");
    let all = ", when: 'request.query[\"archived\"] != \"true\" && request.method in [\"GET\", \"HEAD\"] && request.params.id != \"0\"'";
    let one = ", when: 'request.query[\"archived\"] != \"true\"'";
    // As many steps as a condition may have, on a query with as many names as it may go through.
    let dearest = ", when: 'request.query.all(name, !(name + name).contains(request.path + name) && !request.path.contains(name + request.path) && size(name + name + name) < 9000)'";
    let many = (0..64).map(|number| format!("name{number}=1")).collect::<Vec<_>>().join("&");
    for (name, policies, count, more) in [
        ("100 rules in 10 granted policies", 10, 10, ""),
        ("100 rules in 100 granted policies", 100, 1, ""),
        ("one CEL condition", 1, 1, one),
        ("one CEL condition of three parts", 1, 1, all),
        ("100 rules in 10 granted policies, with ten CEL conditions", 10, 10, one),
        ("the dearest CEL condition", 1, 1, dearest),
    ] {
        let set = rules(2000, policies, count, more);
        let held: Vec<PolicyName> = (0..policies).map(|number| format!("p{number}").parse().expect("a name")).collect();
        let matched = set.route("GET", target.path()).expect("mapped").resolve(None).expect("one");
        let query = if more == dearest { Some(many.as_str()) } else { target.query() };
        let facts = Facts::new("GET", target.path(), query, jiff::Timestamp::UNIX_EPOCH);
        assert!(set.decide(&matched, Grants::Bounded(&mut held.iter()), &facts).is_ok(), "{name}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| set.decide(&matched, Grants::Bounded(&mut held.iter()), black_box(&facts)).is_ok());
        });
    }
    group.finish();
}

/// A search in JSON-RPC: fields and criteria of a usual client, 4 KiB.
fn rpc_body() -> Vec<u8> {
    let mut criteria = String::new();
    for number in 0.. {
        let next = format!(r#"["lines.product.code","ilike","%A-{number:04}\u00e9%"],"#);
        if criteria.len() + next.len() > 3900 {
            break;
        }
        criteria.push_str(&next);
    }
    let fields = r#""id","name","code","lang.rec_name","addresses","contact_mechanisms""#;
    let criteria = criteria.trim_end_matches(',');
    format!(
        r#"{{"id":7,"method":"model.party.party.search_read","params":[["AND",{criteria}],0,1000,null,[{fields}],{{"language":"en"}}]}}"#
    )
    .into_bytes()
}

fn body_condition(criterion: &mut Criterion) {
    let endpoints = "version: 1\nupstream: erp\nendpoints:\n".to_owned()
        + &["search_read", "read", "create", "write"]
            .map(|method| {
                format!(
                    "  - {{ id: rpc.{method}, methods: [POST], path: /v1/rpc, body: {{ where: {{ /method: [model.party.party.{method}] }}, batch: allowed }} }}\n"
                )
            })
            .concat();
    let set = PolicySet::from_texts(&[("endpoints/erp.yaml".into(), endpoints.into_bytes())])
        .unwrap_or_else(|problems| panic!("{problems}"));
    let target = Target::parse(b"/v1/rpc").expect("a target");
    let one = rpc_body();
    let ten = [b"[".as_slice(), &vec![one.clone(); 10].join(&b','), b"]"].concat();
    let mut group = criterion.benchmark_group("body condition");
    for (name, body) in [("JSON-RPC, 4 KiB, four endpoints", &one), ("JSON-RPC batch of ten, 40 KiB", &ten)] {
        group.throughput(criterion::Throughput::Bytes(u64::try_from(body.len()).expect("small")));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let route = set.route("POST", target.path()).expect("mapped");
                set.operations(route, &target, Some(Body::json(black_box(body)))).expect("resolved").is_batch()
            });
        });
    }
    group.finish();
}

fn admit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("admit");
    for (name, audit) in [
        ("after_response", "audit:\n  guarantee: after_response\n"),
        ("before_relay, synchronous normal", "audit:\n  synchronous: normal\n"),
        ("before_relay, synchronous full", ""),
    ] {
        let scene = Scene::new(20, audit);
        group.bench_function(name, |bencher| bencher.iter(|| scene.admit()));
    }
    group.finish();
}

/// What threads share costs more the more of them there are: as many decisions per thread, on one thread, on two, and on two
/// that share nothing, which shows what the machine makes of a second thread. Without rows, whose writer would be a third.
#[expect(clippy::disallowed_methods, reason = "what is measured is the machine's time")]
fn share(criterion: &mut Criterion) {
    let scenes = [Scene::new(20, ""), Scene::new(20, "")];
    let mut group = criterion.benchmark_group("decisions per thread");
    for (name, threads) in [("on 1", &[0][..]), ("on 2", &[0, 0]), ("on 2 that share nothing", &[0, 1])] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let began = Instant::now();
                std::thread::scope(|scope| {
                    for place in threads {
                        let scene = &scenes[*place];
                        scope.spawn(move || (0..iterations).for_each(|_| decided(scene)));
                    }
                });
                began.elapsed()
            });
        });
    }
    group.finish();
}

/// Finds the token and decides.
fn decided(scene: &Scene) {
    let token = scene.find_token();
    let row = scene.gate.rehearse(scene.asked(), token.credential, &mut NoBody).now_or_never().expect("at once");
    assert_eq!(row.decision, Decision::Allowed);
}

fn seal(criterion: &mut Criterion) {
    let key = AppKey::generate(&SystemEntropy).expect("entropy");
    let ring = KeyRing::new(&key, &[]).expect("derived");
    let place = Place { table: "upstream_session", row: "erp", column: "sealed" };
    let sealed = ring.seal(SealPurpose::UpstreamSession, &place, &[7; 200], &SystemEntropy).expect("sealed");
    let mut group = criterion.benchmark_group("seal");
    group.bench_function("seal 200 bytes", |bencher| {
        bencher.iter(|| ring.seal(SealPurpose::UpstreamSession, &place, black_box(&[7; 200]), &SystemEntropy).is_ok());
    });
    group.bench_function("open 200 bytes", |bencher| {
        bencher.iter(|| ring.open(SealPurpose::UpstreamSession, &place, black_box(&sealed)).is_ok());
    });
    group.finish();
}

fn inject(criterion: &mut Criterion) {
    let scene = Scene::new(1, "");
    let account = AccountRef { id: AccountId::from_bytes([1; 16]), name: "acme".parse().expect("a name") };
    let erp = "erp".parse().expect("a name");
    let session = scene.runtime.block_on(scene.sessions.obtain(&erp, &account)).expect("a session");
    criterion.bench_function("inject/one header into a request", |bencher| {
        bencher.iter(|| {
            let mut headers = HeaderMap::with_capacity(8);
            let set = |name: &HeaderName, value: HeaderValue| drop(headers.insert(name.clone(), value));
            session.inject(black_box(&Method::GET), &account, set).expect("injected");
            headers
        });
    });
}

fn audit(criterion: &mut Criterion) {
    let scene = Scene::new(1, "audit:\n  synchronous: normal\n");
    let auditor = Arc::clone(&scene.core.control.auditor);
    let entry = || {
        let entry = Entry::system(SystemClock::default().now(), &SystemEntropy, "GET", "/v1/things0/42".into());
        Entry { kind: Kind::Relay, ..entry.expect("entropy") }
    };
    let mut group = criterion.benchmark_group("audit append");
    for at_once in [1_usize, 64] {
        group.bench_function(format!("{at_once} at once"), |bencher| {
            bencher.iter(|| {
                scene.runtime.block_on(async {
                    let waiting: Vec<_> = (0..at_once)
                        .map(|_| {
                            let (auditor, entry) = (Arc::clone(&auditor), entry());
                            tokio::spawn(async move { auditor.reserve().await.expect("room").commit(entry).await })
                        })
                        .collect();
                    for row in waiting {
                        row.await.expect("done").expect("committed");
                    }
                });
            });
        });
    }
    group.finish();
}

fn redact(criterion: &mut Criterion) {
    let redactor = Redactor::new(&RedactionLists::default());
    let description = ContentDescription { content_type: Some("application/json"), content_encoding: None };
    let body = br#"{"id":7,"name":"ACME GmbH","password":"hunter2","lines":[{"sku":"A-100","quantity":2}]}"#;
    criterion.bench_function("redact/small JSON", |bencher| {
        bencher.iter(|| {
            let mut collector = PreviewCollector::new(2048, &description);
            collector.push(black_box(body));
            collector.finish(&redactor, &[])
        });
    });
}

criterion_group!(
    steps,
    canonicalise,
    authenticate,
    decide,
    decide_granted,
    body_condition,
    admit,
    share,
    seal,
    inject,
    audit,
    redact
);
criterion_main!(steps);
