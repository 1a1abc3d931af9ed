//! Where a command runs: in the gateway, over its admin socket, or here on the databases when no gateway runs.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use crate::control::{Command, ControlError};

use super::output::Failure;

/// Whether a gateway listens there.
pub(super) async fn is_there(socket: &Path) -> Result<bool, Failure> {
    match UnixStream::connect(socket).await {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => {
            Ok(false)
        }
        Err(error) => Err(unreachable(socket, &error)),
    }
}

/// Sends the command to the gateway.
pub(super) async fn over_socket(socket: &Path, command: &Command) -> Result<Value, Failure> {
    let stream = UnixStream::connect(socket).await.map_err(|error| unreachable(socket, &error))?;
    exchange(stream, command).await
}

fn unreachable(socket: &Path, error: &std::io::Error) -> Failure {
    Failure::unreachable(format!("the admin socket `{}`: {error}", socket.display()))
}

async fn exchange(stream: UnixStream, command: &Command) -> Result<Value, Failure> {
    let lost = |error: hyper::Error| Failure::unreachable(format!("the gateway broke off: {error}"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    tokio::spawn(connection);
    let body = Zeroizing::new(serde_json::to_vec(command).map_err(Failure::other)?);
    let request = Request::post("/v1/command")
        .header("host", "admin")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::copy_from_slice(&body)))
        .map_err(Failure::other)?;
    let answer = sender.send_request(request).await.map_err(lost)?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(lost)?.to_bytes();
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(Failure::other);
    }
    match serde_json::from_slice::<ControlError>(&body) {
        Ok(error) => Err(Failure::from(error)),
        Err(_) => Err(Failure::other(format!("the gateway answered {status}: {}", String::from_utf8_lossy(&body)))),
    }
}
