//! Restoring a backup: it is verified, then compared with what is there, then put in its place. Until the very end nothing
//! of what is there is touched.

mod revocation;
mod since;
mod trail;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use age::x25519::Identity;
use serde_json::json;

use super::{StartError, World, key_ring, settings};
use crate::audit::{AuditError, AuditSettings};
use crate::config::Config;
use crate::control::{ArchiveError, Manifest, PARTS, unpack};
use crate::directory::{By, ChangeError, Directory};
use crate::domain::Actor;
use crate::secrets::{KeyId, KeyRing};
use crate::store::{Change, RecordedChange, Seq, Store, StoreError, StoreLock, StoreSettings, Swap, settle};

use revocation::Restored;
use since::RESTORE;
use trail::Trail;

pub use revocation::Revocation;
pub use since::{Since, Source};

/// The folder, inside of the store's, in which a backup is made ready.
const READY: &str = ".restoring";

/// The operation of a change of which nothing is known any more.
const PRUNED: &str = "pruned";

/// Why a backup is not restored. What is there is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The configuration, the key, or who owns the store.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The file.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The state in it.
    #[error("the state in the backup: {0}")]
    State(StoreError),
    /// The audit trail in it.
    #[error("the audit trail in the backup: {0}")]
    Trail(String),
    /// The key that made it is not in the ring.
    #[error(
        "the backup was made with the APP_KEY `{0}`, which is not in the key ring: put it below the key in use in the key \
         file, or name its file in `app_key.previous_files`"
    )]
    Key(KeyId),
    /// The audit trail that is there would be lost.
    #[error("{0}; `--with-audit` puts the backup's in its place, and keeps the file beside it")]
    WouldReplaceTrail(String),
    /// A file or folder.
    #[error("`{0}`: {1}")]
    File(PathBuf, io::Error),
    /// The restored state does not take a change.
    #[error("the restored state cannot be changed: {0}")]
    Change(#[from] ChangeError),
    /// Reading what is there.
    #[error("what is there now cannot be read: {0}")]
    There(String),
}

/// What is to become of the audit trail that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithAudit {
    /// It stays: no evidence is lost.
    Keep,
    /// The backup's takes its place.
    Replace,
}

/// What is to become of what was taken away since the backup was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocations {
    /// It is taken away again.
    Keep,
    /// It comes back, and a row says so.
    Discard,
}

