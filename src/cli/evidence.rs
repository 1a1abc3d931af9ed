//! `audit verify`, `audit checkpoint`, `audit prune`.

use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::arguments::Output;
use super::audit_search::moment;
use super::output::{self, Failure, line, safe};
use super::run::Asking;
use crate::audit::{Checkpoint, Finding, Position, Progress, verify_copy};
use crate::control::Command;

/// Interrupted by a person.
pub(super) const INTERRUPTED: u8 = 130;
/// Findings listed at most; the first one matters most.
const LISTED: usize = 100;

/// `audit verify`
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// Begin at this record, trusting what lies before it; what an interrupted run says to go on with
    #[arg(long, value_name = "SEQ")]
    pub from: Option<i64>,
    /// Compare the history with this checkpoint, made earlier with `audit checkpoint`
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Check this copy of an `audit.db` instead, without any key: the chain and the checkpoint alone
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub database: Option<PathBuf>,
}

/// `audit prune`
#[derive(Debug, clap::Args)]
pub struct Prune {
    /// Remove rows sealed before then: a moment, or how long ago, as in `400d`
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    pub older_than: Timestamp,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// What a whole verification found.
#[derive(Default)]
struct Verified {
    findings: Vec<Finding>,
    total: usize,
    position: Position,
    clean_stop: Option<bool>,
    interrupted: bool,
}

pub(super) fn verify(asking: &Asking, arguments: &Verify) -> Result<ExitCode, Failure> {
    let checkpoint = arguments.checkpoint.as_deref().map(read_checkpoint).transpose()?;
    let verified = match &arguments.database {
        Some(file) => verify_file(file, checkpoint.as_ref())?,
        None => verify_live(asking, arguments.from, checkpoint.as_ref())?,
    };
    report(&verified, arguments, checkpoint.as_ref(), asking.output)
}

fn read_checkpoint(file: &Path) -> Result<Checkpoint, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::invalid(format!("`{}`: {error}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
    let checkpoint: Checkpoint =
        serde_json::from_str(&text).map_err(|error| wrong(&format!("is not a checkpoint: {error}")))?;
    if checkpoint.is_signed() {
        Ok(checkpoint)
    } else {
        Err(wrong(&"its signature is not right; the file was changed"))
    }
}

fn verify_live(asking: &Asking, from: Option<i64>, checkpoint: Option<&Checkpoint>) -> Result<Verified, Failure> {
    let line = asking.connect()?;
    let mut from = from;
    walk(|position| {
        let position = Some(position).filter(|_| from.is_none());
        let command = Command::AuditVerify { position, from: from.take(), checkpoint: checkpoint.cloned() };
        match line.ask_unless_interrupted(command)? {
            Some(answer) => serde_json::from_value(answer).map(Some).map_err(Failure::other),
            None => Ok(None),
        }
    })
}

fn verify_file(file: &Path, checkpoint: Option<&Checkpoint>) -> Result<Verified, Failure> {
    walk(|position| {
        let failed = |error| Failure::other(format!("`{}`: {error}", file.display()));
        verify_copy(file, position, checkpoint).map(Some).map_err(failed)
    })
}

fn walk(mut next: impl FnMut(Position) -> Result<Option<Progress>, Failure>) -> Result<Verified, Failure> {
    let bar = bar("records");
    let mut verified = Verified::default();
    loop {
        let Some(progress) = next(verified.position.clone())? else {
            verified.interrupted = true;
            break;
        };
        verified.total += progress.findings.len();
        let room = LISTED.saturating_sub(verified.findings.len());
        verified.findings.extend(progress.findings.into_iter().take(room));
        bar.set_length(progress.end.unsigned_abs());
        bar.set_position(progress.position.checked_to.unsigned_abs());
        verified.position = progress.position;
        if progress.done {
            verified.clean_stop = progress.clean_stop;
            break;
        }
    }
    bar.finish_and_clear();
    Ok(verified)
}

/// A progress bar on standard error, where a person is looking.
pub(super) fn bar(unit: &str) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let template = format!("{{bar:40}} {{pos}}/{{len}} {unit}, {{eta}} left");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(0), target).with_style(style)
}

