//! The certificates that the listeners show: renewed while the gateway serves, and looked at before they end.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;

use super::Control;
use super::doctor::Finding;
use crate::tls::{Certificates, Look};

/// Certificates, and the setting that names them.
#[derive(Debug, Clone)]
pub struct Served {
    /// As in `gateway.tls`.
    pub setting: &'static str,
    /// The certificates.
    pub certificates: Arc<Certificates>,
}

/// So many days before its end a certificate should have been renewed; most are renewed 30 days before.
const SOON: i64 = 14;
/// From so many days before its end on it is a failure.
const LATE: i64 = 3;

impl Control {
    /// Takes renewed files over. Those that are broken change nothing, and are told once.
    pub fn renew_certificates(&self, look: Look) {
        for Served { setting, certificates } in self.certificates.iter() {
            match certificates.renew(look) {
                Ok(false) => {}
                Ok(true) => {
                    let told = certificates.told();
                    let names: Vec<String> = told.iter().flat_map(|told| told.names.clone()).collect();
                    log::info!("`{setting}`: renewed certificates are shown from now on, for {}", names.join(", "));
                    let ends: Vec<_> = told.iter().map(|told| told.ends_at).collect();
                    let detail = json!({ "names": names, "end_at": ends });
                    self.leave(self.system_row("tls.renewed", (*setting).to_owned(), &detail));
                }
                Err(errors) => {
                    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                    for error in &errors {
                        log::error!("`{setting}`: the certificates of before are shown on: {error}");
                    }
                    let detail = json!({ "errors": errors });
                    self.leave(self.system_row("tls.not-renewed", (*setting).to_owned(), &detail));
                }
            }
        }
    }

    pub(super) fn examine_certificates(&self, findings: &mut Vec<Finding>) {
        let now = self.clock.now();
        for Served { setting, certificates } in self.certificates.iter() {
            if let Some(problem) = certificates.problem() {
                let found = format!("`{setting}`: renewed files are not shown: {problem}");
                findings.push(Finding::fail(
                    "certificates",
                    found,
                    "put both files right; they are read within a minute",
                ));
            }
            for told in certificates.told() {
                let (names, end) = (told.names.join(", "), told.ends_at);
                let left = end.duration_since(now);
                let found = format!("`{setting}`: that for {names} ends {end}");
                let advice = "renew it and put the files in their place; they are read within a minute";
                findings.push(if left < SignedDuration::from_hours(24 * LATE) {
                    Finding::fail("certificates", found, advice)
                } else if left < SignedDuration::from_hours(24 * SOON) {
                    Finding::warn("certificates", found, advice)
                } else {
                    Finding::ok("certificates", found)
                });
            }
        }
    }
}
