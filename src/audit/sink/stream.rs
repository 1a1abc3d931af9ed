//! A connection to a receiver, plain or under TLS.

use std::pin::Pin;

use openssl::ssl::{SslConnector, SslMethod};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::SinkError;
use crate::config::{self, SinkTls};

/// Whatever bytes go through.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) async fn connect(settings: &config::Sink) -> Result<Box<dyn Stream>, SinkError> {
    let (host, port) = (settings.host.as_str(), settings.port);
    let failed = |error: &dyn std::fmt::Display| SinkError::Connect(format!("{host}:{port}: {error}"));
    let tcp = TcpStream::connect((host, port)).await.map_err(|error| failed(&error))?;
    tcp.set_nodelay(true).map_err(|error| failed(&error))?;
    let Some(tls) = &settings.tls else { return Ok(Box::new(tcp)) };
    let connector = connector(tls).map_err(|error| failed(&error))?;
    // The name in the certificate is checked against the host.
    let ssl = connector.configure().and_then(|configured| configured.into_ssl(host)).map_err(|error| failed(&error))?;
    let mut stream = SslStream::new(ssl, tcp).map_err(|error| failed(&error))?;
    Pin::new(&mut stream).connect().await.map_err(|error| failed(&error))?;
    Ok(Box::new(stream))
}

fn connector(tls: &SinkTls) -> Result<SslConnector, openssl::error::ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(openssl::ssl::SslVersion::TLS1_2))?;
    if let Some(file) = &tls.ca_file {
        // In place of the system's authorities, not beside them.
        builder.set_cert_store(openssl::x509::store::X509StoreBuilder::new()?.build());
        builder.set_ca_file(file)?;
    }
    Ok(builder.build())
}
