//! Credential sets, grants and tokens.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Bounds, Control, ControlError, NewSet, Result, render};
use crate::directory::{
    By, Credential, CredentialChange, CredentialKind, CredentialState, Grant, HashedSecrets, NewCredential, NewSecrets,
};
use crate::domain::{
    AccountName, Actor, CredentialId, Fingerprint, IssuedKind, IssuedSecret, Limits, PolicyName, TokenId,
};
use crate::secrets::{HashPurpose, HashedPassword};

/// New secrets of a set, before they are shown once.
struct Secrets {
    password: IssuedSecret,
    api_key: IssuedSecret,
    kept: HashedSecrets,
}

impl Secrets {
    fn shown_with(&self, mut shown: Value, id: CredentialId) -> Value {
        if let Some(members) = shown.as_object_mut() {
            // SECURITY: the only time these leave the process.
            members.insert("client_id".into(), json!(id));
            members.insert("password".into(), json!(self.password.secret().expose()));
            members.insert("api_key".into(), json!(self.api_key.secret().expose()));
        }
        shown
    }
}

/// How long former secrets serve where it is not said, in seconds: a day.
const USUAL_OVERLAP: u32 = 86_400;
/// How long they serve at most, in seconds: 7 days.
const LONGEST_OVERLAP: i64 = 7 * 86_400;
/// Longest name of a credential set, in characters.
const LONGEST_NAME: usize = 100;
/// Most client certificates of which one is demanded: today's and tomorrow's of a few machines.
const MOST_CERTIFICATES: usize = 32;
/// Longest reason, in characters.
const LONGEST_REASON: usize = 500;

/// Each once, in order.
pub(super) fn demanded(mut certificates: Vec<Fingerprint>) -> Result<Vec<Fingerprint>> {
    certificates.sort_unstable();
    certificates.dedup();
    if certificates.len() > MOST_CERTIFICATES {
        return Err(ControlError::invalid(format!("{MOST_CERTIFICATES} certificates at most")));
    }
    Ok(certificates)
}

impl Control {
    /// Issues a set. Its secrets are in this answer and nowhere else.
    pub(super) async fn issue_credential(self: &Arc<Self>, by: By, issue: NewSet) -> Result<Value> {
        let name = name_of(&issue.name)?;
        if issue.expires_at.is_some_and(|at| at <= self.clock.now()) {
            return Err(ControlError::invalid("the set would have expired already"));
        }
        let reason = reason_of(&issue)?;
        self.known_policies(&issue.grants)?;
        let purpose = purpose_of(issue.purpose)?;
        let account = self.account_id(&issue.account)?;
        let secrets = self.new_secrets().await?;
        let new = NewCredential {
            account,
            name,
            kind: match issue.kind {
                Bounds::Bounded => CredentialKind::Bounded,
                Bounds::Unrestricted => CredentialKind::Unrestricted,
            },
            reason,
            purpose,
            clients: issue.clients,
            expires_at: issue.expires_at,
            secrets: secrets.kept.clone(),
            grants: issue.grants,
        };
        let (credential, _) = self.change(by, move |control, by| control.directory.issue_credential(by, new)).await?;
        Ok(secrets.shown_with(self.shown(&credential), credential.id))
    }

    /// Puts new secrets in place of a set's. They are in this answer and nowhere else.
    pub(super) async fn rotate_credential(
        self: &Arc<Self>,
        by: By,
        id: CredentialId,
        overlap_seconds: Option<u32>,
    ) -> Result<Value> {
        let overlap = i64::from(overlap_seconds.unwrap_or(USUAL_OVERLAP));
        if overlap > LONGEST_OVERLAP {
            return Err(ControlError::invalid("former secrets serve for 7 days at most"));
        }
        self.credential(id)?;
        let secrets = self.new_secrets().await?;
        let ends_at = by.at.checked_add(SignedDuration::from_secs(overlap)).map_err(ControlError::failed)?;
        let new = NewSecrets { secrets: secrets.kept.clone(), overlap_until: Some(ends_at).filter(|_| overlap > 0) };
        let credential = self.change(by, move |control, by| control.directory.rotate_credential(by, id, new)).await?;
        Ok(secrets.shown_with(self.shown(&credential), id))
    }

