//! A database as it is at one moment, copied while others go on writing.

use std::path::Path;
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags, TransactionState};

use super::{Store, StoreError};

/// Pages that are copied in one step.
const PAGES: i32 = 4096;

/// The right to write to a database: while it is held, nobody writes. Given back when dropped.
#[derive(Debug)]
pub struct Held(r2d2::PooledConnection<SqliteConnectionManager>);

impl Held {
    /// Takes the right, as soon as a writer in progress has ended.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn take(connection: r2d2::PooledConnection<SqliteConnectionManager>) -> Result<Self, rusqlite::Error> {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Self(connection))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = self.0.execute_batch("ROLLBACK") {
            log::error!("the right to write to a database could not be given back: {error}");
        }
    }
}

/// What a database holds at one moment, whatever is written later.
#[derive(Debug)]
pub struct Pinned(Connection);

impl Pinned {
    /// Takes what is committed now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn open(file: &Path, busy_timeout: Duration) -> Result<Self, rusqlite::Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(busy_timeout)?;
        // The moment is that of the first read.
        connection.execute_batch("PRAGMA query_only = ON; BEGIN; SELECT COUNT(*) FROM sqlite_schema;")?;
        Ok(Self(connection))
    }

    /// Copies it to a file in a folder that is ours alone. On disk when this returns.
    ///
    /// # Errors
    /// When the file cannot be written, or the moment is lost.
    pub fn copy_to(&self, copy: &Path) -> Result<(), rusqlite::Error> {
        let mut to = Connection::open(copy)?;
        // INVARIANT: without its own transaction the copy would be of several moments.
        if self.0.transaction_state(None::<&str>)? != TransactionState::Read {
            return Err(rusqlite::Error::InvalidQuery);
        }
        Backup::new(&self.0, &mut to)?.run_to_completion(PAGES, Duration::ZERO, None)?;
        // One file, and no log beside it.
        to.pragma_update(None, "journal_mode", "DELETE")?;
        to.close().map_err(|(_, error)| error)
    }

    /// Its size, in bytes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn bytes(&self) -> Result<u64, rusqlite::Error> {
        let pragma = |name| self.0.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
        Ok(pragma("page_count")?.saturating_mul(pragma("page_size")?))
    }

    /// The number of the last change of state; for the state database.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last_change(&self) -> Result<u64, rusqlite::Error> {
        let query = "SELECT COALESCE(MAX(seq), 0) FROM change";
        self.0.query_row(query, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
    }
}

impl Store {
    /// Keeps everybody from changing state.
    ///
    /// # Errors
    /// When a change in progress does not end in time.
    pub fn hold(&self) -> Result<Held, StoreError> {
        Ok(Held::take(self.connection()?)?)
    }

    /// State as it is now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn pin(&self) -> Result<Pinned, StoreError> {
        Ok(Pinned::open(&self.settings.file(), self.settings.busy_timeout)?)
    }
}
