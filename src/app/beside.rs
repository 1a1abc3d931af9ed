//! What runs beside the proxy in the same process: the admin socket, the watch over policy files, housekeeping.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;

use crate::control::{AdminSocket, Control};
use crate::domain::Actor;
use crate::policy::{ReloadReport, Watcher};

/// What runs in the same process: the admin socket, and housekeeping.
pub(super) struct Beside {
    pub(super) control: Arc<Control>,
    pub(super) admin: std::sync::Mutex<Option<AdminSocket>>,
    /// How long audit rows are kept; `None` for ever.
    pub(super) keep: Option<Duration>,
}

/// How often expired tokens are forgotten.
const HOUSEKEEPING: Duration = Duration::from_mins(1);

#[async_trait]
impl BackgroundService for Beside {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let admin = self.admin.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some(admin) = admin else { return };
        let mut stopped = shutdown.clone();
        let serving = admin.serve(Arc::clone(&self.control), async move {
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

async fn housekeeping(control: &Arc<Control>, keep: Option<Duration>) {
    loop {
        tokio::time::sleep(HOUSEKEEPING).await;
        let control = Arc::clone(control);
        let done = tokio::task::spawn_blocking(move || {
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
    let tell = move |report: &ReloadReport| {
        if report.changed {
            watching.keep_policies();
            log::info!("policies reloaded: generation {}", report.generation);
        }
        if !report.problems.is_empty() {
            log::error!("policy files are broken; the last good versions stay in force:\n{}", report.problems);
        }
        watching.record_reload(&Actor::System, report);
    };
    match Watcher::start(Arc::clone(&control.policies), tell) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            log::error!("{error}");
            None
        }
    }
}
