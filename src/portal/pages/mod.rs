//! The pages: each asks for operations as everybody else does, and shows the answer.

mod accounts;
mod api;
mod audit;
mod audit_export;
mod audit_tail;
mod chain;
mod chart;
mod client_home;
mod credential_list;
mod credentials;
mod draft_findings;
mod draft_form;
mod drafts;
mod entry;
mod guide;
mod home;
mod me;
mod moment;
mod policies;
mod reach;
mod schedules;
mod security;
mod switches;
mod ui;
mod upstreams;
mod users;
mod versions;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::Value;

use super::Portal;
use super::guard::guard;
use super::sessions::{Session, Visitor};
use crate::control::{Command, ControlError, ErrorKind};
use crate::domain::{Role, Secret};
use crate::store::Stage;

use ui::{Block, Field, Form, Link, Page, Tone, see};

/// The largest form, in bytes.
const LARGEST: usize = 64 * 1024;
/// The longest name of a browser that is kept.
const AGENT: usize = 200;

const STYLE: &str = include_str!("../assets/portal.css");
const SCRIPT: &str = include_str!("../assets/portal.js");
const HTMX: &str = include_str!("../assets/htmx.min.js");

type Shared = State<Arc<Portal>>;

/// The routes of the portal.
pub(super) fn routes(portal: Arc<Portal>) -> Router {
    Router::new()
        .route("/", get(home::show))
        .route("/sign-in", get(entry::ask).post(entry::sign_in))
        .route("/sign-in/first", get(entry::ask_first))
        .route("/sign-in/password", get(entry::ask_for_password).post(entry::choose_password))
        .route("/sign-in/second-factor", get(entry::show_second_factor).post(entry::enrol))
        .route("/sign-in/code", get(entry::ask_for_code).post(entry::give_code))
        .route("/sign-out", post(me::sign_out))
        .route("/me", get(me::show))
        .route("/me/password", post(me::change_password))
        .route("/me/second-factor", post(me::second_factor))
        .route("/me/sessions/end", post(me::end_session))
        .route("/accounts", get(accounts::list).post(accounts::create))
        .route("/accounts/{name}", get(accounts::show))
        .route("/accounts/{name}/{act}", post(accounts::act))
        .route("/credentials", get(credential_list::list))
        .route("/credentials/issue", get(credentials::ask).post(credentials::issue))
        .route("/credentials/env", post(credentials::env))
        .route("/credentials/{id}", get(credentials::show))
        .route("/credentials/{id}/openapi.json", get(api::openapi))
        .route("/credentials/{id}/{act}", post(credentials::act))
        .route("/kill-switch", get(switches::show))
        .route("/kill-switch/engage", post(switches::engage))
        .route("/kill-switch/release", post(switches::release))
        .route("/users", get(users::list).post(users::create))
        .route("/users/{name}", get(users::show))
        .route("/users/{name}/{act}", post(users::act))
        .route("/schedules", get(schedules::show))
        .route("/schedules/hold", post(schedules::hold))
        .route("/schedules/lift", post(schedules::lift))
        .route("/upstreams", get(upstreams::list))
        .route("/upstreams/{upstream}/{act}", post(upstreams::act))
        .route("/policies", get(policies::show))
        .route("/policies/explain", get(policies::explain))
        .route("/policies/reload", post(policies::reload))
        .route("/policies/file", get(policies::file))
        .route("/policies/draft", get(drafts::begin))
        .route("/policies/draft/{act}", post(drafts::act))
        .route("/policies/versions", get(versions::list))
        .route("/policies/versions/{hash}", get(versions::show))
        .route("/api", get(api::show))
        .route("/guide", get(guide::show))
        .route("/guide/{sample}", get(guide::sample))
        .route("/endpoints", get(reach::endpoints))
        .route("/endpoints/{id}", get(reach::endpoint))
        .route("/grants", get(reach::grants))
        .route("/audit", get(audit::search))
        .route("/audit/any", get(audit::any))
        .route("/audit/tail", get(audit_tail::show))
        .route("/audit/tail/rows", get(audit_tail::rows))
        .route("/audit/export", post(audit_export::export))
        .route("/audit/chain", get(chain::show).post(chain::verify))
        .route("/audit/{id}", get(audit::show))
        .route("/doctor", get(home::doctor))
        .route("/security", get(security::show))
        .route("/assets/portal.css", get(|| async { asset("text/css; charset=utf-8", STYLE) }))
        .route("/assets/portal.js", get(|| async { asset("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/assets/htmx.min.js", get(|| async { asset("text/javascript; charset=utf-8", HTMX) }))
        .fallback(nothing)
        .layer(from_fn(guard))
        .with_state(portal)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let kept = HeaderValue::from_static("max-age=3600");
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (header::CACHE_CONTROL, kept)], text).into_response()
}

async fn nothing(State(portal): Shared, request: Request) -> Response {
    match portal.enter(request.headers()).await {
        Ok(session) => {
            let text = "There is no such page. It may have been renamed, or belong to somebody else.".to_owned();
            portal.page(&session, "Not found", "", vec![Block::Text(text)]).answer(StatusCode::NOT_FOUND)
        }
        Err(elsewhere) => elsewhere,
    }
}

/// The fields of a form, or of a query.
type Fields = BTreeMap<String, String>;

/// What a request brings that is not in its path.
struct Asked {
    visitor: Visitor,
    headers: HeaderMap,
    /// The fields of the form, or of the query.
    fields: Fields,
}

impl Asked {
    /// Reads a request. A field that is sent twice is its first.
    async fn read(request: Request) -> Result<Self, Response> {
        Self::read_up_to(request, LARGEST).await
    }

    /// The same with a form of at most so many bytes.
    async fn read_up_to(request: Request, most: usize) -> Result<Self, Response> {
        let (head, body) = request.into_parts();
        let from = head.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(from)| from.ip().to_canonical());
        let Some(client) = from else { return Err(StatusCode::INTERNAL_SERVER_ERROR.into_response()) };
        let agent = head.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let agent = agent.map(|agent| agent.chars().take(AGENT).collect());
        let body = read_body(body, most).await?;
        let text = if head.method == axum::http::Method::POST { &body[..] } else { query(&head.uri) };
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            fields.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        Ok(Self { visitor: Visitor { client, agent }, headers: head.headers, fields })
    }

    fn text(&self, name: &str) -> &str {
        self.fields.get(name).map(|text| text.trim()).unwrap_or_default()
    }

    fn maybe(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// A secret, exactly as it was typed.
    fn secret(&self, name: &str) -> Secret {
        Secret::new(self.fields.get(name).cloned().unwrap_or_default())
    }
}

async fn read_body(body: Body, most: usize) -> Result<axum::body::Bytes, Response> {
    to_bytes(body, most).await.map_err(|_| (StatusCode::PAYLOAD_TOO_LARGE, "the form is too large").into_response())
}

fn query(uri: &axum::http::Uri) -> &[u8] {
    uri.query().unwrap_or_default().as_bytes()
}

impl Portal {
    /// The session of somebody who is signed in; leads everybody else to where that is done.
    async fn enter(self: &Arc<Self>, headers: &HeaderMap) -> Result<Session, Response> {
        let session = self.find_session(headers).await?;
        match session {
            Some(session) if session.kept.stage == Stage::Full => Ok(session),
            Some(session) => Err(see(entry::page_of(session.kept.stage))),
            None => Err(see("/sign-in")),
        }
    }

    async fn find_session(self: &Arc<Self>, headers: &HeaderMap) -> Result<Option<Session>, Response> {
        let (portal, headers) = (Arc::clone(self), headers.clone());
        let found = tokio::task::spawn_blocking(move || portal.session_of(&headers)).await;
        found.map_err(broken)?.map_err(broken)
    }

    /// A page with everything around it.
    fn page(&self, session: &Session, title: &str, here: &str, blocks: Vec<Block>) -> Page {
        let role = session.user.user.authority.role();
        let link = |(href, text): &(&str, &str)| Link {
            href: (*href).to_owned(),
            text: (*text).to_owned(),
            here: *href == here,
        };
        let menu = MENU.iter().filter(|(_, roles)| roles.contains(&role)).map(|(entry, _)| link(entry)).collect();
        Page {
            title: title.to_owned(),
            user: Some((session.user.user.name.clone(), role.as_str())),
            menu,
            stopped: self.stopped(session),
            blocks,
            now: Some(self.control.clock.now()),
            live: None,
        }
    }

    /// What is stopped. A client is told what its own requests are told.
    fn stopped(&self, session: &Session) -> Vec<String> {
        let snapshot = self.control.directory.snapshot();
        let in_force = snapshot.kill_switches().in_force(self.control.clock.now());
        match session.user.user.authority.role() {
            Role::Client => {
                let all = snapshot.kill_switches().global(self.control.clock.now());
                all.map(|engaged| engaged.message.clone().unwrap_or_default()).into_iter().collect()
            }
            Role::Admin | Role::Operator | Role::Auditor => in_force
                .map(|engaged| {
                    let by = self.who(session, &engaged.by);
                    format!("{} since {} by {by}: {}", engaged.scope, engaged.at, engaged.reason)
                })
                .collect(),
        }
    }

    /// An actor as people know it.
    fn who(&self, session: &Session, actor: &str) -> String {
        let named = || {
            let id = actor.strip_prefix("credential:")?.parse().ok()?;
            self.control.directory.snapshot().credential(id).map(|set| set.name.clone())
        };
        session.people.get(actor).cloned().or_else(named).unwrap_or_else(|| actor.to_owned())
    }

    async fn run(&self, session: &Session, command: Command) -> Result<Value, ControlError> {
        self.control.run(session.caller(), command).await
    }
}

use Role::{Admin, Auditor, Client, Operator};

/// The pages that everybody finds, and who has them.
const MENU: &[((&str, &str), &[Role])] = &[
    (("/", "Overview"), &[Admin, Operator, Auditor, Client]),
    (("/accounts", "Accounts"), &[Admin, Operator, Auditor]),
    (("/credentials", "Credential sets"), &[Admin, Operator, Auditor, Client]),
    (("/api", "API"), &[Client]),
    (("/guide", "Guide"), &[Client]),
    (("/policies", "Policies"), &[Admin, Operator, Auditor]),
    (("/endpoints", "Endpoints"), &[Admin, Operator, Auditor]),
    (("/grants", "Grants"), &[Admin, Operator, Auditor]),
    (("/schedules", "Schedules"), &[Admin, Operator, Auditor]),
    (("/upstreams", "ERPs"), &[Admin, Operator, Auditor]),
    (("/users", "Users"), &[Admin, Operator, Auditor]),
    (("/kill-switch", "Kill switch"), &[Admin, Operator, Auditor]),
    (("/audit", "Audit"), &[Admin, Operator, Auditor, Client]),
    (("/doctor", "Doctor"), &[Admin, Operator, Auditor]),
    (("/security", "Security"), &[Admin, Operator, Auditor, Client]),
];

fn broken(error: impl std::fmt::Display) -> Response {
    log::error!("the portal could not answer: {error}");
    let text = "Something is broken; the gateway's log says what.".to_owned();
    Page::outside("This did not work", vec![Block::Notice(Tone::Bad, text)]).answer(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The status with which a page says that something was not done.
fn status_of(error: &ControlError) -> StatusCode {
    match error.kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict | ErrorKind::Stale => StatusCode::CONFLICT,
        ErrorKind::Invalid | ErrorKind::Incomplete => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::Upstream => StatusCode::BAD_GATEWAY,
        ErrorKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn refusal(error: &ControlError) -> Block {
    Block::Notice(Tone::Bad, error.message.clone())
}

/// A member of an answer as text.
fn text(value: &Value, member: &str) -> String {
    match value.get(member) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Reads a form of somebody who is signed in; leads everybody else to where that is done.
async fn form_of(portal: &Arc<Portal>, request: Request) -> Result<(Asked, Session), Response> {
    let asked = Asked::read(request).await?;
    let session = portal.enter(&asked.headers).await?;
    Ok((asked, session))
}

/// Reads a field that must have a form of its own.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, ControlError> {
    text.parse().map_err(|error| ControlError::invalid(format!("`{text}`: {error}")))
}

/// Checks the password where it was not given lately.
async fn proven(portal: &Portal, session: &Session, asked: &Asked) -> Result<(), ControlError> {
    if portal.is_proven(session) {
        return Ok(());
    }
    let right = portal.prove(session, asked.secret("present"), &asked.visitor).await;
    right.map_err(|_| ControlError::invalid("your password is asked for here, and that was not it"))
}

/// The field for the password before what is sensitive, where it was not given lately.
fn proof(portal: &Portal, session: &Session) -> Option<Field> {
    let field = || Field::of("password", "present", "Your password").autocomplete("current-password");
    (!portal.is_proven(session)).then(|| field().hint("Asked for again before something that matters."))
}

/// A moment as people read it; the machine's form stays whole.
fn when(value: &Value, member: &str) -> String {
    let moment = text(value, member);
    moment.split_once('.').map_or(moment.clone(), |(seconds, _)| format!("{seconds}Z")).replace('T', " ")
}

fn plain_form(title: &str, action: &str, button: &str) -> Form {
    Form::post(title, action, button)
}
