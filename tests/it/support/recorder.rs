//! A strict HTTP/1.1 server that stands in for the ERP and keeps every byte that reaches it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::http::find;

/// One request that reached the ERP.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// Whether head and body came whole.
    pub(crate) complete: bool,
    /// What is wrong with it, where something is.
    pub(crate) fault: Option<String>,
}

impl Recorded {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

/// The stand-in. It stops when dropped.
pub(crate) struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Recorded>>>,
    stop: Arc<AtomicBool>,
}

impl Recorder {
    /// Answers every request with 200 and a small JSON body.
    pub(crate) fn start() -> Self {
        Self::answering("application/json", &[], b"{\"answered\":\"by the recorder\"}")
    }

    /// Answers every request with 200, these headers and this body.
    pub(crate) fn answering(content_type: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let answer: Arc<[u8]> = [head.as_bytes(), body].concat().into();
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (kept, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (kept, stopped, answer) = (Arc::clone(&kept), Arc::clone(&stopped), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &answer, &kept, &stopped));
            }
        });
        Self { address, seen, stop }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has come since the last call.
    pub(crate) fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.seen.lock().expect("lock"))
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().expect("lock").len()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, answer: &[u8], seen: &Mutex<Vec<Recorded>>, stop: &AtomicBool) {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    let mut buffer = Vec::new();
    loop {
        let Some(end) = read_until(&mut stream, &mut buffer, b"\r\n\r\n", stop) else {
            if !buffer.is_empty() {
                seen.lock().expect("lock").push(parse(&buffer, Vec::new(), false));
            }
            return;
        };
        let head: Vec<u8> = buffer.drain(..end + 4).collect();
        let mut recorded = parse(&head, Vec::new(), false);
        if recorded.fault.is_none() {
            let body = read_body(&mut stream, &mut buffer, &mut recorded, stop);
            recorded.complete = body.is_some();
            recorded.body = body.unwrap_or_default();
        }
        let goes_on = recorded.complete && recorded.fault.is_none();
        seen.lock().expect("lock").push(recorded);
        if !goes_on {
            return;
        }
        if stream.write_all(answer).is_err() {
            return;
        }
    }
}

/// Reads on until `wanted` stands in the buffer; `None` when the other side is gone or the test is over.
fn read_until(stream: &mut TcpStream, buffer: &mut Vec<u8>, wanted: &[u8], stop: &AtomicBool) -> Option<usize> {
    loop {
        if let Some(at) = find(buffer, wanted) {
            return Some(at);
        }
        more(stream, buffer, stop)?;
    }
}

fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>, stop: &AtomicBool) -> Option<()> {
    let mut chunk = [0; 16 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return None,
            Ok(count) => {
                buffer.extend_from_slice(&chunk[..count]);
                return Some(());
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                if stop.load(Ordering::Relaxed) {
                    return None;
                }
            }
            Err(_) => return None,
        }
    }
}

fn parse(head: &[u8], body: Vec<u8>, complete: bool) -> Recorded {
    let text = String::from_utf8_lossy(head).into_owned();
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let request_line: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let mut fault = None;
    if request_line.len() != 3 || request_line.last() != Some(&"HTTP/1.1") {
        fault = Some(format!("request line {request_line:?}"));
    }
    let mut headers = Vec::new();
    for line in lines {
        match line.split_once(':') {
            Some((name, value))
                if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') =>
            {
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
            _ => fault = Some(format!("header line {line:?}")),
        }
    }
    let part = |index: usize| request_line.get(index).map(|text| (*text).to_owned()).unwrap_or_default();
    let mut recorded =
        Recorded { method: part(0), target: part(1), headers, head: head.to_vec(), body, complete, fault };
    if recorded.fault.is_none() && recorded.all("host").len() != 1 {
        recorded.fault = Some("not exactly one Host".into());
    }
    recorded
}

fn read_body(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    recorded: &mut Recorded,
    stop: &AtomicBool,
) -> Option<Vec<u8>> {
    let lengths: Vec<String> = recorded.all("content-length").into_iter().map(str::to_owned).collect();
    let codings: Vec<String> = recorded.all("transfer-encoding").into_iter().map(str::to_owned).collect();
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Some(Vec::new()),
        ([length], []) => {
            let Ok(length) = length.parse::<usize>() else {
                recorded.fault = Some(format!("Content-Length {length:?}"));
                return None;
            };
            while buffer.len() < length {
                more(stream, buffer, stop)?;
            }
            Some(buffer.drain(..length).collect())
        }
        ([], [coding]) if coding == "chunked" => {
            let mut body = Vec::new();
            loop {
                let end = read_until(stream, buffer, b"\r\n", stop)?;
                let line: Vec<u8> = buffer.drain(..end + 2).collect();
                let Ok(size) = usize::from_str_radix(&String::from_utf8_lossy(&line[..end]), 16) else {
                    recorded.fault = Some(format!("chunk size {:?}", String::from_utf8_lossy(&line)));
                    return None;
                };
                while buffer.len() < size + 2 {
                    more(stream, buffer, stop)?;
                }
                body.extend(buffer.drain(..size));
                if buffer.drain(..2).collect::<Vec<_>>() != b"\r\n" {
                    recorded.fault = Some("a chunk does not end with CR LF".into());
                    return None;
                }
                if size == 0 {
                    return Some(body);
                }
            }
        }
        (lengths, codings) => {
            recorded.fault = Some(format!("framing {lengths:?} {codings:?}"));
            None
        }
    }
}
