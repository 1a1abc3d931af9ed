//! Clients: as fast as they are answered, or at a fixed rate whatever happens.
//!
//! At a fixed rate each request has the moment at which it is due; its latency counts from there, also where no
//! connection was free then, so that a slow answer is not left out of the figures because it held the next one up.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use openssl::ssl::SslConnector;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_openssl::SslStream;

/// One request, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `GET` or `POST`.
    pub(crate) method: &'static str,
    /// Path and query.
    pub(crate) target: String,
    /// Name and value.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The body.
    pub(crate) body: Bytes,
    /// What the answer must be.
    pub(crate) status: u16,
}

impl Request {
    fn bytes(&self, close: bool) -> Bytes {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: api.example\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if close {
            text.push_str("Connection: close\r\n");
        }
        if !self.body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        [text.as_bytes(), &self.body].concat().into()
    }
}

/// What clients do.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) address: SocketAddr,
    /// Sent one after the other, over and over.
    pub(crate) requests: Vec<Request>,
    pub(crate) connections: usize,
    pub(crate) tls: Option<SslConnector>,
    pub http2: bool,
    /// Each request on a connection of its own.
    pub(crate) anew: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) answered: u64,
    /// Answers with another status, broken connections.
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
    pub(crate) elapsed: Duration,
    /// In microseconds, at a fixed rate.
    pub(crate) latencies: Vec<u32>,
}

enum Link {
    Closed,
    Plain(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
    Http2(SendRequest<Bytes>),
}

struct Client {
    work: Rc<Prepared>,
    link: Link,
    buffer: BytesMut,
    next: usize,
}

struct Prepared {
    work: Work,
    bytes: Vec<Bytes>,
}

impl Client {
    async fn connect(&mut self) -> io::Result<()> {
        let stream = TcpStream::connect(self.work.work.address).await?;
        stream.set_nodelay(true)?;
        self.link = match &self.work.work.tls {
            None => Link::Plain(stream),
            Some(connector) => {
                let ssl = connector.configure()?.into_ssl("api.example")?;
                let mut stream = SslStream::new(ssl, stream)?;
                Pin::new(&mut stream).connect().await.map_err(io::Error::other)?;
                if self.work.work.http2 {
                    if stream.ssl().selected_alpn_protocol() != Some(b"h2") {
                        return Err(io::Error::other("HTTP/2 is not offered"));
                    }
                    let (sender, connection) = h2::client::handshake(stream).await.map_err(io::Error::other)?;
                    tokio::task::spawn_local(connection);
                    Link::Http2(sender)
                } else {
                    Link::Tls(Box::new(stream))
                }
            }
        };
        Ok(())
    }

    /// Sends the next request and reads its answer.
    async fn once(&mut self) -> io::Result<()> {
        if matches!(self.link, Link::Closed) {
            self.connect().await?;
        }
        let place = self.next % self.work.bytes.len();
        self.next += 1;
        let (work, buffer) = (Rc::clone(&self.work), &mut self.buffer);
        let (bytes, request) = (&work.bytes[place], &work.work.requests[place]);
        let (status, last) = match &mut self.link {
            Link::Closed => return Err(io::Error::other("not connected")),
            Link::Plain(stream) => exchange(stream, buffer, bytes).await?,
            Link::Tls(stream) => exchange(stream, buffer, bytes).await?,
            Link::Http2(sender) => over_http2(sender, request).await?,
        };
        if last || work.work.anew {
            self.link = Link::Closed;
        }
        if status == request.status {
            Ok(())
        } else {
            Err(io::Error::other(format!("{} was answered {status}", request.target)))
        }
    }
}

/// Status, and whether the connection ends.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    request: &[u8],
) -> io::Result<(u16, bool)> {
    stream.write_all(request).await?;
    buffer.clear();
    let end = loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = std::str::from_utf8(&buffer[..end]).map_err(io::Error::other)?.to_ascii_lowercase();
    let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(|| io::Error::other("no status"))?;
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let length: usize = length.and_then(|length| length.parse().ok()).ok_or_else(|| io::Error::other("no length"))?;
    let mut missing = (end + length).saturating_sub(buffer.len());
    while missing > 0 {
        buffer.clear();
        let count = stream.read_buf(buffer).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        missing = missing.saturating_sub(count);
    }
    Ok((status, head.contains("connection: close")))
}

async fn over_http2(sender: &SendRequest<Bytes>, request: &Request) -> io::Result<(u16, bool)> {
    let mut sender = sender.clone().ready().await.map_err(io::Error::other)?;
    let mut head =
        http::Request::builder().method(request.method).uri(format!("https://api.example{}", request.target));
    for (name, value) in &request.headers {
        head = head.header(*name, value);
    }
    let head = head.body(()).map_err(io::Error::other)?;
    let (answer, mut body) = sender.send_request(head, request.body.is_empty()).map_err(io::Error::other)?;
    if !request.body.is_empty() {
        body.send_data(request.body.clone(), true).map_err(io::Error::other)?;
    }
    let answer = answer.await.map_err(io::Error::other)?;
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    while let Some(chunk) = body.data().await {
        let length = chunk.map_err(io::Error::other)?.len();
        body.flow_control().release_capacity(length).map_err(io::Error::other)?;
    }
    Ok((status, false))
}

