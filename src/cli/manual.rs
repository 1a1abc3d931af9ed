//! `completions` and `man`: made from what can be typed, so they are never behind it.

use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::arguments::Arguments;
use super::output::{Failure, line_to_stderr};

pub(super) fn completions(shell: Shell) -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "erp-access", &mut text);
    // A reader that has seen enough is no failure.
    match std::io::Write::write_all(&mut std::io::stdout().lock(), &text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::other(error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

pub(super) fn pages(directory: &Path) -> Result<ExitCode, Failure> {
    clap_mangen::generate_to(Arguments::command(), directory)
        .map_err(|error| Failure::other(format!("`{}`: {error}", directory.display())))?;
    line_to_stderr(&format!("the man pages are in `{}`", directory.display()));
    Ok(ExitCode::SUCCESS)
}
