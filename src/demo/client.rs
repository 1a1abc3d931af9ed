//! The integrator of the tour: a small HTTP client.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::DemoError;

/// An answer that the tour looks at.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) request_id: String,
    pub(super) body: Value,
}

impl Answer {
    /// The stable code of an error answer; `ok` for success.
    pub(super) fn code(&self) -> &str {
        match self.body.get("code").and_then(Value::as_str) {
            Some(code) => code,
            None if self.status.is_success() => "ok",
            None => "-",
        }
    }
}

/// Sends one request on a connection of its own.
pub(super) async fn send(
    address: SocketAddr,
    method: Method,
    target: &str,
    headers: &[(&str, String)],
    body: &'static str,
) -> Result<Answer, DemoError> {
    let stream = TcpStream::connect(address).await.map_err(DemoError::other)?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(DemoError::other)?;
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(target).header("host", address.to_string());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(Full::new(Bytes::from_static(body.as_bytes()))).map_err(DemoError::other)?;
    let answer = sender.send_request(request).await.map_err(DemoError::other)?;
    let status = answer.status();
    let request_id =
        answer.headers().get("x-request-id").and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
    let bytes = answer.into_body().collect().await.map_err(DemoError::other)?.to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Ok(Answer { status, request_id, body })
}
