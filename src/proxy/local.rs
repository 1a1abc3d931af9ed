//! Requests that the gateway answers itself: the token endpoint and the public status.

use std::time::Duration;

use http::{Method, StatusCode};
use pingora_proxy::Session;
use serde_json::json;

use crate::audit::{Kind, Step};
use crate::domain::{Code, RequestId};
use crate::gate::{BodyProblem, CleanHead, Denial};
use crate::policy::default_schedule_name;
use crate::relay::Answer;
use crate::schedule::State;
use crate::token::TokenAsked;

use super::received::in_use;
use super::{Gateway, Received, body};

/// The largest body of a token request, in bytes.
const TOKEN_BODY: usize = 8 * 1024;
/// How long a token request's body may take.
const TOKEN_BODY_TIME: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
enum Local {
    Token,
    Revoke,
    Introspect,
    Status,
}

/// The answer to a request that is the gateway's own business; `None` for everything else.
pub(super) async fn answer(gateway: &Gateway, session: &mut Session, id: RequestId) -> Option<Answer> {
    let head = session.req_header();
    let raw = head.raw_path();
    let path = raw.split(|byte| *byte == b'?').next().unwrap_or_default();
    let settings = &gateway.settings;
    let local = match path {
        path if path == settings.token_path.as_bytes() => Local::Token,
        path if path == settings.revoke_path.as_bytes() => Local::Revoke,
        path if path == settings.introspect_path.as_bytes() => Local::Introspect,
        b"/status" if head.method == Method::GET => Local::Status,
        _ => return None,
    };
    match local {
        Local::Status => Some(status(gateway, id)),
        Local::Token | Local::Revoke | Local::Introspect => Some(token(gateway, session, id, local).await),
    }
}

async fn token(gateway: &Gateway, session: &mut Session, id: RequestId, local: Local) -> Answer {
    if let Err(denial) = well_formed(gateway, session) {
        gateway.record_refused(session, id, &denial, Kind::TokenAttempt).await;
        return Answer::oauth_error(id, &denial);
    }
    // Held until it is answered.
    let _place = match gateway.gate.count_address(gateway.client_address(session)) {
        Ok(place) => place,
        Err(denial) => return refused(gateway, session, id, denial).await,
    };
    let read = tokio::time::timeout(TOKEN_BODY_TIME, body::read(session, TOKEN_BODY)).await;
    let body = match read {
        Ok(Ok(body)) => body,
        Ok(Err(problem)) => {
            return refused(gateway, session, id, Denial::body_unread(Step::Request, problem, TOKEN_BODY)).await;
        }
        Err(_) => {
            let late = Denial::body_unread(Step::Request, BodyProblem::Late, TOKEN_BODY);
            return refused(gateway, session, id, late).await;
        }
    };
    let digest = session.digest().and_then(|digest| digest.ssl_digest.clone());
    let asked = TokenAsked {
        id,
        tls: digest.as_deref().map(in_use),
        headers: &session.req_header().headers,
        body,
        client: gateway.client_address(session),
        now: gateway.gate.clock.now(),
    };
    match local {
        Local::Token => gateway.tokens.issue(asked).await,
        Local::Revoke => gateway.tokens.revoke(asked).await,
        Local::Introspect | Local::Status => gateway.tokens.introspect(asked).await,
    }
}

async fn refused(gateway: &Gateway, session: &Session, id: RequestId, denial: Denial) -> Answer {
    gateway.record_refused(session, id, &denial, Kind::TokenAttempt).await;
    Answer::oauth_error(id, &denial)
}

/// One meaning, and `POST`: a token request changes something.
fn well_formed(gateway: &Gateway, session: &Session) -> Result<(), Denial> {
    let received = Received::of(session);
    let _clean = CleanHead::check(&received.head(), &gateway.gate.rules.head)
        .map_err(|refused| Denial::new(Step::Request, refused.code, refused.reason).detail(refused.reason))?;
    if session.req_header().method == Method::POST {
        Ok(())
    } else {
        Err(Denial::new(Step::Request, Code::BadRequest, "not a POST").detail("use POST"))
    }
}

/// Whether the API is open, and when that changes. No secrets, no names.
fn status(gateway: &Gateway, id: RequestId) -> Answer {
    let now = gateway.gate.clock.now();
    let snapshot = gateway.gate.directory.snapshot();
    let policies = gateway.gate.policies.current();
    let state = default_schedule_name().and_then(|name| {
        let schedule = policies.schedule(&name)?;
        Some(snapshot.overrides().state(&name, schedule, now))
    });
    let body = match (snapshot.kill_switches().global(now), state) {
        (Some(engaged), _) => json!({ "state": "stopped", "cause": "operator_control", "message": engaged.message }),
        (None, Some(State::Open { until })) => json!({ "state": "open", "until": until }),
        (None, Some(State::Closed { opens_at })) => {
            json!({ "state": "closed", "cause": "operator_control", "opens_at": opens_at })
        }
        (None, None) => json!({ "state": "closed", "cause": "operator_control", "opens_at": null }),
    };
    Answer::json(StatusCode::OK, id, &body)
}
