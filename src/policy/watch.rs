//! Watches the policy folder: whatever way an editor saves, the change is in force within a second.
//!
//! It looks at the folder ten times a second instead of asking the system for events: docs/adr/0010 says why.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::folder::Stamps;

/// How often the folder is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// For how many looks the folder must be quiet before it is read.
const QUIET: u32 = 2;
/// After how many looks it is read although it is not quiet.
const PATIENCE: u32 = 5;

/// The folder cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("the policy folder cannot be watched: {0}; reload with `erp-access policy reload` or SIGHUP")]
pub struct WatchError(#[from] io::Error);

/// Watches until dropped.
pub struct Watcher {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Watcher")
    }
}

impl Watcher {
    /// Calls `changed` soon after the folder has changed, and once when it begins.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(folder: PathBuf, changed: impl FnMut() + Send + 'static) -> Result<Self, WatchError> {
        let (stop, stopped) = channel();
        let thread =
            std::thread::Builder::new().name("policies".into()).spawn(move || watch(&folder, &stopped, changed))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(folder: &std::path::Path, stopped: &Receiver<()>, mut changed: impl FnMut()) {
    let mut looking = Looking::default();
    while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        // A file that makes a reader panic must not be the last one that is read.
        if looking.look(Stamps::of(folder)) && catch_unwind(AssertUnwindSafe(&mut changed)).is_err() {
            log::error!("reading the policy files ended early; what is in force stays");
        }
    }
}

/// When to read the folder: when it has changed and is quiet again, or is not for too long.
#[derive(Debug, Default)]
struct Looking {
    /// What was last read, where it was quiet then.
    read: Option<Stamps>,
    changing: Option<Changing>,
}

#[derive(Debug)]
struct Changing {
    last: Stamps,
    quiet: u32,
    looks: u32,
}

impl Looking {
    /// Takes the next look; whether the folder is to be read now.
    fn look(&mut self, now: Stamps) -> bool {
        if self.read.as_ref() == Some(&now) {
            self.changing = None;
            return false;
        }
        let Some(changing) = &mut self.changing else {
            self.changing = Some(Changing { last: now, quiet: 0, looks: 0 });
            return false;
        };
        changing.looks += 1;
        changing.quiet = if changing.last == now { changing.quiet + 1 } else { 0 };
        let (is_quiet, is_long) = (changing.quiet >= QUIET, changing.looks >= PATIENCE);
        if is_quiet || is_long {
            self.changing = None;
            // What is read while it changes is read once more when it is quiet.
            self.read = is_quiet.then_some(now);
            return true;
        }
        changing.last = now;
        false
    }
}

#[cfg(test)]
mod tests;
