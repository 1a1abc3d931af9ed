//! The audit trail as it goes on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::audit::{COLUMNS, query, table};
use super::ui::{Block, Link};
use super::{Asked, Shared, form_of, items, refusal, status_of, text, when};
use crate::control::{AuditQuery, Command};
use crate::portal::Portal;
use crate::portal::sessions::Session;

/// How often it is looked for new rows.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Rows that are sent each time; more are counted only.
const AT_ONCE: usize = 100;

pub(super) async fn show(State(portal): Shared, request: Request) -> Response {
    let source = request.uri().query().map(str::to_owned).unwrap_or_default();
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let found = match query(&asked) {
        Ok(query) => portal.run(&session, Command::AuditSearch(Box::new(query))).await,
        Err(error) => Err(error),
    };
    let (status, blocks) = match found {
        Err(error) => (status_of(&error), vec![refusal(&error)]),
        Ok(rows) => {
            let link = |href: String, text: &str| Link { href, text: text.to_owned(), here: false };
            let links = vec![
                link(format!("/audit?{source}"), "Back to the filter"),
                link(format!("/audit/tail?{source}"), "Look again"),
            ];
            let columns = COLUMNS.map(str::to_owned).into();
            let blocks = vec![
                Block::Links(links),
                Block::Tail { source: format!("/audit/tail/rows?{source}"), columns },
                table(&portal, &session, "The newest rows", &rows, "No row fits this filter yet."),
            ];
            (StatusCode::OK, blocks)
        }
    };
    portal.page(&session, "Audit, as it goes on", "/audit", blocks).answer(status)
}

/// Somebody who follows.
struct Follower {
    portal: Arc<Portal>,
    session: Session,
    headers: HeaderMap,
    query: AuditQuery,
    after: Option<i64>,
    _turn: OwnedSemaphorePermit,
}

/// New rows, as server-sent events: `rows` with the rows and how many were left out, `over` where there are no more.
pub(super) async fn rows(State(portal): Shared, request: Request) -> Response {
    let asked = match Asked::read(request).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    // A stream that lasts is no use of the session: it ends where nobody does anything else.
    let mut headers = asked.headers.clone();
    headers.insert(HeaderName::from_static("x-refresh"), HeaderValue::from_static("1"));
    let session = match portal.enter(&headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let Ok(turn) = Arc::clone(&portal.followers).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many follow the trail already").into_response();
    };
    let query = match query(&asked) {
        Ok(query) => query,
        Err(error) => return (status_of(&error), error.message).into_response(),
    };
    // Whoever may not follow learns it here, and not from a stream that breaks.
    let begin = portal.run(&session, Command::AuditForward { query: Box::new(query.clone()), after: None }).await;
    let after = match begin {
        Ok(begin) => begin.get("end").and_then(Value::as_i64),
        Err(error) => return (status_of(&error), error.message).into_response(),
    };
    let follower = Follower { portal: Arc::clone(&portal), session, headers, query, after, _turn: turn };
    let events = stream::unfold(Some(follower), |follower| async { follower?.next().await });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Option<Self>)> {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let over = |why: &str| Some((Ok(Event::default().event("over").data(why)), None));
            if self.portal.enter(&self.headers).await.is_err() {
                return over("your session has ended");
            }
            let mut rows = Vec::new();
            loop {
                let command = Command::AuditForward { query: Box::new(self.query.clone()), after: self.after };
                let passed = match self.portal.run(&self.session, command).await {
                    Ok(passed) => passed,
                    Err(error) => return over(&error.message),
                };
                let number = |member: &str| passed.get(member).and_then(Value::as_i64);
                rows.extend(items(passed.get("rows").unwrap_or_default()).iter().map(|row| self.cells(row)));
                self.after = number("checked_to").or(self.after);
                if number("checked_to") >= number("end") {
                    break;
                }
            }
            if rows.is_empty() {
                continue;
            }
            let dropped = rows.len().saturating_sub(AT_ONCE);
            let data = json!({ "rows": rows.split_off(dropped), "dropped": dropped });
            return Some((Ok(Event::default().event("rows").data(data.to_string())), Some(self)));
        }
    }

    /// A row as its table shows it: the id, then the cells.
    fn cells(&self, row: &Value) -> Value {
        json!([
            text(row, "id"),
            when(row, "at"),
            text(row, "kind"),
            self.portal.who(&self.session, &text(row, "actor")),
            format!("{} {}", text(row, "method"), text(row, "path")),
            text(row, "decision"),
            text(row, "code"),
            text(row, "status"),
        ])
    }
}
