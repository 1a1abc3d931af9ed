//! Whether rows can be written again, asked while none is waiting: otherwise a gateway that gets no requests because it
//! is not ready would never find out.

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use crate::domain::RequestId;

use super::columns;
use super::database::AuditError;
use super::entry::{Entry, Kind};
use super::ledger::{end_of, set_mark};

/// Inserts a row, takes it back, and commits something else in its place, so that the disk is asked too.
pub(super) fn probe(connection: &mut Connection, now: Timestamp) -> Result<(), AuditError> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let seq = end_of(&transaction)?.saturating_add(1);
    let savepoint = transaction.savepoint()?;
    {
        let mut insert = savepoint.prepare_cached(columns::INSERT_DECISION)?;
        let values = columns::of_decision(&Entry::new(RequestId::from_bytes([0; 16]), Kind::System, now), "");
        insert.raw_bind_parameter(1, seq)?;
        for (value, place) in values.iter().zip(2..) {
            insert.raw_bind_parameter(place, value)?;
        }
        insert.raw_bind_parameter(values.len() + 2, [0_u8; 32])?;
        insert.raw_execute()?;
    }
    // A savepoint that is dropped is rolled back.
    drop(savepoint);
    set_mark(&transaction, "probed_at", now.as_microsecond())?;
    transaction.commit()?;
    Ok(())
}
