//! The end: what was answered and why, and how the exchange with the ERP went.

use crate::audit::{End, Kind, Row, StoredOutcome};
use crate::domain::{Cause, Code};

pub(super) fn sentences(row: &Row) -> Vec<String> {
    let mut sentences = Vec::new();
    match Kind::from_text(&row.kind) {
        Some(Kind::Relay) => {
            sentences.push(decided(row));
            match &row.outcome {
                Some(outcome) => sentences.extend(exchange(outcome)),
                None if row.decision == "allowed" => {
                    sentences.push("How it ended is not recorded yet: it is in progress.".to_owned());
                }
                None => {}
            }
        }
        Some(Kind::TokenAttempt) if row.decision == "allowed" => sentences.push(token_answered(row)),
        Some(Kind::TokenAttempt) => sentences.push(decided(row)),
        Some(Kind::System) | None if row.decision != "allowed" => sentences.push(failed(row)),
        Some(Kind::Change | Kind::System) | None => {}
    }
    if row.repeats > 1 {
        sentences.push(format!("This row stands for {} requests alike.", row.repeats));
    }
    sentences
}

fn decided(row: &Row) -> String {
    if row.decision != "allowed" {
        let answered = match row.status {
            Some(status) => format!("So it was denied and answered with status {status}"),
            None => "So it was denied".to_owned(),
        };
        return row
            .code
            .as_deref()
            .map_or_else(|| format!("{answered}."), |code| format!("{answered}, {}.", meant(code)));
    }
    match (&row.policy, &row.rule) {
        (Some(policy), Some(rule)) => format!("So it was allowed, by rule `{rule}` of policy `{policy}`."),
        (Some(policy), None) => format!("So it was allowed, by policy `{policy}`."),
        (None, _) => "So it was allowed, without a rule: the credential set is unrestricted.".to_owned(),
    }
}

fn failed(row: &Row) -> String {
    row.code.as_deref().map_or_else(|| "It failed.".to_owned(), |code| format!("It failed, {}.", meant(code)))
}

fn token_answered(row: &Row) -> String {
    let done = match (row.path.as_str(), row.token) {
        ("token", Some(token)) => format!("the token {token} was issued"),
        ("revoke", Some(token)) => format!("the token {token} was ended"),
        ("introspect", Some(token)) => format!("the token {token} is live"),
        ("revoke", None) => "no live token of this credential set was named, so none was ended".to_owned(),
        ("introspect", None) => "no live token of this credential set was named".to_owned(),
        (_, _) => "it was done".to_owned(),
    };
    let status = row.status.map_or_else(String::new, |status| format!(", answered with status {status}"));
    format!("So it was allowed: {done}{status}.")
}

/// A code with its meaning and who can do something about it.
fn meant(code: &str) -> String {
    let Some(known) = Code::from_text(code) else { return format!("code `{code}`") };
    let who = match known.cause() {
        Cause::Client => "the request is at fault",
        Cause::Policy => "the policies say so",
        Cause::OperatorControl => "an operator closed it on purpose",
        Cause::Outage => "something is broken",
    };
    format!("code `{code}`: {} ({who})", lower(known.title()))
}

/// A title inside of a sentence; `ERP` and the like stay.
fn lower(title: &str) -> String {
    let mut characters = title.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

fn exchange(outcome: &StoredOutcome) -> Vec<String> {
    let mut sentences = vec![contacted(outcome), ended(outcome)];
    sentences.extend(
        outcome.detail.as_ref().map(|detail| format!("The operator may know: {}.", detail.trim_end_matches('.'))),
    );
    sentences.push(format!(
        "It took {} in all; {} of body came in and {} went out.",
        time(outcome.duration),
        bytes(outcome.request_bytes),
        bytes(outcome.response_bytes)
    ));
    sentences
}

fn contacted(outcome: &StoredOutcome) -> String {
    let times = match outcome.attempts {
        0 => return "The ERP was not contacted.".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    };
    let peer = outcome.upstream_peer.as_ref().map_or_else(String::new, |peer| format!(" at {peer}"));
    let answered = match (outcome.upstream_status, outcome.upstream_duration) {
        (Some(status), Some(after)) => format!("it answered with status {status} after {}", time(after)),
        (Some(status), None) => format!("it answered with status {status}"),
        (None, _) => "it did not answer".to_owned(),
    };
    format!("The request was sent {times} to the ERP{peer}; {answered}.")
}

fn ended(outcome: &StoredOutcome) -> String {
    let with = outcome.status.map_or_else(String::new, |status| format!(" with status {status}"));
    let code = outcome.code.as_deref().map_or_else(String::new, |code| format!(", {}", meant(code)));
    match End::from_text(&outcome.ended) {
        Some(End::Completed) => format!("The answer was passed on whole{with}{code}."),
        Some(End::Failed) if outcome.code.as_deref() == Some(Code::ResponseWithheld.as_str()) => {
            format!("The ERP's answer was withheld; the client was answered{with}{code}.")
        }
        Some(End::Failed) => format!("There was no answer to pass on; the client was answered{with}{code}."),
        Some(End::Aborted) => format!("The client or the ERP broke off{code}."),
        Some(End::Cut) => format!("An operator's act stopped it on its way{code}."),
        Some(End::Interrupted) => {
            "The gateway ended before the relay did; whether the ERP acted is not known.".to_owned()
        }
        None => format!("It ended as `{}`{with}{code}.", outcome.ended),
    }
}

/// Microseconds for people.
fn time(micros: i64) -> String {
    let micros = micros.max(0);
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
    }
}

fn bytes(count: i64) -> String {
    if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") }
}
