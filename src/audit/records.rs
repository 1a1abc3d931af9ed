//! Records as they stand in the trail, in its order: what sinks get.

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde_json::{Map, Value};

use crate::domain::{AccountId, CredentialId, RequestId, TokenId};

use super::checkpoint::hex;
use super::columns;
use super::database::AuditError;

/// One record of the trail.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRecord {
    /// Its place.
    pub seq: i64,
    /// When it was made.
    pub at: Timestamp,
    /// What it says; the member `record` says which kind of record it is.
    pub json: Value,
}

/// The records after this place, at most `limit`, in their order.
pub(super) fn after(connection: &Connection, seq: i64, limit: usize) -> Result<Vec<StoredRecord>, AuditError> {
    let snapshot = connection.unchecked_transaction()?;
    // What was pruned leaves a gap.
    let next = |table: &str| -> Result<Option<i64>, AuditError> {
        let text = format!("SELECT MIN(seq) FROM {table} WHERE seq > ?1");
        Ok(snapshot.prepare_cached(&text)?.query_row([seq], |row| row.get(0))?)
    };
    let Some(first) = next("decision")?.into_iter().chain(next("outcome")?).min() else { return Ok(Vec::new()) };
    let to = first.saturating_sub(1).saturating_add(i64::try_from(limit).unwrap_or(i64::MAX));
    let decisions = format!("SELECT seq, {} FROM decision WHERE seq > ?1 AND seq <= ?2", columns::DECISION);
    // An outcome carries the id of its row, so that a receiver can join them.
    let outcomes = format!(
        "SELECT outcome.seq, {}, (SELECT id FROM decision WHERE decision.seq = decision_seq) AS id
           FROM outcome WHERE seq > ?1 AND seq <= ?2",
        columns::OUTCOME
    );
    let mut records = Vec::new();
    for (kind, text) in [("decision", decisions), ("outcome", outcomes)] {
        let mut statement = snapshot.prepare_cached(&text)?;
        let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
        let mut rows = statement.query([seq, to])?;
        while let Some(row) = rows.next()? {
            records.push(record(kind, &names, row)?);
        }
    }
    records.sort_unstable_by_key(|record| record.seq);
    Ok(records)
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
    Ok(StoredRecord {
        seq: row.get("seq")?,
        at: Timestamp::from_microsecond(at).unwrap_or(Timestamp::UNIX_EPOCH),
        json: Value::Object(members),
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
        ValueRef::Blob(bytes) => id(name, bytes).unwrap_or_else(|| hex(bytes)).into(),
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
