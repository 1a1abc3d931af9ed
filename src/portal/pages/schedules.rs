//! Schedules: a drawn week, and what holds them open or closed.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::ui::{Block, Cell, Field, Form, see};
use super::{Asked, Shared, form_of, items, parsed, refusal, status_of, text, when};
use crate::control::{Command, ControlError};
use crate::domain::Role;
use crate::portal::Portal;
use crate::portal::sessions::Session;

pub(super) async fn show(State(portal): Shared, request: Request) -> Response {
    match portal.enter(request.headers()).await {
        Ok(session) => shown(&portal, &session, None).await,
        Err(response) => response,
    }
}

async fn shown(portal: &Portal, session: &Session, error: Option<ControlError>) -> Response {
    let mut status = error.as_ref().map_or(StatusCode::OK, status_of);
    let mut blocks: Vec<Block> = error.iter().map(refusal).collect();
    let may = matches!(session.user.user.authority.role(), Role::Admin | Role::Operator);
    match portal.run(session, Command::ScheduleShow).await {
        Err(error) => {
            status = status_of(&error);
            blocks.push(refusal(&error));
        }
        Ok(schedules) => {
            for schedule in items(&schedules) {
                blocks.extend(of_schedule(schedule));
            }
            let names: Vec<_> = items(&schedules).iter().map(|schedule| text(schedule, "name")).collect();
            blocks.push(overrides(portal, session).await);
            if may && !names.is_empty() {
                blocks.extend(forms(&names).map(Block::Form));
            }
        }
    }
    portal.page(session, "Schedules", "/schedules", blocks).answer(status)
}

fn of_schedule(schedule: &Value) -> Vec<Block> {
    let fact = |label: &str, member: &str| (label.to_owned(), text(schedule, member));
    let facts = Block::Facts(vec![
        fact("State", "state"),
        fact("Changes there", "changes_at_there"),
        ("Changes".into(), when(schedule, "changes_at")),
        fact("Now there", "now"),
        fact("Time zone", "time_zone"),
        fact("Windows", "windows"),
        fact("Holidays", "holidays"),
        fact("Exceptions", "exceptions"),
    ]);
    let day = |day: &Value| {
        format!("{} {} {} {}", text(day, "day"), text(day, "date"), text(day, "hours"), text(day, "notes"))
    };
    let mut lines = vec!["               0   2   4   6   8   10  12  14  16  18  20  22  24".to_owned()];
    lines.extend(items(schedule.get("week").unwrap_or_default()).iter().map(day));
    lines.push(text(schedule, "legend"));
    vec![Block::Heading(text(schedule, "name")), facts, Block::Lines(lines)]
}

async fn overrides(portal: &Portal, session: &Session) -> Block {
    let held = portal.run(session, Command::ScheduleOverrides).await.unwrap_or_default();
    let row = |held: &Value| {
        vec![
            Cell::text(text(held, "schedule")),
            Cell::text(text(held, "held")),
            Cell::text(when(held, "until")),
            Cell::text(text(held, "reason")),
            Cell::text(portal.who(session, &text(held, "made_by"))),
        ]
    };
    Block::Table {
        caption: "Overrides in force".into(),
        columns: ["Schedule", "Held", "Until", "Reason", "By"].map(str::to_owned).into(),
        rows: items(&held).iter().map(row).collect(),
        empty: "No override holds a schedule.".into(),
    }
}

fn forms(names: &[String]) -> impl Iterator<Item = Form> + use<> {
    let names: Vec<_> = names.iter().map(|name| (name.clone(), name.clone())).collect();
    let ways = ["open", "closed"].map(|held| (held.to_owned(), held.to_owned()));
    let hold = Form::post("Hold a schedule", "/schedules/hold", "Hold it")
        .field(Field::choice("schedule", "Schedule", names.clone()))
        .field(Field::choice("held", "Held", ways))
        .field(Field::of("text", "until", "Until").hint("As in 2026-12-01T18:00:00Z; within a year"))
        .field(Field::of("text", "reason", "Reason"));
    let lift = Form::post("Lift what holds a schedule", "/schedules/lift", "Lift it")
        .field(Field::choice("schedule", "Schedule", names))
        .field(Field::of("text", "reason", "Reason"));
    [hold, lift].into_iter()
}

pub(super) async fn hold(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let command = |asked: &Asked| {
        let (schedule, held) = (parsed(asked.text("schedule"))?, parsed(asked.text("held"))?);
        let (until, reason) = (parsed(asked.text("until"))?, asked.text("reason").to_owned());
        Ok(Command::ScheduleOverride { schedule, held, until, reason })
    };
    done(&portal, &session, command(&asked)).await
}

pub(super) async fn lift(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let command = parsed(asked.text("schedule")).map(|schedule| {
        let reason = asked.text("reason").to_owned();
        Command::ScheduleLift { schedule, held: None, reason }
    });
    done(&portal, &session, command).await
}

async fn done(portal: &Portal, session: &Session, command: Result<Command, ControlError>) -> Response {
    let done = match command {
        Ok(command) => portal.run(session, command).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(_) => see("/schedules"),
        Err(error) => shown(portal, session, Some(error)).await,
    }
}
