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
use crate::control::Replay as Replaying;

/// Groups shown to a person.
const SHOWN: usize = 50;

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
        Output::Table => lines(&value, since).iter().try_for_each(|text| line(text))?,
        Output::Json => output::print(&value, &[], Output::Json)?,
        Output::Ndjson | Output::Csv => {
            output::print(value.get("changes").unwrap_or(&Value::Null), &[], asking.output)?;
        }
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

fn lines(report: &Value, since: Timestamp) -> Vec<String> {
    let count = |key: &str| report.get(key).and_then(Value::as_u64).unwrap_or_default();
    let mut lines = vec![
        format!("{} requests since {since}: {} would be decided otherwise", count("requests"), count("changed")),
        format!("   {} the same, {} of these by another rule", count("same"), count("by_another_rule")),
    ];
    if count("already") > 0 {
        lines.push(format!(
            "   {} otherwise than then, but as what is in force decides already: grants or policies were changed since, or an operator had set the hours aside",
            count("already")
        ));
    }
    for (key, what) in [("out_of_scope", "denied by another step"), ("not_told", "cannot be decided again")] {
        let counts = report.get(key).and_then(Value::as_object).into_iter().flatten();
        lines.extend(counts.map(|(why, count)| format!("   {count} {what}: {}", safe(why))));
    }
    for (key, title) in
        [("changes", "would be decided otherwise"), ("already_so", "decided otherwise already by what is in force")]
    {
        let groups = report.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if !groups.is_empty() {
            lines.extend([String::new(), title.to_owned()]);
        }
        lines.extend(groups.iter().take(SHOWN).flat_map(of_group));
        if groups.len() > SHOWN {
            lines.push(format!("   … and {} more groups; -o json lists them", groups.len() - SHOWN));
        }
    }
    if count("ungrouped") > 0 {
        lines.push(format!("   … and {} requests in more groups than are told apart", count("ungrouped")));
    }
    lines
}

fn of_group(group: &Value) -> [String; 3] {
    let becomes = text(group, "becomes");
    let sign = if becomes == "allowed" { '+' } else { '-' };
    let requests = group.get("requests").and_then(Value::as_u64).unwrap_or_default();
    let noun = if requests == 1 { "request" } else { "requests" };
    let account = Some(text(group, "account")).filter(|name| !name.is_empty());
    let account = account.map_or_else(String::new, |name| format!(" of account `{name}`"));
    let example = group.get("example").unwrap_or(&Value::Null);
    [
        format!(
            "   {sign} {requests} {noun} of `{}` ({}){account} would be {becomes}",
            text(group, "name"),
            text(group, "credential")
        ),
        format!("        {} → {}", text(group, "before"), text(group, "after")),
        format!(
            "        such as {} at {}: {} {}",
            text(example, "id"),
            text(example, "at"),
            text(example, "method"),
            text(example, "path")
        ),
    ]
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).map(safe).unwrap_or_default()
}
