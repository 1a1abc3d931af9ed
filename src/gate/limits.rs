//! Limits of addresses, accounts, credential sets and deciding policies: requests per period (GCRA, exact), requests at
//! once, and bytes of answers per period.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock as GovernorClock, Reference};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota as Rate, RateLimiter};

use crate::audit::Step;
use crate::domain::{AccountId, Clock, Code, CredentialId, Limits, PolicyName};
use crate::policy::Policy;

use super::budget::Budget;
use super::hours::InHours;
use super::stopped::Running;
use super::{Denial, Gate, Quota, ReachedLimit, Trail};

/// Proof: the limits of the deciding policy leave room. Holds a place among the requests at once.
#[must_use]
pub(super) struct WithinLimits {
    pub(super) relay: super::admission::Relay,
    pub(super) place: Place,
}

/// A place among the requests at once of each limit that counts a request; given back when dropped.
#[derive(Debug, Default)]
pub(super) struct Place {
    limiters: Vec<Arc<Limiter>>,
    states: Vec<LimitState>,
}

impl Place {
    /// What was left of each limit on requests when this one was let in.
    pub(super) fn states(&self) -> &[LimitState] {
        &self.states
    }

    /// Takes bytes that have left from each budget that counts them.
    pub(super) fn count_bytes(&self, bytes: usize) {
        for limiter in &self.limiters {
            if let Some(budget) = &limiter.budget {
                budget.spend(bytes, limiter.clock.monotonic());
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for limiter in &self.limiters {
            limiter.at_once.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Whose requests a limiter counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Counted {
    /// Those of one credential set that one policy decides.
    Policy(CredentialId, PolicyName),
    /// Those of one credential set.
    Credential(CredentialId),
    /// Those of all sets of one account.
    Account(AccountId),
    /// Those from one address; an IPv6 network of 64 bits counts as one.
    Address(IpAddr),
    /// Those from addresses for which there is no room in the table.
    OtherAddresses,
}

/// The limiters in use. They survive a reload that leaves the limits as they are.
#[derive(Debug, Default)]
pub(super) struct Limiters {
    by_holder: papaya::HashMap<Counted, Arc<Limiter>>,
    by_address: papaya::HashMap<Counted, Arc<Limiter>>,
    /// When the table of addresses was last gone through, in milliseconds of the monotonic clock.
    swept: AtomicU64,
}

/// Addresses that are counted at once, each by itself. A flood from more of them shares one limiter.
const ADDRESSES: usize = 50_000;

#[derive(Debug)]
struct Limiter {
    limits: Limits,
    rate: Option<RateLimiter<NotKeyed, InMemoryState, Monotonic, StateInformationMiddleware>>,
    at_once: AtomicU32,
    budget: Option<Budget>,
    clock: Arc<dyn Clock>,
    /// When it was last asked, in milliseconds of the monotonic clock.
    asked: AtomicU64,
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
            let limiter = RateLimiter::direct_with_clock(quota, Monotonic(Arc::clone(clock)));
            Some(limiter.with_middleware::<StateInformationMiddleware>())
        });
        let budget = limits.bytes().map(|(bytes, period)| Budget::new(bytes, period));
        Self { limits, rate, at_once: AtomicU32::new(0), budget, clock: Arc::clone(clock), asked: AtomicU64::new(0) }
    }

    /// Takes one of the requests at once, and `requests` of those per period: each part of a batch counts.
    fn take(self: &Arc<Self>, requests: NonZeroU32, place: &mut Place, whose: &Whose<'_>) -> Result<(), Denial> {
        let now = self.clock.monotonic();
        self.asked.store(millis(now), Ordering::Relaxed);
        let before = self.at_once.fetch_add(1, Ordering::AcqRel);
        place.limiters.push(Arc::clone(self));
        if let Some(most) = self.limits.concurrent()
            && before >= most
        {
            let reason = format!("{whose} allows {most} requests at once");
            return Err(Denial::new(Step::Limits, Code::RateLimited, reason).retry_after(Duration::from_secs(1)));
        }
        let limited = |reason: String, quota: Quota, period: Duration| {
            let mut denial = Denial::new(Step::Limits, Code::RateLimited, reason);
            denial.public.limit = Some(ReachedLimit { name: whose.name().to_string(), quota, period });
            denial
        };
        if let Some((budget, (most, period))) = self.budget.as_ref().zip(self.limits.bytes())
            && let Some(wait) = budget.used_up_for(now)
        {
            let reason = format!("{whose} allows {most} bytes of answers per {period:?}");
            return Err(limited(reason, Quota::Bytes(most), period).retry_after(wait));
        }
        let Some((rate, (most, period))) = self.rate.as_ref().zip(self.limits.rate()) else { return Ok(()) };
        let limited = |reason| limited(reason, Quota::Requests(most), period);
        match rate.check_n(requests) {
            Ok(Ok(state)) => {
                let left = state.remaining_burst_capacity();
                place.states.push(LimitState { name: whose.name(), most, period, left });
                Ok(())
            }
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(Nanos::from(now));
                Err(limited(format!("{whose} allows {most} requests per {period:?}")).retry_after(wait))
            }
            // No waiting makes room for it.
            Err(_) => Err(limited(format!(
                "the batch has {requests} operations; {whose} allows {most} requests per {period:?}"
            ))),
        }
    }

    /// Whether nobody has asked it for so long that it is as if it were new.
    fn is_idle(&self, now: u64) -> bool {
        let periods = [self.limits.rate().map(|(_, period)| period), self.limits.bytes().map(|(_, period)| period)];
        let longest = periods.into_iter().flatten().max().unwrap_or_default();
        let rested = now.saturating_sub(self.asked.load(Ordering::Relaxed)) > millis(longest);
        rested && self.at_once.load(Ordering::Acquire) == 0
    }
}

/// Whose limit it is, for people.
enum Whose<'a> {
    Policy(&'a PolicyName),
    Credential,
    Account,
    Address,
}

impl Whose<'_> {
    fn name(&self) -> LimitName {
        match self {
            Self::Policy(name) => LimitName::Policy((*name).clone()),
            Self::Credential => LimitName::Other("credential"),
            Self::Account => LimitName::Other("account"),
            Self::Address => LimitName::Other("address"),
        }
    }
}