fn report(
    verified: &Verified,
    arguments: &Verify,
    checkpoint: Option<&Checkpoint>,
    format: Output,
) -> Result<ExitCode, Failure> {
    let position = &verified.position;
    let intact = verified.total == 0;
    if format == Output::Table {
        for finding in &verified.findings {
            line(&safe(&format!("DAMAGED at {}: {}", finding.seq, finding.text)))?;
        }
        if verified.total > verified.findings.len() {
            line(&format!("… and {} more", verified.total - verified.findings.len()))?;
        }
        for text in remarks(verified, arguments, checkpoint) {
            line(&text)?;
        }
    } else {
        let document = json!({
            "intact": intact && !verified.interrupted, "findings": verified.findings, "findings_total": verified.total,
            "records": position.records, "checked_to": position.checked_to, "pruned_to": position.pruned_to,
            "unsealed_to": position.unsealed_to, "clean_stop": verified.clean_stop, "interrupted": verified.interrupted,
        });
        output::print(&document, &[], format)?;
    }
    Ok(match (verified.interrupted, intact) {
        (true, _) => ExitCode::from(INTERRUPTED),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}

fn remarks(verified: &Verified, arguments: &Verify, checkpoint: Option<&Checkpoint>) -> Vec<String> {
    let position = &verified.position;
    let mut remarks = Vec::new();
    if position.unsealed_to > 0 {
        remarks.push(format!(
            "records up to {} were written before rows were sealed; they cannot be checked",
            position.unsealed_to
        ));
    }
    if let Some(pruned) = position.pruned_to {
        remarks.push(format!("records up to {pruned} were pruned"));
    }
    if verified.interrupted {
        let next = position.checked_to.saturating_add(1);
        remarks.push(format!("interrupted; go on with `erp-access audit verify --from {next}`"));
        return remarks;
    }
    if verified.total > 0 {
        return remarks;
    }
    if let Some(checkpoint) = checkpoint {
        let (at, key) = (checkpoint.sealed_at, &checkpoint.public_key);
        remarks.push(format!(
            "the history up to {} is that of the checkpoint of {at} (public key {key})",
            checkpoint.sequence
        ));
    }
    let since = arguments.from.map_or(String::new(), |from| format!(" from {from} on"));
    let how = if arguments.database.is_some() { " (the chain alone; seals need the APP_KEY)" } else { "" };
    remarks.push(format!("intact: {} records{since}, sealed up to {}{how}", position.records, position.checked_to));
    remarks.push(match verified.clean_stop {
        Some(true) => "the trail ends with an orderly stop".to_owned(),
        Some(false) => {
            "the trail does not end with a stop: the gateway runs, or ended by a crash; no sealed record is missing"
                .to_owned()
        }
        None => "the trail is empty".to_owned(),
    });
    remarks
}

pub(super) fn checkpoint(asking: &Asking, file: Option<&Path>) -> Result<ExitCode, Failure> {
    let checkpoint = asking.ask(Command::AuditCheckpoint)?;
    let text = serde_json::to_string_pretty(&checkpoint).map_err(Failure::other)?;
    let Some(file) = file else {
        line(&text)?;
        return Ok(ExitCode::SUCCESS);
    };
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o644).open(file);
    opened
        .and_then(|mut file| writeln!(file, "{text}"))
        .map_err(|error| Failure::other(format!("`{}`: {error}", file.display())))?;
    let sequence = checkpoint.get("sequence").and_then(Value::as_i64).unwrap_or_default();
    line(&format!(
        "the history up to record {sequence} is attested in {}; keep it outside of this host",
        file.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn prune(asking: &Asking, arguments: &Prune) -> Result<ExitCode, Failure> {
    let connected = asking.connect()?;
    let before = arguments.older_than;
    let would = connected.ask(Command::AuditPrune { before, dry_run: true })?;
    let number = |answer: &Value, key: &str| answer.get(key).and_then(Value::as_i64).unwrap_or_default();
    let records = number(&would, "records");
    if records == 0 || arguments.dry_run {
        if asking.output != Output::Table {
            output::print(&would, &[], asking.output)?;
        } else if records == 0 {
            let held = would.get("shipped_to").and_then(Value::as_i64);
            let held =
                held.map_or(String::new(), |to| format!(" and delivered by every sink (all is up to record {to})"));
            line(&format!("no sealed span is older than {before}{held}"))?;
        } else {
            line(&format!("{records} records up to {} would be removed", number(&would, "through")))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    output::confirm(
        arguments.yes,
        &format!("This removes {records} audit records sealed before {before}, for good."),
        "prune",
    )?;
    let done = connected.ask(Command::AuditPrune { before, dry_run: false })?;
    if asking.output == Output::Table {
        let (records, through) = (number(&done, "records"), number(&done, "through"));
        line(&format!("{records} records up to {through} were removed; the row that says so is sealed"))?;
    } else {
        output::print(&done, &[], asking.output)?;
    }
    Ok(ExitCode::SUCCESS)
}
