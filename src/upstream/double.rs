//! Doubles for tests: an ERP that follows a script, a vault in memory, and ready-made upstreams.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{
    SessionVault, SignInAnswer, SignInRequest, SignInTransport, StoredSession, TransportError, UpstreamSecrets,
    VaultError,
};
use crate::config::{
    BodyTemplate, Extract, InjectedHeader, JsonTemplate, LostRule, Piece, Recipe, SignInStep, Success, Template,
    Upstream, UpstreamTimeouts,
};
use crate::domain::{Secret, UpstreamName};

/// What the ERP does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Answers(u16, String),
    Fails(TransportError),
    Hangs,
    Panics,
}

/// An ERP that acts as told, then as Tryton does: `[1, "token-of-sign-in-<n>", null]`. `Debug` shows no requests.
pub(crate) struct ScriptedErp {
    script: Mutex<VecDeque<Act>>,
    requests: Mutex<Vec<Value>>,
    open: Semaphore,
}

impl ScriptedErp {
    pub(crate) fn new(script: impl IntoIterator<Item = Act>) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(script.into_iter().collect()),
            requests: Mutex::default(),
            open: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    /// An ERP that takes requests and answers none before [`Self::answer`] is called.
    pub(crate) fn silent() -> Arc<Self> {
        Arc::new(Self { script: Mutex::default(), requests: Mutex::default(), open: Semaphore::new(0) })
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

impl fmt::Debug for ScriptedErp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ScriptedErp")
    }
}

#[async_trait]
impl SignInTransport for ScriptedErp {
    async fn send(&self, _upstream: &Upstream, request: SignInRequest) -> Result<SignInAnswer, TransportError> {
        let number = {
            let body = request.body.as_ref().map(|body| serde_json::from_slice(body).expect("JSON"));
            let mut requests = self.requests.lock().unwrap();
            requests.push(body.unwrap_or_default());
            requests.len()
        };
        self.open.acquire().await.expect("open").forget();
        let act = self.script.lock().unwrap().pop_front();
        match act {
            Some(Act::Answers(status, body)) => Ok(answer(status, body)),
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
    secrets: Mutex<BTreeMap<UpstreamName, UpstreamSecrets>>,
    sessions: Mutex<BTreeMap<UpstreamName, StoredSession>>,
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
        self.secrets.lock().unwrap().insert(erp(), secrets);
    }

    pub(crate) fn break_down(&self) {
        *self.broken.lock().unwrap() = Some(VaultError("disk on fire".into()));
    }

    pub(crate) fn session(&self) -> Option<StoredSession> {
        self.sessions.lock().unwrap().get(&erp()).cloned()
    }

    fn check(&self) -> Result<(), VaultError> {
        self.broken.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

impl SessionVault for MemoryVault {
    fn load_secrets(&self, upstream: &UpstreamName) -> Result<Option<UpstreamSecrets>, VaultError> {
        self.check()?;
        Ok(self.secrets.lock().unwrap().get(upstream).cloned())
    }

    fn load(&self, upstream: &UpstreamName) -> Result<Option<StoredSession>, VaultError> {
        self.check()?;
        Ok(self.sessions.lock().unwrap().get(upstream).cloned())
    }

    fn save(&self, upstream: &UpstreamName, session: &StoredSession) -> Result<(), VaultError> {
        self.check()?;
        self.sessions.lock().unwrap().insert(upstream.clone(), session.clone());
        Ok(())
    }

    fn delete(&self, upstream: &UpstreamName) -> Result<(), VaultError> {
        self.check()?;
        self.sessions.lock().unwrap().remove(upstream);
        Ok(())
    }
}

/// The name of the upstream in all tests.
pub(crate) fn erp() -> UpstreamName {
    "erp".parse().expect("a name")
}

fn upstream(session: Recipe) -> Upstream {
    let long = Duration::from_mins(1);
    Upstream {
        name: erp(),
        peers: vec!["127.0.0.1:1".parse().expect("an address")],
        tls: None,
        host: "erp.example".into(),
        timeouts: UpstreamTimeouts { connect: long, read: long, write: long, idle: long, sign_in: long },
        forward_headers: Vec::new(),
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

fn lost_on_401() -> LostRule {
    LostRule { status: vec![StatusCode::UNAUTHORIZED] }
}

/// Tryton: `common.db.login` and `Authorization: Session base64(username:uid:token)`.
pub(crate) fn tryton() -> Upstream {
    let credential = vec![variable("username"), text(":"), variable("uid"), text(":"), variable("token")];
    upstream(Recipe {
        steps: vec![tryton_step()],
        inject: vec![InjectedHeader {
            name: header::AUTHORIZATION,
            value: Template { pieces: vec![text("Session "), Piece::Base64(credential)] },
        }],
        lifetime: Some(Duration::from_hours(1)),
        lost: lost_on_401(),
        attempts_per_minute: 5,
    })
}

fn tryton_step() -> SignInStep {
    let password = JsonTemplate::Object(vec![("password".into(), template(variable("password")))]);
    let extract = |variable: &str, pointer: &str| Extract { variable: variable.into(), pointer: pointer.into() };
    SignInStep {
        method: Method::POST,
        path: "/erp/rpc/".into(),
        headers: Vec::new(),
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
    upstream(Recipe {
        steps: Vec::new(),
        inject: vec![InjectedHeader {
            name: HeaderName::from_static("x-api-key"),
            value: Template { pieces: vec![variable("api_key")] },
        }],
        lifetime: None,
        lost: lost_on_401(),
        attempts_per_minute: 5,
    })
}
