//! Why: one audit row in plain words, with the policy text of then and what today's policies say; or a request that
//! nobody sent, step by step.

mod granted;
mod happened;
mod outcome;
mod question;
mod steps;
mod text;
mod today;

use serde::Serialize;
use serde_json::Value;

use super::{Control, ControlError, Result};
use crate::audit::Row;
use crate::domain::RequestId;

pub use question::Question;
pub(super) use text::hash_of;

use happened::Names;
use text::PolicyExcerpt;
use today::Today;

/// A row in plain words.
#[derive(Debug, Serialize)]
struct Explanation {
    /// Who asked for what; each step of the decision path; what was answered and how it ended.
    sentences: Vec<String>,
    /// The text of the policy whose rule decided, as it was in force then.
    policy: Option<PolicyExcerpt>,
    /// What today's policies say to the same request; for requests to the ERP only.
    today: Option<Today>,
}

impl Control {
    pub(super) fn show_audit(&self, id: RequestId) -> Result<Value> {
        let row = self.auditor.find(id).map_err(ControlError::failed)?;
        let row = row.ok_or_else(|| super::audit::no_row(id))?;
        let explanation = serde_json::to_value(self.explain(&row)?).map_err(ControlError::failed)?;
        let mut shown = serde_json::to_value(row).map_err(ControlError::failed)?;
        if let Some(members) = shown.as_object_mut() {
            members.insert("explanation".into(), explanation);
        }
        Ok(shown)
    }

    fn explain(&self, row: &Row) -> Result<Explanation> {
        let mut sentences = vec![happened::sentence(row, &self.names(row))];
        sentences.extend(row.verdicts.iter().map(|verdict| steps::sentence(&row.kind, verdict)));
        sentences.extend(happened::changed(row));
        sentences.extend(outcome::sentences(row));
        let policy = self.policy_text(row)?;
        sentences.extend(text::missing(row, policy.as_ref()));
        Ok(Explanation { sentences, policy, today: self.today(row) })
    }

    /// What the accounts and sets of a row are called now; they may be gone.
    fn names(&self, row: &Row) -> Names {
        let snapshot = self.directory.snapshot();
        Names {
            account: row.account.and_then(|id| match snapshot.account(id) {
                Some(account) => Some(account.name.to_string()),
                None => self.store.last_name_of(id).ok().flatten(),
            }),
            credential: row.credential.and_then(|id| Some(snapshot.credential(id)?.name.clone())),
        }
    }
}

#[cfg(test)]
mod tests;
