//! Records as they stand in the trail, in its order: what sinks get.

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Rows, Statement};
use serde_json::{Map, Value};

use crate::domain::{AccountId, CredentialId, RequestId, TokenId};

use super::columns;
use super::database::AuditError;

/// One record of the trail.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredRecord {
    /// Its place.
    pub(super) seq: i64,
    /// When it was made.
    pub(super) at: Timestamp,
    /// What it says; the member `record` says which kind of record it is.
    pub(super) json: Value,
    /// The same as JSON on one line.
    pub(super) line: String,
}

/// What the texts of the records read at once may take together, in bytes; one record is always read.
const AT_ONCE: usize = 4 << 20;

/// The records after this place in their order: at most `limit`, and no more than fit into [`AT_ONCE`].
pub(super) fn after(connection: &Connection, seq: i64, limit: usize) -> Result<Vec<StoredRecord>, AuditError> {
    let snapshot = connection.unchecked_transaction()?;
    let mut decisions = snapshot
        .prepare_cached(&format!("SELECT seq, {} FROM decision WHERE seq > ?1 ORDER BY seq", columns::DECISION))?;
    // An outcome carries the id of its row, so that a receiver can join them.
    let mut outcomes = snapshot.prepare_cached(&format!(
        "SELECT outcome.seq, {}, (SELECT id FROM decision WHERE decision.seq = decision_seq) AS id
           FROM outcome WHERE seq > ?1 ORDER BY seq",
        columns::OUTCOME
    ))?;
    let mut sources = [Source::open(&mut decisions, "decision", seq)?, Source::open(&mut outcomes, "outcome", seq)?];
    let (mut records, mut bytes) = (Vec::new(), 0_usize);
    while records.len() < limit && bytes < AT_ONCE {
        // Both are in order, so the next record is the first of one of them.
        let next = sources.iter_mut().filter(|source| source.held.is_some()).min_by_key(|source| source.next_seq());
        let Some(record) = next.map(Source::take).transpose()?.flatten() else { break };
        bytes = bytes.saturating_add(record.line.len());
        records.push(record);
    }
    Ok(records)
}

/// The records of one table, the first of them at hand.
struct Source<'s> {
    kind: &'static str,
    names: Vec<String>,
    rows: Rows<'s>,
    held: Option<StoredRecord>,
}

impl<'s> Source<'s> {
    fn open(statement: &'s mut Statement<'_>, kind: &'static str, after: i64) -> Result<Self, AuditError> {
        let names = statement.column_names().into_iter().map(str::to_owned).collect();
        let mut source = Self { kind, names, rows: statement.query([after])?, held: None };
        source.take()?;
        Ok(source)
    }

    fn next_seq(&self) -> i64 {
        self.held.as_ref().map_or(i64::MAX, |record| record.seq)
    }

    /// Gives the record at hand and reads the next one.
    fn take(&mut self) -> Result<Option<StoredRecord>, AuditError> {
        let next = match self.rows.next()? {
            Some(row) => Some(record(self.kind, &self.names, row)?),
            None => None,
        };
        Ok(std::mem::replace(&mut self.held, next))
    }
}

fn record(kind: &str, names: &[String], row: &Row<'_>) -> Result<StoredRecord, AuditError> {
    let mut members = Map::new();
    members.insert("record".into(), kind.into());
    for (column, name) in names.iter().enumerate() {
        let value = value(name, row.get_ref(column)?);
        if !value.is_null() {
            members.insert(name.clone(), value);
        }
    }
    let at = row.get::<_, i64>("at")?;
    let json = Value::Object(members);
    Ok(StoredRecord {
        seq: row.get("seq")?,
        at: Timestamp::from_microsecond(at).unwrap_or(Timestamp::UNIX_EPOCH),
        line: json.to_string(),
        json,
    })
}

fn value(name: &str, value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(micros) if name == "at" => {
            Timestamp::from_microsecond(micros).map_or(Value::Null, |at| at.to_string().into())
        }
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            let nested = if matches!(name, "verdicts" | "detail") { serde_json::from_str(&text).ok() } else { None };
            nested.unwrap_or_else(|| text.into())
        }
        ValueRef::Blob(bytes) => id(name, bytes).unwrap_or_else(|| hex::encode(bytes)).into(),
    }
}

fn id(name: &str, bytes: &[u8]) -> Option<String> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    match name {
        "id" => Some(RequestId::from_bytes(bytes).to_string()),
        "account" => Some(AccountId::from_bytes(bytes).to_string()),
        "credential" => Some(CredentialId::from_bytes(bytes).to_string()),
        "token" => Some(TokenId::from_bytes(bytes).to_string()),
        _ => None,
    }
}
