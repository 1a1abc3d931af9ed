//! Audit rows counted in groups.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{AuditQuery, Control, ControlError, Result};
use crate::audit::{Filter, Group, GroupKey, StatsBy};
use crate::directory::Snapshot;

/// What is counted where no time is given.
const DEFAULT: SignedDuration = SignedDuration::from_hours(24);
/// Hours and minutes without a row are shown too, up to so many: six weeks of hours.
const MOST: i64 = 1008;

impl Control {
    pub(super) fn count_audit(&self, query: &AuditQuery, by: StatsBy) -> Result<Value> {
        let mut filter = self.filter(query)?;
        if filter.since.is_none() && filter.until.is_none() {
            filter.since = self.clock.now().checked_sub(DEFAULT).ok();
        }
        let groups = self.auditor.stats(&filter, by).map_err(ControlError::failed)?;
        let groups = match by {
            StatsBy::Hour => every(SignedDuration::from_hours(1), groups, &filter, self.clock.now()),
            StatsBy::Minute => every(SignedDuration::from_mins(1), groups, &filter, self.clock.now()),
            StatsBy::Endpoint | StatsBy::Account | StatsBy::Code => groups,
        };
        let snapshot = self.directory.snapshot();
        Ok(groups.iter().map(|group| shown(group, by, &snapshot)).collect())
    }
}

fn shown(group: &Group, by: StatsBy, snapshot: &Snapshot) -> Value {
    let name = match &group.key {
        GroupKey::Start(start) => Some(start.to_string()),
        GroupKey::Text(text) => text.clone().or_else(|| (by == StatsBy::Code).then(|| "ok".to_owned())),
        GroupKey::Account(id) => id.map(|id| {
            // An account keeps its rows; a name that is gone leaves the id.
            snapshot.account(id).map_or_else(|| id.to_string(), |account| account.name.to_string())
        }),
    };
    json!({
        "group": name, "total": group.total, "allowed": group.allowed, "denied": group.denied,
        "errors": group.errors, "p50_ms": group.p50.map(millis), "p95_ms": group.p95.map(millis),
    })
}

/// Milliseconds with one decimal.
fn millis(micros: i64) -> Value {
    let tenths = micros.max(0).saturating_add(50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10).parse().map_or(Value::Null, Value::Number)
}

/// Each hour or minute from the first to the last that was asked for, so that a pause is seen.
fn every(length: SignedDuration, groups: Vec<Group>, filter: &Filter, now: Timestamp) -> Vec<Group> {
    let seconds = length.as_secs();
    let start = |at: Timestamp| Timestamp::from_second(at.as_second().div_euclid(seconds) * seconds).ok();
    let counted: HashMap<Timestamp, Group> = groups
        .iter()
        .filter_map(|group| match group.key {
            GroupKey::Start(start) => Some((start, group.clone())),
            GroupKey::Text(_) | GroupKey::Account(_) => None,
        })
        .collect();
    let first = filter.since.and_then(start).or_else(|| counted.keys().min().copied());
    let last = filter.until.and_then(|until| start(until.checked_sub(SignedDuration::from_nanos(1)).ok()?));
    let last = last.into_iter().chain(start(now)).min();
    let (Some(first), Some(last)) = (first, last) else { return groups };
    if last.duration_since(first).as_secs() / seconds >= MOST || counted.keys().any(|start| *start > last) {
        return groups;
    }
    let mut all = Vec::new();
    let mut at = first;
    while at <= last {
        let empty =
            || Group { key: GroupKey::Start(at), total: 0, allowed: 0, denied: 0, errors: 0, p50: None, p95: None };
        all.push(counted.get(&at).cloned().unwrap_or_else(empty));
        let Ok(next) = at.checked_add(length) else { return groups };
        at = next;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn group(hour: &str) -> Group {
        let key = GroupKey::Start(at(hour));
        Group { key, total: 3, allowed: 2, denied: 1, errors: 0, p50: Some(1), p95: Some(2) }
    }

    fn totals(groups: &[Group]) -> Vec<i64> {
        groups.iter().map(|group| group.total).collect()
    }

    #[test]
    fn hours_without_rows_are_filled_in_from_the_first_to_the_last_that_was_asked_for() {
        let groups = vec![group("2026-11-23T08:00:00Z"), group("2026-11-23T10:00:00Z")];
        let since = Filter { since: Some(at("2026-11-23T06:30:00Z")), ..Filter::default() };
        let now = at("2026-11-23T11:59:59Z");
        let every_hour = |groups, filter| every(SignedDuration::from_hours(1), groups, filter, now);
        assert_eq!(totals(&every_hour(groups.clone(), &since)), [0, 0, 3, 0, 3, 0]);
        let until = Filter { until: Some(at("2026-11-23T11:00:00Z")), ..Filter::default() };
        assert_eq!(totals(&every_hour(groups.clone(), &until)), [3, 0, 3]);
        let long_ago = Filter { since: Some(at("2001-01-01T00:00:00Z")), ..Filter::default() };
        assert_eq!(totals(&every_hour(groups, &long_ago)), [3, 3], "not for decades");
    }

    #[test]
    fn durations_are_shown_in_milliseconds() {
        assert_eq!(millis(12_345).to_string(), "12.3");
        assert_eq!(millis(12_350).to_string(), "12.4");
        assert_eq!(millis(0).to_string(), "0.0");
    }
}
