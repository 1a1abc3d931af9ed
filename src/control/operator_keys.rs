//! The keys with which programs carry operations out over HTTP.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Caller, Control, ControlError, Result};
use crate::directory::{By, NewOperatorKey, OperatorKey};
use crate::domain::{AccountName, Actor, IssuedKind, IssuedSecret, OperatorKeyId, Role};
use crate::secrets::HashPurpose;

/// A key to be issued.
#[derive(Debug)]
pub(super) struct IssueKey {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) account: Option<AccountName>,
    pub(super) expires_at: Timestamp,
    pub(super) clients: Vec<ipnet::IpNet>,
}

/// The longest life of a key.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 400);

impl Control {
    /// Issues a key. Its text is in this answer and nowhere else.
    pub(super) fn issue_operator_key(&self, by: &By, issue: IssueKey) -> Result<Value> {
        let name = super::credentials::name_of(&issue.name)?;
        let now = self.clock.now();
        let longest = now.checked_add(LONGEST).map_err(ControlError::failed)?;
        if issue.expires_at <= now || issue.expires_at > longest {
            return Err(ControlError::invalid("a key ends in the future, within 400 days"));
        }
        let authority = self.authority(issue.role, issue.account.as_ref())?;
        let secret = IssuedSecret::generate(IssuedKind::ApiKey, &*self.entropy).map_err(ControlError::failed)?;
        let hash = self.key_ring.keyed_hash(HashPurpose::ApiKey, secret.secret().expose().as_bytes());
        let new = NewOperatorKey { name, authority, hash, clients: issue.clients, expires_at: issue.expires_at };
        let (key, _) = self.directory.issue_operator_key(by, new)?;
        let mut shown = self.shown_key(&key);
        if let Some(members) = shown.as_object_mut() {
            // SECURITY: the only time it leaves the process.
            members.insert("api_key".into(), json!(secret.secret().expose()));
        }
        Ok(shown)
    }

    pub(super) fn list_operator_keys(&self) -> Value {
        let snapshot = self.directory.snapshot();
        let mut keys: Vec<_> = snapshot.operator_keys().collect();
        keys.sort_by_key(|key| key.id);
        keys.into_iter().map(|key| self.shown_key(key)).collect()
    }

    pub(super) fn revoke_operator_key(&self, by: &By, id: OperatorKeyId) -> Result<Value> {
        self.directory.revoke_operator_key(by, id)?;
        Ok(json!({ "id": id, "state": "revoked" }))
    }

    /// Who presents this key from this address; `None` where it does not serve.
    pub(super) fn caller_with(&self, key: &IssuedSecret, from: IpAddr) -> Option<Caller> {
        let snapshot = self.directory.snapshot();
        let text = key.secret().expose().as_bytes();
        let known = self.key_ring.find(HashPurpose::ApiKey, text, |hash| snapshot.operator_key(hash).map(Arc::clone));
        let key = known.filter(|key| key.is_live(self.clock.now()))?;
        let from = from.to_canonical();
        let here = key.clients.is_empty() || key.clients.iter().any(|network| network.contains(&from));
        // A client's key is of no more use than its account.
        let account_lives = key.authority.account().is_none_or(|id| snapshot.account(id).is_some());
        (here && account_lives).then(|| Caller::new(Actor::OperatorKey(key.id), key.authority))
    }

    fn shown_key(&self, key: &OperatorKey) -> Value {
        let snapshot = self.directory.snapshot();
        let account = key.authority.account().and_then(|id| snapshot.account(id)).map(|account| &account.name);
        let state = if key.revoked {
            "revoked"
        } else if key.is_live(self.clock.now()) {
            "active"
        } else {
            "expired"
        };
        json!({
            "id": key.id, "name": key.name, "role": key.authority.role(), "account": account, "state": state,
            "clients": key.clients, "expires_at": key.expires_at, "created_at": key.created_at,
        })
    }
}
