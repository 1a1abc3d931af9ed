//! Changes of the keys with which programs carry operations out.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::change::{By, ChangeError, Result};
use super::entry::entry;
use super::{Directory, OperatorKey};
use crate::domain::{Authority, OperatorKeyId};
use crate::secrets::{KeyId, KeyedHash};
use crate::store::Seq;

impl Directory {
    /// Issues an operator key.
    ///
    /// # Errors
    /// When the name is taken, the account that it is for does not exist, or the store fails.
    pub fn issue_operator_key(&self, by: &By, new: NewOperatorKey) -> Result<(OperatorKey, Seq)> {
        self.with_lock(|snapshot| {
            if snapshot.operator_keys().any(|key| key.name == new.name) {
                return Err(ChangeError::Conflict(format!("an operator key `{}` exists already", new.name)));
            }
            if new.authority.account().is_some_and(|account| snapshot.account(account).is_none()) {
                return Err(ChangeError::NotFound("there is no such account".into()));
            }
            let id = OperatorKeyId::new(by.at, &*self.entropy)?;
            let NewOperatorKey { name, authority, hash: (hash, hash_key), clients, expires_at } = new;
            let (revoked, created_at) = (false, by.at);
            let key = OperatorKey { id, name, authority, hash, hash_key, clients, expires_at, revoked, created_at };
            let entry = entry(by, "operator-key.issue", id.to_string()).of(authority).changed(Value::Null, shown(&key));
            let seq = self.commit(&entry, |tx| tx.insert_operator_key(&key))?;
            self.swap(|snapshot| snapshot.put_operator_key(key.clone()));
            Ok((key, seq))
        })
    }

    /// Ends an operator key for good.
    ///
    /// # Errors
    /// When there is no such key, it has ended already, or the store fails.
    pub fn revoke_operator_key(&self, by: &By, id: OperatorKeyId) -> Result<Seq> {
        self.with_lock(|snapshot| {
            let before = snapshot.operator_keys().find(|key| key.id == id).ok_or_else(|| {
                ChangeError::NotFound(format!(
                    "there is no operator key `{id}`; `erp-access operator-key list` shows them"
                ))
            })?;
            if before.revoked {
                return Err(ChangeError::Conflict(format!("operator key `{id}` is revoked already")));
            }
            let entry = entry(by, "operator-key.revoke", id.to_string()).changed(shown(before), Value::Null);
            let seq = self.commit(&entry, |tx| tx.revoke_operator_key(id))?;
            let key = OperatorKey { revoked: true, ..OperatorKey::clone(before) };
            self.swap(|snapshot| snapshot.put_operator_key(key.clone()));
            Ok(seq)
        })
    }
}

/// An operator key to be issued; its secret is hashed already.
#[derive(Debug)]
pub struct NewOperatorKey {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub authority: Authority,
    /// Its keyed hash, and the key that made it.
    pub hash: (KeyedHash, KeyId),
    /// The networks from which it serves; everywhere where there are none.
    pub clients: Vec<ipnet::IpNet>,
    /// When it ends.
    pub expires_at: Timestamp,
}

fn shown(key: &OperatorKey) -> Value {
    json!({
        "name": key.name, "role": key.authority.role(), "account": key.authority.account(), "clients": key.clients,
        "expires_at": key.expires_at,
    })
}
