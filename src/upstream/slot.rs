//! The session of one ERP user: the one that serves, and at most one flight that makes the next.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::attempts::Attempts;
use super::error::SessionError;
use super::events::{Circuit, Guarded, SessionEvents};
use super::flight::{Flight, Ticket};
use super::key::{AccountRef, SessionKey};
use super::session::{Life, UpstreamSession, later};
use super::sign_in::{SignedIn, Upstreams, sign_out};
use super::status::{SessionState, SessionStatus};
use super::template::names_in_recipe;
use super::transport::SignInTransport;
use super::vault::SessionVault;
use crate::config::Upstream;
use crate::domain::Clock;

/// How long a session that was replaced may be used by relays in progress before it is signed out.
const LAST_RELAYS: Duration = Duration::from_mins(10);

/// The session of one ERP user.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) key: SessionKey,
    pub(super) account: Option<AccountRef>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) transport: Arc<dyn SignInTransport>,
    pub(super) vault: Arc<dyn SessionVault>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: Arc<dyn SessionEvents>,
    // INVARIANT: written only while `state` is locked; read without.
    current: ArcSwapOption<UpstreamSession>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    flight: Option<watch::Receiver<Option<Landing>>>,
    attempts: Attempts,
    generation: u64,
    secrets_epoch: u64,
    stored: Stored,
    last_error: Option<SessionError>,
}

/// What all sessions share.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) transport: Arc<dyn SignInTransport>,
    pub(super) vault: Arc<dyn SessionVault>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: Arc<dyn SessionEvents>,
}

impl fmt::Display for Slot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "upstream `{}`", self.upstream.name)?;
        self.account.as_ref().map_or(Ok(()), |account| write!(out, " for account `{}`", account.name))
    }
}

/// Whether the vault's session may still serve.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stored {
    /// It was left by an earlier process and nobody has used it yet.
    Unread,
    /// This process has had a session of its own, or the secrets have changed: what the vault holds may be lost.
    Overtaken,
}

/// How a flight ended, for all that wait for it.
#[derive(Debug, Clone)]
pub(super) enum Landing {
    Session(Arc<UpstreamSession>),
    Failed(SessionError),
    /// The secrets changed meanwhile: start again.
    Superseded,
}

/// What a request finds that needs a session.
enum Boarding {
    Live(Arc<UpstreamSession>),
    Waits(watch::Receiver<Option<Landing>>),
    TakesOff(Flight, watch::Receiver<Option<Landing>>),
}

impl Slot {
    pub(super) fn new(upstream: &Arc<Upstream>, account: Option<AccountRef>, parts: &Parts) -> Self {
        let state = State {
            flight: None,
            attempts: Attempts::new(upstream.session.attempts_per_minute),
            generation: 0,
            secrets_epoch: 0,
            stored: Stored::Unread,
            last_error: None,
        };
        let Parts { upstreams, transport, vault, clock, events } = parts.clone();
        let key = SessionKey { upstream: upstream.name.clone(), account: account.as_ref().map(|account| account.id) };
        Self {
            key,
            account,
            upstream: Arc::clone(upstream),
            upstreams,
            transport,
            vault,
            clock,
            events,
            current: ArcSwapOption::empty(),
            state: Mutex::new(state),
        }
    }

    /// The session that serves; late in its life this starts the making of the next one.
    pub(super) fn ready(self: &Arc<Self>) -> Option<Arc<UpstreamSession>> {
        let session = self.live()?;
        let now = self.clock.now();
        session.used(now);
        if session.is_late(now) {
            self.refresh();
        }
        Some(session)
    }

    /// The session that serves, waiting for one if need be. The caller limits the time.
    pub(super) async fn wait(self: &Arc<Self>) -> Result<Arc<UpstreamSession>, SessionError> {
        if let Some(session) = self.ready() {
            return Ok(session);
        }
        loop {
            let mut waiting = match self.board()? {
                Boarding::Live(session) => return Ok(session),
                Boarding::Waits(waiting) => waiting,
                Boarding::TakesOff(flight, waiting) => {
                    tokio::spawn(flight.fly());
                    waiting
                }
            };
            let landing = waiting.wait_for(Option::is_some).await.ok().and_then(|landing| landing.clone());
            match landing {
                Some(Landing::Session(session)) => return Ok(session),
                Some(Landing::Failed(error)) => return Err(error),
                Some(Landing::Superseded) => {}
                None => return Err(SessionError::Interrupted),
            }
        }
    }

