//! The file of the index: opened, or made anew where it does not belong to this trail.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use crate::audit::database::AuditError;
use crate::audit::ledger::end_of;
use crate::audit::verify::seals;

/// Raised whenever what is in the index changes its meaning.
const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE lookup (
        segment INTEGER NOT NULL,
        key INTEGER NOT NULL,
        place INTEGER NOT NULL,          -- in the segment
        PRIMARY KEY (segment, key, place)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE zone (
        zone INTEGER PRIMARY KEY,
        min_at INTEGER NOT NULL,
        max_at INTEGER NOT NULL,
        max_duration INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE progress (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        indexed_to INTEGER NOT NULL,
        sealed INTEGER NOT NULL,         -- a seal of the trail, by which the index knows that it belongs to it
        head TEXT NOT NULL,
        pruned_to INTEGER NOT NULL
    ) STRICT;
    INSERT INTO progress VALUES (1, 0, 0, '', 0);";

/// Opens the index; one that is missing, broken, of another version or of another trail is made anew.
pub(super) fn open(file: &Path, trail: &Connection) -> Result<Connection, AuditError> {
    match try_open(file, trail) {
        Ok(Some(connection)) => return Ok(connection),
        Ok(None) => {}
        Err(error) => log::warn!("the search index of the audit trail cannot be read and is made anew: {error}"),
    }
    for ending in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(ending);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(AuditError::File(name.into(), error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    let connection = connect(file)?;
    connection.execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"))?;
    Ok(connection)
}

/// Opens the index for searching.
pub(super) fn reader(file: &Path) -> Result<Connection, AuditError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(Duration::from_secs(1))?;
    // The inner pages of 10 million rows.
    connection.pragma_update(None, "cache_size", -8192)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn try_open(file: &Path, trail: &Connection) -> Result<Option<Connection>, AuditError> {
    if !file.exists() {
        return Ok(None);
    }
    let connection = connect(file)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((version == VERSION && belongs(&connection, trail)?).then_some(connection))
}

fn connect(file: &Path) -> Result<Connection, AuditError> {
    let made = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(file);
    made.map_err(|error| AuditError::File(file.to_owned(), error))?;
    let connection = Connection::open(file)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What a power cut takes is indexed again.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -32_768)?;
    Ok(connection)
}

/// Whether the index was made from this trail, and not from more of it than there is.
fn belongs(index: &Connection, trail: &Connection) -> Result<bool, AuditError> {
    let progress = Progress::read(index)?;
    if progress.indexed_to > end_of(trail)? {
        return Ok(false);
    }
    let at = seals(trail, "WHERE last >= ?1 ORDER BY last LIMIT 1", &[progress.sealed])?;
    Ok(match at.first() {
        Some(seal) if seal.last == progress.sealed => {
            progress.head.is_empty() || progress.head == hex::encode(seal.head)
        }
        // That part was pruned, or nothing was indexed yet.
        Some(_) => {
            seals(trail, "ORDER BY last LIMIT 1", &[])?.first().is_some_and(|first| first.last > progress.sealed)
        }
        None => progress.indexed_to == 0,
    })
}

/// How far the index is.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    pub(super) indexed_to: i64,
    pub(super) sealed: i64,
    pub(super) head: String,
    pub(super) pruned_to: i64,
}

impl Progress {
    pub(super) fn read(index: &Connection) -> Result<Self, AuditError> {
        let text = "SELECT indexed_to, sealed, head, pruned_to FROM progress";
        let read = index.query_row(text, [], |row| {
            Ok(Self { indexed_to: row.get(0)?, sealed: row.get(1)?, head: row.get(2)?, pruned_to: row.get(3)? })
        });
        Ok(read.optional()?.unwrap_or_default())
    }

    pub(super) fn write(&self, index: &Connection) -> Result<(), AuditError> {
        let text = "UPDATE progress SET indexed_to = ?1, sealed = ?2, head = ?3, pruned_to = ?4";
        index.prepare_cached(text)?.execute(params![self.indexed_to, self.sealed, self.head, self.pruned_to])?;
        Ok(())
    }
}
