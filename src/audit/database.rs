//! The tables of `audit.db`: opening and migrations. Rows are append-only; triggers refuse the rest.

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations, SchemaVersion};

/// Something is wrong with `audit.db`.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be created or opened.
    #[error("cannot open `{0}`: {1}")]
    File(PathBuf, std::io::Error),
    /// SQLite says no.
    #[error("audit database: {0}")]
    Sql(#[from] rusqlite::Error),
    /// No connection was free in time.
    #[error("audit database: {0}")]
    Pool(#[from] r2d2::Error),
    /// A migration failed.
    #[error("audit database cannot be migrated: {0}")]
    Migration(String),
    /// The database waits for a migration.
    #[error("`{0}` has an older format; run `erp-access db migrate`, or start with `serve --migrate`")]
    Pending(PathBuf),
    /// The database was written by a newer version.
    #[error("`{0}` was written by a newer version of erp-access; install that version, or restore a backup")]
    Newer(PathBuf),
    /// The keys cannot seal.
    #[error("the audit trail cannot be sealed: the APP_KEY in use is not in the key ring")]
    Key,
    /// A row holds something that this version did not write.
    #[error("audit database: row {0} cannot be read: {1}")]
    Damaged(i64, String),
}

/// How hard SQLite tries to survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// Each commit is on disk when it returns.
    Full,
    /// The last commits may be lost at a power cut; never the database.
    Normal,
}

/// Where and how audit rows are kept.
#[derive(Debug, Clone)]
pub struct AuditSettings {
    /// The folder of `audit.db`.
    pub directory: PathBuf,
    /// How hard to try to survive a power cut.
    pub synchronous: Synchronous,
    /// How long to wait for a lock held by another process.
    pub busy_timeout: Duration,
}

impl AuditSettings {
    pub(super) fn file(&self) -> PathBuf {
        self.directory.join("audit.db")
    }
}

/// The number of this version's format.
pub const AUDIT_FORMAT: usize = MIGRATIONS.len();

