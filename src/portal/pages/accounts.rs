//! Accounts.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::ui::{Block, Cell, Field, Form, Head, Link, Listing, Tone, see};
use super::{Asked, Shared, credential_list, form_of, items, parsed, plain_form, refusal, status_of, text, when};
use crate::control::{Command, ControlError, SetQuery};
use crate::domain::{AccountName, Role};
use crate::portal::Portal;
use crate::portal::sessions::Session;

fn name_of(text: &str) -> Result<AccountName, ControlError> {
    text.parse().map_err(|error| ControlError::invalid(format!("`{text}`: {error}")))
}

fn state_tone(value: &Value) -> Option<Tone> {
    (text(value, "state") != "active").then_some(Tone::Warn)
}

pub(super) async fn list(State(portal): Shared, request: Request) -> Response {
    match form_of(&portal, request).await {
        Ok((asked, session)) => listed(&portal, &session, &asked, None).await,
        Err(response) => response,
    }
}

/// The columns, and the member by which each is sorted.
const COLUMNS: [(&str, &str); 5] = [
    ("Name", "name"),
    ("State", "state"),
    ("Reason", "reason"),
    ("Credential sets", "credential_sets"),
    ("Created", "created_at"),
];

/// Accounts on a page.
const ON_A_PAGE: usize = 100;

async fn listed(portal: &Portal, session: &Session, asked: &Asked, error: Option<ControlError>) -> Response {
    let mut status = error.as_ref().map_or(StatusCode::OK, status_of);
    let mut blocks: Vec<Block> = error.iter().map(refusal).collect();
    match portal.run(session, Command::AccountList).await {
        Err(error) => {
            status = status_of(&error);
            blocks.push(refusal(&error));
        }
        Ok(accounts) => {
            let form = Form::get("", "/accounts", "Show")
                .field(Field::of("search", "text", "Words").optional().value(asked.text("text")));
            blocks.push(Block::Form(form));
            blocks.extend(part(asked, items(&accounts)));
        }
    }
    if session.user.user.authority.role() == Role::Admin {
        let field = Field::of("text", "name", "Name").hint("a-z, 0-9, dots, dashes; as in acme or acme-warehouse");
        blocks.push(Block::Form(Form::post("New account", "/accounts", "Create account").field(field)));
    }
    portal.page(session, "Accounts", "/accounts", blocks).answer(status)
}

/// The part of the accounts that is asked for, with the ways to the others.
fn part(asked: &Asked, accounts: &[Value]) -> Vec<Block> {
    let words = asked.text("text").to_lowercase();
    let fits = |account: &&Value| {
        ["name", "labels", "contacts", "reason"]
            .iter()
            .any(|member| text(account, member).to_lowercase().contains(&words))
    };
    let by = COLUMNS.iter().map(|(_, member)| *member).find(|member| *member == asked.text("sort")).unwrap_or("name");
    let down = asked.text("descending") == "true";
    let mut found: Vec<&Value> = accounts.iter().filter(fits).collect();
    found.sort_by_cached_key(|account| (account.get(by).and_then(Value::as_u64), text(account, by)));
    if down {
        found.reverse();
    }
    let offset: usize = asked.text("offset").parse().unwrap_or_default();
    let rows: Vec<_> = found.iter().skip(offset).take(ON_A_PAGE).map(|account| row(account)).collect();
    let address = |sort: &str, down: bool, offset: usize| {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.append_pair("text", asked.text("text")).append_pair("sort", sort);
        pairs.append_pair("descending", if down { "true" } else { "false" }).append_pair("offset", &offset.to_string());
        format!("/accounts?{}", pairs.finish())
    };
    let head = |(name, member): (&str, &str)| Head {
        text: name.to_owned(),
        href: Some(address(member, member == by && !down, 0)),
        sorted: (member == by).then_some(if down { "descending" } else { "ascending" }),
    };
    let last = offset.saturating_add(rows.len());
    let link = |offset, text: &str| Link { href: address(by, down, offset), text: text.to_owned(), here: false };
    let before = (offset > 0).then(|| link(offset.saturating_sub(ON_A_PAGE), "Those before"));
    let after = (last < found.len()).then(|| link(last, "Those after"));
    let empty = if accounts.is_empty() {
        "There is no account yet. Create one for each organisation or team that is given access."
    } else {
        "No account fits."
    };
    let listing = Listing {
        caption: format!("Accounts {} to {last} of {}", offset.saturating_add(1), found.len()),
        heads: COLUMNS.into_iter().map(head).collect(),
        rows,
        empty: empty.to_owned(),
    };
    vec![Block::Listing(listing), Block::Links(before.into_iter().chain(after).collect())]
}

fn row(account: &Value) -> Vec<Cell> {
    let name = text(account, "name");
    vec![
        Cell::link(name.clone(), format!("/accounts/{name}")),
        Cell::toned(text(account, "state"), state_tone(account)),
        Cell::text(text(account, "reason")),
        Cell::text(text(account, "credential_sets")),
        Cell::text(when(account, "created_at")),
    ]
}

pub(super) async fn create(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let done = match name_of(asked.text("name")) {
        Ok(name) => {
            let created = portal.run(&session, Command::AccountCreate { name: name.clone(), labels: Vec::new() }).await;
            created.map(|_| name)
        }
        Err(error) => Err(error),
    };
    match done {
        Ok(name) => see(&format!("/accounts/{name}")),
        Err(error) => listed(&portal, &session, &asked, Some(error)).await,
    }
}

pub(super) async fn show(State(portal): Shared, Path(name): Path<String>, request: Request) -> Response {
    match portal.enter(request.headers()).await {
        Ok(session) => shown(&portal, &session, &name, None).await,
        Err(response) => response,
    }
}

