//! Where a command runs: in the gateway, over its admin socket, or here on the databases when no gateway runs.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use crate::control::{Command, Listing, Wire, read_problem};

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

/// The process that listens there, as the kernel says; `None` where nobody does.
pub(super) async fn process_at(socket: &Path) -> Result<Option<u32>, Failure> {
    let Ok(stream) = UnixStream::connect(socket).await else { return Ok(None) };
    let process = stream.peer_cred().map_err(|error| unreachable(socket, &error))?.pid();
    Ok(process.and_then(|id| u32::try_from(id).ok()))
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
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| lost(&error))?;
    tokio::spawn(connection);
    let wire = Wire::of(command).ok_or_else(|| Failure::other("the command has no route"))?;
    if wire.answer != Listing::Pages {
        let answer = ask(&mut sender, &wire, wire.target.clone()).await?;
        return Ok(if wire.answer == Listing::Page { items(answer).into() } else { answer });
    }
    let (mut list, mut after) = (Vec::new(), None);
    loop {
        let page = ask(&mut sender, &wire, wire.page(after.as_deref())).await?;
        after = page.get("next").and_then(Value::as_str).map(str::to_owned);
        list.extend(items(page));
        if after.is_none() {
            return Ok(list.into());
        }
    }
}

fn items(page: Value) -> Vec<Value> {
    let mut page = page;
    match page.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn lost(error: &hyper::Error) -> Failure {
    Failure::unreachable(format!("the gateway broke off: {error}"))
}

async fn ask(sender: &mut SendRequest<Full<Bytes>>, wire: &Wire, target: String) -> Result<Value, Failure> {
    let body = wire.body.as_ref().map(serde_json::to_vec).transpose().map_err(Failure::other)?;
    let body = Zeroizing::new(body.unwrap_or_default());
    let request = Request::builder()
        .method(wire.method.as_str())
        .uri(target)
        .header("host", "admin")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::copy_from_slice(&body)))
        .map_err(Failure::other)?;
    let answer = sender.send_request(request).await.map_err(|error| lost(&error))?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(|error| lost(&error))?.to_bytes();
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(Failure::other);
    }
    match read_problem(&body) {
        Some(error) => Err(Failure::from(error)),
        None => Err(Failure::other(format!("the gateway answered {status}: {}", String::from_utf8_lossy(&body)))),
    }
}
