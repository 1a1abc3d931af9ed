//! A sealed row that tells at the start whether the `APP_KEY` is the one of this database.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::{ChangeTransaction, Store, StoreError};
use crate::domain::Entropy;
use crate::secrets::{KeyId, KeyRing, Place, SealError, SealPurpose, sealed_with};

const PLACE: Place<'_> = Place { table: "meta", row: "canary", column: "value" };
const TEXT: &[u8] = b"the APP_KEY fits this database";

impl Store {
    /// Opens the canary; writes it where the database is new. Gives the key that made it: the one in use, unless a rotation
    /// has not ended.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] when the ring does not open it.
    pub fn check_app_key(&self, ring: &KeyRing, entropy: &dyn Entropy) -> Result<KeyId, StoreError> {
        let mut connection = self.connection()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let sealed: Option<Vec<u8>> =
            transaction.query_row("SELECT value FROM meta WHERE name = 'canary'", [], |row| row.get(0)).optional()?;
        let key = if let Some(sealed) = sealed {
            match ring.open(SealPurpose::Canary, &PLACE, &sealed) {
                Ok(text) if text.as_slice() == TEXT => sealed_with(&sealed).ok_or(StoreError::WrongKey)?,
                Ok(_) | Err(SealError::UnknownKey | SealError::Broken) => return Err(StoreError::WrongKey),
                Err(error @ (SealError::Format | SealError::Entropy(_))) => return Err(error.into()),
            }
        } else {
            put(&transaction, ring, entropy)?
        };
        Self::adopt_hashes(&transaction, key)?;
        transaction.commit()?;
        Ok(key)
    }
}

impl ChangeTransaction<'_> {
    /// Seals the canary with the key in use.
    ///
    /// # Errors
    /// On a fault of the database, or without randomness.
    pub fn move_canary(&self, ring: &KeyRing, entropy: &dyn Entropy) -> Result<(), StoreError> {
        put(self.connection(), ring, entropy).map(drop)
    }
}

fn put(connection: &Connection, ring: &KeyRing, entropy: &dyn Entropy) -> Result<KeyId, StoreError> {
    let sealed = ring.seal(SealPurpose::Canary, &PLACE, TEXT, entropy)?;
    connection.execute(
        "INSERT INTO meta (name, value) VALUES ('canary', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![sealed],
    )?;
    sealed_with(&sealed).ok_or(StoreError::WrongKey)
}
