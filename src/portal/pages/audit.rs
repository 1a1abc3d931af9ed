//! The audit trail.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::ui::{Block, Cell, Field, Form, Link, Tone};
use super::{Asked, Shared, items, refusal, status_of, text, when};
use crate::control::{AuditQuery, Command, ControlError};

/// Rows on a page.
const ROWS: usize = 50;

/// A table of audit rows, newest first.
pub(super) fn table(caption: &str, rows: &Value, empty: &str) -> Block {
    let row = |row: &Value| {
        let denied = text(row, "decision") == "denied";
        vec![
            Cell::link(when(row, "at"), format!("/audit/{}", text(row, "id"))),
            Cell::text(text(row, "kind")),
            Cell::text(text(row, "actor")),
            Cell::text(format!("{} {}", text(row, "method"), text(row, "path"))),
            Cell::toned(text(row, "decision"), denied.then_some(Tone::Bad)),
            Cell::text(text(row, "code")),
            Cell::text(text(row, "status")),
        ]
    };
    Block::Table {
        caption: caption.to_owned(),
        columns: ["When", "Kind", "Actor", "What", "Decision", "Code", "Status"].map(str::to_owned).into(),
        rows: items(rows).iter().map(row).collect(),
        empty: empty.to_owned(),
    }
}

/// The filter that the address of the page names.
fn query(asked: &Asked) -> Result<AuditQuery, ControlError> {
    fn named<T: std::str::FromStr<Err: std::fmt::Display>>(
        asked: &Asked,
        name: &str,
    ) -> Result<Option<T>, ControlError> {
        let text = asked.maybe(name);
        text.map(|text| text.parse().map_err(|error| ControlError::invalid(format!("`{text}`: {error}")))).transpose()
    }
    Ok(AuditQuery {
        last: ROWS,
        account: named(asked, "account")?,
        credential: named(asked, "credential")?,
        kind: asked.maybe("kind"),
        decision: asked.maybe("decision"),
        since: named(asked, "since")?,
        until: named(asked, "until")?,
        id: named(asked, "id")?,
        correlation: asked.maybe("correlation"),
        before: named(asked, "before")?,
        ..AuditQuery::default()
    })
}

/// The fields of the filter, which are the names in the address.
const FILTER: [&str; 8] = ["id", "correlation", "account", "credential", "kind", "decision", "since", "until"];

fn filter_form(asked: &Asked) -> Form {
    let any = |words: &[&str]| -> Vec<(String, String)> {
        let words = words.iter().map(|word| ((*word).to_owned(), (*word).to_owned()));
        std::iter::once((String::new(), "any".to_owned())).chain(words).collect()
    };
    let field = |name: &'static str, label: &str| {
        let field = match name {
            "kind" => Field::choice(name, label, any(&["relay", "token_attempt", "change", "system"])),
            "decision" => Field::choice(name, label, any(&["allowed", "denied"])),
            _ => Field::of("text", name, label),
        };
        field.optional().value(asked.text(name))
    };
    let labels = ["Row", "Client's request id", "Account", "Credential set", "Kind", "Decision", "Since", "Until"];
    let fields = FILTER.iter().zip(labels).map(|(name, label)| field(name, label));
    Form::get("Filter", "/audit", "Show").fields(fields)
}

pub(super) async fn search(State(portal): Shared, request: Request) -> Response {
    let asked = match Asked::read(request).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let session = match portal.enter(&asked.headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let found = match query(&asked) {
        Ok(query) => portal.run(&session, Command::AuditSearch(Box::new(query))).await,
        Err(error) => Err(error),
    };
    let (status, mut blocks) = match found {
        Err(error) => (status_of(&error), vec![refusal(&error)]),
        Ok(rows) => {
            let mut blocks = vec![table("Rows, newest first", &rows, "No row fits this filter.")];
            let last = items(&rows).last().filter(|_| items(&rows).len() == ROWS);
            if let Some(seq) = last.map(|row| text(row, "seq")) {
                blocks.push(Block::Links(vec![older(&asked, &seq)]));
            }
            (StatusCode::OK, blocks)
        }
    };
    blocks.push(Block::Form(filter_form(&asked)));
    portal.page(&session, "Audit", "/audit", blocks).answer(status)
}

/// The way to the rows before this one, with the same filter.
fn older(asked: &Asked, seq: &str) -> Link {
    let mut address = form_urlencoded::Serializer::new(String::new());
    for name in FILTER {
        if let Some(value) = asked.maybe(name) {
            address.append_pair(name, &value);
        }
    }
    let query = address.append_pair("before", seq).finish();
    Link { href: format!("/audit?{query}"), text: "Older rows".into(), here: false }
}

pub(super) async fn show(State(portal): Shared, Path(id): Path<String>, request: Request) -> Response {
    let session = match portal.enter(request.headers()).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let found = match id.parse() {
        Ok(id) => portal.run(&session, Command::AuditShow { id }).await,
        Err(_) => Err(ControlError::not_found(format!("there is no audit row `{id}`"))),
    };
    let (status, blocks) = match found {
        Err(error) => (status_of(&error), vec![refusal(&error)]),
        Ok(row) => (StatusCode::OK, of_row(&row)),
    };
    portal.page(&session, "Audit row", "/audit", blocks).answer(status)
}

fn of_row(row: &Value) -> Vec<Block> {
    let explanation = row.get("explanation").unwrap_or_default();
    let sentences: Vec<String> =
        items(explanation.get("sentences").unwrap_or_default()).iter().map(super::plain).collect();
    let mut blocks = Vec::new();
    if !sentences.is_empty() {
        blocks.push(Block::Heading("What happened".into()));
        blocks.push(Block::Lines(sentences));
    }
    if let Some(policy) = explanation.get("policy").filter(|policy| !policy.is_null()) {
        let line = |line: &Value| {
            let deciding = line.get("deciding").and_then(Value::as_bool) == Some(true);
            format!("{} {:>4}  {}", if deciding { '>' } else { ' ' }, text(line, "number"), text(line, "text"))
        };
        let lines = items(policy.get("lines").unwrap_or_default()).iter().map(line).collect();
        let title = format!("{}, as it was in force from {}", text(policy, "file"), when(policy, "in_force_from"));
        blocks.push(Block::Heading(title));
        blocks.push(Block::Lines(lines));
    }
    if let Some(today) = explanation.get("today").filter(|today| !today.is_null()) {
        let decision = text(today, "decision");
        let decision = if decision.is_empty() { "not known".to_owned() } else { decision };
        blocks.push(Block::Heading("With today's policies".into()));
        blocks.push(Block::Text(format!("{decision}: {}", text(today, "why"))));
    }
    let members = row.as_object().into_iter().flatten();
    let facts =
        members.filter(|(name, value)| !matches!(name.as_str(), "explanation" | "verdicts") && !value.is_null());
    let facts = facts.map(|(name, _)| (name.replace('_', " "), text(row, name)));
    blocks.push(Block::Heading("The row".into()));
    blocks.push(Block::Facts(facts.collect()));
    blocks
}
