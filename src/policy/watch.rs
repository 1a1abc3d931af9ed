//! Watches the policy folder: whatever way an editor saves, the change is in force within a second.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use notify_debouncer_full::notify::{RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer};

use super::store::{PolicyStore, ReloadReport};

/// How long the folder must be quiet before it is read.
const QUIET: Duration = Duration::from_millis(200);

/// The folder cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("the policy folder cannot be watched: {0}; reload with `erp-access policy reload`")]
pub struct WatchError(String);

/// Watches until dropped.
pub struct Watcher {
    _debouncer: Debouncer<RecommendedWatcher, RecommendedCache>,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Watcher")
    }
}

impl Watcher {
    /// Reloads the store whenever its folder changes, and tells `reloaded` where something is new.
    ///
    /// # Errors
    /// When the system does not let us watch.
    pub fn start(
        store: Arc<PolicyStore>,
        mut reloaded: impl FnMut(&ReloadReport) + Send + 'static,
    ) -> Result<Self, WatchError> {
        let folder = store.folder().to_owned();
        let failed = |error: notify_debouncer_full::notify::Error| WatchError(error.to_string());
        let mut debouncer = new_debouncer(QUIET, None, move |events: DebounceEventResult| {
            // What exactly happened does not matter: the whole folder is read again, also after lost events.
            let read_only = events.as_ref().is_ok_and(|events| events.iter().all(|event| event.kind.is_access()));
            if !read_only {
                let report = store.reload();
                if report.changed || !report.problems.is_empty() {
                    reloaded(&report);
                }
            }
        })
        .map_err(failed)?;
        debouncer.watch(&folder, RecursiveMode::Recursive).map_err(failed)?;
        Ok(Self { _debouncer: debouncer })
    }
}
