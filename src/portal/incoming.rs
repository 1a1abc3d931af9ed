//! Connections to the portal, plain on this machine or over TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use openssl::ssl::Ssl;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_openssl::SslStream;

use crate::tls::Certificates;

/// How long a handshake may take, and how many go on at once.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HANDSHAKES: usize = 200;

/// A connection.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, Incoming>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Incoming>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// What is accepted.
pub(super) struct Incoming {
    from: From,
    address: SocketAddr,
}

enum From {
    Plain(TcpListener),
    /// Handshakes go on beside each other: one that is slow holds nobody up.
    Tls(mpsc::Receiver<(SslStream<TcpStream>, SocketAddr)>, JoinHandle<()>),
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let From::Tls(_, accepting) = &self.from {
            accepting.abort();
        }
    }
}

impl Incoming {
    pub(super) fn new(listener: TcpListener, tls: Option<Arc<Certificates>>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let from = match tls {
            None => From::Plain(listener),
            Some(certificates) => {
                let context = certificates.acceptor()?.build().into_context();
                let (sender, receiver) = mpsc::channel(HANDSHAKES);
                let accepting = tokio::spawn(async move {
                    let places = Arc::new(Semaphore::new(HANDSHAKES));
                    let mut listener = listener;
                    loop {
                        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                        let (stream, from) = Listener::accept(&mut listener).await;
                        let (context, sender) = (context.clone(), sender.clone());
                        tokio::spawn(async move {
                            let _place = place;
                            let shaken = async {
                                let mut stream = SslStream::new(Ssl::new(&context).ok()?, stream).ok()?;
                                Pin::new(&mut stream).accept().await.ok()?;
                                Some(stream)
                            };
                            // Whoever does not speak TLS is not worth a line in the log.
                            if let Ok(Some(stream)) = tokio::time::timeout(HANDSHAKE, shaken).await {
                                let _ = sender.send((stream, from)).await;
                            }
                        });
                    }
                });
                From::Tls(receiver, accepting)
            }
        };
        Ok(Self { from, address })
    }
}

impl Listener for Incoming {
    type Io = Box<dyn Wire>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match &mut self.from {
            From::Plain(listener) => {
                let (stream, from) = Listener::accept(listener).await;
                (Box::new(stream), from)
            }
            From::Tls(receiver, _) => match receiver.recv().await {
                Some((stream, from)) => (Box::new(stream), from),
                // The accepting task ends with this listener only.
                None => std::future::pending().await,
            },
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}
