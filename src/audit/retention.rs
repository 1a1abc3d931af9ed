//! Old rows go in whole spans, after a sealed row has said so.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use serde::{Deserialize, Serialize};

use super::chain::Seal;
use super::database::AuditError;
use super::ledger::{last_change, mark, set_mark};
use super::verify::seals;

/// The operation in the row that says what was pruned.
pub(super) const PRUNE: &str = "audit.prune";
/// Records deleted in one transaction, roughly.
const AT_ONCE: i64 = 10_000;

/// What a pruning removes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// The last record removed.
    pub through: i64,
    /// The head of the chain there, in hex.
    pub head: String,
    /// Records removed.
    pub records: i64,
}

/// The last span of which everything, and everything before it, was sealed before `cutoff` (microseconds) and lies
/// not behind `keep_from`; `None` where there is nothing to remove.
pub(super) fn boundary(
    connection: &Connection,
    cutoff: i64,
    keep_from: Option<i64>,
) -> Result<Option<Seal>, AuditError> {
    let pruned = mark(connection, "prune_through")?;
    let young: Option<i64> = connection
        .query_row("SELECT last FROM seal WHERE at >= ?1 ORDER BY last LIMIT 1", [cutoff], |row| row.get(0))
        .optional()?;
    let before = young.unwrap_or(i64::MAX).min(keep_from.map_or(i64::MAX, |kept| kept.saturating_add(1)));
    let found = seals(connection, "WHERE last < ?1 AND last > ?2 ORDER BY last DESC LIMIT 1", &[before, pruned])?;
    Ok(found.into_iter().next().filter(|seal| !seal.is_genesis()))
}

/// Allows the deletion of records up to this place. The row that says so must be on disk.
pub(super) fn allow(connection: &mut Connection, through: i64) -> Result<(), AuditError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let newest = last_change(&transaction)?;
    set_mark(&transaction, "last_change", newest)?;
    set_mark(&transaction, "prune_through", through)?;
    transaction.commit()?;
    Ok(())
}

/// Deletes some of the spans that may go; `false` when none is left. The last seal stays, for the chain to start from.
pub(super) fn delete_some(connection: &mut Connection) -> Result<bool, AuditError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let through = mark(&transaction, "prune_through")?;
    let first: Option<i64> = transaction.query_row(
        "SELECT MIN((SELECT MIN(seq) FROM decision), COALESCE((SELECT MIN(seq) FROM outcome), 9223372036854775807))",
        [],
        |row| row.get(0),
    )?;
    let Some(first) = first.filter(|first| *first <= through) else { return Ok(false) };
    let to: i64 = transaction.query_row(
        "SELECT last FROM seal WHERE last >= MIN(?1, ?2) ORDER BY last LIMIT 1",
        [first.saturating_add(AT_ONCE), through],
        |row| row.get(0),
    )?;
    for statement in [
        "DELETE FROM decision WHERE seq <= ?1",
        "DELETE FROM outcome WHERE seq <= ?1",
        "DELETE FROM seal WHERE last < ?1",
    ] {
        transaction.execute(statement, [to.min(through)])?;
    }
    transaction.commit()?;
    Ok(true)
}

/// Records up to this place.
pub(super) fn count_through(connection: &Connection, through: i64) -> Result<i64, AuditError> {
    Ok(connection.query_row(
        "SELECT (SELECT COUNT(*) FROM decision WHERE seq <= ?1) + (SELECT COUNT(*) FROM outcome WHERE seq <= ?1)",
        [through],
        |row| row.get(0),
    )?)
}
