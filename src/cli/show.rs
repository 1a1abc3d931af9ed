//! Results that deserve more than a table.

use std::process::ExitCode;

use serde_json::Value;

use super::arguments::Output;
use super::output::{self, Failure, line, safe};
use super::run::{Asking, DENIED};
use crate::control::Command;

/// What the gateway is doing; exit code 3 while a kill switch stops everything.
pub(super) fn status(asking: &Asking) -> Result<ExitCode, Failure> {
    let status = asking.ask(Command::Status)?;
    output::print(&status, &[], asking.output)?;
    let killed = status.get("kill_switches").and_then(Value::as_array).is_some_and(|switches| {
        switches.iter().any(|switch| switch.get("scope").and_then(Value::as_str) == Some("all"))
    });
    Ok(if killed { ExitCode::from(DENIED) } else { ExitCode::SUCCESS })
}

/// A sign-in, step by step; exit code 1 when it failed.
pub(super) fn sign_in(report: &Value, output: Output) -> Result<ExitCode, Failure> {
    let error = report.get("error").and_then(Value::as_str);
    if output == Output::Table {
        for (step, number) in report.get("steps").and_then(Value::as_array).into_iter().flatten().zip(1..) {
            sign_in_step(step, number)?;
        }
        let injects: Vec<_> =
            report.get("injects").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        match error {
            Some(error) => line(&safe(&format!("failed: {error}")))?,
            None => line(&safe(&format!("signed in; relayed requests carry: {}", injects.join(", "))))?,
        }
        if let Some(end) = report.get("expires_at").and_then(Value::as_str) {
            line(&format!("such a session serves until {end}"))?;
        }
    } else {
        output::print(report, &[], output)?;
    }
    Ok(if error.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn sign_in_step(step: &Value, number: usize) -> Result<(), Failure> {
    let text = |key: &str| step.get(key).and_then(Value::as_str);
    let list = |key: &str| step.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    line(&safe(&format!("step {number}  {}", text("request").unwrap_or_default())))?;
    for sent in list("request_headers").chain(text("request_body")) {
        line(&safe(&format!("   > {sent}")))?;
    }
    line(&safe(&format!("   < {}", text("answer").unwrap_or_default())))?;
    for received in list("answer_headers").chain(text("answer_body")) {
        line(&safe(&format!("   < {received}")))?;
    }
    Ok(())
}

/// Audit rows, a line each.
pub(super) fn audit_rows(rows: &Value, output: Output) -> Result<ExitCode, Failure> {
    match (output, rows.as_array()) {
        (Output::Table, Some(rows)) => {
            for row in rows {
                let id = row.get("id").and_then(Value::as_str).unwrap_or("-");
                line(&safe(&format!("{id}  {}", crate::demo::audit_line(row))))?;
            }
        }
        (Output::Table, None) | (Output::Json | Output::Ndjson | Output::Csv, _) => output::print(rows, &[], output)?,
    }
    Ok(ExitCode::SUCCESS)
}
