//! What a credential set may call, for those who build on it: endpoints with their hours, examples, and `OpenAPI`.

use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::policies::address;
use super::ui::{Block, Cell, Field, Form, Link, Tone};
use super::{Asked, Shared, form_of, items, parsed, refusal, status_of, text, when};
use crate::control::{Command, ControlError, SetQuery, SetState};
use crate::domain::CredentialId;
use crate::portal::Portal;
use crate::portal::sessions::Session;

/// Endpoints on a page.
const ROWS: usize = 50;
/// Sets among which one is chosen.
const SETS: usize = 1000;

pub(super) async fn show(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let (status, blocks) = match shown(&portal, &session, &asked).await {
        Ok(blocks) => (StatusCode::OK, blocks),
        Err(error) => (status_of(&error), vec![refusal(&error)]),
    };
    portal.page(&session, "What may be called", "/api", blocks).answer(status)
}

async fn shown(portal: &Portal, session: &Session, asked: &Asked) -> Result<Vec<Block>, ControlError> {
    let mut choices = Vec::new();
    // Staff comes from the page of a set, and has too many to choose among.
    if session.client().is_some() {
        let query = SetQuery { state: Some(SetState::Active), limit: Some(SETS), ..SetQuery::default() };
        let found = portal.run(session, Command::CredentialSearch(Box::new(query))).await?;
        let sets = items(found.get("items").unwrap_or_default());
        choices = sets.iter().map(|set| (text(set, "id"), text(set, "name"))).collect();
    }
    let chosen = asked.maybe("credential").or_else(|| choices.first().map(|(id, _)| id.clone()));
    let Some(chosen) = chosen else {
        let empty = "You have no credential set that serves: ask whoever runs the gateway for one.";
        return Ok(vec![Block::Text(empty.to_owned())]);
    };
    let id: CredentialId =
        chosen.parse().map_err(|_| ControlError::not_found(format!("there is no credential set `{chosen}`")))?;
    let command =
        Command::CredentialAccess { id, text: asked.maybe("text"), after: asked.maybe("after"), last: Some(ROWS) };
    let answer = portal.run(session, command).await?;
    let mut form = Form::get("", "/api", "Show");
    form = if choices.is_empty() {
        form.field(Field::of("hidden", "credential", "").value(chosen.clone()))
    } else {
        form.field(Field::choice("credential", "Credential set", choices).value(chosen.clone()))
    };
    let words = Field::of("search", "text", "Words").optional().value(asked.text("text"));
    let mut blocks = vec![Block::Form(form.field(words.hint("In the id, the path or the method")))];
    if let Some(why) = answer.get("stopped").and_then(Value::as_str) {
        blocks.push(Block::Notice(Tone::Warn, format!("It may call nothing at the moment: {why}.")));
    }
    blocks.extend(listed(portal, &chosen, asked, &answer));
    Ok(blocks)
}

/// Whether something may be called now, and until when that is so.
fn hours(endpoint: &Value) -> [Cell; 2] {
    let is = |member: &str| endpoint.get(member).and_then(Value::as_bool).unwrap_or_default();
    let (state, tone) = match (is("stopped"), is("open")) {
        (true, _) => ("stopped by an operator", Some(Tone::Bad)),
        (false, true) => ("open", None),
        (false, false) => ("closed", Some(Tone::Warn)),
    };
    let until = if is("always") { "at any hour".to_owned() } else { when(endpoint, "changes_at") };
    [Cell::toned(state, tone), Cell::text(if is("stopped") { String::new() } else { until })]
}

fn remarks(endpoint: &Value) -> String {
    let mut remarks = Vec::new();
    let (body, end) = (text(endpoint, "body"), when(endpoint, "ends_at"));
    if !body.is_empty() {
        remarks.push(format!("body: {body}"));
    }
    if endpoint.get("conditions").and_then(Value::as_bool).unwrap_or_default() {
        remarks.push("what the request holds, or where it comes from, decides too".to_owned());
    }
    if !end.is_empty() {
        remarks.push(format!("until {end}"));
    }
    remarks.join("; ")
}

