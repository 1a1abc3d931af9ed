//! `db`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use serde_json::{Value, json};

use super::arguments::{Db, Output};
use super::db_arguments::{Backup, Restore};
use super::output::{self, Failure, line, line_to_stderr, safe};
use super::run::{Asking, world};
use super::serve;
use crate::app::restore::{self, Prepared, RestoreError, Revocations, Source, WithAudit};
use crate::app::{Core, StartError};
use crate::config::{Config, read_secret_file};
use crate::control::{ArchiveError, Command, os_user};
use crate::domain::Actor;
use crate::store::StoreError;

/// The text of a public key for backups is shorter than this.
const PUBLIC_KEY: u64 = 4096;

pub(super) fn run(asking: &Asking, verb: Db) -> Result<ExitCode, Failure> {
    match verb {
        Db::Migrate => serve::migrate(&asking.sources),
        Db::Backup(arguments) => back_up(asking, &arguments),
        Db::BackupKey { file } => make_key(&file),
        Db::Restore(arguments) => restore(asking, &arguments),
    }
}

fn make_key(file: &Path) -> Result<ExitCode, Failure> {
    let identity = Identity::generate();
    let failed = |error| Failure::other(format!("`{}`: {error}", file.display()));
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    // The form that `age-keygen` writes, so that `age` reads it.
    writeln!(out, "# public key: {}", identity.to_public()).map_err(failed)?;
    // SECURITY: the one place where the secret half leaves the process.
    writeln!(out, "{}", identity.to_string().expose_secret()).and_then(|()| out.sync_all()).map_err(failed)?;
    line_to_stderr(&format!("{} holds the secret half; keep it away from the gateway", file.display()));
    line(&identity.to_public().to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn back_up(asking: &Asking, arguments: &Backup) -> Result<ExitCode, Failure> {
    if let Some(file) = arguments.file.as_deref().filter(|file| file.exists()) {
        return Err(Failure::conflict(format!("`{}` exists already; nothing was backed up", file.display())));
    }
    let encrypt_to = arguments.encrypt_to.as_deref().map(public_key).transpose()?;
    let mut made = asking.ask(Command::DbBackup { encrypt_to })?;
    let made_file = made.get("file").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(file) = &arguments.file {
        move_to(Path::new(&made_file), file).map_err(|error| {
            Failure::other(format!("`{}`: {error}; the backup is in `{}`", file.display(), safe(&made_file)))
        })?;
        if let Some(members) = made.as_object_mut() {
            members.insert("file".into(), json!(file.display().to_string()));
        }
    }
    output::print(&made, &[], asking.output)?;
    Ok(ExitCode::SUCCESS)
}

/// A public key, or what a file holds that is named so.
fn public_key(text: &str) -> Result<String, Failure> {
    if text.starts_with("age1") {
        return Ok(text.to_owned());
    }
    let failed = |error: &dyn std::fmt::Display| Failure::invalid(format!("`{text}`: {error}"));
    let mut held = String::new();
    let file = File::open(text).map_err(|error| failed(&error))?;
    io::Read::read_to_string(&mut io::Read::take(file, PUBLIC_KEY), &mut held).map_err(|error| failed(&error))?;
    let key = held.lines().map(str::trim).find(|line| line.starts_with("age1"));
    key.map(str::to_owned).ok_or_else(|| failed(&"holds no public key (age1…)"))
}

/// Moves a file, also to another disk; the new one is on disk before the old one goes.
fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let copied = io::copy(&mut source, &mut out).and_then(|_| out.sync_all());
    if let Err(error) = copied {
        let _ = fs::remove_file(to);
        return Err(error);
    }
    fs::remove_file(from)
}

fn restore(asking: &Asking, arguments: &Restore) -> Result<ExitCode, Failure> {
    let config = Config::load(&asking.sources).map_err(Failure::invalid)?;
    let identity = arguments.decrypt_with.as_deref().map(identity).transpose()?;
    let with_audit = if arguments.with_audit { WithAudit::Replace } else { WithAudit::Keep };
    let prepared = restore::prepare(&config, &world(), &arguments.file, identity.as_ref(), with_audit)?;
    show(&prepared, asking.output)?;
    if arguments.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let revocations = revocations(&prepared, arguments)?;
    output::confirm(arguments.yes, "The databases will be replaced by this backup.", "restore")?;
    let actor = Actor::Operator(os_user(rustix::process::getuid().as_raw()));
    let report = prepared.carry_out(actor, revocations)?;
    // Opens as the gateway will, and gives the changes of the restore their rows.
    Core::open(&config, &world())
        .map_err(|error| Failure::other(format!("the backup is in place, and does not open: {error}")))?;
    for failed in &report.not_kept {
        line_to_stderr(&format!("could not be taken away again: {}", safe(failed)));
    }
    line_to_stderr(&format!("restored; the files that were there end with `{}`", report.aside));
    Ok(if report.not_kept.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn identity(file: &Path) -> Result<Identity, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::invalid(format!("`{}`: {error}", file.display()));
    let text = read_secret_file(file).map_err(|error| failed(&error))?;
    let key = text.expose().lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    key.unwrap_or_default().parse().map_err(|error: &str| failed(&error))
}

fn show(prepared: &Prepared, output: Output) -> Result<(), Failure> {
    let Prepared { manifest, since, audit, warnings, .. } = prepared;
    let revocations: Vec<_> = since.revocations.iter().map(ToString::to_string).collect();
    if output != Output::Table {
        let shown = json!({
            "manifest": manifest, "known_from": source(since.source), "revocations": revocations, "lost": since.lost,
            "audit": audit, "warnings": warnings,
        });
        return output::print(&shown, &[], output);
    }
    let (made_at, node, changes) = (manifest.made_at, safe(&manifest.node), manifest.change);
    line(&format!("verified: a backup of {made_at} by {node}, with {changes} changes of state"))?;
    line(audit)?;
    for warning in warnings {
        line(&format!("warning: {}", safe(warning)))?;
    }
    match since.source {
        Source::Nothing => line("nothing here tells what was taken away since the backup was made"),
        Source::State | Source::Audit if revocations.is_empty() => {
            line("nothing was taken away since the backup was made")
        }
        Source::State | Source::Audit => line("taken away since, and there again in the backup:"),
    }?;
    revocations.iter().try_for_each(|text| line(&format!("  {}", safe(text))))?;
    if !since.lost.is_empty() {
        line("other changes since, which the restore undoes:")?;
        since.lost.iter().try_for_each(|(operation, count)| line(&format!("  {count} × {}", safe(operation))))?;
    }
    Ok(())
}

fn source(source: Source) -> &'static str {
    match source {
        Source::State => "state",
        Source::Audit => "audit trail",
        Source::Nothing => "nothing",
    }
}

/// What becomes of what was taken away: it must be said, or answered.
fn revocations(prepared: &Prepared, arguments: &Restore) -> Result<Revocations, Failure> {
    let unknown = prepared.since.source == Source::Nothing;
    match (arguments.keep_revocations, arguments.discard_revocations) {
        (true, _) if unknown => {
            return Err(Failure::incomplete(
                "nothing here tells what to keep: say --discard-revocations, and take away by hand what you know of",
            ));
        }
        (true, _) => return Ok(Revocations::Keep),
        (_, true) => return Ok(Revocations::Discard),
        (false, false) => {}
    }
    if prepared.since.revocations.is_empty() && !unknown {
        return Ok(Revocations::Keep);
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::incomplete(
            "say what becomes of what was taken away since: --keep-revocations or --discard-revocations; nothing was changed",
        ));
    }
    let choices = if unknown { "`discard`" } else { "`keep` or `discard`" };
    line_to_stderr(&format!("What becomes of what was taken away since? Type {choices}:"));
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed).map_err(Failure::other)?;
    match typed.trim() {
        "keep" if !unknown => Ok(Revocations::Keep),
        "discard" => Ok(Revocations::Discard),
        _ => Err(Failure::other("not answered; nothing was changed")),
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Start(StartError::Store(StoreError::Owned(folder))) => Self::conflict(format!(
                "a gateway, or another command, works on `{}`: stop it first (`systemctl stop erp-access`)",
                folder.display()
            )),
            RestoreError::Archive(ArchiveError::File(..)) | RestoreError::File(..) | RestoreError::There(_) => {
                Self::other(error)
            }
            RestoreError::WouldReplaceTrail(_) => Self::conflict(error),
            RestoreError::Archive(_) | RestoreError::State(_) | RestoreError::Trail(_) | RestoreError::Key(_) => {
                Self::invalid(error)
            }
            RestoreError::Start(_) | RestoreError::Change(_) => Self::other(error),
        }
    }
}
