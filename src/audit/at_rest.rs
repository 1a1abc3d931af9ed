//! Questions about an `audit.db` that no process writes to: a copy, or the one of a gateway that does not run.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::secrets::KeyRing;
use crate::store::{RecordedChange, Seq};

use super::checkpoint::Checkpoint;
use super::database::AuditError;
use super::evidence::Anchor;
use super::ledger;
use super::verify::{self, Against, Position, Progress, seals};

/// Checks the next part of an `audit.db` that no process writes to, with the keys.
///
/// # Errors
/// When the file cannot be read.
pub fn verify_at_rest(file: &Path, position: Position, ring: &KeyRing) -> Result<Progress, AuditError> {
    verify::next(&mut open_copy(file)?, position, &Against { ring: Some(ring), ..Against::default() })
}

/// Whether the trail in this file is the one of which this was noted. Nobody may be writing to it.
///
/// # Errors
/// When the file cannot be read.
pub fn continues_in(file: &Path, noted: Anchor) -> Result<bool, AuditError> {
    continues(&open_copy(file)?, noted)
}

/// The changes of state after this one that have a row in this file, oldest first.
///
/// # Errors
/// When the file cannot be read.
pub fn changes_in(file: &Path, after: Seq) -> Result<Vec<RecordedChange>, AuditError> {
    let connection = open_copy(file)?;
    let mut statement = connection.prepare(
        "SELECT change, at, actor, method, path, account, credential, detail FROM decision WHERE change > ?1 ORDER BY change",
    )?;
    let after = i64::try_from(after.0).unwrap_or(i64::MAX);
    let rows = statement.query_map([after], RecordedChange::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The number of the last change of state that has its row in this file.
///
/// # Errors
/// When the file cannot be read.
pub fn last_change_in(file: &Path) -> Result<Seq, AuditError> {
    Ok(Seq(ledger::last_change(&open_copy(file)?)?.unsigned_abs()))
}

/// Whether SQLite finds every page and row of this file as it should be.
///
/// # Errors
/// When it does not, or the file cannot be read.
pub fn check_integrity(file: &Path) -> Result<(), AuditError> {
    let found: String = open_copy(file)?.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(AuditError::Damaged(0, found)) }
}

/// The newest sealed place of a copy of `audit.db`.
///
/// # Errors
/// When the file cannot be read.
pub fn anchor_of(file: &Path) -> Result<Option<Anchor>, AuditError> {
    newest(&open_copy(file)?)
}

pub(super) fn continues(connection: &Connection, noted: Anchor) -> Result<bool, AuditError> {
    let at = seals(connection, "WHERE last >= ?1 ORDER BY last LIMIT 1", &[noted.sequence])?;
    let Some(seal) = at.first() else { return Ok(false) };
    if seal.last == noted.sequence {
        return Ok(seal.head == noted.head);
    }
    // No seal there: right only where that part was pruned.
    Ok(seals(connection, "ORDER BY last LIMIT 1", &[])?.first().is_some_and(|first| first.last > noted.sequence))
}

pub(super) fn newest(connection: &Connection) -> Result<Option<Anchor>, AuditError> {
    let newest = seals(connection, "ORDER BY last DESC LIMIT 1", &[])?;
    Ok(newest.first().map(|seal| Anchor { sequence: seal.last, head: seal.head }))
}

/// Checks the next part of a copy of `audit.db`, without any key: the chain and a checkpoint alone.
///
/// # Errors
/// When the file cannot be read.
pub fn verify_copy(file: &Path, position: Position, checkpoint: Option<&Checkpoint>) -> Result<Progress, AuditError> {
    verify::next(&mut open_copy(file)?, position, &Against { checkpoint, ..Against::default() })
}

fn open_copy(file: &Path) -> Result<Connection, AuditError> {
    let name =
        percent_encoding::percent_encode(file.as_os_str().as_encoded_bytes(), percent_encoding::NON_ALPHANUMERIC);
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    // A copy without its write-ahead log is complete; SQLite then needs no other file, so a read-only folder will do.
    let how = if Path::new(&log).exists() { "mode=ro" } else { "immutable=1" };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(format!("file:{name}?{how}"), flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}