async fn shown(portal: &Portal, session: &Session, name: &str, error: Option<ControlError>) -> Response {
    let mut status = error.as_ref().map_or(StatusCode::OK, status_of);
    let mut blocks: Vec<Block> = error.iter().map(refusal).collect();
    let account = match name_of(name) {
        Ok(name) => portal.run(session, Command::AccountShow { name }).await,
        Err(error) => Err(error),
    };
    match account {
        Err(error) => {
            status = status_of(&error);
            blocks.push(refusal(&error));
        }
        Ok(account) => {
            blocks.push(Block::Facts(vec![
                ("State".into(), text(&account, "state")),
                ("Reason".into(), text(&account, "reason")),
                ("Labels".into(), text(&account, "labels")),
                ("Contacts".into(), text(&account, "contacts")),
                ("Limits".into(), text(&account, "limits")),
                ("Client certificates".into(), text(&account, "certificates")),
                ("Created".into(), when(&account, "created_at")),
            ]));
            blocks.extend(sets(portal, session, name).await);
            if session.user.user.authority.role() == Role::Admin {
                blocks.extend(forms(name, &account).into_iter().map(Block::Form));
            }
        }
    }
    portal.page(session, name, "/accounts", blocks).answer(status)
}

fn state_form(name: &str, account: &Value) -> Form {
    let action = format!("/accounts/{name}/state");
    if text(account, "state") == "suspended" {
        let form = Form::post("Activate", action, "Activate account");
        return form.field(Field::of("hidden", "to", "").value("active"));
    }
    Form::post("Suspend", action, "Suspend account")
        .about("None of its requests passes until it is activated again, and those in progress are cut.")
        .field(Field::of("hidden", "to", "").value("suspended"))
        .field(Field::of("text", "reason", "Reason"))
        .danger()
}

/// The account's sets, the first of them.
async fn sets(portal: &Portal, session: &Session, name: &str) -> Vec<Block> {
    let query = SetQuery { account: name.parse().ok(), limit: Some(ON_A_PAGE), ..SetQuery::default() };
    match portal.run(session, Command::CredentialSearch(Box::new(query.clone()))).await {
        Err(error) => vec![refusal(&error)],
        Ok(found) => {
            let table = credential_list::table("Credential sets", found.get("items").unwrap_or_default());
            let all = format!("All {} credential sets of this account", text(&found, "total"));
            vec![table, Block::Links(vec![Link { href: credential_list::address(&query), text: all, here: false }])]
        }
    }
}

/// What may be done with an account.
fn forms(name: &str, account: &Value) -> Vec<Form> {
    let action = |act: &str| format!("/accounts/{name}/{act}");
    let labels = account.get("labels").and_then(Value::as_object).into_iter().flatten();
    let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={}", super::plain(value))).collect();
    let mut forms = vec![
        state_form(name, account),
        plain_form("Contacts", &action("contacts"), "Keep")
            .about("How its people are reached, in place of what is there.")
            .field(
                Field::of("text", "contacts", "Contacts")
                    .optional()
                    .value(text(account, "contacts"))
                    .hint("Separated by commas"),
            ),
        plain_form("Labels", &action("label"), "Change labels").field(
            Field::of("text", "changes", "Changes")
                .value(labels.join(" "))
                .hint("Separated by spaces: key=value sets one, key- removes one"),
        ),
        plain_form("Rename", &action("rename"), "Rename")
            .about("Its rows are still found by the former name.")
            .field(Field::of("text", "new_name", "New name")),
    ];
    if text(account, "credential_sets") == "0" {
        let typed = Field::of("text", "typed", &format!("Type its name ({name})"));
        let form = plain_form("Delete", &action("delete"), "Delete account").danger().field(typed);
        forms.push(form.about("Its audit rows stay."));
    }
    forms
}

pub(super) async fn act(State(portal): Shared, Path(path): Path<(String, String)>, request: Request) -> Response {
    let (name, act) = path;
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let done = match command(&name, &act, &asked) {
        Ok(command) => portal.run(&session, command).await,
        Err(error) => Err(error),
    };
    match (done, act.as_str()) {
        (Ok(_), "delete") => see("/accounts"),
        (Ok(_), "rename") => see(&format!("/accounts/{}", asked.text("new_name"))),
        (Ok(_), _) => see(&format!("/accounts/{name}")),
        (Err(error), _) => shown(&portal, &session, &name, Some(error)).await,
    }
}

fn command(name: &str, act: &str, asked: &Asked) -> Result<Command, ControlError> {
    let typed = asked.text("typed") == name;
    let name = name_of(name)?;
    Ok(match act {
        "state" => match asked.text("to") {
            "active" => Command::AccountActivate { name },
            "suspended" => Command::AccountSuspend { name, reason: asked.text("reason").to_owned() },
            _ => return Err(ControlError::invalid("an account is made active or suspended")),
        },
        "contacts" => {
            let contacts = asked.text("contacts").split(',').map(str::trim).filter(|contact| !contact.is_empty());
            Command::AccountContacts { name, contacts: contacts.map(str::to_owned).collect() }
        }
        "label" => {
            let changes = asked.text("changes").split_whitespace().map(parsed).collect::<Result<_, _>>()?;
            Command::AccountLabel { name, changes }
        }
        "rename" => Command::AccountRename { name, new_name: name_of(asked.text("new_name"))? },
        "delete" if typed => Command::AccountDelete { name },
        "delete" => return Err(ControlError::invalid("type the account's name to delete it")),
        _ => return Err(ControlError::not_found("there is no such page")),
    })
}