fn clients(work: &Work) -> Vec<Client> {
    let bytes = work.requests.iter().map(|request| request.bytes(work.anew)).collect();
    let prepared = Rc::new(Prepared { work: work.clone(), bytes });
    // Not all at the same request.
    (0..work.connections)
        .map(|next| Client {
            work: Rc::clone(&prepared),
            link: Link::Closed,
            buffer: BytesMut::with_capacity(64 << 10),
            next,
        })
        .collect()
}

fn run<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

type Shared = Rc<RefCell<Counted>>;

fn note(counted: &Shared, outcome: io::Result<()>) -> bool {
    let mut counted = counted.borrow_mut();
    match outcome {
        Ok(()) => counted.answered += 1,
        Err(error) => {
            counted.failed += 1;
            counted.first_failure.get_or_insert_with(|| error.to_string());
            return false;
        }
    }
    true
}

/// Each connection sends its next request as soon as the one before is answered.
pub(crate) fn saturate(work: &Work, time: Duration) -> Counted {
    run(async {
        let (counted, began) = (Shared::default(), Instant::now());
        let tasks: Vec<_> = clients(work)
            .into_iter()
            .map(|mut client| {
                let counted = Rc::clone(&counted);
                tokio::task::spawn_local(async move {
                    while began.elapsed() < time {
                        if !note(&counted, client.once().await) {
                            client.link = Link::Closed;
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("a client");
        }
        let mut counted = std::mem::take(&mut *counted.borrow_mut());
        counted.elapsed = began.elapsed();
        counted
    })
}

/// What is due, and for whom there is something to do.
struct Due {
    moments: RefCell<VecDeque<Instant>>,
    there: Semaphore,
}

/// So many requests per second, at even distances.
pub(crate) fn at_rate(work: &Work, rate: f64, time: Duration) -> Counted {
    run(async {
        let counted = Shared::default();
        let due = Rc::new(Due { moments: RefCell::default(), there: Semaphore::new(0) });
        let mut clients = clients(work);
        if !work.anew {
            for client in &mut clients {
                note(&counted, client.once().await);
            }
            counted.borrow_mut().answered = 0;
        }
        let tasks: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let (counted, due) = (Rc::clone(&counted), Rc::clone(&due));
                tokio::task::spawn_local(async move {
                    while let Ok(permit) = due.there.acquire().await {
                        permit.forget();
                        let Some(moment) = due.moments.borrow_mut().pop_front() else { continue };
                        if note(&counted, client.once().await) {
                            let late = u32::try_from(moment.elapsed().as_micros()).unwrap_or(u32::MAX);
                            counted.borrow_mut().latencies.push(late);
                        } else {
                            client.link = Link::Closed;
                        }
                    }
                })
            })
            .collect();
        let (began, all) = (Instant::now(), (rate * time.as_secs_f64()) as u32);
        let timer = Timer::new();
        let mut sent = 0;
        while sent < all {
            let now = Instant::now();
            let mut more = 0;
            while sent < all && began + Duration::from_secs_f64(f64::from(sent) / rate) <= now {
                due.moments.borrow_mut().push_back(began + Duration::from_secs_f64(f64::from(sent) / rate));
                (sent, more) = (sent + 1, more + 1);
            }
            due.there.add_permits(more);
            timer.wait(began + Duration::from_secs_f64(f64::from(sent) / rate)).await;
        }
        // What is still due is waited for, within reason.
        for _ in 0..500 {
            if due.moments.borrow().is_empty() && counted.borrow().answered + counted.borrow().failed >= u64::from(all)
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        due.there.close();
        let unanswered = u64::try_from(due.moments.borrow().len()).unwrap_or(u64::MAX);
        for task in tasks {
            let _ = tokio::time::timeout(Duration::from_secs(5), task).await;
        }
        let mut counted = std::mem::take(&mut *counted.borrow_mut());
        counted.failed += unanswered;
        counted.elapsed = began.elapsed();
        counted
    })
}

/// Wakes within some microseconds; the runtime's own timer has milliseconds.
struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    #[expect(deprecated, reason = "an owned descriptor, which nobody else closes")]
    fn new() -> Self {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Self(AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags).expect("a timer")).expect("a timer"))
    }

    async fn wait(&self, until: Instant) {
        let wait = until.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).expect("a time"),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        timerfd_settime(
            self.0.get_ref(),
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: none, it_value: value },
        )
        .expect("set");
        let mut ready = self.0.readable().await.expect("the timer");
        let _ = rustix::io::read(self.0.get_ref(), &mut [0; 8]);
        ready.clear_ready();
    }
}
