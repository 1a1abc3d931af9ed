//! The end of the trail: where the next record goes, and the seal that it continues.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior, params};

use crate::domain::{RequestId, SinkName};
use crate::secrets::{KeyId, KeyRing};

use super::chain::{self, Digest, Seal, Table};
use super::columns;
use super::database::AuditError;
use super::entry::{Decision, Entry, Kind, Outcome};
use super::sink::mark_of;

/// After so many records the recovery of a crash need not look further back.
const RECOVERY_STRIDE: i64 = 8192;

/// A record on its way to the tables.
#[derive(Debug)]
pub(super) enum Record {
    /// The decision record of a row.
    Decision(Box<Entry>),
    /// The outcome record of a row.
    Outcome(RequestId, Box<Outcome>),
}

/// How far sinks have come.
pub(super) type Cursors = BTreeMap<SinkName, i64>;

/// The end of the trail. There is one at a time: the writer's.
pub(super) struct Ledger {
    ring: Arc<KeyRing>,
    node: String,
    next: i64,
    head: Digest,
    /// Rows that wait for their outcome.
    open: HashMap<RequestId, i64>,
    last_change: u64,
    recovered_to: i64,
}

/// What one transaction adds; it becomes the ledger's when the transaction is on disk.
struct Staged<'ledger, 'connection> {
    ledger: &'ledger Ledger,
    /// The key of its marks and its seal: one, even where the ring turns meanwhile.
    key: KeyId,
    transaction: Transaction<'connection>,
    next: i64,
    opened: HashMap<RequestId, i64>,
    closed: HashSet<RequestId>,
    last_change: u64,
    digests: Vec<Digest>,
    body: Vec<u8>,
}

impl Ledger {
    /// Reads the end of the trail. A trail without a seal gets its first one.
    pub(super) fn load(
        connection: &mut Connection,
        ring: Arc<KeyRing>,
        node: String,
        now: Timestamp,
    ) -> Result<Self, AuditError> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let end = end_of(&transaction)?;
        let newest = transaction
            .query_row("SELECT head FROM seal ORDER BY last DESC LIMIT 1", [], |row| row.get::<_, Digest>(0))
            .optional()?;
        let head = if let Some(head) = newest {
            head
        } else {
            let genesis = Seal::genesis(&ring, end, now.as_microsecond()).ok_or(AuditError::Key)?;
            insert_seal(&transaction, &genesis)?;
            genesis.head
        };
        let recovered_to = mark(&transaction, "recovered_to")?;
        let open = open_rows(&transaction, recovered_to)?;
        let last_change = u64::try_from(last_change(&transaction)?).unwrap_or(0);
        transaction.commit()?;
        Ok(Self { ring, node, next: end.saturating_add(1), head, open, last_change, recovered_to })
    }

    /// The last place that is taken.
    pub(super) fn end(&self) -> i64 {
        self.next.saturating_sub(1)
    }

    /// The rows that wait for their outcome.
    pub(super) fn open_rows(&self) -> impl Iterator<Item = RequestId> + use<> {
        let mut open: Vec<_> = self.open.iter().map(|(id, seq)| (*seq, *id)).collect();
        open.sort_unstable();
        open.into_iter().map(|(_, id)| id)
    }

    /// Writes the records and their seal in one transaction: all or none.
    pub(super) fn append<'a>(
        &mut self,
        connection: &mut Connection,
        records: impl Iterator<Item = &'a Record> + Clone,
        cursors: &Cursors,
        now: Timestamp,
    ) -> Result<(), AuditError> {
        match self.try_append(connection, records.clone(), cursors, now) {
            Err(AuditError::Sql(error)) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                // Somebody else put a row where the next one belongs. It stays without a seal, for `verify` to find.
                self.next = self.next.max(end_of(connection)?.saturating_add(1));
                self.try_append(connection, records, cursors, now)
            }
            other => other,
        }
    }

    fn try_append<'a>(
        &mut self,
        connection: &mut Connection,
        records: impl Iterator<Item = &'a Record>,
        cursors: &Cursors,
        now: Timestamp,
    ) -> Result<(), AuditError> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut staged = Staged {
            transaction,
            key: self.ring.current_id(),
            next: self.next,
            opened: HashMap::new(),
            closed: HashSet::new(),
            last_change: self.last_change,
            digests: Vec::new(),
            body: Vec::with_capacity(1024),
            ledger: self,
        };
        for record in records {
            match record {
                Record::Decision(entry) => staged.decision(entry)?,
                Record::Outcome(id, outcome) => staged.outcome(*id, outcome)?,
            }
        }
        let Staged { transaction, key, next, opened, closed, last_change, digests, .. } = staged;
        for (sink, cursor) in cursors {
            set_mark(&transaction, &mark_of(sink), *cursor)?;
        }
        if digests.is_empty() {
            return Ok(transaction.commit()?);
        }
        let span = (self.next, next.saturating_sub(1));
        let seal = Seal::close(&self.ring, key, &self.head, span, now.as_microsecond(), digests.into_iter())
            .ok_or(AuditError::Key)?;
        insert_seal(&transaction, &seal)?;
        let quiet = self.open.values().copied().min().unwrap_or(self.next).saturating_sub(1);
        let advance = quiet.saturating_sub(self.recovered_to) >= RECOVERY_STRIDE;
        if advance {
            set_mark(&transaction, "recovered_to", quiet)?;
        }
        transaction.commit()?;
        if advance {
            self.recovered_to = quiet;
        }
        self.next = next;
        self.head = seal.head;
        self.last_change = last_change;
        self.open.extend(opened);
        for id in closed {
            self.open.remove(&id);
        }
        Ok(())
    }
}

