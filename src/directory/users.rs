//! Changes of portal users.

use serde_json::{Value, json};

use super::Directory;
use super::change::{By, ChangeError, Result};
use super::entry::entry;
use crate::domain::{Authority, Role, SessionId};
use crate::secrets::{HashedPassword, KeyId, KeyedHash};
use crate::store::{NewUser, User, UserState};

impl Directory {
    /// Adds a portal user.
    ///
    /// # Errors
    /// When the name is taken, the account that it is for does not exist, or the store fails.
    pub fn create_user(&self, by: &By, user: &NewUser) -> Result<User> {
        self.with_lock(|snapshot| {
            if self.store.user_named(&user.name)?.is_some() {
                return Err(ChangeError::Conflict(format!("a user `{}` exists already", user.name)));
            }
            if user.authority.account().is_some_and(|account| snapshot.account(account).is_none()) {
                return Err(ChangeError::NotFound("there is no such account".into()));
            }
            let after = json!({
                "name": user.name, "role": user.authority.role(), "account": user.authority.account(),
            });
            let entry = entry(by, "user.create", user.name.clone()).of(user.authority).changed(Value::Null, after);
            self.commit(&entry, |tx| tx.insert_user(user))?;
            Ok(User::from(user))
        })
    }

    /// Lets a user sign in, or not.
    ///
    /// # Errors
    /// When there is no such user, it is so already, it is the last administrator, or the store fails.
    pub fn set_user_state(&self, by: &By, name: &str, state: UserState) -> Result<User> {
        let operation = match state {
            UserState::Active => "user.enable",
            UserState::Disabled => "user.disable",
        };
        self.change_user(by, operation, name, |user| User { state, ..user })
    }

    /// Changes what a user may do.
    ///
    /// # Errors
    /// When there is no such user, it is so already, it is the last administrator, or the store fails.
    pub fn set_user_authority(&self, by: &By, name: &str, authority: Authority) -> Result<User> {
        self.change_user(by, "user.role", name, |user| User { authority, ..user })
    }

    fn change_user(
        &self,
        by: &By,
        operation: &'static str,
        name: &str,
        change: impl FnOnce(User) -> User,
    ) -> Result<User> {
        self.with_lock(|snapshot| {
            let before = self.user(name)?;
            let after = change(before.clone());
            if after == before {
                return Err(ChangeError::Conflict(format!("user `{name}` is so already")));
            }
            if after.authority.account().is_some_and(|account| snapshot.account(account).is_none()) {
                return Err(ChangeError::NotFound("there is no such account".into()));
            }
            let rules = |user: &User| user.authority.role() == Role::Admin && user.state == UserState::Active;
            let others = self.store.users()?.into_iter().filter(|user| user.id != before.id && rules(user)).count();
            if rules(&before) && !rules(&after) && others == 0 {
                return Err(ChangeError::Conflict(format!(
                    "`{name}` is the last administrator who can sign in; make another one first"
                )));
            }
            let entry =
                entry(by, operation, name.to_owned()).of(after.authority).changed(shown(&before), shown(&after));
            self.commit(&entry, |tx| tx.update_user(&after))?;
            Ok(after)
        })
    }

    /// Gives a user another first password.
    ///
    /// # Errors
    /// When there is no such user, or the store fails.
    pub fn reset_password(&self, by: &By, name: &str, password: &HashedPassword) -> Result<User> {
        self.with_lock(|_| {
            let user = self.user(name)?;
            let (was, is) = (json!({ "password": "set" }), json!({ "password": "to be changed" }));
            let entry = entry(by, "user.reset-password", name.to_owned()).of(user.authority).changed(was, is);
            self.commit(&entry, |tx| tx.reset_password(user.id, password, by.at))?;
            Ok(User { must_change_password: true, ..user })
        })
    }

    /// Sets the password that a user has chosen, and ends the user's other sessions.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set_own_password(
        &self,
        by: &By,
        user: &User,
        password: &HashedPassword,
        but: Option<SessionId>,
    ) -> Result<()> {
        self.with_lock(|_| {
            let was = json!({ "password": if user.must_change_password { "to be changed" } else { "set" } });
            let entry = entry(by, "user.password", user.name.clone()).of(user.authority);
            let entry = entry.changed(was, json!({ "password": "set" }));
            self.commit(&entry, |tx| tx.set_own_password(user.id, password, but)).map(drop)
        })
    }

    /// Sets a user's second factor with new recovery codes.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set_totp(
        &self,
        by: &By,
        user: &User,
        (sealed, step): (&[u8], u64),
        codes: &[(KeyedHash, KeyId)],
    ) -> Result<()> {
        self.with_lock(|_| {
            let was = json!({ "second_factor": if user.has_totp { "set" } else { "none" } });
            let is = json!({ "second_factor": "set", "recovery_codes": codes.len() });
            let entry = entry(by, "user.second-factor", user.name.clone()).of(user.authority).changed(was, is);
            self.commit(&entry, |tx| tx.set_totp(user.id, sealed, step, codes)).map(drop)
        })
    }

    /// Takes a user's second factor away; the user sets another one.
    ///
    /// # Errors
    /// When there is no such user, it has none, or the store fails.
    pub fn reset_totp(&self, by: &By, name: &str) -> Result<User> {
        self.with_lock(|_| {
            let user = self.user(name)?;
            if !user.has_totp {
                return Err(ChangeError::Conflict(format!("user `{name}` has no second factor")));
            }
            let (was, is) = (json!({ "second_factor": "set" }), json!({ "second_factor": "none" }));
            let entry = entry(by, "user.reset-totp", name.to_owned()).of(user.authority).changed(was, is);
            self.commit(&entry, |tx| tx.reset_totp(user.id))?;
            Ok(User { has_totp: false, ..user })
        })
    }

    fn user(&self, name: &str) -> Result<User> {
        self.store.user_named(name)?.ok_or_else(|| {
            ChangeError::NotFound(format!("there is no user `{name}`; `erp-access user list` shows them"))
        })
    }
}

fn shown(user: &User) -> Value {
    json!({ "role": user.authority.role(), "account": user.authority.account(), "state": user.state.as_str() })
}
