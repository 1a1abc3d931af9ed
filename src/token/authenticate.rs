//! Who asks for a token. All failures look alike: same answer, same time.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::Step;
use crate::directory::{Account, AccountState, By, Credential, CredentialState, HashedSecrets, Pair};
use crate::domain::{Actor, Code, CredentialId, Secret};
use crate::gate::{
    BasicCredentials, Challenge, Denial, PresentedError, lacking_certificate, network, presented_api_key,
    presented_basic,
};
use crate::secrets::{HashPurpose, HashedPassword, HashingError, KeyRing, Verified};

use super::row::AttemptRow;
use super::{TokenAsked, TokenEndpoint};

/// Proof: client id, password and x-api-key are those of one live set of a live account.
#[must_use]
pub(super) struct Client {
    pub(super) credential: Arc<Credential>,
    /// The x-api-key that was presented.
    pub(super) api_key: Secret,
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
        let Presented { basic, api_key } = presented;
        let Some((credential, account, pair)) = self.holder(&basic, &api_key, asked.now, row) else {
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
            .verify(basic.password, credential.password_of(pair))
            .await
            .map_err(|error| not_hashed(&error))?;
        match verified {
            Verified::RightWithNewHash(password) if pair == Pair::Current => {
                self.renew(&credential, password, &api_key, asked).await;
            }
            // Secrets that end soon keep their hashes.
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

    /// Keeps the hashes with today's key and parameters. When that fails, the old ones serve on.
    async fn renew(
        &self,
        credential: &Arc<Credential>,
        password: HashedPassword,
        api_key: &Secret,
        asked: &TokenAsked<'_>,
    ) {
        let HashedPassword { hash: password_hash, key: hash_key } = password;
        let api_key_hash = self.key_ring.keyed_hash_by(hash_key, HashPurpose::ApiKey, api_key.expose().as_bytes());
        let Some(api_key_hash) = api_key_hash else { return };
        let secrets = HashedSecrets { password_hash, api_key_hash, hash_key };
        let by = By { actor: Actor::System, at: asked.now, expected: None };
        let (directory, credential) = (Arc::clone(&self.directory), Arc::clone(credential));
        let renewed = tokio::task::spawn_blocking(move || directory.renew_hashes(&by, &credential, secrets)).await;
        if !matches!(renewed, Ok(Ok(()))) {
            log::warn!("the hashes of a credential set could not be renewed; the next token request tries again");
        }
    }

    /// The set that has both this client id and this x-api-key.
    fn holder(
        &self,
        presented: &BasicCredentials,
        api_key: &Secret,
        now: Timestamp,
        row: &mut AttemptRow,
    ) -> Option<(Arc<Credential>, Arc<Account>, Pair)> {
        let snapshot = self.directory.snapshot();
        let id: CredentialId = presented.client_id.parse().ok()?;
        let credential = snapshot.credential(id)?;
        let account = snapshot.account(credential.account)?;
        row.about(credential.id, account.id);
        let pair = pair_of(&self.key_ring, credential, api_key, now)?;
        Some((Arc::clone(credential), Arc::clone(account), pair))
    }
}

/// The pair of a set's secrets that has this x-api-key, whichever key of ours hashed it.
pub(super) fn pair_of(ring: &KeyRing, set: &Credential, api_key: &Secret, now: Timestamp) -> Option<Pair> {
    ring.find(HashPurpose::ApiKey, api_key.expose().as_bytes(), |hash| set.pair_of(hash, now))
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
    if let Some(lacking) = lacking_certificate(account, credential, asked.tls.as_ref()) {
        return Err(invalid(lacking));
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
