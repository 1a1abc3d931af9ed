//! The one time that secrets are shown, or written to a file.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::arguments::Output;
use super::output::{self, Failure, line, line_to_stderr};

/// What was issued, and which of its members are shown under which names.
pub(super) struct ShownOnce<'a> {
    /// As in `credential set 019ab7c2…`.
    pub(super) what: &'static str,
    /// The member that names it.
    pub(super) id: &'static str,
    pub(super) rows: &'static [(&'static str, &'static str)],
    pub(super) issued: &'a Value,
}

/// A file that is there already is never overwritten, so this is asked before anything is issued.
pub(super) fn file_is_free(file: Option<&Path>) -> Result<(), Failure> {
    match file {
        Some(file) if file.exists() => {
            Err(Failure::invalid(format!("`{}` exists already; nothing was issued", file.display())))
        }
        _ => Ok(()),
    }
}

/// Shows the secrets, or writes them to a new file with mode 0600.
pub(super) fn show(once: &ShownOnce<'_>, file: Option<&Path>, output: Output) -> Result<ExitCode, Failure> {
    let text = |key: &str| once.issued.get(key).and_then(Value::as_str).unwrap_or_default();
    let (what, id) = (once.what, text(once.id));
    if let Some(file) = file {
        let secrets: Value = once
            .rows
            .iter()
            .map(|(_, key)| ((*key).to_owned(), Value::from(text(key))))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
        let written = opened.and_then(|mut file| writeln!(file, "{secrets:#}"));
        written.map_err(|error| {
            Failure::other(format!(
                "`{}`: {error}; the secrets are lost: end {what} {id} and issue another",
                file.display()
            ))
        })?;
        line(&format!("{what} {id} issued; its secrets are in {}", file.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    if output != Output::Table {
        output::print(once.issued, &[], output)?;
        return Ok(ExitCode::SUCCESS);
    }
    line("┌─ shown once, never again ───────────────────────────────────────────────")?;
    for (label, key) in once.rows {
        line(&format!("│ {label:<11} {}", text(key)))?;
    }
    line("└─────────────────────────────────────────────────────────────────────────")?;
    line_to_stderr(&format!("Store them now. A lost secret cannot be shown again; end the {what} and issue another."));
    Ok(ExitCode::SUCCESS)
}
