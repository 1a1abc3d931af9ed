//! The steps of the gate about a request that nobody sent: an operator asks what would be decided.
//!
//! The steps are those of [`Gate::admit`]. What comes out is a row that is not written, never an admission.

use std::sync::Arc;

use crate::audit::{Entry, Step};
use crate::domain::{Code, CredentialId, Limits, Principal, TokenId};

use super::admission::Relay;
use super::authenticate::{Known, check_account, check_address, check_set};
use super::hours::InHours;
use super::limits::counted;
use super::stopped::Running;
use super::{Asked, Denial, Gate, RequestBody, Trail};

impl Gate {
    /// The row that a request of this credential set would leave. Nothing is relayed, counted or recorded.
    pub async fn rehearse(&self, asked: Asked<'_>, sender: CredentialId, body: &mut dyn RequestBody) -> Entry {
        let mut trail = Trail::begin(&asked);
        match self.rehearse_steps(asked, sender, body, &mut trail).await {
            Err(denial) => trail.denied(&denial),
            Ok(()) => trail.allowed(),
        }
    }

    async fn rehearse_steps(
        &self,
        asked: Asked<'_>,
        sender: CredentialId,
        body: &mut dyn RequestBody,
        trail: &mut Trail,
    ) -> Result<(), Denial> {
        let request = self.read_head(asked, trail)?;
        let running = self.not_stopped(request, trail)?;
        let known = self.known_by_name(running, sender, trail)?;
        let permitted = self.permit(known, body, trail).await?;
        let open = self.in_hours(permitted, trail)?;
        self.name_limits(&open, trail);
        // The last check before the ERP would be asked: it is configured.
        Relay::of(open, self).map(drop)
    }

    /// As if the set had shown a live token, its x-api-key and the certificate that is demanded. That these are right is all that is taken for granted.
    fn known_by_name<'a>(
        &self,
        running: Running<'a>,
        sender: CredentialId,
        trail: &mut Trail,
    ) -> Result<Known<'a>, Denial> {
        let gone = |what| Denial::new(Step::Authentication, Code::TokenInvalid, what);
        let snapshot = self.directory.snapshot();
        let credential = snapshot.credential(sender).ok_or_else(|| gone("the credential set does not exist"))?;
        let account =
            snapshot.account(credential.account).ok_or_else(|| gone("the credential set's account does not exist"))?;
        trail.known_by_name(credential.id, account.id);
        check_set(credential, running.request.asked.now)?;
        check_account(account)?;
        if running.request.asked.client.is_some() {
            check_address(credential, running.request.asked.client)?;
        }
        trail.passed(Step::Authentication, format!("set `{}` of account `{}`", credential.name, account.name));
        let (credential, account) = (Arc::clone(credential), Arc::clone(account));
        // No token is of these bytes: nothing that rests on one can come from a rehearsal.
        let token = TokenId::from_bytes([0; 16]);
        let principal = Principal { token, credential: credential.id, account: account.id };
        Ok(Known { running, principal, credential, account })
    }

    /// What would be counted; how much of it is used up already depends on the moment.
    fn name_limits(&self, open: &InHours<'_>, trail: &mut Trail) {
        let known = &open.permitted.known;
        let defaults = &self.rules.rate_limits;
        let own = [
            ("the account", defaults.of_account(known.account.limits)),
            ("the credential set", defaults.of_credential(known.credential.limits)),
            ("the address", defaults.address),
        ];
        let own = own.into_iter().filter_map(|(whose, limits)| Some((whose.to_owned(), limits?)));
        let of_policies = counted(&open.policies)
            .into_iter()
            .filter_map(|(policy, _)| Some((format!("policy `{}`", policy.name()), *policy.limits()?)));
        let notes: Vec<String> = own.chain(of_policies).map(|(whose, limits)| note(&whose, limits)).collect();
        if !notes.is_empty() {
            trail.passed(Step::Limits, format!("{}; this question is not counted", notes.join("; ")));
        }
    }
}

fn note(whose: &str, limits: Limits) -> String {
    let rate = limits.rate().map(|(requests, period)| format!("{requests} requests per {period:?}"));
    let bytes = limits.bytes().map(|(bytes, period)| format!("{bytes} bytes of answers per {period:?}"));
    let concurrent = limits.concurrent().map(|most| format!("{most} at once"));
    let named: Vec<String> = rate.into_iter().chain(bytes).chain(concurrent).collect();
    format!("{whose} allows {}", named.join(" and "))
}
