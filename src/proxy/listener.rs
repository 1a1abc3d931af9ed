//! Listeners that are bound before Pingora starts.
//!
//! Pingora retries a failing bind in a task and goes on without a listener. Binding first makes it a start-up error,
//! lets tests use port 0, and sockets that were handed over serve on.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service as PingoraService;
use pingora_core::services::listening::Service;

use super::connections::Connections;
use super::pulse::Pulse;
use super::server::Stop;
use crate::service_manager::Inherited;
use crate::tls::Certificates;

/// A listener cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}`: {source}; is another process using it?")]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

/// A bound socket that waits for the server to start.
#[derive(Debug)]
pub struct BoundListener {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<Certificates>>,
}

impl BoundListener {
    /// Binds the address, or takes the socket that was handed over. Port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn bind(address: SocketAddr, inherited: &mut Inherited) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let listener = inherited.listen(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, tls: None })
    }

    /// Shows these certificates; without, it is plain.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Certificates>>) -> Self {
        Self { tls, ..self }
    }

    /// The certificates that it shows.
    pub(super) fn tls(&self) -> Option<&Arc<Certificates>> {
        self.tls.as_ref()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A Pingora service on sockets that are bound already.
pub(super) struct Prebound<A> {
    service: Service<A>,
    listeners: Vec<BoundListener>,
    stop: Stop,
    connections: Arc<Connections>,
    pulse: Pulse,
}

impl<A: ServerApp + Send + Sync + 'static> Prebound<A> {
    pub(super) fn new(
        mut service: Service<A>,
        listeners: Vec<BoundListener>,
        stop: Stop,
        connections: Arc<Connections>,
        pulse: Pulse,
    ) -> Self {
        // Plain for Pingora, with TLS too: handshakes are made where the limits of connections count them.
        for listener in &listeners {
            service.add_tcp(&listener.address.to_string());
        }
        Self { service, listeners, stop, connections, pulse }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> PingoraService for Prebound<A> {
    async fn start_service(&mut self, fds: Option<ListenFds>, _: ShutdownWatch, listeners_per_fd: usize) {
        // Pingora looks sockets up by the text they were added under and binds what it does not find.
        if let Some(fds) = &fds {
            for listener in self.listeners.drain(..) {
                fds.lock().add(listener.address.to_string(), listener.listener.into_raw_fd());
            }
        } else {
            log::error!("Pingora gave no table of sockets; the gateway cannot listen");
            return;
        }
        tokio::spawn(self.pulse.clone().beat());
        // Pingora says that it stops when nothing may be in progress any more; accepting ends as soon as it is wanted.
        let watch = self.stop.watch();
        if !*watch.borrow() {
            PingoraService::start_service(&mut self.service, fds, watch, listeners_per_fd).await;
        }
        self.connections.accepts_no_more();
    }

    fn name(&self) -> &str {
        PingoraService::name(&self.service)
    }

    fn threads(&self) -> Option<usize> {
        PingoraService::threads(&self.service)
    }
}
