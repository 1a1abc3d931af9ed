//! The audit row of one attempt.

use std::borrow::Cow;

use crate::audit::{Decision, Entry, Kind, Step, Verdict};
use crate::domain::{AccountId, Actor, CredentialId, TokenId};
use crate::gate::Denial;
use crate::kill_switch::Engaged;

use super::TokenAsked;

/// The row of one attempt as it grows.
#[derive(Debug)]
pub(super) struct AttemptRow {
    entry: Entry,
}

impl AttemptRow {
    pub(super) fn begin(asked: &TokenAsked<'_>, operation: &'static str) -> Self {
        Self {
            entry: Entry {
                correlation: crate::gate::accepted_correlation(asked.headers),
                client: asked.client,
                tls: asked.tls.map(|tls| tls.to_string().into()),
                method: Cow::Borrowed("POST"),
                path: operation.to_owned(),
                verdicts: Vec::with_capacity(4),
                ..Entry::new(asked.id, Kind::TokenAttempt, asked.now)
            },
        }
    }

    pub(super) fn passed(&mut self, step: Step, note: impl Into<Cow<'static, str>>) {
        self.entry.verdicts.push(Verdict::passed(step, note));
    }

    /// No kill switch stops everything.
    pub(super) fn not_stopped(&mut self) {
        self.passed(Step::KillSwitch, "not engaged");
        self.entry.kill_switch = Some(Cow::Borrowed("none"));
    }

    pub(super) fn stopped_by(&mut self, engaged: &Engaged) {
        self.entry.kill_switch = Some(engaged.scope.text());
    }

    /// The set that the attempt was about. It is the actor only once its password was right.
    pub(super) fn about(&mut self, credential: CredentialId, account: AccountId) {
        self.entry.credential = Some(credential);
        self.entry.account = Some(account);
    }

    pub(super) fn by(&mut self, credential: CredentialId) {
        self.entry.actor = Actor::Credential(credential);
    }

    pub(super) fn token(&mut self, token: TokenId) {
        self.entry.token = Some(token);
    }

    pub(super) fn denied(mut self, denial: &Denial) -> Entry {
        self.entry.verdicts.push(Verdict::denied(denial.step, denial.reason.clone()));
        self.entry.code = Some(denial.code);
        self.entry.status = Some(denial.code.status());
        self.entry
    }

    pub(super) fn done(mut self) -> Entry {
        self.entry.decision = Decision::Allowed;
        self.entry.status = Some(200);
        self.entry
    }
}
