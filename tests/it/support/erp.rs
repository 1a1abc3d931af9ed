//! An ERP that does what a test says, over plain TCP or TLS: it answers, breaks off, or says nothing.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use openssl::ssl::SslAcceptor;

use super::http::find;

/// One request that reached the ERP.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The number of its connection, from 0.
    pub(crate) connection: usize,
    /// The name on the certificate that the client showed.
    pub(crate) client: Option<String>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Writes the answer; an error closes the connection.
pub(crate) type Handler = dyn Fn(&Asked, &mut dyn Write) -> io::Result<()> + Send + Sync;

/// The ERP. It takes no more connections when dropped.
pub(crate) struct Erp {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
}

impl Erp {
    pub(crate) fn plain(handler: impl Fn(&Asked, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(handler))
    }

    pub(crate) fn tls(
        acceptor: SslAcceptor,
        handler: impl Fn(&Asked, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(acceptor), Arc::new(handler))
    }

    fn start(acceptor: Option<SslAcceptor>, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let seen: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (kept, stopped, acceptor) = (Arc::clone(&seen), Arc::clone(&stop), acceptor.map(Arc::new));
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (kept, handler, acceptor) = (Arc::clone(&kept), Arc::clone(&handler), acceptor.clone());
                std::thread::spawn(move || serve(stream, acceptor.as_deref(), connection, &kept, &*handler));
            }
        });
        Self { address, seen, stop }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has come so far.
    pub(crate) fn seen(&self) -> Vec<Asked> {
        self.seen.lock().expect("lock").clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().expect("lock").len()
    }
}

impl Drop for Erp {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Addresses where nobody listens.
pub(crate) const NOBODY: [SocketAddr; 2] =
    [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1), SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 1)];

/// Answers with JSON.
pub(crate) fn answer(out: &mut dyn Write, status: u16, body: &str) -> io::Result<()> {
    let head =
        format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    out.write_all((head + body).as_bytes())
}

/// Closes the connection.
pub(crate) fn hang_up() -> io::Result<()> {
    Err(io::ErrorKind::ConnectionAborted.into())
}

fn serve(
    stream: TcpStream,
    acceptor: Option<&SslAcceptor>,
    connection: usize,
    seen: &Mutex<Vec<Asked>>,
    handler: &Handler,
) {
    let _ = stream.set_nodelay(true);
    match acceptor {
        None => talk(stream, connection, None, seen, handler),
        Some(acceptor) => {
            let Ok(stream) = acceptor.accept(stream) else { return };
            let client = stream.ssl().peer_certificate().map(|certificate| {
                let name = certificate.subject_name().entries().next().expect("a name");
                String::from_utf8_lossy(name.data().as_slice()).into_owned()
            });
            talk(stream, connection, client.as_ref(), seen, handler);
        }
    }
}

fn talk(
    mut stream: impl Read + Write,
    connection: usize,
    client: Option<&String>,
    seen: &Mutex<Vec<Asked>>,
    handler: &Handler,
) {
    let mut buffer = Vec::new();
    while let Some(mut asked) = read(&mut stream, &mut buffer) {
        asked.connection = connection;
        asked.client = client.cloned();
        seen.lock().expect("lock").push(asked.clone());
        if handler(&asked, &mut stream).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

fn read(stream: &mut impl Read, buffer: &mut Vec<u8>) -> Option<Asked> {
    let end = loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            break end;
        }
        more(stream, buffer)?;
    };
    let head: Vec<u8> = buffer.drain(..end + 4).collect();
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.trim_end().split("\r\n");
    let mut first = lines.next()?.split(' ').map(str::to_owned);
    let (method, target) = (first.next()?, first.next()?);
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut asked = Asked { method, target, headers, body: Vec::new(), connection: 0, client: None };
    let length = asked.header("content-length").map_or(0, |length| length.parse().expect("a length"));
    while buffer.len() < length {
        more(stream, buffer)?;
    }
    asked.body = buffer.drain(..length).collect();
    Some(asked)
}

fn more(stream: &mut impl Read, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 16 * 1024];
    let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
    buffer.extend_from_slice(&chunk[..count]);
    Some(())
}