    pub(super) fn end_rotation(&self, by: &By, id: CredentialId) -> Result<Value> {
        let (credential, ended) = self.directory.end_rotation(by, id)?;
        let mut shown = self.shown(&credential);
        if let Some(members) = shown.as_object_mut() {
            members.insert("tokens_ended".into(), json!(ended));
        }
        Ok(shown)
    }

    /// Ends former secrets whose time is over, and keeps when those that still serve were used. For housekeeping.
    pub fn look_after_rotations(&self) {
        let ended = self.directory.end_overlaps(&self.by(Actor::System)).and_then(|count| {
            self.directory.keep_uses()?;
            Ok(count)
        });
        match ended {
            Ok(0) => {}
            Ok(count) => log::info!("the former secrets of {count} credential sets have ended"),
            Err(error) => log::error!("former secrets could not be ended: {error}"),
        }
    }

    pub(super) fn update_credential(&self, by: &By, id: CredentialId, change: CredentialChange) -> Result<Value> {
        let now = self.clock.now();
        let set = self.credential(id)?;
        if change.expires_at == Some(None) && set.kind == CredentialKind::Unrestricted {
            return Err(ControlError::invalid("an unrestricted set needs an end"));
        }
        if change.expires_at.flatten().is_some_and(|at| at <= now) {
            return Err(ControlError::invalid("the set would have expired already; revoke or disable it instead"));
        }
        let name = change.name.as_deref().map(name_of).transpose()?;
        let purpose = match change.purpose {
            Some(text) => Some(purpose_of(Some(text))?.unwrap_or_default()),
            None => None,
        };
        let change = CredentialChange { name, purpose, ..change };
        let credential = self.directory.update_credential(by, id, change)?;
        Ok(self.shown(&credential))
    }

    /// A password and an x-api-key, with what is kept of them.
    async fn new_secrets(&self) -> Result<Secrets> {
        let password = IssuedSecret::generate(IssuedKind::Password, &*self.entropy).map_err(ControlError::failed)?;
        let api_key = IssuedSecret::generate(IssuedKind::ApiKey, &*self.entropy).map_err(ControlError::failed)?;
        let hashed = self.hasher.hash(password.secret().clone()).await.map_err(ControlError::failed)?;
        let HashedPassword { hash: password_hash, key: hash_key } = hashed;
        let text = api_key.secret().expose().as_bytes();
        let api_key_hash = self.key_ring.keyed_hash_by(hash_key, HashPurpose::ApiKey, text);
        let api_key_hash = api_key_hash.ok_or_else(|| ControlError::failed("the APP_KEY was retired meanwhile"))?;
        let kept = HashedSecrets { password_hash, api_key_hash, hash_key };
        Ok(Secrets { password, api_key, kept })
    }

    pub(super) fn list_credentials(&self, account: Option<&AccountName>) -> Result<Value> {
        Ok(self.sets(None, account)?.iter().map(|set| self.shown(set)).collect())
    }

