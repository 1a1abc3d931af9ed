//! Policies: what is in force, and what would be decided about a request.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::ui::{Block, Cell, Field, Form, Link, Tone, see};
use super::{Asked, Fields, Shared, drafts, form_of, items, refusal, status_of, text};
use crate::control::{Command, ControlError, Question};
use crate::domain::Role;
use crate::policy::PolicyFile;
use crate::portal::Portal;
use crate::portal::sessions::Session;

pub(super) async fn show(State(portal): Shared, request: Request) -> Response {
    match portal.enter(request.headers()).await {
        Ok(session) => shown(&portal, &session, StatusCode::OK, Vec::new(), &BTreeMap::new()).await,
        Err(response) => response,
    }
}

async fn shown(portal: &Portal, session: &Session, status: StatusCode, told: Vec<Block>, asked: &Fields) -> Response {
    let (mut status, mut blocks) = (status, told);
    let role = session.user.user.authority.role();
    blocks.push(Block::Form(question_form(asked)));
    for problem in &portal.control.policies.problems().0 {
        blocks.push(Block::Notice(Tone::Bad, problem.to_string()));
    }
    match portal.run(session, Command::PolicyInForce { without_holders: true }).await {
        Err(error) => {
            status = status_of(&error);
            blocks.push(refusal(&error));
        }
        Ok(in_force) => {
            let facts = vec![
                ("Generation".to_owned(), text(&in_force, "generation")),
                ("Hash of all texts".to_owned(), text(&in_force, "hash")),
                ("Broken".to_owned(), text(&in_force, "broken")),
            ];
            blocks.push(Block::Facts(facts));
            blocks.push(files(&in_force));
            blocks.push(Block::Links(vec![
                link("/policies/draft", "Write a new file"),
                link("/policies/versions", "Versions that were in force"),
            ]));
            blocks.push(Block::Links(vec![link("/grants", "Who holds what, and what each grant really gives")]));
            if matches!(role, Role::Admin | Role::Operator) {
                let form = Form::post("Read the files again", "/policies/reload", "Reload");
                blocks.push(Block::Form(form.about("They are watched; this asks for it now.")));
            }
        }
    }
    portal.page(session, "Policies", "/policies", blocks).answer(status)
}

fn link(href: impl Into<String>, text: &str) -> Link {
    Link { href: href.into(), text: text.to_owned(), here: false }
}

/// The files in force, with the way to each.
fn files(in_force: &Value) -> Block {
    let row = |file: &Value| {
        let part = |place: usize| items(file).get(place).map(super::plain).unwrap_or_default();
        let (path, text) = (part(0), part(1));
        vec![Cell::link(path.clone(), address_of(&path)), Cell::text(text.lines().count().to_string())]
    };
    Block::Table {
        caption: "Files in force".into(),
        columns: ["File", "Lines"].map(str::to_owned).into(),
        rows: items(in_force.get("files").unwrap_or_default()).iter().map(row).collect(),
        empty: "There is no policy file: nothing is allowed.".into(),
    }
}

/// The address of a page with parts that are no names.
pub(super) fn address(page: &str, parts: &[(&str, &str)]) -> String {
    let said = parts.iter().filter(|(_, value)| !value.is_empty());
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(said).finish();
    if query.is_empty() { page.to_owned() } else { format!("{page}?{query}") }
}

fn address_of(path: &str) -> String {
    address("/policies/file", &[("path", path)])
}

/// One file in force, with numbered lines.
pub(super) async fn file(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let path = asked.text("path");
    let found = drafts::in_force(&portal, &session).await.and_then(|in_force| {
        let text = in_force.files.into_iter().find(|(known, _)| known == path).map(|(_, text)| text);
        let text = text.ok_or_else(|| ControlError::not_found(format!("there is no file `{path}` in force")))?;
        Ok((in_force.generation, text))
    });
    let (generation, text) = match found {
        Ok(found) => found,
        Err(error) => {
            let status = status_of(&error);
            return portal.page(&session, "Policy file", "/policies", vec![refusal(&error)]).answer(status);
        }
    };
    let mut blocks = vec![Block::Text(format!("In force, as generation {generation} of the policies."))];
    blocks.push(match path.parse::<PolicyFile>() {
        Ok(file) if text.len() > drafts::LONGEST => Block::Notice(Tone::Warn, drafts::too_long(&file)),
        Ok(_) => Block::Links(vec![
            link(address("/policies/draft", &[("file", path)]), "Change it"),
            link(address("/policies/draft", &[("file", path), ("delete", "yes")]), "Delete it"),
        ]),
        Err(error) => Block::Notice(Tone::Warn, format!("It cannot be changed here: {error}")),
    });
    blocks.push(numbered(&text));
    portal.page(&session, path, "/policies", blocks).answer(StatusCode::OK)
}

/// A text with its line numbers, as far as it fits onto a page.
pub(super) fn numbered(text: &str) -> Block {
    let mut room = drafts::LONGEST;
    let fits = |line: &&str| {
        room = room.saturating_sub(line.len() + 1);
        room > 0
    };
    let mut lines: Vec<_> =
        text.lines().take_while(fits).zip(1..).map(|(line, number)| format!("{number:>4}  {line}")).collect();
    let more = text.lines().count().saturating_sub(lines.len());
    if more > 0 {
        lines.push(format!("… and {more} more lines; the file is on the machine"));
    }
    Block::Lines(lines)
}

fn question_form(asked: &Fields) -> Form {
    let text = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    let method = if text("method").is_empty() { "GET" } else { text("method") };
    Form::get("What would be decided?", "/policies/explain", "Ask")
        .about("Nothing is sent to the ERP.")
        .field(Field::of("text", "credential", "Credential set").value(text("credential")).hint("Its id or name"))
        .field(Field::of("text", "method", "Method").value(method))
        .field(Field::of("text", "target", "Path and query").value(text("target")).hint("As in /v1/orders/42"))
        .field(Field::of("text", "at", "When").optional().value(text("at")).hint("Now if empty"))
}

pub(super) async fn explain(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let answer = match question(&asked) {
        Ok(question) => portal.run(&session, Command::PolicyExplain(Box::new(question))).await,
        Err(error) => Err(error),
    };
    let (status, told) = match answer {
        Err(error) => (status_of(&error), vec![refusal(&error)]),
        Ok(answer) => (StatusCode::OK, told(&answer)),
    };
    shown(&portal, &session, status, told, &asked.fields).await
}

fn question(asked: &Asked) -> Result<Question, ControlError> {
    Ok(Question {
        credential: asked.text("credential").to_owned(),
        method: asked.text("method").to_owned(),
        target: asked.text("target").to_owned(),
        at: asked.maybe("at").map(|at| super::parsed(&at)).transpose()?,
        client: None,
        headers: Vec::new(),
        body: None,
    })
}

fn told(answer: &Value) -> Vec<Block> {
    let allowed = text(answer, "decision") == "allowed";
    let outcome = if allowed {
        Block::Notice(Tone::Good, format!("Allowed by {}", text(answer, "rule")))
    } else {
        Block::Notice(Tone::Bad, format!("Denied: {} {}", text(answer, "status"), text(answer, "code")))
    };
    let sentences = items(answer.get("sentences").unwrap_or_default()).iter().map(super::plain);
    vec![outcome, Block::Lines(sentences.collect())]
}

pub(super) async fn reload(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    match portal.run(&session, Command::PolicyReload).await {
        Ok(_) => see("/policies"),
        Err(error) => shown(&portal, &session, status_of(&error), vec![refusal(&error)], &asked.fields).await,
    }
}
