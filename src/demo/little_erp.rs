//! A small ERP for the demo and the tests: JSON sign-in, customers, orders, stock, and routes that behave badly.
//!
//! | route | what it does |
//! |---|---|
//! | `POST /api/session` | `{"username", "password"}` → `{"ok": true, "token", "expires_in"}`; a wrong password is a 200 with `"ok": false` |
//! | `DELETE /api/session` | ends the session |
//! | `GET /api/customers`, `/api/customers/{id}` | 20 customers |
//! | `GET`, `POST /api/orders`, `GET /api/orders/{id}` | 40 orders, and those that were posted |
//! | `GET /api/stock`, `/api/stock/{sku}` | 15 items |
//! | `/api/slow?ms=` | answers late |
//! | `/api/fail` | answers 500 with a text that only the ERP's owner should read |
//! | `/api/large?bytes=` | streams; byte `n` is `(n mod 65536) mod 251` |
//! | `POST /api/upload` | counts the bytes and answers their number and CRC-32 |
//! | `/api/redirect` | 302 to an address inside, with a cookie |
//! | `/api/leak` | repeats the credentials that it received, in a header and in the body |
//! | `/api/echo` | repeats method, target and headers |
//! | `/api/reset` | breaks off in the middle of the answer |
//! | `/api/hang` | never answers |
//!
//! All but the sign-in want `X-ERP-Session: <token>`, or `Authorization: Bearer <api key>` where a key is set.

mod answers;
mod data;
mod recorder;
mod routes;
mod state;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

pub use recorder::Recorded;

use crate::domain::{Clock, Entropy, Secret, SystemClock, SystemEntropy};
use state::State;

/// Why the little ERP could not start.
#[derive(Debug, thiserror::Error)]
pub enum LittleErpError {
    /// The listener cannot be used.
    #[error("the little ERP cannot use its listener: {0}")]
    Listener(#[source] io::Error),
    /// No threads to run on.
    #[error("the little ERP got no threads to run on: {0}")]
    Threads(#[source] io::Error),
}

/// Who may sign in, and for how long.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name that may sign in.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// A key that is accepted as `Authorization: Bearer …` without any sign-in.
    pub api_key: Option<Secret>,
    /// How long a session lives. The answer to a sign-in says it in whole seconds.
    pub session_lifetime: Duration,
    /// What time it is for the sessions.
    pub clock: Arc<dyn Clock>,
    /// Where session tokens come from.
    pub entropy: Arc<dyn Entropy>,
}

impl Settings {
    /// Settings for one user, with sessions of an hour, no static key, the machine's clock and randomness.
    #[must_use]
    pub fn new(username: &str, password: Secret) -> Self {
        Self {
            username: username.to_owned(),
            password,
            api_key: None,
            session_lifetime: Duration::from_hours(1),
            clock: Arc::new(SystemClock::default()),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

/// The little ERP.
#[derive(Debug)]
pub struct LittleErp;

impl LittleErp {
    /// Serves on `listener`, on threads of its own, until the handle is dropped.
    ///
    /// # Errors
    /// When the listener or the threads cannot be used.
    pub fn start(listener: TcpListener, settings: Settings) -> Result<LittleErpHandle, LittleErpError> {
        let address = listener.local_addr().map_err(LittleErpError::Listener)?;
        listener.set_nonblocking(true).map_err(LittleErpError::Listener)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("little-erp")
            .enable_all()
            .build()
            .map_err(LittleErpError::Threads)?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(LittleErpError::Listener)?
        };
        let state = Arc::new(State::new(address, settings));
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("little-erp".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(listener, served) => {}
                        _ = stopped => {}
                    }
                });
            })
            .map_err(LittleErpError::Threads)?;
        Ok(LittleErpHandle { state, stop: Some(stop), thread: Some(thread) })
    }
}

async fn accept(listener: tokio::net::TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, or the peer left early: neither is cured by asking again at once.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| routes::serve(Arc::clone(&state), request));
            // A connection that breaks is the peer's business, and sometimes our own wish (`/api/reset`).
            let _broken = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A running little ERP. Dropping it closes its listener and every connection before the drop returns.
#[derive(Debug)]
pub struct LittleErpHandle {
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LittleErpHandle {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.state.address()
    }

    /// Forgets every session, as a restart of a real ERP does.
    pub fn expire_sessions(&self) {
        self.state.sessions().clear();
    }

    /// The requests that arrived last, oldest first; at most [`Recorded::KEPT`] are kept.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.recorder().requests()
    }

    /// How many requests have arrived, sign-ins included.
    #[must_use]
    pub fn requests_total(&self) -> u64 {
        self.state.recorder().total()
    }

    /// How many sign-ins were tried, whatever came of them.
    #[must_use]
    pub fn sign_ins(&self) -> u64 {
        self.state.sign_ins()
    }

    /// How long a sign-in takes from now on.
    pub fn set_sign_in_delay(&self, delay: Duration) {
        self.state.set_sign_in_delay(delay);
    }

    /// Whether every sign-in is refused from now on, as if the password had been changed.
    pub fn fail_sign_ins(&self, fail: bool) {
        self.state.set_fail_sign_ins(fail);
    }
}

impl Drop for LittleErpHandle {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _already_gone = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
