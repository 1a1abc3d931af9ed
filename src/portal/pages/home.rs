//! What is going on, and what somebody should look at.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::ui::{Bar, Block, Cell, Tone};
use super::{Shared, items, refusal, text};
use crate::audit::StatsBy;
use crate::control::{AuditQuery, Command};
use crate::domain::Role;
use crate::portal::Portal;
use crate::portal::sessions::Session;

pub(super) async fn show(State(portal): Shared, request: Request) -> Response {
    let session = match portal.enter(request.headers()).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let blocks = match session.user.user.authority.role() {
        Role::Client => of_client(&portal, &session).await,
        Role::Admin | Role::Operator | Role::Auditor => of_staff(&portal, &session).await,
    };
    portal.page(&session, "Overview", "/", blocks).answer(StatusCode::OK)
}

async fn of_staff(portal: &Portal, session: &Session) -> Vec<Block> {
    let status = match portal.run(session, Command::Status).await {
        Ok(status) => status,
        Err(error) => return vec![refusal(&error)],
    };
    let fact = |name: &str, member: &str| (name.to_owned(), text(&status, member));
    let mut blocks = vec![Block::Facts(vec![
        fact("API", "api"),
        fact("Accounts", "accounts"),
        fact("Credential sets", "credential_sets"),
        fact("Live tokens", "live_tokens"),
        fact("Policies, generation", "policy_generation"),
        fact("Audit writer", "audit"),
        fact("Audit queue", "audit_queue"),
        fact("Audit rows since the start", "audit_rows_written"),
    ])];
    blocks.extend(hours(portal, session).await);
    for problem in items(status.get("policy_problems").unwrap_or_default()) {
        blocks.push(Block::Notice(Tone::Bad, super::plain(problem)));
    }
    let sessions = items(status.get("upstreams").unwrap_or_default()).iter().map(|upstream| {
        let failed = !text(upstream, "last_error").is_empty();
        vec![
            Cell::text(text(upstream, "name")),
            Cell::text(text(upstream, "account")),
            Cell::toned(text(upstream, "state"), failed.then_some(Tone::Bad)),
            Cell::text(text(upstream, "sign_ins")),
            Cell::text(text(upstream, "last_error")),
        ]
    });
    blocks.push(Block::Table {
        caption: "Sessions at ERPs".into(),
        columns: ["Upstream", "Account", "State", "Sign-ins", "Last error"].map(str::to_owned).into(),
        rows: sessions.collect(),
        empty: "No upstream is configured: name one under `upstreams` in the configuration.".into(),
    });
    let query = Box::new(AuditQuery { last: 10, decision: Some("denied".into()), ..AuditQuery::default() });
    if let Ok(rows) = portal.run(session, Command::AuditSearch(query)).await {
        blocks.push(super::audit::table("Denied last", &rows, "Nothing was denied yet."));
    }
    blocks
}

/// The requests of the last day, by hour.
async fn hours(portal: &Portal, session: &Session) -> Option<Block> {
    let since = portal.control.clock.now().checked_sub(jiff::SignedDuration::from_hours(24)).ok();
    let query = Box::new(AuditQuery { since, ..AuditQuery::default() });
    let groups = portal.run(session, Command::AuditStats { query, by: StatsBy::Hour }).await.ok()?;
    let number = |group: &serde_json::Value, member: &str| group.get(member).and_then(serde_json::Value::as_u64);
    let bar = |group: &serde_json::Value| {
        let name = super::when(group, "group");
        Some((name, number(group, "allowed")?, number(group, "denied")?))
    };
    let bars = Bar::side_by_side(items(&groups).iter().filter_map(bar).collect());
    Some(Block::Bars { caption: "Requests of the last day, by hour".into(), bars })
}

async fn of_client(portal: &Portal, session: &Session) -> Vec<Block> {
    let sets = match portal.run(session, Command::CredentialList { account: None }).await {
        Ok(sets) => sets,
        Err(error) => return vec![refusal(&error)],
    };
    let mut blocks = vec![super::credentials::table(&sets)];
    let query = Box::new(AuditQuery { last: 10, ..AuditQuery::default() });
    if let Ok(rows) = portal.run(session, Command::AuditSearch(query)).await {
        blocks.push(super::audit::table("Your last requests", &rows, "There was no request yet."));
    }
    blocks
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
