//! Files that hold one secret: nobody but their owner may open them.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroize as _;

use crate::domain::Secret;

/// The secret cannot be had from its file.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("`{file}` cannot be read: {source}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than the owner may read or change it.
    #[error("`{file}` is open to others (mode {mode:04o}): run `chmod 0600 {file}`")]
    OpenToOthers {
        /// The file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is too large to hold a secret.
    #[error("`{file}` is too large to hold a secret")]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
}

/// Reads a secret from a file of mode 0600, without the white space around it.
///
/// # Errors
/// When the file cannot be read, is open to others, or is longer than 4 KiB.
pub fn read_secret_file(path: &Path) -> Result<Secret, SecretFileError> {
    read_file(path, Guarded::ByMode)
}

/// What keeps others from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guarded {
    /// Its mode.
    ByMode,
    /// systemd, which may show an access list as group permissions.
    BySystemd,
}

/// More than any secret takes.
const MAX_BYTES: usize = 4096;

pub(super) fn read_file(path: &Path, guarded: Guarded) -> Result<Secret, SecretFileError> {
    let unreadable = |source| SecretFileError::Unreadable { file: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    // SECURITY: asked of the open file, so that nobody exchanges it between the check and the reading.
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o7777;
    if guarded == Guarded::ByMode && mode & 0o077 != 0 {
        return Err(SecretFileError::OpenToOthers { file: path.to_owned(), mode });
    }
    // One byte more than fits shows that the file is too large. Reserved at once: a growing text leaves copies behind.
    let mut text = String::with_capacity(MAX_BYTES + 1);
    let most = u64::try_from(MAX_BYTES + 1).unwrap_or(u64::MAX);
    let read = file.take(most).read_to_string(&mut text).map_err(unreadable);
    let secret = Secret::new(text.trim().to_owned());
    let too_large = text.len() > MAX_BYTES;
    text.zeroize();
    read?;
    if too_large { Err(SecretFileError::TooLarge { file: path.to_owned() }) } else { Ok(secret) }
}
