//! A small blocking HTTP/1.1 client: tests see the bytes and choose them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a test waits for bytes before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer as it came.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came as announced.
    pub(crate) whole: bool,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    /// The stable code of an error answer.
    pub(crate) fn code(&self) -> String {
        self.json().get("code").and_then(|code| code.as_str()).unwrap_or_default().to_owned()
    }
}

/// A connection that stays open between requests.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What comes after the last head, as it came over the wire.
impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.buffer.is_empty() {
            return self.stream.read(into);
        }
        // What came along with the head.
        let count = self.buffer.len().min(into.len());
        for (byte, buffered) in into.iter_mut().zip(self.buffer.drain(..count)) {
            *byte = buffered;
        }
        Ok(count)
    }
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("connect")
    }

    /// The same where nobody may be there.
    pub(crate) fn try_open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        let mut chunk = vec![0; 64 * 1024];
        let count = self.stream.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count)
    }

    /// The head of the next answer; `None` when the connection was closed without one.
    pub(crate) fn head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                let text = String::from_utf8_lossy(&head).into_owned();
                let mut lines = text.split("\r\n");
                let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
                if status == 100 {
                    continue;
                }
                let headers = lines
                    .filter_map(|line| line.split_once(':'))
                    .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                    .collect();
                return Some((status, headers));
            }
            if self.fill().ok()? == 0 {
                return None;
            }
        }
    }

    /// The next answer; `None` when the connection was closed without one.
    pub(crate) fn response(&mut self, to_head: bool) -> Option<Response> {
        let (status, headers) = self.head()?;
        let header = |wanted: &str| {
            headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.clone())
        };
        if to_head || status == 204 || status == 304 {
            return Some(Response { status, headers, body: Vec::new(), whole: true });
        }
        let (body, whole) = if header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            self.chunked()
        } else if let Some(length) = header("content-length") {
            self.exactly(length.parse().expect("content-length"))
        } else {
            while self.fill().is_ok_and(|count| count > 0) {}
            (std::mem::take(&mut self.buffer), true)
        };
        Some(Response { status, headers, body, whole })
    }

    /// The next so many bytes of a body.
    pub(crate) fn some(&mut self, length: usize) -> Vec<u8> {
        self.exactly(length).0
    }

    fn exactly(&mut self, length: usize) -> (Vec<u8>, bool) {
        while self.buffer.len() < length {
            match self.fill() {
                Ok(count) if count > 0 => {}
                _ => return (std::mem::take(&mut self.buffer), false),
            }
        }
        (self.buffer.drain(..length).collect(), true)
    }

    fn chunked(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let Some(end) = find(&self.buffer, b"\r\n") else {
                match self.fill() {
                    Ok(count) if count > 0 => continue,
                    _ => return (body, false),
                }
            };
            let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let size = String::from_utf8_lossy(&line[..end]).into_owned();
            let size = usize::from_str_radix(size.split(';').next().expect("size").trim(), 16).expect("chunk size");
            let (chunk, whole) = self.exactly(size + 2);
            if !whole {
                return (body, false);
            }
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return (body, true);
            }
        }
    }

    /// Whether the other side closes the connection within the test's patience, without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.fill(), Ok(0)) || self.stream.take_error().is_ok_and(|error| error.is_some())
    }

    /// One request and its answer.
    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Response {
        self.try_request(method, target, headers, body).expect("an answer")
    }

    /// The same where the other side may have closed the connection.
    pub(crate) fn try_request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Option<Response> {
        self.send(&render(method, target, headers, body)).ok()?;
        self.response(method == "HEAD")
    }
}

/// The bytes of a well-formed request.
pub(crate) fn render(method: &str, target: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        text.push_str("Host: gateway.test\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = body {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body.unwrap_or_default());
    bytes
}

/// One request on a connection of its own.
pub(crate) fn once(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Response {
    Connection::open(address).request(method, target, headers, body)
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
