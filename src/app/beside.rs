//! What runs beside the proxy in the same process: the admin socket, the watch over policy files, housekeeping.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use serde_json::json;
use tokio::task::JoinSet;

use crate::audit::{WriterState, run_sink};
use crate::control::{AdminSocket, Control, OpsListener, PortalListener, SocketRoles, Watched};
use crate::policy::Watcher;
use crate::portal::{Portal, PortalRules};
use crate::proxy::Pulse;
use crate::service_manager;
use crate::tls::Look;

/// What runs in the same process: the admin socket, the ops listeners, the watch over the audit writer, the sinks of audit
/// records, housekeeping.
pub(super) struct Beside {
    control: Arc<Control>,
    watched: Watched,
    listeners: Mutex<Option<Listeners>>,
    /// How long audit rows are kept; `None` for ever.
    keep: Option<Duration>,
    pulse: Pulse,
}

/// What is bound and waits to be served.
pub(super) struct Listeners {
    pub(super) admin: AdminSocket,
    pub(super) roles: SocketRoles,
    pub(super) ops: Vec<OpsListener>,
    pub(super) portal: Vec<PortalListener>,
    pub(super) pages: PortalRules,
}

impl Beside {
    pub(super) fn new(
        control: Arc<Control>,
        listeners: Listeners,
        watched: Watched,
        keep: Option<Duration>,
        pulse: Pulse,
    ) -> Self {
        Self { control, watched, listeners: Mutex::new(Some(listeners)), keep, pulse }
    }
}

/// How often the audit writer is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How often expired tokens are forgotten.
const HOUSEKEEPING: Duration = Duration::from_mins(1);

#[async_trait]
impl BackgroundService for Beside {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Listeners { admin, roles, ops, portal, pages }) = listeners else { return };
        // Dropped at the end, the set ends what runs in it.
        let mut aside = JoinSet::new();
        for listener in ops {
            let (address, watched) = (listener.address(), self.watched.clone());
            aside.spawn(async move {
                if let Err(error) = listener.serve(watched).await {
                    log::error!("the ops listener on {address} broke: {error}");
                }
            });
        }
        let pages = Arc::new(Portal::new(Arc::clone(&self.control), pages));
        for listener in portal {
            let (address, pages) = (listener.address(), Arc::clone(&pages));
            aside.spawn(async move {
                if let Err(error) = pages.serve(listener).await {
                    log::error!("the portal's listener on {address} broke: {error}");
                }
            });
        }
        aside.spawn(tell_service_manager(self.pulse.clone()));
        aside.spawn(watch_writer(Arc::clone(&self.control)));
        let control = Arc::clone(&self.control);
        aside.spawn_blocking(move || control.resume_key_rotation());
        let Control { auditor, clock, entropy, .. } = &*self.control;
        for sink in auditor.sinks() {
            aside.spawn(run_sink(Arc::clone(auditor), Arc::clone(sink), Arc::clone(clock), Arc::clone(entropy)));
        }
        let mut stopped = shutdown.clone();
        let serving = admin.serve(Arc::clone(&self.control), roles, async move {
            let _ = stopped.changed().await;
        });
        tokio::select! {
            ended = serving => {
                if let Err(error) = ended {
                    log::error!("the admin socket broke: {error}");
                }
            }
            () = housekeeping(&self.control, self.keep) => {}
            _ = shutdown.changed() => {}
        }
        // The exchanges in progress have ended by now.
        if let Some(sessions) = &self.control.sessions {
            sessions.shut_down().await;
        }
    }
}

/// Says that the gateway serves, and from then on that it is alive: where the threads that serve clients hang, it falls
/// silent and is started again.
async fn tell_service_manager(pulse: Pulse) {
    service_manager::ready("serving");
    let Some(patience) = service_manager::watchdog() else { return };
    loop {
        if pulse.age() < patience / 2 {
            service_manager::alive();
        } else {
            log::error!("the threads that serve clients have done nothing for {:?}", pulse.age());
        }
        tokio::time::sleep(patience / 4).await;
    }
}

/// Tells when the audit writer stalls, and when it goes on.
async fn watch_writer(control: Arc<Control>) {
    let mut watch = StallWatch::default();
    loop {
        tokio::time::sleep(LOOK).await;
        match watch.look(control.auditor.health().state) {
            None => {}
            Some(Told::Stalls(since)) => {
                control.auditor.count_stall();
                log::error!("the audit writer is stalled: nothing was written for {since:?}, so nothing is relayed");
            }
            Some(Told::GoesOn(stalled)) => {
                log::info!("the audit writer goes on after {stalled:?}");
                let detail = json!({ "stalled_seconds": stalled.as_secs() });
                control.leave(control.system_row("audit.resumed", "the audit writer was stalled".into(), &detail));
            }
        }
    }
}

async fn housekeeping(control: &Arc<Control>, keep: Option<Duration>) {
    loop {
        tokio::time::sleep(HOUSEKEEPING).await;
        let control = Arc::clone(control);
        let done = tokio::task::spawn_blocking(move || {
            control.remove_ended_overrides();
            control.remove_ended_kill_switches();
            control.look_after_rotations();
            control.renew_certificates(Look::ByItself);
            control.forget_old_keys();
            control.copy_changes();
            control.auditor.write_folded();
            control.keep_anchor();
            if let Some(keep) = keep {
                control.prune_old_rows(keep);
            }
            control.directory.forget_expired_tokens(control.clock.now())
        });
        match done.await {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => log::debug!("{count} expired tokens were forgotten"),
            Ok(Err(error)) => log::error!("expired tokens could not be forgotten: {error}"),
            Err(error) => log::error!("housekeeping ended early: {error}"),
        }
    }
}

/// Takes changed policy files over while the gateway runs.
pub(super) fn watch(control: &Arc<Control>) -> Option<Watcher> {
    let watching = Arc::clone(control);
    let changed = move || watching.reload(None);
    match Watcher::start(control.policies.folder().to_owned(), changed) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            log::error!("{error}");
            None
        }
    }
}

/// Remembers whether the writer was stalled, so that it is told once.
#[derive(Debug, Default)]
struct StallWatch {
    stalled: Option<Duration>,
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// It has stalled, for so long already.
    Stalls(Duration),
    /// It goes on, after at least so long.
    GoesOn(Duration),
}

impl StallWatch {
    fn look(&mut self, state: WriterState) -> Option<Told> {
        match state {
            WriterState::Stalled { since } => self.stalled.replace(since).is_none().then_some(Told::Stalls(since)),
            WriterState::Ok => self.stalled.take().map(Told::GoesOn),
            // It tries, and has not written yet.
            WriterState::Failing { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_told_once_and_its_end_once() {
        let second = Duration::from_secs;
        let mut watch = StallWatch::default();
        let states = [
            WriterState::Ok,
            WriterState::Failing { since: second(1) },
            WriterState::Stalled { since: second(10) },
            WriterState::Stalled { since: second(11) },
            WriterState::Ok,
            WriterState::Ok,
        ];
        let told: Vec<_> = states.into_iter().filter_map(|state| watch.look(state)).collect();
        assert_eq!(told, [Told::Stalls(second(10)), Told::GoesOn(second(11))]);
    }
}
