//! Portal users.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Control, ControlError, Result};
use crate::directory::By;
use crate::domain::{AccountName, Authority, IssuedKind, IssuedSecret, Role, UserId};
use crate::secrets::HashedPassword;
use crate::store::{NewUser, User, UserState};

impl Control {
    /// Adds a user. The first password is in this answer and nowhere else.
    pub(super) async fn create_user(
        self: &Arc<Self>,
        by: By,
        name: &str,
        role: Role,
        account: Option<AccountName>,
    ) -> Result<Value> {
        let name = user_name(name)?;
        let authority = self.authority(role, account.as_ref())?;
        let (password, hashed) = self.first_password().await?;
        let id = UserId::new(by.at, &*self.entropy).map_err(ControlError::failed)?;
        let user = NewUser { id, name, authority, password: hashed, created_at: by.at };
        let user = self.change(by, move |control, by| control.directory.create_user(by, &user)).await?;
        Ok(with_password(self.shown_user(&user), &password))
    }

    /// Gives a user another first password, shown once.
    pub(super) async fn reset_password(self: &Arc<Self>, by: By, name: String) -> Result<Value> {
        let (password, hashed) = self.first_password().await?;
        let user = self.change(by, move |control, by| control.directory.reset_password(by, &name, &hashed)).await?;
        Ok(with_password(self.shown_user(&user), &password))
    }

    pub(super) fn reset_totp(&self, by: &By, name: &str) -> Result<Value> {
        Ok(self.shown_user(&self.directory.reset_totp(by, name)?))
    }

    pub(super) fn set_user_state(&self, by: &By, name: &str, state: UserState) -> Result<Value> {
        Ok(self.shown_user(&self.directory.set_user_state(by, name, state)?))
    }

    pub(super) fn set_user_role(
        &self,
        by: &By,
        name: &str,
        role: Role,
        account: Option<&AccountName>,
    ) -> Result<Value> {
        let authority = self.authority(role, account)?;
        Ok(self.shown_user(&self.directory.set_user_authority(by, name, authority)?))
    }

    pub(super) fn list_users(&self) -> Result<Value> {
        let users = self.store.users().map_err(ControlError::failed)?;
        Ok(users.iter().map(|user| self.shown_user(user)).collect())
    }

    pub(super) fn show_user(&self, name: &str) -> Result<Value> {
        let user = self.store.user_named(name).map_err(ControlError::failed)?;
        let user = user.ok_or_else(|| {
            ControlError::not_found(format!("there is no user `{name}`; `erp-access user list` shows them"))
        })?;
        Ok(self.shown_user(&user))
    }

    /// What a role may do; a client is held to an account.
    pub(super) fn authority(&self, role: Role, account: Option<&AccountName>) -> Result<Authority> {
        let account = account.map(|name| self.account_id(name)).transpose()?;
        Authority::of(role, account).ok_or_else(|| {
            ControlError::incomplete("the role `client` needs the account that it is for; the others have none")
        })
    }

    async fn first_password(&self) -> Result<(IssuedSecret, HashedPassword)> {
        let password = IssuedSecret::generate(IssuedKind::Password, &*self.entropy).map_err(ControlError::failed)?;
        let hashed = self.hasher.hash(password.secret().clone()).await.map_err(ControlError::failed)?;
        Ok((password, hashed))
    }

    fn shown_user(&self, user: &User) -> Value {
        let snapshot = self.directory.snapshot();
        let account = user.authority.account().and_then(|id| snapshot.account(id)).map(|account| &account.name);
        json!({
            "name": user.name, "id": user.id, "role": user.authority.role(), "account": account,
            "state": user.state.as_str(), "must_change_password": user.must_change_password,
            "second_factor": user.has_totp, "created_at": user.created_at,
        })
    }
}

fn with_password(mut shown: Value, password: &IssuedSecret) -> Value {
    if let Some(members) = shown.as_object_mut() {
        // SECURITY: the only time it leaves the process.
        members.insert("password".into(), json!(password.secret().expose()));
    }
    shown
}

/// A name to sign in with: no spaces, so that it stands in a list and in a path as it is.
fn user_name(text: &str) -> Result<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@' | b'+');
    if (1..=100).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(ControlError::invalid("a user's name has 1 to 100 of a-z A-Z 0-9 . _ - @ +"))
}
