//! How an upstream session comes about: declared in YAML, never coded.

mod body;
mod fields;
mod files;
mod read;

use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use serde_json::Value;

use crate::domain::UpstreamName;

pub(super) use fields::path;
pub(super) use files::resolve;
pub(super) use read::{read, read_body_match};

/// How an upstream session comes about and how it is used.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Whose ERP user signs in.
    pub secrets: SecretsOf,
    /// Requests that sign in, in order. Empty: the secrets themselves are injected.
    pub steps: Vec<SignInStep>,
    /// What is set on each relayed request.
    pub inject: Injection,
    /// How long a session serves.
    pub lifetime: Lifetime,
    /// How the ERP says that the session is gone: one of these.
    pub lost: Vec<LostRule>,
    /// The request that ends a session at the ERP.
    pub logout: Option<SignInStep>,
    /// Whether the session is kept, sealed, for the next process; otherwise it is ended at shutdown.
    pub survives_restart: bool,
    /// Whether a cookie that the ERP marked `Secure` may be used although the connection to it has no TLS.
    pub secure_over_http: bool,
    /// Sign-ins per minute at most, failures included.
    pub attempts_per_minute: u32,
}

impl Recipe {
    /// The headers that a session sets, on every request or on some; `Cookie` is not among them.
    pub fn injected_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.inject.headers.iter().chain(&self.inject.write_headers).map(|header| &header.name)
    }
}

/// Whose ERP user signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretsOf {
    /// One user of the upstream for all accounts.
    Upstream,
    /// Each account its own; an account without one is denied.
    Account,
    /// The account's own where it has one, else the upstream's.
    AccountOrUpstream,
}

/// One request of a sign-in.
#[derive(Debug, Clone)]
pub struct SignInStep {
    /// The upstream that it goes to; `None` is the one that is signed in to.
    pub at: Option<UpstreamName>,
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers besides Host and the content description.
    pub headers: Vec<InjectedHeader>,
    /// Cookies.
    pub cookies: Vec<InjectedCookie>,
    /// The body.
    pub body: BodyTemplate,
    /// What counts as success.
    pub success: Success,
    /// What to keep of the answer.
    pub extract: Vec<Extract>,
}

/// The body of a sign-in request.
#[derive(Debug, Clone)]
pub enum BodyTemplate {
    /// No body.
    None,
    /// JSON; every string in it is a template. Values are put in as JSON strings, so they cannot break out.
    Json(JsonTemplate),
    /// `application/x-www-form-urlencoded`; fields that come out empty are left out.
    Form(Vec<(String, Template)>),
}

/// JSON whose strings are templates.
#[derive(Debug, Clone)]
pub enum JsonTemplate {
    /// null, a boolean or a number.
    Plain(Value),
    /// A string.
    Text(Template),
    /// A list.
    List(Vec<JsonTemplate>),
    /// An object, in the order written.
    Object(Vec<(String, JsonTemplate)>),
}

/// What counts as success of a step.
#[derive(Debug, Clone)]
pub struct Success {
    /// One of these statuses.
    pub status: Vec<StatusCode>,
    /// JSON pointers (RFC 6901) that must exist and not be null.
    pub present: Vec<String>,
    /// JSON pointers that must not exist or be null.
    pub absent: Vec<String>,
}

/// A value kept from an answer.
#[derive(Debug, Clone)]
pub struct Extract {
    /// The variable's name.
    pub variable: String,
    /// Where it stands.
    pub from: ExtractFrom,
    /// Whether the answer may be without it; it is empty then.
    pub optional: bool,
}

/// Where in an answer a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtractFrom {
    /// In the JSON body, at this pointer (RFC 6901).
    Pointer(String),
    /// In this header.
    Header(HeaderName),
    /// In the cookie of this name.
    Cookie(String),
}

/// What is set on each relayed request.
#[derive(Debug, Clone, Default)]
pub struct Injection {
    /// Headers of every request.
    pub headers: Vec<InjectedHeader>,
    /// Headers of requests other than GET, HEAD and OPTIONS.
    pub write_headers: Vec<InjectedHeader>,
    /// Cookies of every request.
    pub cookies: Vec<InjectedCookie>,
}

/// A header with a value made from a template. One that comes out empty is left out.
#[derive(Debug, Clone)]
pub struct InjectedHeader {
    /// The name.
    pub name: HeaderName,
    /// The value.
    pub value: Template,
}

/// A cookie with a value made from a template. One that comes out empty is left out.
#[derive(Debug, Clone)]
pub struct InjectedCookie {
    /// The name.
    pub name: String,
    /// The value.
    pub value: Template,
}

/// How long a session serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifetime {
    /// Who says so.
    pub source: LifetimeSource,
    /// What holds where the answer does not say; `None` until the ERP says that the session is lost.
    pub fallback: Option<Duration>,
    /// How much earlier than the ERP we end it; `None` is a twentieth of it, ten seconds at most.
    pub skew: Option<Duration>,
    /// Whether it starts anew with each relay.
    pub idle: bool,
}

/// Who says how long a session serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LifetimeSource {
    /// The recipe: [`Lifetime::fallback`].
    Recipe,
    /// The answer to a step, in seconds at this JSON pointer.
    Seconds(String),
    /// The answer to a step, in minutes at this JSON pointer.
    Minutes(String),
    /// The `Max-Age` of this cookie.
    Cookie(String),
}

/// How an ERP says that a session is gone: by status, and by header or body where the recipe names them.
#[derive(Debug, Clone, Default)]
pub struct LostRule {
    /// One of these statuses.
    pub status: Vec<StatusCode>,
    /// One of these headers with this value, in any case.
    pub headers: Vec<(HeaderName, String)>,
    /// The JSON body holds this.
    pub body: Option<BodyMatch>,
}

/// A JSON body that holds one of some values at a pointer.
#[derive(Debug, Clone, PartialEq)]
pub struct BodyMatch {
    /// The pointer (RFC 6901).
    pub pointer: String,
    /// The values; empty is any value but null.
    pub equals: Vec<Value>,
}

impl BodyMatch {
    /// Whether this body is meant.
    #[must_use]
    pub fn holds(&self, body: &Value) -> bool {
        let found = body.pointer(&self.pointer).filter(|value| !value.is_null());
        found.is_some_and(|value| self.equals.is_empty() || self.equals.contains(value))
    }
}

/// A text with variables, as in `Session base64({{username}}:{{uid}}:{{token}})`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The pieces in order.
    pub pieces: Vec<Piece>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text as it stands.
    Text(String),
    /// `{{name}}`: `username`, `password`, `api_key`, `account.name`, `account.id` or an extracted variable.
    Variable(String),
    /// `base64(…)` of what is inside.
    Base64(Vec<Piece>),
    /// `urlencode(…)` of what is inside, as forms are encoded.
    UrlEncode(Vec<Piece>),
}
