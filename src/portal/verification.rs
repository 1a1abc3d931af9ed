//! Whether the audit trail is whole: checked beside the pages, and remembered until the next check.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::Portal;
use crate::audit::Progress;
use crate::control::{Caller, Command, ControlError};

/// What is known of the trail.
#[derive(Debug, Clone, Default)]
pub(super) struct Trail {
    /// Checked so far, and how much there is, while somebody checks.
    pub(super) running: Option<(u64, i64)>,
    /// The last check that came to its end, or broke off.
    pub(super) last: Option<Checked>,
}

/// A check that is over.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) at: Timestamp,
    pub(super) records: u64,
    /// What is wrong: how much, and the first of it in words.
    pub(super) findings: usize,
    pub(super) first: Vec<String>,
    /// Why it broke off, where it did.
    pub(super) broke_off: Option<String>,
}

/// Findings that are shown.
const SHOWN: usize = 20;

/// The last check.
#[derive(Debug, Default)]
pub(super) struct Verification(Mutex<Trail>);

impl Verification {
    pub(super) fn known(&self) -> Trail {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Trail)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether nobody checked, so that whoever asks does it now.
    fn begin(&self) -> bool {
        let mut mine = false;
        self.change(|trail| {
            mine = trail.running.is_none();
            trail.running.get_or_insert((0, 0));
        });
        mine
    }
}

impl Portal {
    /// Begins to check the whole trail, where nobody does already.
    ///
    /// # Errors
    /// When this caller may not.
    pub(super) async fn begin_verification(self: &Arc<Self>, caller: Caller) -> Result<(), ControlError> {
        if !self.verification.begin() {
            return Ok(());
        }
        let mut checked =
            Checked { at: self.control.clock.now(), records: 0, findings: 0, first: Vec::new(), broke_off: None };
        let first = self.check_part(&caller, &mut checked, None).await;
        let progress = match first {
            Ok(progress) => progress,
            Err(error) => {
                self.verification.change(|trail| trail.running = None);
                return Err(error);
            }
        };
        let portal = Arc::clone(self);
        tokio::spawn(async move {
            let mut progress = progress;
            while !progress.done {
                let position = Some(progress.position);
                progress = match portal.check_part(&caller, &mut checked, position).await {
                    Ok(progress) => progress,
                    Err(error) => {
                        checked.broke_off = Some(error.message);
                        break;
                    }
                };
            }
            checked.at = portal.control.clock.now();
            portal.verification.change(|trail| *trail = Trail { running: None, last: Some(checked) });
        });
        Ok(())
    }

    async fn check_part(
        &self,
        caller: &Caller,
        checked: &mut Checked,
        position: Option<crate::audit::Position>,
    ) -> Result<Progress, ControlError> {
        let command = Command::AuditVerify { position, from: None, checkpoint: None };
        let progress = self.control.run(caller.clone(), command).await?;
        let progress: Progress = serde_json::from_value(progress).map_err(ControlError::failed)?;
        checked.records = progress.position.records;
        checked.findings = checked.findings.saturating_add(progress.findings.len());
        let room = SHOWN.saturating_sub(checked.first.len());
        let told = progress.findings.iter().take(room).map(|finding| format!("{}: {}", finding.seq, finding.text));
        checked.first.extend(told);
        self.verification.change(|trail| trail.running = Some((progress.position.records, progress.end)));
        Ok(progress)
    }
}
