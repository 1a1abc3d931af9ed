//! Something that was taken away since a backup was made, and taking it away again.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::directory::{AccountState, By, ChangeError, CredentialChange, CredentialState, Directory, Grant};
use crate::domain::{
    AccountId, AccountName, Authority, CredentialId, OperatorKeyId, PolicyName, Role, ScheduleName, UpstreamName,
};
use crate::kill_switch::{Engaged, Scope};
use crate::schedule::{Held, Override};
use crate::store::{Store, User, UserState};

/// Something that was taken away.
#[derive(Debug, Clone, PartialEq)]
pub struct Revocation {
    pub(super) what: What,
    pub(super) at: Timestamp,
    pub(super) by: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Credential(CredentialId, CredentialState),
    /// Other secrets took the place of those that the backup has.
    Secrets(CredentialId),
    /// The secrets before its present ones were ended.
    Former(CredentialId),
    /// Its end or its networks were changed.
    Reach(CredentialId, Option<Timestamp>, Vec<IpNet>),
    Account(AccountId, String),
    Grant(CredentialId, PolicyName),
    /// A grant got another end.
    GrantEnd(CredentialId, PolicyName, Option<Timestamp>),
    OperatorKey(OperatorKeyId),
    User(String, &'static str),
    Role(String, Authority),
    Killed(Engaged),
    Closed(Override),
    /// What held a schedule open was lifted.
    Lifted(ScheduleName),
    UpstreamSecrets(UpstreamName, AccountId),
    /// The state was set back to a backup that is older than this one.
    WentBack(String),
}

/// The state of the backup, as far as it is asked what it holds.
pub(super) struct Restored<'a> {
    pub(super) directory: &'a Directory,
    pub(super) store: &'a Store,
    pub(super) now: Timestamp,
}

impl Restored<'_> {
    fn user(&self, name: &str) -> Option<User> {
        self.store.user_named(name).ok().flatten()
    }
}

impl Revocation {
    /// The revocation where the backup does not have it: `None` where it makes no difference.
    pub(super) fn missing_in(
        self,
        restored: &Restored<'_>,
        renamed: &BTreeMap<AccountName, AccountId>,
    ) -> Option<Self> {
        let (snapshot, now) = (restored.directory.snapshot(), restored.now);
        let live = |id: &CredentialId| snapshot.credential(*id).filter(|set| set.state != CredentialState::Revoked);
        let what = match self.what {
            What::Credential(id, state) => {
                live(&id).filter(|set| set.state != state).map(|_| What::Credential(id, state))
            }
            What::Secrets(id) => {
                live(&id).filter(|set| set.state == CredentialState::Active).map(|_| What::Secrets(id))
            }
            What::Former(id) => live(&id).filter(|set| set.former.is_some()).map(|_| What::Former(id)),
            What::Reach(id, end, clients) => live(&id).and_then(|set| {
                // Only what is narrower than in the backup.
                let end_now = earlier(set.expires_at, end);
                let clients = if clients.is_empty() { set.clients.clone() } else { clients };
                let narrower = end_now != set.expires_at || clients != set.clients;
                narrower.then_some(What::Reach(id, end_now, clients))
            }),
            What::Account(id, reason) => {
                let active = snapshot.account(id).filter(|account| account.state == AccountState::Active);
                active.map(|_| What::Account(id, reason))
            }
            What::Grant(id, policy) => {
                let held = live(&id).is_some_and(|set| set.grants.iter().any(|grant| grant.policy == policy));
                held.then_some(What::Grant(id, policy))
            }
            What::GrantEnd(id, policy, end) => {
                let longer =
                    |grant: &Grant| grant.policy == policy && earlier(grant.expires_at, end) != grant.expires_at;
                let differs = live(&id).is_some_and(|set| set.grants.iter().any(longer));
                differs.then_some(What::GrantEnd(id, policy, end))
            }
            What::OperatorKey(id) => {
                let serves = snapshot.operator_keys().any(|key| key.id == id && key.is_live(now));
                serves.then_some(What::OperatorKey(id))
            }
            What::Killed(engaged) => {
                let in_force = engaged.until.is_none_or(|until| until > now);
                let scope = match engaged.scope {
                    Scope::Account(name) if snapshot.account_named(&name).is_none() => {
                        let before = renamed.get(&name).and_then(|id| snapshot.account(*id));
                        Scope::Account(before.map_or(name, |account| account.name.clone()))
                    }
                    scope @ (Scope::All | Scope::Account(_) | Scope::Policy(_) | Scope::Upstream(_)) => scope,
                };
                let missing = snapshot.kill_switches().of(&scope).is_none();
                (in_force && missing).then_some(What::Killed(Engaged { scope, ..engaged }))
            }
            What::Closed(held) => {
                let missing = snapshot.overrides().of(&held.schedule, Held::Closed).is_none();
                (missing && held.until > now).then_some(What::Closed(held))
            }
            What::Lifted(schedule) => {
                let held = snapshot.overrides().of(&schedule, Held::Open).is_some_and(|held| held.until > now);
                held.then_some(What::Lifted(schedule))
            }
            What::User(name, what) => {
                let active = restored.user(&name).is_some_and(|user| user.state == UserState::Active);
                active.then_some(What::User(name, what))
            }
            What::Role(name, authority) => {
                // Nobody becomes an administrator by a restore.
                let differs = restored.user(&name).is_some_and(|user| user.authority != authority);
                let differs = differs && authority.role() != Role::Admin;
                differs.then_some(What::Role(name, authority))
            }
            What::UpstreamSecrets(upstream, account) => {
                let set = restored.store.upstream_secrets(&upstream, Some(account)).is_ok_and(|set| set.is_some());
                set.then_some(What::UpstreamSecrets(upstream, account))
            }
            what @ What::WentBack(_) => Some(what),
        };
        what.map(|what| Self { what, ..self })
    }