impl fmt::Display for Whose<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(name) => write!(out, "policy `{name}`"),
            Self::Credential => out.write_str("the limit of the credential set"),
            Self::Account => out.write_str("the limit of the account"),
            Self::Address => out.write_str("the limit of the address"),
        }
    }
}

/// What is left of a limit after a request, as the draft of the `RateLimit` header fields has it
/// (draft-ietf-httpapi-ratelimit-headers).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitState {
    name: LimitName,
    most: u32,
    period: Duration,
    left: u32,
}

/// The name under which clients see a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
enum LimitName {
    Policy(PolicyName),
    Other(&'static str),
}

impl fmt::Display for LimitName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(name) => name.fmt(out),
            Self::Other(name) => out.write_str(name),
        }
    }
}

impl LimitState {
    /// An item of `RateLimit-Policy`.
    #[must_use]
    pub fn policy_item(&self) -> String {
        format!("\"{}\";q={};w={}", self.name, self.most, self.period.as_secs().max(1))
    }

    /// An item of `RateLimit`: how many requests are left, and in how many seconds all are there again.
    #[must_use]
    pub fn state_item(&self) -> String {
        let used = u64::from(self.most.saturating_sub(self.left));
        let until_full = self.period.as_secs_f64() * f64::from(u32::try_from(used).unwrap_or(u32::MAX))
            / f64::from(self.most.max(1));
        format!("\"{}\";r={};t={}", self.name, self.left, whole_seconds(until_full))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a period is at most a day")]
fn whole_seconds(seconds: f64) -> u64 {
    seconds.ceil() as u64
}

fn millis(moment: Duration) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(u64::MAX)
}

impl Gate {
    /// Step 2, second half: the address has room. Before anybody is asked who sent it, so a flood costs little.
    pub(super) fn address_has_room<'a>(&self, running: Running<'a>, trail: &mut Trail) -> Result<Running<'a>, Denial> {
        let Some((limits, client)) = self.rules.rate_limits.address.zip(running.request.asked.client) else {
            return Ok(running);
        };
        let mut running = running;
        let limiter = self.limiters.of_address(network(client), limits, &self.clock);
        limiter.take(NonZeroU32::MIN, &mut running.place, &Whose::Address)?;
        trail.passed(Step::Limits, "address: not reached");
        Ok(running)
    }

    pub(super) fn within_limits(&self, open: InHours<'_>, trail: &mut Trail) -> Result<WithinLimits, Denial> {
        let mut open = open;
        let mut place = std::mem::take(&mut open.permitted.known.running.place);
        let (credential, account) = (&open.permitted.known.credential, &open.permitted.known.account);
        let own = [
            (Counted::Account(account.id), account.limits.or(self.rules.rate_limits.account), Whose::Account),
            (
                Counted::Credential(credential.id),
                credential.limits.or(self.rules.rate_limits.credential),
                Whose::Credential,
            ),
        ];
        let operations =
            NonZeroU32::new(u32::try_from(open.policies.len()).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN);
        let mut any = false;
        for (holder, limits, whose) in own {
            let Some(limits) = limits else { continue };
            any = true;
            self.limiters.of_holder(holder, limits, &self.clock).take(operations, &mut place, &whose)?;
        }
        for (policy, requests) in counted(&open.policies) {
            let Some(limits) = policy.limits() else { continue };
            any = true;
            let holder = Counted::Policy(credential.id, policy.name().clone());
            self.limiters.of_holder(holder, *limits, &self.clock).take(
                requests,
                &mut place,
                &Whose::Policy(policy.name()),
            )?;
        }
        if any {
            trail.passed(Step::Limits, "not reached");
        }
        let relay = super::admission::Relay::of(open, self)?;
        Ok(WithinLimits { relay, place })
    }
}

