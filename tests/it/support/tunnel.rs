//! A client of TLS for tests that speak plain: what is sent here goes on over TLS, byte for byte.

use std::net::SocketAddr;
use std::pin::Pin;

use openssl::ssl::{SslConnector, SslMethod};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_openssl::SslStream;

use super::certificates::Authority;

pub(crate) struct Tunnel {
    pub(crate) address: SocketAddr,
    _runtime: Runtime,
}

impl Tunnel {
    /// To this listener, as a client that trusts the authority and asks for this name.
    pub(crate) fn to(gateway: SocketAddr, authority: &Authority, name: &'static str) -> Self {
        let mut builder = SslConnector::builder(SslMethod::tls()).expect("a client");
        builder.cert_store_mut().add_cert(authority.certificate()).expect("trusted");
        let connector = builder.build();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("bound");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let connector = connector.clone();
                tokio::spawn(async move {
                    let stream = TcpStream::connect(gateway).await.ok()?;
                    stream.set_nodelay(true).ok()?;
                    let ssl = connector.configure().ok()?.into_ssl(name).ok()?;
                    let mut tls = SslStream::new(ssl, stream).ok()?;
                    Pin::new(&mut tls).connect().await.ok()?;
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut tls).await;
                    client.shutdown().await.ok()
                });
            }
        });
        Self { address, _runtime: runtime }
    }
}