impl Staged<'_, '_> {
    /// A change of state that has its row already is left out.
    fn decision(&mut self, entry: &Entry) -> Result<(), AuditError> {
        if let Some(change) = entry.change {
            if change <= self.last_change {
                return Ok(());
            }
            self.last_change = change;
        }
        if entry.kind == Kind::Relay && entry.decision == Decision::Allowed {
            self.opened.insert(entry.id, self.next);
        }
        let values = columns::of_decision(entry, &self.ledger.node);
        self.insert(Table::Decision, columns::INSERT_DECISION, &values)
    }

    /// An outcome whose decision was refused by the disk (and so never relayed) has nothing to close and is left out.
    fn outcome(&mut self, id: RequestId, outcome: &Outcome) -> Result<(), AuditError> {
        let seq = self.opened.get(&id).or_else(|| self.ledger.open.get(&id)).copied();
        let Some(decision) = seq.filter(|_| !self.closed.contains(&id)) else { return Ok(()) };
        self.closed.insert(id);
        self.insert(Table::Outcome, columns::INSERT_OUTCOME, &columns::of_outcome(decision, outcome))
    }

    fn insert(&mut self, table: Table, statement: &str, values: &[Value]) -> Result<(), AuditError> {
        self.body.clear();
        for value in values {
            chain::encode(&mut self.body, value.into());
        }
        let digest = chain::digest(table, self.next, &self.body);
        let mark = chain::mark(&self.ledger.ring, self.key, &digest).ok_or(AuditError::Key)?;
        let mut insert = self.transaction.prepare_cached(statement)?;
        insert.raw_bind_parameter(1, self.next)?;
        for (value, place) in values.iter().zip(2..) {
            insert.raw_bind_parameter(place, value)?;
        }
        insert.raw_bind_parameter(values.len() + 2, mark)?;
        insert.raw_execute()?;
        self.digests.push(digest);
        self.next = self.next.saturating_add(1);
        Ok(())
    }
}

/// The newest place that is taken; 0 where there is none.
pub(super) fn end_of(connection: &Connection) -> Result<i64, AuditError> {
    Ok(connection.query_row(
        "SELECT MAX(COALESCE((SELECT MAX(seq) FROM decision), 0), COALESCE((SELECT MAX(seq) FROM outcome), 0),
                    COALESCE((SELECT MAX(last) FROM seal), 0))",
        [],
        |row| row.get(0),
    )?)
}

/// The number of the last change of state that has its audit row; 0 where there is none.
pub(super) fn last_change(connection: &Connection) -> Result<i64, AuditError> {
    let newest: Option<i64> =
        connection.query_row("SELECT MAX(change) FROM decision WHERE change IS NOT NULL", [], |row| row.get(0))?;
    Ok(newest.unwrap_or(0).max(mark(connection, "last_change")?))
}

pub(super) fn mark(connection: &Connection, name: &str) -> Result<i64, AuditError> {
    Ok(find_mark(connection, name)?.unwrap_or(0))
}

pub(super) fn find_mark(connection: &Connection, name: &str) -> Result<Option<i64>, AuditError> {
    Ok(connection.query_row("SELECT value FROM mark WHERE name = ?1", [name], |row| row.get(0)).optional()?)
}

pub(super) fn set_mark(connection: &Connection, name: &str, value: i64) -> Result<(), AuditError> {
    connection.execute(
        "INSERT INTO mark (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![name, value],
    )?;
    Ok(())
}

fn open_rows(connection: &Connection, recovered_to: i64) -> Result<HashMap<RequestId, i64>, AuditError> {
    let mut statement = connection.prepare(
        "SELECT decision.id, decision.seq FROM decision LEFT JOIN outcome ON outcome.decision_seq = decision.seq
          WHERE decision.seq > ?1 AND kind = 'relay' AND decision.decision = 'allowed' AND outcome.seq IS NULL",
    )?;
    let rows = statement.query_map([recovered_to], |row| Ok((RequestId::from_bytes(row.get(0)?), row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn insert_seal(connection: &Connection, seal: &Seal) -> Result<(), AuditError> {
    connection
        .prepare_cached("INSERT INTO seal (last, first, at, key, head, seal) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![seal.last, seal.first, seal.at, seal.key.as_bytes(), seal.head, seal.code])?;
    Ok(())
}
