//! Sends the records of the trail to where they are collected: in order, at least once, beside the relays.
//!
//! A sink has a cursor in `audit.db`: the last record that its receiver has. It moves when the receiver has confirmed
//! a batch. What fails is tried again, for as long as it takes; nothing else waits for it.

mod http;
mod stream;
mod syslog;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::auditor::Auditor;
use super::database::AuditError;
use super::records::{self, StoredRecord};
use crate::domain::{Clock, Entropy};

/// Where records are sent.
#[derive(Debug, Clone)]
pub struct SinkSettings {
    /// Its name; its cursor is kept under it.
    pub name: String,
    /// Whether a new sink gets the whole trail, or what comes from now on.
    pub from_beginning: bool,
    /// Records sent at once, at most.
    pub batch: usize,
    /// How long it waits for new records.
    pub poll: Duration,
    /// How long it waits after a first failure; doubled with each further one, up to five minutes.
    pub retry: Duration,
    /// How long connecting, and one batch, may take.
    pub timeout: Duration,
    /// The receiver's host and port.
    pub address: (String, u16),
    /// TLS; `None` for plain connections.
    pub tls: Option<SinkTls>,
    /// What it speaks.
    pub protocol: SinkProtocol,
}

/// How the receiver's certificate is checked.
#[derive(Debug, Clone, Default)]
pub struct SinkTls {
    /// Authorities in place of the system's, as PEM.
    pub ca_file: Option<PathBuf>,
}

/// What a sink speaks.
#[derive(Debug, Clone)]
pub enum SinkProtocol {
    /// `POST` with a JSON document a line.
    Http {
        /// Path and query.
        target: String,
        /// Whether the body is compressed.
        gzip: bool,
        /// A file with the bearer token, read before each connection.
        token_file: Option<PathBuf>,
    },
    /// RFC 5424, framed by RFC 6587 (octet counting).
    Syslog {
        /// The facility, 0 to 23.
        facility: u8,
    },
}

/// A sink with how it is doing.
#[derive(Debug)]
pub struct Sink {
    pub(super) settings: SinkSettings,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    failures: u32,
    last_error: Option<String>,
    sent_at: Option<Timestamp>,
    /// When the oldest record was made that the receiver does not have.
    oldest: Option<Timestamp>,
}

/// Why a batch was not delivered. Never holds what was sent or the token.
#[derive(Debug, thiserror::Error)]
enum SinkError {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("no answer in time")]
    TimedOut,
    #[error("the receiver answered {0}")]
    Refused(u16),
    #[error("the receiver does not take so many records at once (413)")]
    TooLarge,
    #[error("the token file {0:?}: {1}")]
    Token(PathBuf, std::io::Error),
    #[error("{0}")]
    Trail(#[from] AuditError),
}

/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

impl Sink {
    pub(super) fn new(settings: SinkSettings) -> Self {
        Self { settings, state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is doing, for `status`.
    fn report(&self, cursor: i64, end: i64, now: Timestamp) -> Value {
        let state = self.state();
        let lag = end.saturating_sub(cursor).max(0);
        let seconds = state.oldest.filter(|_| lag > 0).map_or(0, |oldest| now.duration_since(oldest).as_secs().max(0));
        let word = match (state.running, state.failures) {
            (false, _) => "stopped",
            (true, 0) => "ok",
            (true, _) => "retrying",
        };
        json!({
            "name": self.settings.name, "type": self.settings.protocol.name(), "state": word, "cursor": cursor,
            "lag_records": lag, "lag_seconds": seconds, "failures": state.failures, "last_error": state.last_error,
            "last_shipped_at": state.sent_at,
        })
    }
}

impl SinkProtocol {
    const fn name(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Syslog { .. } => "syslog",
        }
    }
}

impl Auditor {
    /// Makes these sinks known: their cursors hold back what is pruned. A sink that is new starts where it should.
    ///
    /// # Errors
    /// When the database fails.
    pub fn with_sinks(mut self, settings: Vec<SinkSettings>) -> Result<Self, AuditError> {
        for sink in &settings {
            if self.sink_cursor(&sink.name)?.is_none() {
                let end = super::ledger::end_of(&*self.pool.get()?)?;
                self.advance_sink(&sink.name, if sink.from_beginning { 0 } else { end })?;
            }
        }
        self.sinks = settings.into_iter().map(|settings| Arc::new(Sink::new(settings))).collect();
        Ok(self)
    }

    /// The sinks, to be run.
    #[must_use]
    pub fn sinks(&self) -> &[Arc<Sink>] {
        &self.sinks
    }

    /// How the sinks are doing.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn sink_reports(&self, now: Timestamp) -> Result<Vec<Value>, AuditError> {
        let end = super::ledger::end_of(&*self.pool.get()?)?;
        let report =
            |sink: &Arc<Sink>| Ok(sink.report(self.sink_cursor(&sink.settings.name)?.unwrap_or(end), end, now));
        self.sinks.iter().map(report).collect()
    }

