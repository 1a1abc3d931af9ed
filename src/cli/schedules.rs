//! `schedule show|next|override`.

use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::Value;

use super::arguments::{Output, Schedule};
use super::output::{self, Failure, line, safe};
use super::run::Asking;
use super::schedule_arguments::{Hold, Override};
use crate::control::Command;
use crate::schedule::Held;

pub(super) fn run(asking: &Asking, verb: Schedule) -> Result<ExitCode, Failure> {
    match verb {
        Schedule::Show => show(&asking.ask(Command::ScheduleShow)?, asking.output),
        Schedule::Next => {
            let columns = ["name", "state", "changes_at", "changes_at_there", "time_zone", "override"];
            asking.print(Command::ScheduleNext, &columns)
        }
        Schedule::Override(Override::Open(open)) => hold(asking, open, Held::Open),
        Schedule::Override(Override::Close(close)) => hold(asking, close, Held::Closed),
        Schedule::Override(Override::Lift { which, schedule, reason }) => {
            asking.print(Command::ScheduleLift { schedule, held: which.map(Held::from), reason }, &[])
        }
        Schedule::Override(Override::List) => {
            let columns = ["schedule", "held", "until", "made_by", "made_at", "reason"];
            asking.print(Command::ScheduleOverrides, &columns)
        }
    }
}

fn hold(asking: &Asking, asked: Hold, held: Held) -> Result<ExitCode, Failure> {
    let Hold { schedule, until, reason } = asked;
    asking.print(Command::ScheduleOverride { schedule, held, until, reason }, &[])
}

/// The hours over their columns, two columns an hour.
const HOURS: &str = "0   2   4   6   8   10  12  14  16  18  20  22  24";

/// Each schedule with a drawing of its coming week.
fn show(schedules: &Value, output: Output) -> Result<ExitCode, Failure> {
    match (output, schedules.as_array()) {
        (Output::Table, Some(schedules)) => {
            for schedule in schedules {
                drawing(schedule).iter().try_for_each(|text| line(&safe(text)))?;
                line("")?;
            }
            if let Some(legend) = schedules.first().map(|first| text(first, "legend")) {
                line(&safe(legend))?;
            }
        }
        (Output::Table, None) | (Output::Json | Output::Ndjson | Output::Csv, _) => {
            output::print(schedules, &[], output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn drawing(schedule: &Value) -> Vec<String> {
    let (name, zone, state) = (text(schedule, "name"), text(schedule, "time_zone"), text(schedule, "state"));
    let mut lines = vec![format!("{name}: {state} on {}, {zone}", text(schedule, "now"))];
    let at = text(schedule, "changes_at").parse::<Timestamp>().ok();
    lines.push(match (state, at) {
        ("open", Some(at)) => format!("  closes {} ({at})", text(schedule, "changes_at_there")),
        ("open", None) => "  does not close within a year".to_owned(),
        (_, Some(at)) => format!("  opens {} ({at})", text(schedule, "changes_at_there")),
        (_, None) => "  does not open within a year".to_owned(),
    });
    for held in list(schedule, "overrides") {
        let (state, by, until) = (text(held, "held"), text(held, "made_by"), text(held, "until"));
        lines.push(format!("  held {state} by {by} until {until}: {}", text(held, "reason")));
    }
    lines.push(format!("  {:14} {HOURS}", ""));
    for day in list(schedule, "week") {
        let notes: Vec<&str> = list(day, "notes").iter().filter_map(Value::as_str).collect();
        let row = format!("  {} {} {}  {}", text(day, "day"), text(day, "date"), text(day, "hours"), notes.join("; "));
        lines.push(row.trim_end().to_owned());
    }
    lines
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
