//! The session of one upstream: the one that serves, and at most one flight that makes the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::attempts::Attempts;
use super::error::SessionError;
use super::flight::{Flight, Ticket};
use super::session::{UpstreamSession, later};
use super::status::{SessionState, SessionStatus};
use super::transport::SignInTransport;
use super::vault::SessionVault;
use crate::config::Upstream;
use crate::domain::Clock;

/// The session of one upstream.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) upstream: Upstream,
    pub(super) transport: Arc<dyn SignInTransport>,
    pub(super) vault: Arc<dyn SessionVault>,
    pub(super) clock: Arc<dyn Clock>,
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
    pub(super) fn new(
        upstream: Upstream,
        transport: Arc<dyn SignInTransport>,
        vault: Arc<dyn SessionVault>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let state = State {
            flight: None,
            attempts: Attempts::new(upstream.session.attempts_per_minute),
            generation: 0,
            secrets_epoch: 0,
            stored: Stored::Unread,
            last_error: None,
        };
        Self { upstream, transport, vault, clock, current: ArcSwapOption::empty(), state: Mutex::new(state) }
    }

    /// The session that serves; late in its life this starts the making of the next one.
    pub(super) fn ready(self: &Arc<Self>) -> Option<Arc<UpstreamSession>> {
        let session = self.live()?;
        if session.life().is_late(self.clock.now()) {
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
            log::info!("upstream `{}`: the session is lost", self.upstream.name);
        }
    }

    /// Drops the session, and the result of a flight under way.
    pub(super) fn secrets_changed(&self) {
        let mut state = self.lock();
        self.current.store(None);
        state.secrets_epoch = state.secrets_epoch.saturating_add(1);
        state.stored = Stored::Overtaken;
        state.attempts.cleared();
        state.last_error = None;
    }

    pub(super) fn status(&self) -> SessionStatus {
        let now = self.clock.now();
        let state = self.lock();
        let session = self.live();
        let pause = state.attempts.pause(self.clock.monotonic());
        SessionStatus {
            upstream: self.upstream.name.clone(),
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

    /// Takes in the result of the flight.
    pub(super) fn land(&self, ticket: Ticket, outcome: Result<UpstreamSession, SessionError>) -> Landing {
        let mut state = self.lock();
        state.flight = None;
        // SECURITY: a session signed in with replaced secrets must not serve.
        if state.secrets_epoch != ticket.secrets_epoch {
            return Landing::Superseded;
        }
        match outcome {
            Ok(session) => {
                let session = Arc::new(session);
                self.current.store(Some(Arc::clone(&session)));
                state.stored = Stored::Overtaken;
                state.attempts.cleared();
                state.last_error = None;
                log::info!("upstream `{}`: session {} serves", self.upstream.name, session.generation());
                Landing::Session(session)
            }
            Err(error) => {
                if error.calls_for_back_off() {
                    state.attempts.failed(self.clock.monotonic());
                }
                log::warn!("upstream `{}`: no session: {error}", self.upstream.name);
                state.last_error = Some(error.clone());
                Landing::Failed(error)
            }
        }
    }

    fn live(&self) -> Option<Arc<UpstreamSession>> {
        self.current.load_full().filter(|session| !session.life().is_over(self.clock.now()))
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
