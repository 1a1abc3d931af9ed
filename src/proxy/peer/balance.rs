//! Which peer takes the next exchange, and which are left out for a while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::config::{Balance, Ejection, UpstreamPeer};

/// The peers of one upstream and how they fare. Choosing takes no lock.
#[derive(Debug)]
pub(super) struct Balancer {
    peers: Vec<Arc<PeerState>>,
    /// Indexes of peers in the order of their turns: each as often as its weight says, spread evenly.
    turns: Vec<usize>,
    next_turn: AtomicUsize,
    balance: Balance,
    ejection: Ejection,
}

/// How one peer fares.
#[derive(Debug)]
struct PeerState {
    address: SocketAddr,
    weight: usize,
    in_progress: AtomicUsize,
    failures: AtomicU32,
    /// Until when it is left out, in nanoseconds of the monotonic clock.
    out_until: AtomicU64,
    /// What the health check says.
    unwell: AtomicBool,
}

/// The peers that an exchange has tried already, by index; those beyond the 64th are not remembered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::proxy) struct Tried(u64);

impl Tried {
    fn has(self, index: usize) -> bool {
        u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index)).is_some_and(|bit| self.0 & bit != 0)
    }

    pub(in crate::proxy) fn add(&mut self, index: usize) {
        let bit = u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index));
        self.0 |= bit.unwrap_or(0);
    }
}

