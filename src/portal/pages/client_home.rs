//! The overview of a client: whether the API is there, what it may use of it, and what it did.

use std::sync::Arc;

use serde_json::Value;

use super::ui::{Block, Tone};
use super::{items, refusal, text, when};
use crate::control::{AuditQuery, Command};
use crate::domain::AccountName;
use crate::portal::Portal;
use crate::portal::sessions::Session;

pub(super) async fn blocks(portal: &Arc<Portal>, session: &Session, name: AccountName) -> Vec<Block> {
    let api = match portal.run(session, Command::AccountApi { name }).await {
        Ok(api) => api,
        Err(error) => return vec![refusal(&error)],
    };
    let mut blocks = state(&api);
    blocks.push(super::api::hours_of(&api));
    blocks.extend(super::home::charts(portal, session).await);
    blocks.push(Block::Facts(limits("All your credential sets together", api.get("limits").unwrap_or_default())));
    let sets = portal.run(session, Command::CredentialList { account: None }).await.unwrap_or_default();
    blocks.push(super::credential_list::table("Credential sets", &sets));
    let query = Box::new(AuditQuery { last: 10, ..AuditQuery::default() });
    if let Ok(rows) = portal.run(session, Command::AuditSearch(query)).await {
        blocks.push(super::audit::table(portal, session, "Your last requests", &rows, "There was no request yet."));
    }
    blocks
}

/// Whether the API is there, and until when, on the clock of its schedule too.
fn state(api: &Value) -> Vec<Block> {
    let until = |word: &str| {
        let moment = when(api, "changes_at");
        if moment.is_empty() {
            return String::new();
        }
        let schedules = items(api.get("schedules").unwrap_or_default());
        let deciding = schedules.iter().find(|schedule| when(schedule, "changes_at") == moment);
        let there = deciding.map(|schedule| {
            format!("{} {}, which is ", text(schedule, "changes_at_there"), text(schedule, "time_zone"))
        });
        format!(" {word} {}{moment}", there.unwrap_or_default())
    };
    let always = api.get("always").and_then(Value::as_bool).unwrap_or_default();
    let (tone, told) = match text(api, "state").as_str() {
        "open" if always => (Tone::Good, "The API is open, at any hour.".to_owned()),
        "open" => (Tone::Good, format!("The API is open{}.", until("until"))),
        "closed" => (Tone::Warn, format!("The API is closed{}.", until("until"))),
        "suspended" => {
            (Tone::Bad, "Your account is suspended: none of its requests passes. Ask whoever runs the gateway.".into())
        }
        "nothing" => (
            Tone::Warn,
            "You may call nothing yet: ask whoever runs the gateway for a credential set and a grant.".into(),
        ),
        _ => (Tone::Bad, "An operator has stopped the API.".to_owned()),
    };
    let mut blocks = vec![Block::Notice(tone, told)];
    for stop in items(api.get("stops").unwrap_or_default()) {
        let whole = stop.get("everything").and_then(Value::as_bool).unwrap_or_default();
        let what = if whole { "Everything is stopped" } else { "A part is stopped" };
        let (message, end) = (text(stop, "message"), when(stop, "until"));
        let message = if message.is_empty() { String::new() } else { format!(": {message}") };
        let end = if end.is_empty() { String::new() } else { format!(" It ends {end}.") };
        blocks.push(Block::Notice(Tone::Bad, format!("{what} since {}{message}.{end}", when(stop, "since"))));
    }
    blocks
}

/// How much may be asked for, in words.
pub(super) fn limits(whose: &str, limits: &Value) -> Vec<(String, String)> {
    let seconds = text(limits, "per_seconds");
    let fact = |member: &str, told: &str| {
        let number = text(limits, member);
        (!number.is_empty()).then(|| format!("{number} {told}"))
    };
    let told = [
        fact("requests", &format!("requests in {seconds} s")),
        fact("bytes", &format!("bytes of answers in {seconds} s")),
        fact("concurrent", "requests at once"),
    ];
    let told: Vec<String> = told.into_iter().flatten().collect();
    let told = if told.is_empty() { "no limit of their own".to_owned() } else { told.join(", ") };
    vec![(whose.to_owned(), told)]
}
