//! What was taken away since a backup was made: a restore must not bring it back silently.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::Value;

use super::revocation::{Restored, Revocation, What};
use crate::directory::CredentialState;
use crate::domain::{AccountId, AccountName, Authority, CredentialId, PolicyName, Role};
use crate::kill_switch::Engaged;
use crate::schedule::{Held, Override};
use crate::store::RecordedChange;

/// Where it is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The changes of the state that is replaced.
    State,
    /// The audit trail, because that state is not there or of another history.
    Audit,
    /// Nothing here continues the backup.
    Nothing,
}

/// What happened since the backup was made.
#[derive(Debug)]
pub struct Since {
    /// Where it is known from.
    pub source: Source,
    /// What was taken away and is there again in the backup.
    pub revocations: Vec<Revocation>,
    /// The other changes that are lost, by operation.
    pub lost: BTreeMap<String, usize>,
}

/// The operation of a restore.
pub(super) const RESTORE: &str = "db.restore";

/// Operations after which the backup gives nobody more than there was, or what is gone with every restore.
const OF_NO_WEIGHT: &[&str] = &["token.revoke", "token.revoke-all", "credential.rehash", "key.reseal"];

impl Since {
    /// Reads what happened from the changes since, oldest first. What is in the backup already, or not in it at all, is
    /// left out.
    pub(super) fn read(source: Source, changes: &[RecordedChange], restored: &Restored<'_>) -> Self {
        let mut found: BTreeMap<String, Revocation> = BTreeMap::new();
        let mut renamed: BTreeMap<AccountName, AccountId> = BTreeMap::new();
        let mut lost: BTreeMap<String, usize> = BTreeMap::new();
        let oldest = changes.first().map_or(0, |change| change.seq.0.saturating_sub(1));
        for change in effective(changes, u64::MAX) {
            if let ("account.rename", Ok(name), Some(id)) =
                (change.operation.as_str(), change.subject.parse(), change.account)
            {
                renamed.insert(name, id);
            }
            if !note(change, oldest, &mut found) && !OF_NO_WEIGHT.contains(&change.operation.as_str()) {
                *lost.entry(change.operation.clone()).or_default() += 1;
            }
        }
        let there = |revocation: Revocation| revocation.missing_in(restored, &renamed);
        Self { source, revocations: found.into_values().filter_map(there).collect(), lost }
    }
}

/// The changes up to this one that made the state what it is: a restore since undid those between its backup and itself.
fn effective(changes: &[RecordedChange], through: u64) -> Vec<&RecordedChange> {
    let through = || changes.iter().filter(move |change| change.seq.0 <= through);
    let Some(restore) = through().rfind(|change| change.operation == RESTORE) else { return through().collect() };
    let of_backup = restored_to(restore).filter(|backup| *backup < restore.seq.0);
    let mut all = of_backup.map_or_else(Vec::new, |backup| effective(changes, backup));
    all.extend(through().filter(|change| change.seq >= restore.seq));
    all
}

/// The last change of the backup that a restore put in place.
fn restored_to(restore: &RecordedChange) -> Option<u64> {
    let detail: Value = serde_json::from_str(restore.detail.as_deref()?).ok()?;
    detail.get("change")?.as_u64()
}

