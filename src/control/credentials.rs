//! Credential sets, grants and tokens.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::accounts::no_account;
use super::{Bounds, Control, ControlError, Result, render};
use crate::directory::{Credential, CredentialKind, CredentialState, Grant, NewCredential};
use crate::domain::{AccountName, Actor, CredentialId, IssuedKind, IssuedSecret, PolicyName, TokenId};
use crate::secrets::HashPurpose;

/// A credential set to be issued.
#[derive(Debug)]
pub(super) struct Issue {
    pub(super) account: AccountName,
    pub(super) name: String,
    pub(super) kind: Bounds,
    pub(super) reason: Option<String>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) grants: Vec<PolicyName>,
}

/// Longest name of a credential set, in characters.
const LONGEST_NAME: usize = 100;
/// Longest reason, in characters.
const LONGEST_REASON: usize = 500;

impl Control {
    /// Issues a set. Its secrets are in this answer and nowhere else.
    pub(super) async fn issue_credential(self: &Arc<Self>, actor: Actor, issue: Issue) -> Result<Value> {
        let name = name_of(&issue.name)?;
        if issue.expires_at.is_some_and(|at| at <= self.clock.now()) {
            return Err(ControlError::invalid("the set would have expired already"));
        }
        let reason = reason_of(&issue)?;
        self.known_policies(&issue.grants)?;
        let account =
            self.directory.snapshot().account_named(&issue.account).ok_or_else(|| no_account(&issue.account))?.id;
        let password = IssuedSecret::generate(IssuedKind::Password, &*self.entropy).map_err(ControlError::failed)?;
        let api_key = IssuedSecret::generate(IssuedKind::ApiKey, &*self.entropy).map_err(ControlError::failed)?;
        let password_hash = self.hasher.hash(password.secret().clone()).await.map_err(ControlError::failed)?;
        let new = NewCredential {
            account,
            name,
            kind: match issue.kind {
                Bounds::Bounded => CredentialKind::Bounded,
                Bounds::Unrestricted => CredentialKind::Unrestricted,
            },
            reason,
            expires_at: issue.expires_at,
            password_hash,
            api_key_hash: self.key_ring.keyed_hash(HashPurpose::ApiKey, api_key.secret().expose().as_bytes()),
            grants: issue.grants,
        };
        let control = Arc::clone(self);
        let by = self.by(&actor);
        let issued = tokio::task::spawn_blocking(move || {
            let issued = control.directory.issue_credential(&by, new);
            control.copy_changes();
            issued
        });
        let (credential, _) = issued.await.map_err(ControlError::failed)??;
        let mut shown = render::credential(&credential, Some(&issue.account), self.clock.now(), 0);
        if let Some(members) = shown.as_object_mut() {
            // SECURITY: the only time these leave the process.
            members.insert("client_id".into(), json!(credential.id));
            members.insert("password".into(), json!(password.secret().expose()));
            members.insert("api_key".into(), json!(api_key.secret().expose()));
        }
        Ok(shown)
    }

    pub(super) fn list_credentials(&self, account: Option<&AccountName>) -> Result<Value> {
        Ok(self.sets(None, account)?.iter().map(|set| self.shown(set)).collect())
    }

    /// The unrestricted sets that can be used, or can be enabled again.
    pub(super) fn unrestricted_sets(&self) -> Value {
        let snapshot = self.directory.snapshot();
        let now = self.clock.now();
        let usable = |set: &&Arc<Credential>| {
            let ended = set.state == CredentialState::Revoked || set.expires_at.is_some_and(|at| at <= now);
            set.kind == CredentialKind::Unrestricted && !ended
        };
        let shown = |set: &Arc<Credential>| {
            let account = snapshot.account(set.account).map(|account| &account.name);
            json!({
                "id": set.id, "account": account, "name": set.name, "state": set.state.as_str(), "reason": set.reason,
                "expires_at": set.expires_at,
            })
        };
        snapshot.credentials().into_iter().filter(usable).map(shown).collect()
    }

    pub(super) fn show_credential(&self, id: CredentialId) -> Result<Value> {
        Ok(self.shown(self.credential(id)?.as_ref()))
    }

    pub(super) fn disable_credential(&self, actor: &Actor, id: CredentialId) -> Result<Value> {
        self.set_state(actor, id, CredentialState::Disabled)
    }

    pub(super) fn enable_credential(&self, actor: &Actor, id: CredentialId) -> Result<Value> {
        self.set_state(actor, id, CredentialState::Active)
    }

    pub(super) fn revoke_credential(&self, actor: &Actor, id: CredentialId) -> Result<Value> {
        self.set_state(actor, id, CredentialState::Revoked)
    }

    pub(super) fn add_grant(
        &self,
        actor: &Actor,
        credential: CredentialId,
        policy: PolicyName,
        expires_at: Option<Timestamp>,
    ) -> Result<Value> {
        self.known_policies(std::slice::from_ref(&policy))?;
        self.directory.add_grant(&self.by(actor), credential, Grant { policy, expires_at })?;
        self.show_credential(credential)
    }

    pub(super) fn remove_grant(&self, actor: &Actor, credential: CredentialId, policy: &PolicyName) -> Result<Value> {
        self.directory.remove_grant(&self.by(actor), credential, policy)?;
        self.show_credential(credential)
    }

