//! The sessions of all upstreams.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::error::SessionError;
use super::events::SessionEvents;
use super::flight::in_vault;
use super::key::{AccountRef, SessionKey};
use super::report::{Report, ReportBuilder};
use super::session::UpstreamSession;
use super::sign_in::{Upstreams, sign_in};
use super::slot::{Parts, Slot};
use super::status::SessionStatus;
use super::transport::SignInTransport;
use super::vault::{SessionVault, VaultError};
use crate::audit::Redactor;
use crate::config::{SecretsOf, Upstream};
use crate::domain::{AccountId, Clock, UpstreamName};

/// The sessions of all upstreams. `Debug` shows no values.
#[derive(Debug)]
pub struct Sessions {
    parts: Parts,
    // INVARIANT: has exactly the upstreams of the configuration.
    seats: BTreeMap<UpstreamName, Seats>,
}

/// The sessions at one upstream.
#[derive(Debug)]
struct Seats {
    upstream: Arc<Upstream>,
    /// The ERP user that all accounts share.
    shared: Arc<Slot>,
    /// The ERP users of accounts that have their own. Read by each request, changed by operators.
    own: ArcSwap<HashMap<AccountId, Arc<Slot>>>,
}

impl Sessions {
    /// No session yet; each is made when the first request needs it.
    ///
    /// # Errors
    /// When the vault cannot say which accounts have secrets of their own.
    pub fn new(
        upstreams: Vec<Upstream>,
        transport: Arc<dyn SignInTransport>,
        vault: Arc<dyn SessionVault>,
        clock: Arc<dyn Clock>,
        events: Arc<dyn SessionEvents>,
    ) -> Result<Self, VaultError> {
        let named = |upstream: Upstream| (upstream.name.clone(), Arc::new(upstream));
        let upstreams: Arc<Upstreams> = Arc::new(upstreams.into_iter().map(named).collect());
        let parts = Parts { upstreams, transport, vault, clock, events };
        let mut seats = BTreeMap::new();
        for (name, upstream) in parts.upstreams.iter() {
            let mut own = HashMap::new();
            for account in parts.vault.accounts(name)? {
                own.insert(account.id, Arc::new(Slot::new(upstream, Some(account), &parts)));
            }
            let shared = Arc::new(Slot::new(upstream, None, &parts));
            seats.insert(
                name.clone(),
                Seats { upstream: Arc::clone(upstream), shared, own: ArcSwap::from_pointee(own) },
            );
        }
        Ok(Self { parts, seats })
    }

    /// The session that serves this account, without waiting. Past four fifths of its life the next one is made in the
    /// background.
    #[must_use]
    pub fn ready(&self, upstream: &UpstreamName, account: &AccountRef) -> Option<Arc<UpstreamSession>> {
        self.slot_for(upstream, account).ok()?.ready()
    }

    /// The session that serves this account; makes one if there is none, and waits for it up to `timeouts.sign_in`.
    ///
    /// However many requests wait, there is one sign-in; it goes on when they stop waiting.
    ///
    /// # Errors
    /// When there is no session: see [`SessionError`]. While backing off, at once.
    pub async fn obtain(
        &self,
        upstream: &UpstreamName,
        account: &AccountRef,
    ) -> Result<Arc<UpstreamSession>, SessionError> {
        wait_for(&self.slot_for(upstream, account)?).await
    }

    /// The ERP said that the session of `generation` is gone: the next request signs in again.
    ///
    /// Does nothing when another session serves already, so that many requests that lose one session cost one sign-in.
    pub fn lost(&self, key: &SessionKey, generation: u64) {
        if let Ok(slot) = self.slot(key) {
            slot.lost(generation);
        }
    }

