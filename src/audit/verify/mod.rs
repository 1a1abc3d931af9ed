//! Does the trail still say what was written? Walks the chain of seals, some spans at a time.

mod ends;
mod stream;

use std::collections::VecDeque;

use hex::FromHex as _;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use crate::secrets::{KeyId, KeyRing};

use super::chain::{self, Digest, Mark, Seal, Table};
use super::checkpoint::Checkpoint;
use super::columns;
use super::database::AuditError;
use super::ledger::end_of;

pub(super) use stream::seals;
use stream::{Merged, Passing, Source, encode};

/// Where a verification stands: all that a further call needs to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The last place that was checked.
    pub checked_to: i64,
    /// The head of the chain there, in hex; `None` before the first seal.
    head: Option<String>,
    /// Up to here the trail was pruned.
    pub pruned_to: Option<i64>,
    /// The head where pruning ended, in hex.
    pruned_head: Option<String>,
    /// A sealed row says that so much was pruned.
    pruning_recorded: bool,
    /// Rows up to this one were written before rows were sealed.
    pub unsealed_to: i64,
    /// Records checked.
    pub records: u64,
    /// The checkpoint's place was passed.
    checkpoint_met: bool,
}

/// What is wrong at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The place in the sequence of records.
    pub seq: i64,
    /// What kind of damage.
    pub kind: Damage,
    /// A sentence about it.
    pub text: String,
}

/// The kinds of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// A record does not say what was written.
    Changed,
    /// A record is gone.
    Removed,
    /// A record was not written by the gateway.
    Inserted,
    /// A record stands at the place of another.
    Moved,
    /// A seal does not fit.
    Seal,
    /// Sealed with a key that is not at hand: not checked.
    UnknownKey,
    /// The history is not the one of which a checkpoint was taken.
    Checkpoint,
    /// The newest records are gone, or an older file was put in place.
    CutTail,
    /// Records were deleted and no sealed row says so.
    Pruned,
}

/// What one call found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Progress {
    /// Where to go on.
    pub position: Position,
    /// The newest place in the trail.
    pub end: i64,
    /// Whether the end was reached.
    pub done: bool,
    /// What is wrong, in the order of the trail.
    pub findings: Vec<Finding>,
    /// At the end: whether the last thing on record is an orderly stop.
    pub clean_stop: Option<bool>,
}

/// What to compare the trail with, besides itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Against<'a> {
    /// The keys; without them the chain alone is checked, and damage is named by span.
    pub(super) ring: Option<&'a KeyRing>,
    pub(super) checkpoint: Option<&'a Checkpoint>,
    /// Place and head that were noted outside of `audit.db`.
    pub(super) anchor: Option<(i64, Digest)>,
}

/// Spans looked at in one call at most, and records, roughly.
const SPANS: usize = 4096;
const RECORDS: i64 = 50_000;
/// How far from its place a record that was moved is looked for.
const MOVED_WITHIN: i64 = 2000;

/// Checks the next spans after `position`.
pub(super) fn next(
    connection: &mut Connection,
    position: Position,
    against: &Against<'_>,
) -> Result<Progress, AuditError> {
    // One snapshot: the writer goes on meanwhile.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let mut walk = Walk { transaction: &transaction, against, position, findings: Vec::new() };
    let end = end_of(&transaction)?;
    if walk.position.head.is_none() && !walk.begin()? {
        return Ok(walk.finish(end, true, None));
    }
    let seals = walk.next_seals()?;
    let done = seals.is_empty();
    if done {
        let clean = walk.end(end)?;
        return Ok(walk.finish(end, true, Some(clean)));
    }
    walk.spans(&seals)?;
    Ok(walk.finish(end, false, None))
}

/// A position from which a verification can begin in the middle: at the seal before `seq`.
pub(super) fn from(connection: &Connection, seq: i64) -> Result<Position, AuditError> {
    let found = seals(connection, "WHERE last < ?1 ORDER BY last DESC LIMIT 1", &[seq])?;
    Ok(found.first().map_or_else(Position::default, |seal| Position {
        checked_to: seal.last,
        head: Some(hex::encode(seal.head)),
        ..Position::default()
    }))
}

