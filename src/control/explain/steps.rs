//! A sentence for each step of the decision path: what it looked at and what it said.

use crate::audit::{Kind, Step};

/// `verdict` is the step, what it said, and on what grounds.
pub(super) fn sentence(kind: &str, verdict: &(String, String, String)) -> String {
    let (step, decision, note) = verdict;
    let note = note.trim_end_matches('.');
    let Some(known) = Step::from_text(step) else {
        return format!("Step `{step}` said `{decision}`: {note}.");
    };
    if decision == "allowed" { passed(known, kind, note) } else { denied(known, kind, note) }
}

fn passed(step: Step, kind: &str, note: &str) -> String {
    match step {
        Step::Request => format!("The head of the request was read: {note}."),
        Step::KillSwitch => format!("The kill switch over everything was looked at: {note}."),
        Step::Authentication if kind == Kind::TokenAttempt.as_str() => {
            format!("Client id, password and x-api-key were right: {note}.")
        }
        Step::Authentication => format!("The token was looked up and is live, with its set and account: {note}."),
        Step::Endpoint => format!("The catalogue was searched for method, path and body: they lead to {note}."),
        Step::Policy => format!("The granted policies were asked: {note}."),
        Step::Schedule => format!("The schedule was looked at: {note}."),
        Step::ScopedKillSwitch => {
            format!("The kill switches over this account, policy and upstream were looked at: {note}.")
        }
        Step::Limits => format!("The limits were counted: {note}."),
        Step::Throttle => format!("Earlier failed attempts were counted: {note}."),
        Step::Audit => format!("The audit trail took the decision before the ERP was contacted: {note}."),
        Step::UpstreamSession => format!("A session at the ERP was at hand: {note}."),
    }
}

fn denied(step: Step, kind: &str, note: &str) -> String {
    match step {
        Step::Request => format!("The request itself was refused: {note}."),
        Step::KillSwitch => format!("The kill switch over everything stopped it: {note}."),
        Step::Authentication if kind == Kind::TokenAttempt.as_str() => {
            format!("Client id, password and x-api-key were not accepted: {note}.")
        }
        Step::Authentication => format!("The requester was not accepted: {note}."),
        Step::Endpoint => format!("The catalogue was searched for method, path and body, and refused it: {note}."),
        Step::Policy => format!("The granted policies were asked, and refused it: {note}."),
        Step::Schedule => format!("The schedule refused it: {note}."),
        Step::ScopedKillSwitch => {
            format!("A kill switch over its account, policy or upstream stopped it: {note}.")
        }
        Step::Limits => format!("A limit was reached: {note}."),
        Step::Throttle => format!("It was held off because of earlier attempts: {note}."),
        Step::Audit => format!("The audit trail could not take the decision, so nothing may pass: {note}."),
        Step::UpstreamSession => format!("No session at the ERP could be had: {note}."),
    }
}
