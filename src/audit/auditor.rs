//! The side of the audit trail that is asked: room is reserved here before a request is let in.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::domain::{Clock, Code, RequestId, SinkName};
use crate::secrets::KeyRing;
use crate::store::{Held, Pinned};

use super::database::{self, AuditError, AuditSettings};
use super::entry::Entry;
use super::fold::Folder;
use super::health::{Gauges, WriterHealth};
use super::index::{self, Indexer};
use super::ledger::{self, Ledger, Record};
use super::queue::{Queue, queue};
use super::recorded::{self, RecordedPart};
use super::recover;
use super::row::{Filter, Passed, Row};
use super::sink::Sink;
use super::slot::{Slot, write_folded};
use super::stats::{self, Group, StatsBy};
use super::writer::{Job, Writer};

/// Memory that one row may take besides its previews: path, query, names, verdicts.
const ROW_BYTES: usize = 24 * 1024;

/// The row cannot be written (disk, lock, full queue): nothing may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit row cannot be written")]
pub struct AuditUnavailable;

/// When a relay may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// When its decision record is committed.
    BeforeRelay,
    /// When room for its records is reserved; both are committed soon after.
    AfterResponse,
}

/// How rows are queued.
#[derive(Debug, Clone)]
pub struct QueueSettings {
    /// Records waiting at most.
    pub rows: usize,
    /// Bytes waiting at most.
    pub bytes: usize,
    /// Bytes of a body's preview at most.
    pub preview_bytes: usize,
    /// How long a request may wait for room.
    pub reserve_timeout: Duration,
    /// So many unauthenticated denials of one source have rows of their own within a minute.
    pub fold_after: u32,
    /// When a relay may begin.
    pub guarantee: Guarantee,
    /// The name of this node in each row.
    pub node: String,
    /// A writer that has written nothing for so long, though there is something to write, is stalled.
    pub stalled_after: Duration,
}

/// Writes audit rows and answers questions about them.
#[derive(Debug)]
pub struct Auditor {
    queue: Queue,
    room: Arc<Semaphore>,
    capacity: usize,
    pub(super) settings: QueueSettings,
    pub(super) key_ring: Arc<KeyRing>,
    pub(super) pool: r2d2::Pool<SqliteConnectionManager>,
    gauges: Arc<Gauges>,
    clock: Arc<dyn Clock>,
    indexer: Indexer,
    folder: Arc<Folder>,
    pub(super) sinks: Vec<Arc<Sink>>,
    files: AuditSettings,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Auditor {
    /// Creates `audit.db` where it is missing and brings it to this version's format.
    ///
    /// # Errors
    /// When the file cannot be written or is of a newer version.
    pub fn migrate(settings: &AuditSettings) -> Result<(), AuditError> {
        database::migrate(settings)
    }

    /// Opens `audit.db`, closes rows left open by a crash and starts the writer.
    ///
    /// # Errors
    /// When the database is missing, of another version, or cannot be written.
    pub fn open(
        settings: &AuditSettings,
        queue_settings: QueueSettings,
        key_ring: Arc<KeyRing>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuditError> {
        let pool = database::open(settings)?;
        let mut connection = pool.get()?;
        let mut ledger =
            Ledger::load(&mut connection, Arc::clone(&key_ring), queue_settings.node.clone(), clock.now())?;
        let interrupted = recover::close_open_rows(&mut ledger, &mut connection, clock.now())?;
        drop(connection);
        if interrupted > 0 {
            log::warn!("{interrupted} relays of the last run had no outcome; their audit rows now say `interrupted`");
        }
        let gauges = Arc::new(Gauges::new());
        let (queue, jobs) = queue();
        let writer = Writer::new(jobs, pool.clone(), ledger, Arc::clone(&gauges), Arc::clone(&clock));
        let thread = std::thread::Builder::new()
            .name("audit-writer".into())
            .spawn(move || writer.run())
            .map_err(|error| AuditError::File(settings.file(), error))?;
        let folder = Arc::new(Folder::new(queue_settings.fold_after));
        let exchange_bytes = ROW_BYTES + 4 * queue_settings.preview_bytes;
        let exchanges = (queue_settings.rows / 2).min(queue_settings.bytes / exchange_bytes).max(1);
        Ok(Self {
            queue,
            room: Arc::new(Semaphore::new(exchanges)),
            capacity: exchanges,
            settings: queue_settings,
            key_ring,
            pool,
            gauges,
            clock,
            indexer: Indexer::start(&settings.file()),
            folder,
            sinks: Vec::new(),
            files: settings.clone(),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Reserves room for both records of a row. A request that has a slot cannot find the queue full later.
    ///
    /// # Errors
    /// When the queue stays full for the configured time.
    pub async fn reserve(&self) -> Result<Slot, AuditUnavailable> {
        let room = if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
            room
        } else {
            self.queue.hurry();
            let freed = tokio::time::timeout(self.settings.reserve_timeout, Arc::clone(&self.room).acquire_owned());
            freed.await.map_err(|_| AuditUnavailable)?.map_err(|_| AuditUnavailable)?
        };
        Ok(self.slot(room))
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// When the queue is full now.
    pub fn try_reserve(&self) -> Result<Slot, AuditUnavailable> {
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_| AuditUnavailable)?;
        Ok(self.slot(room))
    }

    fn slot(&self, room: OwnedSemaphorePermit) -> Slot {
        Slot {
            room,
            queue: self.queue.clone(),
            guarantee: self.settings.guarantee,
            folder: Arc::clone(&self.folder),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Records something that is over with this record and that nobody waits for. Without room for it, it is counted,
    /// and the log says so the first time.
    pub fn leave(&self, entry: Entry) {
        match self.try_reserve() {
            Ok(slot) => slot.close_with(entry),
            Err(AuditUnavailable) => self.lose(&entry),
        }
    }

    /// The same, waiting for room as a request does.
    pub async fn leave_in_time(&self, entry: Entry) {
        match self.reserve().await {
            Ok(slot) => slot.close_with(entry),
            Err(AuditUnavailable) => self.lose(&entry),
        }
    }

    fn lose(&self, entry: &Entry) {
        if self.gauges.lost() {
            let (kind, code) = (entry.kind.as_str(), entry.code.map_or("", Code::as_str));
            log::error!("the audit queue is full; rows of refused requests are counted only, from a {kind} {code} on");
        }
    }

    /// Writes a row that is over at once, waiting for the commit. For the command line and for start and stop.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn write_blocking(&self, entry: Entry) -> Result<(), AuditUnavailable> {
        let (sender, receiver) = oneshot::channel();
        let record = Record::Decision(Box::new(entry));
        self.queue.send(Job::Write { record, committed: Some(sender), room: None })?;
        receiver.blocking_recv().map_err(|_| AuditUnavailable)?
    }

    /// The name of this node in each row.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.settings.node
    }

    /// Keeps the writer from writing.
    ///
    /// # Errors
    /// When a commit in progress does not end in time.
    pub fn hold(&self) -> Result<Held, AuditError> {
        Ok(Held::take(self.pool.get()?)?)
    }

    /// The trail as it is now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn pin(&self) -> Result<Pinned, AuditError> {
        Ok(Pinned::open(&self.files.file(), self.files.busy_timeout)?)
    }

    /// The number of the last change of state that has its audit row.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last_change(&self) -> Result<u64, AuditError> {
        Ok(u64::try_from(ledger::last_change(&*self.pool.get()?)?).unwrap_or(0))
    }

    /// The newest rows that fit the filter, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn search(&self, filter: &Filter) -> Result<Vec<Row>, AuditError> {
        index::search(&*self.pool.get()?, self.indexer.reader().get(), filter)
    }

    /// The next part of the trail after this record, oldest first: a bounded number of records, none behind `through`.
    /// Without `after` it says where the trail ends. Where `ended` is set, a relay counts where its outcome stands.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn forward(
        &self,
        filter: &Filter,
        after: Option<i64>,
        through: Option<i64>,
        ended: bool,
    ) -> Result<Passed, AuditError> {
        index::forward(&*self.pool.get()?, filter, after, through, ended)
    }

