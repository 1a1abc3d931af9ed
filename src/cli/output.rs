//! How results and failures are printed. Text from outside is made safe for a terminal.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

use crate::audit::export;
use crate::control::{ControlError, ErrorKind};

use super::arguments::Output;

/// There is no such thing.
const NOT_FOUND: u8 = 4;

/// Why a command failed, with its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Failure in general: exit code 1.
    pub(super) fn other(message: impl Display) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    /// Something that cannot be reached: exit code 6.
    pub(super) fn unreachable(message: impl Display) -> Self {
        Self { code: 6, message: message.to_string() }
    }

    /// Something that the command needs was not given: exit code 2.
    pub(super) fn incomplete(message: impl Display) -> Self {
        Self { code: 2, message: message.to_string() }
    }

    /// What is there does not allow it: exit code 5.
    pub(super) fn conflict(message: impl Display) -> Self {
        Self { code: 5, message: message.to_string() }
    }

    /// Something given is not valid: exit code 7.
    pub(super) fn invalid(message: impl Display) -> Self {
        Self { code: 7, message: message.to_string() }
    }

    /// Whether there is no such thing.
    pub(super) fn is_not_found(&self) -> bool {
        self.code == NOT_FOUND
    }

    /// The same for a command whose exit code 1 says something else: a failure in general is 2 there.
    pub(super) fn beside_one(self) -> Self {
        Self { code: if self.code == 1 { 2 } else { self.code }, ..self }
    }

    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let code = match error.kind {
            ErrorKind::NotFound => NOT_FOUND,
            ErrorKind::Conflict | ErrorKind::Stale => 5,
            ErrorKind::Invalid => 7,
            ErrorKind::Incomplete => 2,
            ErrorKind::Forbidden => 3,
            ErrorKind::Upstream => 6,
            ErrorKind::Failed => 1,
        };
        Self { code, message: error.message }
    }
}

/// Writes a line to standard output.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{text}").map_err(Failure::other)
}

/// Writes a line to standard error; what cannot be written there is lost.
pub(super) fn line_to_stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Tells a person that requests are stopped; in red where somebody looks at it.
pub(super) fn shout(text: &str) {
    use std::io::IsTerminal as _;
    if io::stderr().is_terminal() { line_to_stderr(&format!("\x1b[1;31m{text}\x1b[0m")) } else { line_to_stderr(text) }
}

/// Asks a person to type a word before something that cannot be taken back; without a person `--yes` is needed.
pub(super) fn confirm(yes: bool, what: &str, word: &str) -> Result<(), Failure> {
    use std::io::{BufRead as _, IsTerminal as _};
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::incomplete(format!("{what} Give --yes to go on without being asked.")));
    }
    line_to_stderr(&format!("{what}\nType `{word}` to go on:"));
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed).map_err(Failure::other)?;
    if typed.trim() == word { Ok(()) } else { Err(Failure::other("not confirmed; nothing was changed")) }
}

/// Text from outside without anything that could steer a terminal.
pub(super) fn safe(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let steers = character.is_control()
                || matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let (kept, escaped) =
                if steers { (None, Some(character.escape_unicode())) } else { (Some(character), None) };
            kept.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

/// Prints a result: a list of objects as a table with these columns, or as JSON.
pub(super) fn print(value: &Value, columns: &[&str], output: Output) -> Result<(), Failure> {
    match (output, value) {
        (Output::Json, _) => line(&serde_json::to_string_pretty(value).map_err(Failure::other)?),
        (Output::Csv, Value::Array(rows)) => csv(rows, columns),
        (Output::Csv, _) => csv(std::slice::from_ref(value), columns),
        (Output::Ndjson, Value::Array(rows)) => rows.iter().try_for_each(|row| line(&row.to_string())),
        (Output::Ndjson, _) => line(&value.to_string()),
        (Output::Table, Value::Array(rows)) if rows.is_empty() => {
            line_to_stderr("(nothing)");
            Ok(())
        }
        (Output::Table, Value::Array(rows)) => line(&table(rows, columns)),
        (Output::Table, Value::Object(members)) => {
            members.iter().try_for_each(|(name, member)| line(&format!("{name:<16} {}", cell(member))))
        }
        (Output::Table, other) => line(&cell(other)),
    }
}

/// Without columns, all members of the first row are columns.
fn csv(rows: &[Value], columns: &[&str]) -> Result<(), Failure> {
    let members = rows.first().and_then(Value::as_object);
    let all: Vec<&str> = members.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let columns = if columns.is_empty() { &all } else { columns };
    export::write_table(rows, columns, &mut io::stdout().lock()).map_err(Failure::other)
}

fn table(rows: &[Value], columns: &[&str]) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::TableStyle::new()).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| column.replace('_', " ").to_uppercase()));
    for row in rows {
        table.add_row(columns.iter().map(|column| row.get(*column).map(cell).unwrap_or_default()));
    }
    table.to_string()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => safe(text),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let said = members.iter().filter(|(_, member)| !member.is_null());
            let said: Vec<_> = said.map(|(name, member)| format!("{}={}", safe(name), cell(member))).collect();
            if said.is_empty() { "-".to_owned() } else { said.join(" ") }
        }
        Value::Bool(_) | Value::Number(_) => safe(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_would_steer_a_terminal_is_escaped() {
        assert_eq!(safe("a\u{1b}[31mb\nc\u{202e}d"), "a\\u{1b}[31mb\\u{a}c\\u{202e}d");
    }
}
