//! Opening the state database: format, files, pool.

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{Migrations, SchemaVersion};

use super::schema::MIGRATIONS;

/// Something is wrong with the state database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be created or opened.
    #[error("cannot open `{0}`: {1}")]
    File(PathBuf, std::io::Error),
    /// SQLite says no.
    #[error("state database: {0}")]
    Sql(#[from] rusqlite::Error),
    /// No connection was free in time.
    #[error("state database: {0}")]
    Pool(#[from] r2d2::Error),
    /// A migration failed.
    #[error("the state database cannot be migrated: {0}")]
    Migration(String),
    /// The database waits for a migration.
    #[error("`{0}` has an older format; run `erp-access db migrate`, or start with `serve --migrate`")]
    Pending(PathBuf),
    /// The database was written by a newer version.
    #[error("`{0}` was written by a newer version of erp-access; install that version, or restore a backup")]
    Newer(PathBuf),
    /// Others than the owner may read it.
    #[error("`{0}` is open to others (mode {1:04o}): run `chmod go= {0}`")]
    OpenToOthers(PathBuf, u32),
    /// Another process owns the store.
    #[error("another erp-access process owns `{0}`; stop it first, or talk to it over its admin socket")]
    Owned(PathBuf),
    /// The `APP_KEY` is not the one of this database.
    #[error(
        "the APP_KEY given does not open this database; give the key with which it was made (a credential file, \
         `app_key.file` or ERP_ACCESS_APP_KEY), or list it under `app_key.previous_files`; if it is lost, see \"A lost \
         APP_KEY\" in docs/operations.md"
    )]
    WrongKey,
    /// Something could not be sealed or opened.
    #[error("state database: {0}")]
    Seal(#[from] crate::secrets::SealError),
    /// SQLite finds the database damaged.
    #[error("`{0}` is damaged: {1}")]
    Damaged(PathBuf, String),
    /// Changes do not go on where the stream ends.
    #[error("the change with the number {0} is missing")]
    Gap(u64),
    /// A statement changed another number of rows than it must.
    #[error("state database: {0} changed {1} rows instead of one")]
    Affected(&'static str, usize),
}

/// How hard SQLite tries to survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// Each commit is on disk when it returns.
    Full,
    /// The last commits may be lost at a power cut; never the database.
    Normal,
}

/// Where and how state is kept.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The folder of `erp-access.db`.
    pub directory: PathBuf,
    /// How hard to try to survive a power cut.
    pub synchronous: Synchronous,
    /// How long to wait for a lock held by another process.
    pub busy_timeout: Duration,
    /// Connections in the pool.
    pub connections: u32,
}

impl StoreSettings {
    pub(super) fn file(&self) -> PathBuf {
        self.directory.join("erp-access.db")
    }
}

/// The state database.
#[derive(Debug)]
pub struct Store {
    pool: r2d2::Pool<SqliteConnectionManager>,
    pub(super) settings: StoreSettings,
}

impl Store {
    /// Creates the database where it is missing and brings it to this version's format.
    ///
    /// # Errors
    /// When the file cannot be written or is of a newer version.
    pub fn migrate(settings: &StoreSettings) -> Result<(), StoreError> {
        let file = settings.file();
        create_private(&settings.directory, &file)?;
        let mut connection = Connection::open(&file)?;
        refuse_newer(&connection, &file)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        Migrations::from_slice(MIGRATIONS)
            .to_latest(&mut connection)
            .map_err(|error| StoreError::Migration(error.to_string()))
    }

    /// Opens the database, which must have exactly this version's format.
    ///
    /// # Errors
    /// When it is missing, of another version, or cannot be written.
    pub fn open(settings: &StoreSettings) -> Result<Self, StoreError> {
        let file = settings.file();
        if !file.exists() {
            return Err(StoreError::Pending(file));
        }
        refuse_open_to_others(&settings.directory)?;
        refuse_open_to_others(&file)?;
        refuse_other_versions(&file)?;
        let synchronous = match settings.synchronous {
            Synchronous::Full => "FULL",
            Synchronous::Normal => "NORMAL",
        };
        let busy_timeout = settings.busy_timeout;
        let manager = SqliteConnectionManager::file(&file)
            .with_flags(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .with_init(move |connection| {
                connection.busy_timeout(busy_timeout)?;
                connection.pragma_update(None, "synchronous", synchronous)?;
                connection.pragma_update(None, "foreign_keys", "ON")?;
                // SECURITY: what is deleted (tokens, sealed secrets) is overwritten.
                connection.pragma_update(None, "secure_delete", "ON")?;
                Ok(())
            });
        let pool = r2d2::Pool::builder()
            .max_size(settings.connections.max(1))
            .connection_timeout(busy_timeout)
            .build(manager)?;
        Ok(Self { pool, settings: settings.clone() })
    }

    /// Asks the database for something small.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn answers(&self) -> Result<(), StoreError> {
        Ok(self
            .connection()?
            .query_row("SELECT MAX(seq) FROM change", [], |row| row.get::<_, Option<i64>>(0))
            .map(drop)?)
    }

    pub(super) fn connection(&self) -> Result<r2d2::PooledConnection<SqliteConnectionManager>, StoreError> {
        Ok(self.pool.get()?)
    }
}

/// SECURITY: files that were created elsewhere (a restore, a copy) may have kept another mode.
fn refuse_open_to_others(path: &Path) -> Result<(), StoreError> {
    let metadata = std::fs::metadata(path).map_err(|error| StoreError::File(path.to_owned(), error))?;
    let mode = metadata.permissions().mode() & 0o777;
    let for_others = mode & 0o077;
    if for_others == 0 { Ok(()) } else { Err(StoreError::OpenToOthers(path.to_owned(), mode)) }
}

fn refuse_other_versions(file: &Path) -> Result<(), StoreError> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    refuse_newer(&connection, file)?;
    let version = Migrations::from_slice(MIGRATIONS)
        .current_version(&connection)
        .map_err(|error| StoreError::Migration(error.to_string()))?;
    match version {
        SchemaVersion::Inside(count) if count.get() == MIGRATIONS.len() => Ok(()),
        SchemaVersion::NoneSet | SchemaVersion::Inside(_) => Err(StoreError::Pending(file.to_owned())),
        SchemaVersion::Outside(_) => Err(StoreError::Newer(file.to_owned())),
    }
}

fn refuse_newer(connection: &Connection, file: &Path) -> Result<(), StoreError> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if version > known { Err(StoreError::Newer(file.to_owned())) } else { Ok(()) }
}

pub(super) fn create_private(directory: &Path, file: &Path) -> Result<std::fs::File, StoreError> {
    let failed = |error| StoreError::File(file.to_owned(), error);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    // SECURITY: the mode is set at creation; SQLite gives -wal and -shm the mode of the database.
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(file).map_err(failed)
}
