//! Answers of our own: what the gateway says when it does not pass on the ERP's answer.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::domain::{Code, RequestId};
use crate::gate::{Denial, Public, Quota};

/// The header that tells deliberate control from outage.
pub const CAUSE: HeaderName = HeaderName::from_static("x-erp-access-cause");
/// The header with the id of the exchange and of its audit row.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `RateLimit` of draft-ietf-httpapi-ratelimit-headers.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// `RateLimit-Policy` of the same draft.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers, without those about framing.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// A JSON answer that no cache may keep.
    #[must_use]
    pub fn json(status: StatusCode, id: RequestId, body: &Value) -> Self {
        Self::of(status, id, "application/json", body)
    }

    /// An empty answer.
    #[must_use]
    pub fn empty(status: StatusCode, id: RequestId) -> Self {
        Self {
            status,
            headers: vec![(header::CACHE_CONTROL, no_store()), (REQUEST_ID, id_value(id))],
            body: Bytes::new(),
        }
    }

    /// A denial as `application/problem+json` (RFC 9457).
    #[must_use]
    pub fn problem(id: RequestId, denial: &Denial) -> Self {
        let body = Value::Object(problem_members(id, denial));
        Self::of(status_of(denial.code), id, "application/problem+json", &body).with_denial_headers(denial)
    }

    /// A denial at the token endpoint: the members that RFC 6749 section 5.2 wants, and ours.
    #[must_use]
    pub fn oauth_error(id: RequestId, denial: &Denial) -> Self {
        let mut members = Map::new();
        members.insert("error".into(), json!(oauth_error_of(denial.code)));
        members.insert("error_description".into(), json!(denial.code.title()));
        members.extend(problem_members(id, denial).into_iter().filter(|(name, _)| name != "type" && name != "status"));
        let body = Value::Object(members);
        Self::of(status_of(denial.code), id, "application/json", &body).with_denial_headers(denial)
    }

    fn of(status: StatusCode, id: RequestId, content_type: &'static str, body: &Value) -> Self {
        let headers = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (header::CACHE_CONTROL, no_store()),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (REQUEST_ID, id_value(id)),
        ];
        Self { status, headers, body: Bytes::from(body.to_string()) }
    }

    fn with_denial_headers(mut self, denial: &Denial) -> Self {
        self.headers.push((CAUSE, HeaderValue::from_static(denial.code.cause().as_str())));
        let public = &denial.public;
        if let Some(challenge) = public.challenge {
            self.headers.push((header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge.as_str())));
        }
        if let Some(seconds) = retry_seconds(public) {
            self.headers.push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        }
        if let Some(limit) = &public.limit {
            let quota = match limit.quota {
                Quota::Requests(requests) => format!("q={requests}"),
                Quota::Bytes(bytes) => format!("q={bytes};qu=\"content-bytes\""),
                Quota::AtOnce(requests) => format!("q={requests};qu=\"concurrent-requests\""),
            };
            let window = limit.period.map_or_else(String::new, |period| format!(";w={}", period.as_secs().max(1)));
            let again = retry_seconds(public).map_or_else(String::new, |seconds| format!(";t={seconds}"));
            let policy = format!("\"{}\";{quota}{window}", limit.name);
            let state = format!("\"{}\";r={}{again}", limit.name, limit.left);
            let values = [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, state)];
            self.headers
                .extend(values.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?))));
        }
        self
    }
}

fn problem_members(id: RequestId, denial: &Denial) -> Map<String, Value> {
    let code = denial.code;
    let public = &denial.public;
    let mut members = Map::new();
    members.insert("type".into(), json!(format!("urn:erp-access:problem:{code}")));
    members.insert("title".into(), json!(code.title()));
    members.insert("status".into(), json!(code.status()));
    members.insert("code".into(), json!(code.as_str()));
    members.insert("cause".into(), json!(code.cause().as_str()));
    members.insert("request_id".into(), json!(id));
    if let Some(detail) = &public.detail {
        members.insert("detail".into(), json!(detail));
    }
    if let Some(message) = &public.message {
        members.insert("detail".into(), json!(message));
    }
    if let Some(opens_at) = public.opens_at {
        members.insert("opens_at".into(), json!(opens_at));
    }
    members
}

/// RFC 6749 section 5.2 knows six errors; what it does not know is `temporarily_unavailable` or `invalid_request`.
const fn oauth_error_of(code: Code) -> &'static str {
    match code {
        Code::CredentialsMissing | Code::CredentialsInvalid | Code::AccountSuspended | Code::TokenInvalid => {
            "invalid_client"
        }
        Code::NotPermitted | Code::ConditionFailed | Code::OutsideSchedule => "unauthorized_client",
        Code::KillSwitchEngaged
        | Code::RateLimited
        | Code::InternalError
        | Code::AuditUnavailable
        | Code::Overloaded
        | Code::UpstreamUnreachable
        | Code::UpstreamAppError
        | Code::UpstreamSessionFailed
        | Code::UpstreamProtocolError
        | Code::ResponseWithheld
        | Code::UpstreamTimeout => "temporarily_unavailable",
        Code::BadRequest
        | Code::AmbiguousPath
        | Code::RequestTimeout
        | Code::TooLarge
        | Code::UriTooLong
        | Code::UnsupportedMediaType
        | Code::HeadersTooLarge => "invalid_request",
    }
}

fn retry_seconds(public: &Public) -> Option<u64> {
    public.retry_after.map(|after| after.as_secs() + u64::from(after.subsec_nanos() > 0))
}

fn status_of(code: Code) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn no_store() -> HeaderValue {
    HeaderValue::from_static("no-store")
}

fn id_value(id: RequestId) -> HeaderValue {
    HeaderValue::try_from(id.to_string()).unwrap_or_else(|_| HeaderValue::from_static("-"))
}
