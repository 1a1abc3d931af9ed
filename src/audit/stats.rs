//! Rows counted in groups.

use jiff::Timestamp;
use rusqlite::types::FromSql;
use rusqlite::{Connection, params_from_iter};
use serde::{Deserialize, Serialize};

use crate::domain::AccountId;

use super::condition::Condition;
use super::database::AuditError;
use super::index;
use super::row::{FROM, Filter};

/// Groups at most.
const MOST_GROUPS: usize = 10_000;
/// Lengths in microseconds.
const HOUR: i64 = 3_600_000_000;
const MINUTE: i64 = 60_000_000;

/// By what rows are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatsBy {
    /// By the hour in which they were decided, in UTC.
    Hour,
    /// By the minute in which they were decided.
    Minute,
    /// By endpoint.
    Endpoint,
    /// By account.
    Account,
    /// By the code that explains the answer.
    Code,
}

/// What the rows of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupKey {
    /// The start of their hour or minute.
    Start(Timestamp),
    /// Their endpoint or code; `None` where they have none.
    Text(Option<String>),
    /// Their account; `None` where it is not known.
    Account(Option<AccountId>),
}

/// How many requests the rows of a group stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What they have in common.
    pub key: GroupKey,
    /// All of them.
    pub total: i64,
    /// Those let through, or done.
    pub allowed: i64,
    /// Those not let through.
    pub denied: i64,
    /// Those let through that the ERP did not serve: no answer, a failure inside of one, or a status of 500 and more.
    pub errors: i64,
    /// Half of the exchanges took no longer, in microseconds; `None` where none is over.
    pub p50: Option<i64>,
    /// 95 of a hundred exchanges took no longer, in microseconds.
    pub p95: Option<i64>,
}

impl StatsBy {
    const fn expression(self) -> &'static str {
        match self {
            Self::Hour => "decision.at / 3600000000",
            Self::Minute => "decision.at / 60000000",
            Self::Endpoint => "endpoint",
            Self::Account => "account",
            Self::Code => "COALESCE(decision.code, outcome.code)",
        }
    }

    /// Hours as they follow, other groups by how many there are.
    const fn order(self) -> &'static str {
        match self {
            Self::Hour | Self::Minute => "key",
            Self::Endpoint | Self::Account | Self::Code => "total DESC, key",
        }
    }

    fn key(self, row: &rusqlite::Row<'_>) -> rusqlite::Result<GroupKey> {
        Ok(match self {
            Self::Hour => started(get(row, 0)?, HOUR),
            Self::Minute => started(get(row, 0)?, MINUTE),
            Self::Endpoint | Self::Code => GroupKey::Text(get(row, 0)?),
            Self::Account => GroupKey::Account(get::<Option<[u8; 16]>>(row, 0)?.map(AccountId::from_bytes)),
        })
    }
}

fn started(number: i64, length: i64) -> GroupKey {
    GroupKey::Start(Timestamp::from_microsecond(number.saturating_mul(length)).unwrap_or(Timestamp::UNIX_EPOCH))
}

