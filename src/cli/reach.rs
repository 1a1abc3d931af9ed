//! `endpoint list`, `endpoint show` and `grant matrix`: who may call what.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::arguments::Output;
use super::output::{self, Failure, line, line_to_stderr, safe};
use super::run::Asking;
use crate::control::Command;
use crate::domain::{AccountName, EndpointId, PolicyName};

/// `endpoint …`
#[derive(Debug, Subcommand)]
pub enum Endpoint {
    /// List endpoints, with how many credential sets reach each and by which policies
    #[command(after_help = "Examples:\n  endpoint list --text orders\n  endpoint list --credential webshop")]
    List {
        /// Those whose id, path, method or upstream holds this
        #[arg(long)]
        text: Option<String>,
        /// Those that this credential set reaches, by its id or name
        #[arg(long, value_name = "ID_OR_NAME")]
        credential: Option<String>,
        #[command(flatten)]
        part: Part,
    },
    /// Show an endpoint with the credential sets that reach it, by which policies, in which hours and on what conditions
    Show {
        id: EndpointId,
        #[command(flatten)]
        part: Part,
    },
}

/// `grant matrix`
#[derive(Debug, clap::Args)]
pub struct Matrix {
    /// Sets of this account
    #[arg(long)]
    pub account: Option<AccountName>,
    /// Sets that hold this policy
    #[arg(long)]
    pub policy: Option<PolicyName>,
    #[command(flatten)]
    pub part: Part,
}

/// Which part of a long list.
#[derive(Debug, clap::Args)]
pub struct Part {
    /// What comes behind this, as the part before said
    #[arg(long)]
    pub after: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    pub last: usize,
}

pub(super) fn endpoint(asking: &Asking, verb: Endpoint) -> Result<ExitCode, Failure> {
    match verb {
        Endpoint::List { text, credential, part: Part { after, last } } => {
            let mut columns = vec!["id", "methods", "path", "upstream", "body", "sets", "policies"];
            columns.extend(credential.is_some().then_some("access"));
            let answer = asking.ask(Command::EndpointList { text, credential, after, last: Some(last) })?;
            page(&answer, &columns, "--after", asking.output)
        }
        Endpoint::Show { id, part: Part { after, last } } => {
            let answer = asking.ask(Command::EndpointShow { id, after, last: Some(last) })?;
            let columns = ["id", "name", "account", "kind", "stopped", "policies", "access"];
            if asking.output != Output::Table {
                return page(&answer, &columns, "--after", asking.output);
            }
            for name in ["id", "methods", "path", "upstream", "body"] {
                let value = answer.get(name).unwrap_or(&Value::Null);
                let text =
                    value.as_str().map_or_else(|| if value.is_null() { "-".into() } else { value.to_string() }, safe);
                line(&format!("{name:<16} {text}"))?;
            }
            line("")?;
            let list = json!({ "items": answer.get("holders"), "next": answer.get("next") });
            page(&list, &columns, "--after", asking.output)
        }
    }
}

pub(super) fn matrix(asking: &Asking, arguments: Matrix) -> Result<ExitCode, Failure> {
    let Matrix { account, policy, part: Part { after, last } } = arguments;
    let mut answer = asking.ask(Command::GrantMatrix { account, policy, after, last: Some(last) })?;
    if asking.output != Output::Json {
        let sets = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let rows: Value = sets.iter().flat_map(rows).collect();
        if let Some(members) = answer.as_object_mut() {
            members.insert("items".to_owned(), rows);
        }
    }
    page(&answer, &["account", "name", "id", "stopped", "policy", "gives", "expires_at"], "--after", asking.output)
}

/// A line for each grant; one for a set without any.
fn rows(set: &Value) -> Vec<Value> {
    let grants = set.get("grants").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let of = |name: &str| set.get(name).cloned().unwrap_or_default();
    let row = |policy: Value, gives: Value, end: Value| {
        json!({
            "account": of("account"), "name": of("name"), "id": of("id"), "stopped": of("stopped"), "policy": policy,
            "gives": gives, "expires_at": end,
        })
    };
    let beyond = of("beyond_grants");
    let beyond = (grants.is_empty() || !beyond.is_null()).then(|| row(Value::Null, beyond, Value::Null));
    let member = |grant: &Value, name: &str| grant.get(name).cloned().unwrap_or_default();
    let told =
        grants.iter().map(|grant| row(member(grant, "policy"), member(grant, "gives"), member(grant, "expires_at")));
    beyond.into_iter().chain(told).collect()
}

/// A part of a list, with how to have the next one.
pub(super) fn page(answer: &Value, columns: &[&str], option: &str, output: Output) -> Result<ExitCode, Failure> {
    if output == Output::Json {
        output::print(answer, &[], output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let items = answer.get("items").or_else(|| answer.get("holders")).unwrap_or(&Value::Null);
    output::print(items, columns, output)?;
    if let Some(next) = answer.get("next").and_then(Value::as_str) {
        line_to_stderr(&safe(&format!("there is more: {option} '{next}'")));
    }
    Ok(ExitCode::SUCCESS)
}
