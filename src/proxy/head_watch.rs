//! What can be seen of a request that Pingora itself refuses.
//!
//! Pingora answers a head that it cannot read before any filter sees the request. So the bytes of the connection are
//! looked at on their way, while a head is awaited and at no other time: the start of what came, and the status that
//! Pingora answered.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::{SslDigest, TlsRef};
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes kept of the start of a head: enough for a request line that somebody wants to read.
const KEPT: usize = 512;

/// The head that a connection awaits.
#[derive(Debug)]
pub(super) struct HeadWatch {
    awaited: AtomicBool,
    seen: Mutex<Seen>,
}

/// What was seen while a head was awaited.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    /// The first bytes.
    pub(super) start: Vec<u8>,
    /// How many bytes there were.
    pub(super) bytes: usize,
    /// Whether the client has closed its side.
    pub(super) ended: bool,
    /// The status that was answered.
    pub(super) answered: Option<u16>,
}

impl HeadWatch {
    pub(super) fn new() -> Self {
        Self { awaited: AtomicBool::new(true), seen: Mutex::default() }
    }

    /// The head has come: what follows is the request's own.
    pub(super) fn arrived(&self) {
        self.awaited.store(false, Ordering::Relaxed);
        *self.lock() = Seen::default();
    }

    /// The next head is awaited.
    pub(super) fn await_next(&self) {
        *self.lock() = Seen::default();
        self.awaited.store(true, Ordering::Relaxed);
    }

    /// What was seen of the head that is awaited; `None` while none is.
    pub(super) fn seen(&self) -> Option<Seen> {
        self.is_awaited().then(|| self.lock().clone())
    }

    fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed)
    }

    fn read(&self, bytes: &[u8]) {
        let mut seen = self.lock();
        let room = KEPT.saturating_sub(seen.start.len());
        seen.start.extend(bytes.iter().take(room));
        seen.bytes = seen.bytes.saturating_add(bytes.len());
        seen.ended |= bytes.is_empty();
    }

    fn written(&self, bytes: &[u8]) {
        let mut seen = self.lock();
        if seen.answered.is_none() {
            seen.answered = status_of(bytes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The status in the first line of an answer.
fn status_of(bytes: &[u8]) -> Option<u16> {
    let line = bytes.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(line).ok()?.parse().ok()
}

/// A connection whose bytes are looked at while a head is awaited.
#[derive(Debug)]
pub(super) struct WatchedStream {
    pub(super) stream: Stream,
    pub(super) head: Arc<HeadWatch>,
}

impl AsyncRead for WatchedStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        if matches!(polled, Poll::Ready(Ok(()))) && this.head.is_awaited() {
            this.head.read(buffer.filled().get(before..).unwrap_or_default());
        }
        polled
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.head.is_awaited() {
            this.head.written(bytes);
        }
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.head.is_awaited()
            && let Some(first) = bytes.first()
        {
            this.head.written(first);
        }
        Pin::new(&mut this.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for WatchedStream {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(&mut *self.stream).await;
    }
}

impl UniqueID for WatchedStream {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for WatchedStream {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for WatchedStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl GetProxyDigest for WatchedStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.stream.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for WatchedStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.set_socket_digest(digest);
    }
}

#[async_trait]
impl Peek for WatchedStream {
    async fn try_peek(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        self.stream.try_peek(buffer).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_an_answer_is_in_its_first_line() {
        assert_eq!(status_of(b"HTTP/1.1 400 Bad Request\r\n"), Some(400));
        assert_eq!(status_of(b"HTTP/1.0 405 x"), Some(405));
        for other in [b"HTTP/1.1 4".as_slice(), b"", b"{\"status\":400}", b"HTTP/1.1 abc"] {
            assert_eq!(status_of(other), None, "{other:?}");
        }
    }

    #[test]
    fn only_the_start_of_an_awaited_head_is_kept() {
        let watch = HeadWatch::new();
        watch.read(&[b'a'; 400]);
        watch.read(&[b'b'; 400]);
        let seen = watch.seen().expect("awaited");
        assert_eq!((seen.start.len(), seen.bytes, seen.ended), (KEPT, 800, false));
        watch.arrived();
        assert!(watch.seen().is_none());
        watch.await_next();
        assert_eq!(watch.seen().expect("awaited").bytes, 0);
    }
}
