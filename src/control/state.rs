//! Kill switches, policies, status.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Control, ControlError, Result, render};
use crate::audit::WriterState;
use crate::directory::By;
use crate::domain::Actor;
use crate::kill_switch::{Engaged, Scope};
use crate::policy::LoadedFile;

/// What is to be stopped.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) scope: Scope,
    pub(super) message: Option<String>,
    pub(super) reason: String,
    pub(super) until: Option<Timestamp>,
}

impl Control {
    /// Removes kill switches that have ended by themselves.
    pub fn remove_ended_kill_switches(&self) {
        match self.directory.remove_ended_kill_switches(&self.by(Actor::System)) {
            Ok(0) => {}
            Ok(count) => log::info!("{count} kill switches have ended"),
            Err(error) => log::error!("kill switches that have ended could not be removed: {error}"),
        }
    }

    /// A change that is made now, whatever was there before.
    pub(super) fn by(&self, actor: Actor) -> By {
        By { actor, at: self.clock.now(), expected: None }
    }

    pub(super) fn engage(&self, by: &By, order: Order) -> Result<Value> {
        let Order { scope, message, reason, until } = order;
        if reason.trim().is_empty() {
            return Err(ControlError::invalid("a kill switch needs a reason"));
        }
        if until.is_some_and(|until| until <= by.at) {
            return Err(ControlError::invalid("the kill switch would have ended already"));
        }
        let engaged = Engaged { scope, message, reason, by: by.actor.to_string(), at: by.at, until };
        self.directory.engage(by, engaged.clone())?;
        Ok(render::engaged(&engaged))
    }

    pub(super) fn release(&self, by: &By, scope: &Scope, reason: &str) -> Result<Value> {
        self.directory.release(by, scope, reason)?;
        Ok(json!({ "scope": scope, "state": "released" }))
    }

    pub(super) fn kill_status(&self) -> Value {
        self.directory.snapshot().kill_switches().in_force(self.clock.now()).map(render::engaged).collect()
    }

    pub(super) fn reload_policies(&self, by: &By) -> Result<Value> {
        let report = self.take_policies_over(Some(&by.actor));
        if !report.problems.is_empty() {
            return Err(ControlError::invalid(format!(
                "{}\nthe last good versions stay in force (generation {})",
                report.problems, report.generation
            )));
        }
        Ok(json!({ "generation": report.generation, "changed": report.changed, "hash": report.hash.to_string() }))
    }

    pub(super) fn status(&self) -> Value {
        let snapshot = self.directory.snapshot();
        let policies = self.policies.current();
        let problems = self.policies.problems();
        let audit = self.auditor.health();
        let api = match (snapshot.kill_switches().global(self.clock.now()), super::default_schedule(&policies)) {
            (Some(_), _) => "stopped by kill switch",
            (None, Some((name, schedule))) => self.state_of(&name, schedule),
            (None, None) => "closed: there is no default schedule",
        };
        json!({
            "api": api,
            "kill_switches": self.kill_status(),
            "schedule_overrides": self.list_overrides(),
            "accounts": snapshot.accounts().len(),
            "credential_sets": snapshot.credentials().len(),
            "unrestricted_sets": self.unrestricted_sets(),
            "live_tokens": self.directory.token_count(),
            "policy_generation": policies.generation(),
            "policy_hash": policies.hash().to_string(),
            "policy_files": policies.files().iter().map(file).collect::<Vec<_>>(),
            "policy_problems": problems.0.iter().map(std::string::ToString::to_string).collect::<Vec<_>>(),
            "policy_warnings": policies.warnings().0.len(),
            "upstreams": self.list_upstreams(),
            "audit": writer(audit.state),
            "audit_queue": format!("{} of {}", audit.in_use, audit.capacity),
            "audit_rows_written": audit.written,
            "audit_write_failures": audit.failures,
            "audit_rows_lost": audit.lost,
            "audit_sinks": self.auditor.sink_reports(self.clock.now()),
        })
    }
}

/// A file in force with the beginning of its hash.
fn file(file: &LoadedFile) -> String {
    format!("{} {}", file.path.display(), file.hash.to_string().chars().take(12).collect::<String>())
}

/// How the audit writer is doing, for people.
fn writer(state: WriterState) -> String {
    match state {
        WriterState::Ok => "ok".to_owned(),
        WriterState::Failing { since } => {
            format!("rows cannot be written for {} s: nothing is relayed", since.as_secs())
        }
        WriterState::Stalled { since } => {
            format!("the writer is stalled for {} s: nothing is relayed", since.as_secs())
        }
    }
}
