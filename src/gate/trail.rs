//! What the steps leave behind: the decision path and everything known so far, for the audit row.

use std::borrow::Cow;

use super::correlation::accepted_correlation;
use crate::audit::{Decision, Entry, Kind, Redactor, Step, Verdict};
use crate::domain::{AccountId, Actor, CredentialId, EndpointId, PolicyName, Principal, RuleId, Target, TokenId};
use crate::kill_switch::Engaged;
use crate::policy::PolicySet;

use super::{Asked, Denial};

/// The decision path of one request as it grows.
#[derive(Debug)]
pub struct Trail {
    entry: Entry,
}

impl Trail {
    pub(super) fn begin(asked: &Asked<'_>) -> Self {
        Self {
            entry: Entry {
                correlation: accepted_correlation(asked.head.headers),
                client: asked.client,
                method: method_text(asked.head.method),
                tls: asked.tls.map(|tls| tls.to_string().into()),
                verdicts: Vec::with_capacity(9),
                ..Entry::new(asked.id, Kind::Relay, asked.now)
            },
        }
    }

    /// The target has no one meaning, or is not looked at: the row shows it as it came, made safe to print.
    pub(super) fn target_as_it_came(&mut self, target: &[u8], redactor: &Redactor) {
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        self.entry.path = redactor.text(&String::from_utf8_lossy(path)).into_owned();
    }

    pub(super) fn passed(&mut self, step: Step, note: impl Into<Cow<'static, str>>) {
        self.entry.verdicts.push(Verdict::passed(step, note));
    }

    pub(super) fn target(&mut self, target: &Target, redacted_query: Option<String>) {
        target.path().as_str().clone_into(&mut self.entry.path);
        self.entry.query = redacted_query;
    }

    pub(super) fn known_by_token(&mut self, token: TokenId, credential: CredentialId, account: Option<AccountId>) {
        self.entry.actor = Actor::Credential(credential);
        self.entry.token = Some(token);
        self.entry.credential = Some(credential);
        self.entry.account = account;
    }

    /// A credential set without a token, where only a question is asked about it.
    pub(super) fn known_by_name(&mut self, credential: CredentialId, account: AccountId) {
        self.entry.actor = Actor::Credential(credential);
        self.entry.credential = Some(credential);
        self.entry.account = Some(account);
    }

    pub(super) fn principal(&mut self, principal: &Principal) {
        self.known_by_token(principal.token, principal.credential, Some(principal.account));
    }

    pub(super) fn policies(&mut self, policies: &PolicySet) {
        self.entry.policy_snapshot = Some(*policies.hash().as_bytes());
        self.entry.generation = policies.generation();
    }

    /// No kill switch stops everything; a scoped one may follow.
    pub(super) fn not_stopped(&mut self) {
        self.entry.kill_switch = Some(Cow::Borrowed("none"));
    }

    pub(super) fn stopped_by(&mut self, engaged: &Engaged) {
        self.entry.kill_switch = Some(engaged.scope.text());
    }

    /// `open`, `closed`, `open_by_override`, `closed_by_override` or `exempt`.
    pub(super) fn schedule(&mut self, state: &'static str) {
        self.entry.schedule = Some(Cow::Borrowed(state));
    }

    pub(super) fn endpoint(&mut self, endpoint: &EndpointId) {
        self.entry.endpoint = Some(endpoint.clone());
    }

    pub(super) fn decided_by(&mut self, policy: Option<&PolicyName>, rule: Option<&RuleId>) {
        self.entry.policy = policy.cloned();
        self.entry.rule = rule.cloned();
    }

    /// The row of a request that is not served.
    pub(super) fn denied(mut self, denial: &Denial) -> Entry {
        self.entry.verdicts.push(Verdict::denied(denial.step, denial.reason.clone()));
        self.entry.code = Some(denial.row_code());
        self.entry.status = Some(denial.code.status());
        self.entry
    }

    /// The row of a request that may be relayed.
    pub(super) fn allowed(mut self) -> Entry {
        self.entry.decision = Decision::Allowed;
        self.entry
    }
}

/// The usual methods cost nothing; any other text is kept short and printable.
fn method_text(method: &str) -> Cow<'static, str> {
    match method {
        "GET" => "GET".into(),
        "POST" => "POST".into(),
        "PUT" => "PUT".into(),
        "PATCH" => "PATCH".into(),
        "DELETE" => "DELETE".into(),
        "HEAD" => "HEAD".into(),
        "OPTIONS" => "OPTIONS".into(),
        other => other.chars().take(32).flat_map(char::escape_default).collect::<String>().into(),
    }
}
