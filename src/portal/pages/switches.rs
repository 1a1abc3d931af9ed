//! The kill switch.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::ui::{Block, Cell, Field, Form, see};
use super::{Asked, Shared, items, proof, proven, refusal, status_of, text, when};
use crate::control::{Command, ControlError};
use crate::domain::Role;
use crate::portal::Portal;
use crate::portal::sessions::Session;

/// What must be typed before everything is stopped.
const WORD: &str = "engage";

pub(super) async fn show(State(portal): Shared, request: Request) -> Response {
    match portal.enter(request.headers()).await {
        Ok(session) => shown(&portal, &session, None).await,
        Err(response) => response,
    }
}

async fn shown(portal: &Portal, session: &Session, error: Option<ControlError>) -> Response {
    let mut status = error.as_ref().map_or(StatusCode::OK, status_of);
    let mut blocks: Vec<Block> = error.iter().map(refusal).collect();
    let may = matches!(session.user.user.authority.role(), Role::Admin | Role::Operator);
    match portal.run(session, Command::KillStatus).await {
        Err(error) => {
            status = status_of(&error);
            blocks.push(refusal(&error));
        }
        Ok(engaged) => {
            let row = |switch: &serde_json::Value| {
                vec![
                    Cell::text(text(switch, "scope")),
                    Cell::text(when(switch, "engaged_at")),
                    Cell::text(portal.who(session, &text(switch, "engaged_by"))),
                    Cell::text(text(switch, "reason")),
                    Cell::text(text(switch, "message")),
                    Cell::text(when(switch, "until")),
                ]
            };
            let columns = ["Scope", "Since", "By", "Reason", "Message to clients", "Until"];
            blocks.push(Block::Table {
                caption: "Engaged".into(),
                columns: columns.map(str::to_owned).into(),
                rows: items(&engaged).iter().map(row).collect(),
                empty: "No kill switch is engaged.".into(),
            });
            if may {
                for switch in items(&engaged) {
                    let scope = text(switch, "scope");
                    let form = Form::post(&format!("Release {scope}"), "/kill-switch/release", "Release")
                        .field(Field::of("hidden", "scope", "").value(scope))
                        .field(Field::of("text", "reason", "Reason"));
                    blocks.push(Block::Form(form));
                }
                blocks.push(Block::Form(engage_form(portal, session)));
            }
        }
    }
    portal.page(session, "Kill switch", "/kill-switch", blocks).answer(status)
}

fn engage_form(portal: &Portal, session: &Session) -> Form {
    let scope = "all, account:NAME, policy:NAME or upstream:NAME";
    Form::post("Engage", "/kill-switch/engage", "Stop it now")
        .about(
            "Requests of this scope are answered 503 from now on, and those in progress are cut. The portal stays up.",
        )
        .field(Field::of("text", "scope", "What is stopped").value("all").hint(scope))
        .field(Field::of("text", "reason", "Reason").hint("For the house and the audit trail"))
        .field(Field::of("text", "message", "Message to clients").optional())
        .field(
            Field::of("text", "until", "Until")
                .optional()
                .hint("As in 2026-12-01T18:00:00Z; else until it is released"),
        )
        .field(Field::of("text", "typed", &format!("Type `{WORD}`")))
        .fields(proof(portal, session))
        .danger()
}

pub(super) async fn engage(State(portal): Shared, request: Request) -> Response {
    let asked = match Asked::read(request).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let session = match portal.enter(&asked.headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    match try_engage(&portal, &session, &asked).await {
        Ok(()) => see("/kill-switch"),
        Err(error) => shown(&portal, &session, Some(error)).await,
    }
}

async fn try_engage(portal: &Portal, session: &Session, asked: &Asked) -> Result<(), ControlError> {
    if asked.text("typed") != WORD {
        return Err(ControlError::invalid(format!("type `{WORD}` to stop it; nothing was stopped")));
    }
    proven(portal, session, asked).await?;
    let scope = asked.text("scope").parse().map_err(|error| ControlError::invalid(format!("{error}")))?;
    let until = asked.maybe("until");
    let until = until.map(|text| text.parse().map_err(|error| ControlError::invalid(format!("`{text}`: {error}"))));
    let (message, reason) = (asked.maybe("message"), asked.text("reason").to_owned());
    portal.run(session, Command::KillEngage { scope, message, reason, until: until.transpose()? }).await.map(drop)
}

pub(super) async fn release(State(portal): Shared, request: Request) -> Response {
    let asked = match Asked::read(request).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let session = match portal.enter(&asked.headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let done = match asked.text("scope").parse() {
        Ok(scope) => {
            portal.run(&session, Command::KillRelease { scope, reason: asked.text("reason").to_owned() }).await
        }
        Err(error) => Err(ControlError::invalid(format!("{error}"))),
    };
    match done {
        Ok(_) => see("/kill-switch"),
        Err(error) => shown(&portal, &session, Some(error)).await,
    }
}
