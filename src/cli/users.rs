//! `user …`

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::arguments::{Output, User};
use super::output::Failure;
use super::run::Asking;
use super::shown_once::{self, ShownOnce};
use crate::control::Command;

pub(super) fn run(asking: &Asking, verb: User) -> Result<ExitCode, Failure> {
    let columns = ["name", "role", "account", "state", "second_factor", "must_change_password", "created_at"];
    match verb {
        User::Create { name, role, account, secrets_file } => {
            shown_once::file_is_free(secrets_file.as_deref())?;
            let created = asking.ask(Command::UserCreate { name, role, account })?;
            show(&created, secrets_file.as_deref(), asking.output)
        }
        User::List => asking.print(Command::UserList, &columns),
        User::Show { name } => asking.print(Command::UserShow { name }, &columns),
        User::Disable { name } => asking.print(Command::UserDisable { name }, &columns),
        User::Enable { name } => asking.print(Command::UserEnable { name }, &columns),
        User::Role { name, role, account } => asking.print(Command::UserRole { name, role, account }, &columns),
        User::ResetPassword { name, secrets_file } => {
            shown_once::file_is_free(secrets_file.as_deref())?;
            let reset = asking.ask(Command::UserResetPassword { name })?;
            show(&reset, secrets_file.as_deref(), asking.output)
        }
        User::ResetTotp { name } => asking.print(Command::UserResetTotp { name }, &columns),
    }
}

fn show(user: &Value, file: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let rows = &[("name", "name"), ("password", "password")];
    shown_once::show(&ShownOnce { what: "password of user", id: "name", rows, issued: user }, file, output)
}
