//! An ERP that speaks HTTP/2 over TLS and nothing else.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Request, Response};
use openssl::ssl::{Ssl, SslAcceptor};
use tokio::net::{TcpListener, TcpStream};
use tokio_openssl::SslStream;

use super::erp::Asked;

/// The ERP. It stops when dropped.
pub(crate) struct Http2Erp {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Asked>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Http2Erp {
    /// Answers every request with this JSON.
    pub(crate) fn start(acceptor: SslAcceptor, json: &'static str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("bind");
        let address = listener.local_addr().expect("address");
        let seen: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let kept = Arc::clone(&seen);
        runtime.spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(serve(stream, acceptor.clone(), connection, Arc::clone(&kept), json));
            }
        });
        Self { address, seen, _runtime: runtime }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has come so far.
    pub(crate) fn seen(&self) -> Vec<Asked> {
        self.seen.lock().expect("lock").clone()
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: SslAcceptor,
    connection: usize,
    seen: Arc<Mutex<Vec<Asked>>>,
    json: &'static str,
) {
    let ssl = Ssl::new(acceptor.context()).expect("a connection");
    let mut stream = SslStream::new(ssl, stream).expect("a stream");
    if Pin::new(&mut stream).accept().await.is_err() {
        return;
    }
    assert_eq!(stream.ssl().selected_alpn_protocol(), Some(&b"h2"[..]));
    let Ok(mut streams) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = streams.accept().await {
        tokio::spawn(reply(request, respond, connection, Arc::clone(&seen), json));
    }
}

async fn reply(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    connection: usize,
    seen: Arc<Mutex<Vec<Asked>>>,
    json: &'static str,
) {
    let (head, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(Ok(chunk)) = stream.data().await {
        let _ = stream.flow_control().release_capacity(chunk.len());
        body.extend_from_slice(&chunk);
    }
    let mut headers: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    headers.push((":authority".into(), head.uri.authority().expect("an authority").to_string()));
    headers.push((":scheme".into(), head.uri.scheme_str().expect("a scheme").to_owned()));
    let target = head.uri.path_and_query().expect("a path").to_string();
    let method = head.method.to_string();
    seen.lock().expect("lock").push(Asked { method, target, headers, body, connection, client: None });
    let answer = Response::builder().status(200).header("content-type", "application/json").body(()).expect("a head");
    if let Ok(mut out) = respond.send_response(answer, false) {
        let _ = out.send_data(Bytes::from_static(json.as_bytes()), true);
    }
}
