//! ERPs: the gateway's sessions there, and its secrets, which can be set and never read.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::ui::{Block, Cell, Field, Form, Tone, see};
use super::{Asked, Shared, form_of, items, parsed, plain_form, proof, proven, refusal, status_of, text, when};
use crate::control::{Command, ControlError, SecretText};
use crate::domain::{Role, UpstreamName};
use crate::portal::Portal;
use crate::portal::sessions::Session;

pub(super) async fn list(State(portal): Shared, request: Request) -> Response {
    match portal.enter(request.headers()).await {
        Ok(session) => listed(&portal, &session, StatusCode::OK, Vec::new()).await,
        Err(response) => response,
    }
}

async fn listed(portal: &Portal, session: &Session, status: StatusCode, told: Vec<Block>) -> Response {
    let (mut status, mut blocks) = (status, told);
    let role = session.user.user.authority.role();
    match portal.run(session, Command::UpstreamList).await {
        Err(error) => {
            status = status_of(&error);
            blocks.push(refusal(&error));
        }
        Ok(sessions) => {
            let row = |upstream: &Value| {
                let failed = !text(upstream, "last_error").is_empty();
                vec![
                    Cell::text(text(upstream, "name")),
                    Cell::text(text(upstream, "account")),
                    Cell::toned(text(upstream, "state"), failed.then_some(Tone::Bad)),
                    Cell::text(when(upstream, "until")),
                    Cell::text(text(upstream, "sign_ins")),
                    Cell::text(text(upstream, "failures")),
                    Cell::text(text(upstream, "last_error")),
                ]
            };
            let columns = ["ERP", "Account", "State", "Until", "Sign-ins", "Failures", "Last error"];
            blocks.push(Block::Table {
                caption: "Sessions".into(),
                columns: columns.map(str::to_owned).into(),
                rows: items(&sessions).iter().map(row).collect(),
                empty: "No ERP is configured: name one under `upstreams` in the configuration.".into(),
            });
            let mut names: Vec<_> = items(&sessions).iter().map(|upstream| text(upstream, "name")).collect();
            names.dedup();
            for name in names {
                blocks.extend(forms(portal, session, role, &name).into_iter().map(Block::Form));
            }
        }
    }
    portal.page(session, "ERPs", "/upstreams", blocks).answer(status)
}

fn forms(portal: &Portal, session: &Session, role: Role, name: &str) -> Vec<Form> {
    let action = |act: &str| format!("/upstreams/{name}/{act}");
    let account = || Field::of("text", "account", "Account").optional().hint("Whose own ERP user; else the shared one");
    let mut forms = Vec::new();
    if matches!(role, Role::Admin | Role::Operator) {
        let about = "Tells what was sent and received, with secrets masked.";
        forms.push(
            plain_form(&format!("Try the sign-in at {name}"), &action("test"), "Try").about(about).field(account()),
        );
        forms.push(plain_form(&format!("Sign in at {name}"), &action("login"), "Sign in now").field(account()));
    }
    if role == Role::Admin {
        let about = "They take the place of those that are set, and can never be read here.";
        let form = plain_form(&format!("Secrets for {name}"), &action("secret"), "Set secrets")
            .about(about)
            .field(account())
            .field(Field::of("text", "username", "User name").optional())
            .field(Field::of("password", "password", "Password").optional().autocomplete("new-password"))
            .field(Field::of("password", "api_key", "API key").optional().autocomplete("new-password"))
            .fields(proof(portal, session));
        forms.push(form);
    }
    forms
}

pub(super) async fn act(State(portal): Shared, Path(path): Path<(String, String)>, request: Request) -> Response {
    let (upstream, act) = path;
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    match carry_out(&portal, &session, &upstream, &act, &asked).await {
        Ok(report) if act == "test" => listed(&portal, &session, StatusCode::OK, steps(&report)).await,
        Ok(_) => see("/upstreams"),
        Err(error) => listed(&portal, &session, status_of(&error), vec![refusal(&error)]).await,
    }
}

async fn carry_out(
    portal: &Portal,
    session: &Session,
    upstream: &str,
    act: &str,
    asked: &Asked,
) -> Result<Value, ControlError> {
    let upstream: UpstreamName = parsed(upstream)?;
    let account = asked.maybe("account").map(|name| parsed(&name)).transpose()?;
    let command = match act {
        "test" => Command::UpstreamTest { upstream, account },
        "login" => Command::UpstreamLogin { upstream, account },
        "secret" => {
            proven(portal, session, asked).await?;
            let secret = |name: &str| {
                let secret = asked.secret(name);
                (!secret.expose().is_empty()).then(|| SecretText::new(secret))
            };
            let (password, api_key) = (secret("password"), secret("api_key"));
            Command::UpstreamSecretSet { upstream, account, username: asked.maybe("username"), password, api_key }
        }
        _ => return Err(ControlError::not_found("there is no such page")),
    };
    portal.run(session, command).await
}

/// A sign-in, step by step.
fn steps(report: &Value) -> Vec<Block> {
    let mut lines = Vec::new();
    for (step, number) in items(report.get("steps").unwrap_or_default()).iter().zip(1..) {
        lines.push(format!("step {number}  {}", text(step, "request")));
        let indented = |value: &Value| format!("        {}", super::plain(value));
        lines.extend(items(step.get("request_headers").unwrap_or_default()).iter().map(indented));
        lines.push(format!("     → {}", text(step, "answer")));
        lines.extend(items(step.get("answer_headers").unwrap_or_default()).iter().map(indented));
    }
    let error = text(report, "error");
    let outcome = if error.is_empty() {
        Block::Notice(Tone::Good, format!("It works; requests would carry {}.", text(report, "injects")))
    } else {
        Block::Notice(Tone::Bad, error)
    };
    vec![outcome, Block::Lines(lines)]
}
