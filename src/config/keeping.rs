//! `store:`, `audit:`, `policies:` and `admin:`: what is kept, where, and how surely.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::decode::{Choice, Section, Wrong};
use super::scalar;
use super::sinks::{self, Sink};
use super::tree::Node;
use crate::domain::Role;

/// The databases.
#[derive(Debug, Clone)]
pub struct Store {
    /// The folder of `erp-access.db` and `audit.db`.
    pub directory: PathBuf,
    /// How surely a committed change survives a power cut.
    pub synchronous: Synchronous,
    /// A statement waits this long for another writer.
    pub busy_timeout: Duration,
    /// Connections of the pool.
    pub connections: u32,
    /// The folder of backups.
    pub backups: PathBuf,
}

/// How surely a commit survives a power cut (SQLite `PRAGMA synchronous`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// It does.
    Full,
    /// The last commits may be lost.
    Normal,
}

impl Choice for Synchronous {
    const WORDS: &'static [(&'static str, Self)] = &[("full", Self::Full), ("normal", Self::Normal)];
}

impl Store {
    pub(super) fn read(section: &Section<'_, '_>) -> Self {
        let directory = section.path("directory", "/var/lib/erp-access");
        Self {
            synchronous: section.choice("synchronous", Synchronous::Full),
            busy_timeout: section.duration(
                "busy_timeout",
                Duration::from_secs(5),
                Duration::from_millis(100)..=Duration::from_mins(1),
            ),
            connections: section.whole("connections", 4, 1..=64),
            backups: section.path("backups", &directory.join("backups").to_string_lossy()),
            directory,
        }
    }

    /// The database of accounts, credentials, grants and tokens.
    #[must_use]
    pub fn state_file(&self) -> PathBuf {
        self.directory.join("erp-access.db")
    }

    /// The database of audit rows.
    #[must_use]
    pub fn audit_file(&self) -> PathBuf {
        self.directory.join("audit.db")
    }
}

/// The audit trail.
#[derive(Debug, Clone)]
pub struct Audit {
    /// When a decision must be on disk.
    pub guarantee: Guarantee,
    /// How surely a committed row survives a power cut.
    pub synchronous: Synchronous,
    /// Rows that may wait for the writer.
    pub queue_rows: u32,
    /// Rows that may wait for the writer, in bytes.
    pub queue_bytes: u64,
    /// A request waits this long for room in the queue, then it is refused.
    pub reserve_timeout: Duration,
    /// A writer that has written nothing for so long, though there is something to write, is stalled.
    pub stalled_after: Duration,
    /// Bytes kept of a request's and of an answer's body; 0 keeps none.
    pub preview_bytes: u64,
    /// What is secret besides what always is.
    pub redact: Redact,
    /// Rows older than this are removed; zero keeps them for ever.
    pub keep: Duration,
    /// So many unauthenticated denials of one source have rows of their own within a minute; further ones are counted.
    pub fold_after: u32,
    /// Where records are sent besides.
    pub sinks: Vec<Sink>,
    /// The name of this process in audit rows.
    pub node: String,
}

/// When the decision row must be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// Before the ERP sees a byte.
    BeforeRelay,
    /// With the outcome; a crash may lose rows of requests in progress.
    AfterResponse,
}

impl Choice for Guarantee {
    const WORDS: &'static [(&'static str, Self)] =
        &[("before_relay", Self::BeforeRelay), ("after_response", Self::AfterResponse)];
}

/// What is secret besides what always is.
#[derive(Debug, Clone, Default)]
pub struct Redact {
    /// Header fields.
    pub headers: Vec<HeaderName>,
    /// Names of JSON members, form fields and query parameters; case does not matter.
    pub fields: Vec<String>,
}

impl Audit {
    pub(super) fn read(section: &Section<'_, '_>) -> Self {
        Self {
            guarantee: section.choice("guarantee", Guarantee::BeforeRelay),
            synchronous: section.choice("synchronous", Synchronous::Full),
            queue_rows: section.whole("queue_rows", 8192, 16..=1_000_000),
            queue_bytes: section.size("queue_bytes", 64 << 20, 1 << 20..=4 << 30),
            reserve_timeout: section.duration(
                "reserve_timeout",
                Duration::from_millis(50),
                Duration::ZERO..=Duration::from_secs(10),
            ),
            stalled_after: section.duration(
                "stalled_after",
                Duration::from_secs(10),
                Duration::from_secs(1)..=Duration::from_hours(1),
            ),
            preview_bytes: section.size("preview_bytes", 2048, 0..=64 << 10),
            redact: section.section("redact", |redact| Redact {
                headers: redact.list("headers", Vec::new(), ToString::to_string, header_name),
                fields: redact.list(
                    "fields",
                    Vec::new(),
                    |field| scalar::quoted(field),
                    |node| scalar::text(node).map(str::to_owned),
                ),
            }),
            keep: section.duration("keep", Duration::ZERO, Duration::ZERO..=Duration::from_hours(24 * 36_500)),
            fold_after: section.whole("fold_after", 20, 1..=1_000_000),
            sinks: section.section("sinks", sinks::read_all),
            node: section.value("node", host_name(), String::clone, node_id),
        }
    }
}

/// The name of a header field.
pub(super) fn header_name(node: &Node) -> Result<HeaderName, Wrong> {
    scalar::text(node)?.parse().map_err(|_| Wrong::new("is not the name of a header field"))
}

/// The policy files.
#[derive(Debug, Clone)]
pub struct Policies {
    /// Their folder.
    pub directory: PathBuf,
    /// Whether changes are taken over while the gateway runs.
    pub watch: bool,
}

impl Policies {
    pub(super) fn read(section: &Section<'_, '_>) -> Self {
        Self { directory: section.path("directory", "policies"), watch: section.switch("watch", true) }
    }
}

/// The admin API.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The socket that the command line speaks to.
    pub socket: PathBuf,
    /// What the OS users that reach the socket may do, besides root and the user that runs the gateway.
    pub roles: Vec<(String, Role)>,
}

impl Admin {
    pub(super) fn read(section: &Section<'_, '_>) -> Self {
        let users = |name: &str| section.list(name, Vec::new(), |user: &String| scalar::quoted(user), os_user);
        let lists = [("administrators", Role::Admin), ("operators", Role::Operator), ("auditors", Role::Auditor)];
        let mut roles: Vec<(String, Role)> = Vec::new();
        for (name, role) in lists {
            for user in users(name) {
                if roles.iter().any(|(known, _)| *known == user) {
                    section.wrong(name, Wrong::new(format!("names `{user}`, who has a role already")));
                }
                roles.push((user, role));
            }
        }
        Self { socket: section.path("socket", "/run/erp-access/admin.sock"), roles }
    }
}

fn os_user(node: &Node) -> Result<String, Wrong> {
    let text = scalar::text(node)?;
    let fits = is_node_id(text);
    fits.then(|| text.to_owned()).ok_or_else(|| Wrong::new("is not the name of an OS user"))
}

fn is_node_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

fn node_id(node: &Node) -> Result<String, Wrong> {
    let text = scalar::text(node)?;
    let wrong = || Wrong::new("is not a node name").with_help("use 1 to 64 of A-Z a-z 0-9 . _ -");
    is_node_id(text).then(|| text.to_owned()).ok_or_else(wrong)
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(name.trim()).filter(|name| is_node_id(name)).unwrap_or("node").to_owned()
}
