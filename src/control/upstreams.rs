//! The ERPs: secrets, sessions, and why a sign-in fails.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Control, ControlError, ErrorKind, Result, SecretText};
use crate::directory::By;
use crate::domain::{AccountName, Secret, UpstreamName};
use crate::upstream::{
    AccountRef, SessionError, SessionKey, SessionState, SessionStatus, Sessions, StoreVault, UpstreamSecrets,
};

/// Whose secrets or session.
#[derive(Debug)]
pub(super) struct Whose {
    pub(super) upstream: UpstreamName,
    pub(super) account: Option<AccountName>,
}

/// Secrets as an operator sets them.
#[derive(Debug)]
pub(super) struct NewSecrets {
    pub(super) username: Option<String>,
    pub(super) password: Option<SecretText>,
    pub(super) api_key: Option<SecretText>,
}

impl Control {
    /// Sets the secrets of an ERP user, all together. The session made with the old ones is dropped before the answer.
    pub(super) async fn set_upstream_secret(
        self: &Arc<Self>,
        by: By,
        whose: Whose,
        secrets: NewSecrets,
    ) -> Result<Value> {
        let (key, account) = self.key(&whose)?;
        let secrets = UpstreamSecrets {
            username: secrets.username.map(Secret::new),
            password: secrets.password.map(SecretText::into_secret),
            api_key: secrets.api_key.map(SecretText::into_secret),
            version: 0,
        };
        let vault = StoreVault::new(Arc::clone(&self.store), Arc::clone(&self.key_ring), Arc::clone(&self.entropy));
        let sealed = vault.seal_secrets(&key, &secrets).map_err(ControlError::failed)?;
        let stored_key = key.clone();
        self.change(by, move |control, by| {
            control.directory.put_upstream_secrets(by, &stored_key.upstream, stored_key.account, &sealed)
        })
        .await?;
        if let Some(sessions) = &self.sessions {
            sessions.secret_changed(&key.upstream, account.as_ref()).await.map_err(ControlError::failed)?;
        }
        Ok(json!({
            "upstream": whose.upstream, "account": whose.account,
            "state": "the next request signs in with the new secret",
        }))
    }

    /// Removes the secrets that an account has of its own.
    pub(super) async fn remove_upstream_secret(self: &Arc<Self>, by: By, whose: Whose) -> Result<Value> {
        let (key, account) = self.key(&whose)?;
        let account = account.ok_or_else(|| ControlError::invalid("name the account whose secrets are removed"))?;
        let (upstream, id) = (key.upstream.clone(), account.id);
        self.change(by, move |control, by| control.directory.remove_upstream_secrets(by, &upstream, id)).await?;
        if let Some(sessions) = &self.sessions {
            sessions.secret_removed(&key.upstream, &account).await.map_err(ControlError::failed)?;
        }
        Ok(json!({ "upstream": whose.upstream, "account": whose.account, "state": "removed" }))
    }

    pub(super) fn list_upstreams(&self) -> Value {
        let Some(sessions) = &self.sessions else {
            return self.upstreams.iter().map(|name| json!({ "name": name, "state": "not running" })).collect();
        };
        sessions.status().iter().map(show).collect()
    }

    pub(super) fn show_upstream(&self, whose: &Whose) -> Result<Value> {
        self.key(whose)?;
        let sessions = self.running()?;
        let found = sessions
            .status()
            .into_iter()
            .find(|status| status.upstream == whose.upstream && status.account == whose.account);
        found.map(|status| show(&status)).ok_or_else(|| no_secrets(whose))
    }

    /// Signs in now, unless a session serves already.
    pub(super) async fn log_in(&self, whose: &Whose) -> Result<Value> {
        let (key, _) = self.key(whose)?;
        let login = self.running()?.login(&key).await;
        login.map_err(|error| session_error(whose, &error))?;
        self.show_upstream(whose)
    }

    /// Drops the session and signs it out.
    pub(super) async fn log_out(&self, whose: &Whose) -> Result<Value> {
        let (key, _) = self.key(whose)?;
        let there_was_one = self.running()?.logout(&key).await.map_err(|error| session_error(whose, &error))?;
        let state = if there_was_one { "signed out" } else { "there was no session" };
        Ok(json!({ "upstream": whose.upstream, "account": whose.account, "state": state }))
    }

    /// Runs the sign-in step by step and tells what happened.
    pub(super) async fn test_upstream(&self, whose: &Whose) -> Result<Value> {
        let (key, _) = self.key(whose)?;
        let report = self.running()?.test(&key, &self.redactor).await;
        let report = report.map_err(|error| session_error(whose, &error))?;
        serde_json::to_value(report).map_err(ControlError::failed)
    }

    fn key(&self, whose: &Whose) -> Result<(SessionKey, Option<AccountRef>)> {
        if !self.upstreams.contains(&whose.upstream) {
            let name = &whose.upstream;
            return Err(ControlError::not_found(format!("there is no upstream `{name}` in the configuration")));
        }
        let Some(name) = &whose.account else { return Ok((SessionKey::shared(&whose.upstream), None)) };
        let account = AccountRef { id: self.account_id(name)?, name: name.clone() };
        Ok((SessionKey::own(&whose.upstream, account.id), Some(account)))
    }

    fn running(&self) -> Result<&Sessions> {
        self.sessions
            .as_deref()
            .ok_or_else(|| ControlError::failed("no gateway runs; start it with `erp-access serve`"))
    }
}

fn no_secrets(whose: &Whose) -> ControlError {
    let account = whose.account.as_ref().map(|account| format!(" --account {account}")).unwrap_or_default();
    ControlError::not_found(format!(
        "it has no secrets at `{0}`; set them with `erp-access upstream secret set {0}{account}`",
        whose.upstream
    ))
}

fn session_error(whose: &Whose, error: &SessionError) -> ControlError {
    let upstream = &whose.upstream;
    match error {
        SessionError::Unknown => no_secrets(whose),
        SessionError::NoSecret { .. } => {
            ControlError::conflict(format!("{error}; set it with `erp-access upstream secret set {upstream}`"))
        }
        SessionError::NoAccountSecret { .. } | SessionError::BackingOff { .. } | SessionError::Unusable { .. } => {
            ControlError::conflict(error.to_string())
        }
        SessionError::SignInRefused { .. } | SessionError::Unreachable { .. } | SessionError::TimedOut => {
            ControlError { kind: ErrorKind::Upstream, message: error.to_string() }
        }
        SessionError::Vault { .. } | SessionError::Interrupted => ControlError::failed(error),
    }
}

fn show(status: &SessionStatus) -> Value {
    let until = match status.state {
        SessionState::NoSecret | SessionState::SignedOut | SessionState::SigningIn => None,
        SessionState::SignedIn => status.expires_at,
        SessionState::BackingOff { until } => Some(until),
    };
    let state = status.state.as_str();
    json!({
        "name": status.upstream, "account": status.account, "state": state, "until": until,
        "age_seconds": status.age.map(|age| age.as_secs()), "sign_ins": status.sign_ins,
        "failures": status.failures, "last_error": status.last_error,
    })
}
