use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::*;
use crate::schedule::{Exception, Holiday, HolidayDate, Opening, Window};

fn minute(text: &str) -> Minute {
    Minute::parse(text).expect("a time")
}

fn window(days: &[i8], from: &str, to: &str) -> Window {
    let days = days.iter().map(|day| Weekday::from_monday_zero_offset(*day).expect("a day")).collect();
    Window::new(days, minute(from), minute(to)).expect("a window")
}

fn name() -> ScheduleName {
    "default".parse().expect("a name")
}

fn rows(week: &Week) -> Vec<String> {
    week.days.iter().map(|day| format!("{} {} {}", day.date, day.hours, day.notes.join("; "))).collect()
}

#[test]
fn a_week_shows_windows_tails_holidays_exceptions_and_the_override_in_force() {
    let date = |text: &str| text.parse().expect("a date");
    let exception = Exception {
        date: date("2026-11-29"),
        openings: vec![Opening::new(minute("10:00"), minute("12:15")).expect("an opening")],
        name: "stock-taking".into(),
    };
    let holiday = Holiday { date: HolidayDate::Once(date("2026-11-26")), name: "Founders' Day".into() };
    let windows = vec![window(&[0, 1, 2, 3, 4], "11:00", "20:00"), window(&[2, 3], "22:00", "02:00")];
    let zone = TimeZone::get("Asia/Karachi").expect("a zone");
    let schedule = Schedule::new(zone, windows, vec![holiday]).with_exceptions(vec![exception]);
    let held = Override {
        schedule: name(),
        held: Held::Closed,
        until: "2026-11-23T14:00:00+05:00".parse().expect("a time"),
        reason: "upgrade".into(),
        by: "operator:anna".into(),
        at: "2026-11-23T12:00:00+05:00".parse().expect("a time"),
    };
    let now = "2026-11-23T12:30:00+05:00".parse().expect("a time");
    let week = schedule.week(&name(), &Overrides::new(vec![held]), now);
    let wanted = [
        "2026-11-23 ......................##XXXX############........ ",
        "2026-11-24 ......................##################........ ",
        "2026-11-25 ......................##################....#### ",
        "2026-11-26 ~~~~..................------------------....---- holiday: Founders' Day",
        "2026-11-27 ----..................##################........ ",
        "2026-11-28 ................................................ ",
        "2026-11-29 ....................+++++....................... open 10:00-12:15: stock-taking",
    ];
    assert_eq!(rows(&week), wanted);
}

#[test]
fn an_hour_that_the_clock_leaves_out_is_left_out_of_the_week() {
    let zone = TimeZone::get("Europe/Berlin").expect("a zone");
    let schedule = Schedule::new(zone, vec![window(&[6], "00:00", "24:00")], Vec::new());
    let shown = |now: &str| {
        let week = schedule.week(&name(), &Overrides::default(), now.parse().expect("a time"));
        rows(&week).remove(0)
    };
    let spring =
        "2027-03-28 ####  ########################################## the clock is set forward from 02:00 to 03:00";
    assert_eq!(shown("2027-03-28T12:00:00+02:00"), spring);
    let autumn =
        "2026-10-25 ################################################ the clock is set back from 03:00 to 02:00";
    assert_eq!(shown("2026-10-25T12:00:00+01:00"), autumn);
}
