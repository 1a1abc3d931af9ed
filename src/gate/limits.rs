//! The deciding policy's limits: requests per period (GCRA, exact) and requests at once, per credential set.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as GovernorClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::audit::Step;
use crate::domain::{Clock, Code, CredentialId, PolicyName};
use crate::policy::Limits;

use super::hours::InHours;
use super::{Denial, Gate, ReachedLimit, Trail};

/// Proof: the limits of the deciding policy leave room. Holds its places among the requests at once.
#[must_use]
pub(super) struct WithinLimits {
    pub(super) relay: super::admission::Relay,
    pub(super) places: Vec<Place>,
}

/// A place among the requests at once; given back when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Limiter>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::AcqRel);
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
            let quota = Quota::with_period(period / requests)?.allow_burst(burst);
            Some(RateLimiter::direct_with_clock(quota, Monotonic(Arc::clone(clock))))
        });
        Self { limits, rate, at_once: AtomicU32::new(0) }
    }

    fn take(self: &Arc<Self>, clock: &Arc<dyn Clock>, policy: &PolicyName) -> Result<Place, Denial> {
        let before = self.at_once.fetch_add(1, Ordering::AcqRel);
        let place = Place(Arc::clone(self));
        if let Some(most) = self.limits.concurrent()
            && before >= most
        {
            let reason = format!("policy `{policy}` allows {most} requests at once");
            return Err(Denial::new(Step::Limits, Code::RateLimited, reason).retry_after(Duration::from_secs(1)));
        }
        if let (Some(rate), Some((requests, period))) = (&self.rate, self.limits.rate())
            && let Err(not_until) = rate.check()
        {
            let wait = not_until.wait_time_from(Nanos::from(clock.monotonic()));
            let reason = format!("policy `{policy}` allows {requests} requests per {period:?}");
            let mut denial = Denial::new(Step::Limits, Code::RateLimited, reason).retry_after(wait);
            denial.public.limit = Some(ReachedLimit { name: policy.to_string(), requests, period });
            return Err(denial);
        }
        Ok(place)
    }
}

impl Gate {
    /// Each part of a batch counts as a request.
    pub(super) fn within_limits(&self, open: InHours<'_>, trail: &mut Trail) -> Result<WithinLimits, Denial> {
        let mut places = Vec::new();
        for policy in std::iter::once(&open.policy).chain(&open.further).flatten() {
            let Some(limits) = policy.limits() else { continue };
            let holder = (open.permitted.known.credential.id, policy.name().clone());
            places.push(self.limiter(holder, limits).take(&self.clock, policy.name())?);
        }
        if !places.is_empty() {
            trail.passed(Step::Limits, "not reached");
        }
        let relay = super::admission::Relay::of(open, self)?;
        Ok(WithinLimits { relay, places })
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

// The instants are durations since an arbitrary moment, which is what governor asks of a reference.
const _: fn() = || {
    fn is_reference<T: Reference>() {}
    is_reference::<Nanos>();
};
