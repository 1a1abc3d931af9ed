//! Which key made what, and moving sealed values to the key in use.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};

use super::upstreams::sealed_row;
use super::{ChangeTransaction, Store, StoreError, from_sql, to_sql};
use crate::domain::{AccountId, Entropy, UserId};
use crate::secrets::{KeyId, KeyRing, Place, SealPurpose, sealed_with};

/// A column of sealed values.
#[derive(Debug)]
struct SealedColumn {
    table: &'static str,
    column: &'static str,
    purpose: SealPurpose,
    /// What names the row, in SQL.
    named_by: &'static str,
}

const fn sealed(
    table: &'static str,
    column: &'static str,
    purpose: SealPurpose,
    named_by: &'static str,
) -> SealedColumn {
    SealedColumn { table, column, purpose, named_by }
}

const OF_UPSTREAM: &str = "upstream, account";
const OF_USER: &str = "NULL, id";

/// All of them but the canary's. INVARIANT: a column that is missing here would keep its predecessor's key for ever.
const SEALED: &[SealedColumn] = &[
    sealed("upstream_secret", "username", SealPurpose::UpstreamSecret, OF_UPSTREAM),
    sealed("upstream_secret", "password", SealPurpose::UpstreamSecret, OF_UPSTREAM),
    sealed("upstream_secret", "api_key", SealPurpose::UpstreamSecret, OF_UPSTREAM),
    sealed("upstream_session", "sealed", SealPurpose::UpstreamSession, OF_UPSTREAM),
    sealed("portal_user", "totp", SealPurpose::Totp, OF_USER),
];

/// The tables with hashes of secrets that clients, programs and users hold, each with the key that made them.
const HASHED: &[&str] = &["credential", "former_secrets", "operator_key", "token", "portal_user"];

/// The name of the row of `meta` with the key to which the last recorded rotation led.
const ROTATED_TO: &str = "rotated_to";

/// How much depends on one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dependants {
    /// Secrets at ERPs, kept sessions, second factors.
    pub sealed_values: u64,
    /// Pairs of password and x-api-key of credential sets that are not revoked, former ones too.
    pub client_secrets: u64,
    /// Operator keys that serve.
    pub operator_keys: u64,
    /// Passwords and recovery codes of portal users.
    pub user_passwords: u64,
    /// Live tokens.
    pub tokens: u64,
    /// Sessions of portal users.
    pub portal_sessions: u64,
}

/// What one step of moving sealed values did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resealed {
    /// Values that were moved.
    pub moved: u64,
    /// Values that no key of the ring opens; they stay.
    pub unreadable: u64,
}

impl Store {
    /// Moves every sealed value of a former key to the key in use, at most `batch` values in a transaction, so that others
    /// write in between. May be interrupted anywhere and done again.
    ///
    /// # Errors
    /// On a fault of the database, or without randomness.
    pub fn reseal(&self, ring: &KeyRing, entropy: &dyn Entropy, batch: u32) -> Result<Resealed, StoreError> {
        let mut done = Resealed::default();
        for column in SEALED {
            let mut after = i64::MIN;
            while let Some(last) = self.reseal_some(column, ring, entropy, (after, batch), &mut done)? {
                after = last;
            }
        }
        Ok(done)
    }

