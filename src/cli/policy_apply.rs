//! `policy apply` and `policy versions`: one file changed in the running gateway, and what was in force before.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use super::output::Failure;
use super::policy_diff::in_force;
use super::reach::page;
use super::run::Asking;
use crate::control::Command;
use crate::policy::PolicyFile;

/// `policy apply`
#[derive(Debug, clap::Args)]
pub struct Apply {
    /// The file with the new text; with `--delete`, the file of the policy folder
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The path inside the policy folder, as in `endpoints/erp.yaml` [default: the name of FILE]
    #[arg(long = "as", value_name = "PATH", conflicts_with = "delete")]
    pub place: Option<PolicyFile>,
    /// Delete the file
    #[arg(long)]
    pub delete: bool,
    /// The hash of the policies that the text was made from; others in force are a conflict [default: those in force now]
    #[arg(long, value_name = "HASH")]
    pub based_on: Option<String>,
}

/// `policy versions`
#[derive(Debug, clap::Args)]
pub struct Versions {
    /// Those before this one
    #[arg(long, value_name = "HASH")]
    pub before: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 20)]
    pub last: usize,
}

pub(super) fn apply(asking: &Asking, arguments: Apply) -> Result<ExitCode, Failure> {
    let Apply { file, place, delete, based_on } = arguments;
    let named = || if delete { file.to_str() } else { file.file_name().and_then(|name| name.to_str()) };
    let place = match place {
        Some(place) => place,
        None => named().unwrap_or_default().parse().map_err(Failure::invalid)?,
    };
    let text = if delete {
        None
    } else {
        let text = std::fs::read_to_string(&file);
        Some(text.map_err(|error| Failure::invalid(format!("`{}`: {error}", file.display())))?)
    };
    let line = asking.connect()?;
    let based_on = match based_on {
        Some(hash) => hash,
        None => in_force(&line)?.hash,
    };
    let answer = line.ask(Command::PolicyApply { file: place, text, delete, based_on })?;
    super::output::print(&answer, &[], asking.output)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn versions(asking: &Asking, arguments: Versions) -> Result<ExitCode, Failure> {
    let Versions { before, last } = arguments;
    let answer: Value = asking.ask(Command::PolicyVersions { before, last: Some(last) })?;
    page(&answer, &["first_used_at", "hash", "in_force", "generation", "files", "changed"], "--before", asking.output)
}
