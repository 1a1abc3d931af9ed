//! Questions about rows, answered from the index and, for what is not indexed yet, from the trail itself.

use std::fmt::Write as _;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};

use super::database::Progress;
use super::{Field, SEGMENT, ZONE, is_worth_a_key, key};
use crate::audit::condition::Condition;
use crate::audit::database::AuditError;
use crate::audit::ledger::end_of;
use crate::audit::row::{Filter, Passed, Row};
use crate::domain::{Cause, RequestId};

/// Records gone through at once, going forward.
const FORWARD: i64 = 2000;

/// The newest rows that fit, newest first.
pub(in crate::audit) fn search(
    trail: &Connection,
    index: Option<&Connection>,
    filter: &Filter,
) -> Result<Vec<Row>, AuditError> {
    // The index is looked at first: it never knows more than the trail that is looked at later.
    let index = index.map(Connection::unchecked_transaction).transpose()?;
    let progress = index.as_deref().map(Progress::read).transpose()?.unwrap_or_default();
    let trail = trail.unchecked_transaction()?;
    let mut search = Search { trail: &trail, condition: Condition::of(filter), wanted: filter.last, found: Vec::new() };
    let end = end_of(&trail)?.min(filter.before.map_or(i64::MAX, |before| before.saturating_sub(1)));
    search.scan(progress.indexed_to.saturating_add(1), end)?;
    if let Some(index) = index.as_deref() {
        search.indexed(index, filter, end.min(progress.indexed_to), progress.indexed_to)?;
    }
    Ok(search.found)
}

/// The last record that the index knows.
pub(in crate::audit) fn indexed_to(index: &Connection) -> Result<i64, AuditError> {
    Ok(Progress::read(index)?.indexed_to)
}

/// The row with this id.
pub(in crate::audit) fn find(
    trail: &Connection,
    index: Option<&Connection>,
    id: RequestId,
) -> Result<Option<Row>, AuditError> {
    let filter = Filter { last: 1, id: Some(id), ..Filter::default() };
    Ok(search(trail, index, &filter)?.into_iter().next())
}

/// The next part of the trail after `after`: some records, none behind `through`. `None` tells where the trail ends.
///
/// Where `ended` is set, a row counts where it ends: a relay with its outcome.
pub(in crate::audit) fn forward(
    trail: &Connection,
    filter: &Filter,
    after: Option<i64>,
    through: Option<i64>,
    ended: bool,
) -> Result<Passed, AuditError> {
    let trail = trail.unchecked_transaction()?;
    let end = through.unwrap_or(i64::MAX).min(end_of(&trail)?);
    let Some(after) = after else { return Ok(Passed { rows: Vec::new(), checked_to: end, end }) };
    let to = after.saturating_add(FORWARD).min(end).max(after);
    let mut condition = Condition::of(filter);
    let (from, last) = (condition.bind(Value::Integer(after)), condition.bind(Value::Integer(to)));
    let within = format!("> {from} AND {{}} <= {last}");
    let range = |column: &str| format!("{column} {}", within.replace("{}", column));
    let rows = if ended {
        let over = format!("{} AND NOT (kind = 'relay' AND decision = 'allowed')", range("decision.seq"));
        let mut rows = condition.rows(&trail, &over, "ORDER BY decision.seq")?;
        rows.extend(condition.rows(&trail, &range("outcome.seq"), "ORDER BY outcome.seq")?);
        rows.sort_by_key(|row| row.outcome.as_ref().map_or(row.seq, |outcome| outcome.seq));
        rows
    } else {
        condition.rows(&trail, &range("decision.seq"), "ORDER BY decision.seq")?
    };
    Ok(Passed { rows, checked_to: to, end })
}

struct Search<'a> {
    trail: &'a Connection,
    condition: Condition,
    wanted: usize,
    found: Vec<Row>,
}

