//! Portal users and their roles.

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::Value;

use super::ui::{Block, Cell, Field, Form, Link, Tone, see};
use super::{Asked, Shared, form_of, items, parsed, plain_form, proof, proven, refusal, status_of, text, when};
use crate::control::{Command, ControlError};
use crate::domain::Role;
use crate::portal::Portal;
use crate::portal::sessions::Session;

fn roles() -> Vec<(String, String)> {
    Role::ALL.iter().map(|role| (role.to_string(), role.to_string())).collect()
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
    match portal.run(session, Command::UserList).await {
        Err(error) => {
            status = status_of(&error);
            blocks.push(refusal(&error));
        }
        Ok(users) => {
            let row = |user: &Value| {
                let name = text(user, "name");
                let weak = (text(user, "second_factor") == "false").then_some(Tone::Warn);
                vec![
                    Cell::link(name.clone(), format!("/users/{name}")),
                    Cell::text(text(user, "role")),
                    Cell::text(text(user, "account")),
                    Cell::toned(text(user, "state"), (text(user, "state") != "active").then_some(Tone::Warn)),
                    Cell::toned(if weak.is_some() { "none" } else { "set" }, weak),
                    Cell::text(when(user, "created_at")),
                ]
            };
            blocks.push(Block::Table {
                caption: "Users of the portal".into(),
                columns: ["Name", "Role", "Account", "State", "Second factor", "Created"].map(str::to_owned).into(),
                rows: items(&users).iter().map(row).collect(),
                empty: "There is no user yet.".into(),
            });
        }
    }
    if session.user.user.authority.role() == Role::Admin {
        let form = Form::post("New user", "/users", "Create user")
            .about("The first password is shown on the next page, this once.")
            .field(Field::of("text", "name", "Name"))
            .field(Field::choice("role", "Role", roles()).value("auditor"))
            .field(Field::of("text", "account", "Account").optional().hint("For a client: the account it is held to"))
            .fields(proof(portal, session));
        blocks.push(Block::Form(form));
    }
    portal.page(session, "Users", "/users", blocks).answer(status)
}

pub(super) async fn create(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    match try_create(&portal, &session, &asked).await {
        Ok(created) => once(&portal, &session, &asked, &created),
        Err(error) => listed(&portal, &session, Some(error)).await,
    }
}

async fn try_create(portal: &Portal, session: &Session, asked: &Asked) -> Result<Value, ControlError> {
    proven(portal, session, asked).await?;
    let role = parsed(asked.text("role"))?;
    let account = asked.maybe("account").map(|name| parsed(&name)).transpose()?;
    portal.run(session, Command::UserCreate { name: asked.text("name").to_owned(), role, account }).await
}

/// SECURITY: the answer to the form itself: the only time that the password leaves the process.
fn once(portal: &Portal, session: &Session, asked: &Asked, user: &Value) -> Response {
    let name = text(user, "name");
    let items = vec![
        ("Name".to_owned(), name.clone()),
        ("First password".to_owned(), text(user, "password")),
        ("Link".to_owned(), first_link(&asked.headers, user)),
    ];
    let about = "It serves for one sign-in within 72 hours; the first thing to do then is to choose another one. The link \
        fills both in; hand over one of them.";
    let done = Link { href: format!("/users/{name}"), text: "It is handed over: done".into(), here: false };
    let blocks = vec![Block::Secrets { about: about.into(), items, more: None }, Block::Links(vec![done])];
    portal.page(session, "First password", "/users", blocks).answer(StatusCode::OK)
}

/// SECURITY: behind the `#`, where no browser sends it anywhere; the page takes it out of the address and the history.
fn first_link(headers: &HeaderMap, user: &Value) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("PORTAL");
    let scheme = if host.starts_with("localhost") || host.starts_with("127.") { "http" } else { "https" };
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    pairs.append_pair("name", &text(user, "name")).append_pair("password", &text(user, "password"));
    format!("{scheme}://{host}/sign-in/first#{}", pairs.finish())
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
    match portal.run(session, Command::UserShow { name: name.to_owned() }).await {
        Err(error) => {
            status = status_of(&error);
            blocks.push(refusal(&error));
        }
        Ok(user) => {
            let fact = |label: &str, member: &str| (label.to_owned(), text(&user, member));
            blocks.push(Block::Facts(vec![
                fact("Role", "role"),
                fact("Account", "account"),
                fact("State", "state"),
                fact("Second factor set", "second_factor"),
                fact("Must choose a password", "must_change_password"),
                ("Created".into(), when(&user, "created_at")),
            ]));
            if session.user.user.authority.role() == Role::Admin {
                blocks.extend(forms(portal, session, name, &user).into_iter().map(Block::Form));
            }
        }
    }
    portal.page(session, name, "/users", blocks).answer(status)
}

fn forms(portal: &Portal, session: &Session, name: &str, user: &Value) -> Vec<Form> {
    let action = |act: &str| format!("/users/{name}/{act}");
    let with_proof = |form: Form| form.fields(proof(portal, session));
    let state = if text(user, "state") == "active" {
        plain_form("Disable", &action("disable"), "Disable").about("Ends the user's sessions.").danger()
    } else {
        plain_form("Enable", &action("enable"), "Enable")
    };
    let role = plain_form("Role", &action("role"), "Change role")
        .about("Ends the user's sessions.")
        .field(Field::choice("role", "Role", roles()).value(text(user, "role")))
        .field(Field::of("text", "account", "Account").optional().value(text(user, "account")));
    let password = plain_form("Reset the password", &action("reset-password"), "Make a first password")
        .about("The new first password is shown once; the user chooses another at the next sign-in.");
    let mut forms = vec![state, with_proof(role), with_proof(password)];
    if text(user, "second_factor") == "true" {
        let form = plain_form("Reset the second factor", &action("reset-totp"), "Take it away").danger();
        forms.push(with_proof(form.about("For a user who has lost the authenticator and the recovery codes.")));
    }
    forms
}

pub(super) async fn act(State(portal): Shared, Path(path): Path<(String, String)>, request: Request) -> Response {
    let (name, act) = path;
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    match carry_out(&portal, &session, &name, &act, &asked).await {
        Ok(user) if act == "reset-password" => once(&portal, &session, &asked, &user),
        Ok(_) => see(&format!("/users/{name}")),
        Err(error) => shown(&portal, &session, &name, Some(error)).await,
    }
}

async fn carry_out(
    portal: &Portal,
    session: &Session,
    name: &str,
    act: &str,
    asked: &Asked,
) -> Result<Value, ControlError> {
    let name = name.to_owned();
    if matches!(act, "role" | "reset-password" | "reset-totp") {
        proven(portal, session, asked).await?;
    }
    let command = match act {
        "disable" => Command::UserDisable { name },
        "enable" => Command::UserEnable { name },
        "role" => {
            let account = asked.maybe("account").map(|name| parsed(&name)).transpose()?;
            Command::UserRole { name, role: parsed(asked.text("role"))?, account }
        }
        "reset-password" => Command::UserResetPassword { name },
        "reset-totp" => Command::UserResetTotp { name },
        _ => return Err(ControlError::not_found("there is no such page")),
    };
    portal.run(session, command).await
}
