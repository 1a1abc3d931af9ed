//! `policy schema`.

use std::process::ExitCode;

use super::arguments::PolicySchema;
use super::output::{Failure, line};
use super::run::Asking;
use crate::config::Config;
use crate::policy::schemas;

pub(super) fn run(asking: &Asking, arguments: &PolicySchema) -> Result<ExitCode, Failure> {
    let folder = match &arguments.directory {
        Some(folder) => folder.clone(),
        None => Config::load(&asking.sources).map_err(Failure::invalid)?.policies.directory,
    };
    for schema in schemas() {
        let path = folder.join(schema.name);
        std::fs::write(&path, schema.text())
            .map_err(|error| Failure::other(format!("`{}`: {error}", path.display())))?;
        line(&format!("written: {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
