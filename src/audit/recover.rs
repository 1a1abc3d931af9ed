//! At a start: rows left open by a process that did not end well are closed as `interrupted`.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::entry::End;
use super::table::AuditError;

/// Closes the rows that a crashed process left open and returns how many there were.
///
/// Only rows younger than the last recovery are looked at, so a start does not read the whole history.
pub(super) fn close_open_rows(connection: &mut Connection, now: Timestamp) -> Result<usize, AuditError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let recovered: i64 = transaction
        .query_row("SELECT value FROM mark WHERE name = 'recovered_to'", [], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    let closed = transaction.execute(
        "INSERT INTO outcome (id, at, ended, detail, attempts, duration, request_bytes, response_bytes)
         SELECT decision.id, ?1, ?2, 'the gateway ended before the relay did; whether the ERP acted is not known',
                0, 0, 0, 0
           FROM decision LEFT JOIN outcome ON outcome.id = decision.id
          WHERE decision.seq > ?3 AND decision.kind = 'relay' AND decision.decision = 'allowed'
            AND outcome.id IS NULL",
        params![now.as_microsecond(), End::Interrupted.as_str(), recovered],
    )?;
    transaction.execute(
        "INSERT INTO mark (name, value) SELECT 'recovered_to', COALESCE(MAX(seq), 0) FROM decision WHERE true
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [],
    )?;
    transaction.commit()?;
    Ok(closed)
}

/// The number of the last change of state that has its audit row; 0 where there is none.
pub(super) fn last_change(connection: &Connection) -> Result<u64, AuditError> {
    let change: Option<i64> =
        connection.query_row("SELECT MAX(change) FROM decision WHERE change IS NOT NULL", [], |row| row.get(0))?;
    Ok(change.and_then(|change| u64::try_from(change).ok()).unwrap_or(0))
}
