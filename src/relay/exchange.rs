//! One relay in progress: what was sent, what came back, how long it took.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::audit::{ContentDescription, End, Outcome, Preview, PreviewCollector, Redactor};
use crate::domain::Secret;
use crate::domain::{Clock, Code};
use crate::gate::Admission;

use super::watch::AnswerWatch;

/// The course of one relay, from admission to the outcome record.
#[derive(Debug)]
pub struct Exchange {
    /// The right to relay.
    pub admission: Admission,
    /// How many times the request was sent.
    pub attempts: u32,
    /// Whether a lost session was renewed once already.
    pub renewed: bool,
    /// The peer of the last attempt.
    pub peer: Option<SocketAddr>,
    /// What the ERP answered.
    pub upstream_status: Option<u16>,
    /// Why the client does not get the ERP's answer.
    pub failure: Option<(Code, String)>,
    /// Whether an operator's act stopped it.
    pub cut: bool,
    sent_at: Option<Duration>,
    answered_after: Option<Duration>,
    began_at: Duration,
    request: BodySoFar,
    response: BodySoFar,
    watch: Option<AnswerWatch>,
    preview_bytes: usize,
}

/// What is kept of a body while it passes.
#[derive(Debug)]
struct BodySoFar {
    preview: PreviewCollector,
    bytes: u64,
}

impl BodySoFar {
    /// A body of which these headers speak.
    fn described_by(headers: &HeaderMap, preview_bytes: usize) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let description = ContentDescription {
            content_type: text(header::CONTENT_TYPE),
            content_encoding: text(header::CONTENT_ENCODING),
        };
        Self { preview: PreviewCollector::new(preview_bytes, &description), bytes: 0 }
    }

    fn push(&mut self, chunk: &[u8]) {
        self.bytes += u64::try_from(chunk.len()).unwrap_or(0);
        self.preview.push(chunk);
    }

    fn finish(self, redactor: &Redactor, known: &[Secret]) -> Option<Preview> {
        (self.bytes > 0).then(|| self.preview.finish(redactor, known))
    }
}

impl Exchange {
    /// Begins with an admission, at this moment of the monotonic clock.
    #[must_use]
    pub fn begin(admission: Admission, began_at: Duration, preview_bytes: usize) -> Self {
        Self {
            admission,
            attempts: 0,
            renewed: false,
            peer: None,
            upstream_status: None,
            failure: None,
            cut: false,
            sent_at: None,
            answered_after: None,
            began_at,
            request: BodySoFar::described_by(&HeaderMap::new(), preview_bytes),
            response: BodySoFar::described_by(&HeaderMap::new(), preview_bytes),
            watch: None,
            preview_bytes,
        }
    }

    /// The request is sent (again) to `peer`; what was kept of an earlier attempt is forgotten.
    pub fn attempt(&mut self, peer: SocketAddr, headers: &HeaderMap, now: Duration) {
        self.attempts += 1;
        self.peer = Some(peer);
        self.sent_at = Some(now);
        self.request = BodySoFar::described_by(headers, self.preview_bytes);
    }

    /// The head of the ERP's answer has come.
    pub fn answered(&mut self, status: StatusCode, headers: &HeaderMap, now: Duration) {
        self.upstream_status = Some(status.as_u16());
        self.watch = AnswerWatch::of(self.admission.upstream(), status, headers);
        self.answered_after = self.sent_at.map(|sent_at| now.saturating_sub(sent_at));
        self.response = BodySoFar::described_by(headers, self.preview_bytes);
    }

    /// A piece of the request's body passes; returns how many bytes have passed.
    pub fn request_chunk(&mut self, chunk: &[u8]) -> u64 {
        self.request.push(chunk);
        self.request.bytes
    }

    /// How long it has been under way to the ERP.
    #[must_use]
    pub fn sending_for(&self, now: Duration) -> Duration {
        self.sent_at.map_or(Duration::ZERO, |sent_at| now.saturating_sub(sent_at))
    }

    /// A piece of the answer's body passes.
    pub fn response_chunk(&mut self, chunk: &[u8]) {
        self.answer_arrives(chunk);
        self.answer_leaves(chunk);
    }

    /// A piece of the answer's body has come from the ERP.
    pub fn answer_arrives(&mut self, chunk: &[u8]) {
        if let Some(watch) = &mut self.watch {
            watch.push(chunk);
        }
    }

    /// A piece of the answer's body leaves to the client. Only what leaves is counted and shown in the audit row.
    pub fn answer_leaves(&mut self, chunk: &[u8]) {
        self.response.push(chunk);
        self.admission.bytes_left(chunk.len());
    }

    /// The ERP's answer, which is over, said in its body that the session is gone.
    #[must_use]
    pub fn says_session_is_lost(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.finish().session_lost)
    }

    /// Records the outcome. `broken` says that Pingora reported an error.
    pub fn close(self, status: Option<u16>, broken: bool, redactor: &Redactor, clock: &Arc<dyn Clock>) {
        let end = match (&self.failure, self.cut, broken) {
            (_, true, _) => End::Cut,
            (Some(_), false, _) => End::Failed,
            (None, false, true) => End::Aborted,
            (None, false, false) => End::Completed,
        };
        let known = self.admission.session().known_secrets();
        let mut outcome = Outcome::of(end, clock.now());
        outcome.status = status;
        let app_error = self.watch.as_ref().is_some_and(|watch| watch.finish().application_error);
        outcome.code = self.failure.as_ref().map(|(code, _)| *code).or(app_error.then_some(Code::UpstreamAppError));
        outcome.detail = self.failure.as_ref().map(|(_, detail)| redactor.text(detail).into_owned());
        if app_error && outcome.detail.is_none() {
            outcome.detail = Some("the answer holds what `application_error` describes".to_owned());
        }
        outcome.upstream_peer = self.peer;
        outcome.upstream_status = self.upstream_status;
        outcome.attempts = self.attempts;
        outcome.duration = clock.monotonic().saturating_sub(self.began_at);
        outcome.upstream_duration = self.answered_after;
        outcome.request_bytes = self.request.bytes;
        outcome.response_bytes = self.response.bytes;
        outcome.request_preview = self.request.finish(redactor, known);
        outcome.response_preview = self.response.finish(redactor, known);
        self.admission.close(outcome);
    }
}
