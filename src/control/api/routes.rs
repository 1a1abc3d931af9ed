//! The routes of the admin API. Whoever comes this far is known; what that one may do, the operations check.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Json, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, any, get, on};
use axum::{Router, middleware};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::super::operation::{OPERATIONS, Operation, Verb};
use super::super::{Caller, Command, Control, ControlError, Result};
use super::answers::{Answer, Shape};
use super::door::{self, KeyDoor, SocketDoor, SocketRoles};
use super::pages::Page;
use super::problem::{self, problem};
use super::request::{self, Parts};
use crate::store::Asked;

/// The largest body, in bytes: a question about a request comes with its body.
const LARGEST: usize = 256 * 1024;

/// The API for the Unix socket.
pub(in super::super) fn over_socket(control: Arc<Control>, roles: SocketRoles) -> Router {
    let door = SocketDoor { control: Arc::clone(&control), roles };
    routes(control)
        .fallback(nothing)
        .layer(from_fn_with_state(Arc::new(door), door::at_socket))
        .layer(middleware::map_response(uncached))
}

/// The admin API for holders of operator keys: all paths under `/v1/`, to be merged with what else is served there.
pub fn api_over_http(control: &Arc<Control>) -> Router {
    let door = Arc::new(KeyDoor::new(Arc::clone(control)));
    routes(Arc::clone(control))
        .layer(from_fn_with_state(door, door::with_key))
        .layer(middleware::map_response(uncached))
}

fn routes(control: Arc<Control>) -> Router {
    let mut router = Router::new().route("/v1/openapi.json", get(|| async { Json(super::description()) }));
    for operation in OPERATIONS {
        let method = match operation.method {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Put => MethodFilter::PUT,
            Verb::Delete => MethodFilter::DELETE,
        };
        let serve = move |control, caller, path, request| serve(operation, control, caller, path, request);
        router = router.route(operation.path, on(method, serve));
    }
    let other = || async {
        let (status, about) = (StatusCode::METHOD_NOT_ALLOWED, "the route does not take this method");
        problem(status, "method_not_allowed", "Not this method", about)
    };
    router.method_not_allowed_fallback(other).route("/v1/{*rest}", any(nothing)).with_state(control)
}

async fn nothing() -> Response {
    problem::of(&ControlError::not_found("there is no such route"))
}

