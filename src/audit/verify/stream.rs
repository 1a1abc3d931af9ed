//! The records and seals as they stand in the tables, in the order of the sequence.

use rusqlite::{Connection, Row, Rows};

use crate::audit::chain::{self, Digest, Mark, Seal, Table};
use crate::audit::database::AuditError;
use crate::audit::retention::PRUNE;
use crate::secrets::KeyId;

/// One record on its way past.
pub(super) struct Passing {
    pub(super) seq: i64,
    pub(super) table: Table,
    pub(super) digest: Digest,
    pub(super) mark: Option<Mark>,
    /// What a record of pruning says: up to where, and the head there.
    pub(super) pruned: Option<(i64, String)>,
}

/// Both tables as one stream in the order of the sequence.
pub(super) struct Merged<'a> {
    pub(super) decisions: Source<'a>,
    pub(super) outcomes: Source<'a>,
}

impl Merged<'_> {
    pub(super) fn next(&mut self) -> Result<Option<Passing>, AuditError> {
        let decision_first = match (&self.decisions.ahead, &self.outcomes.ahead) {
            (Some(decision), Some(outcome)) => decision.seq <= outcome.seq,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if decision_first { self.decisions.take() } else { self.outcomes.take() }
    }
}

/// One table, with one record read ahead.
pub(super) struct Source<'a> {
    rows: Rows<'a>,
    table: Table,
    body: Vec<u8>,
    ahead: Option<Passing>,
}

/// Where `method` and `detail` of a decision stand after `seq`.
const METHOD: usize = 10;
const DETAIL: usize = 22;

impl<'a> Source<'a> {
    pub(super) fn new(rows: Rows<'a>, table: Table) -> Result<Self, AuditError> {
        let mut source = Self { rows, table, body: Vec::new(), ahead: None };
        source.take()?;
        Ok(source)
    }

    fn take(&mut self) -> Result<Option<Passing>, AuditError> {
        let next = match self.rows.next()? {
            Some(row) => Some(passing(row, self.table, &mut self.body)?),
            None => None,
        };
        Ok(std::mem::replace(&mut self.ahead, next))
    }
}

fn passing(row: &Row<'_>, table: Table, body: &mut Vec<u8>) -> Result<Passing, AuditError> {
    body.clear();
    encode(row, body)?;
    let seq = row.get(0)?;
    let tells_of_pruning =
        table == Table::Decision && row.get_ref(METHOD)?.as_str().is_ok_and(|method| method == PRUNE);
    let mark = row.get_ref(row.as_ref().column_count().saturating_sub(1))?;
    let mark = mark.as_blob().ok().and_then(|mark| mark.try_into().ok());
    let pruned = if tells_of_pruning { read_pruned(row) } else { None };
    Ok(Passing { seq, table, digest: chain::digest(table, seq, body), mark, pruned })
}

/// The canonical bytes of a record: all columns between `seq` and `mac`.
pub(super) fn encode(row: &Row<'_>, body: &mut Vec<u8>) -> Result<(), AuditError> {
    for column in 1..row.as_ref().column_count().saturating_sub(1) {
        chain::encode(body, row.get_ref(column)?);
    }
    Ok(())
}

fn read_pruned(row: &Row<'_>) -> Option<(i64, String)> {
    let detail: serde_json::Value = serde_json::from_str(row.get_ref(DETAIL).ok()?.as_str().ok()?).ok()?;
    Some((detail.get("through")?.as_i64()?, detail.get("head")?.as_str()?.to_owned()))
}

/// Seals read with this end of a statement. A seal that is not one is a seal of nothing, which never fits.
pub(in crate::audit) fn seals(connection: &Connection, clause: &str, values: &[i64]) -> Result<Vec<Seal>, AuditError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT last, first, at, key, head, seal FROM seal {clause}"))?;
    let rows = statement.query_map(rusqlite::params_from_iter(values), |row| {
        let bytes = |column: usize| -> rusqlite::Result<Vec<u8>> { row.get(column) };
        Ok(Seal {
            last: row.get(0)?,
            first: row.get(1)?,
            at: row.get(2)?,
            key: KeyId::from_bytes(bytes(3)?.try_into().unwrap_or_default()),
            head: bytes(4)?.try_into().unwrap_or_default(),
            code: bytes(5)?.try_into().unwrap_or_default(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
