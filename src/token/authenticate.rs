//! Who asks for a token. All failures look alike: same answer, same time.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::Step;
use crate::directory::{Account, AccountState, By, Credential, CredentialState, Pair};
use crate::domain::{Actor, Code, CredentialId, Secret};
use crate::gate::{BasicCredentials, Challenge, Denial, PresentedError, network, presented_api_key, presented_basic};
use crate::secrets::{HashPurpose, HashingError, KeyedHash, Verified};

use super::row::AttemptRow;
use super::{TokenAsked, TokenEndpoint};

/// Proof: client id, password and x-api-key are those of one live set of a live account.
#[must_use]
pub(super) struct Client {
    pub(super) credential: Arc<Credential>,
    /// The keyed hash of the x-api-key that was presented.
    pub(super) api_key: KeyedHash,
}

impl TokenEndpoint {
    pub(super) async fn authenticate(&self, asked: &TokenAsked<'_>, row: &mut AttemptRow) -> Result<Client, Denial> {
        let snapshot = self.directory.snapshot();
        // No password is hashed while the kill switch is engaged.
        if let Some(engaged) = snapshot.kill_switches().global(asked.now) {
            row.stopped_by(engaged);
            return Err(Denial::stopped(Step::KillSwitch, engaged, asked.now));
        }
        row.not_stopped();
        let address = asked.client.map(network);
        self.by_address.check(address, self.clock.monotonic()).map_err(|wait| throttled("this address", wait))?;
        let presented = presented(asked)?;
        let result = self.check(asked, presented, row).await;
        if let Err(denial) = &result
            && denial.code == Code::CredentialsInvalid
        {
            self.by_address.failed(address, self.clock.monotonic());
        }
        result
    }

    async fn check(
        &self,
        asked: &TokenAsked<'_>,
        presented: Presented,
        row: &mut AttemptRow,
    ) -> Result<Client, Denial> {
        let api_key = self.key_ring.keyed_hash(HashPurpose::ApiKey, presented.api_key.expose().as_bytes());
        let Some((credential, account, pair)) = self.holder(&presented.basic, &api_key, asked.now, row) else {
            // SECURITY: without the right x-api-key no password is examined, so nobody else can make us hash; the
            // answer waits as long as hashing takes, so that its time tells nothing.
            tokio::time::sleep(self.hasher.typical_duration()).await;
            return Err(invalid("client id and x-api-key are not of one credential set"));
        };
        self.by_client
            .check(credential.id, self.clock.monotonic())
            .map_err(|wait| throttled("this client id", wait))?;
        let verified = self
            .hasher
            .verify(presented.basic.password, credential.password_hash_of(pair).map(str::to_owned))
            .await
            .map_err(|error| not_hashed(&error))?;
        match verified {
            Verified::RightWithNewHash(hash) if pair == Pair::Current => self.renew(&credential, hash, asked).await,
            // Secrets that end soon keep their hash.
            Verified::Right | Verified::RightWithNewHash(_) => {}
            Verified::Wrong => {
                self.by_client.failed(credential.id, self.clock.monotonic());
                return Err(invalid("the password is wrong"));
            }
        }
        row.by(credential.id);
        usable(&credential, &account, asked)?;
        row.passed(Step::Authentication, format!("set `{}` of account `{}`", credential.name, account.name));
        Ok(Client { credential, api_key })
    }

    /// Keeps the hash with today's parameters. When that fails, the old one serves on.
    async fn renew(&self, credential: &Arc<Credential>, hash: String, asked: &TokenAsked<'_>) {
        let by = By { actor: Actor::System, at: asked.now, expected: None };
        let (directory, credential) = (Arc::clone(&self.directory), Arc::clone(credential));
        let renewed = tokio::task::spawn_blocking(move || directory.renew_password_hash(&by, &credential, hash)).await;
        if !matches!(renewed, Ok(Ok(()))) {
            log::warn!("a password hash could not be renewed; the next token request tries again");
        }
    }

    /// The set that has both this client id and this x-api-key.
    fn holder(
        &self,
        presented: &BasicCredentials,
        api_key: &KeyedHash,
        now: Timestamp,
        row: &mut AttemptRow,
    ) -> Option<(Arc<Credential>, Arc<Account>, Pair)> {
        let snapshot = self.directory.snapshot();
        let id: CredentialId = presented.client_id.parse().ok()?;
        let credential = snapshot.credential(id)?;
        let account = snapshot.account(credential.account)?;
        row.about(credential.id, account.id);
        let pair = credential.pair_of(api_key, now)?;
        Some((Arc::clone(credential), Arc::clone(account), pair))
    }
}

struct Presented {
    basic: BasicCredentials,
    api_key: Secret,
}

fn presented(asked: &TokenAsked<'_>) -> Result<Presented, Denial> {
    let basic = presented_basic(asked.headers).map_err(unreadable)?;
    let api_key = presented_api_key(asked.headers).map_err(unreadable)?;
    match (basic, api_key) {
        (Some(basic), Some(api_key)) => Ok(Presented { basic, api_key: api_key.secret().clone() }),
        (None, _) => Err(missing("no client id and password were sent")),
        (Some(_), None) => Err(missing("no x-api-key was sent")),
    }
}

/// The secrets were right; is the set usable? Its holder may know why not, where an operator decided it.
fn usable(credential: &Credential, account: &Account, asked: &TokenAsked<'_>) -> Result<(), Denial> {
    match credential.state {
        CredentialState::Active => {}
        CredentialState::Disabled => return Err(invalid("the secrets are right, but the credential set is disabled")),
        CredentialState::Revoked => return Err(invalid("the secrets are right, but the credential set is revoked")),
    }
    if credential.has_expired(asked.now) {
        return Err(invalid("the secrets are right, but the credential set has expired"));
    }
    if !credential.is_for(asked.client) {
        return Err(invalid("the secrets are right, but the credential set is not for this address"));
    }
    match &account.state {
        AccountState::Active => Ok(()),
        AccountState::Suspended { reason, .. } => {
            Err(Denial::new(Step::Authentication, Code::AccountSuspended, format!("account suspended: {reason}")))
        }
    }
}

fn unreadable(error: PresentedError) -> Denial {
    Denial::new(Step::Authentication, error.code(), error.to_string()).challenge(Challenge::Basic)
}

fn missing(reason: &'static str) -> Denial {
    Denial::new(Step::Authentication, Code::CredentialsMissing, reason).challenge(Challenge::Basic)
}

fn invalid(reason: &'static str) -> Denial {
    Denial::new(Step::Authentication, Code::CredentialsInvalid, reason).challenge(Challenge::Basic)
}

fn throttled(who: &str, wait: Duration) -> Denial {
    let reason = format!("too many failed attempts from {who}");
    Denial::new(Step::Throttle, Code::RateLimited, reason).retry_after(wait)
}

fn not_hashed(error: &HashingError) -> Denial {
    match error {
        HashingError::Overloaded => {
            Denial::new(Step::Throttle, Code::Overloaded, "too many passwords are being checked at once")
                .retry_after(Duration::from_secs(1))
        }
        HashingError::Parameters(_) | HashingError::Interrupted => {
            Denial::new(Step::Authentication, Code::InternalError, error.to_string())
        }
    }
}
