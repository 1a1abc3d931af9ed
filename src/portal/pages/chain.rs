//! Whether the audit trail is whole.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::ui::{Block, Tone, see};
use super::{Shared, form_of, plain_form, refusal, status_of};
use crate::domain::Role;
use crate::portal::Portal;
use crate::portal::verification::Checked;

/// A sentence about the last check.
pub(super) fn told(portal: &Portal) -> (Tone, String) {
    let trail = portal.verification.known();
    if let Some((records, end)) = trail.running {
        return (Tone::Warn, format!("The trail is being checked: {records} records so far, up to place {end}."));
    }
    match trail.last {
        None => (Tone::Warn, "The trail was not checked here since the gateway started.".to_owned()),
        Some(Checked { at, records, broke_off: Some(why), .. }) => {
            (Tone::Bad, format!("The check at {at} broke off after {records} records: {why}"))
        }
        Some(Checked { at, records, findings: 0, .. }) => {
            (Tone::Good, format!("The trail is whole: {records} records, checked at {at}."))
        }
        Some(Checked { at, records, findings, .. }) => {
            (Tone::Bad, format!("The trail is NOT whole: {findings} findings in {records} records, checked at {at}."))
        }
    }
}

pub(super) async fn show(State(portal): Shared, request: Request) -> Response {
    let session = match portal.enter(request.headers()).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    // A client learns nothing of the trail as a whole.
    if session.user.user.authority.role() == Role::Client {
        return super::nothing(State(portal), request).await;
    }
    let (tone, text) = told(&portal);
    let mut blocks = vec![Block::Notice(tone, text)];
    let trail = portal.verification.known();
    if let Some(checked) = trail.last.filter(|checked| !checked.first.is_empty()) {
        blocks.push(Block::Heading("What is wrong, by the place in the trail".into()));
        blocks.push(Block::Lines(checked.first));
    }
    if trail.running.is_none() {
        let form = plain_form("Check the whole trail", "/audit/chain", "Check now");
        blocks.push(Block::Form(form.about(
            "Every record is read and compared with its seal, and the seals with each other. Requests go on meanwhile.",
        )));
    }
    let about = "Whoever holds the gateway's keys can write a trail anew. To see that, keep checkpoints elsewhere \
        (`erp-access audit checkpoint`) or ship the trail to a sink.";
    blocks.push(Block::Text(about.into()));
    portal.page(&session, "Is the trail whole?", "/audit", blocks).live("/audit/chain").answer(StatusCode::OK)
}

pub(super) async fn verify(State(portal): Shared, request: Request) -> Response {
    let (_, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    match portal.begin_verification(session.caller()).await {
        Ok(()) => see("/audit/chain"),
        Err(error) => {
            portal.page(&session, "Is the trail whole?", "/audit", vec![refusal(&error)]).answer(status_of(&error))
        }
    }
}
