//! The thread that adds to the index what was committed to the trail.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OpenFlags, Row, params};

use super::database::{self, Progress};
use super::{Field, SEGMENT, ZONE, is_worth_a_key, key};
use crate::audit::database::AuditError;
use crate::audit::ledger::mark;
use crate::audit::verify::seals;
use crate::domain::Code;

/// How long the thread waits when it has caught up.
const IDLE: Duration = Duration::from_millis(200);
/// How long it waits after a failure.
const BROKEN: Duration = Duration::from_secs(5);
/// A search waits this long for the index to be opened, and goes through the trail without it then.
const OPENS_WITHIN: Duration = Duration::from_secs(10);
/// Connections kept for searching.
const READERS: usize = 4;
/// Records added in one transaction.
const AT_ONCE: i64 = 4096;

/// Keeps the index up to date while it lives.
#[derive(Debug)]
pub(in crate::audit) struct Indexer {
    file: PathBuf,
    opened: Arc<Opened>,
    stop: Mutex<Option<Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    idle: Mutex<Vec<Connection>>,
}

/// Whether the thread has opened the index; `None` until it is known.
#[derive(Debug, Default)]
struct Opened {
    state: Mutex<Option<bool>>,
    known: Condvar,
}

impl Opened {
    fn tell(&self, open: bool) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
        self.known.notify_all();
    }

    fn wait(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.known.wait_timeout_while(state, OPENS_WITHIN, |state| state.is_none());
        waited.is_ok_and(|(state, _)| *state == Some(true))
    }
}

/// A connection for searching, with what it has read of the index so far; lent.
#[derive(Debug)]
pub(in crate::audit) struct Reader<'a> {
    connection: Option<Connection>,
    home: &'a Mutex<Vec<Connection>>,
}

impl Reader<'_> {
    pub(in crate::audit) fn get(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut idle = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < READERS {
            idle.extend(self.connection.take());
        }
    }
}

impl Indexer {
    /// Starts indexing the trail in this file. Without an index searching is slow, not wrong, so a failure is reported
    /// and nothing else.
    pub(in crate::audit) fn start(trail: &Path) -> Self {
        let file = trail.with_file_name("audit-index.db");
        let (stop, stopped) = channel();
        let opened = Arc::new(Opened::default());
        let (from, to, tell) = (trail.to_owned(), file.clone(), Arc::clone(&opened));
        let begin = move || run(&from, &to, &tell, &stopped);
        let thread = std::thread::Builder::new().name("audit-indexer".into()).spawn(begin);
        let thread = thread.map_err(|error| log::error!("audit rows are not indexed: {error}")).ok();
        if thread.is_none() {
            opened.tell(false);
        }
        Self { file, opened, stop: Mutex::new(Some(stop)), thread: Mutex::new(thread), idle: Mutex::default() }
    }