const MIGRATIONS: &[M<'_>] = &[M::up(
    "CREATE TABLE decision (
        seq INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        at INTEGER NOT NULL,             -- microseconds since 1970-01-01T00:00:00Z
        correlation TEXT,
        actor TEXT NOT NULL,
        account BLOB,
        credential BLOB,
        token BLOB,
        client TEXT,
        method TEXT NOT NULL,
        path TEXT NOT NULL,
        query TEXT,
        endpoint TEXT,
        policy TEXT,
        rule TEXT,
        policy_snapshot BLOB,
        generation INTEGER NOT NULL,
        decision TEXT NOT NULL,
        code TEXT,
        status INTEGER,
        verdicts TEXT NOT NULL,          -- JSON: [[step, decision, note], ...]
        detail TEXT,
        change INTEGER,
        node TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX decision_change ON decision (change) WHERE change IS NOT NULL;
    CREATE TABLE outcome (
        id BLOB PRIMARY KEY,              -- of the decision
        at INTEGER NOT NULL,
        ended TEXT NOT NULL,
        status INTEGER,
        code TEXT,
        detail TEXT,
        upstream_peer TEXT,
        upstream_status INTEGER,
        attempts INTEGER NOT NULL,
        duration INTEGER NOT NULL,       -- microseconds
        upstream_duration INTEGER,       -- microseconds
        request_bytes INTEGER NOT NULL,
        response_bytes INTEGER NOT NULL,
        request_preview TEXT,
        response_preview TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE mark (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
    CREATE TRIGGER decision_stays BEFORE UPDATE ON decision BEGIN SELECT RAISE(ABORT, 'audit rows are append-only'); END;
    CREATE TRIGGER decision_remains BEFORE DELETE ON decision BEGIN SELECT RAISE(ABORT, 'audit rows are append-only'); END;
    CREATE TRIGGER outcome_stays BEFORE UPDATE ON outcome BEGIN SELECT RAISE(ABORT, 'audit rows are append-only'); END;
    CREATE TRIGGER outcome_remains BEFORE DELETE ON outcome BEGIN SELECT RAISE(ABORT, 'audit rows are append-only'); END;",
), M::up(SEALED)];

/// One gapless sequence over both kinds of records, each with its mark, and the seals over spans of them. Rows are
/// found over a database of their own (`index.rs`), so that writing them stays cheap.
const SEALED: &str = "
    DROP TRIGGER decision_stays;
    DROP TRIGGER decision_remains;
    DROP TRIGGER outcome_stays;
    DROP TRIGGER outcome_remains;
    DROP INDEX decision_change;
    ALTER TABLE decision RENAME TO unsealed_decision;
    ALTER TABLE outcome RENAME TO unsealed_outcome;
    CREATE TABLE decision (
        seq INTEGER PRIMARY KEY,
        id BLOB NOT NULL,
        kind TEXT NOT NULL,
        at INTEGER NOT NULL,             -- microseconds since 1970-01-01T00:00:00Z
        correlation TEXT,
        actor TEXT NOT NULL,
        account BLOB,
        credential BLOB,
        token BLOB,
        client TEXT,
        method TEXT NOT NULL,
        path TEXT NOT NULL,
        query TEXT,
        endpoint TEXT,
        policy TEXT,
        rule TEXT,
        policy_snapshot BLOB,
        generation INTEGER NOT NULL,
        decision TEXT NOT NULL,
        code TEXT,
        status INTEGER,
        verdicts TEXT NOT NULL,          -- JSON: [[step, decision, note], ...]
        detail TEXT,
        change INTEGER,
        node TEXT NOT NULL,
        repeats INTEGER NOT NULL,        -- how many requests this row stands for
        schedule TEXT,
        kill_switch TEXT,
        tls TEXT,
        mac BLOB                         -- NULL: written before rows were sealed
    ) STRICT;
    CREATE UNIQUE INDEX decision_change ON decision (change) WHERE change IS NOT NULL;
    CREATE TABLE outcome (
        seq INTEGER PRIMARY KEY,
        decision_seq INTEGER NOT NULL,
        at INTEGER NOT NULL,
        ended TEXT NOT NULL,
        status INTEGER,
        code TEXT,
        detail TEXT,
        upstream_peer TEXT,
        upstream_status INTEGER,
        attempts INTEGER NOT NULL,
        duration INTEGER NOT NULL,       -- microseconds
        upstream_duration INTEGER,       -- microseconds
        request_bytes INTEGER NOT NULL,
        response_bytes INTEGER NOT NULL,
        request_preview TEXT,
        response_preview TEXT,
        mac BLOB
    ) STRICT;
    CREATE UNIQUE INDEX outcome_decision ON outcome (decision_seq);
    INSERT INTO decision SELECT seq, id, kind, at, correlation, actor, account, credential, token, client, method,
            path, query, endpoint, policy, rule, policy_snapshot, generation, decision, code, status, verdicts, detail,
            change, node, 1, NULL, NULL, NULL, NULL
        FROM unsealed_decision;
    INSERT INTO outcome SELECT (SELECT MAX(seq) FROM unsealed_decision) + ROW_NUMBER() OVER (ORDER BY o.at, d.seq),
            d.seq, o.at, o.ended, o.status, o.code, o.detail, o.upstream_peer, o.upstream_status, o.attempts, o.duration,
            o.upstream_duration, o.request_bytes, o.response_bytes, o.request_preview, o.response_preview, NULL
        FROM unsealed_outcome AS o JOIN unsealed_decision AS d ON d.id = o.id;
    DROP TABLE unsealed_decision;
    DROP TABLE unsealed_outcome;
    CREATE TABLE seal (
        last INTEGER PRIMARY KEY,
        first INTEGER NOT NULL,
        at INTEGER NOT NULL,
        key BLOB NOT NULL,               -- which APP_KEY, by its id
        head BLOB NOT NULL,
        seal BLOB NOT NULL
    ) STRICT;
    CREATE TRIGGER decision_stays BEFORE UPDATE ON decision BEGIN SELECT RAISE(ABORT, 'audit rows are append-only'); END;
    CREATE TRIGGER outcome_stays BEFORE UPDATE ON outcome BEGIN SELECT RAISE(ABORT, 'audit rows are append-only'); END;
    CREATE TRIGGER seal_stays BEFORE UPDATE ON seal BEGIN SELECT RAISE(ABORT, 'audit rows are append-only'); END;
    CREATE TRIGGER decision_remains BEFORE DELETE ON decision
        WHEN OLD.seq > COALESCE((SELECT value FROM mark WHERE name = 'prune_through'), 0)
        BEGIN SELECT RAISE(ABORT, 'audit rows are append-only'); END;
    CREATE TRIGGER outcome_remains BEFORE DELETE ON outcome
        WHEN OLD.seq > COALESCE((SELECT value FROM mark WHERE name = 'prune_through'), 0)
        BEGIN SELECT RAISE(ABORT, 'audit rows are append-only'); END;
    CREATE TRIGGER seal_remains BEFORE DELETE ON seal
        WHEN OLD.last >= COALESCE((SELECT value FROM mark WHERE name = 'prune_through'), 0)
        BEGIN SELECT RAISE(ABORT, 'audit rows are append-only'); END;";

/// Brings `audit.db` to this version's format, creating it where it is missing.
pub(super) fn migrate(settings: &AuditSettings) -> Result<(), AuditError> {
    let file = settings.file();
    create_private(&settings.directory, &file)?;
    let mut connection = Connection::open(&file)?;
    refuse_newer(&connection, &file)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    Migrations::from_slice(MIGRATIONS)
        .to_latest(&mut connection)
        .map_err(|error| AuditError::Migration(error.to_string()))
}

/// Opens the pool on a database of exactly this version's format.
pub(super) fn open(settings: &AuditSettings) -> Result<r2d2::Pool<SqliteConnectionManager>, AuditError> {
    let file = settings.file();
    if !file.exists() {
        return Err(AuditError::Pending(file));
    }
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
            connection.set_prepared_statement_cache_capacity(64);
            Ok(())
        });
    let connection = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    refuse_newer(&connection, &file)?;
    let version = Migrations::from_slice(MIGRATIONS)
        .current_version(&connection)
        .map_err(|error| AuditError::Migration(error.to_string()))?;
    match version {
        SchemaVersion::Inside(count) if count.get() == MIGRATIONS.len() => {}
        SchemaVersion::NoneSet | SchemaVersion::Inside(_) => return Err(AuditError::Pending(file)),
        SchemaVersion::Outside(_) => return Err(AuditError::Newer(file)),
    }
    drop(connection);
    Ok(r2d2::Pool::builder().max_size(3).connection_timeout(busy_timeout).build(manager)?)
}

fn refuse_newer(connection: &Connection, file: &Path) -> Result<(), AuditError> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if version > known { Err(AuditError::Newer(file.to_owned())) } else { Ok(()) }
}

fn create_private(directory: &Path, file: &Path) -> Result<(), AuditError> {
    let failed = |error| AuditError::File(file.to_owned(), error);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    // SECURITY: the mode is set at creation; SQLite gives -wal and -shm the mode of the database.
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(file).map_err(failed)?;
    Ok(())
}
