//! The table of portal users.

use jiff::Timestamp;
use rusqlite::params;

use super::{ChangeTransaction, Store, StoreError, to_sql};
use crate::domain::UserId;

/// What a portal user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
}

/// A portal user to be added.
#[derive(Debug)]
pub struct NewUser {
    /// Its id.
    pub id: UserId,
    /// The name to sign in with.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// The Argon2id hash of the first password, which must be changed at the first sign-in.
    pub password_hash: String,
    /// When.
    pub created_at: Timestamp,
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
}

impl ChangeTransaction<'_> {
    /// Adds a portal user.
    ///
    /// # Errors
    /// When the name is taken, or on a fault of the database.
    pub fn insert_user(&self, user: &NewUser) -> Result<(), StoreError> {
        let role = match user.role {
            Role::Admin => "admin",
        };
        self.connection().execute(
            "INSERT INTO portal_user (id, name, role, password_hash, must_change_password, created_at)
             VALUES (?1, ?2, ?3, ?4, 1, ?5)",
            params![user.id.as_bytes(), user.name, role, user.password_hash, to_sql(user.created_at)],
        )?;
        Ok(())
    }
}
