//! The first sentence: who asked for what, when and from where.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::audit::{Kind, Row};

/// What the parties of a row are called.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub(super) account: Option<String>,
    pub(super) credential: Option<String>,
}

pub(super) fn sentence(row: &Row, names: &Names) -> String {
    let when = format!("On {} UTC", row.at.strftime("%Y-%m-%d at %H:%M:%S"));
    let who = who(row, names);
    let did = match Kind::from_text(&row.kind) {
        Some(Kind::Relay) => asked(row),
        Some(Kind::TokenAttempt) => attempted(row, names),
        Some(Kind::Change) => changes(row),
        Some(Kind::System) => did_by_itself(row),
        None => format!("left a row of kind `{}`: {} {}", row.kind, row.method, row.path),
    };
    format!("{when} {who} {did}.")
}

fn who(row: &Row, names: &Names) -> String {
    let from = row.client.as_ref().map_or_else(String::new, |address| format!(" at {address}"));
    let by = match row.actor.split_once(':') {
        Some(("credential", id)) => set(Some(id), names),
        Some(("operator", name)) => format!("operator `{name}`"),
        _ if row.actor == "system" => "the gateway by itself".to_owned(),
        _ if row.actor == "unknown" => "somebody who was not recognised".to_owned(),
        _ => format!("`{}`", row.actor),
    };
    format!("{by}{from}")
}

fn set(id: Option<&str>, names: &Names) -> String {
    let name = names.credential.as_ref().map_or_else(String::new, |name| format!(" `{name}`"));
    let id = id.map_or_else(String::new, |id| if name.is_empty() { format!(" {id}") } else { format!(" ({id})") });
    let account = names.account.as_ref().map_or_else(String::new, |name| format!(" of account `{name}`"));
    format!("credential set{name}{id}{account}")
}

fn asked(row: &Row) -> String {
    let query = row.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
    let endpoint =
        row.endpoint.as_ref().map_or_else(String::new, |endpoint| format!(", which is the endpoint `{endpoint}`"));
    format!("asked for {} {}{query}{endpoint}", row.method, row.path)
}

/// The set is the actor only where its password was right; else it is the one that was tried.
fn attempted(row: &Row, names: &Names) -> String {
    let wanted = match row.path.as_str() {
        "token" => "asked for a token",
        "revoke" => "asked to revoke a token",
        "introspect" => "asked whether a token is live",
        other => return format!("asked for `{other}` at the token endpoint"),
    };
    let id = row.credential.map(|id| id.to_string());
    let tried = id.filter(|id| row.actor.split_once(':').is_none_or(|(_, actor)| actor != id));
    let tried = tried.map_or_else(String::new, |id| format!(", with the client id of {}", set(Some(&id), names)));
    format!("{wanted}{tried}")
}

fn changes(row: &Row) -> String {
    let subject = &row.path;
    match row.method.as_str() {
        "account.create" => format!("created the account `{subject}`"),
        "account.label" => format!("changed the labels of the account `{subject}`"),
        "account.suspend" => format!("suspended the account `{subject}`"),
        "account.activate" => format!("ended the suspension of the account `{subject}`"),
        "credential.issue" => format!("issued the credential set {subject}"),
        "credential.enable" => format!("enabled the credential set {subject}"),
        "credential.disable" => format!("disabled the credential set {subject}"),
        "credential.revoke" => format!("revoked the credential set {subject} for good"),
        "credential.rehash" => format!("hashed the password of the credential set {subject} anew"),
        "grant.add" => format!("granted a policy to the credential set {subject}"),
        "grant.remove" => format!("took a policy from the credential set {subject}"),
        "token.revoke" => format!("revoked the token {subject}"),
        "token.revoke-all" => format!("revoked all tokens of the credential set {subject}"),
        "kill.engage" => format!("engaged the kill switch for `{subject}`"),
        "kill.release" => format!("released the kill switch for `{subject}`"),
        "schedule.override.open" => format!("held the schedule `{subject}` open"),
        "schedule.override.close" => format!("held the schedule `{subject}` closed"),
        "schedule.override.lift" => format!("lifted what held the schedule `{subject}`"),
        "schedule.override.end" => format!("removed an override of the schedule `{subject}` whose time was over"),
        "user.create" => format!("created the portal user `{subject}`"),
        "policy.apply" if row.decision != "allowed" => format!("did not change the policy file `{subject}` after all"),
        "policy.apply" => format!("changed the policy file `{subject}`"),
        "upstream.secret.set" => format!("set secrets for the upstream `{subject}`"),
        "upstream.secret.remove" => format!("removed secrets for the upstream `{subject}`"),
        other => format!("did `{other}` to `{subject}`"),
    }
}

fn did_by_itself(row: &Row) -> String {
    let subject = &row.path;
    let failed = row.decision != "allowed";
    match row.method.as_str() {
        "start" => format!("started, listening on {subject}"),
        "stop" => format!("stopped: {subject}"),
        "upstream.login" if failed => format!("tried to sign in to the upstream `{subject}`"),
        "upstream.login" => format!("signed in to the upstream `{subject}`"),
        other => format!("did `{other}`: {subject}"),
    }
}

/// What a change was from and to, and with what else it came.
pub(super) fn changed(row: &Row) -> Option<String> {
    let detail: Value = serde_json::from_str(row.detail.as_deref()?).ok()?;
    let members = detail.as_object()?;
    let mut parts = Vec::new();
    if let (Some(before), Some(after)) = (members.get("before"), members.get("after")) {
        parts.push(from_to(before, after));
    }
    let told: &[&str] = if parts.is_empty() { &[] } else { &["before", "after"] };
    let others: Vec<String> = members
        .iter()
        .filter(|(name, value)| !value.is_null() && !told.contains(&name.as_str()))
        .map(|(name, value)| format!("{} {}", name.replace('_', " "), plain(value)))
        .collect();
    if !others.is_empty() {
        parts.push(format!("With it came: {}.", others.join("; ")));
    }
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// Of two objects, only what differs; what there was none of is not spelt out.
fn from_to(before: &Value, after: &Value) -> String {
    let was = |before: &Value, after: &Value| format!("was {} before and is {} since", plain(before), plain(after));
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let of = |members: &Map<String, Value>, name: &String| members.get(name).cloned().unwrap_or(Value::Null);
            let changes = names.into_iter().map(|name| (name, of(old, name), of(new, name)));
            let told: Vec<String> = changes
                .filter(|(_, old, new)| old != new)
                .map(|(name, old, new)| format!("{} {}", name.replace('_', " "), was(&old, &new)))
                .collect();
            if told.is_empty() { "Nothing differs since.".to_owned() } else { format!("Its {}.", told.join("; its ")) }
        }
        (Value::Null, after) => format!("There was none before; since then: {}.", plain(after)),
        (before, Value::Null) => format!("It was {} before; there is none since.", plain(before)),
        (before, after) => format!("It {}.", was(before, after)),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Null => "nothing".to_owned(),
        Value::Object(members) => {
            let told = members.iter().filter(|(_, value)| !value.is_null());
            told.map(|(name, value)| format!("{} {}", name.replace('_', " "), plain(value)))
                .collect::<Vec<_>>()
                .join(", ")
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
