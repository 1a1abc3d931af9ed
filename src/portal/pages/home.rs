//! What is going on, and what somebody should look at.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::Value;

use super::chart::{Chart, Given};
use super::ui::{Block, Cell, Link, Tone};
use super::{Shared, items, refusal, text};
use crate::control::{AuditQuery, Command, ControlError, SetOrder, SetQuery};
use crate::portal::Portal;
use crate::portal::figures::Count;
use crate::portal::sessions::Session;

/// Credential sets that end within so many days, or were not used for so many, are shown, the first of them.
const ENDING: u16 = 30;
const UNUSED: u16 = 90;
const FEW: usize = 10;

pub(super) async fn show(State(portal): Shared, request: Request) -> Response {
    let session = match portal.enter(request.headers()).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let blocks = match session.client() {
        None => of_staff(&portal, &session).await,
        Some(account) => {
            let name = portal.control.directory.snapshot().account(account).map(|account| account.name.clone());
            match name {
                Some(name) => super::client_home::blocks(&portal, &session, name).await,
                None => vec![refusal(&ControlError::not_found("your account is gone"))],
            }
        }
    };
    portal.page(&session, "Overview", "/", blocks).live("/").answer(StatusCode::OK)
}

async fn of_staff(portal: &Arc<Portal>, session: &Session) -> Vec<Block> {
    let status = match portal.run(session, Command::Status).await {
        Ok(status) => status,
        Err(error) => return vec![refusal(&error)],
    };
    let fact = |name: &str, member: &str| (name.to_owned(), text(&status, member));
    let mut blocks = state(portal, session, &status).await;
    blocks.extend(charts(portal, session).await);
    for problem in items(status.get("policy_problems").unwrap_or_default()) {
        blocks.push(Block::Notice(Tone::Bad, super::plain(problem)));
    }
    blocks.push(Block::Facts(vec![
        fact("Accounts", "accounts"),
        fact("Credential sets", "credential_sets"),
        fact("Live tokens", "live_tokens"),
        fact("Policies, generation", "policy_generation"),
        fact("Audit writer", "audit"),
        fact("Audit queue", "audit_queue"),
        fact("Audit rows since the start", "audit_rows_written"),
        fact("Audit rows lost", "audit_rows_lost"),
    ]));
    blocks.push(upstream_sessions(&status));
    let ending = SetQuery { ending_within_days: Some(ENDING), sort: Some(SetOrder::ExpiresAt), ..few() };
    blocks.extend(sets(portal, session, &format!("Credential sets that end within {ENDING} days"), ending).await);
    let unused = SetQuery { unused_for_days: Some(UNUSED), sort: Some(SetOrder::LastUsedAt), ..few() };
    blocks.extend(sets(portal, session, &format!("Credential sets that nobody used for {UNUSED} days"), unused).await);
    let query = Box::new(AuditQuery { last: 10, decision: Some("denied".into()), ..AuditQuery::default() });
    if let Ok(rows) = portal.run(session, Command::AuditSearch(query)).await {
        blocks.push(super::audit::table(portal, session, "Denied last", &rows, "Nothing was denied yet."));
    }
    blocks
}

/// Whether the API is open, by schedule, until when, and what holds it.
async fn state(portal: &Portal, session: &Session, status: &Value) -> Vec<Block> {
    let api = text(status, "api");
    let tone = if api == "open" { Tone::Good } else { Tone::Warn };
    let mut blocks = vec![Block::Notice(tone, format!("The API is {api}."))];
    let schedules = portal.run(session, Command::ScheduleNext).await.unwrap_or_default();
    let row = |schedule: &Value| {
        let closed = text(schedule, "state") != "open";
        vec![
            Cell::link(text(schedule, "name"), "/schedules"),
            Cell::toned(text(schedule, "state"), closed.then_some(Tone::Warn)),
            Cell::text(super::when(schedule, "changes_at")),
            Cell::text(format!("{} {}", text(schedule, "changes_at_there"), text(schedule, "time_zone"))),
            Cell::text(text(schedule, "override")),
        ]
    };
    blocks.push(Block::Table {
        caption: "Schedules".into(),
        columns: ["Schedule", "State", "Changes", "Changes there", "Held by"].map(str::to_owned).into(),
        rows: items(&schedules).iter().map(row).collect(),
        empty: "There is no schedule: every policy that asks for one is closed. Write one into the policy folder."
            .into(),
    });
    blocks
}

fn upstream_sessions(status: &Value) -> Block {
    let sessions = items(status.get("upstreams").unwrap_or_default()).iter().map(|upstream| {
        let failed = !text(upstream, "last_error").is_empty();
        vec![
            Cell::link(text(upstream, "name"), "/upstreams"),
            Cell::text(text(upstream, "account")),
            Cell::toned(text(upstream, "state"), failed.then_some(Tone::Bad)),
            Cell::text(text(upstream, "sign_ins")),
            Cell::text(text(upstream, "last_error")),
        ]
    });
    Block::Table {
        caption: "Sessions at ERPs".into(),
        columns: ["Upstream", "Account", "State", "Sign-ins", "Last error"].map(str::to_owned).into(),
        rows: sessions.collect(),
        empty: "No upstream is configured: name one under `upstreams` in the configuration.".into(),
    }
}

