//! Doubles for tests: an ERP that follows a script, a vault in memory, and ready-made upstreams.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{
    AccountRef, Circuit, Guarded, SessionError, SessionEvents, SessionKey, SessionVault, SignInAnswer, SignInRequest,
    SignInTransport, StoredSession, TransportError, UpstreamSecrets, VaultError,
};
use crate::config::{
    Balance, BodyTemplate, Connections, Ejection, Extract, ExtractFrom, HttpVersion, InjectedHeader, Injection,
    JsonTemplate, Lifetime, LifetimeSource, LostRule, Piece, Recipe, SecretsOf, SignInStep, Success, Template,
    Upstream, UpstreamPeer, UpstreamTimeouts,
};
use crate::domain::{AccountId, Secret, UpstreamName};

/// Remembers which circuits have opened and closed.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Vec<String>>);

impl Heard {
    /// What was heard since the last time.
    pub(crate) fn circuits(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("the lock"))
    }
}

impl SessionEvents for Heard {
    fn signed_in(&self, _: &SessionKey, _: Result<(), &SessionError>) {}

    fn circuit(&self, _: Guarded<'_>, circuit: Circuit, _: String) {
        self.0.lock().expect("the lock").push(format!("{circuit:?}"));
    }
}

/// What the ERP does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Answers(u16, String),
    AnswersWith(u16, Vec<(&'static str, &'static str)>, String),
    Fails(TransportError),
    Hangs,
    Panics,
}

/// An ERP that acts as told, then as Tryton does: `[1, "token-of-sign-in-<n>", null]`. `Debug` shows no requests.
pub(crate) struct ScriptedErp {
    script: Mutex<VecDeque<Act>>,
    requests: Mutex<Vec<Value>>,
    heads: Mutex<Vec<String>>,
    open: Semaphore,
}

impl ScriptedErp {
    pub(crate) fn new(script: impl IntoIterator<Item = Act>) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(script.into_iter().collect()),
            requests: Mutex::default(),
            heads: Mutex::default(),
            open: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    /// An ERP that takes requests and answers none before [`Self::answer`] is called.
    pub(crate) fn silent() -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::default(),
            requests: Mutex::default(),
            heads: Mutex::default(),
            open: Semaphore::new(0),
        })
    }

    /// Lets `count` requests have their answer.
    pub(crate) fn answer(&self, count: usize) {
        self.open.add_permits(count);
    }

    pub(crate) fn next(&self, act: Act) {
        self.script.lock().unwrap().push_back(act);
    }

    /// The bodies of all requests so far.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap().clone()
    }
}

impl ScriptedErp {
    /// Method, path, headers and content type of all requests so far, a text each.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn head_of(request: &SignInRequest) -> String {
    let header = |(name, value): &(HeaderName, HeaderValue)| format!("\n{name}: {}", value.to_str().expect("ASCII"));
    let headers: Vec<_> = request.headers.iter().map(header).collect();
    let content_type = request.content_type.as_ref().map(|value| format!("\n{}", value.to_str().expect("ASCII")));
    format!("{} {}{}{}", request.method, request.path, headers.concat(), content_type.unwrap_or_default())
}

impl fmt::Debug for ScriptedErp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ScriptedErp")
    }
}

#[async_trait]
impl SignInTransport for ScriptedErp {
    async fn send(&self, _upstream: &Upstream, request: SignInRequest) -> Result<SignInAnswer, TransportError> {
        let number = {
            let body = request.body.as_ref().map(|body| {
                serde_json::from_slice(body)
                    .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
            });
            self.heads.lock().unwrap().push(head_of(&request));
            let mut requests = self.requests.lock().unwrap();
            requests.push(body.unwrap_or_default());
            requests.len()
        };
        self.open.acquire().await.expect("open").forget();
        let act = self.script.lock().unwrap().pop_front();
        match act {
            Some(Act::Answers(status, body)) => Ok(answer(status, body)),
            Some(Act::AnswersWith(status, headers, body)) => {
                let named = |(name, value): (&'static str, &'static str)| {
                    (HeaderName::from_static(name), HeaderValue::from_static(value))
                };
                Ok(SignInAnswer { headers: headers.into_iter().map(named).collect(), ..answer(status, body) })
            }
            Some(Act::Fails(error)) => Err(error),
            Some(Act::Hangs) => std::future::pending().await,
            Some(Act::Panics) => panic!("the transport panics"),
            None => Ok(answer(200, json!({ "result": [1, format!("token-of-sign-in-{number}"), null] }).to_string())),
        }
    }
}

