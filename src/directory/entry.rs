//! An entry in the stream of changes as it is put together.

use serde_json::Value;

use super::change::By;
use crate::domain::{AccountId, Authority, CredentialId};
use crate::store::Change;

/// An entry in the stream of changes as it is put together.
pub(super) struct Entry(pub(super) Change);

pub(super) fn entry(by: &By, operation: &'static str, subject: String) -> Entry {
    let (at, actor) = (by.at, by.actor.clone());
    Entry(Change { at, actor, operation, subject, account: None, credential: None, detail: None })
}

impl Entry {
    pub(super) fn account(mut self, id: AccountId) -> Self {
        self.0.account = Some(id);
        self
    }

    /// Of what somebody with this authority may do: of the account that it is held to, where it is.
    pub(super) fn of(mut self, authority: Authority) -> Self {
        self.0.account = authority.account();
        self
    }

    pub(super) fn credential(mut self, id: CredentialId) -> Self {
        self.0.credential = Some(id);
        self
    }

    /// What was and what is; null for what is not there.
    pub(super) fn changed(self, before: Value, after: Value) -> Self {
        self.detail([("before", before), ("after", after)])
    }

    /// The same where somebody said why.
    pub(super) fn changed_because(self, reason: &str, before: Value, after: Value) -> Self {
        self.detail([("reason", reason.into()), ("before", before), ("after", after)])
    }

    fn detail(mut self, members: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        self.0.detail = Some(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        self
    }
}