    /// Drops the session if it is still the one of `generation`.
    pub(super) fn lost(&self, generation: u64) {
        let _state = self.lock();
        let is_current = self.current.load().as_ref().is_some_and(|session| session.generation() == generation);
        if is_current {
            self.current.store(None);
            log::info!("{self}: the session is lost");
        }
    }

    /// Drops the session, and the result of a flight under way. Gives the session that served.
    pub(super) fn secrets_changed(&self) -> Option<Arc<UpstreamSession>> {
        let mut state = self.lock();
        let dropped = self.current.swap(None);
        state.secrets_epoch = state.secrets_epoch.saturating_add(1);
        state.stored = Stored::Overtaken;
        let had_failed = state.attempts.failures() > 0;
        state.attempts.cleared();
        state.last_error = None;
        drop(state);
        if had_failed {
            self.tell(Circuit::Closed, "other secrets are set".to_owned());
        }
        dropped
    }

    /// Drops the session, and the result of a flight under way; failures are remembered. Gives the session that served.
    pub(super) fn drop_session(&self) -> Option<Arc<UpstreamSession>> {
        let mut state = self.lock();
        state.secrets_epoch = state.secrets_epoch.saturating_add(1);
        state.stored = Stored::Overtaken;
        self.current.swap(None)
    }

    /// Signs a session out that was replaced, when the last relay that uses it has ended.
    pub(super) fn retire(self: &Arc<Self>, session: Arc<UpstreamSession>) {
        if self.upstream.session.logout.is_none() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let slot = Arc::clone(self);
        runtime.spawn(async move {
            let mut waited = Duration::ZERO;
            while Arc::strong_count(&session) > 1 && waited < LAST_RELAYS {
                tokio::time::sleep(Duration::from_secs(1)).await;
                waited += Duration::from_secs(1);
            }
            slot.sign_out(&session).await;
        });
    }

    /// Ends a session at the ERP. What goes wrong is logged: the session is not used any more in any case.
    pub(super) async fn sign_out(&self, session: &UpstreamSession) {
        if self.upstream.session.logout.is_none() {
            return;
        }
        let signing_out = sign_out(&self.upstreams, &self.upstream, session.variables(), &*self.transport);
        match tokio::time::timeout(self.upstream.timeouts.sign_in, signing_out).await {
            Ok(Ok(())) => log::info!("{self}: session {} was signed out", session.generation()),
            Ok(Err(error)) => log::warn!("{self}: session {} could not be signed out: {error}", session.generation()),
            Err(_) => log::warn!("{self}: session {} could not be signed out in time", session.generation()),
        }
    }

    /// Why no sign-in may begin now: failures count against the ERP user whoever asks.
    pub(super) fn refuses_to_try(&self) -> Option<SessionError> {
        let state = self.lock();
        let pause = state.attempts.pause_of_limit(self.clock.monotonic())?;
        Some(self.backing_off(&state, pause))
    }

    /// The session that a test made; it never serves.
    pub(super) fn session_to_test(&self, signed_in: SignedIn) -> Result<UpstreamSession, SessionError> {
        let recipe = &self.upstream.session;
        signed_in.variables.require_secrets(&names_in_recipe(recipe))?;
        let life = Life::beginning(self.clock.now(), &recipe.lifetime, signed_in.lifetime);
        UpstreamSession::build(recipe, signed_in.variables, self.key.clone(), 0, life)
    }

    pub(super) fn status(&self) -> SessionStatus {
        let now = self.clock.now();
        let state = self.lock();
        let session = self.live();
        let pause = state.attempts.pause(self.clock.monotonic());
        SessionStatus {
            upstream: self.upstream.name.clone(),
            account: self.account.as_ref().map(|account| account.name.clone()),
            state: match (&session, &state.flight, pause, &state.last_error) {
                (Some(_), ..) => SessionState::SignedIn,
                (None, Some(_), ..) => SessionState::SigningIn,
                (None, None, Some(pause), _) => SessionState::BackingOff { until: later(now, pause) },
                (None, None, None, Some(SessionError::NoSecret { .. })) => SessionState::NoSecret,
                (None, None, None, _) => SessionState::SignedOut,
            },
            age: session.as_ref().map(|session| session.life().age(now)),
            expires_at: session.as_ref().and_then(|session| session.expires_at()),
            last_error: state.last_error.as_ref().map(ToString::to_string),
            failures: state.attempts.failures(),
            sign_ins: state.attempts.total(),
        }
    }

    /// Counts a sign-in that is about to begin.
    pub(super) fn count_sign_in(&self) {
        self.lock().attempts.begun(self.clock.monotonic());
    }

