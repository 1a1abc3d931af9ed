//! A gate on a store of its own, and policies, for the benches of single steps.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use erp_access::app::Core;
use erp_access::audit::{RedactionLists, Redactor};
use erp_access::config::{RateLimits, Upstream};
use erp_access::directory::{CutInFlight, TokenEntry};
use erp_access::domain::{
    Clock as _, IssuedKind, IssuedSecret, RequestId, Secret, SystemClock, SystemEntropy, TokenId,
};
use erp_access::gate::{ApiKeyOnRelay, Asked, BodyProblem, Gate, GateParts, GateRules, Head, HeadLimits, RequestBody};
use erp_access::policy::PolicySet;
use erp_access::secrets::HashPurpose;
use erp_access::upstream::{
    NobodyIsTold, Sessions, SignInAnswer, SignInRequest, SignInTransport, StoreVault, TransportError,
};
use http::{HeaderMap, HeaderValue, Version};
use tokio::runtime::Runtime;

use crate::{client, common};

pub(crate) const LIMITS: HeadLimits = HeadLimits { target: 8192, headers: 64, header_bytes: 32 * 1024 };

#[derive(Debug)]
struct NoTransport;

#[async_trait]
impl SignInTransport for NoTransport {
    async fn send(&self, _: &Upstream, _: SignInRequest) -> Result<SignInAnswer, TransportError> {
        Err(TransportError::TimedOut)
    }
}

pub(crate) struct NoBody;

#[async_trait]
impl RequestBody for NoBody {
    async fn read_whole(&mut self, _: usize) -> Result<Bytes, BodyProblem> {
        Err(BodyProblem::Broken)
    }
}

/// A gate on a temporary store, with one token.
pub(crate) struct Scene {
    pub(crate) gate: Gate,
    pub(crate) core: Core,
    pub(crate) sessions: Arc<Sessions>,
    token: Secret,
    headers: HeaderMap,
    pub(crate) runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new(endpoints: usize, audit: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = common::files(folder.path(), ([127, 0, 0, 1], 1).into(), endpoints, audit);
        let world = common::world();
        let core = Core::open(&config, &world).unwrap_or_else(|error| panic!("{error}"));
        let runtime = Runtime::new().expect("a runtime");
        let control = Arc::clone(&core.control);
        let issued = client::issue(&control, &runtime);
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
        Self { gate, core, sessions, token: secret.secret().clone(), headers, runtime, _folder: folder }
    }

    /// Its token, looked up by its text.
    pub(crate) fn find_token(&self) -> TokenEntry {
        let (ring, directory) = (&self.core.control.key_ring, &self.core.control.directory);
        let (now, text) = (SystemClock::default().now(), self.token.expose().as_bytes());
        ring.find(HashPurpose::Token, black_box(text), |hash| directory.find_token(hash, now)).expect("live")
    }

    /// A request that is allowed.
    pub(crate) fn asked(&self) -> Asked<'_> {
        let now = SystemClock::default().now();
        let id = RequestId::new(now, &SystemEntropy).expect("entropy");
        let raw_target = b"/v1/things0/42?x=1";
        let head = Head { version: Version::HTTP_11, method: "GET", raw_target, headers: &self.headers };
        Asked { id, head, client: None, tls: None, now }
    }

    pub(crate) fn admit(&self) {
        let admission = self.runtime.block_on(self.gate.admit(self.asked(), &mut NoBody));
        drop(black_box(admission.unwrap_or_else(|denial| panic!("{denial:?}"))));
    }
}

pub(crate) fn headers(bearer: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("host", "gateway.test"), ("authorization", bearer), ("accept", "application/json"), ("user-agent", "bench/1")]
    {
        headers.insert(name, HeaderValue::from_str(value).expect("a value"));
    }
    headers
}

/// A catalogue of so many endpoints, `things0` and on.
fn catalogue(endpoints: usize) -> String {
    let lines = (0..endpoints).map(|number| {
        format!("  - {{ id: things{number}.read, methods: [GET], path: '/v1/things{number}/{{id}}' }}\n")
    });
    "version: 1\nupstream: erp\nendpoints:\n".to_owned() + &lines.collect::<Vec<_>>().concat()
}

/// So many policies, `p0` and on, each with so many rules; the first rule of each names the endpoint that is asked for.
pub(crate) fn rules(endpoints: usize, policies: usize, rules: usize, more: &str) -> PolicySet {
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
