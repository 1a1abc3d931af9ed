//! Sends the records of the trail to where they are collected: in order, at least once, beside the relays.
//!
//! A sink has a cursor: the last record that its receiver has. It moves when the receiver has confirmed a batch, and the
//! audit writer keeps it in `audit.db` with what it commits anyway. What fails is tried again, for as long as it takes;
//! nothing else waits for it.

mod http;
mod reports;
mod run;
mod stream;
mod syslog;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::database::AuditError;
use super::records::StoredRecord;
use crate::config::{self, SecretFileError};

pub(super) use reports::mark_of;
pub use reports::{SinkReport, SinkState};
pub use run::run;

/// A sink with how it is doing.
#[derive(Debug)]
pub struct Sink {
    settings: config::Sink,
    /// The last record that the receiver has.
    cursor: AtomicI64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    /// Attempts that failed since the last success.
    failures: u32,
    last_error: Option<String>,
    sent_at: Option<Timestamp>,
    /// When the first record was made that the receiver does not have, as far as it is known.
    oldest: Option<Timestamp>,
}

/// Why a batch was not delivered. Never holds what was sent, nor the token.
#[derive(Debug, thiserror::Error)]
enum SinkError {
    #[error("cannot connect to {0}")]
    Connect(String),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("no answer in time")]
    TimedOut,
    #[error("the receiver answered {status}")]
    Refused { status: u16, retry_after: Option<Duration> },
    #[error("the receiver does not take so much at once (413)")]
    TooLarge,
    #[error("the token file {0}")]
    TokenFile(#[from] SecretFileError),
    #[error("the token file holds characters that a header cannot carry")]
    Token,
    #[error("{0}")]
    Trail(#[from] AuditError),
}

/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

impl Sink {
    pub(super) fn new(settings: config::Sink, cursor: i64) -> Self {
        Self { settings, cursor: AtomicI64::new(cursor), state: Mutex::default() }
    }

    /// The last record that the receiver has.
    pub(super) fn cursor(&self) -> i64 {
        self.cursor.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The receiver has all up to `cursor`, of which so many are new to it.
    fn delivered(&self, cursor: i64, sent: usize, now: Timestamp) {
        self.cursor.store(cursor, Ordering::Relaxed);
        let mut state = self.state();
        if state.failures > 0 {
            log::info!("audit records reach the sink `{}` again", self.settings.name);
        }
        (state.failures, state.last_error, state.oldest) = (0, None, None);
        if sent > 0 {
            state.sent_at = Some(now);
        }
    }

    /// Counts the failure and says how long to wait. `random` spreads gateways that lost the same receiver.
    fn failed(&self, error: &SinkError, random: u8) -> Duration {
        let mut state = self.state();
        if state.failures == 0 {
            let name = &self.settings.name;
            log::error!("audit records do not reach the sink `{name}`, which is tried again: {error}");
        }
        state.last_error = Some(error.to_string());
        let doubled = self.settings.retry.saturating_mul(1 << state.failures.min(16));
        state.failures = state.failures.saturating_add(1);
        let asked =
            if let SinkError::Refused { retry_after: Some(asked), .. } = error { *asked } else { Duration::ZERO };
        let pause = doubled.max(asked).min(LONGEST_PAUSE);
        // Up to a quarter more.
        pause + pause.mul_f64(f64::from(random) / 1024.0)
    }
}

/// What a sink has in its hands.
struct Batch {
    /// The cursor when all of it is delivered.
    through: i64,
    records: usize,
    oldest: Timestamp,
    body: Vec<u8>,
}

impl Batch {
    fn of(records: &[StoredRecord], protocol: &config::SinkProtocol) -> Option<Self> {
        let (first, last) = (records.first()?, records.last()?);
        let body = match protocol {
            config::SinkProtocol::Http { gzip, .. } => http::body(records, *gzip),
            config::SinkProtocol::Syslog { facility } => syslog::body(records, *facility),
        };
        Some(Self { through: last.seq, records: records.len(), oldest: first.at, body })
    }
}
