//! The little ERP's routes.

use std::convert::Infallible;
use std::future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, LOCATION, SET_COOKIE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::{Answer, cut, empty, json_answer, large, refusal, wrong_method};
use super::data::{self, NewOrder};
use super::recorder::Sequence;
use super::state::{SESSION_HEADER, State};

const LARGEST_JSON: usize = 65_536;
const DRAINED_BEFORE_A_REFUSAL: u64 = 1_048_576;
const LONGEST_DELAY: Duration = Duration::from_mins(10);

/// Answers one request.
pub(super) async fn serve(state: Arc<State>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let sequence = state.recorder().arrived(&head);
    let mut body = ArrivingBody { body, state: &state, sequence };
    if head.uri.path() == "/api/session" && head.method == Method::POST {
        return Ok(sign_in(&state, body).await);
    }
    if !state.admits(&head.headers) {
        // A peer that is still writing may not see an answer that comes before its body was read.
        body.drain(DRAINED_BEFORE_A_REFUSAL).await;
        let mut answer = refusal(StatusCode::UNAUTHORIZED, "sign in first");
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"little-erp\""));
        return Ok(answer);
    }
    Ok(route(&state, &head, body).await)
}

async fn route(state: &State, head: &Parts, mut body: ArrivingBody<'_>) -> Answer {
    let route = head.uri.path().strip_prefix("/api/").unwrap_or("");
    let (family, rest) = route.split_once('/').map_or((route, None), |(family, rest)| (family, Some(rest)));
    match (family, rest) {
        ("orders", None) if head.method == Method::POST => return add_order(state, body).await,
        ("upload", None) => return upload(body).await,
        _ => body.drain(u64::MAX).await,
    }
    match (family, rest) {
        ("session", None) => end_session(state, head),
        ("customers", None) => read(head, || Some(json!({ "customers": data::customers() }))),
        ("customers", Some(id)) => read(head, || found(data::customers(), |customer| customer.id.to_string() == id)),
        ("orders", None) => read(head, || Some(json!({ "orders": state.orders() }))),
        ("orders", Some(id)) => read(head, || found(state.orders(), |order| order.id.to_string() == id)),
        ("stock", None) => read(head, || Some(json!({ "stock": data::stock() }))),
        ("stock", Some(sku)) => read(head, || found(data::stock(), |item| item.sku == sku)),
        ("slow", None) => slow(head).await,
        ("fail", None) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "ORA-00942: table SALES.ORDERS does not exist"),
        ("large", None) => large(number(head, "bytes").unwrap_or(1_048_576)),
        ("redirect", None) => redirect(state),
        ("leak", None) => leak(&head.headers),
        ("echo", None) => echo(head),
        ("reset", None) => cut(),
        ("hang", None) => future::pending().await,
        _ => refusal(StatusCode::NOT_FOUND, "no such route"),
    }
}

#[derive(Deserialize)]
struct SignIn {
    username: String,
    password: String,
}

