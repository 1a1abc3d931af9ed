//! Rows as CSV (RFC 4180): every cell quoted, lines end with CRLF, the first line names the columns.

use std::io::{self, Write};

use csv::{QuoteStyle, Terminator, WriterBuilder};
use serde_json::Value;

/// The columns: members of a row, those of its outcome with `outcome_` before them.
pub(super) const COLUMNS: [&str; 44] = [
    "seq",
    "id",
    "kind",
    "at",
    "correlation",
    "actor",
    "account",
    "credential",
    "token",
    "client",
    "method",
    "path",
    "query",
    "endpoint",
    "policy",
    "rule",
    "policy_snapshot",
    "generation",
    "decision",
    "code",
    "status",
    "verdicts",
    "detail",
    "cause",
    "node",
    "repeats",
    "schedule",
    "kill_switch",
    "tls",
    "outcome_seq",
    "outcome_at",
    "outcome_ended",
    "outcome_status",
    "outcome_code",
    "outcome_detail",
    "outcome_upstream_peer",
    "outcome_upstream_status",
    "outcome_attempts",
    "outcome_duration",
    "outcome_upstream_duration",
    "outcome_request_bytes",
    "outcome_response_bytes",
    "outcome_request_preview",
    "outcome_response_preview",
];

pub(super) fn header(out: &mut impl Write) -> io::Result<()> {
    write(COLUMNS.iter().map(|name| (*name).to_owned()), out)
}

/// Writes a row, given as JSON.
pub(super) fn row(row: &Value, out: &mut impl Write) -> io::Result<()> {
    write(COLUMNS.iter().map(|name| cell(member(row, name))), out)
}

/// Writes rows with these members, under a line with their names.
pub(super) fn table(rows: &[Value], columns: &[&str], out: &mut impl Write) -> io::Result<()> {
    write(columns.iter().map(|name| (*name).to_owned()), out)?;
    rows.iter().try_for_each(|row| write(columns.iter().map(|name| cell(row.get(*name))), out))
}

fn write(cells: impl Iterator<Item = String>, out: &mut impl Write) -> io::Result<()> {
    let mut writer = WriterBuilder::new().quote_style(QuoteStyle::Always).terminator(Terminator::CRLF).from_writer(out);
    writer.write_record(cells.map(harmless))?;
    writer.flush()
}

fn member<'r>(row: &'r Value, name: &str) -> Option<&'r Value> {
    match name.strip_prefix("outcome_") {
        Some(name) => row.get("outcome")?.get(name),
        None => row.get(name),
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// A cell that no spreadsheet takes for a formula.
// SECURITY: OWASP, CSV Injection: a client chooses path, query, method and request id; an auditor opens the file.
pub(super) fn harmless(cell: String) -> String {
    let hidden = |character: char| {
        character.is_whitespace() || character.is_control() || matches!(character, '\u{200b}'..='\u{200f}' | '\u{feff}')
    };
    let first = cell.chars().next();
    // What an import may trim hides nothing.
    let shown = cell.chars().find(|character| !hidden(*character));
    let formula = |character: char| {
        matches!(character, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '﹢' | '﹣' | '﹦' | '﹫' | '−')
    };
    let steers = first.is_some_and(|first| matches!(first, '\t' | '\r' | '\n')) || shown.is_some_and(formula);
    if steers { format!("'{cell}") } else { cell }
}
