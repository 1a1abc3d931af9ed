//! What an audit row says of a thing before and after a change. Never a secret, nor the hash of one.

use serde_json::{Value, json};

use super::{Account, AccountState, Credential, Grant, TokenEntry};
use crate::domain::Labels;
use crate::kill_switch::Engaged;
use crate::schedule::Override;
use crate::store::SealedSecrets;

pub(super) fn account(state: &AccountState) -> Value {
    match state {
        AccountState::Active => json!({ "state": "active" }),
        AccountState::Suspended { reason, at } => json!({ "state": "suspended", "reason": reason, "at": at }),
    }
}

pub(super) fn new_account(account: &Account) -> Value {
    let mut told = self::account(&account.state);
    if let (Some(members), false) = (told.as_object_mut(), account.labels.is_empty()) {
        members.insert("labels".into(), labels(&account.labels));
    }
    told
}

pub(super) fn labels(labels: &Labels) -> Value {
    labels.iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect()
}

pub(super) fn credential(credential: &Credential) -> Value {
    let Credential { name, kind, state, expires_at, purpose, clients, rotated_at, former, grants, .. } = credential;
    let grants: Vec<_> = grants.iter().map(grant).collect();
    json!({
        "name": name, "kind": kind.as_str(), "state": state.as_str(), "expires_at": expires_at, "grants": grants,
        "purpose": purpose, "clients": clients, "rotated_at": rotated_at,
        "former_secrets_end_at": former.as_ref().map(|former| former.ends_at),
    })
}

pub(super) fn grant(grant: &Grant) -> Value {
    json!({ "policy": grant.policy, "expires_at": grant.expires_at })
}

pub(super) fn token(token: &TokenEntry) -> Value {
    json!({ "state": "live", "issued_at": token.issued_at(), "expires_at": token.expires_at() })
}

pub(super) fn switch(engaged: &Engaged) -> Value {
    let Engaged { message, reason, by, at, until, .. } = engaged;
    json!({ "message": message, "reason": reason, "by": by, "at": at, "until": until })
}

pub(super) fn held(held: &Override) -> Value {
    let Override { held, until, reason, by, at, .. } = held;
    json!({ "held": held, "until": until, "reason": reason, "by": by, "at": at })
}

/// How a set's secrets are hashed: the key, and of `$argon2id$v=19$m=…,t=…,p=…$salt$hash` all but the last two parts.
pub(super) fn hashing(set: &Credential) -> Value {
    let parameters: Vec<_> = set.password_hash.split('$').skip(1).take(3).collect();
    json!({ "hashing": parameters.join(" "), "key": set.hash_key })
}

/// Which of the secrets there are.
pub(super) fn secrets(secrets: &SealedSecrets) -> Value {
    let SealedSecrets { username, password, api_key, .. } = secrets;
    let set = |value: &Option<Vec<u8>>| if value.is_some() { "set" } else { "unset" };
    json!({ "username": set(username), "password": set(password), "api_key": set(api_key) })
}
