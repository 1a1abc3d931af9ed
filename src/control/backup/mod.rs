//! Backups: both databases at one moment, in one file.

mod archive;
mod manifest;

use std::borrow::Cow;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, TryLockError};

use age::x25519::Recipient;
use serde_json::{Value, json};

use super::{Control, ControlError, Result};
use crate::audit::{Decision, Entry, Kind};
use crate::directory::By;
use crate::domain::RequestId;

pub use archive::{ArchiveError, unpack};
pub use manifest::{Manifest, Part};

use manifest::FORMAT;

/// The databases of a backup, in the order of the file.
pub const PARTS: [&str; 2] = ["erp-access.db", "audit.db"];

/// Free space that a backup leaves, in bytes.
const SPARE: u64 = 64 << 20;

/// The folder of backups, and whose turn it is to make one.
#[derive(Debug)]
pub struct Backups {
    folder: PathBuf,
    turn: Mutex<()>,
}

impl Backups {
    /// In this folder.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, turn: Mutex::new(()) }
    }
}

/// A folder that goes with what is in it.
struct Aside(PathBuf);

impl Aside {
    /// Makes it, and removes what a process that was killed left.
    fn make(folder: &Path) -> std::io::Result<Self> {
        let path = folder.join(".in-progress");
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Control {
    /// Makes a backup in the folder of backups: a consistent copy of both databases, made while everything goes on. There is
    /// no backup without its audit row.
    pub(super) fn back_up(&self, by: &By, encrypt_to: Option<&str>) -> Result<Value> {
        let recipient = encrypt_to.map(recipient).transpose()?;
        let Backups { folder, turn } = &*self.backups;
        let _turn = match turn.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(ControlError::conflict("a backup is being made already")),
        };
        let failed = |error| ControlError::failed(ArchiveError::File(folder.clone(), error));
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let aside = Aside::make(folder).map_err(failed)?;
        let manifest = self.copy_at_one_moment(&aside.0)?;
        let name = name_of(&manifest, recipient.is_some());
        let (unfinished, file) = (aside.0.join(&name), folder.join(&name));
        let sha256 =
            archive::write(&unfinished, &manifest, &aside.0, recipient.as_ref()).map_err(ControlError::failed)?;
        let bytes = fs::metadata(&unfinished).map_err(failed)?.len();
        let shown = json!({
            "file": file.display().to_string(), "bytes": bytes, "sha256": sha256, "made_at": manifest.made_at,
            "change": manifest.change, "audit_sequence": manifest.audit_sequence, "key": manifest.key,
            "encrypted_to": encrypt_to,
        });
        let entry = Entry {
            actor: by.actor.clone(),
            method: Cow::Borrowed("db.backup"),
            path: name,
            decision: Decision::Allowed,
            detail: Some(shown.to_string()),
            ..Entry::new(RequestId::new(by.at, &*self.entropy).map_err(ControlError::failed)?, Kind::Change, by.at)
        };
        self.auditor.write_blocking(entry).map_err(ControlError::failed)?;
        fs::rename(&unfinished, &file).map_err(failed)?;
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(shown)
    }

    fn copy_at_one_moment(&self, into: &Path) -> Result<Manifest> {
        // Changes that have no row yet get one, so that the rows of the backup tell all of it.
        self.copy_changes();
        let (state, audit, made_at) = {
            // INVARIANT: nobody writes to either database between the two first reads.
            let _state = self.store.hold().map_err(ControlError::failed)?;
            let _audit = self.auditor.hold().map_err(ControlError::failed)?;
            (
                self.store.pin().map_err(ControlError::failed)?,
                self.auditor.pin().map_err(ControlError::failed)?,
                self.clock.now(),
            )
        };
        let sizes = [state.bytes(), audit.bytes()].into_iter().sum::<std::result::Result<u64, _>>();
        // The copies and the archive of them are on disk at the same time.
        has_room(into, sizes.map_err(ControlError::failed)?.saturating_mul(2).saturating_add(SPARE))?;
        let [state_name, audit_name] = PARTS;
        state.copy_to(&into.join(state_name)).map_err(ControlError::failed)?;
        let change = state.last_change().map_err(ControlError::failed)?;
        // The moment is let go before the copy of the audit trail, which takes longest.
        drop(state);
        audit.copy_to(&into.join(audit_name)).map_err(ControlError::failed)?;
        drop(audit);
        let anchor = crate::audit::anchor_of(&into.join(audit_name)).map_err(ControlError::failed)?;
        let parts = PARTS.map(|name| archive::part(name, &into.join(name)));
        Ok(Manifest {
            format: FORMAT,
            made_at,
            node: self.auditor.node().to_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            change,
            audit_sequence: anchor.map_or(0, |anchor| anchor.sequence),
            audit_head: anchor.map_or_else(String::new, |anchor| anchor.head_in_hex()),
            key: self.key_ring.current_id(),
            parts: parts.into_iter().collect::<std::result::Result<_, _>>().map_err(ControlError::failed)?,
        })
    }
}

fn has_room(folder: &Path, bytes: u64) -> Result<()> {
    let room = rustix::fs::statvfs(folder).map_err(ControlError::failed)?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    if free >= bytes {
        return Ok(());
    }
    Err(ControlError::failed(format!(
        "a backup takes {} MiB for a while, and {} MiB are free in `{}`: make room, or set `store.backups` to another disk",
        bytes >> 20,
        free >> 20,
        folder.display()
    )))
}

fn name_of(manifest: &Manifest, encrypted: bool) -> String {
    let at = manifest.made_at.strftime("%Y%m%dT%H%M%S%3fZ");
    format!("erp-access-{at}.tar{}", if encrypted { ".age" } else { "" })
}

fn recipient(text: &str) -> Result<Recipient> {
    text.trim().parse().map_err(|error| {
        ControlError::invalid(format!(
            "this is no public key for backups ({error}); `erp-access db backup-key` makes one"
        ))
    })
}