fn get<T: FromSql>(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<T> {
    row.get(index)
}

/// Counts the rows that fit the filter; how many rows it asks for does not matter.
pub(super) fn count(
    connection: &Connection,
    index: Option<&Connection>,
    filter: &Filter,
    by: StatsBy,
) -> Result<Vec<Group>, AuditError> {
    let mut condition = Condition::of(filter);
    index::narrow(&mut condition, index, filter)?;
    let (wanted, values) = condition.parts();
    let (key, order) = (by.expression(), by.order());
    // A row may stand for several requests. Only relays have a duration, and each of them stands for itself. The
    // percentiles are exact: the nearest rank.
    let text = format!(
        "WITH one AS (
            SELECT {key} AS key, repeats AS weight, decision = 'allowed' AS passed,
                   decision = 'allowed' AND (outcome.code IS NOT NULL OR ended IN ('failed', 'interrupted')
                       OR upstream_status >= 500) AS failed, duration
              {FROM} WHERE {wanted}
         ), ranked AS (
            SELECT *, COUNT(duration) OVER (PARTITION BY key) AS timed,
                   CASE WHEN duration IS NOT NULL
                        THEN ROW_NUMBER() OVER (PARTITION BY key, duration IS NULL ORDER BY duration) END AS place
              FROM one
         )
         SELECT key, SUM(weight) AS total, SUM(weight * passed), SUM(weight * (1 - passed)),
                SUM(weight * COALESCE(failed, 0)),
                MAX(CASE WHEN place = (timed * 50 + 99) / 100 THEN duration END),
                MAX(CASE WHEN place = (timed * 95 + 99) / 100 THEN duration END)
           FROM ranked GROUP BY key ORDER BY {order} LIMIT {MOST_GROUPS}"
    );
    let mut statement = connection.prepare_cached(&text)?;
    let rows = statement.query_map(params_from_iter(values), |row| {
        Ok(Group {
            key: by.key(row)?,
            total: row.get(1)?,
            allowed: row.get(2)?,
            denied: row.get(3)?,
            errors: row.get(4)?,
            p50: row.get(5)?,
            p95: row.get(6)?,
        })
    })?;
    rows.map(|row| row.map_err(AuditError::from)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::audit::{AuditSettings, Synchronous, database};

    /// One row: hour, endpoint, account, decision, code, repeats; duration, code and upstream status of its outcome.
    type Given = (i64, Option<&'static str>, Option<u8>, &'static str, Option<&'static str>, i64, Option<Ended>);
    type Ended = (i64, Option<&'static str>, Option<i64>);

    fn counted(rows: &[Given], filter: &Filter, by: StatsBy) -> Vec<Group> {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = AuditSettings {
            directory: folder.path().to_owned(),
            synchronous: Synchronous::Normal,
            busy_timeout: Duration::from_millis(100),
        };
        database::migrate(&settings).expect("migrated");
        let connection = Connection::open(settings.file()).expect("opened");
        for (seq, (hour, endpoint, account, decision, code, repeats, outcome)) in (1_i64..).zip(rows) {
            let sql = "INSERT INTO decision (seq, id, kind, at, actor, account, method, path, endpoint, generation,
                    decision, code, verdicts, node, repeats)
                VALUES (?1, randomblob(16), 'relay', ?2, 'unknown', ?3, 'GET', '/', ?4, 1, ?5, ?6, '[]', 'n', ?7)";
            let account = account.map(|byte| [byte; 16]);
            let at = hour * HOUR + seq;
            let values = rusqlite::params![seq, at, account, endpoint, decision, code, repeats];
            connection.execute(sql, values).expect("inserted");
            let Some((duration, code, upstream_status)) = outcome else { continue };
            let sql = "INSERT INTO outcome (seq, decision_seq, at, ended, code, upstream_status, attempts, duration,
                    request_bytes, response_bytes) VALUES (?1, ?2, ?3, 'completed', ?4, ?5, 1, ?6, 0, 0)";
            let values = rusqlite::params![1000 + seq, seq, at, code, upstream_status, duration];
            connection.execute(sql, values).expect("inserted");
        }
        count(&connection, None, filter, by).expect("counted")
    }

    const ROWS: [Given; 7] = [
        (10, Some("a"), Some(1), "allowed", None, 1, Some((1_000, None, Some(200)))),
        (10, Some("a"), Some(1), "allowed", None, 1, Some((3_000, None, Some(500)))),
        (10, Some("b"), Some(2), "allowed", None, 1, Some((9_000, Some("upstream_timeout"), None))),
        (11, Some("a"), Some(1), "allowed", None, 1, None),
        (11, Some("a"), Some(1), "denied", Some("rate_limited"), 50, None),
        (12, None, None, "denied", Some("token_invalid"), 1, None),
        (12, None, None, "denied", Some("token_invalid"), 1, None),
    ];

    fn group(key: GroupKey, counts: [i64; 4], times: [Option<i64>; 2]) -> Group {
        let ([total, allowed, denied, errors], [p50, p95]) = (counts, times);
        Group { key, total, allowed, denied, errors, p50, p95 }
    }

    #[test]
    fn rows_are_counted_by_hour_with_the_requests_that_each_stands_for() {
        let hour = |hour: i64| GroupKey::Start(Timestamp::from_microsecond(hour * HOUR).expect("a time"));
        assert_eq!(
            counted(&ROWS, &Filter::default(), StatsBy::Hour),
            [
                group(hour(10), [3, 3, 0, 2], [Some(3_000), Some(9_000)]),
                group(hour(11), [51, 1, 50, 0], [None, None]),
                group(hour(12), [2, 0, 2, 0], [None, None]),
            ]
        );
    }

    #[test]
    fn rows_are_counted_by_endpoint_account_and_code_the_most_frequent_first() {
        let text = |text: &str| GroupKey::Text(Some(text.to_owned()));
        let account = |byte: u8| GroupKey::Account(Some(AccountId::from_bytes([byte; 16])));
        let keys = |by| -> Vec<(GroupKey, i64)> {
            counted(&ROWS, &Filter::default(), by).into_iter().map(|group| (group.key, group.total)).collect()
        };
        assert_eq!(keys(StatsBy::Endpoint), [(text("a"), 53), (GroupKey::Text(None), 2), (text("b"), 1)]);
        assert_eq!(keys(StatsBy::Account), [(account(1), 53), (GroupKey::Account(None), 2), (account(2), 1)]);
        let codes = keys(StatsBy::Code);
        assert_eq!(
            codes,
            [
                (text("rate_limited"), 50),
                (GroupKey::Text(None), 3),
                (text("token_invalid"), 2),
                (text("upstream_timeout"), 1)
            ]
        );
    }

    #[test]
    fn only_rows_that_fit_the_filter_are_counted_and_not_only_the_last_of_them() {
        let since = Timestamp::from_microsecond(11 * HOUR).ok();
        let filter = Filter { last: 1, since, decision: Some("denied".into()), ..Filter::default() };
        let groups = counted(&ROWS, &filter, StatsBy::Code);
        assert_eq!(groups.iter().map(|group| group.total).collect::<Vec<_>>(), [50, 2]);
        assert!(counted(&[], &Filter::default(), StatsBy::Code).is_empty());
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let rows: Vec<Given> = (1..=100)
            .map(|number| (1, Some("a"), None, "allowed", None, 1, Some((number * 10, None, Some(200)))))
            .collect();
        let groups = counted(&rows, &Filter::default(), StatsBy::Endpoint);
        let text = GroupKey::Text(Some("a".into()));
        assert_eq!(groups, [group(text, [100, 100, 0, 0], [Some(500), Some(950)])]);
    }
}
