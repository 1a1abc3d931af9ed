//! `schedule.yaml` as written.

use std::sync::Arc;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use super::yaml::{Fields, Node, Place, Problems, Reader, Source};
use crate::domain::ScheduleName;
use crate::schedule::{Exception, Holiday, HolidayDate, Minute, Opening, Schedule, Window, YearDay};

/// A named schedule.
#[derive(Debug)]
pub(super) struct RawSchedule {
    pub(super) name: ScheduleName,
    pub(super) schedule: Arc<Schedule>,
}

pub(super) fn read(source: &Source, root: &Node) -> Result<Vec<RawSchedule>, Problems> {
    let mut reader = Reader::of_times(source);
    let schedules = read_file(&mut reader, root).unwrap_or_default();
    let problems = reader.finish();
    if problems.is_empty() { Ok(schedules) } else { Err(problems) }
}

fn read_file(reader: &mut Reader<'_>, root: &Node) -> Option<Vec<RawSchedule>> {
    let fields = reader.any_map(root, "the schedule file")?;
    super::raw_endpoints::version(reader, &fields);
    let mut schedules = Vec::new();
    for (text, key, value) in fields.iter().filter(|(text, _, _)| *text != "version") {
        if text == "exempt" {
            reader.problem(key.place, "`exempt` means no schedule at all and cannot be the name of one");
            continue;
        }
        let name = reader.parsed::<ScheduleName>(key, "the name of a schedule");
        let schedule = read_schedule(reader, value);
        if let Some((name, schedule)) = name.zip(schedule) {
            schedules.push(RawSchedule { name, schedule: Arc::new(schedule) });
        }
    }
    Some(schedules)
}

fn read_schedule(reader: &mut Reader<'_>, node: &Node) -> Option<Schedule> {
    let fields = reader.map(node, "a schedule", &["time_zone", "windows", "holidays", "exceptions"])?;
    let zone = reader.required(&fields, "time_zone", "a schedule").and_then(|node| read_zone(reader, node));
    let windows = reader.required(&fields, "windows", "a schedule").and_then(|node| {
        let items = reader.list(node, "windows")?;
        let windows: Vec<_> = items.iter().map(|item| read_window(reader, item)).collect();
        windows.into_iter().collect::<Option<Vec<_>>>()
    });
    let holidays = match fields.get("holidays") {
        Some(node) => read_holidays(reader, node),
        None => Some(Vec::new()),
    };
    let exceptions = match fields.get("exceptions") {
        Some(node) => read_exceptions(reader, node),
        None => Some(Vec::new()),
    };
    Some(Schedule::new(zone?, windows?, holidays?).with_exceptions(exceptions?))
}

fn read_zone(reader: &mut Reader<'_>, node: &Node) -> Option<TimeZone> {
    let text = reader.text(node, "time_zone")?;
    // An offset has no daylight-saving rules, and another spelling may mean another zone tomorrow.
    match TimeZone::get(text) {
        Ok(zone) if zone.iana_name() == Some(text) => Some(zone),
        _ => {
            let shown: String = text.chars().take(64).flat_map(char::escape_debug).collect();
            let message =
                format!("`time_zone`: `{shown}` is not the name of a time zone, as in `Asia/Karachi` or `UTC`");
            reader.problem(node.place, message);
            None
        }
    }
}

fn read_window(reader: &mut Reader<'_>, node: &Node) -> Option<Window> {
    let fields = reader.map(node, "a window", &["days", "from", "to"])?;
    let days = reader.required(&fields, "days", "a window").and_then(|node| read_days(reader, node));
    let from = reader.required(&fields, "from", "a window").and_then(|node| read_time(reader, node, "from"));
    let to = reader.required(&fields, "to", "a window").and_then(|node| read_time(reader, node, "to"));
    match Window::new(days?, from?, to?) {
        Ok(window) => Some(window),
        Err(error) => {
            reader.problem(node.place, error.to_string());
            None
        }
    }
}