    /// The next part of what was recorded of requests, for deciding them again: a bounded number of records, none behind
    /// `through`. Without `after` it says where to begin.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn recorded(
        &self,
        filter: &Filter,
        after: Option<i64>,
        through: Option<i64>,
    ) -> Result<RecordedPart, AuditError> {
        recorded::next(&*self.pool.get()?, self.indexer.reader().get(), filter, after, through)
    }

    /// The rows that fit the filter, counted in groups.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn stats(&self, filter: &Filter, by: StatsBy) -> Result<Vec<Group>, AuditError> {
        stats::count(&*self.pool.get()?, self.indexer.reader().get(), filter, by)
    }

    /// The row with this id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn find(&self, id: RequestId) -> Result<Option<Row>, AuditError> {
        index::find(&*self.pool.get()?, self.indexer.reader().get(), id)
    }

    /// Writes the rows of floods that have passed. For housekeeping.
    pub fn write_folded(&self) {
        write_folded(&self.queue, self.folder.passed(self.clock.now(), false));
    }

    /// Whether the last attempt to write failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.gauges.is_failing()
    }

    /// The last place in the trail.
    pub(super) fn end(&self) -> i64 {
        self.gauges.end()
    }

    /// Keeps how far a sink has come, with the next commit. Lost, its receiver gets a batch twice.
    pub(super) fn advance(&self, sink: &SinkName, cursor: i64) {
        let _ = self.queue.send(Job::Advance(sink.clone(), cursor));
    }

    /// How the writer is doing.
    #[must_use]
    pub fn health(&self) -> WriterHealth {
        let room = (self.capacity.saturating_sub(self.room.available_permits()), self.capacity);
        self.gauges.health(self.clock.monotonic(), self.settings.stalled_after, room)
    }

    /// How many records the search index is behind the trail.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn index_lag(&self) -> Result<i64, AuditError> {
        let indexed = self.indexer.reader().get().map_or(Ok(0), index::indexed_to)?;
        Ok(ledger::end_of(&*self.pool.get()?)?.saturating_sub(indexed).max(0))
    }

    /// Counts a stall that somebody has seen.
    pub fn count_stall(&self) {
        self.gauges.stalled();
    }

    /// Lets the writer find out whether it can write, where nothing else has asked it to for a while. Does not wait.
    pub fn ask_whether_it_writes(&self) {
        if self.gauges.may_ask(self.clock.monotonic(), self.settings.stalled_after) {
            let _ = self.queue.send(Job::Probe);
        }
    }

    /// Records written since the start.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.gauges.written()
    }

    /// Writes what is queued and ends the writer. Rows given to it later are refused.
    pub fn stop(&self) {
        write_folded(&self.queue, self.folder.passed(self.clock.now(), true));
        let _ = self.queue.send(Job::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            log::error!("the audit writer ended by a panic");
        }
        self.indexer.stop();
    }
}

impl Drop for Auditor {
    fn drop(&mut self) {
        self.stop();
    }
}
