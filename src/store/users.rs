//! The table of portal users.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension as _, Row, ToSql, params};

use super::sessions::end_sessions_of;
use super::{ChangeTransaction, Store, StoreError, exactly_one, from_sql, to_sql, unknown};
use crate::domain::{AccountId, Authority, UserId};
use crate::secrets::{HashedPassword, KeyId};

/// A portal user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The name to sign in with.
    pub name: String,
    /// What the user may do.
    pub authority: Authority,
    /// Whether the user may sign in.
    pub state: UserState,
    /// Whether the next sign-in asks for a new password.
    pub must_change_password: bool,
    /// Whether a second factor is set.
    pub has_totp: bool,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Whether a user may sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserState {
    /// It may.
    Active,
    /// It may not.
    Disabled,
}

impl UserState {
    /// The text as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }
}

/// How long a first password serves.
const FIRST_PASSWORD: SignedDuration = SignedDuration::from_hours(72);

fn first_password_until(at: Timestamp) -> Timestamp {
    at.checked_add(FIRST_PASSWORD).unwrap_or(Timestamp::MAX)
}

/// A portal user to be added.
#[derive(Debug)]
pub struct NewUser {
    /// Its id.
    pub id: UserId,
    /// The name to sign in with.
    pub name: String,
    /// What the user may do.
    pub authority: Authority,
    /// The hash of the first password, which must be changed at the first sign-in.
    pub password: HashedPassword,
    /// When.
    pub created_at: Timestamp,
}

impl From<&NewUser> for User {
    fn from(new: &NewUser) -> Self {
        Self {
            id: new.id,
            name: new.name.clone(),
            authority: new.authority,
            state: UserState::Active,
            must_change_password: true,
            has_totp: false,
            created_at: new.created_at,
        }
    }
}

const COLUMNS: &str = "id, name, role, account, state, must_change_password, totp IS NOT NULL, created_at";

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    let role: String = row.get(2)?;
    let account = row.get::<_, Option<_>>(3)?.map(AccountId::from_bytes);
    let state: String = row.get(4)?;
    Ok(User {
        id: UserId::from_bytes(row.get(0)?),
        name: row.get(1)?,
        authority: role.parse().ok().and_then(|role| Authority::of(role, account)).ok_or_else(|| unknown(2, &role))?,
        state: match state.as_str() {
            "active" => UserState::Active,
            "disabled" => UserState::Disabled,
            other => return Err(unknown(4, other)),
        },
        must_change_password: row.get(5)?,
        has_totp: row.get(6)?,
        created_at: from_sql(row.get(7)?),
    })
}

impl Store {
    /// How many portal users there are.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn count_users(&self) -> Result<u64, StoreError> {
        let count: i64 = self.connection()?.query_row("SELECT COUNT(*) FROM portal_user", [], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// All portal users, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn users(&self) -> Result<Vec<User>, StoreError> {
        let connection = self.connection()?;
        let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM portal_user ORDER BY name"))?;
        let rows = statement.query_map([], user)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The portal user with this name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn user_named(&self, name: &str) -> Result<Option<User>, StoreError> {
        let connection = self.connection()?;
        let query = format!("SELECT {COLUMNS} FROM portal_user WHERE name = ?1");
        Ok(connection.query_row(&query, params![name], user).optional()?)
    }
}

/// A user who signs in, with what is kept of the secrets.
#[derive(Debug, Clone)]
pub struct SignInUser {
    /// The user.
    pub user: User,
    /// The hash of the password.
    pub password: HashedPassword,
    /// The seed of the second factor, sealed.
    pub totp: Option<Vec<u8>>,
    /// Until when a first password serves.
    pub first_password_until: Option<Timestamp>,
}

impl Store {
    /// The user with this name, for signing in.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn sign_in_user(&self, name: &str) -> Result<Option<SignInUser>, StoreError> {
        self.sign_in_user_where("name = ?1", params![name])
    }

    /// The user with this id, for signing in.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn sign_in_user_with(&self, id: UserId) -> Result<Option<SignInUser>, StoreError> {
        self.sign_in_user_where("id = ?1", params![id.as_bytes()])
    }

    fn sign_in_user_where(&self, which: &str, value: &[&dyn ToSql]) -> Result<Option<SignInUser>, StoreError> {
        let query = format!(
            "SELECT {COLUMNS}, password_hash, hash_key, totp, first_password_until FROM portal_user WHERE {which}"
        );
        let found = self.connection()?.query_row(&query, value, |row| {
            let password = HashedPassword { hash: row.get(8)?, key: KeyId::from_bytes(row.get(9)?) };
            let until = row.get::<_, Option<i64>>(11)?.map(from_sql);
            Ok(SignInUser { user: user(row)?, password, totp: row.get(10)?, first_password_until: until })
        });
        Ok(found.optional()?)
    }
}

impl ChangeTransaction<'_> {
    /// Adds a portal user.
    ///
    /// # Errors
    /// When the name is taken, or on a fault of the database.
    pub fn insert_user(&self, user: &NewUser) -> Result<(), StoreError> {
        self.connection().execute(
            "INSERT INTO portal_user (id, name, role, account, password_hash, must_change_password, created_at, hash_key,
                first_password_until)
             VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8)",
            params![
                user.id.as_bytes(),
                user.name,
                user.authority.role().as_str(),
                user.authority.account().as_ref().map(AccountId::as_bytes),
                user.password.hash,
                to_sql(user.created_at),
                user.password.key.as_bytes(),
                to_sql(first_password_until(user.created_at)),
            ],
        )?;
        Ok(())
    }

    /// Writes what a user may do and whether it may sign in, and ends the user's sessions.
    ///
    /// # Errors
    /// When there is no such user, or on a fault of the database.
    pub fn update_user(&self, user: &User) -> Result<(), StoreError> {
        let affected = self.connection().execute(
            "UPDATE portal_user SET role = ?2, account = ?3, state = ?4 WHERE id = ?1",
            params![
                user.id.as_bytes(),
                user.authority.role().as_str(),
                user.authority.account().as_ref().map(AccountId::as_bytes),
                user.state.as_str(),
            ],
        )?;
        exactly_one("update user", affected)?;
        end_sessions_of(self.connection(), user.id, None)
    }

    /// Gives a user another password, which serves for 72 hours and must be changed at the next sign-in, and ends the
    /// user's sessions.
    ///
    /// # Errors
    /// When there is no such user, or on a fault of the database.
    pub fn reset_password(&self, id: UserId, password: &HashedPassword, at: Timestamp) -> Result<(), StoreError> {
        let affected = self.connection().execute(
            "UPDATE portal_user SET password_hash = ?2, hash_key = ?3, must_change_password = 1,
                first_password_until = ?4 WHERE id = ?1",
            params![id.as_bytes(), password.hash, password.key.as_bytes(), to_sql(first_password_until(at))],
        )?;
        exactly_one("update user", affected)?;
        end_sessions_of(self.connection(), id, None)
    }

    /// Takes a user's second factor away, and ends the user's sessions.
    ///
    /// # Errors
    /// When there is no such user, or on a fault of the database.
    pub fn reset_totp(&self, id: UserId) -> Result<(), StoreError> {
        let affected =
            self.connection().execute("UPDATE portal_user SET totp = NULL WHERE id = ?1", params![id.as_bytes()])?;
        exactly_one("update user", affected)?;
        self.connection().execute("DELETE FROM recovery_code WHERE user = ?1", params![id.as_bytes()])?;
        end_sessions_of(self.connection(), id, None)
    }
}
