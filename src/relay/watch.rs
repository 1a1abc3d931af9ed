//! Looks into the body of an answer while it passes, where the configuration asks a question about it.

use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use crate::config::{ApplicationError, BodyMatch, Upstream};
use crate::upstream::{Loss, loss};

/// The longest body that is looked into, in bytes: reports of failures are short.
const LONGEST: usize = 64 * 1024;

/// Keeps the body of one answer until it has ended. Nothing is held back.
#[derive(Debug)]
pub(super) struct AnswerWatch {
    kept: Vec<u8>,
    too_long: bool,
    application_error: Option<BodyMatch>,
    lost: Option<BodyMatch>,
}

/// What the body said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// The ERP reports a failure of its own.
    pub(super) application_error: bool,
    /// The ERP says that the session is gone.
    pub(super) session_lost: bool,
}

impl AnswerWatch {
    /// A watch for the answer with this head; `None` where nobody asks anything about it.
    pub(super) fn of(upstream: &Upstream, status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        if !upstream.looks_into_answers() {
            return None;
        }
        let asked = |rule: &&ApplicationError| rule.status.contains(&status);
        let application_error = upstream.application_error.as_ref().filter(asked).map(|rule| rule.body.clone());
        let lost = match loss(upstream, status, headers) {
            Loss::IfBody(body) => Some(body.clone()),
            Loss::None | Loss::Lost => None,
        };
        let is_asked = application_error.is_some() || lost.is_some();
        (is_asked && is_plain_json(headers)).then(|| Self {
            kept: Vec::new(),
            too_long: false,
            application_error,
            lost,
        })
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        if self.too_long {
            return;
        }
        self.too_long = self.kept.len() + chunk.len() > LONGEST;
        if self.too_long {
            self.kept = Vec::new();
        } else {
            self.kept.extend_from_slice(chunk);
        }
    }

    /// What the body said. One that is too long or no JSON said nothing.
    pub(super) fn finish(&self) -> Findings {
        let Ok(body) = serde_json::from_slice::<Value>(&self.kept) else { return Findings::default() };
        // A JSON-RPC batch is answered with a list: one failure in it is enough.
        let each = |rule: &BodyMatch| body.as_array().is_some_and(|parts| parts.iter().any(|part| rule.holds(part)));
        let holds = |rule: &Option<BodyMatch>| rule.as_ref().is_some_and(|rule| rule.holds(&body) || each(rule));
        Findings { application_error: holds(&self.application_error), session_lost: holds(&self.lost) }
    }
}

fn is_plain_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = media_type == "application/json" || media_type.ends_with("+json");
    json && !headers.contains_key(header::CONTENT_ENCODING)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;
    use crate::config::LostRule;
    use crate::upstream::double::static_key;

    fn upstream() -> Upstream {
        let matching = |pointer: &str, equals| BodyMatch { pointer: pointer.into(), equals };
        let mut upstream = static_key();
        let body = matching("/error", Vec::new());
        upstream.application_error = Some(ApplicationError { status: vec![StatusCode::OK], body });
        let body = Some(matching("/error/code", vec![json!(100)]));
        upstream.session.lost.push(LostRule { status: vec![StatusCode::OK], headers: Vec::new(), body });
        upstream
    }

    fn headers(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))])
    }

    fn findings(body: &[u8]) -> Findings {
        let mut watch =
            AnswerWatch::of(&upstream(), StatusCode::OK, &headers("application/json; charset=utf-8")).expect("a watch");
        for chunk in body.chunks(7) {
            watch.push(chunk);
        }
        watch.finish()
    }

    #[test]
    fn failure_inside_of_a_success_is_found() {
        let found = |application_error, session_lost| Findings { application_error, session_lost };
        assert_eq!(findings(br#"{"id":4,"error":["UserError",["no"]]}"#), found(true, false));
        assert_eq!(findings(br#"{"error":{"code":100,"message":"Odoo Session Expired"}}"#), found(true, true));
        assert_eq!(findings(br#"{"error":{"code":200}}"#), found(true, false));
        assert_eq!(findings(br#"{"result":[],"error":null}"#), found(false, false));
        assert_eq!(findings(br#"{"result":"{\"error\":1}"}"#), found(false, false));
        assert_eq!(findings(br#"[{"result":1},{"error":{"code":200}}]"#), found(true, false), "a part of a batch");
        assert_eq!(findings(br#"[{"result":1}]"#), found(false, false));
        assert_eq!(findings(b"not json"), found(false, false));
        let long = format!(r#"{{"error":1,"x":"{}"}}"#, "x".repeat(LONGEST));
        assert_eq!(findings(long.as_bytes()), found(false, false), "too long to be looked into");
    }

    #[test]
    fn nothing_is_kept_where_nobody_asks() {
        let watched = |status, content_type| AnswerWatch::of(&upstream(), status, &headers(content_type)).is_some();
        assert!(watched(StatusCode::OK, "application/problem+json"));
        assert!(!watched(StatusCode::NOT_FOUND, "application/json"));
        assert!(!watched(StatusCode::OK, "text/html"));
        let mut compressed = headers("application/json");
        compressed.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(AnswerWatch::of(&upstream(), StatusCode::OK, &compressed).is_none());
        assert!(AnswerWatch::of(&static_key(), StatusCode::OK, &headers("application/json")).is_none());
    }
}