    /// The next batch of one column; `None` where there is none.
    fn reseal_some(
        &self,
        column: &SealedColumn,
        ring: &KeyRing,
        entropy: &dyn Entropy,
        (after, batch): (i64, u32),
        done: &mut Resealed,
    ) -> Result<Option<i64>, StoreError> {
        let SealedColumn { table, column: name, purpose, named_by } = column;
        let mut connection = self.connection()?;
        // INVARIANT: values are read under the write lock, so that a newer one is never overwritten.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut statement = transaction.prepare_cached(&format!(
            "SELECT rowid, {named_by}, {name} FROM {table}
              WHERE rowid > ?1 AND {name} IS NOT NULL AND substr({name}, 2, 4) <> ?2 ORDER BY rowid LIMIT ?3"
        ))?;
        let current = ring.current_id();
        let rows = statement.query_map(params![after, current.as_bytes(), batch], |row| {
            Ok((row.get::<_, i64>(0)?, row_name(row)?, row.get::<_, Vec<u8>>(3)?))
        })?;
        let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
        drop(statement);
        let mut update = transaction.prepare_cached(&format!("UPDATE {table} SET {name} = ?2 WHERE rowid = ?1"))?;
        for (rowid, row, value) in &rows {
            let place = Place { table, row, column: name };
            match ring.open(*purpose, &place, value) {
                Ok(plain) => {
                    update.execute(params![rowid, ring.seal(*purpose, &place, &plain, entropy)?])?;
                    done.moved += 1;
                }
                Err(error) => {
                    log::error!("the `{name}` of `{row}` in `{table}` stays as it is: {error}");
                    done.unreadable += 1;
                }
            }
        }
        drop(update);
        transaction.commit()?;
        Ok(rows.last().map(|(rowid, ..)| *rowid))
    }

    /// How much depends on each key, the canary left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn dependants(&self, now: Timestamp) -> Result<BTreeMap<KeyId, Dependants>, StoreError> {
        let connection = self.connection()?;
        let mut found: BTreeMap<KeyId, Dependants> = BTreeMap::new();
        for SealedColumn { table, column, .. } in SEALED {
            let query = format!("SELECT substr({column}, 1, 5), COUNT(*), ?1 FROM {table} WHERE {column} IS NOT NULL");
            count(&connection, &format!("{query} GROUP BY 1"), now, |sealed, number| {
                found.entry(sealed_with(sealed)?).or_default().sealed_values += number;
                Some(())
            })?;
        }
        for (table, live) in [
            ("credential", "state <> 'revoked' AND ?1 IS NOT NULL"),
            ("former_secrets", "ends_at > ?1 AND credential IN (SELECT id FROM credential WHERE state <> 'revoked')"),
            ("operator_key", "revoked = 0 AND expires_at > ?1"),
            ("portal_user", "?1 IS NOT NULL"),
            ("recovery_code", "?1 IS NOT NULL"),
            ("portal_session", "?1 IS NOT NULL"),
            ("token", "expires_at > ?1"),
        ] {
            let query = format!("SELECT hash_key, COUNT(*) FROM {table} WHERE {live} GROUP BY 1");
            count(&connection, &query, now, |key, number| {
                let of_key = found.entry(KeyId::from_bytes(key.try_into().ok()?)).or_default();
                *match table {
                    "operator_key" => &mut of_key.operator_keys,
                    "portal_user" | "recovery_code" => &mut of_key.user_passwords,
                    "portal_session" => &mut of_key.portal_sessions,
                    "token" => &mut of_key.tokens,
                    _ => &mut of_key.client_secrets,
                } += number;
                Some(())
            })?;
        }
        Ok(found)
    }

    /// The key to which the last recorded rotation led.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn rotated_to(&self) -> Result<Option<KeyId>, StoreError> {
        let query = "SELECT value FROM meta WHERE name = ?1";
        let id: Option<[u8; 4]> = self.connection()?.query_row(query, [ROTATED_TO], |row| row.get(0)).optional()?;
        Ok(id.map(KeyId::from_bytes))
    }

    /// Since when the key in use has been in use, as far as the stream of changes tells.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn key_in_use_since(&self) -> Result<Option<Timestamp>, StoreError> {
        let query = "SELECT COALESCE(
                (SELECT at FROM change WHERE operation IN ('key.rotate', 'key.abandon') ORDER BY seq DESC LIMIT 1),
                (SELECT at FROM change ORDER BY seq LIMIT 1))";
        let since: Option<i64> = self.connection()?.query_row(query, [], |row| row.get(0))?;
        Ok(since.map(from_sql))
    }

    /// Notes, for hashes from before keys could be rotated, which key made them.
    pub(super) fn adopt_hashes(connection: &Connection, key: KeyId) -> Result<(), StoreError> {
        let adopted = "INSERT INTO meta (name, value) VALUES ('hashes_name_their_key', x'01') ON CONFLICT DO NOTHING";
        if connection.execute(adopted, [])? == 1 {
            for table in HASHED {
                let adopt = format!("UPDATE {table} SET hash_key = ?1 WHERE hash_key IS NULL");
                connection.execute(&adopt, params![key.as_bytes()])?;
            }
        }
        Ok(())
    }
}

fn row_name(row: &Row<'_>) -> rusqlite::Result<String> {
    let (upstream, id): (Option<String>, Vec<u8>) = (row.get(1)?, row.get(2)?);
    let id: Option<[u8; 16]> = id.try_into().ok();
    Ok(match (upstream, id) {
        (Some(upstream), account) => sealed_row(&upstream, account.map(AccountId::from_bytes)),
        (None, Some(user)) => UserId::from_bytes(user).to_string(),
        (None, None) => String::new(),
    })
}

/// Gives each group's key and number to `each`; a group that it cannot place is an error.
fn count(
    connection: &Connection,
    query: &str,
    now: Timestamp,
    mut each: impl FnMut(&[u8], u64) -> Option<()>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query(params![to_sql(now)])?;
    while let Some(row) = rows.next()? {
        let (key, number): (Vec<u8>, i64) = (row.get(0)?, row.get(1)?);
        each(&key, number.unsigned_abs()).ok_or(StoreError::Seal(crate::secrets::SealError::Format))?;
    }
    Ok(())
}

impl ChangeTransaction<'_> {
    /// Notes to which key a rotation leads.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn rotate_to(&self, key: KeyId) -> Result<(), StoreError> {
        self.connection().execute(
            "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            params![ROTATED_TO, key.as_bytes()],
        )?;
        Ok(())
    }

    /// Goes on without a lost key: forgets what only it could open or check (secrets and sessions at ERPs, second factors,
    /// tokens), and lets the database open with the key in use.
    ///
    /// # Errors
    /// On a fault of the database, or without randomness.
    pub fn abandon_lost_key(&self, ring: &KeyRing, entropy: &dyn Entropy) -> Result<(), StoreError> {
        let connection = self.connection();
        let lost: Option<Vec<u8>> =
            connection.query_row("SELECT value FROM meta WHERE name = 'canary'", [], |row| row.get(0)).optional()?;
        if let Some(lost) = lost.as_deref().and_then(sealed_with) {
            Store::adopt_hashes(connection, lost)?;
        }
        connection.execute_batch(
            "DELETE FROM upstream_secret; DELETE FROM upstream_session; DELETE FROM token; DELETE FROM former_secrets;
             DELETE FROM portal_session; DELETE FROM recovery_code; UPDATE portal_user SET totp = NULL;",
        )?;
        self.rotate_to(ring.current_id())?;
        self.move_canary(ring, entropy)
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
