//! Who may call what: the endpoint catalogue, one endpoint with those who reach it, and grants as a matrix.

use std::collections::BTreeSet;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::policies::address;
use super::ui::{Block, Cell, Field, Form, Link, Tone};
use super::{Asked, Shared, form_of, items, parsed, refusal, status_of, text, when};
use crate::control::{Command, ControlError};

/// Rows on a page of endpoints or of who reaches one.
const ROWS: usize = 50;
/// Sets on a page of the matrix, and policies beside each other.
const SETS: usize = 25;
const COLUMNS: usize = 20;
/// Names in one cell.
const NAMES: usize = 6;

/// A few names, and how many more.
fn few(list: &Value) -> String {
    let names: Vec<String> = items(list).iter().take(NAMES).map(super::plain).collect();
    let more = items(list).len().saturating_sub(NAMES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

fn member<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or_default()
}

/// The way to what comes behind, with the same filter.
fn more(page: &str, filter: &[(&str, &str)], answer: &Value, told: &str) -> Option<Block> {
    let next = text(answer, "next");
    let parts = [filter, &[("after", next.as_str())]].concat();
    let link = || Link { href: address(page, &parts), text: told.to_owned(), here: false };
    (!next.is_empty()).then(|| Block::Links(vec![link()]))
}

pub(super) async fn endpoints(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let command = Command::EndpointList {
        text: asked.maybe("text"),
        credential: asked.maybe("credential"),
        after: asked.maybe("after"),
        last: Some(ROWS),
    };
    let mut blocks = vec![Block::Form(search_form(&asked))];
    let status = match portal.run(&session, command).await {
        Err(error) => {
            blocks.insert(0, refusal(&error));
            status_of(&error)
        }
        Ok(answer) => {
            blocks.extend(catalogue(&asked, &answer));
            StatusCode::OK
        }
    };
    portal.page(&session, "Endpoints", "/endpoints", blocks).answer(status)
}

fn search_form(asked: &Asked) -> Form {
    let field = |name: &'static str, label: &str| Field::of("text", name, label).optional().value(asked.text(name));
    Form::get("Search", "/endpoints", "Show")
        .about("What is not listed here does not exist for clients.")
        .field(field("text", "Text").hint("In the id, the path, the method or the ERP"))
        .field(field("credential", "Credential set").hint("Its id or name: what it reaches"))
}

fn catalogue(asked: &Asked, answer: &Value) -> Vec<Block> {
    let (searched, credential) = (asked.text("text"), asked.text("credential"));
    let row = |endpoint: &Value| {
        let sets = text(endpoint, "sets");
        let mut row = vec![
            Cell::link(text(endpoint, "id"), format!("/endpoints/{}", text(endpoint, "id"))),
            Cell::text(text(endpoint, "methods")),
            Cell::text(text(endpoint, "path")),
            Cell::text(text(endpoint, "upstream")),
            Cell::text(text(endpoint, "body")),
            Cell::toned(sets.clone(), (sets == "0").then_some(Tone::Warn)),
            Cell::text(few(member(endpoint, "policies"))),
        ];
        row.extend((!credential.is_empty()).then(|| Cell::text(text(endpoint, "access"))));
        row
    };
    let mut columns = vec!["Endpoint", "Methods", "Path", "ERP", "Body", "Sets that reach it", "By policies"];
    columns.extend((!credential.is_empty()).then_some("What that set may do"));
    let empty = if searched.is_empty() && credential.is_empty() {
        "There is no endpoint: nothing exists for clients. List what exists in a file in endpoints/ of the policy folder."
    } else {
        "No endpoint fits this search."
    };
    let table = Block::Table {
        caption: format!("Endpoints: {}", text(answer, "total")),
        columns: columns.into_iter().map(str::to_owned).collect(),
        rows: items(member(answer, "items")).iter().map(row).collect(),
        empty: empty.to_owned(),
    };
    let filter = [("text", searched), ("credential", credential)];
    std::iter::once(table).chain(more("/endpoints", &filter, answer, "More endpoints")).collect()
}

pub(super) async fn endpoint(State(portal): Shared, Path(id): Path<String>, request: Request) -> Response {
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let found = match id.parse() {
        Ok(id) => {
            let command = Command::EndpointShow { id, after: asked.maybe("after"), last: Some(ROWS) };
            portal.run(&session, command).await
        }
        Err(_) => Err(ControlError::not_found(format!("there is no endpoint `{id}`"))),
    };
    let (status, blocks) = match found {
        Err(error) => (status_of(&error), vec![refusal(&error)]),
        Ok(answer) => (StatusCode::OK, reached(&id, &answer)),
    };
    portal.page(&session, "Endpoint", "/endpoints", blocks).answer(status)
}

fn reached(id: &str, answer: &Value) -> Vec<Block> {
    let fact = |label: &str, name: &str| (label.to_owned(), text(answer, name));
    let facts = vec![
        fact("Endpoint", "id"),
        fact("Methods", "methods"),
        fact("Path", "path"),
        fact("ERP", "upstream"),
        fact("Body", "body"),
        fact("Sets that reach it", "total"),
    ];
    let row = |holder: &Value| {
        let stopped = text(holder, "stopped");
        let unrestricted = text(holder, "kind") == "unrestricted";
        let by = few(member(holder, "policies"));
        let by = if unrestricted && by.is_empty() { "unrestricted".to_owned() } else { by };
        vec![
            Cell::link(text(holder, "name"), format!("/credentials/{}", text(holder, "id"))),
            Cell::text(text(holder, "account")),
            Cell::text(by),
            Cell::text(text(holder, "access")),
            Cell::toned(stopped.clone(), (!stopped.is_empty()).then_some(Tone::Warn)),
        ]
    };
    let columns = ["Credential set", "Account", "By policies", "What it may do", "Stopped now"];
    let table = Block::Table {
        caption: "Who may call it".into(),
        columns: columns.map(str::to_owned).into(),
        rows: items(member(answer, "holders")).iter().map(row).collect(),
        empty: "No credential set reaches it. Grant a policy that allows it, or delete it from the catalogue.".into(),
    };
    let page = format!("/endpoints/{id}");
    let about =
        "Hours and conditions are those of the rules. Besides, account, credential and kill switches are checked.";
    let more = more(&page, &[], answer, "More credential sets");
    [Block::Facts(facts), Block::Text(about.to_owned()), table].into_iter().chain(more).collect()
}

pub(super) async fn grants(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let answer = match filter(&asked) {
        Ok(command) => portal.run(&session, command).await,
        Err(error) => Err(error),
    };
    let field = |name: &'static str, label: &str| Field::of("text", name, label).optional().value(asked.text(name));
    let form =
        Form::get("Filter", "/grants", "Show").field(field("account", "Account")).field(field("policy", "Policy"));
    let mut blocks = vec![Block::Form(form)];
    let status = match answer {
        Err(error) => {
            blocks.insert(0, refusal(&error));
            status_of(&error)
        }
        Ok(answer) => {
            blocks.extend(matrix(&asked, &answer));
            StatusCode::OK
        }
    };
    portal.page(&session, "Grants", "/grants", blocks).answer(status)
}

fn filter(asked: &Asked) -> Result<Command, ControlError> {
    Ok(Command::GrantMatrix {
        account: asked.maybe("account").map(|name| parsed(&name)).transpose()?,
        policy: asked.maybe("policy").map(|name| parsed(&name)).transpose()?,
        after: asked.maybe("after"),
        last: Some(SETS),
    })
}

fn matrix(asked: &Asked, answer: &Value) -> Vec<Block> {
    let sets = items(member(answer, "items"));
    let held = sets.iter().flat_map(|set| items(member(set, "grants"))).map(|grant| text(grant, "policy"));
    let policies: BTreeSet<String> = held.collect();
    let only = asked.text("policy");
    // The policy that is asked for is shown whatever there is besides.
    let (first, rest): (Vec<_>, Vec<_>) = policies.into_iter().partition(|policy| policy == only);
    let policies: Vec<String> = first.into_iter().chain(rest).collect();
    let (shown, left) = policies.split_at(policies.len().min(COLUMNS));
    let mut columns = vec!["Credential set".to_owned(), "Account".to_owned(), "Stopped now".to_owned()];
    columns.extend(shown.iter().cloned());
    columns.extend((!left.is_empty()).then(|| "Others".to_owned()));
    let mut blocks = vec![Block::Text(
        "What each granted policy really gives beside the others that the set holds, at this moment. Grants are changed on \
         the page of the credential set."
            .to_owned(),
    )];
    blocks.push(Block::Table {
        caption: format!("Credential sets and what their grants give: {}", text(answer, "total")),
        columns,
        rows: sets.iter().map(|set| row(set, shown, left)).collect(),
        empty: "No credential set fits.".into(),
    });
    if !left.is_empty() {
        let text = format!("These sets hold {} more policies: name one above to see it.", left.len());
        blocks.push(Block::Text(text));
    }
    let filter = [("account", asked.text("account")), ("policy", only)];
    blocks.extend(more("/grants", &filter, answer, "More credential sets"));
    blocks
}

fn row(set: &Value, shown: &[String], left: &[String]) -> Vec<Cell> {
    let grants = items(member(set, "grants"));
    let of = |policy: &String| grants.iter().find(|grant| text(grant, "policy") == *policy);
    let stopped = text(set, "stopped");
    let beyond = text(set, "beyond_grants");
    let account = text(set, "account");
    let mut row = vec![
        Cell::link(text(set, "name"), format!("/credentials/{}", text(set, "id"))),
        Cell::text(if beyond.is_empty() { account } else { format!("{account}: {beyond}") }),
        Cell::toned(stopped.clone(), (!stopped.is_empty()).then_some(Tone::Warn)),
    ];
    row.extend(shown.iter().map(|policy| of(policy).map_or_else(|| Cell::text("–"), cell)));
    if !left.is_empty() {
        let others = left.iter().filter(|policy| of(policy).is_some()).count();
        row.push(Cell::text(if others == 0 { "–".to_owned() } else { others.to_string() }));
    }
    row
}

fn cell(grant: &Value) -> Cell {
    let tone = match text(grant, "state").as_str() {
        "permits" => None,
        "broken" => Some(Tone::Bad),
        _ => Some(Tone::Warn),
    };
    let end = when(grant, "expires_at");
    let gives = text(grant, "gives");
    let until =
        if end.is_empty() || text(grant, "state") == "expired" { gives } else { format!("{gives}, until {end}") };
    Cell::toned(until, tone)
}
