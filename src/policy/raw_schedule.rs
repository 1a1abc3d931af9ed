//! `schedule.yaml` as written.

use std::sync::Arc;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use super::yaml::{Node, Problems, Reader, Source};
use crate::domain::ScheduleName;
use crate::schedule::{Holiday, Minute, Schedule, Window};

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
    let fields = reader.map(node, "a schedule", &["time_zone", "windows", "holidays"])?;
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
    Some(Schedule::new(zone?, windows?, holidays?))
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
        let fields = reader.map(item, "a holiday", &["date", "name"])?;
        let node = reader.required(&fields, "date", "a holiday")?;
        let text = reader.text(node, "date")?;
        let Some(date) = read_date(text) else {
            reader.problem(node.place, "`date` of a holiday must be a day that exists, as in 2026-12-25");
            return None;
        };
        let name = fields.get("name").and_then(|node| reader.text(node, "name")).unwrap_or_default().to_owned();
        if holidays.iter().any(|known| known.date == date) {
            reader.problem(node.place, format!("duplicate holiday `{date}`"));
        }
        holidays.push(Holiday { date, name });
    }
    Some(holidays)
}

/// `YYYY-MM-DD` and nothing else.
fn read_date(text: &str) -> Option<Date> {
    let shape = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    shape.then(|| text.parse::<Date>().ok()).flatten().filter(|date| date.year() >= 1970)
}
