//! One making of a session, for all requests that wait for it. It belongs to none of them, so that a client who goes
//! away stops nothing.

use std::sync::Arc;

use tokio::sync::watch;

use super::error::SessionError;
use super::key::SessionKey;
use super::session::{Life, UpstreamSession};
use super::sign_in::{SignedIn, Unobserved, sign_in};
use super::slot::{Landing, Slot, Stored};
use super::template::names_in_recipe;
use super::variables::Variables;
use super::vault::{SessionVault, StoredSession, UpstreamSecrets, VaultError};

/// A making under way. It always lands: dropped early, by a panic or a shutdown, it lands as a failure.
#[derive(Debug)]
pub(super) struct Flight {
    slot: Arc<Slot>,
    ticket: Ticket,
    landing: Option<watch::Sender<Option<Landing>>>,
}

/// What a flight was told when it took off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    /// The number of the session to come.
    pub(super) generation: u64,
    /// Which secrets were in force; with others in force at landing, the result is worth nothing.
    pub(super) secrets_epoch: u64,
    /// Whether the vault's session may serve.
    pub(super) stored: Stored,
}

impl Flight {
    pub(super) fn new(slot: Arc<Slot>, ticket: Ticket, landing: watch::Sender<Option<Landing>>) -> Self {
        Self { slot, ticket, landing: Some(landing) }
    }

    pub(super) async fn fly(mut self) {
        let outcome = self.make().await;
        self.land(outcome);
    }

    fn land(&mut self, outcome: Result<UpstreamSession, SessionError>) {
        if let Some(landing) = self.landing.take() {
            let (landed, replaced) = self.slot.land(self.ticket, outcome);
            landing.send_replace(Some(landed));
            if let Some(replaced) = replaced {
                self.slot.retire(replaced);
            }
        }
    }

    async fn make(&self) -> Result<UpstreamSession, SessionError> {
        let recipe = &self.slot.upstream.session;
        let secrets = in_vault(&self.slot, |vault, key| vault.load_secrets(key)).await;
        let secrets = secrets.map_err(|reason| SessionError::Vault { reason })?.unwrap_or_default();
        let variables = Variables::of(&secrets).for_account(self.slot.account.as_ref());
        variables.require_secrets(&names_in_recipe(recipe))?;
        if recipe.steps.is_empty() {
            let life = Life::beginning(self.slot.clock.now(), &recipe.lifetime, None);
            return UpstreamSession::build(recipe, variables, self.slot.key.clone(), secrets.version, life);
        }
        if let Some(session) = self.restore(&secrets).await {
            return Ok(session);
        }
        let signed_in = self.sign_in(&secrets).await;
        self.slot.events.signed_in(&self.slot.key, signed_in.as_ref().map(drop));
        signed_in
    }

    /// The session of an earlier process, if it still serves.
    async fn restore(&self, secrets: &UpstreamSecrets) -> Option<UpstreamSession> {
        match self.ticket.stored {
            Stored::Unread => {}
            Stored::Overtaken => return None,
        }
        let stored = in_vault(&self.slot, |vault, key| vault.load(key)).await.unwrap_or_else(|error| {
            log::warn!("{}: the stored session cannot be read: {error}", self.slot);
            None
        })?;
        let recipe = &self.slot.upstream.session;
        let life = Life::kept(stored.signed_in_at, stored.expires_at, &recipe.lifetime);
        if stored.secret_version != secrets.version || !recipe.survives_restart {
            return None;
        }
        let variables = Variables::restored(secrets, stored.variables).for_account(self.slot.account.as_ref());
        // A recipe that has changed since may not fit: then we sign in.
        let session =
            UpstreamSession::build(recipe, variables, self.slot.key.clone(), self.ticket.generation, life).ok()?;
        (!session.is_over(self.slot.clock.now())).then_some(session)
    }

    async fn sign_in(&self, secrets: &UpstreamSecrets) -> Result<UpstreamSession, SessionError> {
        let upstream = &self.slot.upstream;
        self.slot.count_sign_in();
        self.slot.tried_again();
        // Taken before the first request, so that our end of the session is never later than the ERP's.
        let began_at = self.slot.clock.now();
        let account = self.slot.account.as_ref();
        let mut unobserved = Unobserved;
        let signing_in =
            sign_in(&self.slot.upstreams, upstream, secrets, account, &*self.slot.transport, &mut unobserved);
        let signed_in = tokio::time::timeout(upstream.timeouts.sign_in, signing_in).await;
        let SignedIn { variables, lifetime } = signed_in.map_err(|_| SessionError::TimedOut)??;
        let life = Life::beginning(began_at, &upstream.session.lifetime, lifetime);
        let extracted = variables.extracted().clone();
        let key = self.slot.key.clone();
        let session = UpstreamSession::build(&upstream.session, variables, key, self.ticket.generation, life)?;
        if upstream.session.survives_restart {
            self.save(StoredSession {
                variables: extracted,
                secret_version: secrets.version,
                signed_in_at: began_at,
                expires_at: session.expires_at(),
            })
            .await;
        }
        Ok(session)
    }

    /// A session that cannot be kept still serves until the next start.
    async fn save(&self, stored: StoredSession) {
        if let Err(error) = in_vault(&self.slot, move |vault, key| vault.save(key, &stored)).await {
            log::warn!("{}: the session cannot be stored: {error}", self.slot);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.land(Err(SessionError::Interrupted));
    }
}

/// Works with the vault on a thread that may block.
pub(super) async fn in_vault<T, F>(slot: &Slot, work: F) -> Result<T, VaultError>
where
    T: Send + 'static,
    F: FnOnce(&dyn SessionVault, &SessionKey) -> Result<T, VaultError> + Send + 'static,
{
    let (vault, key) = (Arc::clone(&slot.vault), slot.key.clone());
    tokio::task::spawn_blocking(move || work(&*vault, &key))
        .await
        .unwrap_or_else(|_| Err(VaultError("the vault was interrupted".to_owned())))
}
