//! Limits of addresses, accounts, credential sets and deciding policies: requests per period (GCRA, exact), requests at
//! once, and bytes of answers per period.

mod bucket;
mod limiter;
mod table;
mod told;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::audit::Step;
use crate::domain::{Clock, Limits};
use crate::policy::Policy;

use super::admission::Relay;
use super::hours::InHours;
use super::stopped::Running;
use super::{Denial, Gate, Trail};

use limiter::Limiter;
use table::{Holder, Limiters};
pub use told::LimitState;
use told::Whose;

/// Proof: no limit on the request is reached. Holds its places among the requests at once.
#[must_use]
pub(super) struct WithinLimits {
    pub(super) relay: Relay,
    pub(super) place: Place,
}

/// A place among the requests at once of each limit that counts a request; given back when dropped.
#[derive(Debug, Default)]
#[must_use = "the request is in progress as long as its place is held"]
pub struct Place {
    held: Vec<Held>,
    states: Vec<LimitState>,
}

/// What a request has taken of one holder's limits.
#[derive(Debug)]
struct Held {
    limiter: Arc<Limiter>,
    limits: Limits,
    /// Requests that do not count if another limit is reached.
    returnable: u32,
}

impl Place {
    /// What was left of each limit on requests when this one was let in.
    pub(super) fn states(&self) -> &[LimitState] {
        &self.states
    }

    /// Takes bytes that have left from each budget that counts them.
    pub(super) fn count_bytes(&self, bytes: usize) {
        for held in &self.held {
            held.limiter.count_bytes(bytes);
        }
    }

    /// Takes what a request needs of one more holder's limits, or gives back what it has taken of the others.
    fn take(&mut self, limiter: Arc<Limiter>, limits: Limits, requests: u32, whose: Whose) -> Result<(), Denial> {
        match limiter.take(limits, requests) {
            Ok(left) => {
                self.states.extend(left.map(|left| LimitState::new(whose, left)));
                self.held.push(Held { limiter, limits, returnable: requests });
                Ok(())
            }
            Err(reached) => {
                for held in &self.held {
                    held.limiter.give_back(held.limits, held.returnable);
                }
                Err(whose.denial(requests, reached))
            }
        }
    }

    /// What was taken so far counts whatever becomes of the request.
    fn kept(mut self) -> Self {
        for held in &mut self.held {
            held.returnable = 0;
        }
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for held in &self.held {
            held.limiter.leave();
        }
    }
}

/// What has been used of all limits, and how often one was reached.
#[derive(Debug)]
pub(super) struct Usage {
    limiters: Limiters,
    reached: [AtomicU64; Whose::KINDS.len()],
}

impl Usage {
    pub(super) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self { limiters: Limiters::new(clock), reached: <[AtomicU64; Whose::KINDS.len()]>::default() }
    }

    fn take(
        &self,
        place: &mut Place,
        limiter: Arc<Limiter>,
        limits: Limits,
        requests: u32,
        whose: Whose,
    ) -> Result<(), Denial> {
        let kind = whose.kind();
        place.take(limiter, limits, requests, whose).inspect_err(|_| {
            if let Some(count) = self.reached.get(kind) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    }
}

impl Gate {
    /// Step 2, second half: the address has room. Before anybody is asked who sent it, so a flood costs little.
    pub(super) fn address_has_room<'a>(&self, running: Running<'a>, trail: &mut Trail) -> Result<Running<'a>, Denial> {
        let place = self.count_address(running.request.asked.client)?;
        if !place.held.is_empty() {
            trail.passed(Step::Limits, "address: not reached");
        }
        Ok(Running { place, ..running })
    }

    /// Counts a request by where it came from. It counts whatever becomes of it.
    ///
    /// # Errors
    /// When the limit of the address is reached.
    pub fn count_address(&self, client: Option<IpAddr>) -> Result<Place, Denial> {
        let mut place = Place::default();
        if let Some((limits, client)) = self.rules.rate_limits.address.zip(client) {
            let limiter = self.usage.limiters.of_address(network(client));
            self.usage.take(&mut place, limiter, limits, 1, Whose::Address)?;
        }
        Ok(place.kept())
    }

    pub(super) fn within_limits(&self, open: InHours<'_>, trail: &mut Trail) -> Result<WithinLimits, Denial> {
        let mut open = open;
        let mut place = std::mem::take(&mut open.permitted.known.running.place);
        let limits = self.limits_on(&open);
        let any = !limits.is_empty();
        for (holder, limits, requests, whose) in limits {
            self.usage.take(&mut place, self.usage.limiters.of_holder(holder), limits, requests, whose)?;
        }
        if any {
            trail.passed(Step::Limits, "not reached");
        }
        Ok(WithinLimits { relay: Relay::of(open, self)?, place })
    }

    /// The limits that hold for who sends, the narrowest first: a set that has reached its own takes nothing of what
    /// its account may have, not for a moment.
    fn limits_on(&self, open: &InHours<'_>) -> Vec<(Holder, Limits, u32, Whose)> {
        let (credential, account) = (&open.permitted.known.credential, &open.permitted.known.account);
        let defaults = &self.rules.rate_limits;
        let mut limits = Vec::new();
        for (policy, requests) in counted(&open.policies) {
            if let Some(own) = policy.limits() {
                let name = policy.name();
                limits.push((Holder::Policy(credential.id, name.clone()), *own, requests, Whose::Policy(name.clone())));
            }
        }
        let operations = u32::try_from(open.policies.len()).unwrap_or(u32::MAX);
        if let Some(own) = defaults.of_credential(credential.limits) {
            limits.push((Holder::Credential(credential.id), own, operations, Whose::Credential));
        }
        if let Some(own) = defaults.of_account(account.limits) {
            limits.push((Holder::Account(account.id), own, operations, Whose::Account));
        }
        limits
    }

    /// How often a limit of each kind turned a request away since the start.
    pub fn limits_reached(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Whose::KINDS.into_iter().zip(&self.usage.reached).map(|(kind, count)| (kind, count.load(Ordering::Relaxed)))
    }
}

/// A single host may use all of an IPv6 network of 64 bits, so its addresses count together.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

/// Each deciding policy with limits once, with how many operations it decides.
pub(super) fn counted(policies: &[Option<Arc<Policy>>]) -> Vec<(&Arc<Policy>, u32)> {
    let mut counted: Vec<(&Arc<Policy>, u32)> = Vec::new();
    for policy in policies.iter().flatten().filter(|policy| policy.limits().is_some()) {
        match counted.iter_mut().find(|(known, _)| known.name() == policy.name()) {
            Some((_, requests)) => *requests = requests.saturating_add(1),
            None => counted.push((policy, 1)),
        }
    }
    counted
}