impl Search<'_> {
    fn is_full(&self) -> bool {
        self.found.len() >= self.wanted
    }

    /// Reads all rows between two places, newest first, in bounded parts.
    fn scan(&mut self, from: i64, to: i64) -> Result<(), AuditError> {
        let mut to = to;
        while to >= from && !self.is_full() {
            let part = from.max(to.saturating_sub((1 << ZONE) - 1));
            self.take(part, to)?;
            to = part.saturating_sub(1);
        }
        Ok(())
    }

    fn take(&mut self, from: i64, to: i64) -> Result<(), AuditError> {
        let mut condition = self.condition.clone();
        let (from, to) = (condition.bind(Value::Integer(from)), condition.bind(Value::Integer(to)));
        let limit = condition.bind(Value::Integer(i64::try_from(self.wanted - self.found.len()).unwrap_or(i64::MAX)));
        let range = format!("decision.seq BETWEEN {from} AND {to}");
        self.found.extend(condition.rows(self.trail, &range, &format!("ORDER BY decision.seq DESC LIMIT {limit}"))?);
        Ok(())
    }

    fn indexed(&mut self, index: &Connection, filter: &Filter, to: i64, indexed_to: i64) -> Result<(), AuditError> {
        let keys = keys(filter);
        let (low, high) = bounds(index, filter)?;
        let to = to.min(high);
        if keys.is_empty() {
            return self.zones(index, filter, (low, to), indexed_to);
        }
        // Rows whose outcome came after what is indexed: the index does not know the whole of them yet.
        let mut late = self.late(indexed_to)?;
        late.retain(|seq| *seq <= to);
        let mut segment = to >> SEGMENT;
        while segment >= low >> SEGMENT && segment >= 0 && !self.is_full() {
            self.segment(index, &keys, segment, (low, to), &mut late)?;
            segment -= 1;
        }
        Ok(())
    }

    fn segment(
        &mut self,
        index: &Connection,
        keys: &[i64],
        segment: i64,
        (low, high): (i64, i64),
        late: &mut Vec<i64>,
    ) -> Result<(), AuditError> {
        let mut text = "SELECT place FROM lookup AS a WHERE segment = ?1 AND key = ?2".to_owned();
        for place in 3..keys.len() + 2 {
            let _ = write!(
                text,
                " AND EXISTS (SELECT 1 FROM lookup AS b WHERE b.segment = ?1 AND b.key = ?{place} AND b.place = a.place)"
            );
        }
        text.push_str(" ORDER BY place DESC");
        let mut statement = index.prepare_cached(&text)?;
        let values: Vec<i64> = std::iter::once(segment).chain(keys.iter().copied()).collect();
        let mut places = statement.query(params_from_iter(values))?;
        while !self.is_full() {
            let next: Option<i64> = places.next()?.map(|row| row.get(0)).transpose()?;
            let seq = next.map(|place| (segment << SEGMENT) + place);
            // Late rows stand between them in their order.
            while let Some(behind) = late
                .pop_if(|late| *late >> SEGMENT == segment && seq.is_none_or(|seq| *late > seq))
                .filter(|_| !self.is_full())
            {
                self.take(behind, behind)?;
            }
            let Some(seq) = seq else { break };
            late.pop_if(|late| *late == seq);
            if (low..=high).contains(&seq) && !self.is_full() {
                self.take(seq, seq)?;
            }
        }
        Ok(())
    }

    fn late(&self, indexed_to: i64) -> Result<Vec<i64>, AuditError> {
        let mut statement = self.trail.prepare_cached(
            // The plus keeps SQLite from going through all decisions by their index.
            "SELECT decision_seq FROM outcome WHERE seq > ?1 AND +decision_seq <= ?1",
        )?;
        let rows = statement.query_map([indexed_to], |row| row.get(0))?;
        let mut late: Vec<i64> = rows.collect::<Result<_, _>>()?;
        late.sort_unstable();
        Ok(late)
    }

    /// Without a key: zone by zone, those that cannot hold a row that fits left out.
    fn zones(
        &mut self,
        index: &Connection,
        filter: &Filter,
        (low, to): (i64, i64),
        indexed_to: i64,
    ) -> Result<(), AuditError> {
        // A row whose outcome is not indexed yet may have taken longer than its zone knows.
        let late = if filter.min_duration.is_some() { self.late(indexed_to)? } else { Vec::new() };
        let mut statement = index.prepare_cached(
            "SELECT zone, max_duration FROM zone WHERE zone BETWEEN ?1 AND ?2 AND max_at >= ?3 AND min_at < ?4
              ORDER BY zone DESC",
        )?;
        let since = filter.since.map_or(i64::MIN, Timestamp::as_microsecond);
        let until = filter.until.map_or(i64::MAX, Timestamp::as_microsecond);
        let mut zones = statement.query([low >> ZONE, to >> ZONE, since, until])?;
        while let Some(row) = zones.next()? {
            let (zone, longest): (i64, i64) = (row.get(0)?, row.get(1)?);
            let (first, last) = (zone << ZONE, ((zone + 1) << ZONE) - 1);
            let slow = filter.min_duration.is_none_or(|wanted| longest >= wanted)
                || late.iter().any(|seq| (first..=last).contains(seq));
            if slow {
                self.scan(first.max(low), last.min(to))?;
            }
            if self.is_full() {
                break;
            }
        }
        Ok(())
    }
}

