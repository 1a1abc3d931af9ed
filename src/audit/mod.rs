//! The record of who did what, when and why it was let through.
//!
//! A row has two append-only records: the *decision*, committed before the ERP sees a byte, and the *outcome*, written
//! when the exchange is over. Denials and other rows that are over at once have a decision record only.

mod at_rest;
mod auditor;
mod chain;
mod checkpoint;
mod columns;
mod condition;
mod database;
mod entry;
mod evidence;
pub mod export;
mod fold;
mod health;
mod histogram;
mod index;
mod ledger;
mod probe;
mod queue;
mod recorded;
mod records;
mod recover;
mod redact;
mod retention;
mod row;
mod sink;
mod slot;
mod stats;
mod tally;
mod verify;
mod writer;

pub use at_rest::{anchor_of, changes_in, check_integrity, continues_in, last_change_in, verify_at_rest, verify_copy};
pub use auditor::{AuditUnavailable, Auditor, Guarantee, QueueSettings};
pub use checkpoint::Checkpoint;
pub use database::{AUDIT_FORMAT, AuditError, AuditSettings, Synchronous};
pub use entry::{Decision, End, Entry, Kind, Outcome, Step, Verdict};
pub use evidence::{Anchor, PruneError};
pub use health::{WriterHealth, WriterState};
pub use histogram::Durations;
pub use recorded::{Recorded, RecordedPart};
pub use redact::{ContentDescription, Preview, PreviewCollector, RedactionLists, Redactor};
pub use retention::Pruned;
pub use row::{Filter, Passed, Row, StoredOutcome};
pub use sink::{Sink, SinkReport, SinkState, run as run_sink};
pub use slot::{OpenRow, Slot};
pub use stats::{Group, GroupKey, StatsBy};
pub use tally::Counts;
pub use verify::{Damage, Finding, Position, Progress};

#[cfg(test)]
mod stall_tests;
#[cfg(test)]
mod tests;
