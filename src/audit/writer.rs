//! The thread that writes the rows, many in one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::domain::{Clock, SinkName};

use super::auditor::AuditUnavailable;
use super::database::AuditError;
use super::health::{Gauges, Turn};
use super::ledger::{Ledger, Record};
use super::probe::probe;
use super::queue::Queued;

/// How long a failed batch waits before it is tried again without new work arriving.
const RETRY: Duration = Duration::from_millis(250);

/// What the thread is given to do.
#[derive(Debug)]
pub(super) enum Job {
    Write {
        record: Record,
        committed: Option<oneshot::Sender<Result<(), AuditUnavailable>>>,
        room: Option<OwnedSemaphorePermit>,
    },
    /// Keep how far a sink has come, with the next commit.
    Advance(SinkName, i64),
    /// Find out whether rows can be written.
    Probe,
    Stop,
}

impl Job {
    /// Whether somebody waits until it is done.
    pub(super) fn is_awaited(&self) -> bool {
        match self {
            Self::Write { committed, .. } => committed.is_some(),
            Self::Advance(..) => false,
            Self::Probe | Self::Stop => true,
        }
    }
}

/// The writer thread's side.
pub(super) struct Writer {
    jobs: Queued,
    pool: r2d2::Pool<SqliteConnectionManager>,
    ledger: Ledger,
    gauges: Arc<Gauges>,
    clock: Arc<dyn Clock>,
    /// Records that nobody waits for and that could not be written yet; their room stays taken.
    waiting: Vec<(Record, Option<OwnedSemaphorePermit>)>,
    /// Cursors of sinks that are not kept yet.
    cursors: BTreeMap<SinkName, i64>,
}

impl Writer {
    pub(super) fn new(
        jobs: Queued,
        pool: r2d2::Pool<SqliteConnectionManager>,
        ledger: Ledger,
        gauges: Arc<Gauges>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        gauges.set_end(ledger.end());
        Self { jobs, pool, ledger, gauges, clock, waiting: Vec::new(), cursors: BTreeMap::new() }
    }

    pub(super) fn run(mut self) {
        loop {
            let first = if self.waiting.is_empty() && !self.gauges.is_failing() {
                match self.jobs.next() {
                    Some(job) => Some(job),
                    None => return,
                }
            } else {
                match self.jobs.next_within(RETRY) {
                    Ok(job) => Some(job),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            };
            let (batch, stop) = self.jobs.batch(first);
            self.write(batch);
            if stop {
                return;
            }
        }
    }

    fn write(&mut self, batch: Vec<Job>) {
        let mut acknowledged = Vec::new();
        let backlog = self.waiting.len();
        let mut all = std::mem::take(&mut self.waiting);
        let mut probed = false;
        for job in batch {
            match job {
                Job::Write { record, committed, room } => {
                    acknowledged.push(committed);
                    all.push((record, room));
                }
                Job::Advance(sink, cursor) => drop(self.cursors.insert(sink, cursor)),
                Job::Probe => probed = true,
                Job::Stop => {}
            }
        }
        if all.is_empty() && self.cursors.is_empty() && !probed && !self.gauges.is_failing() {
            return;
        }
        self.gauges.begin(self.clock.monotonic());
        match self.append(&all) {
            Ok(()) => {
                self.cursors.clear();
                self.gauges.set_end(self.ledger.end());
                match self.gauges.committed(self.clock.monotonic(), all.len()) {
                    Turn::WritesAgain => log::info!("audit rows are written again"),
                    Turn::None | Turn::FailsNow => {}
                }
                self.gauges.count(all.iter().map(|(record, _)| record));
                drop(all);
                for committed in acknowledged.into_iter().flatten() {
                    let _ = committed.send(Ok(()));
                }
            }
            Err(error) => {
                self.report(&error);
                // Nobody passes on a decision that is not on disk; what nobody waits for is tried again.
                for (index, kept) in all.into_iter().enumerate() {
                    let committed =
                        index.checked_sub(backlog).and_then(|at| acknowledged.get_mut(at)).and_then(Option::take);
                    match committed {
                        Some(committed) => drop(committed.send(Err(AuditUnavailable))),
                        None => self.waiting.push(kept),
                    }
                }
            }
        }
    }

    fn append(&mut self, all: &[(Record, Option<OwnedSemaphorePermit>)]) -> Result<(), AuditError> {
        let now = self.clock.now();
        let mut connection = self.pool.get()?;
        if all.is_empty() && self.cursors.is_empty() {
            return probe(&mut connection, now);
        }
        self.ledger.append(&mut connection, all.iter().map(|(record, _)| record), &self.cursors, now)
    }

    fn report(&self, error: &AuditError) {
        match self.gauges.failed(self.clock.monotonic()) {
            Turn::FailsNow => {
                let at = self.clock.now();
                log::error!("audit rows cannot be written since {at}, so nothing is relayed: {error}");
            }
            Turn::None | Turn::WritesAgain => {}
        }
    }
}
