//! Batches as JSON lines in a `POST`. Only an answer of 200 to 299 confirms a batch; redirects are not followed.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use zeroize::Zeroizing;

use super::stream::connect;
use super::{SinkError, SinkProtocol, SinkSettings, StoredRecord};

/// The connection, kept between batches.
#[derive(Debug, Default)]
pub(super) struct Http {
    sender: Option<SendRequest<Full<Bytes>>>,
}

pub(super) fn body(records: &[StoredRecord], gzip: bool) -> Vec<u8> {
    let mut lines = Vec::new();
    for record in records {
        lines.extend_from_slice(record.json.to_string().as_bytes());
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
    pub(super) async fn deliver(&mut self, settings: &SinkSettings, body: Vec<u8>) -> Result<(), SinkError> {
        let request = request(settings, body)?;
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => open(settings).await?,
        };
        let broken = |error: hyper::Error| SinkError::Broken(error.to_string());
        sender.ready().await.map_err(broken)?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        // Read to its end, so that the connection can be used again; what it says is of no interest.
        let mut rest = answer.into_body();
        while let Some(frame) = rest.frame().await {
            frame.map_err(broken)?;
        }
        if status.is_success() {
            self.sender = Some(sender);
            return Ok(());
        }
        Err(if status == StatusCode::PAYLOAD_TOO_LARGE {
            SinkError::TooLarge
        } else {
            SinkError::Refused(status.as_u16())
        })
    }
}

async fn open(settings: &SinkSettings) -> Result<SendRequest<Full<Bytes>>, SinkError> {
    let stream = TokioIo::new(connect(settings).await?);
    let (sender, connection) = handshake(stream).await.map_err(|error| SinkError::Connect(error.to_string()))?;
    // Ends with the sender.
    tokio::spawn(connection);
    Ok(sender)
}

fn request(settings: &SinkSettings, body: Vec<u8>) -> Result<Request<Full<Bytes>>, SinkError> {
    let SinkProtocol::Http { target, gzip, token_file } = &settings.protocol else {
        return Err(SinkError::Connect("the sink does not speak HTTP".to_owned()));
    };
    let (host, port) = &settings.address;
    let host = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut request = Request::post(target.as_str())
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/x-ndjson")
        .header(header::USER_AGENT, concat!("erp-access/", env!("CARGO_PKG_VERSION")));
    if *gzip {
        request = request.header(header::CONTENT_ENCODING, "gzip");
    }
    if let Some(file) = token_file {
        let unreadable = |error| SinkError::Token(file.clone(), error);
        let token = Zeroizing::new(std::fs::read_to_string(file).map_err(unreadable)?);
        let bearer = Zeroizing::new(format!("Bearer {}", token.trim()));
        let mut value = HeaderValue::from_str(&bearer)
            .map_err(|_| unreadable(std::io::Error::other("holds characters that a header cannot carry")))?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    request.body(Full::new(Bytes::from(body))).map_err(|error| SinkError::Connect(error.to_string()))
}
