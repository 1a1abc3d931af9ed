//! `policy lint`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::arguments::{Output, PolicyLint};
use super::output::{self, Failure, line, line_to_stderr, safe};
use super::run::{Asking, world};
use crate::config::Config;
use crate::control::Command;
use crate::domain::UpstreamName;
use crate::policy::yaml::{Problems, Severity};
use crate::policy::{Circumstances, HeldPolicy, lint};

/// Something given is not valid.
const INVALID: u8 = 7;

pub(super) fn run(asking: &Asking, arguments: &PolicyLint) -> Result<ExitCode, Failure> {
    let now = Some(world().clock.now());
    let found = match &arguments.directory {
        Some(folder) => {
            line_to_stderr("note: a folder by itself: grants and upstreams were not checked");
            lint(folder, &Circumstances { now, ..Circumstances::default() })
        }
        None => configured(asking, now)?,
    };
    print(&found, asking.output)?;
    let denied = found.count(Severity::Error) > 0 || (arguments.deny_warnings && !found.is_empty());
    Ok(if denied { ExitCode::from(INVALID) } else { ExitCode::SUCCESS })
}

/// The configured folder, with what the configuration and the grants say.
fn configured(asking: &Asking, now: Option<jiff::Timestamp>) -> Result<Problems, Failure> {
    let config = Config::load(&asking.sources).map_err(Failure::invalid)?;
    let folder: &Path = &config.policies.directory;
    let upstreams: Vec<UpstreamName> = config.upstreams.keys().cloned().collect();
    let around = Circumstances { now, upstreams: Some(&upstreams), held: None };
    let found = lint(folder, &around);
    // Without a gateway the store is opened for its grants, and with it the policies: broken ones keep it shut.
    if found.count(Severity::Error) > 0 {
        return Ok(found);
    }
    match asking.ask(Command::GrantList { credential: None, account: None }).map(|grants| held(&grants)) {
        Ok(held) => Ok(lint(folder, &Circumstances { held: Some(&held), ..around })),
        Err(failure) => {
            line_to_stderr(&safe(&format!("note: grants were not checked: {failure}")));
            Ok(found)
        }
    }
}

fn held(grants: &Value) -> Vec<HeldPolicy> {
    let text = |grant: &Value, key: &str| grant.get(key).and_then(Value::as_str).map(str::to_owned);
    let rows = grants.as_array().into_iter().flatten();
    rows.filter_map(|grant| {
        Some(HeldPolicy { holder: text(grant, "credential")?, policy: text(grant, "policy")?.parse().ok()? })
    })
    .collect()
}

fn print(found: &Problems, output: Output) -> Result<(), Failure> {
    if output != Output::Table {
        return output::print(&serde_json::to_value(&found.0).map_err(Failure::other)?, &[], output);
    }
    for problem in &found.0 {
        for text in problem.to_string().lines() {
            line(&safe(text))?;
        }
        line("")?;
    }
    line(&found.summary())
}
