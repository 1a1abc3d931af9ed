//! Rows of what the gateway does by itself.

use serde_json::json;

use super::Control;
use crate::audit::{Decision, Entry, Step, Verdict};
use crate::domain::Actor;
use crate::policy::ReloadReport;
use crate::tls::Look;

impl Control {
    /// The row of something that the gateway does by itself, with more about it; `None` without randomness for its id.
    #[must_use]
    pub fn system_row(&self, operation: &'static str, subject: String, detail: &serde_json::Value) -> Option<Entry> {
        let mut entry = Entry::system(self.clock.now(), &*self.entropy, operation, subject)?;
        entry.detail = Some(detail.to_string());
        Some(entry)
    }

    /// Leaves a row without waiting for the disk: it is kept until it can be written. Must not be called where it could
    /// be made to happen often.
    pub fn leave(&self, row: Option<Entry>) {
        if let Some(row) = row {
            self.auditor.leave(row);
        }
    }

    /// Reads the policy files again and takes over what is good in them. The texts are kept before they are in force.
    ///
    /// There is a row where somebody asked for it, and where the watch over the files finds news.
    pub fn reload(&self, asked_by: Option<&Actor>) {
        let _ = self.take_policies_over(asked_by);
        // The watch over the policy files asks for nobody.
        self.renew_certificates(if asked_by.is_some() { Look::Asked } else { Look::ByItself });
    }

    pub(super) fn take_policies_over(&self, asked_by: Option<&Actor>) -> ReloadReport {
        let report = self.policies.reload_keeping(|set| self.keep(set));
        let actor = asked_by.unwrap_or(&Actor::System);
        if report.changed {
            log::info!("the policies were read again for {actor}: generation {} is in force", report.generation);
        }
        if report.news && !report.problems.is_empty() {
            log::error!("policy files are broken; the last good versions stay in force:\n{}", report.problems);
        }
        if report.news || asked_by.is_some() {
            self.record_reload(actor, &report);
        }
        report
    }

    /// Leaves the row of a reading of the policy files, whoever asked for it.
    fn record_reload(&self, actor: &Actor, report: &ReloadReport) {
        let broken = report.problems.0.len();
        let ReloadReport { generation, hash, changed, .. } = report;
        let detail =
            json!({ "generation": generation, "hash": hash.to_string(), "changed": changed, "problems": broken });
        let mut row = self.system_row("policy.reload", format!("generation {generation}"), &detail);
        if let Some(row) = &mut row {
            row.actor = actor.clone();
            row.generation = *generation;
            row.policy_snapshot = Some(*hash.as_bytes());
            if broken > 0 {
                row.decision = Decision::Denied;
                let note = format!("problems: {broken}; the last good versions stay in force");
                row.verdicts.push(Verdict::denied(Step::Policy, note));
            }
        }
        self.leave(row);
    }
}
