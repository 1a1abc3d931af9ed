//! `policy import`.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use super::arguments::PolicyImport;
use super::output::{Failure, line, line_to_stderr, safe};
use super::run::Asking;
use crate::config::Config;
use crate::domain::UpstreamName;
use crate::policy::{Imported, KnownEndpoints, LARGEST_DOCUMENT, LeftOut, import_openapi};

pub(super) fn run(asking: &Asking, arguments: &PolicyImport) -> Result<ExitCode, Failure> {
    let PolicyImport::Openapi { file, upstream, write } = arguments;
    if let Some(path) = write
        && path.exists()
    {
        return Err(Failure::invalid(format!("`{}` exists already; nothing was written", path.display())));
    }
    let (upstream, known) = upstream_and_known(asking, upstream.as_ref())?;
    let imported = import_openapi(file, &read(file)?, &upstream, &known).map_err(Failure::invalid)?;
    match write {
        Some(path) => write_new(path, &imported.text)?,
        None => line(imported.text.trim_end())?,
    }
    tell(&imported);
    Ok(ExitCode::SUCCESS)
}

/// The upstream, and what is mapped already.
fn upstream_and_known(
    asking: &Asking,
    given: Option<&UpstreamName>,
) -> Result<(UpstreamName, KnownEndpoints), Failure> {
    let config = match (Config::load(&asking.sources), given) {
        (Ok(config), _) => config,
        (Err(_), Some(upstream)) => {
            line_to_stderr("note: without a configuration, what is mapped already was not looked at");
            return Ok((upstream.clone(), KnownEndpoints::default()));
        }
        (Err(errors), None) => return Err(Failure::invalid(format!("{errors}\nor give --upstream NAME"))),
    };
    let mut configured = config.upstreams.keys();
    let upstream = match (given, configured.next(), configured.next()) {
        (Some(given), _, _) => given.clone(),
        (None, Some(only), None) => only.clone(),
        (None, _, _) => return Err(Failure::invalid("several upstreams are configured; give --upstream NAME")),
    };
    let folder = &config.policies.directory;
    let known = KnownEndpoints::of(folder)
        .map_err(|error| Failure::other(format!("the policy folder `{}`: {error}", folder.display())))?;
    Ok((upstream, known))
}

/// The document, at most one byte more than is taken.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| Failure::other(format!("`{}`: {error}", file.display()));
    let most = u64::try_from(LARGEST_DOCUMENT).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    std::fs::File::open(file).map_err(failed)?.take(most).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::other(format!("`{}`: {error}", path.display()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    line(&format!("written: {}", path.display()))
}

fn tell(imported: &Imported) {
    for LeftOut { operation, why } in &imported.left_out {
        line_to_stderr(&safe(&format!("left out: {operation}: {why}")));
    }
    line_to_stderr(&format!(
        "endpoints proposed: {}, operations left out: {}; nothing is allowed by importing",
        imported.endpoints,
        imported.left_out.len()
    ));
}
