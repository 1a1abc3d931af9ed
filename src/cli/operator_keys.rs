//! `operator-key …`

use std::process::ExitCode;

use super::arguments::OperatorKey;
use super::output::{self, Failure};
use super::run::Asking;
use super::shown_once::{self, ShownOnce};
use crate::control::Command;

pub(super) fn run(asking: &Asking, verb: OperatorKey) -> Result<ExitCode, Failure> {
    match verb {
        OperatorKey::Issue { name, role, account, expires_at, clients, secrets_file } => {
            shown_once::file_is_free(secrets_file.as_deref())?;
            let issued = asking.ask(Command::OperatorKeyIssue { name, role, account, expires_at, clients })?;
            let rows = &[("id", "id"), ("x-api-key", "api_key")];
            let once = ShownOnce { what: "operator key", id: "id", rows, issued: &issued };
            shown_once::show(&once, secrets_file.as_deref(), asking.output)
        }
        OperatorKey::List => {
            asking.print(Command::OperatorKeyList, &["id", "name", "role", "account", "state", "clients", "expires_at"])
        }
        OperatorKey::Revoke { id, yes } => {
            output::confirm(yes, &format!("Revoking {id} is final."), &id.to_string())?;
            asking.print(Command::OperatorKeyRevoke { id }, &[])
        }
    }
}
