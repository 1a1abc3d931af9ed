//! Clients of HTTP/2: one that sends requests, and one that sends frames as it likes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use openssl::ssl::{SslConnector, SslMethod, SslStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::certificates::{Authority, Issued};

/// How a client connects.
pub(crate) struct Dial<'a> {
    pub(crate) authority: &'a Authority,
    pub(crate) name: &'a str,
    /// The client's own certificate.
    pub(crate) shows: Option<&'a Issued>,
}

impl Dial<'_> {
    pub(crate) fn connector(&self, protocols: &[u8]) -> SslConnector {
        let mut builder = SslConnector::builder(SslMethod::tls()).expect("a client");
        builder.cert_store_mut().add_cert(self.authority.certificate()).expect("trusted");
        builder.set_alpn_protos(protocols).expect("set");
        if let Some(issued) = self.shows {
            issued.show(&mut builder);
        }
        builder.build()
    }
}

/// A connection that sends requests.
pub(crate) struct Http2Client {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
    name: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Http2Client {
    pub(crate) fn connect(address: SocketAddr, dial: &Dial<'_>) -> Self {
        Self::try_connect(address, dial).expect("a connection")
    }

    pub(crate) fn try_connect(address: SocketAddr, dial: &Dial<'_>) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let connector = dial.connector(b"\x02h2");
        let (sender, connection) = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            let ssl = connector.configure().expect("a connection").into_ssl(dial.name).expect("a connection");
            let mut stream = tokio_openssl::SslStream::new(ssl, stream).expect("a stream");
            Pin::new(&mut stream).connect().await.map_err(|error| error.to_string())?;
            if stream.ssl().selected_alpn_protocol() != Some(b"h2") {
                return Err("HTTP/2 is not offered".to_owned());
            }
            let (sender, connection) = h2::client::handshake(stream).await.map_err(|error| error.to_string())?;
            Ok::<_, String>((sender, tokio::spawn(connection)))
        })?;
        Ok(Self { runtime, sender, connection, name: dial.name.to_owned() })
    }

    pub(crate) fn head(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(format!("https://{}{target}", self.name));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request")
    }

    /// Sends a request without waiting for its answer.
    pub(crate) fn send(&mut self, request: Request<()>, body: Option<&[u8]>) -> Result<ResponseFuture, String> {
        let (response, mut stream) = self.open(request, body.is_none())?;
        if let Some(body) = body {
            // A request that is refused by its head may have its answer already, and its stream its end.
            let _ = stream.send_data(Bytes::copy_from_slice(body), true);
        }
        Ok(response)
    }

    /// Whether another request may be sent: the gateway has not said that it leaves.
    pub(crate) fn is_open(&self) -> bool {
        self.runtime.block_on(self.sender.clone().ready()).is_ok()
    }

    /// Begins a request; its body is sent by hand where it is not over.
    pub(crate) fn open(
        &mut self,
        request: Request<()>,
        over: bool,
    ) -> Result<(ResponseFuture, h2::SendStream<Bytes>), String> {
        let sender = self.sender.clone();
        let mut sender = self.runtime.block_on(sender.ready()).map_err(|error| error.to_string())?;
        let _inside = self.runtime.enter();
        sender.send_request(request, over).map_err(|error| error.to_string())
    }

    pub(crate) fn answer(&self, response: ResponseFuture) -> Result<Answer, String> {
        self.runtime.block_on(async {
            let response = response.await.map_err(|error| error.to_string())?;
            let (head, mut stream) = response.into_parts();
            let mut body = Vec::new();
            while let Some(chunk) = stream.data().await {
                let chunk = chunk.map_err(|error| error.to_string())?;
                let _ = stream.flow_control().release_capacity(chunk.len());
                body.extend_from_slice(&chunk);
            }
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
        })
    }

    pub(crate) fn try_ask(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Answer, String> {
        let request = self.head(method, target, headers);
        let response = self.send(request, body)?;
        self.answer(response)
    }

    pub(crate) fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Answer {
        self.try_ask(method, target, headers, body).expect("an answer")
    }

    /// How the connection ends.
    pub(crate) fn end(self) -> Result<(), String> {
        drop(self.sender);
        self.runtime.block_on(self.connection).expect("joined").map_err(|error| error.to_string())
    }
}

/// A frame of HTTP/2 (RFC 9113 section 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        Self { kind, flags, stream, payload: payload.to_vec() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a length").to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The error code of `GOAWAY` and `RST_STREAM`.
    pub(crate) fn reason(&self) -> u32 {
        let from = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[from..from + 4].try_into().expect("a code"))
    }
}

/// A header block of literals without indexing (RFC 7541 section 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let length = text.len();
            if length < 127 {
                block.push(u8::try_from(length).expect("short"));
            } else {
                block.push(127);
                let mut rest = length - 127;
                while rest >= 128 {
                    block.push(u8::try_from(rest % 128 + 128).expect("a byte"));
                    rest /= 128;
                }
                block.push(u8::try_from(rest).expect("a byte"));
            }
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A connection that sends frames as it likes.
pub(crate) struct Frames(SslStream<TcpStream>);

impl Frames {
    /// Over TLS, without the preface.
    pub(crate) fn connect(address: SocketAddr, dial: &Dial<'_>) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        stream.set_nodelay(true).expect("set");
        Self(dial.connector(b"\x02h2").connect(dial.name, stream).expect("TLS"))
    }

    /// With the preface and SETTINGS, acknowledged on both sides.
    pub(crate) fn begin(address: SocketAddr, dial: &Dial<'_>) -> Self {
        let mut frames = Self::connect(address, dial);
        frames.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frames.send(&Frame::new(SETTINGS, 0, 0, &[]));
        frames.send(&Frame::new(SETTINGS, ACK, 0, &[]));
        while let Some(frame) = frames.next() {
            if (frame.kind, frame.flags) == (SETTINGS, ACK) {
                return frames;
            }
        }
        panic!("SETTINGS were not acknowledged");
    }

    /// Whether it could be sent; the other side may have closed.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    pub(crate) fn send(&mut self, frame: &Frame) -> bool {
        self.raw(&frame.bytes())
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).expect("a length");
        let stream = u32::from_be_bytes(head[5..9].try_into().expect("four bytes"));
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }
}
