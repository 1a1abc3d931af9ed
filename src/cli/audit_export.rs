//! `audit export` and `audit tail`: rows in the order of the trail, as a stream.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr as _;
use std::time::Duration;

use serde_json::Value;

use super::arguments::Output;
use super::audit_search::AuditFilter;
use super::evidence::{INTERRUPTED, bar};
use super::output::{self, Failure, line, line_to_stderr, safe};
use super::run::Asking;
use crate::audit::export::{self as formats, Format};
use crate::audit::{Passed, Row};
use crate::control::{AuditQuery, Command};

/// How long `tail --follow` waits before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// `audit export`
#[derive(Debug, clap::Args)]
pub struct Export {
    /// `ndjson`: a JSON document a line; `csv`: with a header, and no cell that a spreadsheet would run; `ocsf`: events
    /// of the Open Cybersecurity Schema Framework, one a line
    #[arg(long, value_parser = Format::from_str, default_value = Format::Ndjson.name())]
    pub(super) format: Format,
    /// Where to write; a file that exists is not overwritten [default: standard output]
    #[arg(long)]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub filter: AuditFilter,
}

/// `audit tail`
#[derive(Debug, clap::Args)]
pub struct Tail {
    /// Go on with new rows as they end, until interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// How many to begin with
    #[arg(long, default_value_t = 10)]
    pub last: usize,
    #[command(flatten)]
    pub filter: AuditFilter,
}

pub(super) fn export(asking: &Asking, arguments: Export) -> Result<ExitCode, Failure> {
    let Export { format, file, filter } = arguments;
    let failed = |error: io::Error| match &file {
        Some(file) => Failure::other(format!("`{}`: {error}", file.display())),
        None => Failure::other(error),
    };
    let mut out: Box<dyn Write> = match &file {
        Some(file) => {
            let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
            Box::new(BufWriter::new(opened))
        }
        None => Box::new(BufWriter::new(io::stdout().lock())),
    };
    let query = Box::new(AuditQuery::from(filter));
    let connected = asking.connect()?;
    let bar = bar("records");
    let (mut after, mut through, mut rows) = (None, None, 0_usize);
    formats::write_header(format, &mut out).map_err(failed)?;
    loop {
        let command = Command::AuditExport { query: query.clone(), format: format.name().to_owned(), after, through };
        let Some(answer) = connected.ask_unless_interrupted(command)? else {
            out.flush().map_err(failed)?;
            line_to_stderr("interrupted: what was written is not the whole");
            return Ok(ExitCode::from(INTERRUPTED));
        };
        let passed: Passed = serde_json::from_value(answer).map_err(Failure::other)?;
        for row in &passed.rows {
            formats::write_row(format, row, &mut out).map_err(failed)?;
        }
        rows += passed.rows.len();
        bar.set_length(passed.end.unsigned_abs());
        bar.set_position(passed.checked_to.unsigned_abs());
        if passed.checked_to >= passed.end {
            break;
        }
        (after, through) = (Some(passed.checked_to), Some(passed.end));
    }
    out.flush().map_err(failed)?;
    bar.finish_and_clear();
    if let Some(file) = &file {
        line_to_stderr(&format!("{rows} rows are in {}", file.display()));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn tail(asking: &Asking, arguments: Tail) -> Result<ExitCode, Failure> {
    let Tail { follow, last, filter } = arguments;
    let connected = asking.connect()?;
    let query = AuditQuery::from(filter);
    let forward = |after: Option<i64>| Command::AuditForward { query: Box::new(query.clone()), after };
    let start = passed(connected.ask(forward(None))?)?.end;
    let newest = AuditQuery { last: last.max(1), before: Some(start.saturating_add(1)), ..query.clone() };
    if last > 0 {
        let rows = connected.ask(Command::AuditSearch(Box::new(newest)))?;
        let rows: Vec<Row> = serde_json::from_value(rows).map_err(Failure::other)?;
        // A relay in progress is shown when it ends.
        let over = |row: &&Row| match &row.outcome {
            Some(outcome) => outcome.seq <= start,
            None => row.kind != "relay" || row.decision != "allowed",
        };
        rows.iter().rev().filter(over).try_for_each(|row| print(row, asking.output))?;
    }
    if !follow {
        return Ok(ExitCode::SUCCESS);
    }
    let mut after = start;
    while let Some(answer) = connected.ask_unless_interrupted(forward(Some(after)))? {
        let passed = passed(answer)?;
        passed.rows.iter().try_for_each(|row| print(row, asking.output))?;
        after = passed.checked_to;
        if after >= passed.end && !connected.wait(LOOK_AGAIN) {
            break;
        }
    }
    Ok(ExitCode::from(INTERRUPTED))
}

fn passed(answer: Value) -> Result<Passed, Failure> {
    serde_json::from_value(answer).map_err(Failure::other)
}

fn print(row: &Row, format: Output) -> Result<(), Failure> {
    let value = serde_json::to_value(row).map_err(Failure::other)?;
    match format {
        Output::Table => line(&safe(&format!("{}  {}", row.id, crate::demo::audit_line(&value)))),
        Output::Json | Output::Ndjson => output::print(&value, &[], Output::Ndjson),
        Output::Csv => formats::write_row(Format::Csv, row, &mut std::io::stdout().lock()).map_err(Failure::other),
    }
}