/// A backup that was verified and is ready beside the databases. Dropped, nothing has happened.
pub struct Prepared {
    /// What it says of itself.
    pub manifest: Manifest,
    /// The SHA-256 of its file.
    pub sha256: String,
    /// What happened since.
    pub since: Since,
    /// The audit trail after the restore, in words.
    pub audit: String,
    /// What an operator should know, and what does not stop the restore.
    pub warnings: Vec<String>,
    trail: Trail,
    history: Vec<RecordedChange>,
    store: Arc<Store>,
    world: World,
    directory: PathBuf,
    ready: Ready,
    _lock: StoreLock,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Prepared").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

/// What was done.
#[derive(Debug)]
pub struct Report {
    /// What was appended to the names of the files that were there.
    pub aside: String,
    /// What could not be taken away again, with the reason.
    pub not_kept: Vec<String>,
}

/// The folder in which the backup is made ready; it goes with what is in it.
struct Ready(PathBuf);

impl Ready {
    /// Leaves the folder to the swap.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Verifies a backup and compares it with what is there. Takes the ownership of the store: no gateway may run.
///
/// # Errors
/// When the backup may not be restored; nothing has changed then.
pub fn prepare(
    config: &Config,
    world: &World,
    file: &Path,
    identity: Option<&Identity>,
    with_audit: WithAudit,
) -> Result<Prepared, RestoreError> {
    let ring = key_ring(config)?;
    let directory = config.store.directory.clone();
    let lock = StoreLock::take(&directory).map_err(StartError::from)?;
    let ready = make_ready(&directory)?;
    let (manifest, sha256) = unpack(file, identity, &ready.0, &PARTS)?;
    let (state, audit) = (settings::store_settings(config), settings::audit_settings(config));
    let store = open_state(&StoreSettings { directory: ready.0.clone(), ..state.clone() }, &manifest, &ring, world)?;
    let mut warnings = Vec::new();
    let here = AuditSettings { directory: ready.0.clone(), ..audit };
    let trail = Trail::choose(&directory, &here, &manifest, &ring, with_audit, &mut warnings)?;
    let now = world.clock.now();
    let view = Directory::load(Arc::clone(&store), now, Arc::clone(&world.entropy)).map_err(RestoreError::State)?;
    let (source, history) = changes_since(&state, &trail, &store, &manifest)?;
    let restored = Restored { directory: &view, store: &store, now };
    let since = Since::read(source, &history, &restored);
    let audit = trail.to_string();
    let world = world.clone();
    Ok(Prepared {
        manifest,
        sha256,
        since,
        audit,
        warnings,
        trail,
        history,
        store,
        world,
        directory,
        ready,
        _lock: lock,
    })
}

fn make_ready(directory: &Path) -> Result<Ready, RestoreError> {
    let ready = Ready(directory.join(READY));
    let failed = |error| RestoreError::File(ready.0.clone(), error);
    match fs::remove_dir_all(&ready.0) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    DirBuilder::new().mode(0o700).create(&ready.0).map_err(failed)?;
    Ok(ready)
}

/// Opens the state of the backup, which must be whole, of a version that is known, and ours.
fn open_state(
    settings: &StoreSettings,
    manifest: &Manifest,
    ring: &KeyRing,
    world: &World,
) -> Result<Arc<Store>, RestoreError> {
    Store::migrate(settings).map_err(RestoreError::State)?;
    let store = Store::open(settings).map_err(RestoreError::State)?;
    store.check_integrity().map_err(RestoreError::State)?;
    match store.check_app_key(ring, &*world.entropy) {
        Ok(_) => {}
        Err(StoreError::WrongKey) => return Err(RestoreError::Key(manifest.key)),
        Err(error) => return Err(RestoreError::State(error)),
    }
    if store.last_change().map_err(RestoreError::State)?.0 != manifest.change {
        return Err(RestoreError::Archive(ArchiveError::Wrong("it does not end with the change it names".into())));
    }
    Ok(Arc::new(store))
}

/// The changes after the backup's last one, where what is there goes on from it.
fn changes_since(
    there: &StoreSettings,
    trail: &Trail,
    restored: &Store,
    manifest: &Manifest,
) -> Result<(Source, Vec<RecordedChange>), RestoreError> {
    let backup = Seq(manifest.change);
    let of_state = state_changes(there, restored, backup);
    let source = match (&of_state, trail.kept()) {
        (Some(_), _) => Source::State,
        (None, Some(_)) => Source::Audit,
        (None, None) => Source::Nothing,
    };
    let mut changes = of_state.unwrap_or_default();
    // INVARIANT: no number that the trail knows is given to another change.
    if let Some(file) = trail.kept() {
        let last = changes.last().map_or(backup, |change| change.seq);
        let read = crate::audit::changes_in(file, last);
        fill_up(&mut changes, last, read.map_err(|error| RestoreError::There(error.to_string()))?);
    }
    Ok((source, changes))
}

/// Adds changes of which the older ones may have been pruned; what they were is not known then.
fn fill_up(changes: &mut Vec<RecordedChange>, last: Seq, more: Vec<RecordedChange>) {
    let mut next = last.0.saturating_add(1);
    for change in more {
        while next < change.seq.0 {
            changes.push(RecordedChange {
                seq: Seq(next),
                at: change.at,
                actor: Actor::Unknown.to_string(),
                operation: PRUNED.to_owned(),
                subject: "a change that was pruned from the audit trail".to_owned(),
                account: None,
                credential: None,
                detail: None,
            });
            next = next.saturating_add(1);
        }
        next = next.saturating_add(1);
        changes.push(change);
    }
}

/// `None` where the state that is there cannot be read, or has another history.
fn state_changes(there: &StoreSettings, restored: &Store, last: Seq) -> Option<Vec<RecordedChange>> {
    // A file that is not there must not be made.
    Store::open(there).ok().and_then(|store| {
        let (one, other) = (store.change_numbered(last).ok()?, restored.change_numbered(last).ok()?);
        let same = match (&one, &other) {
            (Some(one), Some(other)) => {
                (one.at, &one.actor, &one.operation, &one.subject)
                    == (other.at, &other.actor, &other.operation, &other.subject)
            }
            (None, None) => last.0 == 0,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same.then(|| store.changes_after(last, usize::MAX).ok()).flatten()
    })
}

impl Prepared {
    /// Puts the backup in place: all of it or, where it is interrupted before its last step, nothing. Tokens and sessions
    /// at ERPs are forgotten in any case.
    ///
    /// # Errors
    /// When the backup cannot be put in place; what is there is as it was.
    pub fn carry_out(self, actor: Actor, revocations: Revocations) -> Result<Report, RestoreError> {
        let Self { manifest, sha256, since, trail, history, store, world, directory, ready, _lock, .. } = self;
        let at = world.clock.now();
        let by = By { actor, at, expected: None };
        store.append_history(&history).map_err(RestoreError::State)?;
        let taken_back: Vec<String> = since.revocations.iter().map(ToString::to_string).collect();
        let (kept, discarded) = match revocations {
            Revocations::Keep => (taken_back, Vec::new()),
            Revocations::Discard => (Vec::new(), taken_back),
        };
        let change = Change {
            at,
            actor: by.actor.clone(),
            operation: RESTORE,
            subject: format!("backup of {}", manifest.made_at),
            account: None,
            credential: None,
            detail: Some(json!({
                "sha256": sha256, "change": manifest.change, "lost_changes": since.lost, "kept": kept,
                "discarded": discarded, "audit": trail.to_string(),
            })),
        };
        let restored = store.change(&change, |tx| {
            tx.forget_what_is_short_lived()?;
            Ok(())
        });
        restored.map_err(RestoreError::State)?;
        let not_kept = if revocations == Revocations::Keep { again(&since, &store, &world, &by)? } else { Vec::new() };
        if let Some(anchor) = trail.anchor() {
            store.keep_audit_anchor(anchor.sequence, &anchor.head).map_err(RestoreError::State)?;
        }
        // All connections end here, and what they wrote is in one file.
        drop(store);
        let files = trail.files();
        for name in &files {
            settle(&ready.0.join(name)).map_err(RestoreError::State)?;
        }
        owned_like(&directory, &ready.0, &files).map_err(|error| RestoreError::File(directory.clone(), error))?;
        ready.keep();
        let aside = format!(".before-restore-{}", at.strftime("%Y%m%dT%H%M%S%3fZ"));
        let swap = Swap { from: READY.into(), files, aside: aside.clone(), gone: trail.gone() };
        swap.carry_out(&directory).map_err(|error| RestoreError::File(directory, error))?;
        Ok(Report { aside, not_kept })
    }
}

/// Gives files to the owner of the store's folder: root may restore what the gateway's user must open.
fn owned_like(directory: &Path, ready: &Path, files: &[String]) -> io::Result<()> {
    let owner = fs::metadata(directory)?;
    for file in files {
        let file = ready.join(file);
        let now = fs::metadata(&file)?;
        if (now.uid(), now.gid()) != (owner.uid(), owner.gid()) {
            chown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}

/// Takes away again what was taken away, and says what could not be.
fn again(since: &Since, store: &Arc<Store>, world: &World, by: &By) -> Result<Vec<String>, RestoreError> {
    let directory =
        Directory::load(Arc::clone(store), by.at, Arc::clone(&world.entropy)).map_err(RestoreError::State)?;
    let restored = Restored { directory: &directory, store, now: by.at };
    let mut not_kept = Vec::new();
    for revocation in &since.revocations {
        match revocation.carry_out(&restored, by) {
            Ok(()) => {}
            Err(ChangeError::Store(error)) => return Err(RestoreError::State(error)),
            Err(error) => not_kept.push(format!("{revocation}: {error}")),
        }
    }
    Ok(not_kept)
}

impl From<AuditError> for RestoreError {
    fn from(error: AuditError) -> Self {
        Self::Trail(error.to_string())
    }
}
