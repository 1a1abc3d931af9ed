//! `demo` and `demo --once`.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::arguments::Demo;
use super::output::{Failure, line, safe};
use crate::control::{AuditQuery, Caller, Command};
use crate::demo::{self, Stage, audit_line};
use crate::domain::Actor;

pub(super) fn run(arguments: &Demo) -> Result<ExitCode, Failure> {
    if arguments.once {
        let report = demo::tour().map_err(Failure::other)?;
        line(report.text.trim())?;
        line(if report.as_expected {
            "\nevery step answered as it should"
        } else {
            "\nNOT every step answered as it should"
        })?;
        return Ok(if report.as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let stage = demo::open().map_err(Failure::other)?;
    introduce(&stage)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::other)?;
    runtime.block_on(follow(&stage))?;
    Ok(ExitCode::SUCCESS)
}

fn introduce(stage: &Stage) -> Result<(), Failure> {
    let (address, credential) = (stage.address, &stage.credential);
    line(&format!(
        "A little ERP on http://{}, the gateway in front of it on http://{address}.",
        stage.erp().address()
    ))?;
    line("One account, `acme`, with one credential set that holds the policy `order-reader`:\n")?;
    line("┌─ shown once, never again ───────────────────────────────────────────────")?;
    line(&format!("│ client id   {}", credential.id))?;
    line(&format!("│ password    {}", credential.password.expose()))?;
    line(&format!("│ x-api-key   {}", credential.api_key.expose()))?;
    line("└─────────────────────────────────────────────────────────────────────────\n")?;
    line("In another terminal:\n")?;
    line(&format!(
        "  TOKEN=$(curl -s -u '{}:{}' -H 'x-api-key: {}' -d grant_type=client_credentials http://{address}/oauth/token | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')",
        credential.id,
        credential.password.expose(),
        credential.api_key.expose()
    ))?;
    line(&format!("  curl -i -H \"Authorization: Bearer $TOKEN\" http://{address}/v1/customers        # allowed"))?;
    line(&format!("  curl -i -H \"Authorization: Bearer $TOKEN\" http://{address}/v1/orders/7         # allowed"))?;
    line(&format!(
        "  curl -i -H \"Authorization: Bearer $TOKEN\" -d '{{}}' http://{address}/v1/orders   # denied: not granted"
    ))?;
    line(&format!(
        "  curl -i -H \"Authorization: Bearer $TOKEN\" http://{address}/api/session         # denied: not mapped"
    ))?;
    line(&format!(
        "  curl -i http://{address}/v1/customers                                        # denied: no token\n"
    ))?;
    line("Audit rows as they come (Ctrl-C ends the demo and removes everything):\n")
}

/// Shows each audit row when its outcome is known.
async fn follow(stage: &Stage) -> Result<(), Failure> {
    let mut shown = newest(stage).await?.first().map_or(0, seq);
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
        let mut rows = newest(stage).await?;
        rows.reverse();
        rows.retain(|row| seq(row) > shown);
        for row in &rows {
            let open = row.get("outcome").is_none_or(Value::is_null) && row.get("status").is_none_or(Value::is_null);
            if open && row.get("kind").and_then(Value::as_str) == Some("relay") {
                break;
            }
            line(&safe(&audit_line(row)))?;
            shown = seq(row);
        }
    }
}

async fn newest(stage: &Stage) -> Result<Vec<Value>, Failure> {
    let query = AuditQuery { last: 50, ..AuditQuery::default() };
    let rows =
        stage.control.run(Caller::admin(Actor::Operator("demo".into())), Command::AuditSearch(Box::new(query))).await?;
    Ok(rows.as_array().cloned().unwrap_or_default())
}

fn seq(row: &Value) -> i64 {
    row.get("seq").and_then(Value::as_i64).unwrap_or(0)
}