    /// The unrestricted sets that can be used, or can be enabled again.
    pub(super) fn unrestricted_sets(&self) -> Value {
        let snapshot = self.directory.snapshot();
        let now = self.clock.now();
        let usable = |set: &&Arc<Credential>| {
            let ended = set.state == CredentialState::Revoked || set.has_expired(now);
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

    pub(super) fn disable_credential(&self, by: &By, id: CredentialId) -> Result<Value> {
        self.set_state(by, id, CredentialState::Disabled)
    }

    pub(super) fn enable_credential(&self, by: &By, id: CredentialId) -> Result<Value> {
        self.set_state(by, id, CredentialState::Active)
    }

    pub(super) fn revoke_credential(&self, by: &By, id: CredentialId) -> Result<Value> {
        self.set_state(by, id, CredentialState::Revoked)
    }

    pub(super) fn add_grant(
        &self,
        by: &By,
        credential: CredentialId,
        policy: PolicyName,
        expires_at: Option<Timestamp>,
    ) -> Result<Value> {
        self.known_policies(std::slice::from_ref(&policy))?;
        self.directory.add_grant(by, credential, Grant { policy, expires_at })?;
        self.show_credential(credential)
    }

    pub(super) fn remove_grant(&self, by: &By, credential: CredentialId, policy: &PolicyName) -> Result<Value> {
        self.directory.remove_grant(by, credential, policy)?;
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

    pub(super) fn revoke_token(&self, by: &By, id: TokenId) -> Result<Value> {
        self.directory.revoke_token(by, id)?;
        Ok(json!({ "revoked": 1 }))
    }

    pub(super) fn revoke_tokens(&self, by: &By, credential: CredentialId) -> Result<Value> {
        let (count, _) = self.directory.revoke_tokens_of(by, credential)?;
        Ok(json!({ "revoked": count }))
    }

    pub(super) fn demand_of_credential(&self, by: &By, id: CredentialId, of: Vec<Fingerprint>) -> Result<Value> {
        Ok(self.shown(&self.directory.demand_of_credential(by, id, demanded(of)?)?))
    }

    pub(super) fn limit_credential(&self, by: &By, id: CredentialId, limits: Option<Limits>) -> Result<Value> {
        Ok(self.shown(&self.directory.limit_credential(by, id, limits)?))
    }

    /// Revokes all tokens of all sets of an account.
    pub(super) fn revoke_tokens_of_account(&self, by: &By, name: &AccountName) -> Result<Value> {
        let by = By { expected: None, ..by.clone() };
        let mut revoked = 0;
        for set in self.sets(None, Some(name))? {
            if self.directory.live_tokens_of(set.id, by.at) > 0 {
                revoked += self.directory.revoke_tokens_of(&by, set.id)?.0;
            }
        }
        Ok(json!({ "revoked": revoked }))
    }

    fn set_state(&self, by: &By, id: CredentialId, state: CredentialState) -> Result<Value> {
        let (ended, _) = self.directory.set_credential_state(by, id, state)?;
        Ok(json!({ "id": id, "state": state.as_str(), "tokens_ended": ended }))
    }

    pub(super) fn credential(&self, id: CredentialId) -> Result<Arc<Credential>> {
        self.directory.snapshot().credential(id).map(Arc::clone).ok_or_else(|| no_set(id))
    }

    /// The sets asked for: one, those of an account, or all.
    fn sets(&self, id: Option<CredentialId>, account: Option<&AccountName>) -> Result<Vec<Arc<Credential>>> {
        let account = account.map(|name| self.account_id(name)).transpose()?;
        let mut sets = match id {
            Some(id) => vec![self.credential(id)?],
            None => self.directory.snapshot().credentials().into_iter().map(Arc::clone).collect(),
        };
        sets.retain(|set| account.is_none_or(|account| set.account == account));
        Ok(sets)
    }

    pub(super) fn shown(&self, set: &Credential) -> Value {
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

/// What a thing is for; nothing where the text is empty.
fn purpose_of(text: Option<String>) -> Result<Option<String>> {
    let purpose = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    match &purpose {
        Some(text) if text.chars().count() > LONGEST_REASON || text.chars().any(char::is_control) => {
            Err(ControlError::invalid(format!(
                "a purpose has at most {LONGEST_REASON} characters and no control characters"
            )))
        }
        _ => Ok(purpose),
    }
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
fn reason_of(issue: &NewSet) -> Result<Option<String>> {
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
