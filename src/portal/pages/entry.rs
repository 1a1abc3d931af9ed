//! The pages of signing in.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::ui::{Block, Field, Form, Link, Page, Tone, see};
use super::{Asked, Shared, broken};
use crate::portal::Portal;
use crate::portal::sessions::{Begun, Session};
use crate::portal::sign_in::Refused;
use crate::store::Stage;

/// Where somebody goes who has come this far.
pub(super) fn page_of(stage: Stage) -> &'static str {
    match stage {
        Stage::Password => "/sign-in/password",
        Stage::Enrol => "/sign-in/second-factor",
        Stage::Code => "/sign-in/code",
        Stage::Full => "/",
    }
}

/// Leads on, with the cookie of the session that begins.
fn on(begun: Begun) -> Response {
    let mut response = see(page_of(begun.stage));
    response.headers_mut().insert(header::SET_COOKIE, begun.cookie);
    response
}

/// What was not done, with the same form again.
fn again(refused: Refused, title: &str, form: Form) -> Response {
    again_with(refused, title, vec![Block::Form(form)])
}

fn again_with(refused: Refused, title: &str, mut blocks: Vec<Block>) -> Response {
    let (status, text, wait) = match refused {
        Refused::Wrong => (StatusCode::FORBIDDEN, "That is not right, or may not sign in here.".to_owned(), None),
        Refused::Throttled(wait) => {
            let text = format!("Too many attempts. Try again in {} s.", wait.as_secs() + 1);
            (StatusCode::TOO_MANY_REQUESTS, text, Some(wait))
        }
        Refused::Busy => (StatusCode::SERVICE_UNAVAILABLE, "Too much is going on; try again in a moment.".into(), None),
        Refused::Weak(text) => (StatusCode::UNPROCESSABLE_ENTITY, text, None),
        Refused::Failed(error) => return broken(error),
    };
    blocks.insert(0, Block::Notice(Tone::Bad, text));
    let mut response = Page::outside(title, blocks).answer(status);
    if let Some(wait) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    }
    response
}

/// The session of somebody who has come exactly this far.
async fn at(portal: &Arc<Portal>, headers: &HeaderMap, stage: Stage) -> Result<Session, Response> {
    match portal.find_session(headers).await? {
        Some(session) if session.kept.stage == stage => Ok(session),
        Some(session) => Err(see(page_of(session.kept.stage))),
        None => Err(see("/sign-in")),
    }
}

const SIGN_IN: &str = "Sign in";

fn sign_in_form() -> Form {
    Form::post("", "/sign-in", "Sign in")
        .field(Field::of("text", "name", "Name").autocomplete("username"))
        .field(Field::of("password", "password", "Password").autocomplete("current-password"))
}

pub(super) async fn ask(State(portal): Shared, request: Request) -> Response {
    match portal.find_session(request.headers()).await {
        Ok(Some(session)) => see(page_of(session.kept.stage)),
        Ok(None) => Page::outside(SIGN_IN, vec![Block::Form(sign_in_form())]).answer(StatusCode::OK),
        Err(response) => response,
    }
}

/// Where the link leads that an administrator hands over: the same form, which a script fills in from behind the `#`.
pub(super) async fn ask_first() -> Response {
    let about = "Use the first password that an administrator gave you. You choose your own next.";
    let form = Form::post("", "/sign-in", "Go on")
        .about(about)
        .field(Field::of("text", "name", "Name").autocomplete("username"))
        .field(Field::of("password", "password", "First password").autocomplete("off"));
    Page::outside("Welcome", vec![Block::Form(form)]).answer(StatusCode::OK)
}

pub(super) async fn sign_in(State(portal): Shared, request: Request) -> Response {
    let asked = match Asked::read(request).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let before = match portal.find_session(&asked.headers).await {
        Ok(before) => before,
        Err(response) => return response,
    };
    let done = portal.sign_in(asked.text("name"), asked.secret("password"), &asked.visitor, before).await;
    done.map_or_else(|refused| again(refused, SIGN_IN, sign_in_form()), on)
}

const NEW_PASSWORD: &str = "Choose a password";

fn password_form() -> Form {
    let about = "The first password was for this one sign-in. Choose your own: long, and used nowhere else. Several words \
        in a row are easy to keep in mind; a password manager does it for you.";
    Form::post("", "/sign-in/password", "Set password")
        .about(about)
        .field(Field::of("password", "chosen", "New password").autocomplete("new-password"))
        .field(Field::of("password", "again", "The same again").autocomplete("new-password"))
}

pub(super) async fn ask_for_password(State(portal): Shared, request: Request) -> Response {
    match at(&portal, request.headers(), Stage::Password).await {
        Ok(_) => Page::outside(NEW_PASSWORD, vec![Block::Form(password_form())]).answer(StatusCode::OK),
        Err(response) => response,
    }
}