/// One exchange at one peer, counted as long as this lives.
#[derive(Debug)]
pub(in crate::proxy) struct InUse {
    peer: Arc<PeerState>,
    pub(in crate::proxy) index: usize,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.peer.in_progress.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Balancer {
    pub(super) fn new(peers: &[UpstreamPeer], balance: Balance, ejection: Ejection) -> Self {
        let state = |peer: &UpstreamPeer| {
            Arc::new(PeerState {
                address: peer.address,
                weight: usize::try_from(peer.weight).unwrap_or(1).max(1),
                in_progress: AtomicUsize::new(0),
                failures: AtomicU32::new(0),
                out_until: AtomicU64::new(0),
                unwell: AtomicBool::new(false),
            })
        };
        let peers: Vec<_> = peers.iter().map(state).collect();
        let turns = turns(&peers);
        Self { peers, turns, next_turn: AtomicUsize::new(0), balance, ejection }
    }

    /// The peer for the next exchange: one that is well and was not tried, else one that was not tried, else any.
    ///
    /// Trying a peer that is left out costs a client less than an answer that nobody can be reached.
    pub(super) fn choose(&self, tried: Tried, now: Duration) -> Option<InUse> {
        let index = match self.balance {
            Balance::RoundRobin => self.in_turn(tried, now),
            Balance::LeastConnections => self.least_loaded(tried, now),
        }?;
        let peer = Arc::clone(self.peers.get(index)?);
        peer.in_progress.fetch_add(1, Ordering::AcqRel);
        Some(InUse { peer, index })
    }

    fn in_turn(&self, tried: Tried, now: Duration) -> Option<usize> {
        let begin = self.next_turn.fetch_add(1, Ordering::Relaxed).checked_rem(self.turns.len())?;
        let turns = || self.turns.iter().cycle().skip(begin).take(self.turns.len()).copied();
        turns()
            .find(|index| !tried.has(*index) && self.is_well(*index, now))
            .or_else(|| turns().find(|index| !tried.has(*index)))
            .or_else(|| turns().next())
    }

    fn least_loaded(&self, tried: Tried, now: Duration) -> Option<usize> {
        // Equal ones take turns.
        let begin = self.next_turn.fetch_add(1, Ordering::Relaxed).checked_rem(self.peers.len())?;
        let all = || (0..self.peers.len()).cycle().skip(begin).take(self.peers.len());
        let least =
            |candidates: &mut dyn Iterator<Item = usize>| candidates.min_by(|one, other| self.compare(*one, *other));
        least(&mut all().filter(|index| !tried.has(*index) && self.is_well(*index, now)))
            .or_else(|| least(&mut all().filter(|index| !tried.has(*index))))
            .or_else(|| least(&mut all()))
    }

    /// By exchanges in progress for each unit of weight.
    fn compare(&self, one: usize, other: usize) -> std::cmp::Ordering {
        let load = |index: usize| {
            self.peers.get(index).map_or((0, 1), |peer| (peer.in_progress.load(Ordering::Acquire), peer.weight))
        };
        let ((busy_one, weight_one), (busy_other, weight_other)) = (load(one), load(other));
        (busy_one * weight_other).cmp(&(busy_other * weight_one))
    }

    fn is_well(&self, index: usize, now: Duration) -> bool {
        self.peers.get(index).is_some_and(|peer| {
            !peer.unwell.load(Ordering::Relaxed) && peer.out_until.load(Ordering::Relaxed) <= nanos(now)
        })
    }

    /// A peer answered.
    pub(super) fn succeeded(&self, index: usize) {
        if let Some(peer) = self.peers.get(index)
            && peer.failures.load(Ordering::Relaxed) != 0
        {
            peer.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A peer could not be reached, broke off, or said that it cannot serve.
    pub(super) fn failed(&self, index: usize, now: Duration) {
        let (Some(peer), true) = (self.peers.get(index), self.ejection.failures > 0) else { return };
        let failures = peer.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures >= self.ejection.failures {
            peer.failures.store(0, Ordering::Relaxed);
            peer.out_until.store(nanos(now.saturating_add(self.ejection.pause)), Ordering::Relaxed);
            log::warn!("peer {}: {failures} failures in a row, left out for {:?}", peer.address, self.ejection.pause);
        }
    }

    /// What the health check says of a peer.
    pub(super) fn set_well(&self, index: usize, well: bool) {
        let Some(peer) = self.peers.get(index) else { return };
        if peer.unwell.swap(!well, Ordering::Relaxed) == well {
            let state = if well { "is well again" } else { "is unwell and left out" };
            log::warn!("peer {}: {state}", peer.address);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.peers.len()
    }
}

/// Smooth weighted round robin: a peer of weight 2 between two of weight 1 has every second turn, not two in a row.
fn turns(peers: &[Arc<PeerState>]) -> Vec<usize> {
    let signed = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let total: usize = peers.iter().map(|peer| peer.weight).sum();
    let mut credit = vec![0_i64; peers.len()];
    let mut turns = Vec::with_capacity(total);
    for _ in 0..total {
        for (credit, peer) in credit.iter_mut().zip(peers) {
            *credit = credit.saturating_add(signed(peer.weight));
        }
        // The first of equals, so that the order is that of the configuration.
        let Some((index, _)) = credit.iter().enumerate().rev().max_by_key(|(_, credit)| **credit) else { break };
        if let Some(credit) = credit.get_mut(index) {
            *credit = credit.saturating_sub(signed(total));
        }
        turns.push(index);
    }
    turns
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn balancer(weights: &[u32], balance: Balance) -> Balancer {
        let peer =
            |(weight, port): (&u32, u16)| UpstreamPeer { address: ([127, 0, 0, 1], port).into(), weight: *weight };
        let peers: Vec<_> = weights.iter().zip(1..).map(peer).collect();
        Balancer::new(&peers, balance, Ejection { failures: 2, pause: Duration::from_secs(10) })
    }

    fn chosen(balancer: &Balancer, times: usize) -> Vec<usize> {
        (0..times).map(|_| balancer.choose(Tried::default(), NOW).expect("a peer").index).collect()
    }

    #[test]
    fn round_robin_gives_each_its_turn() {
        assert_eq!(chosen(&balancer(&[1, 1, 1], Balance::RoundRobin), 6), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn weights_are_kept_exactly_and_spread_evenly() {
        assert_eq!(chosen(&balancer(&[3, 1], Balance::RoundRobin), 8), [0, 0, 1, 0, 0, 0, 1, 0]);
        assert_eq!(chosen(&balancer(&[1, 2, 1], Balance::RoundRobin), 4), [1, 0, 2, 1]);
    }

    #[test]
    fn least_connections_looks_at_what_is_in_progress_for_the_weight() {
        let balancer = balancer(&[1, 3], Balance::LeastConnections);
        let held: Vec<_> = (0..8).map(|_| balancer.choose(Tried::default(), NOW).expect("a peer")).collect();
        let at = |index| held.iter().filter(|in_use| in_use.index == index).count();
        assert_eq!((at(0), at(1)), (2, 6));
        drop(held);
        let load = |index: usize| balancer.peers[index].in_progress.load(Ordering::Acquire);
        assert_eq!((load(0), load(1)), (0, 0), "what has ended is not counted");
    }

    #[test]
    fn peer_that_was_tried_is_not_tried_again_while_there_is_another() {
        for balance in [Balance::RoundRobin, Balance::LeastConnections] {
            let balancer = balancer(&[1, 1], balance);
            let mut tried = Tried::default();
            tried.add(0);
            assert!((0..4).all(|_| balancer.choose(tried, NOW).expect("a peer").index == 1));
            tried.add(1);
            assert!(balancer.choose(tried, NOW).is_some());
        }
    }

    #[test]
    fn peer_that_fails_is_left_out_and_comes_back() {
        let balancer = balancer(&[1, 1], Balance::RoundRobin);
        balancer.failed(0, NOW);
        balancer.succeeded(0);
        balancer.failed(0, NOW);
        assert_eq!(chosen(&balancer, 2), [0, 1], "a success in between ends the count");
        balancer.failed(0, NOW);
        assert_eq!(chosen(&balancer, 4), [1, 1, 1, 1]);
        let later = NOW + Duration::from_secs(10);
        let indexes: Vec<_> = (0..2).map(|_| balancer.choose(Tried::default(), later).expect("a peer").index).collect();
        assert_eq!(indexes, [0, 1]);
    }

    #[test]
    fn all_left_out_are_tried_all_the_same() {
        let balancer = balancer(&[1, 1], Balance::RoundRobin);
        for index in [0, 0, 1, 1] {
            balancer.failed(index, NOW);
        }
        assert_eq!(chosen(&balancer, 2), [0, 1]);
        balancer.set_well(0, false);
        assert_eq!(chosen(&balancer, 2).len(), 2);
    }

    #[test]
    fn health_check_takes_a_peer_out_and_back() {
        let balancer = balancer(&[1, 1], Balance::LeastConnections);
        balancer.set_well(1, false);
        assert_eq!(chosen(&balancer, 3), [0, 0, 0]);
        balancer.set_well(1, true);
        assert!(chosen(&balancer, 2).contains(&1));
    }

    #[test]
    fn no_peers_is_no_choice() {
        assert!(balancer(&[], Balance::RoundRobin).choose(Tried::default(), NOW).is_none());
        assert!(balancer(&[], Balance::LeastConnections).choose(Tried::default(), NOW).is_none());
    }
}