    /// Drops the session made with the secrets before, from memory at once and then from the vault, and signs it out.
    ///
    /// Forgets failures too, but `attempts_per_minute` counts on. A recipe without steps has its new session when this
    /// returns; whether the new secrets fit is in [`Self::status`].
    ///
    /// # Errors
    /// [`SessionError::Unknown`]; [`SessionError::Vault`] when the vault's copy could not be deleted, which is then
    /// useless all the same: it belongs to another version of the secrets.
    pub async fn secret_changed(
        &self,
        upstream: &UpstreamName,
        account: Option<&AccountRef>,
    ) -> Result<(), SessionError> {
        let slot = self.slot_to_set(upstream, account)?;
        let dropped = slot.secrets_changed();
        let deleted = in_vault(&slot, |vault, key| vault.delete(key)).await;
        sign_out_aside(&slot, dropped);
        if slot.upstream.session.steps.is_empty() {
            let _ = wait_for(&slot).await;
        }
        deleted.map_err(|reason| SessionError::Vault { reason })
    }

    /// The account's own secrets were removed: its session is dropped and signed out.
    ///
    /// # Errors
    /// [`SessionError::Unknown`]; [`SessionError::Vault`] when the vault's copy could not be deleted.
    pub async fn secret_removed(&self, upstream: &UpstreamName, account: &AccountRef) -> Result<(), SessionError> {
        let slot = self.slot_to_set(upstream, Some(account))?;
        let seats = self.seats(upstream)?;
        seats.own.rcu(|own| {
            let mut own = HashMap::clone(own);
            own.remove(&account.id);
            own
        });
        let dropped = slot.secrets_changed();
        let deleted = in_vault(&slot, |vault, key| vault.delete(key)).await;
        sign_out_aside(&slot, dropped);
        deleted.map_err(|reason| SessionError::Vault { reason })
    }

    /// Signs in now, unless a session serves already.
    ///
    /// # Errors
    /// When there is no session: see [`SessionError`].
    pub async fn login(&self, key: &SessionKey) -> Result<Arc<UpstreamSession>, SessionError> {
        wait_for(&self.slot(key)?).await
    }

    /// Drops the session, in memory and in the vault, and signs it out at the ERP. Says whether there was one.
    ///
    /// # Errors
    /// [`SessionError::Unknown`]; [`SessionError::Vault`] when the vault's copy could not be deleted.
    pub async fn logout(&self, key: &SessionKey) -> Result<bool, SessionError> {
        let slot = self.slot(key)?;
        let dropped = slot.drop_session();
        let deleted = in_vault(&slot, |vault, key| vault.delete(key)).await;
        if let Some(session) = &dropped {
            slot.sign_out(session).await;
        }
        deleted.map_err(|reason| SessionError::Vault { reason })?;
        Ok(dropped.is_some())
    }

    /// Runs the sign-in step by step and tells what was sent and received, secrets masked. The session that serves goes
    /// on; the one made here is signed out again. Counts as a sign-in.
    ///
    /// # Errors
    /// When nothing could be tried: an unknown name, no secrets, or as many sign-ins as `attempts_per_minute` allows.
    pub async fn test(&self, key: &SessionKey, redactor: &Redactor) -> Result<Report, SessionError> {
        let slot = self.slot(key)?;
        let secrets = in_vault(&slot, |vault, key| vault.load_secrets(key)).await;
        let secrets = secrets.map_err(|reason| SessionError::Vault { reason })?.unwrap_or_default();
        if let Some(error) = slot.refuses_to_try() {
            return Err(error);
        }
        if !slot.upstream.session.steps.is_empty() {
            slot.count_sign_in();
        }
        let mut report = ReportBuilder::new(redactor);
        let signing_in =
            sign_in(&slot.upstreams, &slot.upstream, &secrets, slot.account.as_ref(), &*slot.transport, &mut report);
        let signed_in = tokio::time::timeout(slot.upstream.timeouts.sign_in, signing_in).await;
        let session = match signed_in.unwrap_or(Err(SessionError::TimedOut)) {
            Ok(signed_in) => slot.session_to_test(signed_in),
            Err(error) => Err(error),
        };
        if let Ok(session) = &session {
            slot.sign_out(session).await;
        }
        Ok(report.finish(session.as_ref()))
    }