fn answer(status: u16, body: String) -> SignInAnswer {
    let status = StatusCode::from_u16(status).expect("a status");
    SignInAnswer { status, headers: HeaderMap::new(), body: Bytes::from(body) }
}

/// A vault in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryVault {
    secrets: Mutex<BTreeMap<SessionKey, UpstreamSecrets>>,
    sessions: Mutex<BTreeMap<SessionKey, StoredSession>>,
    broken: Mutex<Option<VaultError>>,
}

impl MemoryVault {
    /// A vault with `admin`, `password` and a key for `erp`.
    pub(crate) fn with_password(password: &str) -> Arc<Self> {
        let vault = Arc::new(Self::default());
        vault.set_password(password, 1);
        vault
    }

    pub(crate) fn set_password(&self, password: &str, version: u64) {
        let secret = |text: &str| Some(Secret::new(text.to_owned()));
        let secrets = UpstreamSecrets {
            username: secret("admin"),
            password: secret(password),
            api_key: secret("key-for-the-erp"),
            version,
        };
        self.secrets.lock().unwrap().insert(SessionKey::shared(&erp()), secrets);
    }

    /// Gives an account a user of its own.
    pub(crate) fn set_own_password(&self, account: &AccountRef, password: &str) {
        let secret = |text: &str| Some(Secret::new(text.to_owned()));
        let (username, password) = (secret(account.name.as_str()), secret(password));
        let secrets = UpstreamSecrets { username, password, api_key: None, version: 1 };
        self.secrets.lock().unwrap().insert(SessionKey::own(&erp(), account.id), secrets);
    }

    pub(crate) fn break_down(&self) {
        *self.broken.lock().unwrap() = Some(VaultError("disk on fire".into()));
    }

    pub(crate) fn session(&self) -> Option<StoredSession> {
        self.sessions.lock().unwrap().get(&SessionKey::shared(&erp())).cloned()
    }

