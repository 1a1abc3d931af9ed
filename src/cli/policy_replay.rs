//! `policy replay`: the recorded requests before a proposed folder.

use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::Value;

use super::arguments::Output;
use super::audit_search::moment;
use super::evidence::INTERRUPTED;
use super::output::{self, Failure, line, line_to_stderr, safe};
use super::policy_diff::{DIFFERENT, in_force, load};
use super::policy_trail::{Wanted, Went, stream};
use super::run::Asking;
use crate::control::{Replay as Replaying, replay_in_words};

/// `policy replay`
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// The proposed folder, laid out as the policy folder
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Requests decided then or later: a moment, or how long ago, as in `24h` or `7d`
    #[arg(long, value_parser = moment, default_value = "7d")]
    pub since: Timestamp,
    /// Requests decided before then
    #[arg(long, value_parser = moment)]
    pub until: Option<Timestamp>,
    /// Requests of one credential set, by its id or name
    #[arg(long, value_name = "ID_OR_NAME")]
    pub credential: Option<String>,
}

pub(super) fn run(asking: &Asking, arguments: &Replay) -> Result<ExitCode, Failure> {
    replay(asking, arguments).map_err(Failure::beside_one)
}

fn replay(asking: &Asking, arguments: &Replay) -> Result<ExitCode, Failure> {
    let proposed = load(&arguments.folder)?;
    let connected = asking.connect()?;
    let in_force = in_force(&connected)?;
    let current = in_force.policies()?;
    let mut replaying = Replaying::new(&in_force, &current, &proposed);
    let asked = arguments.credential.as_deref().map(|text| in_force.holder(text)).transpose()?;
    let (credential, since, until) = (asked.map(|holder| holder.id), arguments.since, arguments.until);
    let wanted = Wanted { credential, since, until, earlier: proposed.asks_for_bodies() };
    if stream(&connected, &wanted, |part, earlier| replaying.take(part, earlier))? == Went::Interrupted {
        line_to_stderr("interrupted: nothing is told of a part of the trail");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let report = replaying.finish();
    let same = report.is_same();
    let value = serde_json::to_value(report).map_err(Failure::other)?;
    match asking.output {
        Output::Table => replay_in_words(&value, since).iter().try_for_each(|text| line(&safe(text)))?,
        Output::Json => output::print(&value, &[], Output::Json)?,
        Output::Ndjson | Output::Csv => {
            output::print(value.get("changes").unwrap_or(&Value::Null), &[], asking.output)?;
        }
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}
