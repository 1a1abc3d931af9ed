//! The tables of `audit.db`: opening, migrations, the two inserts. Rows are append-only; triggers refuse the rest.

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};
use rusqlite_migration::{M, Migrations, SchemaVersion};

use crate::domain::RequestId;

use super::entry::{Entry, Outcome};

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
)];

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
            connection.set_prepared_statement_cache_capacity(16);
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

/// A record on its way to the tables.
#[derive(Debug)]
pub(super) enum Record {
    /// The decision record of a row.
    Decision(Box<Entry>),
    /// The outcome record of a row.
    Outcome(RequestId, Box<Outcome>),
}

/// Writes the records in one transaction: all or none.
pub(super) fn append<'a>(
    connection: &mut Connection,
    node: &str,
    records: impl Iterator<Item = &'a Record>,
) -> Result<(), AuditError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for record in records {
        match record {
            Record::Decision(entry) => insert_decision(&transaction, node, entry)?,
            Record::Outcome(id, outcome) => insert_outcome(&transaction, id, outcome)?,
        }
    }
    transaction.commit()?;
    Ok(())
}

fn insert_decision(connection: &Connection, node: &str, entry: &Entry) -> Result<(), AuditError> {
    let verdicts: Vec<_> = entry
        .verdicts
        .iter()
        .map(|verdict| (verdict.step.as_str(), verdict.decision.as_str(), &*verdict.note))
        .collect();
    let verdicts = serde_json::to_string(&verdicts).unwrap_or_default();
    connection
        .prepare_cached(
            "INSERT INTO decision (id, kind, at, correlation, actor, account, credential, token, client, method, path,
                query, endpoint, policy, rule, policy_snapshot, generation, decision, code, status, verdicts, detail,
                change, node)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
                ?22, ?23, ?24)
             ON CONFLICT (change) WHERE change IS NOT NULL DO NOTHING",
        )?
        .execute(params![
            entry.id.as_bytes(),
            entry.kind.as_str(),
            entry.at.as_microsecond(),
            entry.correlation,
            entry.actor.to_string(),
            entry.account.as_ref().map(crate::domain::AccountId::as_bytes),
            entry.credential.as_ref().map(crate::domain::CredentialId::as_bytes),
            entry.token.as_ref().map(crate::domain::TokenId::as_bytes),
            entry.client.map(|address| address.to_string()),
            entry.method,
            entry.path,
            entry.query,
            entry.endpoint.as_ref().map(crate::domain::EndpointId::as_str),
            entry.policy.as_ref().map(crate::domain::PolicyName::as_str),
            entry.rule.as_ref().map(crate::domain::RuleId::as_str),
            entry.policy_snapshot,
            i64::try_from(entry.generation).unwrap_or(i64::MAX),
            entry.decision.as_str(),
            entry.code.map(crate::domain::Code::as_str),
            entry.status,
            verdicts,
            entry.detail,
            entry.change.and_then(|change| i64::try_from(change).ok()),
            node,
        ])?;
    Ok(())
}

/// An outcome whose decision was refused by the disk (and so never relayed) has nothing to close and is left out.
fn insert_outcome(connection: &Connection, id: &RequestId, outcome: &Outcome) -> Result<(), AuditError> {
    let end = outcome.end.unwrap_or(super::End::Aborted);
    connection
        .prepare_cached(
            "INSERT INTO outcome (id, at, ended, status, code, detail, upstream_peer, upstream_status, attempts,
                duration, upstream_duration, request_bytes, response_bytes, request_preview, response_preview)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15
              WHERE EXISTS (SELECT 1 FROM decision WHERE id = ?1)
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            id.as_bytes(),
            outcome.at.as_microsecond(),
            end.as_str(),
            outcome.status,
            outcome.code.map(crate::domain::Code::as_str),
            outcome.detail,
            outcome.upstream_peer.map(|peer| peer.to_string()),
            outcome.upstream_status,
            outcome.attempts,
            micros(outcome.duration),
            outcome.upstream_duration.map(micros),
            i64::try_from(outcome.request_bytes).unwrap_or(i64::MAX),
            i64::try_from(outcome.response_bytes).unwrap_or(i64::MAX),
            outcome.request_preview.as_ref().map(|preview| &preview.text),
            outcome.response_preview.as_ref().map(|preview| &preview.text),
        ])?;
    Ok(())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