    /// A connection for searching; it has none where there is no index.
    pub(in crate::audit) fn reader(&self) -> Reader<'_> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => Some(connection),
            None if self.opened.wait() => database::reader(&self.file).ok(),
            None => None,
        };
        Reader { connection, home: &self.idle }
    }

    /// Ends the thread, after what it is doing.
    pub(in crate::audit) fn stop(&self) {
        drop(self.stop.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("the indexer of audit rows ended by a panic");
        }
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(trail: &Path, file: &Path, opened: &Opened, stopped: &Receiver<()>) {
    let both = open(trail, file);
    opened.tell(both.is_ok());
    let (trail, mut index) = match both {
        Ok(both) => both,
        Err(error) => return log::error!("audit rows are not indexed, so searching them is slow: {error}"),
    };
    let mut failing = false;
    loop {
        let wait = match advance(&trail, &mut index, AT_ONCE) {
            Ok(true) => Duration::ZERO,
            Ok(false) => IDLE,
            Err(error) => {
                if !failing {
                    log::error!("audit rows are not indexed at the moment: {error}");
                }
                BROKEN
            }
        };
        failing = wait == BROKEN;
        match stopped.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn open(trail: &Path, file: &Path) -> Result<(Connection, Connection), AuditError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let trail = Connection::open_with_flags(trail, flags)?;
    trail.busy_timeout(Duration::from_secs(5))?;
    trail.pragma_update(None, "query_only", true)?;
    let index = database::open(file, &trail)?;
    Ok((trail, index))
}

/// Adds so many records; `false` when there are no more.
pub(super) fn advance(trail: &Connection, index: &mut Connection, at_once: i64) -> Result<bool, AuditError> {
    let mut progress = Progress::read(index)?;
    let snapshot = trail.unchecked_transaction()?;
    let newest = seals(&snapshot, "ORDER BY last DESC LIMIT 1", &[])?.into_iter().next();
    let pruned = mark(&snapshot, "prune_through")?;
    let Some(newest) = newest.filter(|seal| seal.last > progress.indexed_to || pruned > progress.pruned_to) else {
        return Ok(false);
    };
    let after = progress.indexed_to.max(pruned);
    let to = after.saturating_add(at_once).min(newest.last);
    let transaction = index.transaction()?;
    if to > after {
        let mut adding = Adding::new(&transaction)?;
        adding.decisions(&snapshot, after, to)?;
        adding.outcomes(&snapshot, after, to)?;
    }
    if pruned > progress.pruned_to {
        transaction.execute("DELETE FROM lookup WHERE segment < ?1", [pruned >> SEGMENT])?;
        transaction.execute("DELETE FROM zone WHERE zone < ?1", [pruned >> ZONE])?;
        progress.pruned_to = pruned;
    }
    progress.indexed_to = to.max(progress.indexed_to);
    if let Some(seal) = seals(&snapshot, "WHERE last <= ?1 ORDER BY last DESC LIMIT 1", &[progress.indexed_to])?.first()
    {
        (progress.sealed, progress.head) = (seal.last, hex::encode(seal.head));
    }
    progress.write(&transaction)?;
    transaction.commit()?;
    Ok(progress.indexed_to < newest.last)
}

struct Adding<'a> {
    lookup: CachedStatement<'a>,
    zone: CachedStatement<'a>,
}

impl<'a> Adding<'a> {
    fn new(index: &'a Connection) -> Result<Self, AuditError> {
        Ok(Self {
            lookup: index.prepare_cached("INSERT OR IGNORE INTO lookup (segment, key, place) VALUES (?1, ?2, ?3)")?,
            zone: index.prepare_cached(
                "INSERT INTO zone (zone, min_at, max_at, max_duration) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (zone) DO UPDATE SET min_at = MIN(min_at, excluded.min_at),
                    max_at = MAX(max_at, excluded.max_at), max_duration = MAX(max_duration, excluded.max_duration)",
            )?,
        })
    }

    fn decisions(&mut self, trail: &Connection, after: i64, to: i64) -> Result<(), AuditError> {
        const FIELDS: [Field; 12] = [
            Field::Id,
            Field::Correlation,
            Field::Token,
            Field::Code,
            Field::Credential,
            Field::Actor,
            Field::Client,
            Field::Account,
            Field::Endpoint,
            Field::Policy,
            Field::Kind,
            Field::Decision,
        ];
        /// Where the code stands in what is read.
        const CODE: usize = 5;
        let mut statement = trail.prepare_cached(
            "SELECT seq, at, id, correlation, token, code, credential, actor, client, account, endpoint, policy, kind,
                    decision
               FROM decision WHERE seq > ?1 AND seq <= ?2",
        )?;
        let mut rows = statement.query([after, to])?;
        let mut span: Option<(i64, i64, i64)> = None;
        while let Some(row) = rows.next()? {
            let (seq, at): (i64, i64) = (row.get(0)?, row.get(1)?);
            for (field, column) in FIELDS.into_iter().zip(2..) {
                self.add(seq, field, bytes(row, column)?)?;
            }
            self.cause(seq, row.get_ref(CODE)?)?;
            let zone = seq >> ZONE;
            span = match span {
                Some((known, min, max)) if known == zone => Some((zone, min.min(at), max.max(at))),
                other => {
                    self.widen(other, 0)?;
                    Some((zone, at, at))
                }
            };
        }
        self.widen(span, 0)
    }

    fn outcomes(&mut self, trail: &Connection, after: i64, to: i64) -> Result<(), AuditError> {
        let mut statement = trail.prepare_cached(
            "SELECT decision_seq, decision.at, duration, outcome.code, CAST(upstream_status AS TEXT)
               FROM outcome JOIN decision ON decision.seq = decision_seq WHERE outcome.seq > ?1 AND outcome.seq <= ?2",
        )?;
        let mut rows = statement.query([after, to])?;
        let mut longest: Option<(i64, i64, i64)> = None;
        while let Some(row) = rows.next()? {
            let (seq, at, duration): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            self.add(seq, Field::Code, bytes(row, 3)?)?;
            self.cause(seq, row.get_ref(3)?)?;
            self.add(seq, Field::UpstreamStatus, bytes(row, 4)?)?;
            let zone = seq >> ZONE;
            longest = match longest {
                Some((known, at, max)) if known == zone => Some((zone, at, max.max(duration))),
                other => {
                    self.widen(other.map(|(zone, at, _)| (zone, at, at)), other.map_or(0, |(_, _, longest)| longest))?;
                    Some((zone, at, duration))
                }
            };
        }
        self.widen(longest.map(|(zone, at, _)| (zone, at, at)), longest.map_or(0, |(_, _, longest)| longest))
    }

    fn cause(&mut self, seq: i64, code: ValueRef<'_>) -> Result<(), AuditError> {
        let code = code.as_str().ok().and_then(Code::from_text);
        self.add(seq, Field::Cause, code.map(|code| code.cause().as_str().as_bytes()))
    }

    fn add(&mut self, seq: i64, field: Field, value: Option<&[u8]>) -> Result<(), AuditError> {
        if let Some(value) = value.filter(|value| is_worth_a_key(field, value)) {
            let place = seq & ((1 << SEGMENT) - 1);
            self.lookup.execute(params![seq >> SEGMENT, key(field, value), place])?;
        }
        Ok(())
    }

    fn widen(&mut self, span: Option<(i64, i64, i64)>, duration: i64) -> Result<(), AuditError> {
        if let Some((zone, min, max)) = span {
            self.zone.execute(params![zone, min, max, duration])?;
        }
        Ok(())
    }
}

fn bytes<'a>(row: &'a Row<'_>, column: usize) -> Result<Option<&'a [u8]>, AuditError> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
    })
}