impl Limiters {
    fn of_holder(&self, holder: Counted, limits: Limits, clock: &Arc<dyn Clock>) -> Arc<Limiter> {
        Self::of(&self.by_holder, holder, limits, clock)
    }

    fn of_address(&self, address: IpAddr, limits: Limits, clock: &Arc<dyn Clock>) -> Arc<Limiter> {
        let counted = Counted::Address(address);
        if self.by_address.len() < ADDRESSES || self.by_address.pin().contains_key(&counted) {
            return Self::of(&self.by_address, counted, limits, clock);
        }
        self.sweep(millis(clock.monotonic()));
        let counted = if self.by_address.len() < ADDRESSES { counted } else { Counted::OtherAddresses };
        Self::of(&self.by_address, counted, limits, clock)
    }

    /// Forgets addresses that are as if they had never asked; at most once a second.
    fn sweep(&self, now: u64) {
        let swept = self.swept.load(Ordering::Relaxed);
        let due = now.saturating_sub(swept) >= 1000;
        if due && self.swept.compare_exchange(swept, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.by_address.pin().retain(|_, limiter| !limiter.is_idle(now));
        }
    }

    fn of(
        table: &papaya::HashMap<Counted, Arc<Limiter>>,
        counted: Counted,
        limits: Limits,
        clock: &Arc<dyn Clock>,
    ) -> Arc<Limiter> {
        let pinned = table.pin();
        match pinned.get(&counted) {
            Some(limiter) if limiter.limits == limits => Arc::clone(limiter),
            Some(_) => {
                let limiter = Arc::new(Limiter::new(limits, clock));
                pinned.insert(counted, Arc::clone(&limiter));
                limiter
            }
            // Two first requests at once share one limiter.
            None => Arc::clone(pinned.get_or_insert_with(counted, || Arc::new(Limiter::new(limits, clock)))),
        }
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
