//! A sealed row that tells at the start whether the `APP_KEY` is the one of this database.

use rusqlite::{OptionalExtension as _, params};

use super::{Store, StoreError};
use crate::domain::Entropy;
use crate::secrets::{KeyRing, Place, SealError, SealPurpose};

const PLACE: Place<'_> = Place { table: "meta", row: "canary", column: "value" };
const TEXT: &[u8] = b"the APP_KEY fits this database";

impl Store {
    /// Opens the canary; writes it where the database is new.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] when the ring does not open it.
    pub fn check_app_key(&self, ring: &KeyRing, entropy: &dyn Entropy) -> Result<(), StoreError> {
        let connection = self.connection()?;
        let sealed: Option<Vec<u8>> =
            connection.query_row("SELECT value FROM meta WHERE name = 'canary'", [], |row| row.get(0)).optional()?;
        if let Some(sealed) = sealed {
            match ring.open(SealPurpose::Canary, &PLACE, &sealed) {
                Ok(text) if text.as_slice() == TEXT => Ok(()),
                Ok(_) | Err(SealError::UnknownKey | SealError::Broken) => Err(StoreError::WrongKey),
                Err(error @ (SealError::Format | SealError::Entropy(_))) => Err(error.into()),
            }
        } else {
            let sealed = ring.seal(SealPurpose::Canary, &PLACE, TEXT, entropy)?;
            connection.execute("INSERT INTO meta (name, value) VALUES ('canary', ?1)", params![sealed])?;
            Ok(())
        }
    }
}