    fn check(&self) -> Result<(), VaultError> {
        self.broken.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

impl SessionVault for MemoryVault {
    fn accounts(&self, upstream: &UpstreamName) -> Result<Vec<AccountRef>, VaultError> {
        self.check()?;
        let secrets = self.secrets.lock().unwrap();
        let own = secrets.keys().filter(|key| key.upstream == *upstream).filter_map(|key| key.account);
        Ok(own.map(account_with).collect())
    }

    fn load_secrets(&self, upstream: &SessionKey) -> Result<Option<UpstreamSecrets>, VaultError> {
        self.check()?;
        Ok(self.secrets.lock().unwrap().get(upstream).cloned())
    }

    fn load(&self, upstream: &SessionKey) -> Result<Option<StoredSession>, VaultError> {
        self.check()?;
        Ok(self.sessions.lock().unwrap().get(upstream).cloned())
    }

    fn save(&self, upstream: &SessionKey, session: &StoredSession) -> Result<(), VaultError> {
        self.check()?;
        self.sessions.lock().unwrap().insert(upstream.clone(), session.clone());
        Ok(())
    }

    fn delete(&self, upstream: &SessionKey) -> Result<(), VaultError> {
        self.check()?;
        self.sessions.lock().unwrap().remove(upstream);
        Ok(())
    }
}

/// An account for tests; the number is its id.
pub(crate) fn account(number: u8) -> AccountRef {
    account_with(AccountId::from_bytes([number; 16]))
}

fn account_with(id: AccountId) -> AccountRef {
    AccountRef { id, name: format!("account-{}", id.as_bytes()[0]).parse().expect("a name") }
}

/// The name of the upstream in all tests.
pub(crate) fn erp() -> UpstreamName {
    "erp".parse().expect("a name")
}

fn upstream(session: Recipe) -> Upstream {
    let long = Duration::from_mins(1);
    Upstream {
        name: erp(),
        peers: vec![UpstreamPeer { address: ([127, 0, 0, 1], 1).into(), weight: 1 }],
        balance: Balance::RoundRobin,
        ejection: Ejection { failures: 5, pause: long },
        health_check: None,
        http_version: HttpVersion::One,
        connections: Connections::Shared,
        tls: None,
        host: "erp.example".into(),
        timeouts: UpstreamTimeouts { connect: long, read: long, write: long, idle: long, sign_in: long, total: None },
        forward_headers: Vec::new(),
        application_error: None,
        session,
    }
}

fn variable(name: &str) -> Piece {
    Piece::Variable(name.into())
}

fn text(text: &str) -> Piece {
    Piece::Text(text.into())
}

fn template(piece: Piece) -> JsonTemplate {
    JsonTemplate::Text(Template { pieces: vec![piece] })
}

fn lost_on_401() -> Vec<LostRule> {
    vec![LostRule { status: vec![StatusCode::UNAUTHORIZED], ..LostRule::default() }]
}

fn fixed(fallback: Option<Duration>) -> Lifetime {
    Lifetime { source: LifetimeSource::Recipe, fallback, skew: None, idle: false }
}

fn inject(name: HeaderName, pieces: Vec<Piece>) -> Injection {
    Injection { headers: vec![InjectedHeader { name, value: Template { pieces } }], ..Injection::default() }
}

/// Tryton: `common.db.login` and `Authorization: Session base64(username:uid:token)`.
pub(crate) fn tryton() -> Upstream {
    let credential = vec![variable("username"), text(":"), variable("uid"), text(":"), variable("token")];
    upstream(Recipe {
        secrets: SecretsOf::Upstream,
        steps: vec![tryton_step()],
        inject: inject(header::AUTHORIZATION, vec![text("Session "), Piece::Base64(credential)]),
        lifetime: fixed(Some(Duration::from_hours(1))),
        lost: lost_on_401(),
        logout: None,
        survives_restart: true,
        secure_over_http: false,
        attempts_per_minute: 5,
    })
}

fn tryton_step() -> SignInStep {
    let password = JsonTemplate::Object(vec![("password".into(), template(variable("password")))]);
    let extract = |variable: &str, pointer: &str| {
        let from = ExtractFrom::Pointer(pointer.into());
        Extract { variable: variable.into(), from, optional: false }
    };
    SignInStep {
        at: None,
        method: Method::POST,
        path: "/erp/rpc/".into(),
        headers: Vec::new(),
        cookies: Vec::new(),
        body: BodyTemplate::Json(JsonTemplate::Object(vec![
            ("id".into(), JsonTemplate::Plain(json!(1))),
            ("method".into(), template(text("common.db.login"))),
            ("params".into(), JsonTemplate::List(vec![template(variable("username")), password, template(text("en"))])),
        ])),
        success: Success {
            status: vec![StatusCode::OK],
            present: vec!["/result".into()],
            absent: vec!["/error".into()],
        },
        extract: vec![extract("uid", "/result/0"), extract("token", "/result/1")],
    }
}

/// An ERP that takes a key in a header.
pub(crate) fn static_key() -> Upstream {
    let tryton = tryton().session;
    let inject = inject(HeaderName::from_static("x-api-key"), vec![variable("api_key")]);
    upstream(Recipe { steps: Vec::new(), inject, lifetime: fixed(None), ..tryton })
}
