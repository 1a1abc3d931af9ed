//! What the operations answer with. Never a secret, but for the one answer that issues them.

use jiff::Timestamp;
use jiff::civil::Weekday;
use serde_json::{Value, json};

use crate::directory::{Account, AccountState, Credential, Pair, TokenEntry};
use crate::domain::AccountName;
use crate::kill_switch::Engaged;
use crate::schedule::{Exception, Holiday, Override, Schedule, Window};

pub(super) fn account(account: &Account, sets: usize) -> Value {
    let (state, reason) = match &account.state {
        AccountState::Active => ("active", None),
        AccountState::Suspended { reason, .. } => ("suspended", Some(reason)),
    };
    let labels: serde_json::Map<_, _> =
        account.labels.iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    json!({
        "name": account.name, "id": account.id, "state": state, "reason": reason, "labels": labels, "contacts": account.contacts, "limits": account.limits,
        "certificates": account.certificates,
        "credential_sets": sets, "revision": account.revision,
        "created_at": account.created_at,
    })
}

pub(super) fn credential(
    credential: &Credential,
    account: Option<&AccountName>,
    now: Timestamp,
    tokens: usize,
) -> Value {
    let state = if credential.has_expired(now) && credential.state == crate::directory::CredentialState::Active {
        "expired"
    } else {
        credential.state.as_str()
    };
    let former = credential
        .former
        .as_ref()
        .filter(|former| former.ends_at > now)
        .map(|former| json!({ "end_at": former.ends_at, "last_used_at": credential.used.last(Pair::Former) }));
    let grants: Vec<_> = credential.grants.iter().map(|grant| grant.policy.as_str()).collect();
    json!({
        "id": credential.id, "account": account, "name": credential.name, "kind": credential.kind.as_str(),
        "reason": credential.reason, "purpose": credential.purpose, "state": state, "grants": grants,
        "clients": credential.clients, "limits": credential.limits,
        "certificates": credential.certificates, "live_tokens": tokens, "expires_at": credential.expires_at,
        "revision": credential.revision, "created_at": credential.created_at, "rotated_at": credential.rotated_at,
        "last_used_at": credential.used.last(Pair::Current), "former_secrets": former,
    })
}

pub(super) fn token(token: &TokenEntry) -> Value {
    json!({
        "id": token.id, "credential": token.credential, "issued_at": token.issued_at(), "expires_at": token.expires_at(),
    })
}

pub(super) fn engaged(engaged: &Engaged) -> Value {
    json!({
        "scope": engaged.scope, "reason": engaged.reason, "message": engaged.message, "engaged_by": engaged.by,
        "engaged_at": engaged.at, "until": engaged.until,
    })
}

pub(super) fn held(held: &Override) -> Value {
    json!({
        "schedule": held.schedule, "held": held.held, "until": held.until, "reason": held.reason, "made_by": held.by,
        "made_at": held.at,
    })
}

/// What a clock on the wall in the schedule's zone shows then.
pub(super) fn there(schedule: &Schedule, at: Option<Timestamp>) -> Option<String> {
    at.map(|at| schedule.wall(at).strftime("%a %Y-%m-%d %H:%M").to_string())
}

pub(super) fn window(window: &Window) -> String {
    let days: Vec<_> = window.days().iter().map(|day| weekday(*day)).collect();
    format!("{} {}", days.join(","), window.opening())
}

pub(super) fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Mon",
        Weekday::Tuesday => "Tue",
        Weekday::Wednesday => "Wed",
        Weekday::Thursday => "Thu",
        Weekday::Friday => "Fri",
        Weekday::Saturday => "Sat",
        Weekday::Sunday => "Sun",
    }
}

pub(super) fn holiday(holiday: &Holiday) -> String {
    format!("{} {}", holiday.date, holiday.name).trim_end().to_owned()
}

pub(super) fn exception(exception: &Exception) -> String {
    let openings: Vec<_> = exception.openings.iter().map(ToString::to_string).collect();
    format!("{} {} {}", exception.date, openings.join(","), exception.name).trim_end().to_owned()
}