pub(super) async fn choose_password(State(portal): Shared, request: Request) -> Response {
    let asked = match Asked::read(request).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let session = match at(&portal, &asked.headers, Stage::Password).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let chosen = asked.secret("chosen");
    if chosen.expose() != asked.secret("again").expose() {
        let refused = Refused::Weak("the two are not the same".into());
        return again(refused, NEW_PASSWORD, password_form());
    }
    let done = portal.choose_password(&session, None, chosen, &asked.visitor).await;
    done.map_or_else(|refused| again(refused, NEW_PASSWORD, password_form()), on)
}

const SECOND_FACTOR: &str = "Set up your second factor";

fn code_form(action: &str, about: &str, button: &str) -> Form {
    let field = Field::of("text", "code", "Code").autocomplete("one-time-code");
    Form::post("", action, button).about(about).field(field)
}

fn enrol_form() -> Form {
    code_form("/sign-in/second-factor", "Then type the code that it shows.", "Confirm")
}

/// The picture and the text that an authenticator takes, and the form for its first code.
#[expect(clippy::result_large_err, reason = "a page is answered once")]
fn enrolment(portal: &Portal, session: &Session) -> Result<Vec<Block>, Response> {
    let seed = portal.seed_for(session).map_err(|_| broken("no seed for a second factor"))?;
    let Some((picture, text)) = seed.shown(&session.user.user.name) else {
        return Err(broken("a second factor could not be drawn"));
    };
    let about = "Scan this with an authenticator app, or type the key into it. Administrators sign in with a password and \
        a code.";
    let source = format!("data:image/svg+xml;base64,{}", BASE64.encode(picture));
    Ok(vec![
        Block::Text(about.to_owned()),
        Block::Picture { about: "A code to scan with an authenticator app".into(), source },
        Block::Facts(vec![("Key, for typing".into(), text)]),
        Block::Form(enrol_form()),
    ])
}

/// Somebody who must set a second factor up, or who is signed in and wants one and has given the password.
async fn enrolling(portal: &Arc<Portal>, headers: &HeaderMap) -> Result<Session, Response> {
    match portal.find_session(headers).await? {
        Some(session) if session.kept.stage == Stage::Enrol => Ok(session),
        Some(session) if session.kept.stage == Stage::Full && portal.is_proven(&session) => Ok(session),
        Some(session) if session.kept.stage == Stage::Full => Err(see("/me")),
        Some(session) => Err(see(page_of(session.kept.stage))),
        None => Err(see("/sign-in")),
    }
}

pub(super) async fn show_second_factor(State(portal): Shared, request: Request) -> Response {
    let session = match enrolling(&portal, request.headers()).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    match enrolment(&portal, &session) {
        Ok(blocks) => Page::outside(SECOND_FACTOR, blocks).answer(StatusCode::OK),
        Err(response) => response,
    }
}

pub(super) async fn enrol(State(portal): Shared, request: Request) -> Response {
    let asked = match Asked::read(request).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let session = match enrolling(&portal, &asked.headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let (of, code, visitor) = (session.clone(), asked.text("code").to_owned(), asked.visitor.clone());
    match portal.blocking(move |portal| portal.enrol(&of, &code, &visitor)).await {
        Err(refused) => match enrolment(&portal, &session) {
            Ok(blocks) => again_with(refused, SECOND_FACTOR, blocks),
            Err(response) => response,
        },
        Ok((begun, codes)) => {
            // SECURITY: the one time that they are shown.
            let items =
                codes.iter().zip(1..).map(|(code, number)| (format!("Code {number}"), code.expose().to_owned()));
            let about = "Each of these serves once when the authenticator is not at hand. Keep them where you keep what \
                must not be lost.";
            let on = Link { href: "/".into(), text: "I have stored them: go on".into(), here: false };
            let blocks = vec![
                Block::Secrets { about: about.into(), items: items.collect(), more: None },
                Block::Links(vec![on]),
            ];
            let mut response = Page::outside("Recovery codes", blocks).answer(StatusCode::OK);
            response.headers_mut().insert(header::SET_COOKIE, begun.cookie);
            response
        }
    }
}

const CODE: &str = "Second factor";

fn ask_code_form() -> Form {
    let about = "Type the code that your authenticator shows, or one of your recovery codes.";
    code_form("/sign-in/code", about, "Sign in")
}

pub(super) async fn ask_for_code(State(portal): Shared, request: Request) -> Response {
    match at(&portal, request.headers(), Stage::Code).await {
        Ok(_) => Page::outside(CODE, vec![Block::Form(ask_code_form())]).answer(StatusCode::OK),
        Err(response) => response,
    }
}

pub(super) async fn give_code(State(portal): Shared, request: Request) -> Response {
    let asked = match Asked::read(request).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let session = match at(&portal, &asked.headers, Stage::Code).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let code = asked.text("code").to_owned();
    let done = portal.blocking(move |portal| portal.give_code(&session, &code, &asked.visitor)).await;
    done.map_or_else(|refused| again(refused, CODE, ask_code_form()), on)
}