/// Answers hold what is true now and what is not for everybody.
async fn uncached(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn serve(
    operation: &'static Operation,
    State(control): State<Arc<Control>>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<Vec<(String, String)>>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let body = match read(&head.headers, body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let query = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let asked = Asking { operation, path, query, body: &body, headers: &head.headers };
    answer(&control, caller, asked).await.unwrap_or_else(|error| problem::of(&error))
}

/// Reads the body, which is JSON where there is one.
async fn read(headers: &HeaderMap, body: Body) -> std::result::Result<axum::body::Bytes, Response> {
    let body = to_bytes(body, LARGEST).await.map_err(|_| {
        let about = format!("the body is longer than {LARGEST} bytes, or did not arrive whole");
        problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large", &about)
    })?;
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if body.is_empty() || media_type.eq_ignore_ascii_case("application/json") {
        return Ok(body);
    }
    let about = "send the body as application/json";
    Err(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body is not JSON", about))
}

struct Asking<'a> {
    operation: &'static Operation,
    path: Vec<(String, String)>,
    query: Vec<(String, String)>,
    body: &'a [u8],
    headers: &'a HeaderMap,
}

async fn answer(control: &Arc<Control>, caller: Caller, asking: Asking<'_>) -> Result<Response> {
    let Asking { operation, path, mut query, body, headers } = asking;
    // Who may not have the operation learns nothing about what it takes.
    control.permit_role(&caller, operation.name)?;
    let shape = Answer::of(operation);
    let page = match shape.shape {
        Shape::Pages(_) => Some(Page::taken_from(&mut query)?),
        Shape::Newest => Some(Page::newest(&query)),
        Shape::One | Shape::Whole => None,
    };
    let caller = Caller { expected: expected(headers)?, ..caller };
    let command = request::command(operation, Parts { path, query, body })?;
    let once = match idempotency_key(headers)? {
        Some(key) if shape.makes => Some(Once::begin(control, &caller, key, &command).await?),
        _ => None,
    };
    let done = control.run(caller, command).await;
    if let Some(once) = once {
        once.end(control, &done).await;
    }
    let value = match (done?, page) {
        (Value::Array(list), Some(page)) => page.of(list, shape.shape),
        (value, _) => value,
    };
    let status = StatusCode::from_u16(shape.status).map_err(ControlError::failed)?;
    let tag = value.get("revision").and_then(Value::as_u64);
    let mut response = (status, Json(value)).into_response();
    if let Some(tag) = tag.and_then(|revision| HeaderValue::from_str(&format!("\"{revision}\"")).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// The revision that `If-Match` asks for (RFC 9110, section 13.1.1): one entity tag of ours; `*` is any.
fn expected(headers: &HeaderMap) -> Result<Option<u64>> {
    let Some(tag) = headers.get(header::IF_MATCH).map(|value| value.to_str().unwrap_or_default().trim()) else {
        return Ok(None);
    };
    if tag == "*" {
        return Ok(None);
    }
    let revision = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|tag| tag.parse().ok());
    revision.map(Some).ok_or_else(|| ControlError::invalid("`If-Match` takes the ETag of an answer, as in \"17\""))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut sent = headers.get_all("idempotency-key").iter();
    let Some(key) = sent.next() else { return Ok(None) };
    let text = key.to_str().unwrap_or_default();
    let fits = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if sent.next().is_some() || !fits {
        return Err(ControlError::invalid("an Idempotency-Key is 1 to 128 printable ASCII characters, sent once"));
    }
    Ok(Some(text))
}

/// Something that is made once for one key.
struct Once([u8; 32]);

impl Once {
    /// SECURITY: issued secrets are kept nowhere, so the answer cannot be given again; it is said what was made.
    async fn begin(control: &Arc<Control>, caller: &Caller, key: &str, command: &Command) -> Result<Self> {
        let name: &'static str = command.into();
        let asker = format!("{}\n{name}\n{key}", caller.actor);
        let key: [u8; 32] = Sha256::digest(asker.as_bytes()).into();
        let request: [u8; 32] = Sha256::digest(serde_json::to_vec(command).map_err(ControlError::failed)?).into();
        let now = control.clock.now();
        let before = blocking(control, move |control| control.store.ask_once(&key, &request, now)).await?;
        match before {
            Asked::First => Ok(Self(key)),
            Asked::Before { request: before, .. } if before != request => {
                Err(ControlError::invalid("this Idempotency-Key was used for something else within the last 24 hours"))
            }
            Asked::Before { subject, .. } if subject.is_empty() => Err(ControlError::conflict(
                "this was asked for with the same Idempotency-Key already and has not ended, or ended in a fault; list \
                 what there is before you ask with another key",
            )),
            Asked::Before { subject, .. } => Err(ControlError::conflict(format!(
                "this was done already: it made `{subject}`. Secrets are shown once; rotate or revoke it when you do \
                 not have them"
            ))),
        }
    }

    /// What was done is answered whatever happens here: the answer may hold secrets that are shown once.
    async fn end(self, control: &Arc<Control>, done: &Result<Value>) {
        let Self(key) = self;
        let made = done.as_ref().ok().map(|value| {
            let id = value.get("id").or_else(|| value.get("name")).and_then(Value::as_str);
            id.unwrap_or("what was asked for").to_owned()
        });
        let noted = blocking(control, move |control| match made {
            Some(subject) => control.store.made_for(&key, &subject),
            None => control.store.made_nothing_for(&key),
        });
        if let Err(error) = noted.await {
            log::error!("what an Idempotency-Key made could not be noted: {error}");
        }
    }
}

async fn blocking<T: Send + 'static>(
    control: &Arc<Control>,
    work: impl FnOnce(&Control) -> std::result::Result<T, crate::store::StoreError> + Send + 'static,
) -> Result<T> {
    let control = Arc::clone(control);
    let done = tokio::task::spawn_blocking(move || work(&control)).await;
    done.map_err(ControlError::failed)?.map_err(ControlError::failed)
}