struct Walk<'a> {
    transaction: &'a Transaction<'a>,
    against: &'a Against<'a>,
    position: Position,
    findings: Vec<Finding>,
}

impl Walk<'_> {
    fn finish(self, end: i64, done: bool, clean_stop: Option<bool>) -> Progress {
        Progress { position: self.position, end, done, findings: self.findings, clean_stop }
    }

    fn found(&mut self, seq: i64, kind: Damage, text: String) {
        self.findings.push(Finding { seq, kind, text });
    }

    /// The next seals, no more than one call should look at.
    fn next_seals(&self) -> Result<VecDeque<Seal>, AuditError> {
        let limit = i64::try_from(SPANS).unwrap_or(i64::MAX);
        let after = self.position.checked_to;
        let mut found: VecDeque<_> =
            seals(self.transaction, "WHERE last > ?1 ORDER BY last LIMIT ?2", &[after, limit])?.into();
        let enough = found.iter().position(|seal| seal.last.saturating_sub(after) >= RECORDS);
        found.truncate(enough.map_or(found.len(), |enough| enough + 1));
        Ok(found)
    }

    fn spans(&mut self, seals: &VecDeque<Seal>) -> Result<(), AuditError> {
        let Some(to) = seals.back().map(|seal| seal.last) else { return Ok(()) };
        let transaction = self.transaction;
        let after = self.position.checked_to;
        let mut decisions = transaction.prepare_cached(&format!(
            "SELECT seq, {}, mac FROM decision WHERE seq > ?1 AND seq <= ?2 ORDER BY seq",
            columns::DECISION
        ))?;
        let mut outcomes = transaction.prepare_cached(&format!(
            "SELECT seq, {}, mac FROM outcome WHERE seq > ?1 AND seq <= ?2 ORDER BY seq",
            columns::OUTCOME
        ))?;
        let mut stream = Merged {
            decisions: Source::new(decisions.query(params![after, to])?, Table::Decision)?,
            outcomes: Source::new(outcomes.query(params![after, to])?, Table::Outcome)?,
        };
        let mut held = stream.next()?;
        for seal in seals {
            let mut records = Vec::new();
            let mut between = Vec::new();
            while let Some(record) = held.take_if(|record| record.seq <= seal.last) {
                if record.seq < seal.first {
                    between.push(record);
                } else {
                    records.push(record);
                }
                held = stream.next()?;
            }
            self.span(seal, &records, &between)?;
        }
        Ok(())
    }

    fn span(&mut self, seal: &Seal, records: &[Passing], between: &[Passing]) -> Result<(), AuditError> {
        let before = self.position.head.as_deref().and_then(|head| Digest::from_hex(head).ok()).unwrap_or_default();
        let expected = self.position.checked_to.saturating_add(1);
        let found = self.findings.len();
        if seal.first != expected {
            self.gap(seal, expected, between);
        }
        let genuine = self.check_seal(seal);
        let marks = self.check_records(seal, records)?;
        let fits = seal.head == seal.expected_head(&before, records.iter().map(|record| record.digest));
        if !fits && found == self.findings.len() {
            let text = match (marks, genuine) {
                (true, _) => format!(
                    "the seal of the records {} to {} does not fit the history before it",
                    seal.first, seal.last
                ),
                (false, _) => format!("the records {} to {} or their seal were changed", seal.first, seal.last),
            };
            self.found(seal.first, if marks { Damage::Seal } else { Damage::Changed }, text);
        }
        if fits {
            for (to, head) in records.iter().filter_map(|record| record.pruned.as_ref()) {
                let (pruned_to, pruned_head) = (self.position.pruned_to, self.position.pruned_head.as_ref());
                self.position.pruning_recorded |=
                    pruned_to.is_some_and(|pruned| pruned < *to || (pruned == *to && pruned_head == Some(head)));
            }
        }
        self.position.records = self.position.records.saturating_add(u64::try_from(records.len()).unwrap_or(0));
        self.meet_checkpoint(seal);
        self.position.checked_to = seal.last;
        self.position.head = Some(hex::encode(seal.head));
        Ok(())
    }

    /// The seal does not begin where the last one ended.
    fn gap(&mut self, seal: &Seal, expected: i64, between: &[Passing]) {
        let to = seal.first.saturating_sub(1);
        if seal.first < expected {
            let text = format!("the seal of {} to {} covers records that have a seal", seal.first, seal.last);
            return self.found(seal.last, Damage::Seal, text);
        }
        let ours = |record: &&Passing| record.mark.is_some() && record.mark == self.mark_of(seal.key, &record.digest);
        let written = between.iter().filter(ours).count();
        let (kind, text) = match (between.is_empty(), written) {
            (true, _) => (Damage::Removed, format!("the records {expected} to {to} and their seals were removed")),
            (false, 0) => {
                (Damage::Inserted, format!("the records {expected} to {to} have no seal: they were inserted"))
            }
            (false, _) => (Damage::Seal, format!("the seals of the records {expected} to {to} were removed")),
        };
        self.found(expected, kind, text);
    }

    fn check_seal(&mut self, seal: &Seal) -> bool {
        let Some(ring) = self.against.ring else { return true };
        let place = seal.first.min(seal.last);
        match seal.expected_code(ring) {
            Some(expected) if expected == seal.code => true,
            Some(_) => {
                let text = format!("the seal of the records {} to {} is not genuine", seal.first, seal.last);
                self.found(place, Damage::Seal, text);
                false
            }
            None => {
                let text = format!(
                    "the records {} to {} were sealed with another APP_KEY ({}), which is not at hand",
                    seal.first,
                    seal.last,
                    hex::encode(seal.key.as_bytes())
                );
                self.found(place, Damage::UnknownKey, text);
                false
            }
        }
    }

    fn mark_of(&self, key: KeyId, digest: &Digest) -> Option<Mark> {
        self.against.ring.and_then(|ring| chain::mark(ring, key, digest))
    }

    /// Looks at each record of a span; `true` when each is there and carries its mark.
    fn check_records(&mut self, seal: &Seal, records: &[Passing]) -> Result<bool, AuditError> {
        let mut expected = seal.first;
        let keyed = self.against.ring.is_some_and(|ring| seal.expected_code(ring).is_some());
        for record in records {
            if record.seq > expected {
                self.missing(expected, record.seq.saturating_sub(1));
            }
            if record.seq < expected {
                let text = format!("there is a second record {}", record.seq);
                self.found(record.seq, Damage::Inserted, text);
                continue;
            }
            if keyed && (record.mark.is_none() || record.mark != self.mark_of(seal.key, &record.digest)) {
                self.touched(seal, record)?;
            }
            expected = record.seq.saturating_add(1);
        }
        if expected <= seal.last {
            self.missing(expected, seal.last);
        }
        Ok(keyed)
    }

    fn missing(&mut self, from: i64, to: i64) {
        let text = if from == to {
            format!("the record {from} was removed")
        } else {
            format!("the records {from} to {to} were removed")
        };
        self.found(from, Damage::Removed, text);
    }

    /// The mark does not fit: the record was changed, or belongs to another place.
    fn touched(&mut self, seal: &Seal, record: &Passing) -> Result<(), AuditError> {
        let text = "SELECT seq, {columns}, mac FROM {table} WHERE seq = ?1";
        let names = if record.table == Table::Decision { columns::DECISION } else { columns::OUTCOME };
        let mut statement =
            self.transaction.prepare(&text.replace("{columns}", names).replace("{table}", record.table.name()))?;
        let mut rows = statement.query([record.seq])?;
        let mut body = Vec::new();
        if let Some(row) = rows.next()? {
            encode(row, &mut body)?;
        }
        let places = record.seq.saturating_sub(MOVED_WITHIN)..=record.seq.saturating_add(MOVED_WITHIN);
        let home = places.filter(|place| *place != record.seq).find(|place| {
            record.mark.is_some() && record.mark == self.mark_of(seal.key, &chain::digest(record.table, *place, &body))
        });
        let name = record.table.name();
        match home {
            Some(home) => {
                let text = format!("the {name} record {home} stands at the place of record {}", record.seq);
                self.found(record.seq, Damage::Moved, text);
            }
            None => self.found(record.seq, Damage::Changed, format!("the {name} record {} was changed", record.seq)),
        }
        Ok(())
    }
}
