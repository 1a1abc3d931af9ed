//! `policy diff`: what a proposed folder would change.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::Value;

use super::arguments::Output;
use super::output::{self, Failure, line, safe};
use super::run::{Asking, Line};
use crate::control::{Command, Difference, InForce};
use crate::policy::{PolicySet, PolicyStore};

/// Something would change, as `diff` says it.
pub(super) const DIFFERENT: u8 = 1;

/// `policy diff`
#[derive(Debug, clap::Args)]
pub struct Diff {
    /// The proposed folder, laid out as the policy folder
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

pub(super) fn run(asking: &Asking, arguments: &Diff) -> Result<ExitCode, Failure> {
    compare(asking, arguments).map_err(Failure::beside_one)
}

fn compare(asking: &Asking, arguments: &Diff) -> Result<ExitCode, Failure> {
    let proposed = load(&arguments.folder)?;
    let in_force = in_force(&asking.connect()?)?;
    let difference = Difference::of(&in_force, &in_force.policies()?, &proposed);
    let value = serde_json::to_value(&difference).map_err(Failure::other)?;
    if asking.output == Output::Table {
        lines(&value).iter().try_for_each(|text| line(text))?;
    } else {
        output::print(&value, &[], asking.output)?;
    }
    Ok(if difference.same { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

/// The policies of a proposed folder.
pub(super) fn load(folder: &Path) -> Result<Arc<PolicySet>, Failure> {
    Ok(PolicyStore::open(folder).map_err(Failure::invalid)?.current())
}

/// What is in force, as the gateway or the store says.
pub(super) fn in_force(line: &Line) -> Result<InForce, Failure> {
    serde_json::from_value(line.ask(Command::PolicyInForce)?).map_err(Failure::other)
}

fn lines(difference: &Value) -> Vec<String> {
    let generation = difference.get("generation").and_then(Value::as_u64).unwrap_or_default();
    if difference.get("same").and_then(Value::as_bool) == Some(true) {
        return vec![format!("no decision would change (compared with generation {generation})")];
    }
    let mut lines = vec![format!("compared with generation {generation}")];
    for schedule in list(difference, "schedules") {
        lines.extend([String::new(), format!("schedule {}", text(schedule, "schedule"))]);
        lines.extend(before_and_after(schedule));
    }
    for moved in list(difference, "moved") {
        lines.extend([String::new(), format!("{} is relayed elsewhere", place(moved))]);
        lines.extend(before_and_after(moved));
    }
    for policy in list(difference, "policies") {
        let holders = policy.get("holders").and_then(Value::as_u64).unwrap_or_default();
        let held = match holders {
            0 => "held by nobody".to_owned(),
            1 => "held by 1 credential set".to_owned(),
            more => format!("held by {more} credential sets"),
        };
        lines
            .extend([String::new(), format!("policy {} ({}, {held})", text(policy, "policy"), text(policy, "change"))]);
        if let [before, after] = list(policy, "limits") {
            lines.push(format!("   limits: {} → {}", shown(before), shown(after)));
        }
        lines.extend(list(policy, "endpoints").iter().map(of_endpoint));
    }
    for account in list(difference, "accounts") {
        lines.extend([String::new(), format!("account {}", text(account, "account"))]);
        lines.extend(list(account, "holders").iter().flat_map(of_holders));
    }
    lines
}

fn of_holders(holders: &Value) -> Vec<String> {
    let sets: Vec<String> = list(holders, "credentials")
        .iter()
        .map(|set| {
            format!("`{}` ({})", set.get(1).map(shown).unwrap_or_default(), set.get(0).map(shown).unwrap_or_default())
        })
        .collect();
    let held: Vec<String> = list(holders, "policies").iter().map(shown).collect();
    let held = if held.is_empty() { "nothing".to_owned() } else { held.join(", ") };
    let mut lines = vec![format!("   {}, {}, granted {held}", sets.join(", "), text(holders, "kind"))];
    lines.extend(list(holders, "endpoints").iter().map(|endpoint| format!("   {}", of_endpoint(endpoint))));
    lines
}

fn of_endpoint(endpoint: &Value) -> String {
    let sign = match text(endpoint, "change").as_str() {
        "gained" => '+',
        "lost" => '-',
        _ => '~',
    };
    format!("   {sign} {}  {}", place(endpoint), text(endpoint, "text"))
}

fn before_and_after(value: &Value) -> [String; 2] {
    let told = |key| Some(text(value, key)).filter(|text| !text.is_empty()).unwrap_or_else(|| "(not there)".to_owned());
    [format!("   - {}", told("before")), format!("   + {}", told("after"))]
}

fn place(value: &Value) -> String {
    let body = text(value, "body");
    let body = if body.is_empty() { body } else { format!(" [body: {body}]") };
    format!("{} {}{body}", text(value, "method"), text(value, "path"))
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).map(shown).unwrap_or_default()
}

fn shown(value: &Value) -> String {
    value.as_str().map(safe).unwrap_or_default()
}
