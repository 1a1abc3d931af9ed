//! What each step of a request costs by itself.

#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a bench that cannot go on must fail")]

mod common;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use erp_access::app::Core;
use erp_access::audit::{ContentDescription, Entry, Kind, PreviewCollector, RedactionLists, Redactor};
use erp_access::config::{RateLimits, Upstream};
use erp_access::control::{Caller, Command, NewSet, SecretText};
use erp_access::directory::{CutInFlight, TokenEntry};
use erp_access::domain::{
    AccountId, Actor, Clock as _, IssuedKind, IssuedSecret, PolicyName, Secret, SystemClock, SystemEntropy, Target,
    TokenId,
};
use erp_access::gate::{
    ApiKeyOnRelay, Asked, BodyProblem, CleanHead, Gate, GateParts, GateRules, Head, HeadLimits, RequestBody,
};
use erp_access::policy::{Body, Facts, Grants, PolicySet};
use erp_access::secrets::{AppKey, HashPurpose, HashingSettings, KeyRing, PasswordHasher, Place, SealPurpose};
use erp_access::upstream::{
    AccountRef, NobodyIsTold, Sessions, SignInAnswer, SignInRequest, SignInTransport, StoreVault, TransportError,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use tokio::runtime::Runtime;

const LIMITS: HeadLimits = HeadLimits { target: 8192, headers: 64, header_bytes: 32 * 1024 };

#[derive(Debug)]
struct NoTransport;

#[async_trait]
impl SignInTransport for NoTransport {
    async fn send(&self, _: &Upstream, _: SignInRequest) -> Result<SignInAnswer, TransportError> {
        Err(TransportError::TimedOut)
    }
}

struct NoBody;

#[async_trait]
impl RequestBody for NoBody {
    async fn read_whole(&mut self, _: usize) -> Result<Bytes, BodyProblem> {
        Err(BodyProblem::Broken)
    }
}

/// A gate on a temporary store, with one token.
struct Scene {
    gate: Gate,
    core: Core,
    sessions: Arc<Sessions>,
    headers: HeaderMap,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new(endpoints: usize, audit: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = common::files(folder.path(), ([127, 0, 0, 1], 1).into(), endpoints, audit);
        let world = common::world();
        let core = Core::open(&config, &world).unwrap_or_else(|error| panic!("{error}"));
        let runtime = Runtime::new().expect("a runtime");
        let control = Arc::clone(&core.control);
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
        let credential = issued["client_id"].as_str().expect("an id").parse().expect("an id");
        let secret = IssuedSecret::generate(IssuedKind::Token, &SystemEntropy).expect("entropy");
        let now = world.clock.now();
        let id = TokenId::new(now, &SystemEntropy).expect("entropy");
        let end = now.checked_add(Duration::from_hours(10)).expect("a time");
        let hash = control.key_ring.keyed_hash(HashPurpose::Token, secret.secret().expose().as_bytes());
        let api_key = control.directory.snapshot().credential(credential).expect("issued").api_key_hash;
        let entry = TokenEntry::new(id, credential, now, end);
        control.directory.insert_token(hash, entry, |set| set.pair_of(&api_key, now)).expect("inserted");
        let upstreams: Vec<Upstream> = config.upstreams.values().cloned().collect();
        let vault =
            StoreVault::new(Arc::clone(&control.store), Arc::clone(&control.key_ring), Arc::clone(&world.entropy));
        let sessions = Sessions::new(
            upstreams.clone(),
            Arc::new(NoTransport),
            Arc::new(vault),
            Arc::clone(&world.clock),
            Arc::new(NobodyIsTold),
        )
        .expect("sessions");
        let sessions = Arc::new(sessions);
        let gate = Gate::new(GateParts {
            directory: Arc::clone(&control.directory),
            policies: Arc::clone(&control.policies),
            key_ring: Arc::clone(&control.key_ring),
            auditor: Arc::clone(&control.auditor),
            sessions: Arc::clone(&sessions),
            upstreams: upstreams.into_iter().map(|upstream| (upstream.name.clone(), Arc::new(upstream))).collect(),
            redactor: Arc::new(Redactor::new(&RedactionLists::default())),
            clock: world.clock,
            rules: GateRules {
                head: LIMITS,
                body: None,
                api_key: ApiKeyOnRelay::Optional,
                cut: CutInFlight::default(),
                rate_limits: RateLimits::default(),
            },
        });
        let bearer = format!("Bearer {}", secret.secret().expose());
        let headers = headers(&bearer);
        Self { gate, core, sessions, headers, runtime, _folder: folder }
    }

    fn admit(&self) {
        let now = SystemClock::default().now();
        let id = erp_access::domain::RequestId::new(now, &SystemEntropy).expect("entropy");
        let head = Head {
            version: Version::HTTP_11,
            method: "GET",
            raw_target: b"/v1/things0/42?x=1",
            headers: &self.headers,
        };
        let asked = Asked { id, head, client: None, tls: None, now };
        let admission = self.runtime.block_on(self.gate.admit(asked, &mut NoBody));
        drop(black_box(admission.unwrap_or_else(|denial| panic!("{denial:?}"))));
    }
}

fn headers(bearer: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("host", "gateway.test"), ("authorization", bearer), ("accept", "application/json"), ("user-agent", "bench/1")]
    {
        headers.insert(name, HeaderValue::from_str(value).expect("a value"));
    }
    headers
}

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

/// A catalogue of so many endpoints, `things0` and on.
fn catalogue(endpoints: usize) -> String {
    let lines = (0..endpoints).map(|number| {
        format!("  - {{ id: things{number}.read, methods: [GET], path: '/v1/things{number}/{{id}}' }}\n")
    });
    "version: 1\nupstream: erp\nendpoints:\n".to_owned() + &lines.collect::<Vec<_>>().concat()
}

/// So many policies, `p0` and on, each with so many rules; the first rule of each names the endpoint that is asked for.
fn rules(endpoints: usize, policies: usize, rules: usize, more: &str) -> PolicySet {
    let schedule = "version: 1\ndefault:\n  time_zone: UTC\n  windows: [{ days: [mon, tue, wed, thu, fri, sat, sun], from: \"00:00\", to: \"24:00\" }]\n";
    let mut texts = vec![
        ("endpoints/erp.yaml".into(), catalogue(endpoints).into_bytes()),
        ("schedule.yaml".into(), schedule.as_bytes().to_vec()),
    ];
    for policy in 0..policies {
        let lines = (0..rules).map(|rule| {
            let effect = if rule % 5 == 4 { "deny" } else { "allow" };
            let (first, second) = if rule == 0 { (0, policy) } else { (policy + rule * policies, policy + rule) };
            let (first, second) = (first % endpoints, second % endpoints);
            let more = if rule == 0 { more } else { "" };
            format!("  - {{ id: r{rule}, {effect}: [things{first}.read, things{second}.read]{more} }}\n")
        });
        let text = format!("version: 1\npolicy: p{policy}\nrules:\n") + &lines.collect::<Vec<_>>().concat();
        texts.push((format!("p{policy}.yaml").into(), text.into_bytes()));
    }
    PolicySet::from_texts(&texts).unwrap_or_else(|problems| panic!("{problems}"))
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
    seal,
    inject,
    audit,
    redact
);
criterion_main!(steps);
