//! Figures of the last hour and day, counted beside the pages: counting millions of rows takes longer than a page may.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Portal;
use crate::audit::StatsBy;
use crate::control::{AuditQuery, Caller, Command};
use crate::domain::AccountId;

/// How old figures may be before they are counted again.
const FRESH: SignedDuration = SignedDuration::from_secs(30);
/// How old they may be to be shown while they are counted again.
const STALE: SignedDuration = SignedDuration::from_mins(3);
/// Minutes and hours that are shown.
const MINUTES: i64 = 60;
const HOURS: i64 = 24;
/// Of so many accounts figures are kept.
const KEPT: usize = 500;
/// How long a page waits for figures.
const PATIENCE: Duration = Duration::from_millis(25);

/// What was counted in an hour or a minute.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Count {
    pub(super) allowed: u64,
    pub(super) denied: u64,
    /// Of those allowed: not served by the ERP.
    pub(super) errors: u64,
    /// Half of the exchanges took no longer, and 95 of a hundred, in milliseconds.
    pub(super) p50: Option<f64>,
    pub(super) p95: Option<f64>,
}

/// What is known, with when it was counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) at: Option<Timestamp>,
    pub(super) minutes: BTreeMap<Timestamp, Count>,
    pub(super) hours: BTreeMap<Timestamp, Count>,
}

/// The account whose figures are meant; `None` for all.
pub(super) type Whose = Option<AccountId>;

/// Figures, and whether somebody counts.
#[derive(Debug, Default)]
pub(super) struct Figures {
    known: Mutex<HashMap<Whose, Known>>,
    counting: tokio::sync::Mutex<()>,
}

impl Known {
    fn is_younger_than(&self, age: SignedDuration, now: Timestamp) -> bool {
        self.at.is_some_and(|at| now.duration_since(at).abs() < age)
    }
}

impl Portal {
    /// What is known now; where that is old, it is counted again for the next who asks. Who asks first after a start
    /// or a pause waits a moment, so that a small trail is shown at once.
    pub(super) async fn figures(self: &Arc<Self>, caller: &Caller, whose: Whose) -> Known {
        let known = self.figures.known(whose);
        let now = self.control.clock.now();
        if known.is_younger_than(FRESH, now) {
            return known;
        }
        let (portal, caller) = (Arc::clone(self), caller.clone());
        let counted = tokio::spawn(async move { portal.count_again(&caller, whose).await });
        if known.is_younger_than(STALE, now) {
            return known;
        }
        let _ = tokio::time::timeout(PATIENCE, counted).await;
        self.figures.known(whose)
    }

    async fn count_again(self: &Arc<Self>, caller: &Caller, whose: Whose) {
        // One after the other: what is counted for one may be what the next asks for.
        let _counting = self.figures.counting.lock().await;
        let now = self.control.clock.now();
        if self.figures.known(whose).is_younger_than(FRESH, now) {
            return;
        }
        let first_minute = start(now, 60, MINUTES - 1);
        let minutes = self.count(caller, StatsBy::Minute, first_minute, None).await;
        let this_hour = start(now, 3600, 0);
        let mut hours = self.figures.known(whose).hours;
        let first_hour = start(now, 3600, HOURS - 1);
        hours.retain(|hour, _| *hour >= first_hour);
        self.figures.keep(whose, |known| {
            known.minutes = minutes;
            known.at = Some(now);
        });
        // Hours that are over stay as they were counted, once; the newest first, so that a long day is seen growing.
        for back in 0..HOURS {
            let hour = start(now, 3600, back);
            let over = hour < this_hour;
            // What began in the hour before may have ended since.
            if over && back > 1 && hours.contains_key(&hour) {
                continue;
            }
            let end = hour.checked_add(SignedDuration::from_hours(1)).ok();
            let counted = self.count(caller, StatsBy::Hour, hour, end).await;
            hours.insert(hour, counted.get(&hour).copied().unwrap_or_default());
            let so_far = hours.clone();
            self.figures.keep(whose, |known| known.hours = so_far);
        }
    }

    async fn count(
        &self,
        caller: &Caller,
        by: StatsBy,
        since: Timestamp,
        until: Option<Timestamp>,
    ) -> BTreeMap<Timestamp, Count> {
        let query = AuditQuery { since: Some(since), until, kind: Some("relay".into()), ..AuditQuery::default() };
        let counted = self.control.run(caller.clone(), Command::AuditStats { query: Box::new(query), by }).await;
        match counted {
            Ok(groups) => groups.as_array().into_iter().flatten().filter_map(count_of).collect(),
            Err(error) => {
                log::warn!("requests could not be counted for the portal: {error}");
                BTreeMap::new()
            }
        }
    }
}

impl Figures {
    fn known(&self, whose: Whose) -> Known {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&whose).cloned().unwrap_or_default()
    }

    fn keep(&self, whose: Whose, change: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT && !known.contains_key(&whose) {
            let oldest = known.iter().min_by_key(|(_, known)| known.at).map(|(whose, _)| *whose);
            if let Some(oldest) = oldest {
                known.remove(&oldest);
            }
        }
        change(known.entry(whose).or_default());
    }
}

fn count_of(group: &Value) -> Option<(Timestamp, Count)> {
    let number = |member: &str| group.get(member).and_then(Value::as_u64).unwrap_or_default();
    let millis = |member: &str| group.get(member).and_then(Value::as_f64);
    let at = group.get("group")?.as_str()?.parse().ok()?;
    let (allowed, denied, errors) = (number("allowed"), number("denied"), number("errors"));
    Some((at, Count { allowed, denied, errors, p50: millis("p50_ms"), p95: millis("p95_ms") }))
}

/// The start of the hour or minute so many before now.
fn start(now: Timestamp, seconds: i64, back: i64) -> Timestamp {
    let number = now.as_second().div_euclid(seconds).saturating_sub(back);
    Timestamp::from_second(number.saturating_mul(seconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_one_are_not_those_of_another_and_the_oldest_go_first() {
        let figures = Figures::default();
        let count = |number| BTreeMap::from([(Timestamp::UNIX_EPOCH, Count { allowed: number, ..Count::default() })]);
        let id = |number: u128| Some(AccountId::from_bytes(number.to_be_bytes()));
        figures.keep(None, |known| known.minutes = count(1));
        figures.keep(id(7), |known| known.minutes = count(2));
        assert_eq!(figures.known(None).minutes, count(1));
        assert_eq!(figures.known(id(7)).minutes, count(2));
        assert_eq!(figures.known(id(8)).minutes, BTreeMap::new());
        for number in 0..=KEPT {
            let at = Timestamp::from_second(i64::try_from(number).expect("small")).expect("a time");
            figures.keep(id(100 + number as u128), |known| known.at = Some(at));
        }
        assert_eq!(figures.known.lock().expect("whole").len(), KEPT);
        assert_eq!(figures.known(id(7)).minutes, BTreeMap::new());
    }

    #[test]
    fn hours_and_minutes_begin_where_clocks_show_them() {
        let now = "2026-11-26T12:34:56.7Z".parse().expect("a time");
        assert_eq!(start(now, 3600, 0).to_string(), "2026-11-26T12:00:00Z");
        assert_eq!(start(now, 3600, 13).to_string(), "2026-11-25T23:00:00Z");
        assert_eq!(start(now, 60, 59).to_string(), "2026-11-26T11:35:00Z");
    }
}
