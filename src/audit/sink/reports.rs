//! What the trail knows of its sinks: their cursors, and how they are doing.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::Sink;
use crate::audit::auditor::Auditor;
use crate::audit::database::AuditError;
use crate::audit::ledger;
use crate::audit::records::{self, StoredRecord};
use crate::config::{self, SinkProtocol, SinkStart};
use crate::domain::SinkName;

/// How a sink is doing.
#[derive(Debug, Clone, Serialize)]
pub struct SinkReport {
    /// Its name.
    pub name: SinkName,
    /// `http` or `syslog`.
    pub protocol: &'static str,
    /// Where its receiver is.
    pub receiver: String,
    /// Whether it delivers.
    pub state: SinkState,
    /// The last record that the receiver has.
    pub cursor: i64,
    /// Records that the receiver does not have yet.
    pub lag_records: i64,
    /// How old the oldest of them is; 0 where there is none.
    pub lag_seconds: i64,
    /// Attempts that failed since the last success.
    pub failures: u32,
    /// Why the last attempt failed, until one succeeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When records were last delivered, since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

/// Whether a sink delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkState {
    /// It does.
    Ok,
    /// It fails, and tries again.
    Retrying,
    /// No gateway runs.
    Stopped,
}

impl Sink {
    fn report(&self, end: i64, now: Timestamp) -> SinkReport {
        let (settings, cursor, state) = (&self.settings, self.cursor(), self.state());
        let lag = end.saturating_sub(cursor).max(0);
        let age = |oldest: Timestamp| now.duration_since(oldest).as_secs().max(0);
        SinkReport {
            name: settings.name.clone(),
            protocol: match &settings.protocol {
                SinkProtocol::Http { .. } => "http",
                SinkProtocol::Syslog { .. } => "syslog",
            },
            receiver: format!("{}:{}", settings.host, settings.port),
            state: match (state.running, state.failures) {
                (false, _) => SinkState::Stopped,
                (true, 0) => SinkState::Ok,
                (true, _) => SinkState::Retrying,
            },
            cursor,
            lag_records: lag,
            lag_seconds: state.oldest.filter(|_| lag > 0).map_or(0, age),
            failures: state.failures,
            last_error: state.last_error.clone(),
            sent_at: state.sent_at,
        }
    }
}

impl Auditor {
    /// Makes these sinks known: what they still need is not pruned. One that is new starts where it should.
    ///
    /// # Errors
    /// When the database fails.
    pub fn with_sinks(mut self, settings: &[config::Sink]) -> Result<Self, AuditError> {
        let connection = self.pool.get()?;
        for sink in settings {
            let mark = mark_of(&sink.name);
            let cursor = match (ledger::find_mark(&connection, &mark)?, sink.start) {
                (Some(cursor), _) => cursor,
                (None, SinkStart::Beginning) => ledger::mark(&connection, "prune_through")?,
                (None, SinkStart::Now) => ledger::end_of(&connection)?,
            };
            ledger::set_mark(&connection, &mark, cursor)?;
            self.sinks.push(Arc::new(Sink::new(sink.clone(), cursor)));
        }
        drop(connection);
        Ok(self)
    }

    /// The sinks, to be run.
    #[must_use]
    pub fn sinks(&self) -> &[Arc<Sink>] {
        &self.sinks
    }

    /// How the sinks are doing.
    #[must_use]
    pub fn sink_reports(&self, now: Timestamp) -> Vec<SinkReport> {
        let end = self.end();
        self.sinks.iter().map(|sink| sink.report(end, now)).collect()
    }

    /// The last record that every sink has delivered; `None` without sinks.
    #[must_use]
    pub fn shipped_to(&self) -> Option<i64> {
        self.sinks.iter().map(|sink| sink.cursor()).min()
    }

    /// The records after this place in their order: at most `limit`, and no more than a few MiB.
    pub(super) fn records_after(&self, seq: i64, limit: usize) -> Result<Vec<StoredRecord>, AuditError> {
        records::after(&*self.pool.get()?, seq, limit)
    }
}

/// The name under which a sink's cursor is kept.
pub(in crate::audit) fn mark_of(name: &SinkName) -> String {
    format!("sink:{name}")
}
