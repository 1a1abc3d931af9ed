//! `policy diff`: what a proposed folder would change.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::arguments::Output;
use super::output::{self, Failure, line, safe};
use super::run::{Asking, Line};
use crate::control::{Command, Difference, InForce, difference_in_words};
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
        difference_in_words(&value).iter().try_for_each(|text| line(&safe(text)))?;
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
    serde_json::from_value(line.ask(Command::PolicyInForce { without_holders: false })?).map_err(Failure::other)
}
