//! What is in force: the texts of the policies, and who holds which.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::explain::hash_of;
use super::super::{Bounds, Control, ControlError, Result};
use crate::directory::{Credential, CredentialKind, CredentialState, Grant};
use crate::domain::{AccountId, AccountName, CredentialId, LabelChange, Labels, PolicyName};
use crate::policy::{PolicySet, Requester};

/// What is in force at one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InForce {
    /// The moment.
    pub at: Timestamp,
    /// The number of the policies' generation.
    pub generation: u64,
    /// The hash of their texts, in hex.
    pub hash: String,
    /// Each file inside the policy folder, with its text.
    pub files: Vec<(String, String)>,
    /// Policies whose files are broken and have no earlier version: whoever holds one may do nothing.
    pub broken: Vec<PolicyName>,
    /// Every credential set.
    pub holders: Vec<Holder>,
}

/// A credential set and what it holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    /// Its id.
    pub id: CredentialId,
    /// What people call it.
    pub name: String,
    /// The account that owns it.
    pub account: Option<AccountName>,
    /// Its id.
    pub account_id: AccountId,
    /// Its labels, as `key=value`.
    #[serde(default)]
    pub labels: Vec<LabelChange>,
    /// Whether it is held to its grants.
    pub kind: Bounds,
    /// Whether it can still be used: not revoked, not expired.
    pub usable: bool,
    /// Each granted policy, and when the grant ends.
    pub grants: Vec<(PolicyName, Option<Timestamp>)>,
}

impl InForce {
    /// The policies.
    ///
    /// # Errors
    /// When the gateway's version reads them otherwise than this one.
    pub fn policies(&self) -> Result<PolicySet> {
        Ok(policies_of(&self.files)?.with_broken(self.broken.iter().cloned().collect()))
    }
}

impl InForce {
    /// The credential set with this id or name.
    ///
    /// # Errors
    /// When there is none, or several have that name.
    pub fn holder(&self, text: &str) -> Result<&Holder> {
        only(text, self.holders.iter().map(|holder| (holder.id, holder.name.as_str(), holder)))
    }
}

/// The one of these with this id or name.
pub(in super::super) fn only<'n, T>(text: &str, sets: impl Iterator<Item = (CredentialId, &'n str, T)>) -> Result<T> {
    let id = text.parse::<CredentialId>().ok();
    let mut found: Vec<_> = sets.filter(|(known, name, _)| Some(*known) == id || *name == text).collect();
    let first = found.pop().ok_or_else(|| {
        ControlError::not_found(format!("there is no credential set `{text}`; `erp-access credential list` shows them"))
    })?;
    if found.is_empty() {
        return Ok(first.2);
    }
    let ids: Vec<String> = found.iter().chain([&first]).map(|(id, ..)| id.to_string()).collect();
    let message = format!("several credential sets are called `{text}`; give one by its id: {}", ids.join(", "));
    Err(ControlError::invalid(message))
}

impl Holder {
    /// The same as the decision takes it.
    #[must_use]
    pub fn kind(&self) -> CredentialKind {
        match self.kind {
            Bounds::Bounded => CredentialKind::Bounded,
            Bounds::Unrestricted => CredentialKind::Unrestricted,
        }
    }

    /// Its account's labels.
    #[must_use]
    pub fn labels(&self) -> Labels {
        Labels::default().changed(&self.labels).unwrap_or_default()
    }

    /// The same as conditions see it.
    #[must_use]
    pub fn requester<'h>(&'h self, labels: &'h Labels) -> Option<Requester<'h>> {
        Some(Requester {
            account: self.account.as_ref()?.as_str(),
            account_id: self.account_id,
            credential: &self.name,
            credential_id: self.id,
            kind: self.kind(),
            labels,
        })
    }

    /// Its grants.
    #[must_use]
    pub fn granted(&self) -> Vec<Grant> {
        let grants = self.grants.iter();
        grants.map(|(policy, expires_at)| Grant { policy: policy.clone(), expires_at: *expires_at }).collect()
    }
}

fn labels_of(labels: &Labels) -> Vec<LabelChange> {
    labels.iter().filter_map(|(key, value)| format!("{key}={value}").parse().ok()).collect()
}

/// The policies that these texts make.
///
/// # Errors
/// When this version reads them otherwise than the one that put them in force.
pub fn policies_of(files: &[(String, String)]) -> Result<PolicySet> {
    let texts: Vec<_> = files.iter().map(|(path, text)| (PathBuf::from(path), text.clone().into_bytes())).collect();
    PolicySet::from_texts(&texts).map_err(|problems| {
        ControlError::failed(format!("policies that are or were in force cannot be read by this version:\n{problems}"))
    })
}

impl Control {
    /// The files of a snapshot, as they were in force.
    pub(in super::super) fn snapshot_texts(&self, hash: &str) -> Result<Value> {
        serde_json::to_value(self.kept_files(hash)?).map_err(ControlError::failed)
    }

    /// The policies of a snapshot.
    pub(in super::super) fn kept_policies(&self, hash: &str) -> Result<PolicySet> {
        policies_of(&self.kept_files(hash)?)
    }

    fn kept_files(&self, hash: &str) -> Result<Vec<(String, String)>> {
        let gone = || ControlError::not_found(format!("no policy texts are kept under `{hash}`"));
        let hash = hash_of(hash).ok_or_else(gone)?;
        let kept = self.store.policy_snapshot(&hash).map_err(ControlError::failed)?.ok_or_else(gone)?;
        let mut files: Vec<(String, String)> = Vec::with_capacity(kept.files.len());
        for (path, hash) in kept.files {
            let text = self.store.policy_text(&hash).map_err(ControlError::failed)?.ok_or_else(gone)?;
            files.push((path, String::from_utf8_lossy(&text).into_owned()));
        }
        Ok(files)
    }

    pub(in super::super) fn policies_in_force(&self, without_holders: bool) -> Result<Value> {
        let policies = self.policies.current();
        let snapshot = self.directory.snapshot();
        let at = self.clock.now();
        let holder = |set: &Credential| Holder {
            id: set.id,
            name: set.name.clone(),
            account: snapshot.account(set.account).map(|account| account.name.clone()),
            account_id: set.account,
            labels: snapshot.account(set.account).map(|account| labels_of(&account.labels)).unwrap_or_default(),
            kind: match set.kind {
                CredentialKind::Bounded => Bounds::Bounded,
                CredentialKind::Unrestricted => Bounds::Unrestricted,
            },
            usable: set.state != CredentialState::Revoked && set.expires_at.is_none_or(|end| end > at),
            grants: set.grants.iter().map(|grant| (grant.policy.clone(), grant.expires_at)).collect(),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let sets = if without_holders { Vec::new() } else { snapshot.credentials() };
        let in_force = InForce {
            at,
            generation: policies.generation(),
            hash: policies.hash().to_string(),
            files: policies.files().iter().map(|file| (file.path.display().to_string(), text(&file.text))).collect(),
            broken: policies.broken_policies().into_iter().cloned().collect(),
            holders: sets.into_iter().map(|set| holder(set)).collect(),
        };
        serde_json::to_value(in_force).map_err(ControlError::failed)
    }
}
