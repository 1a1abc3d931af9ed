//! `credential …`

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::arguments::{Credential, CredentialIssue, Output};
use super::output::{self, Failure};
use super::reach::{self, Part};
use super::run::Asking;
use super::shown_once::{self, ShownOnce};
use crate::control::{Bounds, Command, NewSet, SetQuery};

pub(super) fn run(asking: &Asking, verb: Credential) -> Result<ExitCode, Failure> {
    let columns = [
        "id",
        "account",
        "name",
        "kind",
        "state",
        "grants",
        "live_tokens",
        "expires_at",
        "last_used_at",
        "former_secrets",
    ];
    match verb {
        Credential::Issue(issue) => {
            shown_once::file_is_free(issue.secrets_file.as_deref())?;
            let (file, new) = (issue.secrets_file.clone(), new_set(issue));
            let issued = asking.ask(Command::CredentialIssue(Box::new(new)))?;
            show(&issued, file.as_deref(), asking.output)
        }
        Credential::Update { id, name, purpose, expires_at, no_expiry, clients, from_anywhere } => {
            let clients = (from_anywhere || !clients.is_empty()).then_some(clients);
            asking.print(Command::CredentialUpdate { id, name, purpose, clients, expires_at, no_expiry }, &columns)
        }
        Credential::Rotate { id, overlap, secrets_file } => {
            shown_once::file_is_free(secrets_file.as_deref())?;
            let rotated = asking.ask(Command::CredentialRotate { id, overlap_seconds: Some(overlap) })?;
            show(&rotated, secrets_file.as_deref(), asking.output)
        }
        Credential::Certificates { id, certificates } => {
            let certificates = certificates.fingerprints;
            asking.print(Command::CredentialCertificates { id, certificates }, &columns)
        }
        Credential::Limit { id, limits } => {
            asking.print(Command::CredentialLimit { id, limits: limits.limits()? }, &columns)
        }
        Credential::RotateEnd { id } => asking.print(Command::CredentialRotateEnd { id }, &columns),
        Credential::List { account } => asking.print(Command::CredentialList { account }, &columns),
        Credential::Search { text, account, state, ending_within, unused_for, sort, descending, offset, limit } => {
            let (sort, limit) = (Some(sort), Some(limit));
            let (ending_within_days, unused_for_days) = (ending_within, unused_for);
            let query =
                SetQuery { account, text, state, ending_within_days, unused_for_days, sort, descending, offset, limit };
            let found = asking.ask(Command::CredentialSearch(Box::new(query)))?;
            if asking.output == Output::Json {
                output::print(&found, &columns, Output::Json)?;
            } else {
                output::print(found.get("items").unwrap_or(&Value::Null), &columns, asking.output)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Credential::Access { id, text, part: Part { after, last } } => {
            let answer = asking.ask(Command::CredentialAccess { id, text, after, last: Some(last) })?;
            let columns =
                ["id", "methods", "path", "open", "schedules", "changes_at", "conditions", "ends_at", "stopped"];
            reach::page(&answer, &columns, "--after", asking.output)
        }
        Credential::Openapi { id } => {
            output::print(&asking.ask(Command::CredentialOpenapi { id })?, &[], Output::Json)?;
            Ok(ExitCode::SUCCESS)
        }
        Credential::Show { id } => asking.print(Command::CredentialShow { id }, &columns),
        Credential::Disable { id } => asking.print(Command::CredentialDisable { id }, &columns),
        Credential::Enable { id } => asking.print(Command::CredentialEnable { id }, &columns),
        Credential::Revoke { id, yes } => {
            output::confirm(yes, &format!("Revoking {id} is final. Its tokens end now."), &id.to_string())?;
            asking.print(Command::CredentialRevoke { id }, &columns)
        }
    }
}

fn new_set(issue: CredentialIssue) -> NewSet {
    let CredentialIssue { account, name, grants, expires_at, unrestricted, reason, purpose, clients, .. } = issue;
    let kind = if unrestricted { Bounds::Unrestricted } else { Bounds::Bounded };
    NewSet { account, name, kind, reason, purpose, expires_at, clients, grants }
}

fn show(issued: &Value, file: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let rows = &[("client id", "client_id"), ("password", "password"), ("x-api-key", "api_key")];
    shown_once::show(&ShownOnce { what: "credential set", id: "client_id", rows, issued }, file, output)
}
