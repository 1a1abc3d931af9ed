//! The table of live tokens. A token that ends is deleted; what it was is in the audit trail.

use jiff::Timestamp;
use rusqlite::params;

use super::rotation::note_use;
use super::{ChangeTransaction, Credential, Pair, Store, StoreError, from_sql, to_sql};
use crate::domain::{CredentialId, TokenId};
use crate::secrets::{KeyId, KeyedHash};

/// A live token, by its keyed hash.
#[derive(Debug, Clone, Copy)]
pub struct TokenRow {
    /// The keyed hash of its secret.
    pub hash: KeyedHash,
    /// The key with which it was made.
    pub hash_key: KeyId,
    /// Its id.
    pub id: TokenId,
    /// The set for which it was issued.
    pub credential: CredentialId,
    /// When.
    pub issued_at: Timestamp,
    /// Until when it serves.
    pub expires_at: Timestamp,
    /// Which of the set's secrets got it.
    pub pair: Pair,
}

impl Store {
    /// Gives every token that is live at `now` to `each`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn for_each_token(&self, now: Timestamp, mut each: impl FnMut(TokenRow)) -> Result<(), StoreError> {
        let connection = self.connection()?;
        let mut statement = connection.prepare(
            "SELECT hash, id, credential, issued_at, expires_at, by_former_secrets, hash_key
               FROM token WHERE expires_at > ?1",
        )?;
        let mut rows = statement.query(params![to_sql(now)])?;
        while let Some(row) = rows.next()? {
            each(TokenRow {
                hash: KeyedHash::from_bytes(row.get(0)?),
                id: TokenId::from_bytes(row.get(1)?),
                credential: CredentialId::from_bytes(row.get(2)?),
                issued_at: from_sql(row.get(3)?),
                expires_at: from_sql(row.get(4)?),
                pair: if row.get(5)? { Pair::Former } else { Pair::Current },
                hash_key: KeyId::from_bytes(row.get(6)?),
            });
        }
        Ok(())
    }

    /// Adds a token of this set, whose secrets were used for it. Its record is the audit row of the attempt, so it takes no
    /// number of the stream of changes.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn insert_token(&self, token: &TokenRow, credential: &Credential) -> Result<(), StoreError> {
        let mut connection = self.connection()?;
        let transaction = connection.transaction()?;
        note_use(&transaction, credential)?;
        transaction
            .prepare_cached(
                "INSERT INTO token (hash, id, credential, issued_at, expires_at, by_former_secrets, hash_key)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                token.hash.as_bytes(),
                token.id.as_bytes(),
                token.credential.as_bytes(),
                to_sql(token.issued_at),
                to_sql(token.expires_at),
                token.pair == Pair::Former,
                token.hash_key.as_bytes(),
            ])?;
        Ok(transaction.commit()?)
    }

    /// Deletes one token whose end is recorded elsewhere. Says whether it was there.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn delete_token(&self, id: TokenId) -> Result<bool, StoreError> {
        Ok(self.connection()?.execute("DELETE FROM token WHERE id = ?1", params![id.as_bytes()])? == 1)
    }

    /// Deletes the tokens that have expired and says how many there were.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn delete_expired_tokens(&self, now: Timestamp) -> Result<usize, StoreError> {
        Ok(self.connection()?.execute("DELETE FROM token WHERE expires_at <= ?1", params![to_sql(now)])?)
    }
}

impl ChangeTransaction<'_> {
    /// Deletes one token. Says whether it was there.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn delete_token(&self, id: TokenId) -> Result<bool, StoreError> {
        Ok(self.connection().execute("DELETE FROM token WHERE id = ?1", params![id.as_bytes()])? == 1)
    }

    /// Notes that other secrets took the place of those that got the tokens of a credential set.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn outdate_tokens_of(&self, credential: CredentialId) -> Result<(), StoreError> {
        self.connection()
            .execute("UPDATE token SET by_former_secrets = 1 WHERE credential = ?1", params![credential.as_bytes()])?;
        Ok(())
    }

    /// Deletes all tokens of a credential set and says how many there were.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn delete_tokens_of(&self, credential: CredentialId) -> Result<usize, StoreError> {
        Ok(self.connection().execute("DELETE FROM token WHERE credential = ?1", params![credential.as_bytes()])?)
    }
}