/// The keys of what the filter asks for, the rarest kinds first.
fn keys(filter: &Filter) -> Vec<i64> {
    let mut keys = Vec::new();
    let mut ask = |field: Field, value: Option<&[u8]>| {
        if let Some(value) = value.filter(|value| is_worth_a_key(field, value)) {
            keys.push(key(field, value));
        }
    };
    let status = filter.upstream_status.map(|status| status.to_string());
    let acting = filter.actor.as_deref().and_then(|actor| actor.strip_prefix("credential:")?.parse().ok());
    let credential: Option<crate::domain::CredentialId> = filter.credential.or(acting);
    ask(Field::Id, filter.id.as_ref().map(|id| &id.as_bytes()[..]));
    ask(Field::Correlation, filter.correlation.as_deref().map(str::as_bytes));
    ask(Field::Token, filter.token.as_ref().map(|id| &id.as_bytes()[..]));
    ask(Field::UpstreamStatus, status.as_deref().map(str::as_bytes));
    ask(Field::Code, filter.code.as_deref().map(str::as_bytes));
    ask(Field::Cause, filter.cause.map(Cause::as_str).map(str::as_bytes));
    ask(Field::Credential, credential.as_ref().map(|id| &id.as_bytes()[..]));
    ask(Field::Actor, filter.actor.as_deref().map(str::as_bytes));
    ask(Field::Client, filter.client.as_deref().map(str::as_bytes));
    ask(Field::Account, filter.account.as_ref().map(|id| &id.as_bytes()[..]));
    ask(Field::Endpoint, filter.endpoint.as_deref().map(str::as_bytes));
    ask(Field::Policy, filter.policy.as_deref().map(str::as_bytes));
    ask(Field::Kind, filter.kind.as_deref().map(str::as_bytes));
    ask(Field::Decision, filter.decision.as_deref().map(str::as_bytes));
    keys
}

/// The first record that may be of the asked time, as far as the index knows.
pub(in crate::audit) fn first_of(index: Option<&Connection>, filter: &Filter) -> Result<i64, AuditError> {
    let Some(index) = index else { return Ok(1) };
    let snapshot = index.unchecked_transaction()?;
    let indexed_to = Progress::read(&snapshot)?.indexed_to;
    let (low, _) = bounds(&snapshot, filter)?;
    Ok(low.min(indexed_to.saturating_add(1)).max(1))
}

/// Narrows a condition to the records between which rows of the asked time lie, as far as the index knows.
pub(in crate::audit) fn narrow(
    condition: &mut Condition,
    index: Option<&Connection>,
    filter: &Filter,
) -> Result<(), AuditError> {
    let Some(index) = index else { return Ok(()) };
    let snapshot = index.unchecked_transaction()?;
    let indexed_to = Progress::read(&snapshot)?.indexed_to;
    let (low, high) = bounds(&snapshot, filter)?;
    let known = condition.bind(Value::Integer(indexed_to));
    let (low, high) = (condition.bind(Value::Integer(low.min(indexed_to))), condition.bind(Value::Integer(high)));
    condition.and(format!("decision.seq >= {low} AND (decision.seq <= {high} OR decision.seq > {known})"));
    Ok(())
}

/// The records between which rows of the asked time lie.
fn bounds(index: &Connection, filter: &Filter) -> Result<(i64, i64), AuditError> {
    let mut low = 0;
    let mut high = i64::MAX;
    if let Some(since) = filter.since {
        let first: Option<i64> = index
            .query_row("SELECT MIN(zone) FROM zone WHERE max_at >= ?1", [since.as_microsecond()], |row| row.get(0))
            .optional()?
            .flatten();
        low = first.map_or(i64::MAX, |zone| zone << ZONE);
    }
    if let Some(until) = filter.until {
        let last: Option<i64> = index
            .query_row("SELECT MAX(zone) FROM zone WHERE min_at < ?1", [until.as_microsecond()], |row| row.get(0))
            .optional()?
            .flatten();
        high = last.map_or(-1, |zone| ((zone + 1) << ZONE) - 1);
    }
    Ok((low, high))
}