fn few() -> SetQuery {
    SetQuery { limit: Some(FEW), ..SetQuery::default() }
}

/// The first of these sets, where there are any.
async fn sets(portal: &Portal, session: &Session, title: &str, query: SetQuery) -> Vec<Block> {
    let Ok(found) = portal.run(session, Command::CredentialSearch(Box::new(query.clone()))).await else {
        return Vec::new();
    };
    let total = found.get("total").and_then(Value::as_u64).unwrap_or_default();
    if total == 0 {
        return Vec::new();
    }
    let all = Link { href: super::credential_list::address(&query), text: format!("All {total}"), here: false };
    let table = super::credential_list::table(title, found.get("items").unwrap_or_default());
    vec![table, Block::Links(vec![all])]
}

/// Requests and how long they took, of the last hour by minute and of the last day by hour.
pub(super) async fn charts(portal: &Arc<Portal>, session: &Session) -> Vec<Block> {
    let known = portal.figures(&session.caller(), session.client()).await;
    let name = |at: &Timestamp| at.to_string().replace('T', " ");
    let requests = |caption: &str, unit: &str, counts: &BTreeMap<Timestamp, Count>| {
        let parts = [("served", "served"), ("failed", "not served by the ERP"), ("denied", "denied")];
        let given = counts.iter().map(|(at, count)| {
            let parts = vec![count.allowed.saturating_sub(count.errors), count.errors, count.denied];
            let numbers = [count.allowed, count.errors, count.denied].map(|number| number.to_string());
            Given { name: name(at), parts, numbers: numbers.into() }
        });
        Chart::new(
            caption,
            &parts,
            &["Allowed", "Of these not served", "Denied"],
            |most| format!("{most} {unit}"),
            given.collect(),
        )
    };
    let times = |caption: &str, counts: &BTreeMap<Timestamp, Count>| {
        let parts = [("half", "half took no longer"), ("most", "95 of 100 took no longer")];
        let given = counts.iter().map(|(at, count)| {
            let millis = |time: Option<f64>| time.map(|time| format!("{time:.1}")).unwrap_or_default();
            let tenths = |time: Option<f64>| time.map_or(0, tenths);
            let (half, most) = (tenths(count.p50), tenths(count.p95));
            let parts = vec![half, most.saturating_sub(half)];
            Given { name: name(at), parts, numbers: vec![millis(count.p50), millis(count.p95)] }
        });
        Chart::new(
            caption,
            &parts,
            &["Half, ms", "95 of 100, ms"],
            |most| format!("{}.{} ms", most / 10, most % 10),
            given.collect(),
        )
    };
    let told = match known.at {
        None => {
            "Requests of the last day are being counted; they are here when the page is asked for again.".to_owned()
        }
        Some(at) => format!("Requests to ERPs, counted {}.", super::moment::away(at, portal.control.clock.now())),
    };
    vec![
        Block::Charts(vec![
            requests("Requests of the last hour", "a minute", &known.minutes),
            times("How long they took", &known.minutes),
            requests("Requests of the last day", "an hour", &known.hours),
            times("How long they took, last day", &known.hours),
        ]),
        Block::Text(told),
    ]
}

/// Milliseconds in tenths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time of a request, in a chart")]
fn tenths(millis: f64) -> u64 {
    (millis.max(0.0) * 10.0) as u64
}

pub(super) async fn doctor(State(portal): Shared, request: Request) -> Response {
    let session = match portal.enter(request.headers()).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let (status, blocks) = match portal.run(&session, Command::Doctor).await {
        Err(error) => (super::status_of(&error), vec![refusal(&error)]),
        Ok(findings) => {
            let row = |finding: &serde_json::Value| {
                let tone = match text(finding, "state").as_str() {
                    "ok" => Some(Tone::Good),
                    "warn" => Some(Tone::Warn),
                    _ => Some(Tone::Bad),
                };
                vec![
                    Cell::toned(text(finding, "state"), tone),
                    Cell::text(text(finding, "check")),
                    Cell::text(text(finding, "found")),
                    Cell::text(text(finding, "advice")),
                ]
            };
            let about = "What the gateway knows of itself. `erp-access doctor` on its machine also looks at files, disk, \
                clock, certificates and systemd.";
            let table = Block::Table {
                caption: "Findings".into(),
                columns: ["State", "Check", "Found", "What to do"].map(str::to_owned).into(),
                rows: items(&findings).iter().map(row).collect(),
                empty: "Nothing was looked at.".into(),
            };
            (StatusCode::OK, vec![Block::Text(about.into()), table])
        }
    };
    portal.page(&session, "Doctor", "/doctor", blocks).answer(status)
}