fn listed(portal: &Portal, chosen: &str, asked: &Asked, answer: &Value) -> Vec<Block> {
    let endpoints = items(answer.get("items").unwrap_or_default());
    let row = |endpoint: &Value| {
        let [now, until] = hours(endpoint);
        vec![
            Cell::text(text(endpoint, "id")),
            Cell::text(text(endpoint, "methods")),
            Cell::text(text(endpoint, "path")),
            now,
            until,
            Cell::text(text(endpoint, "schedules")),
            Cell::text(remarks(endpoint)),
        ]
    };
    let empty = if asked.text("text").is_empty() {
        "It may call nothing yet: ask whoever runs the gateway for a grant."
    } else {
        "No endpoint fits this search."
    };
    let table = Block::Table {
        caption: format!("Endpoints of {}: {}", text(answer, "name"), text(answer, "total")),
        columns: ["Endpoint", "Methods", "Path", "Now", "Until", "Schedules", "Remarks"].map(str::to_owned).into(),
        rows: endpoints.iter().map(row).collect(),
        empty: empty.to_owned(),
    };
    let mut blocks = vec![table];
    let next = text(answer, "next");
    if !next.is_empty() {
        let parts = [("credential", chosen), ("text", asked.text("text")), ("after", next.as_str())];
        let link = Link { href: address("/api", &parts), text: "More endpoints".to_owned(), here: false };
        blocks.push(Block::Links(vec![link]));
    }
    blocks.push(hours_of(answer));
    if !endpoints.is_empty() {
        blocks.push(Block::Heading("Examples".to_owned()));
        blocks.push(Block::Lines(endpoints.iter().map(|endpoint| example(portal, endpoint)).collect()));
    }
    let link = |href: String, text: &str| Link { href, text: text.to_owned(), here: false };
    blocks.push(Block::Links(vec![
        link(format!("/credentials/{chosen}/openapi.json"), "Download this as OpenAPI 3.1"),
        link("/guide".to_owned(), "How to get a token"),
    ]));
    blocks
}

/// The hours of schedules, in their zones.
pub(super) fn hours_of(answer: &Value) -> Block {
    let row = |schedule: &Value| {
        let closed = text(schedule, "state") != "open";
        vec![
            Cell::text(text(schedule, "name")),
            Cell::toned(text(schedule, "state"), closed.then_some(Tone::Warn)),
            Cell::text(when(schedule, "changes_at")),
            Cell::text(format!("{} {}", text(schedule, "changes_at_there"), text(schedule, "time_zone"))),
            Cell::text(text(schedule, "windows")),
        ]
    };
    Block::Table {
        caption: "Hours".into(),
        columns: ["Schedule", "Now", "Changes", "Changes there", "Open, on the clock there"].map(str::to_owned).into(),
        rows: items(answer.get("schedules").unwrap_or_default()).iter().map(row).collect(),
        empty: "No schedule closes it.".into(),
    }
}

/// A line that calls an endpoint.
fn example(portal: &Portal, endpoint: &Value) -> String {
    let offered = &portal.control.offered;
    let method = items(endpoint.get("methods").unwrap_or_default()).first().map(super::plain).unwrap_or_default();
    let verb = if method == "GET" { String::new() } else { format!(" -X {method}") };
    let body = if matches!(method.as_str(), "POST" | "PUT" | "PATCH") {
        " -H 'Content-Type: application/json' -d '{}'"
    } else {
        ""
    };
    let key = if offered.api_key { " -H \"x-api-key: $API_KEY\"" } else { "" };
    let url = format!("{}{}", offered.base(), text(endpoint, "path"));
    format!("curl{verb} -H \"Authorization: Bearer $TOKEN\"{key}{body} '{url}'   # {}", text(endpoint, "id"))
}

pub(super) async fn openapi(State(portal): Shared, Path(id): Path<String>, request: Request) -> Response {
    let session = match portal.enter(request.headers()).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let found = match parsed::<CredentialId>(&id) {
        Ok(id) => portal.run(&session, Command::CredentialOpenapi { id }).await,
        Err(_) => Err(ControlError::not_found(format!("there is no credential set `{id}`"))),
    };
    match found {
        Err(error) => portal.page(&session, "OpenAPI", "/api", vec![refusal(&error)]).answer(status_of(&error)),
        Ok(document) => file("application/json", &format!("{id}.json"), format!("{document:#}\n")),
    }
}

/// An answer that is kept as a file.
pub(super) fn file(kind: &'static str, name: &str, content: String) -> Response {
    let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let kind = HeaderValue::from_static(kind);
    ([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], content).into_response()
}
