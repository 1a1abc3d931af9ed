//! Batches as JSON lines in a `POST`. Only an answer of 200 to 299 confirms a batch; redirects are not followed.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use zeroize::Zeroizing;

use super::stream::connect;
use super::{SinkError, StoredRecord};
use crate::config::{self, SinkProtocol, read_secret_file};
use crate::domain::Secret;

/// The connection, kept between batches.
#[derive(Debug, Default)]
pub(super) struct Http {
    sender: Option<SendRequest<Full<Bytes>>>,
}

pub(super) fn body(records: &[StoredRecord], gzip: bool) -> Vec<u8> {
    let mut lines = Vec::new();
    for record in records {
        lines.extend_from_slice(record.line.as_bytes());
        lines.push(b'\n');
    }
    if !gzip {
        return lines;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(&lines);
    encoder.finish().unwrap_or_default()
}

impl Http {
    pub(super) async fn deliver(&mut self, settings: &config::Sink, body: Vec<u8>) -> Result<(), SinkError> {
        let request = request(settings, body)?;
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => open(settings).await?,
        };
        let broken = |error: hyper::Error| SinkError::Broken(error.to_string());
        sender.ready().await.map_err(broken)?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let retry_after = retry_after(&answer);
        // Read to its end, so that the connection can be used again; what it says is of no interest.
        let mut rest = answer.into_body();
        while let Some(frame) = rest.frame().await {
            frame.map_err(broken)?;
        }
        if status.is_success() {
            self.sender = Some(sender);
            return Ok(());
        }
        Err(match status {
            StatusCode::PAYLOAD_TOO_LARGE => SinkError::TooLarge,
            status => SinkError::Refused { status: status.as_u16(), retry_after },
        })
    }
}

async fn open(settings: &config::Sink) -> Result<SendRequest<Full<Bytes>>, SinkError> {
    let stream = TokioIo::new(connect(settings).await?);
    let (sender, connection) = handshake(stream).await.map_err(|error| SinkError::Connect(error.to_string()))?;
    // Ends with the sender.
    tokio::spawn(connection);
    Ok(sender)
}

fn request(settings: &config::Sink, body: Vec<u8>) -> Result<Request<Full<Bytes>>, SinkError> {
    let SinkProtocol::Http { target, gzip, token_file } = &settings.protocol else {
        return Err(SinkError::Connect("the sink does not speak HTTP".to_owned()));
    };
    let (host, port) = (&settings.host, settings.port);
    let host = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut request = Request::post(target.as_str())
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/x-ndjson")
        .header(header::USER_AGENT, concat!("erp-access/", env!("CARGO_PKG_VERSION")));
    if *gzip {
        request = request.header(header::CONTENT_ENCODING, "gzip");
    }
    if let Some(file) = token_file {
        request = request.header(header::AUTHORIZATION, authorization(&read_secret_file(file)?)?);
    }
    request.body(Full::new(Bytes::from(body))).map_err(|error| SinkError::Connect(error.to_string()))
}

/// A token goes as `Bearer`; what has a scheme already, as in `Splunk …`, goes as it stands.
fn authorization(token: &Secret) -> Result<HeaderValue, SinkError> {
    // SECURITY: the value leaves for the receiver that the configuration names, over TLS or on this host.
    let token = token.expose();
    let text = Zeroizing::new(if token.contains(' ') { token.to_owned() } else { format!("Bearer {token}") });
    let mut value = HeaderValue::from_str(&text).map_err(|_| SinkError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// How long the receiver wants to be left alone, in seconds (RFC 9110 10.2.3); dates are passed over.
fn retry_after<T>(answer: &Response<T>) -> Option<Duration> {
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
