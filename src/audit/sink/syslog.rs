//! Syslog (RFC 5424) over TCP or TLS (RFC 5425), framed by counting octets (RFC 6587).
//!
//! Syslog confirms nothing. So each batch has a connection of its own: a receiver that was told that no more comes, and
//! closes in turn, has read to the end. Where it has not, the system breaks the connection off instead.

use std::io::Write as _;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::stream::connect;
use super::{SinkError, StoredRecord};
use crate::config;

const WARNING: u8 = 4;
const INFORMATIONAL: u8 = 6;
/// The enterprise number that RFC 5612 sets aside for documentation; ours is not registered.
const ENTERPRISE: u32 = 32473;

pub(super) fn body(records: &[StoredRecord], facility: u8) -> Vec<u8> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut frames = Vec::new();
    for record in records {
        let message = message(record, facility, &host);
        // Writing to memory does not fail.
        let _ = write!(frames, "{} ", message.len());
        frames.extend_from_slice(message.as_bytes());
    }
    frames
}

fn message(record: &StoredRecord, facility: u8, host: &str) -> String {
    let member = |name: &str| record.json.get(name).and_then(Value::as_str).unwrap_or("-");
    let severity = if member("decision") == "denied" { WARNING } else { INFORMATIONAL };
    let priority = u16::from(facility) * 8 + u16::from(severity);
    // RFC 5424 6.2.3: at most six digits of a second.
    let at = record.at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
    let host: String = host.chars().filter(char::is_ascii_graphic).take(255).collect();
    let host = if host.is_empty() { "-" } else { &host };
    let (pid, kind) = (std::process::id(), member("record"));
    let (seq, id) = (record.seq, escaped(member("id")));
    // The byte order mark says that the message is UTF-8 (6.4).
    format!(
        "<{priority}>1 {at} {host} erp-access {pid} {kind} [erp-access@{ENTERPRISE} seq=\"{seq}\" id=\"{id}\"] \u{feff}{}",
        record.line
    )
}

/// A value of structured data (6.3.3).
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]")
}

pub(super) async fn deliver(settings: &config::Sink, body: &[u8]) -> Result<(), SinkError> {
    let mut stream = connect(settings).await?;
    let broken = |error: std::io::Error| SinkError::Broken(error.to_string());
    stream.write_all(body).await.map_err(broken)?;
    stream.shutdown().await.map_err(broken)?;
    // Receivers say nothing; whatever one says is passed over until it closes.
    let mut said = [0; 512];
    while stream.read(&mut said).await.map_err(broken)? > 0 {}
    Ok(())
}
