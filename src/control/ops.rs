//! The listener for the machines that watch over the gateway: is it alive, can it serve, how is it doing.
//!
//! It answers anybody who reaches it, so it says nothing about accounts, credentials or requests.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Json, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::sync::Semaphore;

use super::listener::{Bound, ListenError};
use super::{Control, metrics};
use crate::audit::WriterState;
use crate::service_manager::Inherited;

/// How long the store may take to answer.
const STORE_ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// A bound listener.
#[derive(Debug)]
pub struct OpsListener(Bound);

/// What the answers are taken from.
#[derive(Clone)]
pub struct Watched {
    control: Arc<Control>,
    stopping: Arc<dyn Fn() -> bool + Send + Sync>,
    /// One question to the store at a time: a store that hangs takes one thread, not one for each that asks.
    store: Arc<Semaphore>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Watched")
    }
}

impl Watched {
    /// Answers are about this gateway; `stopping` says whether it takes no more work.
    #[must_use]
    pub fn new(control: Arc<Control>, stopping: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { control, stopping: Arc::new(stopping), store: Arc::new(Semaphore::new(1)) }
    }

    /// Everything that keeps requests from being served. What an operator or the schedule has closed is not among it:
    /// another gateway would be closed too.
    async fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if (self.stopping)() {
            reasons.push("the gateway is stopping".to_owned());
        }
        self.control.auditor.ask_whether_it_writes();
        match self.control.auditor.health().state {
            WriterState::Ok => {}
            WriterState::Failing { since } => {
                reasons.push(format!("audit rows cannot be written for {} s", since.as_secs()));
            }
            WriterState::Stalled { since } => {
                reasons.push(format!("the audit writer is stalled for {} s", since.as_secs()));
            }
        }
        if self.control.policies.current().generation() == 0 {
            reasons.push("no policies are loaded".to_owned());
        }
        match tokio::time::timeout(STORE_ANSWERS_WITHIN, self.ask_store()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                log::warn!("not ready: {error}");
                reasons.push("the state database cannot be read".to_owned());
            }
            Err(_) => {
                reasons.push(format!("the state database has not answered for {} s", STORE_ANSWERS_WITHIN.as_secs()));
            }
        }
        reasons
    }

    async fn ask_store(&self) -> Result<(), String> {
        let turn = Arc::clone(&self.store).acquire_owned().await.map_err(|error| error.to_string())?;
        let store = Arc::clone(&self.control.store);
        let answered = tokio::task::spawn_blocking(move || {
            let answered = store.answers();
            drop(turn);
            answered
        });
        answered.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

impl OpsListener {
    /// Binds the address. Port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn bind(address: SocketAddr, inherited: &mut Inherited) -> Result<Self, ListenError> {
        Bound::bind(address, "ops.listen", inherited).map(Self)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Serves until dropped.
    ///
    /// # Errors
    /// When the socket breaks.
    pub async fn serve(self, watched: Watched) -> io::Result<()> {
        let routes = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(measured))
            .with_state(watched);
        axum::serve(self.0.into_tokio()?, routes).await
    }
}

async fn readyz(State(watched): State<Watched>) -> Response {
    let reasons = watched.reasons().await;
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let uncached = [(header::CACHE_CONTROL, "no-store")];
    (status, uncached, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}

async fn measured(State(watched): State<Watched>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(&watched.control)).into_response()
}