async fn sign_in(state: &State, body: ArrivingBody<'_>) -> Answer {
    state.count_sign_in();
    let Some(SignIn { username, password }) = body.json().await else {
        return refusal(StatusCode::BAD_REQUEST, "username and password are wanted, as JSON");
    };
    tokio::time::sleep(state.sign_in_delay()).await;
    if !state.may_sign_in(&username, &password) {
        return refusal(StatusCode::OK, "wrong username or password");
    }
    match state.begin_session() {
        Ok(token) => {
            let expires_in = state.session_lifetime().as_secs();
            json_answer(StatusCode::OK, &json!({ "ok": true, "token": token, "expires_in": expires_in }))
        }
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn end_session(state: &State, head: &Parts) -> Answer {
    if head.method != Method::DELETE {
        return wrong_method("POST, DELETE");
    }
    if let Some(token) = head.headers.get(SESSION_HEADER).and_then(|value| value.to_str().ok()) {
        state.sessions().end(token);
    }
    empty(StatusCode::NO_CONTENT)
}

fn read(head: &Parts, value: impl FnOnce() -> Option<Value>) -> Answer {
    if head.method != Method::GET && head.method != Method::HEAD {
        return wrong_method("GET, HEAD");
    }
    match value() {
        Some(value) => json_answer(StatusCode::OK, &value),
        None => refusal(StatusCode::NOT_FOUND, "no such record"),
    }
}

fn found<Record: serde::Serialize>(records: Vec<Record>, wanted: impl FnMut(&Record) -> bool) -> Option<Value> {
    records.into_iter().find(wanted).map(|record| json!(record))
}

async fn add_order(state: &State, body: ArrivingBody<'_>) -> Answer {
    let Some(new) = body.json::<NewOrder>().await else {
        return refusal(StatusCode::BAD_REQUEST, "customer and lines are wanted, as JSON");
    };
    if let Some(fault) = new.fault() {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, fault);
    }
    match state.add_order(|id| new.into_order(id)) {
        Some(order) => json_answer(StatusCode::CREATED, &json!(order)),
        None => refusal(StatusCode::INSUFFICIENT_STORAGE, "no room for more orders"),
    }
}

async fn slow(head: &Parts) -> Answer {
    let delay = Duration::from_millis(number(head, "ms").unwrap_or(1_000)).min(LONGEST_DELAY);
    tokio::time::sleep(delay).await;
    json_answer(StatusCode::OK, &json!({ "ok": true, "waited_ms": delay.as_millis() }))
}

async fn upload(mut body: ArrivingBody<'_>) -> Answer {
    let mut received = 0_u64;
    let mut check = crc32fast::Hasher::new();
    while let Some(chunk) = body.next().await {
        let Ok(chunk) = chunk else {
            return refusal(StatusCode::BAD_REQUEST, "the body broke off");
        };
        received += chunk.len() as u64;
        check.update(&chunk);
    }
    json_answer(StatusCode::OK, &json!({ "received": received, "crc32": check.finalize() }))
}

fn redirect(state: &State) -> Answer {
    let mut answer = empty(StatusCode::FOUND);
    let inside = format!("http://{}/api/orders", state.address());
    if let Ok(inside) = HeaderValue::from_str(&inside) {
        answer.headers_mut().insert(LOCATION, inside);
    }
    answer
        .headers_mut()
        .insert(SET_COOKIE, HeaderValue::from_static("erp_session=inside-only; Path=/; HttpOnly; SameSite=Strict"));
    answer
}

fn leak(headers: &HeaderMap) -> Answer {
    let credential = headers.get(SESSION_HEADER).or_else(|| headers.get(AUTHORIZATION));
    let text = credential.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let mut answer = json_answer(StatusCode::OK, &json!({ "debug": { "session": text } }));
    if let Some(value) = credential {
        answer.headers_mut().insert("x-debug-session", value.clone());
        answer.headers_mut().insert(SESSION_HEADER, value.clone());
    }
    answer
}

fn echo(head: &Parts) -> Answer {
    let headers: Vec<Value> = head
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let target = head.uri.to_string();
    let path = head.uri.path();
    json_answer(
        StatusCode::OK,
        &json!({ "method": head.method.as_str(), "path": path, "target": target, "headers": headers }),
    )
}

fn number(head: &Parts, name: &str) -> Option<u64> {
    let query = head.uri.query()?;
    let (_, value) = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name)?;
    value.parse().ok()
}

/// A request body whose length is recorded while it arrives.
struct ArrivingBody<'state> {
    body: Incoming,
    state: &'state State,
    sequence: Sequence,
}

impl ArrivingBody<'_> {
    async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            let frame = match self.body.frame().await? {
                Ok(frame) => frame,
                Err(error) => return Some(Err(error)),
            };
            // What is not data is trailers, which nobody here reads.
            if let Ok(data) = frame.into_data() {
                self.state.recorder().body_arrived(self.sequence, data.len() as u64);
                return Some(Ok(data));
            }
        }
    }

    /// Reads the body without keeping it, until its end or until `most` bytes have arrived.
    async fn drain(&mut self, most: u64) {
        let mut received = 0;
        while received < most
            && let Some(Ok(chunk)) = self.next().await
        {
            received += chunk.len() as u64;
        }
    }

    /// The body as JSON of the wanted form, if it is that and not too long.
    async fn json<Wanted: serde::de::DeserializeOwned>(mut self) -> Option<Wanted> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.next().await {
            whole.extend_from_slice(&chunk.ok()?);
            if whole.len() > LARGEST_JSON {
                return None;
            }
        }
        serde_json::from_slice(&whole).ok()
    }
}
