//! The audit trail.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::ui::{Block, Cell, Field, Form, Link, Tone, see};
use super::{Asked, Shared, form_of, items, parsed, refusal, status_of, text, when};
use crate::control::{AuditQuery, Command, ControlError};
use crate::domain::Role;
use crate::portal::Portal;
use crate::portal::sessions::Session;

/// Rows on a page.
const ROWS: usize = 50;

/// The columns of a table of rows.
pub(super) const COLUMNS: [&str; 7] = ["When", "Kind", "Actor", "What", "Decision", "Code", "Status"];

/// A table of audit rows, newest first.
pub(super) fn table(portal: &Portal, session: &Session, caption: &str, rows: &Value, empty: &str) -> Block {
    let row = |row: &Value| {
        let denied = text(row, "decision") == "denied";
        vec![
            Cell::link(when(row, "at"), format!("/audit/{}", text(row, "id"))),
            Cell::text(text(row, "kind")),
            Cell::text(portal.who(session, &text(row, "actor"))),
            Cell::text(format!("{} {}", text(row, "method"), text(row, "path"))),
            Cell::toned(text(row, "decision"), denied.then_some(Tone::Bad)),
            Cell::text(text(row, "code")),
            Cell::text(text(row, "status")),
        ]
    };
    Block::Table {
        caption: caption.to_owned(),
        columns: COLUMNS.map(str::to_owned).into(),
        rows: items(rows).iter().map(row).collect(),
        empty: empty.to_owned(),
    }
}

/// The filter that the address of the page names.
pub(super) fn query(asked: &Asked) -> Result<AuditQuery, ControlError> {
    fn named<T: std::str::FromStr<Err: std::fmt::Display>>(
        asked: &Asked,
        name: &str,
    ) -> Result<Option<T>, ControlError> {
        asked.maybe(name).map(|text| parsed(&text)).transpose()
    }
    Ok(AuditQuery {
        last: ROWS,
        account: named(asked, "account")?,
        credential: named(asked, "credential")?,
        token: named(asked, "token")?,
        code: asked.maybe("code"),
        kind: asked.maybe("kind"),
        decision: asked.maybe("decision"),
        since: named(asked, "since")?,
        until: named(asked, "until")?,
        endpoint: asked.maybe("endpoint"),
        policy: asked.maybe("policy"),
        actor: asked.maybe("actor"),
        client: named(asked, "client")?,
        correlation: asked.maybe("correlation"),
        id: named(asked, "id")?,
        cause: asked.maybe("cause"),
        text: asked.maybe("text"),
        upstream_status: named(asked, "upstream_status")?,
        min_duration_ms: named(asked, "min_duration_ms")?,
        before: named(asked, "before")?,
    })
}

/// The fields of the filter, which are the names in the address, with what they are called.
pub(super) const FILTER: [(&str, &str); 17] = [
    ("account", "Account"),
    ("credential", "Credential set"),
    ("kind", "Kind"),
    ("decision", "Decision"),
    ("code", "Code"),
    ("cause", "Cause"),
    ("since", "Since"),
    ("until", "Until"),
    ("endpoint", "Endpoint"),
    ("policy", "Policy"),
    ("client", "Client's address"),
    ("actor", "Actor"),
    ("token", "Token"),
    ("correlation", "Client's request id"),
    ("text", "Words of the decision path"),
    ("upstream_status", "Status of the ERP"),
    ("min_duration_ms", "Took at least, ms"),
];

fn filter_form(asked: &Asked) -> Form {
    let any = |words: &[&str]| -> Vec<(String, String)> {
        let words = words.iter().map(|word| ((*word).to_owned(), (*word).to_owned()));
        std::iter::once((String::new(), "any".to_owned())).chain(words).collect()
    };
    let field = |(name, label): (&'static str, &str)| {
        let field = match name {
            "kind" => Field::choice(name, label, any(&["relay", "token_attempt", "change", "system"])),
            "decision" => Field::choice(name, label, any(&["allowed", "denied"])),
            "cause" => Field::choice(name, label, any(&["client", "policy", "operator_control", "outage"])),
            _ => Field::of("text", name, label),
        };
        field.optional().value(asked.text(name))
    };
    Form::get("Filter", "/audit", "Show").fields(FILTER.into_iter().map(field))
}

pub(super) async fn search(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let found = match query(&asked) {
        Ok(query) => portal.run(&session, Command::AuditSearch(Box::new(query))).await,
        Err(error) => Err(error),
    };
    let any = Form::get("", "/audit/any", "Find")
        .field(Field::of("search", "any", "Any id").hint("Of a row, a request, a credential set, a token, an account"));
    let mut blocks = vec![Block::Form(any)];
    let staff = session.user.user.authority.role() != Role::Client;
    if staff {
        let link = |href: String, text: &str| Link { href, text: text.to_owned(), here: false };
        blocks.push(Block::Links(vec![
            link(address("/audit/tail", &asked, None), "Follow as it goes on"),
            link("/audit/chain".into(), "Is the trail whole?"),
        ]));
    }
    let status = match found {
        Err(error) => {
            blocks.push(refusal(&error));
            status_of(&error)
        }
        Ok(rows) => {
            blocks.push(table(&portal, &session, "Rows, newest first", &rows, "No row fits this filter."));
            let last = items(&rows).last().filter(|_| items(&rows).len() == ROWS);
            if let Some(seq) = last.map(|row| text(row, "seq")) {
                let href = address("/audit", &asked, Some(&seq));
                blocks.push(Block::Links(vec![Link { href, text: "Older rows".into(), here: false }]));
            }
            StatusCode::OK
        }
    };
    blocks.push(Block::Form(filter_form(&asked)));
    if staff {
        blocks.push(Block::Form(super::audit_export::form(&asked)));
    }
    portal.page(&session, "Audit", "/audit", blocks).answer(status)
}

/// A page about the rows of the same filter, before this place.
fn address(page: &str, asked: &Asked, before: Option<&str>) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    for (name, _) in FILTER {
        if let Some(value) = asked.maybe(name) {
            pairs.append_pair(name, &value);
        }
    }
    if let Some(before) = before {
        pairs.append_pair("before", before);
    }
    format!("{page}?{}", pairs.finish())
}

/// Leads to what an id stands for: a row, or the rows of a credential set, a token, an account or a request.
pub(super) async fn any(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let wanted = asked.text("any");
    let is_there = |command| async { portal.run(&session, command).await.is_ok() };
    if let Ok(id) = wanted.parse()
        && is_there(Command::AuditShow { id }).await
    {
        return see(&format!("/audit/{id}"));
    }
    let to = |name: &str| {
        let pair = form_urlencoded::Serializer::new(String::new()).append_pair(name, wanted).finish();
        see(&format!("/audit?{pair}"))
    };
    if let Ok(id) = wanted.parse()
        && is_there(Command::CredentialShow { id }).await
    {
        return to("credential");
    }
    if let Ok(token) = wanted.parse() {
        let query = AuditQuery { last: 1, token: Some(token), ..AuditQuery::default() };
        let found = portal.run(&session, Command::AuditSearch(Box::new(query))).await.unwrap_or_default();
        if !items(&found).is_empty() {
            return to("token");
        }
    }
    if let Ok(name) = wanted.parse()
        && is_there(Command::AccountShow { name }).await
    {
        return to("account");
    }
    to("correlation")
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
