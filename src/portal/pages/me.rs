//! What somebody has here: a password, and the devices that are signed in.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::ui::{Block, Cell, Field, Form, Tone, see};
use super::{Asked, Shared, broken, form_of};
use crate::portal::Portal;
use crate::portal::sessions::{Session, no_cookie};
use crate::portal::sign_in::Refused;

/// Tells the browser to forget what it holds of us (W3C Clear Site Data).
const FORGET: HeaderValue = HeaderValue::from_static("\"cache\", \"storage\"");

pub(super) async fn sign_out(State(portal): Shared, request: Request) -> Response {
    match portal.find_session(request.headers()).await {
        Ok(Some(session)) => {
            let ended = portal.blocking(move |portal| portal.sign_out(&session, session.kept.id)).await;
            if let Err(refused) = ended {
                return broken(format!("{refused:?}"));
            }
        }
        Ok(None) => {}
        Err(response) => return response,
    }
    let mut response = see("/sign-in");
    response.headers_mut().insert(header::SET_COOKIE, no_cookie());
    response.headers_mut().insert("clear-site-data", FORGET);
    response
}

pub(super) async fn show(State(portal): Shared, request: Request) -> Response {
    match portal.enter(request.headers()).await {
        Ok(session) => shown(&portal, &session, None).await,
        Err(response) => response,
    }
}

async fn shown(portal: &Arc<Portal>, session: &Session, told: Option<(StatusCode, Tone, String)>) -> Response {
    let (status, mut blocks) = match told {
        Some((status, tone, text)) => (status, vec![Block::Notice(tone, text)]),
        None => (StatusCode::OK, Vec::new()),
    };
    let user = &session.user.user;
    let factor = if user.has_totp { "set" } else { "none" };
    blocks.push(Block::Facts(vec![
        ("Name".into(), user.name.clone()),
        ("Role".into(), user.authority.role().to_string()),
        ("Second factor".into(), factor.to_owned()),
    ]));
    let id = user.id;
    let sessions = match portal.blocking(move |portal| Ok(portal.control.store.portal_sessions_of(id)?)).await {
        Ok(sessions) => sessions,
        Err(refused) => return broken(format!("{refused:?}")),
    };
    let row = |known: &crate::store::PortalSession| {
        let here = if known.id == session.kept.id { "this one" } else { "" };
        vec![
            Cell::text(known.client.clone().unwrap_or_default()),
            Cell::text(known.agent.clone().unwrap_or_default()),
            Cell::text(known.began_at.strftime("%F %T UTC").to_string()),
            Cell::text(known.seen_at.strftime("%F %T UTC").to_string()),
            Cell::toned(here, Some(Tone::Good)),
        ]
    };
    blocks.push(Block::Table {
        caption: "Signed-in devices".into(),
        columns: ["Address", "Browser", "Since", "Seen last", ""].map(str::to_owned).into(),
        rows: sessions.iter().map(row).collect(),
        empty: "None.".into(),
    });
    for other in sessions.iter().filter(|other| other.id != session.kept.id) {
        let agent = other.agent.clone().unwrap_or_default();
        let about = format!("{} {agent}", other.client.clone().unwrap_or_default());
        let form = Form::post("", "/me/sessions/end", "Sign this device out").about(about.trim());
        blocks.push(Block::Form(form.field(Field::of("hidden", "session", "").value(other.id.to_string()))));
    }
    let about = "A code of an authenticator app besides the password, and recovery codes. In place of one that is set.";
    let form = Form::post("Second factor", "/me/second-factor", "Set it up").about(about);
    blocks.push(Block::Form(
        form.field(Field::of("password", "present", "Your password").autocomplete("current-password")),
    ));
    let form = Form::post("Change your password", "/me/password", "Change password")
        .about("Your other devices are signed out.")
        .field(Field::of("password", "present", "Present password").autocomplete("current-password"))
        .field(Field::of("password", "chosen", "New password").autocomplete("new-password"))
        .field(Field::of("password", "again", "The same again").autocomplete("new-password"));
    blocks.push(Block::Form(form));
    portal.page(session, "Your account", "/me", blocks).answer(status)
}

pub(super) async fn change_password(State(portal): Shared, request: Request) -> Response {
    let asked = match Asked::read(request).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let session = match portal.enter(&asked.headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let chosen = asked.secret("chosen");
    let refused = if chosen.expose() == asked.secret("again").expose() {
        match portal.choose_password(&session, Some(asked.secret("present")), chosen, &asked.visitor).await {
            Ok(begun) => {
                let mut response = see("/me");
                response.headers_mut().insert(header::SET_COOKIE, begun.cookie);
                return response;
            }
            Err(refused) => refused,
        }
    } else {
        Refused::Weak("the two are not the same".into())
    };
    told(&portal, &session, refused).await
}

/// Goes to where a second factor is set up, in a session whose password was given just now.
pub(super) async fn second_factor(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let proved = match portal.prove(&session, asked.secret("present"), &asked.visitor).await {
        Ok(()) => {
            let (of, visitor) = (session.clone(), asked.visitor.clone());
            portal.blocking(move |portal| portal.begin_proven(&of, &visitor)).await
        }
        Err(refused) => Err(refused),
    };
    match proved {
        Ok(begun) => {
            let mut response = see("/sign-in/second-factor");
            response.headers_mut().insert(header::SET_COOKIE, begun.cookie);
            response
        }
        Err(refused) => told(&portal, &session, refused).await,
    }
}

/// The page again, with what was not done.
async fn told(portal: &Arc<Portal>, session: &Session, refused: Refused) -> Response {
    let (status, text) = match refused {
        Refused::Wrong => (StatusCode::FORBIDDEN, "The present password is another.".to_owned()),
        Refused::Weak(text) => (StatusCode::UNPROCESSABLE_ENTITY, text),
        Refused::Throttled(wait) => {
            (StatusCode::TOO_MANY_REQUESTS, format!("Too many attempts. Try again in {} s.", wait.as_secs() + 1))
        }
        Refused::Busy => (StatusCode::SERVICE_UNAVAILABLE, "Too much is going on; try again in a moment.".to_owned()),
        Refused::Failed(error) => return broken(error),
    };
    shown(portal, session, Some((status, Tone::Bad, text))).await
}

pub(super) async fn end_session(State(portal): Shared, request: Request) -> Response {
    let asked = match Asked::read(request).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let session = match portal.enter(&asked.headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let ended = match asked.text("session").parse() {
        Ok(id) => {
            let of = session.clone();
            portal.blocking(move |portal| portal.sign_out(&of, id)).await
        }
        Err(_) => Ok(false),
    };
    match ended {
        Ok(true) => see("/me"),
        Ok(false) => {
            let text = "That device is not signed in any more.".to_owned();
            shown(&portal, &session, Some((StatusCode::NOT_FOUND, Tone::Warn, text))).await
        }
        Err(refused) => broken(format!("{refused:?}")),
    }
}
