//! The table of portal sessions. One that ends is deleted; what was done in it is in the audit trail.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{ChangeTransaction, Store, StoreError, exactly_one, from_sql, to_sql, unknown};
use crate::domain::{SessionId, UserId};
use crate::secrets::{KeyId, KeyedHash};

/// How far somebody has come who signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A new password must be set first.
    Password,
    /// A second factor must be set up first.
    Enrol,
    /// The code of the second factor is missing.
    Code,
    /// Signed in.
    Full,
}

impl Stage {
    /// The text as stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Enrol => "enrol",
            Self::Code => "code",
            Self::Full => "full",
        }
    }
}

/// A session of a portal user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortalSession {
    /// What it is called; it opens nothing.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// How far the user has come.
    pub stage: Stage,
    /// When the sign-in began.
    pub began_at: Timestamp,
    /// When it was used last.
    pub seen_at: Timestamp,
    /// When the password was last given.
    pub proven_at: Timestamp,
    /// Where it came from.
    pub client: Option<String>,
    /// What the browser calls itself.
    pub agent: Option<String>,
}

const COLUMNS: &str = "id, user, stage, began_at, seen_at, proven_at, client, agent";

fn session(row: &Row<'_>) -> rusqlite::Result<PortalSession> {
    let stage: String = row.get(2)?;
    Ok(PortalSession {
        id: SessionId::from_bytes(row.get(0)?),
        user: UserId::from_bytes(row.get(1)?),
        stage: match stage.as_str() {
            "password" => Stage::Password,
            "enrol" => Stage::Enrol,
            "code" => Stage::Code,
            "full" => Stage::Full,
            other => return Err(unknown(2, other)),
        },
        began_at: from_sql(row.get(3)?),
        seen_at: from_sql(row.get(4)?),
        proven_at: from_sql(row.get(5)?),
        client: row.get(6)?,
        agent: row.get(7)?,
    })
}

impl Store {
    /// The session with this keyed hash.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn portal_session(&self, hash: &KeyedHash) -> Result<Option<PortalSession>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM portal_session WHERE hash = ?1");
        Ok(self.connection()?.query_row(&query, params![hash.as_bytes()], session).optional()?)
    }

    /// The sessions of a user, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn portal_sessions_of(&self, user: UserId) -> Result<Vec<PortalSession>, StoreError> {
        let connection = self.connection()?;
        let query = format!("SELECT {COLUMNS} FROM portal_session WHERE user = ?1 ORDER BY seen_at DESC");
        let mut statement = connection.prepare(&query)?;
        let rows = statement.query_map(params![user.as_bytes()], session)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Begins a session, in place of one with another hash where one is named: an id is never kept over a sign-in.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn begin_portal_session(
        &self,
        (hash, key): (KeyedHash, KeyId),
        new: &PortalSession,
        replaces: Option<SessionId>,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection()?;
        let transaction = connection.transaction()?;
        if let Some(before) = replaces {
            transaction.execute("DELETE FROM portal_session WHERE id = ?1", params![before.as_bytes()])?;
        }
        transaction.execute(
            "INSERT INTO portal_session (hash, hash_key, id, user, stage, began_at, seen_at, proven_at, client, agent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                hash.as_bytes(),
                key.as_bytes(),
                new.id.as_bytes(),
                new.user.as_bytes(),
                new.stage.as_str(),
                to_sql(new.began_at),
                to_sql(new.seen_at),
                to_sql(new.proven_at),
                new.client,
                new.agent,
            ],
        )?;
        Ok(transaction.commit()?)
    }

    /// Notes that a session is used.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn see_portal_session(&self, id: SessionId, at: Timestamp) -> Result<(), StoreError> {
        let see = "UPDATE portal_session SET seen_at = ?2 WHERE id = ?1";
        self.connection()?.execute(see, params![id.as_bytes(), to_sql(at)])?;
        Ok(())
    }

    /// Ends a session of a user; says whether it was there.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn end_portal_session(&self, user: UserId, id: SessionId) -> Result<bool, StoreError> {
        let end = "DELETE FROM portal_session WHERE id = ?1 AND user = ?2";
        Ok(self.connection()?.execute(end, params![id.as_bytes(), user.as_bytes()])? == 1)
    }

    /// Forgets sessions that were begun or used last before these moments.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn forget_portal_sessions(&self, began: Timestamp, seen: Timestamp) -> Result<usize, StoreError> {
        let forget = "DELETE FROM portal_session WHERE began_at < ?1 OR seen_at < ?2";
        Ok(self.connection()?.execute(forget, params![to_sql(began), to_sql(seen)])?)
    }

    /// Takes a recovery code of a user, once; says whether it was there.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn take_recovery_code(&self, user: UserId, hash: &KeyedHash) -> Result<bool, StoreError> {
        let take = "DELETE FROM recovery_code WHERE user = ?1 AND hash = ?2";
        Ok(self.connection()?.execute(take, params![user.as_bytes(), hash.as_bytes()])? == 1)
    }

    /// Takes a code of the second factor, whose step is later than that of every code before; says whether it is.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn take_code(&self, user: UserId, step: u64) -> Result<bool, StoreError> {
        let take = "UPDATE portal_user SET code_step = ?2 WHERE id = ?1 AND COALESCE(code_step, -1) < ?2";
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        Ok(self.connection()?.execute(take, params![user.as_bytes(), step])? == 1)
    }
}

/// Ends the sessions of a user: all, or all but one.
pub(super) fn end_sessions_of(connection: &Connection, user: UserId, but: Option<SessionId>) -> Result<(), StoreError> {
    connection.execute(
        "DELETE FROM portal_session WHERE user = ?1 AND id IS NOT ?2",
        params![user.as_bytes(), but.as_ref().map(SessionId::as_bytes)],
    )?;
    Ok(())
}

impl ChangeTransaction<'_> {
    /// Sets a user's own password, and ends the user's sessions but this one.
    ///
    /// # Errors
    /// When there is no such user, or on a fault of the database.
    pub fn set_own_password(
        &self,
        user: UserId,
        password: &crate::secrets::HashedPassword,
        but: Option<SessionId>,
    ) -> Result<(), StoreError> {
        let affected = self.connection().execute(
            "UPDATE portal_user SET password_hash = ?2, hash_key = ?3, must_change_password = 0,
                first_password_until = NULL WHERE id = ?1",
            params![user.as_bytes(), password.hash, password.key.as_bytes()],
        )?;
        exactly_one("update user", affected)?;
        end_sessions_of(self.connection(), user, but)
    }

    /// Sets a user's second factor and recovery codes, in place of those before.
    ///
    /// # Errors
    /// When there is no such user, or on a fault of the database.
    pub fn set_totp(
        &self,
        user: UserId,
        sealed: &[u8],
        step: u64,
        codes: &[(KeyedHash, KeyId)],
    ) -> Result<(), StoreError> {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let affected = self.connection().execute(
            "UPDATE portal_user SET totp = ?2, code_step = ?3 WHERE id = ?1",
            params![user.as_bytes(), sealed, step],
        )?;
        exactly_one("update user", affected)?;
        self.connection().execute("DELETE FROM recovery_code WHERE user = ?1", params![user.as_bytes()])?;
        for (hash, key) in codes {
            self.connection().execute(
                "INSERT INTO recovery_code (user, hash, hash_key) VALUES (?1, ?2, ?3)",
                params![user.as_bytes(), hash.as_bytes(), key.as_bytes()],
            )?;
        }
        Ok(())
    }
}
