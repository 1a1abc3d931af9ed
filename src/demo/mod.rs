//! The little ERP and the guided demo.

mod client;
pub mod little_erp;
mod stage;
mod tour;

use std::sync::Arc;

use serde_json::Value;

use crate::app::World;
use crate::domain::{ManualClock, SystemClock, SystemEntropy};

pub use stage::{Hours, Stage};
pub use tour::Report;

/// The demo could not go on.
#[derive(Debug, thiserror::Error)]
#[error("the demo cannot go on: {0}")]
pub struct DemoError(String);

impl DemoError {
    fn other(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// A stage for people: open at every hour, on the machine's clock.
///
/// # Errors
/// When something that it needs cannot be had, such as a temporary folder.
pub fn open() -> Result<Stage, DemoError> {
    let world = World { clock: Arc::new(SystemClock::default()), entropy: Arc::new(SystemEntropy) };
    Stage::set(&world, Hours::Always)
}

/// Takes the guided tour on a clock of its own, which begins on a Monday at noon in Karachi.
///
/// # Errors
/// When a step could not be taken at all.
pub fn tour() -> Result<Report, DemoError> {
    let noon = "2026-11-23T12:00:00+05:00".parse().map_err(DemoError::other)?;
    let clock = ManualClock::at(noon);
    let world = World { clock: Arc::new(clock.clone()), entropy: Arc::new(SystemEntropy) };
    let stage = Stage::set(&world, Hours::Office)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DemoError::other)?;
    runtime.block_on(tour::take(&stage, &clock))
}

/// One audit row as a line.
#[must_use]
pub fn audit_line(row: &Value) -> String {
    let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or("-");
    let outcome = |key: &str| row.get("outcome").and_then(|outcome| outcome.get(key));
    let code = row.get("code").and_then(Value::as_str).or_else(|| outcome("code").and_then(Value::as_str));
    let status = outcome("status").or_else(|| row.get("status")).and_then(Value::as_u64);
    let status = status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let time = text("at").chars().skip(11).take(8).collect::<String>();
    let by = row
        .get("policy")
        .and_then(Value::as_str)
        .map_or_else(String::new, |policy| format!("  by {policy}/{}", text("rule")));
    let (kind, decision, method, path) = (text("kind"), text("decision"), text("method"), text("path"));
    format!("{time}  {kind:<13} {decision:<7} {status:<4} {:<21} {method} {path}{by}", code.unwrap_or("ok"))
}
