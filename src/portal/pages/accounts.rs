//! Accounts.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::ui::{Block, Cell, Field, Form, Tone, see};
use super::{Asked, Shared, items, refusal, status_of, text, when};
use crate::control::{Command, ControlError};
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
    match portal.enter(request.headers()).await {
        Ok(session) => listed(&portal, &session, None).await,
        Err(response) => response,
    }
}

async fn listed(portal: &Portal, session: &Session, error: Option<ControlError>) -> Response {
    let mut status = error.as_ref().map_or(StatusCode::OK, status_of);
    let mut blocks: Vec<Block> = error.iter().map(refusal).collect();
    match portal.run(session, Command::AccountList).await {
        Err(error) => {
            status = status_of(&error);
            blocks.push(refusal(&error));
        }
        Ok(accounts) => {
            let row = |account: &Value| {
                let name = text(account, "name");
                vec![
                    Cell::link(name.clone(), format!("/accounts/{name}")),
                    Cell::toned(text(account, "state"), state_tone(account)),
                    Cell::text(text(account, "reason")),
                    Cell::text(text(account, "credential_sets")),
                    Cell::text(when(account, "created_at")),
                ]
            };
            blocks.push(Block::Table {
                caption: "Accounts".into(),
                columns: ["Name", "State", "Reason", "Credential sets", "Created"].map(str::to_owned).into(),
                rows: items(&accounts).iter().map(row).collect(),
                empty: "There is no account yet. Create one for each organisation or team that is given access.".into(),
            });
        }
    }
    if session.user.user.authority.role() == Role::Admin {
        let field = Field::of("text", "name", "Name").hint("a-z, 0-9, dots, dashes; as in acme or acme-warehouse");
        blocks.push(Block::Form(Form::post("New account", "/accounts", "Create account").field(field)));
    }
    portal.page(session, "Accounts", "/accounts", blocks).answer(status)
}

pub(super) async fn create(State(portal): Shared, request: Request) -> Response {
    let asked = match Asked::read(request).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let session = match portal.enter(&asked.headers).await {
        Ok(session) => session,
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
        Err(error) => listed(&portal, &session, Some(error)).await,
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
                ("Created".into(), when(&account, "created_at")),
            ]));
            blocks.push(super::credentials::table(account.get("sets").unwrap_or_default()));
            if session.user.user.authority.role() == Role::Admin {
                blocks.push(Block::Form(state_form(name, &account)));
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

pub(super) async fn set_state(State(portal): Shared, Path(name): Path<String>, request: Request) -> Response {
    let asked = match Asked::read(request).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let session = match portal.enter(&asked.headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let done = match (name_of(&name), asked.text("to")) {
        (Ok(name), "active") => portal.run(&session, Command::AccountActivate { name }).await,
        (Ok(name), "suspended") => {
            let reason = asked.text("reason").to_owned();
            portal.run(&session, Command::AccountSuspend { name, reason }).await
        }
        (Ok(_), _) => Err(ControlError::invalid("an account is made active or suspended")),
        (Err(error), _) => Err(error),
    };
    match done {
        Ok(_) => see(&format!("/accounts/{name}")),
        Err(error) => shown(&portal, &session, &name, Some(error)).await,
    }
}
