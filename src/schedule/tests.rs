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
    let holidays =
        raw.holidays.iter().map(|holiday| Holiday { date: HolidayDate::Once(holiday.date), name: String::new() });
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
        if row.zone_rule_may_change || DECIDED_OTHERWISE.contains(&row.id.as_str()) {
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
    assert_eq!(count, 89, "rows were judged");
}

#[test]
fn the_tail_of_a_window_stays_open_on_a_holiday() {
    let time = |text: &str| Minute::parse(text).expect("a time");
    let window = Window::new(vec![weekday("thu"), weekday("fri")], time("20:00"), time("04:00")).expect("a window");
    let holiday = Holiday { date: HolidayDate::Once("2026-12-25".parse().expect("a date")), name: "Friday".into() };
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

#[test]
fn an_exception_opens_a_closed_day_and_a_holiday_besides_and_ends_with_its_own_tail() {
    let opening = |from: &str, to: &str| {
        Opening::new(Minute::parse(from).expect("a time"), Minute::parse(to).expect("a time")).expect("an opening")
    };
    let date = |text: &str| text.parse::<Date>().expect("a date");
    let exception = |day: &str, openings| Exception { date: date(day), openings, name: "stock-taking".into() };
    let schedule = Schedule {
        holidays: vec![Holiday { date: HolidayDate::Once(date("2026-11-25")), name: "a Wednesday".into() }],
        ..default_schedule()
    }
    .with_exceptions(vec![
        exception("2026-11-25", vec![opening("08:00", "09:00"), opening("22:00", "02:00")]),
        exception("2026-11-28", vec![opening("10:00", "14:00")]),
    ]);
    let at = |text: &str| text.parse::<Timestamp>().expect("a time");
    for open in ["2026-11-25T08:00:00+05:00", "2026-11-26T01:59:00+05:00", "2026-11-28T13:59:59+05:00"] {
        assert!(schedule.is_open(at(open)), "{open}");
    }
    for closed in ["2026-11-25T12:00:00+05:00", "2026-11-26T02:00:00+05:00", "2026-11-28T14:00:00+05:00"] {
        assert!(!schedule.is_open(at(closed)), "{closed}");
    }
    let opens_at = Some(at("2026-11-28T10:00:00+05:00"));
    assert_eq!(schedule.state(at("2026-11-27T20:00:00+05:00")), State::Closed { opens_at });
}

#[test]
fn a_yearly_holiday_closes_its_day_each_year() {
    let day = HolidayDate::Yearly(YearDay::parse("12-25").expect("a day"));
    let schedule =
        Schedule { holidays: vec![Holiday { date: day, name: "Quaid-e-Azam Day".into() }], ..default_schedule() };
    let at = |text: &str| text.parse::<Timestamp>().expect("a time");
    for closed in ["2026-12-25T12:00:00+05:00", "2028-12-25T12:00:00+05:00"] {
        assert!(!schedule.is_open(at(closed)), "{closed}");
    }
    assert!(schedule.is_open(at("2028-12-26T12:00:00+05:00")));
}

#[test]
fn an_exception_years_ahead_is_the_next_change_of_a_schedule_that_is_closed_else() {
    let opening = Opening::new(Minute::parse("10:00").expect("a time"), Minute::parse("11:00").expect("a time"));
    let date = "2031-05-01".parse().expect("a date");
    let exception = Exception { date, openings: vec![opening.expect("an opening")], name: String::new() };
    let schedule = Schedule::new(TimeZone::UTC, Vec::new(), Vec::new()).with_exceptions(vec![exception]);
    let opens_at = Some("2031-05-01T10:00:00Z".parse().expect("a time"));
    assert_eq!(schedule.state("2026-11-23T12:00:00Z".parse().expect("a time")), State::Closed { opens_at });
}

#[test]
fn a_clock_that_is_set_back_over_midnight_hides_no_change() {
    // At 00:01 on 2010-11-07 the clock was set back to 23:01 of the day before.
    let window = Window::new(
        vec![Weekday::Sunday],
        Minute::parse("00:00").expect("a time"),
        Minute::parse("24:00").expect("a time"),
    );
    let zone = TimeZone::get("America/St_Johns").expect("a zone");
    let schedule = Schedule::new(zone, vec![window.expect("a window")], Vec::new());
    let at = |text: &str| text.parse::<Timestamp>().expect("a time");
    let midnight = at("2010-11-07T00:00:00-02:30");
    assert_eq!(schedule.state(at("2010-11-06T23:30:00-02:30")), State::Closed { opens_at: Some(midnight) });
    assert_eq!(schedule.state(midnight), State::Open { until: Some(at("2010-11-07T00:01:00-02:30")) });
    let again = at("2010-11-07T00:00:00-03:30");
    assert_eq!(schedule.state(at("2010-11-06T23:01:00-03:30")), State::Closed { opens_at: Some(again) });
}

/// Zones whose clocks are changed in different ways: by an hour, half an hour or two; at night, at midnight, a minute
/// after it; around Ramadan; over a whole day that never was; and not at all.
const ZONES: [&str; 13] = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Asuncion",
    "America/Havana",
    "America/New_York",
    "America/Nuuk",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Karachi",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Apia",
];

