//! At a start: rows left open by a process that did not end well are closed as `interrupted`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::Connection;

use super::database::AuditError;
use super::entry::{End, Outcome};
use super::ledger::{Ledger, Record};

/// Rows closed in one transaction.
const AT_ONCE: usize = 512;

/// Closes the rows that a crashed process left open and returns how many there were.
pub(super) fn close_open_rows(
    ledger: &mut Ledger,
    connection: &mut Connection,
    now: Timestamp,
) -> Result<usize, AuditError> {
    let records: Vec<_> = ledger.open_rows().map(|id| Record::Outcome(id, Box::new(interrupted(now)))).collect();
    for some in records.chunks(AT_ONCE) {
        ledger.append(connection, some.iter(), &BTreeMap::new(), now)?;
    }
    Ok(records.len())
}

fn interrupted(now: Timestamp) -> Outcome {
    let detail = "the gateway ended before the relay did; whether the ERP acted is not known".to_owned();
    Outcome { detail: Some(detail), ..Outcome::of(End::Interrupted, now) }
}
