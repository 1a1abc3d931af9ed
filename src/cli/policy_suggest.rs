//! `policy suggest`: the smallest bounded policy for what a credential set really did.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::Value;

use super::arguments::Output;
use super::audit_search::moment;
use super::evidence::INTERRUPTED;
use super::output::{self, Failure, line, line_to_stderr, safe};
use super::policy_diff::in_force;
use super::policy_trail::{Wanted, Went, stream};
use super::run::Asking;
use crate::control::{ControlError, Suggestion, name_for};
use crate::domain::PolicyName;

/// `policy suggest`
#[derive(Debug, clap::Args)]
pub struct Suggest {
    /// The id or the name of a credential set
    #[arg(long, value_name = "ID_OR_NAME")]
    pub credential: String,
    /// Requests decided then or later: a moment, or how long ago, as in `24h` or `30d`
    #[arg(long, value_parser = moment, default_value = "30d")]
    pub since: Timestamp,
    /// The name of the policy [default: `suggested-` and the name of the credential set]
    #[arg(long)]
    pub name: Option<PolicyName>,
    /// Write the files into this folder instead of to standard output; a file that exists is not overwritten
    #[arg(long, value_name = "FOLDER")]
    pub to: Option<PathBuf>,
}

pub(super) fn run(asking: &Asking, arguments: &Suggest) -> Result<ExitCode, Failure> {
    let connected = asking.connect()?;
    let in_force = in_force(&connected)?;
    let holder = in_force.holder(&arguments.credential)?;
    let name = arguments.name.clone().or_else(|| name_for(holder));
    let name = name.ok_or_else(|| Failure::invalid("give a name for the policy with --name"))?;
    let policies = in_force.policies()?;
    let mut suggestion = Suggestion::new(&in_force, &policies, holder);
    let (credential, since) = (Some(holder.id), arguments.since);
    let wanted = Wanted { credential, since, until: None, earlier: policies.asks_for_bodies() };
    if stream(&connected, &wanted, |part, earlier| suggestion.take(part, earlier))? == Went::Interrupted {
        line_to_stderr("interrupted: nothing is suggested from a part of the trail");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let suggested = suggestion.finish(&in_force, &name, since)?;
    let looked_at = format!(
        "{} requests of `{}` since {since} were looked at, {} of them allowed",
        suggested.requests,
        safe(&holder.name),
        suggested.allowed
    );
    if suggested.files.is_empty() {
        return Err(ControlError::not_found(format!("{looked_at}: there is nothing to suggest a policy from")).into());
    }
    line_to_stderr(&format!("{looked_at}; nothing is granted or changed by a suggestion"));
    match (&arguments.to, asking.output) {
        (Some(folder), _) => suggested.files.iter().try_for_each(|(file, text)| write(&folder.join(file), text))?,
        (None, Output::Table) => print(&suggested.files)?,
        (None, Output::Json | Output::Ndjson | Output::Csv) => {
            let value: Value = serde_json::to_value(&suggested).map_err(Failure::other)?;
            output::print(&value, &[], asking.output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One file as it is; of several, each below its name.
fn print(files: &[(String, String)]) -> Result<(), Failure> {
    if let [(_, text)] = files {
        return line(text.trim_end());
    }
    files.iter().try_for_each(|(file, text)| line(&format!("# --- {file} ---\n{}\n", text.trim_end())))
}

fn write(file: &std::path::Path, text: &str) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).open(file);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Failure::other(format!("`{}`: {error}", file.display())))?;
    line_to_stderr(&format!("{} is to be reviewed", file.display()));
    Ok(())
}