fn read_days(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<Weekday>> {
    let mut days = Vec::new();
    for item in reader.list(node, "days")? {
        let text = reader.text(item, "days")?;
        let day = match text {
            "mon" => Weekday::Monday,
            "tue" => Weekday::Tuesday,
            "wed" => Weekday::Wednesday,
            "thu" => Weekday::Thursday,
            "fri" => Weekday::Friday,
            "sat" => Weekday::Saturday,
            "sun" => Weekday::Sunday,
            other => {
                let shown: String = other.chars().take(32).flat_map(char::escape_debug).collect();
                reader
                    .problem(item.place, format!("`days`: `{shown}` is not one of mon, tue, wed, thu, fri, sat, sun"));
                return None;
            }
        };
        if days.contains(&day) {
            reader.problem(item.place, format!("`days`: `{text}` stands twice"));
        }
        days.push(day);
    }
    Some(days)
}

fn read_time(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Minute> {
    let text = reader.text(node, what)?;
    let minute = Minute::parse(text);
    if minute.is_none() {
        reader.problem(
            node.place,
            format!("`{what}` must be a time of day as in \"09:30\", two digits each, \"24:00\" at most"),
        );
    }
    minute
}

fn read_holidays(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<Holiday>> {
    let mut holidays: Vec<Holiday> = Vec::new();
    for item in reader.list(node, "holidays")? {
        let Some((place, holiday)) = read_holiday(reader, item) else { continue };
        match holidays.iter().find(|known| known.date.meets(holiday.date)) {
            Some(known) if known.date == holiday.date => {
                reader.problem(place, format!("duplicate holiday `{}`", holiday.date));
            }
            Some(known) => {
                let message = format!("the holidays `{}` and `{}` are on the same day", holiday.date, known.date);
                reader.problem(place, format!("{message}; leave the one with the year out"));
            }
            None => {}
        }
        holidays.push(holiday);
    }
    Some(holidays)
}

/// `{ date: 2026-12-25, name: … }`, or `{ every: 12-25, name: … }` for each year.
fn read_holiday(reader: &mut Reader<'_>, node: &Node) -> Option<(Place, Holiday)> {
    let fields = reader.map(node, "a holiday", &["date", "every", "name"])?;
    let name = read_name(reader, &fields);
    let (node, date) = match (fields.get("date"), fields.get("every")) {
        (Some(node), None) => (node, read_date(reader, node, "a holiday").map(HolidayDate::Once)),
        (None, Some(node)) => (node, read_year_day(reader, node).map(HolidayDate::Yearly)),
        (Some(_), Some(node)) => {
            reader.problem(node.place, "a holiday is on one `date` or comes `every` year, not both");
            return None;
        }
        (None, None) => {
            reader.problem(node.place, "a holiday needs a `date`, as in 2026-12-25, or `every`, as in 12-25");
            return None;
        }
    };
    Some((node.place, Holiday { date: date?, name }))
}

fn read_exceptions(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<Exception>> {
    let mut exceptions: Vec<Exception> = Vec::new();
    for item in reader.list(node, "exceptions")? {
        let fields = reader.map(item, "an exception", &["date", "windows", "name"])?;
        let date = reader.required(&fields, "date", "an exception");
        let place = date.map_or(item.place, |node| node.place);
        let date = date.and_then(|node| read_date(reader, node, "an exception"));
        let openings = reader.required(&fields, "windows", "an exception").and_then(|node| read_openings(reader, node));
        let name = read_name(reader, &fields);
        let Some((date, openings)) = date.zip(openings) else { continue };
        if exceptions.iter().any(|known| known.date == date) {
            reader.problem(place, format!("duplicate exception `{date}`; one takes several `windows`"));
        }
        exceptions.push(Exception { date, openings, name });
    }
    Some(exceptions)
}

/// The windows of an exception, which has a date instead of days.
fn read_openings(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<Opening>> {
    let items = reader.list(node, "windows")?;
    if items.is_empty() {
        reader.problem(node.place, "`windows` of an exception is empty: it would open nothing");
    }
    let mut openings = Vec::new();
    for item in items {
        let fields = reader.map(item, "a window of an exception", &["from", "to"])?;
        let what = "a window of an exception";
        let from = reader.required(&fields, "from", what).and_then(|node| read_time(reader, node, "from"));
        let to = reader.required(&fields, "to", what).and_then(|node| read_time(reader, node, "to"));
        match Opening::new(from?, to?) {
            Ok(opening) if openings.contains(&opening) => {
                reader.problem(item.place, format!("duplicate window `{opening}`"));
            }
            Ok(opening) => openings.push(opening),
            Err(error) => reader.problem(item.place, error.to_string()),
        }
    }
    Some(openings)
}

fn read_name(reader: &mut Reader<'_>, fields: &Fields<'_>) -> String {
    fields.get("name").and_then(|node| reader.text(node, "name")).unwrap_or_default().to_owned()
}

fn read_date(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Date> {
    let date = parse_date(reader.text(node, "date")?);
    if date.is_none() {
        reader.problem(node.place, format!("`date` of {what} must be a day that exists, as in 2026-12-25"));
    }
    date
}

fn read_year_day(reader: &mut Reader<'_>, node: &Node) -> Option<YearDay> {
    let day = YearDay::parse(reader.text(node, "every")?);
    if day.is_none() {
        let message = "`every` must be a month and a day that exist, as in 12-25; 02-29 is one in leap years";
        reader.problem(node.place, message);
    }
    day
}

/// `YYYY-MM-DD` and nothing else.
fn parse_date(text: &str) -> Option<Date> {
    let shape = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    shape.then(|| text.parse::<Date>().ok()).flatten().filter(|date| date.year() >= 1970)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::Timestamp;

    use super::*;

    fn load(schedule: &str) -> Result<Vec<RawSchedule>, Problems> {
        let source = Source::new(Path::new("schedule.yaml"), schedule.as_bytes()).expect("a source");
        read(&source, &source.parse()?)
    }

    fn with(lines: &str) -> Result<Vec<RawSchedule>, Problems> {
        load(&format!("version: 1\ndefault:\n  time_zone: Asia/Karachi\n  windows: []\n{lines}"))
    }

    /// The places and messages of what is wrong.
    fn problems(lines: &str) -> Vec<String> {
        let problems = with(lines).expect_err("refused");
        problems.0.iter().map(|problem| format!("{}:{} {}", problem.line, problem.column, problem.sentence())).collect()
    }

    #[test]
    fn yearly_holidays_and_exceptions_are_read() {
        let read = with(
            "  holidays: [{ every: 12-25, name: Quaid-e-Azam Day }, { date: 2027-03-23 }, { every: \"02-29\" }]
  exceptions:
    - { date: 2026-12-25, windows: [{ from: \"10:00\", to: \"14:00\" }, { from: \"22:00\", to: \"02:00\" }], name: Audit }
",
        );
        let schedule = read.expect("loaded").remove(0).schedule;
        let holidays: Vec<String> = schedule.holidays().iter().map(|holiday| holiday.date.to_string()).collect();
        assert_eq!(holidays, ["every 12-25", "2027-03-23", "every 02-29"]);
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        assert!(
            schedule.is_open(at("2026-12-26T01:59:00+05:00")) && !schedule.is_open(at("2026-12-25T14:00:00+05:00"))
        );
    }

    #[test]
    fn dates_that_never_come_are_refused_all_at_once_with_their_places() {
        let found = problems(
            "  holidays: [{ every: 02-30 }, { every: 2-3 }, { date: 2027-02-29 }, { every: 13-01 }]
  exceptions: [{ date: 2027-02-30, windows: [{ from: \"10:00\", to: \"14:00\" }] }]
",
        );
        let year_day = "`every` must be a month and a day that exist, as in 12-25; 02-29 is one in leap years";
        let wanted = [
            format!("5:23 {year_day}"),
            format!("5:41 {year_day}"),
            "5:56 `date` of a holiday must be a day that exists, as in 2026-12-25".to_owned(),
            format!("5:79 {year_day}"),
            "6:24 `date` of an exception must be a day that exists, as in 2026-12-25".to_owned(),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_day_that_stands_twice_is_refused() {
        let found = problems(
            "  holidays: [{ every: 12-25 }, { date: 2026-12-25 }, { date: 2026-01-01 }, { date: 2026-01-01 }, { every: 12-25 }]
  exceptions:
    - { date: 2026-12-25, windows: [{ from: \"10:00\", to: \"14:00\" }, { from: \"10:00\", to: \"14:00\" }] }
    - { date: 2026-12-25, windows: [{ from: \"15:00\", to: \"16:00\" }] }
",
        );
        let wanted = [
            "5:40 the holidays `2026-12-25` and `every 12-25` are on the same day; leave the one with the year out",
            "5:84 duplicate holiday `2026-01-01`",
            "5:107 duplicate holiday `every 12-25`",
            "7:69 duplicate window `10:00-14:00`",
            "8:15 duplicate exception `2026-12-25`; one takes several `windows`",
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn an_exception_or_a_holiday_that_says_too_little_or_too_much_is_refused() {
        let found = problems(
            "  holidays: [{ name: Monday }, { date: 2026-12-25, every: 12-25 }]
  exceptions:
    - { date: 2026-12-25 }
    - { date: 2026-12-26, windows: [] }
    - { date: 2026-12-27, windows: [{ days: [mon], from: \"10:00\", to: \"10:00\" }] }
    - { date: 2026-12-28, windows: [{ from: \"24:00\", to: \"1:00\" }] }
    - { windows: [{ from: \"10:00\", to: \"11:00\" }] }
",
        );
        let wanted = [
            "a holiday needs a `date`, as in 2026-12-25, or `every`, as in 12-25",
            "a holiday is on one `date` or comes `every` year, not both",
            "`windows` is missing in an exception",
            "`windows` of an exception is empty: it would open nothing",
            "unknown key `days` in a window of an exception; the keys are from, to",
            "`from` and `to` are equal; write `from: \"00:00\", to: \"24:00\"` for a whole day",
            "`to` must be a time of day as in \"09:30\", two digits each, \"24:00\" at most",
            "`date` is missing in an exception",
        ];
        let found: Vec<&str> = found.iter().filter_map(|text| text.split_once(' ')).map(|(_, text)| text).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn every_schedule_file_in_the_documents_loads() {
        let document = include_str!("../../docs/policies.md");
        let blocks = document.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let mut count = 0;
        for block in blocks.filter(|block| block.starts_with("# policies/schedule.yaml")) {
            load(block).unwrap_or_else(|problems| panic!("{problems}"));
            count += 1;
        }
        assert!(count > 0, "no block was found");
    }
}
