//! Audit rows for other programs: JSON lines, a table for spreadsheets, OCSF events for a SIEM.

mod ocsf;
mod spreadsheet;

use std::io::{self, Write};

use strum::{EnumString, IntoStaticStr, VariantNames};

use super::Row;

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Format {
    /// One JSON document a line, as `audit show -o json` has it.
    Ndjson,
    /// Comma-separated values (RFC 4180); cells that a spreadsheet would run as a formula begin with an apostrophe.
    Csv,
    /// One event of the Open Cybersecurity Schema Framework a line, as JSON.
    Ocsf,
}

impl Format {
    /// The name, as typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Rows of any kind as CSV, with these members as columns.
///
/// # Errors
/// When it cannot be written.
pub fn write_table(rows: &[serde_json::Value], columns: &[&str], out: &mut impl Write) -> io::Result<()> {
    spreadsheet::table(rows, columns, out)
}

/// Writes what stands before the first row.
///
/// # Errors
/// When it cannot be written.
pub fn write_header(format: Format, out: &mut impl Write) -> io::Result<()> {
    match format {
        Format::Csv => spreadsheet::header(out),
        Format::Ndjson | Format::Ocsf => Ok(()),
    }
}

/// Writes one row.
///
/// # Errors
/// When it cannot be written.
pub fn write_row(format: Format, row: &Row, out: &mut impl Write) -> io::Result<()> {
    match format {
        Format::Csv => spreadsheet::row(&serde_json::to_value(row)?, out),
        Format::Ndjson => line(row, out),
        Format::Ocsf => line(&ocsf::event(row), out),
    }
}

fn line(value: &impl serde::Serialize, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests;
