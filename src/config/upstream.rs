//! One ERP as configured: where it is, how to sign in, what to send with each request.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use serde_json::Value;

use crate::domain::UpstreamName;

/// One protected ERP.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The name that endpoints refer to.
    pub name: UpstreamName,
    /// Where it listens; resolved when the configuration is loaded. Never empty; tried in turn.
    pub peers: Vec<SocketAddr>,
    /// How to encrypt the connection; `None` is plain HTTP.
    pub tls: Option<UpstreamTls>,
    /// The `Host` that the ERP sees, always ours.
    pub host: String,
    /// How long to wait for what.
    pub timeouts: UpstreamTimeouts,
    /// Request headers that pass to this ERP besides the standard list.
    pub forward_headers: Vec<HeaderName>,
    /// How to sign in.
    pub session: Recipe,
}

/// TLS towards an ERP.
#[derive(Debug, Clone)]
pub struct UpstreamTls {
    /// The name asked for and verified. Never empty: Pingora verifies nothing without it.
    pub server_name: String,
    /// A private certificate authority in PEM; `None` trusts the system's.
    pub ca_file: Option<PathBuf>,
}

/// How long to wait for an ERP.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamTimeouts {
    /// To connect, TLS included.
    pub connect: Duration,
    /// Between two reads of an answer.
    pub read: Duration,
    /// For one write to be taken.
    pub write: Duration,
    /// A pooled connection may stay idle this long.
    pub idle: Duration,
    /// A request may wait for a session this long.
    pub sign_in: Duration,
}

/// How an upstream session comes about and how it is used.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Requests that sign in, in order. Empty: the secrets themselves are injected.
    pub steps: Vec<SignInStep>,
    /// Headers set on each relayed request.
    pub inject: Vec<InjectedHeader>,
    /// How long a session serves after sign-in; `None` until the ERP says that it is lost.
    pub lifetime: Option<Duration>,
    /// How the ERP says that the session is gone.
    pub lost: LostRule,
    /// Sign-ins per minute at most, failures included.
    pub attempts_per_minute: u32,
}

/// One request of a sign-in.
#[derive(Debug, Clone)]
pub struct SignInStep {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers besides Host and the content description.
    pub headers: Vec<InjectedHeader>,
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
    /// The JSON pointer (RFC 6901) where it stands.
    pub pointer: String,
}

/// A header with a value made from a template.
#[derive(Debug, Clone)]
pub struct InjectedHeader {
    /// The name.
    pub name: HeaderName,
    /// The value.
    pub value: Template,
}

/// How an ERP says that a session is gone.
#[derive(Debug, Clone)]
pub struct LostRule {
    /// One of these statuses.
    pub status: Vec<StatusCode>,
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
    /// `{{name}}`: `username`, `password`, `api_key` or an extracted variable.
    Variable(String),
    /// `base64(…)` of what is inside.
    Base64(Vec<Piece>),
}