    /// Does to the restored state what was done to the one before.
    ///
    /// # Errors
    /// When the store fails, or the state does not allow it.
    pub(super) fn carry_out(&self, restored: &Restored<'_>, by: &By) -> Result<(), ChangeError> {
        // Another revocation may have done it already.
        let Some(Self { what, .. }) = self.clone().missing_in(restored, &BTreeMap::new()) else { return Ok(()) };
        let restored = restored.directory;
        match &what {
            What::Credential(id, state) => restored.set_credential_state(by, *id, *state).map(drop),
            // The newer secrets are not in the backup, and the older ones must not serve again.
            What::Secrets(id) => restored.set_credential_state(by, *id, CredentialState::Disabled).map(drop),
            What::Former(id) => restored.end_rotation(by, *id).map(drop),
            What::Reach(id, end, clients) => {
                let change = CredentialChange {
                    clients: Some(clients.clone()),
                    expires_at: Some(*end),
                    ..CredentialChange::default()
                };
                restored.update_credential(by, *id, change).map(drop)
            }
            What::Account(id, reason) => {
                let Some(name) = restored.snapshot().account(*id).map(|account| account.name.clone()) else {
                    return Ok(());
                };
                let state = AccountState::Suspended { reason: reason.clone(), at: by.at };
                restored.set_account_state(by, &name, state).map(drop)
            }
            What::Grant(id, policy) => restored.remove_grant(by, *id, policy).map(drop),
            What::GrantEnd(id, policy, expires_at) => {
                let grant = Grant { policy: policy.clone(), expires_at: *expires_at };
                restored.add_grant(by, *id, grant).map(drop)
            }
            What::OperatorKey(id) => restored.revoke_operator_key(by, *id).map(drop),
            What::User(name, _) => restored.set_user_state(by, name, UserState::Disabled).map(drop),
            What::Role(name, authority) => restored.set_user_authority(by, name, *authority).map(drop),
            What::Killed(engaged) => restored.engage(by, engaged.clone()).map(drop),
            What::Closed(held) => restored.hold(by, held.clone()).map(drop),
            What::Lifted(schedule) => {
                restored.lift(by, schedule, Some(Held::Open), "lifted before a restore").map(drop)
            }
            What::UpstreamSecrets(upstream, account) => {
                restored.remove_upstream_secrets(by, upstream, *account).map(drop)
            }
            What::WentBack(_) => Err(ChangeError::Conflict("what that took away is not known".into())),
        }
    }
}

impl fmt::Display for Revocation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Credential(id, state) => write!(out, "credential set {id} was {}", past(*state)),
            What::Secrets(id) => {
                write!(out, "credential set {id} got other secrets; kept, it is disabled until it is rotated")
            }
            What::Former(id) => write!(out, "the former secrets of credential set {id} were ended"),
            What::Reach(id, ..) => write!(out, "credential set {id} was given an earlier end or other networks"),
            What::Account(id, reason) => write!(out, "account {id} was suspended or deleted: {reason}"),
            What::Grant(id, policy) => write!(out, "`{policy}` was taken from credential set {id}"),
            What::GrantEnd(id, policy, _) => {
                write!(out, "the grant of `{policy}` to credential set {id} was given an earlier end")
            }
            What::OperatorKey(id) => write!(out, "operator key {id} was revoked"),
            What::User(name, what) => write!(out, "user `{name}` {what}; kept, the user is disabled"),
            What::Role(name, authority) => write!(out, "user `{name}` became {}", authority.role()),
            What::Killed(engaged) => write!(out, "the kill switch `{}` was engaged: {}", engaged.scope, engaged.reason),
            What::Closed(held) => write!(out, "schedule `{}` was held closed until {}", held.schedule, held.until),
            What::Lifted(schedule) => write!(out, "what held schedule `{schedule}` open was lifted"),
            What::UpstreamSecrets(upstream, account) => {
                write!(out, "the secrets of account {account} at `{upstream}` were removed")
            }
            What::WentBack(backup) => {
                write!(out, "the state was set back to an older one ({backup}), and what that took away comes back")
            }
        }?;
        write!(out, " ({} by {})", self.at, self.by)
    }
}

fn past(state: CredentialState) -> &'static str {
    match state {
        CredentialState::Active => "enabled",
        CredentialState::Disabled => "disabled",
        CredentialState::Revoked => "revoked",
    }
}

/// The earlier of two ends; none is the latest.
fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (end, None) | (None, end) => end,
    }
}
