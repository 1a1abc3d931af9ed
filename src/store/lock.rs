//! One process owns a store.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::database::create_private;
use super::{StoreError, swap};

/// The ownership of a store; given back when dropped, and by the kernel when the process ends in any way.
#[derive(Debug)]
pub struct StoreLock {
    _file: File,
}

impl StoreLock {
    /// Takes the ownership of the store in this folder, and finishes a restore that was interrupted.
    ///
    /// # Errors
    /// When another process has it, or the folder cannot be written.
    pub fn take(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("lock");
        let file = create_private(directory, &path)?;
        match file.try_lock() {
            Ok(()) => {
                swap::finish(directory).map_err(|error| StoreError::File(directory.to_owned(), error))?;
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => Err(StoreError::Owned(directory.to_owned())),
            Err(TryLockError::Error(error)) => Err(StoreError::File(path, error)),
        }
    }
}
