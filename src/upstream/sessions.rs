//! The sessions of all upstreams.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::SessionError;
use super::flight::in_vault;
use super::session::UpstreamSession;
use super::slot::Slot;
use super::status::SessionStatus;
use super::transport::SignInTransport;
use super::vault::SessionVault;
use crate::config::Upstream;
use crate::domain::{Clock, UpstreamName};

/// The sessions of all upstreams. `Debug` shows no values.
#[derive(Debug)]
pub struct Sessions {
    slots: BTreeMap<UpstreamName, Arc<Slot>>,
}

impl Sessions {
    /// No session yet; each is made when the first request needs it.
    #[must_use]
    pub fn new(
        upstreams: Vec<Upstream>,
        transport: Arc<dyn SignInTransport>,
        vault: Arc<dyn SessionVault>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let slot = move |upstream: Upstream| {
            let name = upstream.name.clone();
            (name, Arc::new(Slot::new(upstream, Arc::clone(&transport), Arc::clone(&vault), Arc::clone(&clock))))
        };
        Self { slots: upstreams.into_iter().map(slot).collect() }
    }

    /// The session that serves, without waiting. Past four fifths of its life the next one is made in the background.
    #[must_use]
    pub fn ready(&self, upstream: &UpstreamName) -> Option<Arc<UpstreamSession>> {
        self.slots.get(upstream)?.ready()
    }

    /// The session that serves; makes one if there is none, and waits for it up to `timeouts.sign_in`.
    ///
    /// However many requests wait, there is one sign-in; it goes on when they stop waiting.
    ///
    /// # Errors
    /// When there is no session: see [`SessionError`]. While backing off, at once.
    pub async fn obtain(&self, upstream: &UpstreamName) -> Result<Arc<UpstreamSession>, SessionError> {
        let slot = self.slots.get(upstream).ok_or(SessionError::Unknown)?;
        let limit = slot.upstream.timeouts.sign_in;
        tokio::time::timeout(limit, slot.wait()).await.unwrap_or(Err(SessionError::TimedOut))
    }

    /// The ERP said that the session of `generation` is gone: the next request signs in again.
    ///
    /// Does nothing when another session serves already, so that many requests that lose one session cost one sign-in.
    pub fn lost(&self, upstream: &UpstreamName, generation: u64) {
        if let Some(slot) = self.slots.get(upstream) {
            slot.lost(generation);
        }
    }

    /// Drops the session made with the secrets before, from memory at once and then from the vault.
    ///
    /// Forgets failures too, but `attempts_per_minute` counts on. A recipe without steps has its new session when this
    /// returns; whether the new secrets fit is in [`Self::status`].
    ///
    /// # Errors
    /// [`SessionError::Unknown`]; [`SessionError::Vault`] when the vault's copy could not be deleted, which is then
    /// useless all the same: it belongs to another version of the secrets.
    pub async fn secret_changed(&self, upstream: &UpstreamName) -> Result<(), SessionError> {
        let slot = self.slots.get(upstream).ok_or(SessionError::Unknown)?;
        slot.secrets_changed();
        let deleted = in_vault(slot, |vault, name| vault.delete(name)).await;
        if slot.upstream.session.steps.is_empty() {
            let _ = self.obtain(upstream).await;
        }
        deleted.map_err(|reason| SessionError::Vault { reason })
    }

    /// How each upstream's session stands, by name.
    #[must_use]
    pub fn status(&self) -> Vec<SessionStatus> {
        self.slots.values().map(|slot| slot.status()).collect()
    }

    /// Waits for the sign-in under way, if there is one.
    #[cfg(test)]
    pub(crate) async fn settled(&self, upstream: &UpstreamName) {
        if let Some(slot) = self.slots.get(upstream) {
            slot.settled().await;
        }
    }
}
