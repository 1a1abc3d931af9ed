//! `key`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::arguments::{Key, Output};
use super::output::{self, Failure, line, safe};
use super::run::{Asking, world};
use super::setup;
use crate::app::{self, Core};
use crate::config::{Admin, Config, put_key_first};
use crate::control::{Command, os_user};
use crate::domain::{Actor, SystemEntropy};
use crate::secrets::AppKey;

const COLUMNS: [&str; 10] = [
    "key",
    "state",
    "sealed_values",
    "client_secrets",
    "operator_keys",
    "user_passwords",
    "portal_sessions",
    "live_tokens",
    "audit_seals",
    "since",
];

pub(super) fn run(asking: &Asking, verb: Key) -> Result<ExitCode, Failure> {
    match verb {
        Key::Generate { above: Some(file), .. } => generate_above(&file),
        Key::Generate { file, above: None } => setup::generate_key(file.as_deref()),
        Key::Rotate { yes } => rotate(asking, yes),
        Key::Status => asking.print(Command::KeyStatus, &COLUMNS),
        Key::Retire { key, yes } => {
            output::confirm(yes, &format!("Key `{key}` will be removed from the key file."), &key.to_string())?;
            asking.print(Command::KeyRetire { key }, &[])
        }
        Key::Abandon { reason, yes } => abandon(asking, &reason, yes),
    }
}

fn generate_above(file: &Path) -> Result<ExitCode, Failure> {
    let key = AppKey::generate(&SystemEntropy).map_err(Failure::other)?;
    put_key_first(file, &key.to_text()).map_err(Failure::other)?;
    line(&format!("{} begins with a new APP_KEY; restart the gateway to put it into use", file.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn rotate(asking: &Asking, yes: bool) -> Result<ExitCode, Failure> {
    output::confirm(yes, "Everything that is sealed will be moved to a new APP_KEY.", "rotate")?;
    let rotated = asking.ask(Command::KeyRotate)?;
    if asking.output != Output::Table {
        output::print(&rotated, &[], asking.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = |name: &str| safe(rotated.get(name).and_then(Value::as_str).unwrap_or_default());
    let count = |name: &str| rotated.get(name).and_then(Value::as_u64).unwrap_or_default();
    line(&format!(
        "{}: `{}` is in use in place of `{}`; {} values were sealed anew",
        text("state"),
        text("key"),
        text("former"),
        count("resealed")
    ))?;
    if count("unreadable") > 0 {
        line(&format!("{} values could not be opened and stay as they are; see the log", count("unreadable")))?;
    }
    line("keep a copy of the key file apart from the databases")?;
    output::print(rotated.get("keys").unwrap_or(&Value::Null), &COLUMNS, asking.output)?;
    Ok(ExitCode::SUCCESS)
}

fn abandon(asking: &Asking, reason: &str, yes: bool) -> Result<ExitCode, Failure> {
    if reason.trim().is_empty() {
        return Err(Failure::invalid("a key is abandoned for a reason"));
    }
    let admin = Admin::load(&asking.sources).map_err(Failure::invalid)?;
    let config = Config::load(&asking.sources).map_err(Failure::invalid)?;
    let runs = std::os::unix::net::UnixStream::connect(&admin.socket).is_ok();
    if runs {
        return Err(Failure::other("a gateway runs here, so its key is not lost"));
    }
    output::confirm(yes, "Secrets for ERPs, second factors and tokens will be forgotten for good.", "abandon")?;
    let actor = Actor::Operator(os_user(rustix::process::getuid().as_raw()));
    app::abandon_key(&config, &world(), actor, reason).map_err(Failure::other)?;
    // Opens with the new key, and copies the change into the audit trail.
    Core::open(&config, &world()).map_err(Failure::other)?;
    line("the databases open with the APP_KEY that is configured now; what is to be done next:")?;
    for (what, how) in [
        ("secrets for the ERPs", "erp-access upstream secret set UPSTREAM …"),
        ("new secrets for each credential set", "erp-access credential rotate ID --overlap 0"),
        ("new passwords for portal users", "erp-access user reset-password NAME"),
        ("new operator keys", "erp-access operator-key issue …"),
    ] {
        line(&format!("  {what:<38}{how}"))?;
    }
    line("`erp-access key status` counts what still names the lost key")?;
    Ok(ExitCode::SUCCESS)
}
