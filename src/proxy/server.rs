//! Runs Pingora's server until it is told to stop, and stops without waiting longer than needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::HttpServerOptions;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch};
use pingora_core::services::background::{BackgroundService, background_service};
use pingora_core::services::listening::Service;
use pingora_proxy::HttpProxy;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::Gateway;
use super::connection::{ConnectionLimits, Limited};
use super::connections::{Connections, Most};
use super::http2::Http2Limits;
use super::listener::{BoundListener, Prebound};
use super::peer::HealthChecks;
use super::pulse::Pulse;
use super::unread::UnreadRows;
use crate::service_manager;
use crate::tls::Certificates;

/// The server section of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Pingora refuses it.
    #[error("the `server` section: {0}")]
    Configuration(String),
    /// OpenSSL cannot serve.
    #[error("TLS cannot be served: {0}")]
    Tls(String),
}

/// Tells a running server to stop.
#[derive(Debug, Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// A switch that has not been used.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Stops the server that watches this switch.
    pub fn now(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was used.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        *self.0.borrow()
    }

    /// Turns true when the server is to stop.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }

    async fn wanted(&self) {
        let mut watch = self.0.subscribe();
        // The sender lives as long as `self`, so this ends only when the value is true.
        let _ = watch.wait_for(|stop| *stop).await;
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

/// SIGTERM, SIGINT and SIGHUP, caught from the moment of registering on: a signal that comes while the gateway is starting
/// stops it in order, instead of ending the process there and then.
#[derive(Debug)]
pub struct Signals {
    runtime: tokio::runtime::Runtime,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Begins to catch them.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn register() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let inside = runtime.enter();
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let hang_up = signal(SignalKind::hangup())?;
        drop(inside);
        Ok(Self { runtime, terminate, interrupt, hang_up })
    }

    /// Lets SIGTERM and SIGINT use the switch, and SIGHUP call `reload`.
    ///
    /// # Errors
    /// When no thread can be had to wait for them.
    pub fn handle(self, stop: Stop, reload: impl Fn() + Send + Sync + 'static) -> std::io::Result<()> {
        let Self { runtime, mut terminate, mut interrupt, mut hang_up } = self;
        let reload = Arc::new(reload);
        let wait = move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = terminate.recv() => break log::info!("SIGTERM: stopping"),
                        _ = interrupt.recv() => break log::info!("SIGINT: stopping"),
                        _ = hang_up.recv() => {
                            log::info!("SIGHUP: reading the policy files again");
                            let reload = Arc::clone(&reload);
                            // Beside this thread, so that a panic does not leave the gateway deaf to SIGTERM.
                            if let Err(error) = tokio::task::spawn_blocking(move || reload()).await {
                                log::error!("the reading ended early: {error}");
                            }
                        }
                    }
                }
            });
            stop.now();
        };
        std::thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
    }
}

/// Runs the gateway on the listeners until `stop` says otherwise.
///
/// `beside` runs in the same process (the admin socket, the policy watcher) on a runtime of its own; `pulse` beats as
/// long as the proxy's threads do their work.
///
/// # Errors
/// When Pingora does not take the `server` section.
pub fn run(
    server_section: &serde_yaml::Value,
    gateway: Gateway,
    listeners: Vec<BoundListener>,
    beside: impl BackgroundService + Send + Sync + 'static,
    stop: Stop,
    pulse: &Pulse,
) -> Result<(), ServerError> {
    let configuration = configuration(server_section)?;
    let grace = Duration::from_secs(configuration.grace_period_seconds.unwrap_or(10));
    let threads = configuration.threads;
    let mut server = Server::new_with_opt_and_conf(None, configuration);
    server.bootstrap();

    let (downstream, head) = (gateway.settings.downstream, gateway.gate.rules.head);
    let checks = HealthChecks::of(&gateway.peers, ConnectorOptions::from_server_conf(&server.configuration));
    let rows = Arc::new(UnreadRows {
        auditor: Arc::clone(&gateway.gate.auditor),
        redactor: Arc::clone(&gateway.gate.redactor),
        clock: Arc::clone(&gateway.gate.clock),
        entropy: Arc::clone(&gateway.entropy),
    });
    let in_flight = Arc::clone(&gateway.in_flight);
    let connections = Arc::clone(&gateway.connections);
    let trusted_proxies = gateway.settings.trusted_proxies.clone();
    let proxy_protocol = gateway.settings.proxy_protocol.clone();
    let stopping = Arc::clone(&gateway.stopping);
    let mut proxy = HttpProxy::new(gateway, Arc::clone(&server.configuration));
    proxy.handle_init_modules();
    let mut options = HttpServerOptions::default();
    options.keepalive_request_limit = Some(downstream.requests_per_connection);
    proxy.server_options = Some(options);
    let limits = ConnectionLimits {
        head: downstream.head,
        keep_alive: downstream.keep_alive,
        lifetime: downstream.connection_lifetime,
        connections: Most { of_all: downstream.connections, of_address: downstream.connections_per_address },
    };
    let http2 = Http2Limits {
        streams: downstream.http2_streams,
        requests: downstream.requests_per_connection,
        head,
        connection: limits,
    };
    let proxy = Arc::new(proxy);
    let (protected, plain): (Vec<_>, Vec<_>) = listeners.into_iter().partition(|listener| listener.tls().is_some());
    for (name, listeners) in [("gateway over TLS", protected), ("gateway", plain)] {
        let Some(first) = listeners.first() else { continue };
        let context = first.tls().map(Certificates::acceptor).transpose();
        let context = context.map_err(|error| ServerError::Tls(error.to_string()))?;
        let limited = Limited {
            inner: Arc::clone(&proxy),
            limits,
            http2,
            connections: Arc::clone(&connections),
            trusted_proxies: trusted_proxies.clone(),
            proxy_protocol: proxy_protocol.clone(),
            rows: Arc::clone(&rows),
            tls: context.map(|builder| builder.build().into_context()),
        };
        let mut service = Service::new(name.to_owned(), limited);
        service.threads = Some(threads);
        let (stop, connections) = (stop.clone(), Arc::clone(&connections));
        server.add_service(Prebound::new(service, listeners, stop, connections, pulse.clone()));
    }
    server.add_service(background_service("beside", beside));
    if let Some(checks) = checks {
        server.add_service(background_service("health checks", checks));
    }
    server.run(RunArgs { shutdown_signal: Box::new(Shutdown { stop, in_flight, connections, stopping, grace }) });
    Ok(())
}

/// The `server` section as Pingora reads it.
pub(super) fn configuration(server_section: &serde_yaml::Value) -> Result<ServerConf, ServerError> {
    serde_yaml::from_value(server_section.clone()).map_err(|error| ServerError::Configuration(error.to_string()))
}

/// Waits for the wish to stop, then until every connection has ended.
///
/// Pingora's own graceful stop sleeps for the whole grace period even when nothing is in progress.
struct Shutdown {
    stop: Stop,
    in_flight: Arc<AtomicUsize>,
    connections: Arc<Connections>,
    stopping: Arc<AtomicBool>,
    grace: Duration,
}

#[async_trait]
impl ShutdownSignalWatch for Shutdown {
    async fn recv(&self) -> ShutdownSignal {
        self.stop.wanted().await;
        self.stopping.store(true, Ordering::Relaxed);
        service_manager::stopping();
        if tokio::time::timeout(self.grace, self.connections.are_over()).await.is_err() {
            let left = self.in_flight.load(Ordering::Acquire);
            log::warn!("{left} exchanges were cut off after {} s of grace", self.grace.as_secs());
        }
        ShutdownSignal::FastShutdown
    }
}
