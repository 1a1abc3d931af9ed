//! The right to relay one request, and whether it still holds.

use std::sync::Arc;

use crate::audit::{OpenRow, Outcome, Step};
use crate::config::{CutBy, Upstream};
use crate::directory::{Cut, Holder};
use crate::domain::{Code, EndpointId, PolicyName, Principal, RequestId};
use crate::policy::Obligations;
use crate::upstream::{AccountRef, SessionError, UpstreamSession};

use super::Denial;
use super::Gate;
use super::hours::InHours;
use super::limits::{LimitState, Place};

/// What is relayed, on whose behalf, where to. Decided; nothing here comes from the client unchecked.
#[derive(Debug)]
pub(super) struct Relay {
    id: RequestId,
    principal: Principal,
    pub(super) account: AccountRef,
    endpoint: EndpointId,
    /// The policies that decide; several where it is a batch.
    policies: Vec<PolicyName>,
    pub(super) upstream: Arc<Upstream>,
    target: String,
    obligations: Obligations,
    /// The directory's change counter before the decision began.
    epoch: u64,
    /// The generation of the policies that allowed it.
    generation: u64,
}

impl Relay {
    pub(super) fn of(open: InHours<'_>, gate: &Gate) -> Result<Self, Denial> {
        let InHours { permitted, policies } = open;
        let mut policies: Vec<PolicyName> = policies.iter().flatten().map(|policy| policy.name().clone()).collect();
        policies.dedup();
        let known = permitted.known;
        let name = permitted.allowed.upstream();
        let upstream = gate.upstreams.get(name).ok_or_else(|| {
            let reason = format!("the endpoint's upstream `{name}` is not in the configuration");
            Denial::new(Step::Endpoint, Code::NotPermitted, reason)
        })?;
        Ok(Self {
            id: known.running.request.asked.id,
            principal: known.principal,
            account: AccountRef { id: known.account.id, name: known.account.name.clone() },
            endpoint: permitted.allowed.endpoint().id().clone(),
            policies,
            upstream: Arc::clone(upstream),
            target: permitted.upstream_target,
            obligations: permitted.allowed.obligations().clone(),
            epoch: known.running.epoch,
            generation: permitted.generation,
        })
    }
}

/// An operator's act ended the right to relay.
#[derive(Debug, Clone)]
pub struct CutOff {
    /// The code that the client gets, where it has no answer yet.
    pub code: Code,
    /// On what grounds, for the audit row.
    pub reason: String,
}

/// The right to relay one request. The gate alone makes it.
#[derive(Debug)]
#[must_use = "an admission that is not used must be closed"]
pub struct Admission {
    relay: Relay,
    row: OpenRow,
    session: Arc<UpstreamSession>,
    place: Place,
}

impl Admission {
    pub(super) fn new(relay: Relay, place: Place, row: OpenRow, session: Arc<UpstreamSession>) -> Self {
        Self { relay, row, session, place }
    }

    /// The id of the exchange.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.relay.id
    }

    /// Where the request goes.
    #[must_use]
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.relay.upstream
    }

    /// The request target that the ERP sees.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.relay.target
    }

    /// The ERP's session to use.
    #[must_use]
    pub fn session(&self) -> &Arc<UpstreamSession> {
        &self.session
    }

    /// The account on whose behalf it is relayed.
    #[must_use]
    pub fn account(&self) -> &AccountRef {
        &self.relay.account
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &EndpointId {
        &self.relay.endpoint
    }

    /// What the rules demand of the request and of its answer.
    #[must_use]
    pub fn obligations(&self) -> &Obligations {
        &self.relay.obligations
    }

    /// So many bytes of the answer have left; they count where a deciding policy limits them.
    pub fn bytes_left(&self, bytes: usize) {
        self.place.count_bytes(bytes);
    }

    /// What was left of each limit on requests when this one was let in.
    #[must_use]
    pub fn limits(&self) -> &[LimitState] {
        self.place.states()
    }

    /// Whether the right still holds. Cheap while nothing has changed.
    ///
    /// # Errors
    /// When a kill switch, a suspension or a revocation has ended it.
    pub fn still_holds(&mut self, gate: &Gate) -> Result<(), CutOff> {
        self.policies_are_there(gate)?;
        let epoch = gate.directory.epoch();
        if epoch == self.relay.epoch {
            return Ok(());
        }
        let holder = |policy| Holder { principal: &self.relay.principal, policy, upstream: &self.relay.upstream.name };
        let now = gate.clock.now();
        gate.directory
            .still_permitted(&holder(self.relay.policies.first()), gate.rules.cut, now)
            .map_err(CutOff::from)?;
        for policy in self.relay.policies.iter().skip(1) {
            gate.directory.still_permitted(&holder(Some(policy)), gate.rules.cut, now).map_err(CutOff::from)?;
        }
        self.relay.epoch = epoch;
        Ok(())
    }

    /// Where a policy that is gone cuts what it allowed.
    fn policies_are_there(&mut self, gate: &Gate) -> Result<(), CutOff> {
        if !gate.rules.cut.by(CutBy::Policy) || gate.policies.generation() == self.relay.generation {
            return Ok(());
        }
        let policies = gate.policies.current();
        if let Some(gone) = self.relay.policies.iter().find(|policy| policies.policy(policy).is_none()) {
            let reason = format!("the policy `{gone}` is gone");
            return Err(CutOff { code: Code::NotPermitted, reason });
        }
        self.relay.generation = policies.generation();
        Ok(())
    }

    /// The ERP no longer knows the session: the next request signs in.
    pub fn forget_session(&self, gate: &Gate) {
        gate.sessions.lost(self.session.key(), self.session.generation());
    }

    /// Takes a new session in place of the one that the ERP no longer knows.
    ///
    /// # Errors
    /// When the gateway cannot sign in.
    pub async fn renew_session(&mut self, gate: &Gate) -> Result<(), SessionError> {
        self.forget_session(gate);
        self.session = gate.sessions.obtain(&self.relay.upstream.name, &self.relay.account).await?;
        Ok(())
    }

    /// Records how the relay ended.
    pub fn close(self, outcome: Outcome) {
        let Self { row, place, .. } = self;
        drop(place);
        row.close(outcome);
    }
}

impl From<Cut> for CutOff {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::KillSwitch(engaged) => {
                let denial = Denial::stopped(Step::KillSwitch, &engaged, engaged.at);
                Self { code: denial.code, reason: denial.reason.into_owned() }
            }
            Cut::Suspended => Self { code: Code::AccountSuspended, reason: "the account was suspended".into() },
            Cut::NotGranted => {
                Self { code: Code::NotPermitted, reason: "the policy that allowed it is no longer granted".into() }
            }
            Cut::Revoked => {
                Self { code: Code::TokenInvalid, reason: "the token or its credential set was revoked".into() }
            }
        }
    }
}
