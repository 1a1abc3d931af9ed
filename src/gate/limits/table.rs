//! The limiters in use, in bounded memory.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::{AccountId, Clock, CredentialId, PolicyName};

use super::limiter::Limiter;

/// Addresses that are counted at once, each by itself.
const ADDRESSES: usize = 50_000;
/// From so many accounts and credential sets on, those that have used nothing are forgotten. All others are kept.
const HOLDERS: usize = 50_000;
/// A full table is gone through no more often than this.
const SWEEP: Duration = Duration::from_secs(1);

/// Whose requests a limiter counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    /// Those of one credential set that one policy decides.
    Policy(CredentialId, PolicyName),
    /// Those of one credential set.
    Credential(CredentialId),
    /// Those of all sets of one account.
    Account(AccountId),
}

/// All limiters. They know nothing of reloads and changes: limits come with each request.
#[derive(Debug)]
pub(super) struct Limiters {
    holders: Table<Holder>,
    addresses: Table<IpAddr>,
    /// Counts for addresses for which there is no room.
    other_addresses: Arc<Limiter>,
}

impl Limiters {
    pub(super) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self::holding(clock, ADDRESSES)
    }

    fn holding(clock: &Arc<dyn Clock>, addresses: usize) -> Self {
        Self {
            holders: Table::new(clock, HOLDERS),
            addresses: Table::new(clock, addresses),
            other_addresses: Arc::new(Limiter::new(clock)),
        }
    }

    pub(super) fn of_holder(&self, holder: Holder) -> Arc<Limiter> {
        self.holders.make_room();
        self.holders.of(holder)
    }

    /// The limiter of an address, or of a network of which every address counts as one.
    ///
    /// SECURITY: a flood from more addresses than the table holds takes no more memory. Those that find no room share
    /// one limiter, so together they get what one address may have; an address that is in the table keeps its own, and
    /// one that has used nothing makes room.
    pub(super) fn of_address(&self, address: IpAddr) -> Arc<Limiter> {
        match self.addresses.known(&address) {
            Some(limiter) => limiter,
            None if self.addresses.make_room() => self.addresses.of(address),
            None => Arc::clone(&self.other_addresses),
        }
    }
}

#[derive(Debug)]
struct Table<K: Hash + Eq> {
    clock: Arc<dyn Clock>,
    limiters: papaya::HashMap<K, Arc<Limiter>>,
    most: usize,
    /// When it may be gone through again, in milliseconds of the monotonic clock.
    sweep_from: AtomicU64,
}

impl<K: Hash + Eq> Table<K> {
    fn new(clock: &Arc<dyn Clock>, most: usize) -> Self {
        Self { clock: Arc::clone(clock), limiters: papaya::HashMap::new(), most, sweep_from: AtomicU64::new(0) }
    }

    fn known(&self, key: &K) -> Option<Arc<Limiter>> {
        self.limiters.pin().get(key).map(Arc::clone)
    }

    /// Two first requests at once share one limiter.
    fn of(&self, key: K) -> Arc<Limiter> {
        let limiters = self.limiters.pin();
        Arc::clone(limiters.get_or_insert_with(key, || Arc::new(Limiter::new(&self.clock))))
    }

    /// Whether there is room, after forgetting who has used nothing. Who asks in the moment in which it is forgotten
    /// is counted once in vain.
    fn make_room(&self) -> bool {
        if self.limiters.len() < self.most {
            return true;
        }
        let now = millis(self.clock.monotonic());
        let due = self.sweep_from.load(Ordering::Relaxed);
        let next = now.saturating_add(millis(SWEEP));
        if now >= due && self.sweep_from.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.limiters.pin().retain(|_, limiter| !limiter.is_unused());
        }
        self.limiters.len() < self.most
    }
}

fn millis(moment: Duration) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use jiff::Timestamp;

    use super::*;
    use crate::domain::{Limits, ManualClock};

    const MINUTE: Duration = Duration::from_mins(1);

    fn limiters(addresses: usize) -> (ManualClock, Limiters) {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        (clock, Limiters::holding(&shared, addresses))
    }

    /// A request from this address that is over at once.
    fn passes(limiters: &Limiters, number: u32) -> bool {
        let limiter = limiters.of_address(Ipv4Addr::from(number).into());
        let passes = limiter.take(Limits::new(Some((2, MINUTE)), None, None), 1).is_ok();
        if passes {
            limiter.leave();
        }
        passes
    }

    #[test]
    fn a_flood_from_everywhere_takes_bounded_memory_and_gets_what_one_address_may_have() {
        let (_, limiters) = limiters(100);
        let passed = (0..10_000).filter(|number| passes(&limiters, *number)).count();
        assert_eq!(passed, 100 + 2);
        assert_eq!(limiters.addresses.limiters.len(), 100);
        assert!(passes(&limiters, 7) && !passes(&limiters, 7), "who was there before has a count of its own");
    }

    #[test]
    fn who_has_used_nothing_makes_room_and_who_has_does_not() {
        let (clock, limiters) = limiters(2);
        assert!(passes(&limiters, 1) && passes(&limiters, 2));
        let in_progress = limiters.of_address(Ipv4Addr::from(2).into());
        in_progress.take(Limits::new(None, Some(1), None), 1).expect("room");
        // All that was taken has flowed back.
        clock.advance(MINUTE);
        assert!(passes(&limiters, 3) && limiters.addresses.known(&Ipv4Addr::from(3).into()).is_some());
        assert!(limiters.addresses.known(&Ipv4Addr::from(1).into()).is_none(), "forgotten");
        assert!(limiters.addresses.known(&Ipv4Addr::from(2).into()).is_some(), "a request of it is in progress");
    }

    #[test]
    fn a_full_table_is_gone_through_once_a_second() {
        let (clock, limiters) = limiters(1);
        assert!(passes(&limiters, 1) && passes(&limiters, 1));
        clock.advance(MINUTE.saturating_sub(Duration::from_millis(1)));
        assert!(passes(&limiters, 2) && limiters.addresses.known(&Ipv4Addr::from(1).into()).is_some());
        clock.advance(Duration::from_millis(1));
        assert!(passes(&limiters, 3) && limiters.addresses.known(&Ipv4Addr::from(3).into()).is_none(), "too early");
        clock.advance(SWEEP);
        assert!(passes(&limiters, 4) && limiters.addresses.known(&Ipv4Addr::from(4).into()).is_some());
    }

    #[test]
    fn holders_that_have_used_something_are_kept_however_many_there_are() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH));
        let table: Table<u32> = Table::new(&clock, 2);
        for number in 0..10 {
            table.make_room();
            table.of(number).take(Limits::new(Some((2, MINUTE)), None, None), 1).expect("room");
        }
        assert_eq!(table.limiters.len(), 10);
    }
}
