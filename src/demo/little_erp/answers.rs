//! The forms of an answer: JSON, a stream without end in memory, a stream that breaks off.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, SERVER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::{Value, json};

pub(super) type Answer = Response<BoxBody<Bytes, io::Error>>;

const CHUNK: usize = 65_536;
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| (0_u8..251).cycle().take(CHUNK).collect());

pub(super) fn json_answer(status: StatusCode, value: &Value) -> Answer {
    let mut answer = answer(status, Full::new(Bytes::from(value.to_string())).map_err(never).boxed());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

pub(super) fn refusal(status: StatusCode, error: &str) -> Answer {
    json_answer(status, &json!({ "ok": false, "error": error }))
}

pub(super) fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = refusal(StatusCode::METHOD_NOT_ALLOWED, "wrong method");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

pub(super) fn empty(status: StatusCode) -> Answer {
    answer(status, Empty::new().map_err(never).boxed())
}

/// `bytes` bytes of the pattern, made while they are sent.
pub(super) fn large(bytes: u64) -> Answer {
    let mut answer = answer(StatusCode::OK, Large { left: bytes }.boxed());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    answer
}

/// An answer that promises more than it sends.
pub(super) fn cut() -> Answer {
    let mut answer = answer(StatusCode::OK, Cut::Begin.boxed());
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(CUT_PROMISED));
    answer
}

fn answer(status: StatusCode, body: BoxBody<Bytes, io::Error>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(SERVER, HeaderValue::from_static("little-erp/1.0"));
    answer
}

fn never(impossible: Infallible) -> io::Error {
    match impossible {}
}

struct Large {
    left: u64,
}

impl Body for Large {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(PATTERN.slice(..length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

const CUT_PROMISED: u64 = 1_000_000;
const CUT_SENT: &[u8] = br#"{"customers":[{"id":1,"name":"Indus Tex"#;

enum Cut {
    Begin,
    /// The server writes out what it has when a body has nothing to give for the moment.
    Flush,
    Break,
}

impl Body for Cut {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match *self {
            Self::Begin => {
                *self = Self::Flush;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(CUT_SENT)))))
            }
            Self::Flush => {
                *self = Self::Break;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Self::Break => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
        }
    }
}
