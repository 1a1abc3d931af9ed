//! What a sign-in sent and received, for an operator who wants to know why it fails. Secrets are masked.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::{Deserialize, Serialize};

use super::error::SessionError;
use super::session::UpstreamSession;
use super::sign_in::Observer;
use super::transport::{SignInAnswer, SignInRequest, TransportError};
use crate::audit::{ContentDescription, PreviewCollector, Redactor};
use crate::domain::Secret;

/// What stands in place of a secret.
const MASK: &str = "[secret]";
/// Kept of each body, in bytes.
const PREVIEW: usize = 2048;

/// A sign-in, step by step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The steps that were sent.
    pub steps: Vec<StepReport>,
    /// The names of the headers that relayed requests would carry; empty after a failure.
    pub injects: Vec<String>,
    /// When the session would end; `None` until the ERP says that it is lost, and after a failure.
    pub expires_at: Option<jiff::Timestamp>,
    /// Why it failed.
    pub error: Option<String>,
}

/// One step as it was sent and answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// Method and path.
    pub request: String,
    /// The request's headers.
    pub request_headers: Vec<String>,
    /// The request's body.
    pub request_body: Option<String>,
    /// The status, or why there is no answer.
    pub answer: String,
    /// The answer's headers.
    pub answer_headers: Vec<String>,
    /// The start of the answer's body.
    pub answer_body: Option<String>,
}

/// Gathers a report while the steps go by.
pub(super) struct ReportBuilder<'r> {
    redactor: &'r Redactor,
    steps: Vec<StepReport>,
}

impl<'r> ReportBuilder<'r> {
    pub(super) fn new(redactor: &'r Redactor) -> Self {
        Self { redactor, steps: Vec::new() }
    }

    pub(super) fn finish(self, session: Result<&UpstreamSession, &SessionError>) -> Report {
        let injects = session.map(UpstreamSession::names_of_injected).unwrap_or_default();
        let expires_at = session.ok().and_then(UpstreamSession::expires_at);
        Report { steps: self.steps, injects, expires_at, error: session.err().map(ToString::to_string) }
    }

    fn body(&self, body: &[u8], content_type: Option<&HeaderValue>, secrets: &[Secret]) -> Option<String> {
        if body.is_empty() {
            return None;
        }
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let mut collector =
            PreviewCollector::new(PREVIEW, &ContentDescription { content_type, content_encoding: None });
        collector.push(body);
        Some(collector.finish(self.redactor, secrets).text)
    }
}

impl Observer for ReportBuilder<'_> {
    fn looks(&self) -> bool {
        true
    }

    fn step(&mut self, sent: &SignInRequest, answer: Result<&SignInAnswer, &TransportError>, secrets: &[Secret]) {
        let own_type = sent.content_type.as_ref();
        let shown = |(name, value): &(HeaderName, HeaderValue)| show(name, value, secrets, self.redactor);
        let mut request_headers: Vec<_> = sent.headers.iter().map(shown).collect();
        request_headers.extend(own_type.map(|value| show(&header::CONTENT_TYPE, value, secrets, self.redactor)));
        let request_body = sent.body.as_ref().and_then(|body| self.body(body, own_type, secrets));
        let mut step = StepReport {
            request: format!("{} {}", sent.method, sent.path),
            request_headers,
            request_body,
            answer: String::new(),
            answer_headers: Vec::new(),
            answer_body: None,
        };
        match answer {
            Err(error) => step.answer = error.to_string(),
            Ok(answer) => {
                step.answer = answer.status.to_string();
                step.answer_headers = answer_headers(&answer.headers, secrets, self.redactor);
                step.answer_body = self.body(&answer.body, answer.headers.get(header::CONTENT_TYPE), secrets);
            }
        }
        self.steps.push(step);
    }
}

/// What helps to understand an answer; the rest of its headers is left out.
fn answer_headers(headers: &HeaderMap, secrets: &[Secret], redactor: &Redactor) -> Vec<String> {
    let told =
        [header::CONTENT_TYPE, header::LOCATION, header::SET_COOKIE, header::WWW_AUTHENTICATE, header::RETRY_AFTER];
    let tells = |name: &HeaderName| told.contains(name) || name.as_str().contains("csrf");
    headers.iter().filter(|(name, _)| tells(name)).map(|(name, value)| show(name, value, secrets, redactor)).collect()
}

/// One header with its secrets masked.
fn show(name: &HeaderName, value: &HeaderValue, secrets: &[Secret], redactor: &Redactor) -> String {
    let Ok(text) = value.to_str() else { return format!("{name}: {MASK}") };
    let shown = match *name {
        header::AUTHORIZATION => text.split_once(' ').map_or(MASK.to_owned(), |(scheme, _)| format!("{scheme} {MASK}")),
        header::COOKIE => text.split("; ").map(cookie).collect::<Vec<_>>().join("; "),
        header::SET_COOKIE => match text.split_once(';') {
            Some((pair, attributes)) => format!("{};{attributes}", cookie(pair)),
            None => cookie(text),
        },
        header::LOCATION => redactor.text(&masked(text, secrets)).into_owned(),
        _ => masked(text, secrets),
    };
    format!("{name}: {shown}")
}

fn cookie(pair: &str) -> String {
    format!("{}={MASK}", pair.split_once('=').map_or(pair, |(name, _)| name))
}

fn masked(text: &str, secrets: &[Secret]) -> String {
    let long_first = {
        let mut values: Vec<_> = secrets.iter().map(Secret::expose).filter(|value| !value.is_empty()).collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values
    };
    long_first.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, MASK))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &HeaderName, value: &str) -> String {
        let redactor = Redactor::new(&crate::audit::RedactionLists::default());
        show(name, &HeaderValue::from_str(value).expect("a value"), &[Secret::new("tok/en-1234".into())], &redactor)
    }

    #[test]
    fn header_values_that_are_secret_are_masked_whoever_sends_them() {
        assert_eq!(shown(&header::AUTHORIZATION, "Basic YWRtaW46eA=="), "authorization: Basic [secret]");
        assert_eq!(shown(&header::AUTHORIZATION, "abc"), "authorization: [secret]");
        assert_eq!(shown(&header::COOKIE, "A=1; B=2"), "cookie: A=[secret]; B=[secret]");
        assert_eq!(shown(&header::SET_COOKIE, "S=abc; Path=/; Secure"), "set-cookie: S=[secret]; Path=/; Secure");
        assert_eq!(shown(&header::LOCATION, "/x?t=tok/en-1234"), "location: /x?t=[secret]");
    }

    #[test]
    fn what_explains_a_refusal_is_shown() {
        let name = HeaderName::from_static("x-csrf-token");
        assert_eq!(shown(&name, "Required"), "x-csrf-token: Required");
        assert_eq!(shown(&header::WWW_AUTHENTICATE, "Basic realm=\"SAP\""), "www-authenticate: Basic realm=\"SAP\"");
    }
}