    /// Tells of a sign-in that is about to begin after others have failed.
    pub(super) fn tried_again(&self) {
        let failures = self.lock().attempts.failures();
        if failures > 0 {
            self.tell(Circuit::HalfOpen, format!("failures in a row: {failures}"));
        }
    }

    fn tell(&self, circuit: Circuit, note: String) {
        self.events.circuit(Guarded::SignIn(&self.key), circuit, note);
    }

    /// Takes in the result of the flight. Gives the session that it replaces, too.
    pub(super) fn land(
        &self,
        ticket: Ticket,
        outcome: Result<UpstreamSession, SessionError>,
    ) -> (Landing, Option<Arc<UpstreamSession>>) {
        let mut state = self.lock();
        state.flight = None;
        // SECURITY: a session signed in with replaced secrets must not serve.
        if state.secrets_epoch != ticket.secrets_epoch {
            return (Landing::Superseded, outcome.ok().map(Arc::new));
        }
        match outcome {
            Ok(session) => {
                let session = Arc::new(session);
                let replaced = self.current.swap(Some(Arc::clone(&session)));
                state.stored = Stored::Overtaken;
                let had_failed = state.attempts.failures() > 0;
                state.attempts.cleared();
                state.last_error = None;
                drop(state);
                log::info!("{self}: session {} serves", session.generation());
                if had_failed {
                    self.tell(Circuit::Closed, "signed in".to_owned());
                }
                (Landing::Session(session), replaced)
            }
            Err(error) => {
                let now = self.clock.monotonic();
                let backs_off = error.calls_for_back_off();
                if backs_off {
                    state.attempts.failed(now);
                }
                log::warn!("{self}: no session: {error}");
                state.last_error = Some(error.clone());
                let (failures, pause) = (state.attempts.failures(), state.attempts.pause(now).unwrap_or_default());
                drop(state);
                if backs_off {
                    self.tell(
                        Circuit::Open,
                        format!("failures in a row: {failures}; left alone for {pause:?}: {error}"),
                    );
                }
                (Landing::Failed(error), None)
            }
        }
    }

    fn live(&self) -> Option<Arc<UpstreamSession>> {
        self.current.load_full().filter(|session| !session.is_over(self.clock.now()))
    }

    /// Starts a flight ahead of need. Whatever stands in the way, the session that serves goes on.
    fn refresh(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        // Whoever holds the lock looks after the flight, or the next request does.
        let Ok(mut state) = self.state.try_lock() else { return };
        if state.flight.is_some() || state.attempts.pause(self.clock.monotonic()).is_some() {
            return;
        }
        let (flight, _) = self.take_off(&mut state);
        drop(state);
        runtime.spawn(flight.fly());
    }

    fn board(self: &Arc<Self>) -> Result<Boarding, SessionError> {
        let mut state = self.lock();
        if let Some(session) = self.live() {
            return Ok(Boarding::Live(session));
        }
        if let Some(waiting) = &state.flight {
            return Ok(Boarding::Waits(waiting.clone()));
        }
        if let Some(pause) = state.attempts.pause(self.clock.monotonic()) {
            return Err(self.backing_off(&state, pause));
        }
        let (flight, waiting) = self.take_off(&mut state);
        Ok(Boarding::TakesOff(flight, waiting))
    }

    /// Books a flight. Its task is to be spawned only after `state` is unlocked: a runtime that shuts down drops the
    /// task at once, and a dropped flight lands.
    fn take_off(self: &Arc<Self>, state: &mut State) -> (Flight, watch::Receiver<Option<Landing>>) {
        state.generation = state.generation.saturating_add(1);
        let ticket = Ticket { generation: state.generation, secrets_epoch: state.secrets_epoch, stored: state.stored };
        let (landing, waiting) = watch::channel(None);
        state.flight = Some(waiting.clone());
        (Flight::new(Arc::clone(self), ticket, landing), waiting)
    }

    fn backing_off(&self, state: &State, pause: Duration) -> SessionError {
        let last = match &state.last_error {
            Some(error) => error.to_string(),
            None => "as many sign-ins as `attempts_per_minute` allows".to_owned(),
        };
        SessionError::BackingOff { until: later(self.clock.now(), pause), last }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the flight under way, if there is one.
    #[cfg(test)]
    pub(super) async fn settled(&self) {
        let flight = self.lock().flight.clone();
        if let Some(mut flight) = flight {
            let _ = flight.wait_for(Option::is_some).await;
        }
    }
}