fn clock(minutes: u32) -> Minute {
    Minute::parse(&format!("{:02}:{:02}", minutes / 60, minutes % 60)).expect("a time")
}

/// From a minute on, for so many minutes.
fn opening() -> impl Strategy<Value = (u32, u32)> {
    (0_u32..1440, 1_u32..1439).prop_map(|(from, length)| (from, (from + length) % 1440))
}

#[derive(Debug, Clone)]
struct Drawn {
    zone: &'static str,
    /// Days of the week, from, to.
    windows: Vec<(Vec<i8>, (u32, u32))>,
    /// Days after the first one.
    holidays: Vec<(i64, bool)>,
    exceptions: Vec<(i64, (u32, u32))>,
    /// A minute some days before the clock is changed.
    now: Timestamp,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let window = (prop::collection::vec(0_i8..7, 1..4), opening());
    (
        prop::sample::select(ZONES.to_vec()),
        prop::collection::vec(window, 0..3),
        prop::collection::vec((0_i64..8, any::<bool>()), 0..3),
        prop::collection::vec((0_i64..8, opening()), 0..3),
        1_230_000_000_i64..1_830_000_000,
        0_i64..4 * 24 * 60,
    )
        .prop_map(|(zone, windows, holidays, exceptions, second, before)| {
            let from = Timestamp::from_second(second - second % 60).expect("a time");
            let rules = TimeZone::get(zone).expect("a zone");
            let changes = rules.following(from).map(|change| change.timestamp());
            // Some zones end with a change that is none, where their table ends.
            let change = changes.into_iter().find(|at| at.as_second() % 60 == 0).unwrap_or(from);
            let now = change.checked_sub(SignedDuration::from_mins(before)).expect("a time");
            Drawn { zone, windows, holidays, exceptions, now }
        })
}

impl Drawn {
    fn days(&self, after: i64) -> Date {
        let first = TimeZone::get(self.zone).expect("a zone").to_datetime(self.now).date();
        first.checked_add(after.days()).expect("a date")
    }

    fn schedule(&self) -> Schedule {
        let windows = self.windows.iter().map(|(days, (from, to))| {
            let days = days.iter().map(|day| Weekday::from_monday_zero_offset(*day).expect("a day")).collect();
            Window::new(days, clock(*from), clock(*to)).expect("a window")
        });
        let holidays = self.holidays.iter().map(|(after, yearly)| {
            let day = self.days(*after);
            let text = format!("{:02}-{:02}", day.month(), day.day());
            let yearly = yearly.then(|| HolidayDate::Yearly(YearDay::parse(&text).expect("a day")));
            Holiday { date: yearly.unwrap_or(HolidayDate::Once(day)), name: String::new() }
        });
        let exceptions = self.exceptions.iter().map(|(after, (from, to))| {
            let opening = Opening::new(clock(*from), clock(*to)).expect("an opening");
            Exception { date: self.days(*after), openings: vec![opening], name: String::new() }
        });
        let zone = TimeZone::get(self.zone).expect("a zone");
        Schedule::new(zone, windows.collect(), holidays.collect()).with_exceptions(exceptions.collect())
    }

    /// The same question, answered with stretches of civil time.
    fn shows_open(&self, wall: DateTime) -> bool {
        let within = |day: Date, (from, to): (u32, u32)| {
            let at = |minutes: u32| day.at(0, 0, 0, 0).checked_add(i64::from(minutes).minutes()).expect("a time");
            (at(from)..at(if to < from { to + 1440 } else { to })).contains(&wall)
        };
        let holiday = |day: Date| {
            self.holidays.iter().any(|(after, yearly)| {
                let free = self.days(*after);
                free == day || (*yearly && (free.month(), free.day()) == (day.month(), day.day()))
            })
        };
        [wall.date(), wall.date().yesterday().expect("a date")].into_iter().any(|day| {
            let number = day.weekday().to_monday_zero_offset();
            let by_week =
                self.windows.iter().any(|(days, times)| days.contains(&number) && !holiday(day) && within(day, *times));
            by_week || self.exceptions.iter().any(|(after, times)| self.days(*after) == day && within(day, *times))
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// The next change is the first minute at which an open schedule is closed, or a closed one open.
    #[test]
    fn next_change_is_what_a_person_with_a_clock_would_find(drawn in drawn()) {
        let schedule = drawn.schedule();
        let (open, change) = match schedule.state(drawn.now) {
            State::Open { until } => (true, until),
            State::Closed { opens_at } => (false, opens_at),
        };
        let minute = |minute| drawn.now.checked_add(SignedDuration::from_mins(minute)).expect("a time");
        let found = (1..=10 * 24 * 60).map(minute).find(|at| schedule.is_open(*at) != open);
        match found {
            Some(found) => prop_assert_eq!(change, Some(found)),
            None => prop_assert!(change.is_none_or(|change| change > minute(10 * 24 * 60))),
        }
    }

    #[test]
    fn open_is_what_the_clock_on_the_wall_says(drawn in drawn(), minute in 0_i64..8 * 24 * 60) {
        let schedule = drawn.schedule();
        let at = drawn.now.checked_add(SignedDuration::from_mins(minute)).expect("a time");
        prop_assert_eq!(schedule.is_open(at), drawn.shows_open(schedule.wall(at)));
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