    /// How each session stands, by upstream, the shared one first.
    #[must_use]
    pub fn status(&self) -> Vec<SessionStatus> {
        let of = |seats: &Seats| {
            let mut own: Vec<_> = seats.own.load().values().map(|slot| slot.status()).collect();
            own.sort_by(|one, other| one.account.cmp(&other.account));
            std::iter::once(seats.shared.status()).chain(own).collect::<Vec<_>>()
        };
        self.seats.values().flat_map(of).collect()
    }

    /// Signs out the sessions that do not survive a restart.
    pub async fn shut_down(&self) {
        for seats in self.seats.values().filter(|seats| !seats.upstream.session.survives_restart) {
            let own: Vec<_> = seats.own.load().values().cloned().collect();
            for slot in std::iter::once(&seats.shared).chain(&own) {
                if let Some(session) = slot.drop_session() {
                    slot.sign_out(&session).await;
                }
            }
        }
    }

    fn seats(&self, upstream: &UpstreamName) -> Result<&Seats, SessionError> {
        self.seats.get(upstream).ok_or(SessionError::Unknown)
    }

    /// The session that an account uses.
    fn slot_for(&self, upstream: &UpstreamName, account: &AccountRef) -> Result<Arc<Slot>, SessionError> {
        let seats = self.seats(upstream)?;
        let own = || seats.own.load().get(&account.id).cloned();
        match seats.upstream.session.secrets {
            SecretsOf::Upstream => Ok(Arc::clone(&seats.shared)),
            // SECURITY: never the shared user in place of the account's own.
            SecretsOf::Account => own().ok_or_else(|| SessionError::NoAccountSecret { account: account.name.clone() }),
            SecretsOf::AccountOrUpstream => Ok(own().unwrap_or_else(|| Arc::clone(&seats.shared))),
        }
    }

    fn slot(&self, key: &SessionKey) -> Result<Arc<Slot>, SessionError> {
        let seats = self.seats(&key.upstream)?;
        match &key.account {
            None => Ok(Arc::clone(&seats.shared)),
            Some(account) => seats.own.load().get(account).cloned().ok_or(SessionError::Unknown),
        }
    }

    /// The slot whose secrets are set, made where the account had none.
    fn slot_to_set(&self, upstream: &UpstreamName, account: Option<&AccountRef>) -> Result<Arc<Slot>, SessionError> {
        let seats = self.seats(upstream)?;
        let Some(account) = account else { return Ok(Arc::clone(&seats.shared)) };
        let new = Arc::new(Slot::new(&seats.upstream, Some(account.clone()), &self.parts));
        seats.own.rcu(|own| {
            let mut own = HashMap::clone(own);
            own.entry(account.id).or_insert_with(|| Arc::clone(&new));
            own
        });
        self.slot(&SessionKey::own(upstream, account.id))
    }

    /// Waits for the sign-in under way, if there is one.
    #[cfg(test)]
    pub(crate) async fn settled(&self, upstream: &UpstreamName) {
        if let Ok(seats) = self.seats(upstream) {
            seats.shared.settled().await;
        }
    }
}

async fn wait_for(slot: &Arc<Slot>) -> Result<Arc<UpstreamSession>, SessionError> {
    let limit = slot.upstream.timeouts.sign_in;
    tokio::time::timeout(limit, slot.wait()).await.unwrap_or(Err(SessionError::TimedOut))
}

/// Signs a dropped session out without anybody waiting for it.
fn sign_out_aside(slot: &Arc<Slot>, dropped: Option<Arc<UpstreamSession>>) {
    if let Some(session) = dropped {
        let slot = Arc::clone(slot);
        tokio::spawn(async move { slot.sign_out(&session).await });
    }
}
