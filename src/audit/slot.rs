//! Room for a row, and the row that is open until its outcome is known.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::domain::{Clock, RequestId};

use super::auditor::{AuditUnavailable, Guarantee};
use super::entry::{End, Entry, Outcome};
use super::fold::Folder;
use super::ledger::Record;
use super::queue::Queue;
use super::writer::Job;

/// Room for one row.
#[derive(Debug)]
#[must_use = "an exchange that has a slot must leave a row"]
pub struct Slot {
    pub(super) room: OwnedSemaphorePermit,
    pub(super) queue: Queue,
    pub(super) guarantee: Guarantee,
    pub(super) folder: Arc<Folder>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Slot {
    /// Records that a relay may begin; returns when the guarantee holds.
    ///
    /// # Errors
    /// When the record could not be committed: the relay must not begin.
    pub async fn open_row(self, entry: Entry) -> Result<OpenRow, AuditUnavailable> {
        let row = OpenRow { id: entry.id, room: Some(self.room), queue: self.queue, clock: self.clock };
        match self.guarantee {
            Guarantee::BeforeRelay => {
                if let Err(unavailable) = commit(&row.queue, entry, None).await {
                    row.forget();
                    return Err(unavailable);
                }
            }
            Guarantee::AfterResponse => {
                let record = Record::Decision(Box::new(entry));
                row.queue.send(Job::Write { record, committed: None, room: None })?;
            }
        }
        Ok(row)
    }

    /// Records something that is over with this record, such as a denial, without waiting for the disk. One too many
    /// of a flood is counted instead.
    pub fn close_with(self, entry: Entry) {
        let unfolded = self.folder.take(entry);
        write_folded(&self.queue, unfolded.passed);
        let Some(entry) = unfolded.row else { return };
        let record = Record::Decision(Box::new(entry));
        if self.queue.send(Job::Write { record, committed: None, room: Some(self.room) }).is_err() {
            log::error!("an audit row came after the writer had stopped");
        }
    }

    /// Records something that is over with this record and waits for the commit.
    ///
    /// # Errors
    /// When the record could not be committed.
    pub async fn commit(self, entry: Entry) -> Result<(), AuditUnavailable> {
        commit(&self.queue, entry, Some(self.room)).await
    }
}

/// Their number is bounded, so they need no room.
pub(super) fn write_folded(queue: &Queue, rows: Vec<Entry>) {
    for entry in rows {
        let record = Record::Decision(Box::new(entry));
        if queue.send(Job::Write { record, committed: None, room: None }).is_err() {
            log::error!("a folded audit row came after the writer had stopped");
        }
    }
}

async fn commit(queue: &Queue, entry: Entry, room: Option<OwnedSemaphorePermit>) -> Result<(), AuditUnavailable> {
    let (sender, receiver) = oneshot::channel();
    let record = Record::Decision(Box::new(entry));
    queue.send(Job::Write { record, committed: Some(sender), room })?;
    receiver.await.map_err(|_| AuditUnavailable)?
}

/// A row whose decision is recorded and whose outcome is still to come.
///
/// Dropping it (a panic, a connection that vanished) records `aborted`.
#[derive(Debug)]
#[must_use = "the outcome must be recorded"]
pub struct OpenRow {
    id: RequestId,
    room: Option<OwnedSemaphorePermit>,
    queue: Queue,
    clock: Arc<dyn Clock>,
}

impl OpenRow {
    /// Records how it ended.
    pub fn close(mut self, outcome: Outcome) {
        self.send(outcome);
    }

    /// The decision never reached the table, so there is nothing to close.
    fn forget(mut self) {
        self.room = None;
    }

    fn send(&mut self, outcome: Outcome) {
        let Some(room) = self.room.take() else { return };
        let record = Record::Outcome(self.id, Box::new(outcome));
        if self.queue.send(Job::Write { record, committed: None, room: Some(room) }).is_err() {
            log::error!("the outcome of {} came after the audit writer had stopped", self.id);
        }
    }
}

impl Drop for OpenRow {
    fn drop(&mut self) {
        if self.room.is_some() {
            let outcome = Outcome::of(End::Aborted, self.clock.now());
            self.send(outcome);
        }
    }
}
