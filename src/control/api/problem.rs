//! How the API says that something was not done: `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::super::{ControlError, ErrorKind};

/// Why something was not done.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct Problem {
    /// Identifies the kind of problem.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// The same in a few words.
    pub(super) title: String,
    /// The status of the answer.
    pub(super) status: u16,
    /// A stable word for the kind of problem.
    pub(super) code: String,
    /// What went wrong, and what to do about it.
    pub(super) detail: String,
}

struct Sort {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
}

const fn sort(kind: ErrorKind) -> Sort {
    let (status, code, title) = match kind {
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not_found", "There is no such thing"),
        ErrorKind::Conflict => (StatusCode::CONFLICT, "conflict", "Its state does not allow it"),
        ErrorKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "It makes no sense as given"),
        ErrorKind::Incomplete => (StatusCode::BAD_REQUEST, "incomplete", "Something is missing"),
        ErrorKind::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The role does not allow it"),
        ErrorKind::Stale => (StatusCode::PRECONDITION_FAILED, "stale", "It has changed meanwhile"),
        ErrorKind::Upstream => (StatusCode::BAD_GATEWAY, "upstream", "The ERP did not do its part"),
        ErrorKind::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "failed", "Something is broken"),
    };
    Sort { status, code, title }
}

const KINDS: [ErrorKind; 8] = [
    ErrorKind::NotFound,
    ErrorKind::Conflict,
    ErrorKind::Invalid,
    ErrorKind::Incomplete,
    ErrorKind::Forbidden,
    ErrorKind::Stale,
    ErrorKind::Upstream,
    ErrorKind::Failed,
];

/// The answer for an operation that was not carried out.
pub(super) fn of(error: &ControlError) -> Response {
    let Sort { status, code, title } = sort(error.kind);
    problem(status, code, title, &error.message)
}

/// An answer for what is no operation's fault.
pub(super) fn problem(status: StatusCode, code: &str, title: &str, detail: &str) -> Response {
    let problem = Problem {
        kind: format!("urn:erp-access:problem:{code}"),
        title: title.to_owned(),
        status: status.as_u16(),
        code: code.to_owned(),
        detail: detail.to_owned(),
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// What an answer of the API says went wrong; for those who speak to it.
#[must_use]
pub fn read_problem(body: &[u8]) -> Option<ControlError> {
    let problem: Problem = serde_json::from_slice(body).ok()?;
    let kind = KINDS.into_iter().find(|kind| sort(*kind).code == problem.code).unwrap_or(ErrorKind::Failed);
    Some(ControlError { kind, message: problem.detail })
}