    pub(super) fn list_grants(&self, credential: Option<CredentialId>, account: Option<&AccountName>) -> Result<Value> {
        let sets = self.sets(credential, account)?;
        let policies = self.policies.current();
        let rows = sets.iter().flat_map(|set| {
            set.grants.iter().map(|grant| {
                let exists = policies.policy(&grant.policy).is_some();
                json!({
                    "credential": set.id, "policy": grant.policy, "expires_at": grant.expires_at, "policy_exists": exists,
                })
            })
        });
        Ok(rows.collect())
    }

    pub(super) fn list_tokens(&self, credential: Option<CredentialId>, account: Option<&AccountName>) -> Result<Value> {
        let now = self.clock.now();
        let tokens = if credential.is_none() && account.is_none() {
            self.directory.tokens(None, now)
        } else {
            let sets = self.sets(credential, account)?;
            sets.iter().flat_map(|set| self.directory.tokens(Some(set.id), now)).collect()
        };
        Ok(tokens.iter().map(render::token).collect())
    }

    pub(super) fn revoke_token(&self, actor: &Actor, id: TokenId) -> Result<Value> {
        self.directory.revoke_token(&self.by(actor), id)?;
        Ok(json!({ "revoked": 1 }))
    }

    pub(super) fn revoke_tokens(&self, actor: &Actor, credential: CredentialId) -> Result<Value> {
        let (count, _) = self.directory.revoke_tokens_of(&self.by(actor), credential)?;
        Ok(json!({ "revoked": count }))
    }

    fn set_state(&self, actor: &Actor, id: CredentialId, state: CredentialState) -> Result<Value> {
        let (ended, _) = self.directory.set_credential_state(&self.by(actor), id, state)?;
        Ok(json!({ "id": id, "state": state.as_str(), "tokens_ended": ended }))
    }

    pub(super) fn credential(&self, id: CredentialId) -> Result<Arc<Credential>> {
        self.directory.snapshot().credential(id).map(Arc::clone).ok_or_else(|| no_set(id))
    }

    /// The sets asked for: one, those of an account, or all.
    fn sets(&self, id: Option<CredentialId>, account: Option<&AccountName>) -> Result<Vec<Arc<Credential>>> {
        let snapshot = self.directory.snapshot();
        let account = match account {
            Some(name) => Some(snapshot.account_named(name).ok_or_else(|| no_account(name))?.id),
            None => None,
        };
        let mut sets = match id {
            Some(id) => vec![self.credential(id)?],
            None => snapshot.credentials().into_iter().map(Arc::clone).collect(),
        };
        sets.retain(|set| account.is_none_or(|account| set.account == account));
        Ok(sets)
    }

    fn shown(&self, set: &Credential) -> Value {
        let snapshot = self.directory.snapshot();
        let account = snapshot.account(set.account).map(|account| &account.name);
        let now = self.clock.now();
        render::credential(set, account, now, self.directory.live_tokens_of(set.id, now))
    }

    /// A grant to a policy that does not exist would give nothing, today; a slip is more likely than foresight.
    fn known_policies(&self, names: &[PolicyName]) -> Result<()> {
        let policies = self.policies.current();
        match names.iter().find(|name| policies.policy(name).is_none()) {
            None => Ok(()),
            Some(name) => {
                let known: Vec<&str> = policies.policy_names().into_iter().map(PolicyName::as_str).collect();
                let hint = crate::policy::yaml::suggestion(name.as_str(), &known);
                Err(ControlError::not_found(format!("there is no policy `{name}`{hint}")))
            }
        }
    }
}

pub(super) fn no_set(id: CredentialId) -> ControlError {
    ControlError::not_found(format!("there is no credential set `{id}`; `erp-access credential list` shows them"))
}

/// What people call a thing.
pub(super) fn name_of(text: &str) -> Result<String> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(ControlError::invalid(format!(
            "a name has 1 to {LONGEST_NAME} characters and no control characters"
        )));
    }
    Ok(name.to_owned())
}

/// Why a set is to be unrestricted. SECURITY: such a set may do everything, so it is said why, and until when.
fn reason_of(issue: &Issue) -> Result<Option<String>> {
    let reason = issue.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    match (issue.kind, reason, issue.expires_at) {
        (Bounds::Bounded, None, _) => Ok(None),
        (Bounds::Bounded, Some(_), _) => Err(ControlError::invalid("a reason is for unrestricted sets")),
        (Bounds::Unrestricted, None, _) => {
            Err(ControlError::incomplete("an unrestricted set needs a reason: say why with `--reason TEXT`"))
        }
        (Bounds::Unrestricted, Some(_), None) => Err(ControlError::incomplete(
            "an unrestricted set needs an end: give `--expires-at`, as in 2027-01-01T00:00:00Z",
        )),
        (Bounds::Unrestricted, Some(reason), Some(_)) if reason.chars().count() > LONGEST_REASON => {
            Err(ControlError::invalid(format!("a reason has at most {LONGEST_REASON} characters")))
        }
        (Bounds::Unrestricted, Some(reason), Some(_)) => Ok(Some(reason.to_owned())),
    }
}