/// Notes what a change took away, and forgets what it gave back; says whether it is one of either.
fn note(change: &RecordedChange, oldest: u64, found: &mut BTreeMap<String, Revocation>) -> bool {
    let detail: Value = change.detail.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let after = detail.get("after").unwrap_or(&Value::Null);
    let subject = &change.subject;
    let mut put = |key: String, what: Option<What>| {
        let what = what.map(|what| Revocation { what, at: change.at, by: change.actor.clone() });
        match what {
            Some(revocation) => found.insert(key, revocation),
            None => found.remove(&key),
        };
    };
    let set = change.credential;
    match change.operation.as_str() {
        "credential.revoke" => put(key("set", set), set.map(|id| What::Credential(id, CredentialState::Revoked))),
        "credential.disable" => put(key("set", set), set.map(|id| What::Credential(id, CredentialState::Disabled))),
        "credential.enable" => put(key("set", set), None),
        "credential.rotate" => put(key("secrets", set), set.map(What::Secrets)),
        "credential.rotate-end" => put(key("former", set), set.map(What::Former)),
        "credential.update" => put(key("reach", set), set.map(|id| What::Reach(id, end(after), networks(after)))),
        "account.suspend" => {
            let reason = detail.get("reason").or_else(|| after.get("reason")).and_then(Value::as_str);
            let reason = reason.unwrap_or("suspended before a restore").to_owned();
            put(key("account", change.account), change.account.map(|id| What::Account(id, reason)));
        }
        "account.delete" => {
            let what = change.account.map(|id| What::Account(id, "deleted before a restore".into()));
            put(key("account", change.account), what);
        }
        "account.activate" => put(key("account", change.account), None),
        "grant.remove" => {
            let policy = named(detail.get("before").unwrap_or(&Value::Null), "policy");
            put(grant_key(set, policy.as_ref()), set.zip(policy).map(|(id, policy)| What::Grant(id, policy)));
        }
        "grant.add" => {
            let policy: Option<PolicyName> = named(after, "policy");
            let what = set.zip(policy.clone()).map(|(id, policy)| What::GrantEnd(id, policy, end(after)));
            put(grant_key(set, policy.as_ref()), what);
        }
        "operator-key.revoke" => put(format!("key {subject}"), subject.parse().ok().map(What::OperatorKey)),
        "user.disable" => put(format!("user {subject}"), Some(What::User(subject.clone(), "was disabled"))),
        "user.enable" => put(format!("user {subject}"), None),
        "user.reset-password" => {
            put(format!("password {subject}"), Some(What::User(subject.clone(), "got another password")));
        }
        "user.password" | "user.second-factor" => {
            put(
                format!("password {subject}"),
                Some(What::User(subject.clone(), "chose another secret to sign in with")),
            );
        }
        "user.role" => {
            let role: Option<Role> = named(after, "role");
            let authority = role.and_then(|role| Authority::of(role, named(after, "account")));
            put(format!("role {subject}"), authority.map(|authority| What::Role(subject.clone(), authority)));
        }
        "kill.engage" => put(format!("kill {subject}"), engaged(change, after).map(What::Killed)),
        "kill.release" | "kill.end" => put(format!("kill {subject}"), None),
        "schedule.override.close" => put(format!("closed {subject}"), closed(change, after).map(What::Closed)),
        "schedule.override.end" => put(format!("closed {subject}"), None),
        "schedule.override.lift" => {
            put(format!("closed {subject}"), None);
            put(format!("lifted {subject}"), subject.parse().ok().map(What::Lifted));
        }
        "schedule.override.open" => put(format!("lifted {subject}"), None),
        "upstream.secret.remove" => {
            let what = subject.parse().ok().zip(change.account).map(|(name, id)| What::UpstreamSecrets(name, id));
            put(format!("secrets at {subject} {:?}", change.account), what);
        }
        RESTORE => {
            // What lies before the oldest change that is known here.
            let before = restored_to(change).is_none_or(|backup| backup < oldest);
            put(RESTORE.to_owned(), before.then(|| What::WentBack(subject.clone())));
            return false;
        }
        _ => return false,
    }
    true
}

fn key(kind: &str, id: Option<impl fmt::Display>) -> String {
    id.map_or_else(|| kind.to_owned(), |id| format!("{kind} {id}"))
}

fn grant_key(set: Option<CredentialId>, policy: Option<&PolicyName>) -> String {
    format!("{} {}", key("grant", set), policy.map_or("", PolicyName::as_str))
}

fn named<T: std::str::FromStr>(value: &Value, member: &str) -> Option<T> {
    value.get(member)?.as_str()?.parse().ok()
}

fn end(after: &Value) -> Option<Timestamp> {
    named(after, "expires_at")
}

fn networks(after: &Value) -> Vec<IpNet> {
    let list = after.get("clients").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|network| network.as_str()?.parse().ok()).collect()
}

fn engaged(change: &RecordedChange, after: &Value) -> Option<Engaged> {
    let text = |member: &str| after.get(member).and_then(Value::as_str).map(str::to_owned);
    Some(Engaged {
        scope: change.subject.parse().ok()?,
        message: text("message"),
        reason: text("reason").unwrap_or_default(),
        by: text("by").unwrap_or_else(|| change.actor.clone()),
        at: named(after, "at").unwrap_or(change.at),
        until: named(after, "until"),
    })
}

fn closed(change: &RecordedChange, after: &Value) -> Option<Override> {
    let reason = after.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Override {
        schedule: change.subject.parse().ok()?,
        held: Held::Closed,
        until: named(after, "until")?,
        reason,
        by: change.actor.clone(),
        at: change.at,
    })
}

#[cfg(test)]
#[path = "since_tests.rs"]
mod tests;
