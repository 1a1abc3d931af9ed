//! What a template may refer to: the secrets that were set, the account, and the values that steps extracted.

use std::collections::BTreeMap;

use super::error::{SessionError, UnusableRecipe};
use super::key::AccountRef;
use super::vault::UpstreamSecrets;
use crate::domain::Secret;

/// An extracted value shorter than this, in bytes, is no token: a user number or a language. Taken for a secret, it
/// would be cut out of every answer.
pub(super) const SHORTEST_TOKEN: usize = 8;

/// The values by name. `Debug` shows none.
#[derive(Debug, Clone)]
pub(super) struct Variables {
    secrets: UpstreamSecrets,
    account: Option<(Secret, Secret)>,
    extracted: BTreeMap<String, Secret>,
}

impl Variables {
    /// The secrets alone.
    pub(super) fn of(secrets: &UpstreamSecrets) -> Self {
        Self::restored(secrets, BTreeMap::new())
    }

    /// The same, on behalf of an account.
    #[must_use]
    pub(super) fn for_account(mut self, account: Option<&AccountRef>) -> Self {
        let known = |account: &AccountRef| (account.name.to_string(), account.id.to_string());
        self.account = account.map(known).map(|(name, id)| (Secret::new(name), Secret::new(id)));
        self
    }

    /// The secrets and what an earlier sign-in extracted.
    pub(super) fn restored(secrets: &UpstreamSecrets, extracted: BTreeMap<String, Secret>) -> Self {
        Self { secrets: secrets.clone(), account: None, extracted }
    }

    /// Keeps an extracted value; a later step may replace it.
    pub(super) fn keep(&mut self, name: &str, value: Secret) {
        self.extracted.insert(name.to_owned(), value);
    }

    /// The value of `name`.
    pub(super) fn get(&self, name: &str) -> Result<&Secret, SessionError> {
        if let Some(secret) = self.set_secret(name) {
            return secret.as_ref().ok_or_else(|| SessionError::NoSecret { missing: name.to_owned() });
        }
        let found = match (name, &self.account) {
            ("account.name", Some((name, _))) => Some(name),
            ("account.id", Some((_, id))) => Some(id),
            _ => self.extracted.get(name),
        };
        found.ok_or_else(|| SessionError::Unusable { reason: UnusableRecipe::Variable(name.to_owned()) })
    }

    /// The secret of this name, if it is the name of one; such a name never means an extracted value.
    fn set_secret(&self, name: &str) -> Option<&Option<Secret>> {
        match name {
            "username" => Some(&self.secrets.username),
            "password" => Some(&self.secrets.password),
            "api_key" => Some(&self.secrets.api_key),
            _ => None,
        }
    }

    /// Says which secret is missing of those in `names`; extracted values are not looked at.
    pub(super) fn require_secrets(&self, names: &[&str]) -> Result<(), SessionError> {
        let missing = names.iter().find(|name| matches!(self.set_secret(name), Some(None)));
        missing.map_or(Ok(()), |name| Err(SessionError::NoSecret { missing: (*name).to_owned() }))
    }

    /// Whether the value of `name` must never be shown.
    pub(super) fn is_secret(&self, name: &str) -> bool {
        match (name, self.get(name)) {
            (_, Err(_)) | ("username" | "account.name" | "account.id", _) => false,
            ("password" | "api_key", Ok(value)) => !value.expose().is_empty(),
            (_, Ok(value)) => value.expose().len() >= SHORTEST_TOKEN,
        }
    }

    /// All values that must never be shown.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let names = ["password", "api_key"].into_iter().chain(self.extracted.keys().map(String::as_str));
        names.filter(|name| self.is_secret(name)).filter_map(|name| self.get(name).ok().cloned()).collect()
    }

    /// What the steps extracted.
    pub(super) fn extracted(&self) -> &BTreeMap<String, Secret> {
        &self.extracted
    }
}