    /// The last record that every sink has; `None` without sinks.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn shipped_to(&self) -> Result<Option<i64>, AuditError> {
        let mut least = None;
        for sink in &self.sinks {
            let cursor = self.sink_cursor(&sink.settings.name)?.unwrap_or(0);
            least = Some(least.map_or(cursor, |least: i64| least.min(cursor)));
        }
        Ok(least)
    }

    /// The records after this place, at most `limit`, in their order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn records_after(&self, seq: i64, limit: usize) -> Result<Vec<StoredRecord>, AuditError> {
        records::after(&*self.pool.get()?, seq, limit)
    }

    fn sink_cursor(&self, name: &str) -> Result<Option<i64>, AuditError> {
        super::ledger::find_mark(&*self.pool.get()?, &format!("sink:{name}"))
    }

    fn advance_sink(&self, name: &str, seq: i64) -> Result<(), AuditError> {
        super::ledger::set_mark(&*self.pool.get()?, &format!("sink:{name}"), seq)
    }
}

/// Runs a sink until it is dropped.
pub async fn run(auditor: Arc<Auditor>, sink: Arc<Sink>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) {
    let mut receiver = Receiver::new(&sink.settings);
    sink.state().running = true;
    let mut batch = sink.settings.batch;
    loop {
        let pause = match ship(&auditor, &sink, &mut receiver, batch).await {
            Ok(sent) => {
                sink.succeeded(clock.now(), sent);
                batch = sink.settings.batch;
                if sent > 0 { Duration::ZERO } else { sink.settings.poll }
            }
            Err(error) => {
                // A receiver that takes less at once gets less.
                if matches!(error, SinkError::TooLarge) {
                    batch = (batch / 2).max(1);
                }
                receiver = Receiver::new(&sink.settings);
                sink.failed(&error, &*entropy)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// What holds the connection to a receiver between batches.
enum Receiver {
    Http(http::Http),
    Syslog(syslog::Syslog),
}

impl Receiver {
    fn new(settings: &SinkSettings) -> Self {
        match &settings.protocol {
            SinkProtocol::Http { .. } => Self::Http(http::Http::default()),
            SinkProtocol::Syslog { .. } => Self::Syslog(syslog::Syslog::default()),
        }
    }
}

/// Sends the next batch; returns how many records there were.
async fn ship(
    auditor: &Arc<Auditor>,
    sink: &Arc<Sink>,
    receiver: &mut Receiver,
    batch: usize,
) -> Result<usize, SinkError> {
    let (source, reading) = (Arc::clone(auditor), Arc::clone(sink));
    let read = move || -> Result<(Vec<StoredRecord>, Vec<u8>), AuditError> {
        let cursor = source.sink_cursor(&reading.settings.name)?.unwrap_or(0);
        let records = source.records_after(cursor, batch)?;
        let body = match &reading.settings.protocol {
            SinkProtocol::Http { gzip, .. } => http::body(&records, *gzip),
            SinkProtocol::Syslog { facility } => syslog::body(&records, *facility),
        };
        Ok((records, body))
    };
    let (records, body) = blocking(read).await??;
    sink.state().oldest = records.first().map(|record| record.at);
    let Some(last) = records.last().map(|record| record.seq) else { return Ok(0) };
    let deliver = async {
        match receiver {
            Receiver::Http(http) => http.deliver(&sink.settings, body).await,
            Receiver::Syslog(syslog) => syslog.deliver(&sink.settings, &body).await,
        }
    };
    tokio::time::timeout(sink.settings.timeout, deliver).await.map_err(|_| SinkError::TimedOut)??;
    let (target, name) = (Arc::clone(auditor), sink.settings.name.clone());
    blocking(move || target.advance_sink(&name, last)).await??;
    Ok(records.len())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, SinkError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| SinkError::Broken(error.to_string()))
}

impl Sink {
    fn succeeded(&self, now: Timestamp, sent: usize) {
        let mut state = self.state();
        if state.failures > 0 {
            log::info!("audit records are sent to the sink `{}` again", self.settings.name);
        }
        (state.failures, state.last_error) = (0, None);
        if sent > 0 {
            state.sent_at = Some(now);
        }
    }

    /// Counts the failure and says how long to wait.
    fn failed(&self, error: &SinkError, entropy: &dyn Entropy) -> Duration {
        let mut state = self.state();
        if state.failures == 0 {
            log::error!(
                "audit records cannot be sent to the sink `{}`, which is tried again: {error}",
                self.settings.name
            );
        }
        state.last_error = Some(error.to_string());
        let pause = self.settings.retry.saturating_mul(1 << state.failures.min(16)).min(LONGEST_PAUSE);
        state.failures = state.failures.saturating_add(1);
        // Up to a quarter more, so that gateways that lost the same receiver do not come back at once.
        let mut random = [0];
        let _ = entropy.fill(&mut random);
        pause + pause.mul_f64(f64::from(random[0]) / 1024.0)
    }
}
