//! Who else may write what the gateway goes by, or read what only it should.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::config::Config;

/// Folders below the one with the policies are at most so deep.
const DEEPEST: usize = 4;

/// A file or folder that others have too many rights to.
#[derive(Debug)]
pub(super) struct TooOpen {
    path: PathBuf,
    /// `None` where it cannot even be looked at.
    mode: Option<u32>,
    rights: Rights,
}

/// What others must not be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rights {
    /// Look into it.
    Look,
    /// Change it.
    Change,
}

impl Rights {
    const fn bits(self) -> u32 {
        match self {
            Self::Look => 0o077,
            Self::Change => 0o022,
        }
    }
}

impl TooOpen {
    /// What to do about it.
    pub(super) fn advice(&self) -> String {
        let path = self.path.display();
        match (self.mode, self.rights) {
            (None, _) => "run `erp-access init`, or correct the path".to_owned(),
            (Some(_), Rights::Look) => format!("`chmod go= {path}`"),
            (Some(_), Rights::Change) => format!("`chmod go-w {path}`"),
        }
    }
}

impl fmt::Display for TooOpen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match (self.mode, self.rights) {
            (None, _) => write!(out, "`{path}` cannot be read"),
            (Some(mode), Rights::Look) => write!(out, "`{path}` is open to others (mode {mode:04o})"),
            (Some(mode), Rights::Change) => write!(out, "`{path}` is writable by others (mode {mode:04o})"),
        }
    }
}

/// What of the configuration at `file`, of the policies and of the databases others have too many rights to.
pub(super) fn too_open(config: &Config, file: &Path) -> Vec<TooOpen> {
    let mut found = Vec::new();
    look(&config.store.directory, Rights::Look, &mut found);
    look(file, Rights::Change, &mut found);
    look_below(&config.policies.directory, DEEPEST, &mut found);
    found
}

fn look(path: &Path, rights: Rights, found: &mut Vec<TooOpen>) {
    let mode = std::fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o777).ok();
    if mode.is_none_or(|mode| mode & rights.bits() != 0) {
        found.push(TooOpen { path: path.to_owned(), mode, rights });
    }
}

fn look_below(path: &Path, deep: usize, found: &mut Vec<TooOpen>) {
    look(path, Rights::Change, found);
    if let (Ok(entries), true) = (std::fs::read_dir(path), deep > 0) {
        for entry in entries.flatten() {
            look_below(&entry.path(), deep - 1, found);
        }
    }
}
