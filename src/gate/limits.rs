//! The deciding policy's limits: requests per period (GCRA, exact), requests at once, and bytes of answers per period,
//! per credential set.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as GovernorClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota as Rate, RateLimiter};

use crate::audit::Step;
use crate::domain::{Clock, Code, CredentialId, PolicyName};
use crate::policy::{Limits, Policy};

use super::budget::Budget;
use super::hours::InHours;
use super::{Denial, Gate, Quota, ReachedLimit, Trail};

/// Proof: the limits of the deciding policy leave room. Holds a place among the requests at once.
#[must_use]
pub(super) struct WithinLimits {
    pub(super) relay: super::admission::Relay,
    pub(super) place: Option<Place>,
}

/// A place among the requests at once of each policy that decides; given back when dropped.
#[derive(Debug, Default)]
pub(super) struct Place(Vec<Arc<Limiter>>);

impl Place {
    /// Takes bytes that have left from the budget of each policy that decides.
    pub(super) fn count_bytes(&self, bytes: usize) {
        for limiter in &self.0 {
            if let Some(budget) = &limiter.budget {
                budget.spend(bytes, limiter.clock.monotonic());
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for limiter in &self.0 {
            limiter.at_once.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// The limiters in use, by credential set and policy. They survive a reload that leaves the limits as they are.
#[derive(Debug, Default)]
pub(super) struct Limiters {
    by_holder: papaya::HashMap<(CredentialId, PolicyName), Arc<Limiter>>,
}

#[derive(Debug)]
struct Limiter {
    limits: Limits,
    rate: Option<RateLimiter<NotKeyed, InMemoryState, Monotonic, NoOpMiddleware<Nanos>>>,
    at_once: AtomicU32,
    budget: Option<Budget>,
    clock: Arc<dyn Clock>,
}

/// Lets the limiter run on our clock.
#[derive(Debug, Clone)]
struct Monotonic(Arc<dyn Clock>);

impl GovernorClock for Monotonic {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.monotonic())
    }
}

impl Limiter {
    fn new(limits: Limits, clock: &Arc<dyn Clock>) -> Self {
        let rate = limits.rate().and_then(|(requests, period)| {
            let burst = NonZeroU32::new(requests)?;
            let quota = Rate::with_period(period / requests)?.allow_burst(burst);
            Some(RateLimiter::direct_with_clock(quota, Monotonic(Arc::clone(clock))))
        });
        let budget = limits.bytes().map(|(bytes, period)| Budget::new(bytes, period));
        Self { limits, rate, at_once: AtomicU32::new(0), budget, clock: Arc::clone(clock) }
    }

    /// Takes one of the requests at once, and `requests` of those per period: each part of a batch counts.
    fn take(self: &Arc<Self>, requests: NonZeroU32, place: &mut Place, policy: &PolicyName) -> Result<(), Denial> {
        let now = self.clock.monotonic();
        let before = self.at_once.fetch_add(1, Ordering::AcqRel);
        place.0.push(Arc::clone(self));
        if let Some(most) = self.limits.concurrent()
            && before >= most
        {
            let reason = format!("policy `{policy}` allows {most} requests at once");
            return Err(Denial::new(Step::Limits, Code::RateLimited, reason).retry_after(Duration::from_secs(1)));
        }
        let limited = |reason: String, quota: Quota, period: Duration| {
            let mut denial = Denial::new(Step::Limits, Code::RateLimited, reason);
            denial.public.limit = Some(ReachedLimit { name: policy.to_string(), quota, period });
            denial
        };
        if let Some((budget, (most, period))) = self.budget.as_ref().zip(self.limits.bytes())
            && let Some(wait) = budget.used_up_for(now)
        {
            let reason = format!("policy `{policy}` allows {most} bytes of answers per {period:?}");
            return Err(limited(reason, Quota::Bytes(most), period).retry_after(wait));
        }
        let Some((rate, (most, period))) = self.rate.as_ref().zip(self.limits.rate()) else { return Ok(()) };
        let limited = |reason| limited(reason, Quota::Requests(most), period);
        match rate.check_n(requests) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(Nanos::from(now));
                Err(limited(format!("policy `{policy}` allows {most} requests per {period:?}")).retry_after(wait))
            }
            // No waiting makes room for it.
            Err(_) => Err(limited(format!(
                "the batch has {requests} operations; policy `{policy}` allows {most} requests per {period:?}"
            ))),
        }
    }
}

impl Gate {
    pub(super) fn within_limits(&self, open: InHours<'_>, trail: &mut Trail) -> Result<WithinLimits, Denial> {
        let mut place = None;
        for (policy, requests) in counted(&open.policies) {
            let Some(limits) = policy.limits() else { continue };
            let holder = (open.permitted.known.credential.id, policy.name().clone());
            let place = place.get_or_insert_with(Place::default);
            self.limiter(holder, limits).take(requests, place, policy.name())?;
        }
        if place.is_some() {
            trail.passed(Step::Limits, "not reached");
        }
        let relay = super::admission::Relay::of(open, self)?;
        Ok(WithinLimits { relay, place })
    }

    fn limiter(&self, holder: (CredentialId, PolicyName), limits: &Limits) -> Arc<Limiter> {
        let pinned = self.limiters.by_holder.pin();
        match pinned.get(&holder) {
            Some(limiter) if limiter.limits == *limits => Arc::clone(limiter),
            _ => {
                let limiter = Arc::new(Limiter::new(limits.clone(), &self.clock));
                pinned.insert(holder, Arc::clone(&limiter));
                limiter
            }
        }
    }
}

/// Each deciding policy once, with how many operations it decides.
pub(super) fn counted(policies: &[Option<Arc<Policy>>]) -> Vec<(&Arc<Policy>, NonZeroU32)> {
    let mut counted: Vec<(&Arc<Policy>, NonZeroU32)> = Vec::with_capacity(1);
    for policy in policies.iter().flatten() {
        match counted.iter_mut().find(|(known, _)| known.name() == policy.name()) {
            Some((_, requests)) => *requests = requests.saturating_add(1),
            None => counted.push((policy, NonZeroU32::MIN)),
        }
    }
    counted
}

// The instants are durations since an arbitrary moment, which is what governor asks of a reference.
const _: fn() = || {
    fn is_reference<T: Reference>() {}
    is_reference::<Nanos>();
};
