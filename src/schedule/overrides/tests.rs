use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::*;
use crate::schedule::{Minute, Window};

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn name(text: &str) -> ScheduleName {
    text.parse().expect("a name")
}

/// Each day from 09:00 to 17:00, UTC.
fn office() -> Schedule {
    let days = (0..7).map(|day| Weekday::from_monday_zero_offset(day).expect("a day")).collect();
    let time = |text: &str| Minute::parse(text).expect("a time");
    let window = Window::new(days, time("09:00"), time("17:00")).expect("a window");
    Schedule::new(TimeZone::UTC, vec![window], Vec::new())
}

fn held(schedule: &str, held: Held, until: &str) -> Override {
    Override {
        schedule: name(schedule),
        held,
        until: at(until),
        reason: "stock-taking".into(),
        by: "operator:anna".into(),
        at: at("2026-11-23T08:00:00Z"),
    }
}

fn state(overrides: &Overrides, now: &str) -> State {
    overrides.state(&name("default"), &office(), at(now))
}

#[test]
fn an_override_decides_before_the_windows_until_it_ends_by_itself() {
    let open = Overrides::default().with(held("default", Held::Open, "2026-11-23T20:00:00Z"));
    assert_eq!(state(&open, "2026-11-23T18:00:00Z"), State::Open { until: Some(at("2026-11-23T20:00:00Z")) });
    assert_eq!(state(&open, "2026-11-23T20:00:00Z"), State::Closed { opens_at: Some(at("2026-11-24T09:00:00Z")) });
    let closed = Overrides::default().with(held("default", Held::Closed, "2026-11-23T12:00:00Z"));
    assert_eq!(state(&closed, "2026-11-23T10:00:00Z"), State::Closed { opens_at: Some(at("2026-11-23T12:00:00Z")) });
    assert_eq!(state(&closed, "2026-11-23T12:00:00Z"), State::Open { until: Some(at("2026-11-23T17:00:00Z")) });
}

#[test]
fn an_end_of_an_override_that_changes_nothing_is_no_change() {
    let open = Overrides::default().with(held("default", Held::Open, "2026-11-24T10:00:00Z"));
    assert_eq!(state(&open, "2026-11-23T18:00:00Z"), State::Open { until: Some(at("2026-11-24T17:00:00Z")) });
    let closed = Overrides::default().with(held("default", Held::Closed, "2026-11-23T19:00:00Z"));
    assert_eq!(state(&closed, "2026-11-23T12:00:00Z"), State::Closed { opens_at: Some(at("2026-11-24T09:00:00Z")) });
}

#[test]
fn one_that_closes_beats_one_that_opens_while_both_are_in_force() {
    let both = Overrides::default().with(held("default", Held::Closed, "2026-11-23T19:00:00Z")).with(held(
        "default",
        Held::Open,
        "2026-11-23T20:00:00Z",
    ));
    assert_eq!(state(&both, "2026-11-23T18:00:00Z"), State::Closed { opens_at: Some(at("2026-11-23T19:00:00Z")) });
    assert_eq!(state(&both, "2026-11-23T19:00:00Z"), State::Open { until: Some(at("2026-11-23T20:00:00Z")) });
    let decides = both.hours(&name("default"), &office(), at("2026-11-23T18:00:00Z"));
    assert!(matches!(decides, Hours::HeldClosed(by) if by.held == Held::Closed), "{decides:?}");
}

#[test]
fn an_override_of_another_schedule_decides_nothing() {
    let other = Overrides::default().with(held("night", Held::Open, "2026-11-23T20:00:00Z"));
    assert_eq!(state(&other, "2026-11-23T18:00:00Z").as_str(), "closed");
    assert_eq!(other.in_force(at("2026-11-23T18:00:00Z")).count(), 1);
    assert_eq!(other.over(at("2026-11-23T20:00:00Z")).count(), 1);
}

#[test]
fn an_override_takes_the_place_of_one_of_the_same_kind() {
    let overrides = Overrides::default().with(held("default", Held::Open, "2026-11-23T20:00:00Z")).with(held(
        "default",
        Held::Open,
        "2026-11-23T19:00:00Z",
    ));
    let known = overrides.of(&name("default"), Held::Open).expect("one");
    assert_eq!(known.until, at("2026-11-23T19:00:00Z"));
    assert!(overrides.without(&name("default"), Held::Open).of(&name("default"), Held::Open).is_none());
}

#[test]
fn an_override_ends_later_than_now_and_within_a_year() {
    let now = at("2026-11-23T12:00:00Z");
    let end = |text: &str| OverrideEnd::new(at(text), now);
    assert!(end("2026-11-23T12:00:01Z").is_ok() && end("2027-11-24T12:00:00Z").is_ok());
    assert!(matches!(end("2026-11-23T12:00:00Z"), Err(OverrideEndError::Past { .. })));
    assert!(matches!(end("2027-11-24T12:00:01Z"), Err(OverrideEndError::TooFar { .. })));
}
