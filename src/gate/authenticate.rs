//! Step 3: who asks. Token, credential set and account must all be live; nothing is read from a database.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::audit::Step;
use crate::directory::{Account, AccountState, Credential, CredentialState, Pair};
use crate::domain::{Code, Principal};
use crate::secrets::HashPurpose;

use super::certificate::lacking_certificate;
use super::presented::{PresentedError, presented_api_key, presented_bearer};
use super::stopped::Running;
use super::{ApiKeyOnRelay, Challenge, Denial, Gate, Trail};

/// Proof: a live token of a live credential set of a live account.
#[must_use]
pub(super) struct Known<'a> {
    pub(super) running: Running<'a>,
    pub(super) principal: Principal,
    pub(super) credential: Arc<Credential>,
    pub(super) account: Arc<Account>,
}

impl Gate {
    pub(super) fn authenticate<'a>(&self, running: Running<'a>, trail: &mut Trail) -> Result<Known<'a>, Denial> {
        let asked = &running.request.asked;
        let token = presented_bearer(asked.head.headers)
            .map_err(unreadable)?
            .ok_or_else(|| missing("no bearer token was sent", Challenge::Bearer))?;
        let entry =
            self.find_token(&token, asked.now).ok_or_else(|| invalid("the token is unknown, expired or revoked"))?;
        trail.known_by_token(entry.id, entry.credential, None);
        let snapshot = self.directory.snapshot();
        let credential = snapshot
            .credential(entry.credential)
            .ok_or_else(|| invalid("the token's credential set does not exist"))?;
        let account = snapshot
            .account(credential.account)
            .ok_or_else(|| invalid("the credential set's account does not exist"))?;
        let principal = Principal { token: entry.id, credential: credential.id, account: account.id };
        trail.principal(&principal);
        check_set(credential, asked.now)?;
        if !entry.is_backed(credential, asked.now) {
            return Err(invalid("the secrets that got the token have been replaced, and their overlap is over"));
        }
        self.check_api_key(&running, credential)?;
        check_account(account)?;
        check_address(credential, asked.client)?;
        if let Some(lacking) = lacking_certificate(account, credential, asked.tls.as_ref()) {
            return Err(wrong_key(lacking));
        }
        trail.passed(Step::Authentication, format!("set `{}` of account `{}`", credential.name, account.name));
        let (credential, account) = (Arc::clone(credential), Arc::clone(account));
        Ok(Known { running, principal, credential, account })
    }

    fn check_api_key(&self, running: &Running<'_>, credential: &Credential) -> Result<(), Denial> {
        match presented_api_key(running.request.asked.head.headers).map_err(unreadable)? {
            Some(key) => {
                let now = running.request.asked.now;
                let text = key.secret().expose().as_bytes();
                let pair = self
                    .key_ring
                    .find(HashPurpose::ApiKey, text, |hash| credential.pair_of(hash, now))
                    .ok_or_else(|| wrong_key("the x-api-key is not the one of the token's credential set"))?;
                if pair == Pair::Former {
                    credential.used.note(pair, now);
                }
                Ok(())
            }
            None => match self.rules.api_key {
                ApiKeyOnRelay::Optional => Ok(()),
                ApiKeyOnRelay::Required => Err(missing("no x-api-key was sent", Challenge::Bearer)),
            },
        }
    }
}

/// The credential set must be live.
pub(super) fn check_set(credential: &Credential, now: Timestamp) -> Result<(), Denial> {
    match credential.state {
        CredentialState::Active => {}
        CredentialState::Disabled => return Err(invalid("the credential set is disabled")),
        CredentialState::Revoked => return Err(invalid("the credential set is revoked")),
    }
    if credential.has_expired(now) {
        return Err(invalid("the credential set has expired"));
    }
    Ok(())
}

/// The set must be for where the request comes from.
pub(super) fn check_address(credential: &Credential, client: Option<IpAddr>) -> Result<(), Denial> {
    if credential.is_for(client) {
        return Ok(());
    }
    Err(Denial::new(Step::Authentication, Code::NotPermitted, "the credential set is not for this address"))
}

/// The account must be live.
pub(super) fn check_account(account: &Account) -> Result<(), Denial> {
    match &account.state {
        AccountState::Active => Ok(()),
        AccountState::Suspended { reason, .. } => {
            let reason = format!("account suspended: {reason}");
            Err(Denial::new(Step::Authentication, Code::AccountSuspended, reason))
        }
    }
}

fn unreadable(error: PresentedError) -> Denial {
    let denial = Denial::new(Step::Authentication, error.code(), error.to_string());
    if error.code() == Code::BadRequest { denial } else { denial.challenge(Challenge::BearerInvalid) }
}

fn missing(reason: &'static str, challenge: Challenge) -> Denial {
    Denial::new(Step::Authentication, Code::CredentialsMissing, reason).challenge(challenge)
}

fn invalid(reason: &'static str) -> Denial {
    Denial::new(Step::Authentication, Code::TokenInvalid, reason).challenge(Challenge::BearerInvalid)
}

fn wrong_key(reason: &'static str) -> Denial {
    Denial::new(Step::Authentication, Code::CredentialsInvalid, reason).challenge(Challenge::Bearer)
}
