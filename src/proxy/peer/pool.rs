//! Who is next: shares by weight, requests in progress, and peers that are left out for a while.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::{Balance, Ejection, Upstream};
use crate::domain::UpstreamName;
use crate::upstream::{Circuit, Guarded, SessionEvents};

/// What is known of the peers of one upstream.
#[derive(Debug)]
pub(super) struct Pool {
    upstream: UpstreamName,
    balance: Balance,
    ejection: Ejection,
    /// Held for a few comparisons only, never across an await.
    members: Mutex<Vec<Member>>,
    events: Arc<dyn SessionEvents>,
}

/// What is known of one peer.
#[derive(Debug)]
struct Member {
    address: SocketAddr,
    weight: u32,
    /// How far it is behind its share; the one that is furthest behind is next.
    credit: i64,
    in_progress: usize,
    /// In a row.
    failures: u32,
    /// Left out until this moment of the monotonic clock.
    out_until: Option<Duration>,
    /// Whether somebody was told that it is tried again.
    trial: Trial,
    /// What the health checks say.
    checked: Checked,
}

/// Whether a peer that was left out has been given another chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    NotYet,
    Begun,
}

/// What the health checks say; without any, a peer is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Checked {
    Well,
    Unwell,
}

impl Member {
    fn is_out(&self, now: Duration) -> bool {
        self.out_until.is_some_and(|until| now < until)
    }

    fn is_well(&self, now: Duration) -> bool {
        self.checked == Checked::Well && !self.is_out(now)
    }

    /// Less is better: a peer that its checks call well, then one that comes back sooner.
    fn badness(&self, now: Duration) -> (Checked, Duration) {
        (self.checked, self.out_until.filter(|until| now < *until).unwrap_or_default())
    }

    /// Whether it would have less to do than `other` with one request more.
    fn is_less_busy(&self, other: &Self) -> bool {
        load(self.in_progress, other.weight) < load(other.in_progress, self.weight)
    }
}

/// The load of one peer, brought to the other's weight so that the two compare without fractions.
fn load(in_progress: usize, weight_of_other: u32) -> u64 {
    let more = u64::try_from(in_progress).unwrap_or(u64::MAX).saturating_add(1);
    more.saturating_mul(u64::from(weight_of_other))
}

impl Pool {
    pub(super) fn of(upstream: &Upstream, events: Arc<dyn SessionEvents>) -> Self {
        let member = |peer: &crate::config::UpstreamPeer| Member {
            address: peer.address,
            weight: peer.weight,
            credit: 0,
            in_progress: 0,
            failures: 0,
            out_until: None,
            trial: Trial::NotYet,
            checked: Checked::Well,
        };
        Self {
            upstream: upstream.name.clone(),
            balance: upstream.balance,
            ejection: upstream.ejection,
            members: Mutex::new(upstream.peers.iter().map(member).collect()),
            events,
        }
    }

    /// How many peers there are.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Takes the next peer besides those `tried`. Where all of them are left out, the least bad one is tried: the answer
    /// of a peer that may be well again is better than none.
    pub(super) fn take(pool: &Arc<Self>, tried: &[usize], now: Duration) -> Option<Lease> {
        let mut members = pool.lock();
        let untried = || members.iter().enumerate().filter(|(index, _)| !tried.contains(index));
        let well: Vec<usize> = untried().filter(|(_, member)| member.is_well(now)).map(|(index, _)| index).collect();
        let index = match pool.balance {
            _ if well.is_empty() => untried().min_by_key(|(_, member)| member.badness(now)).map(|(index, _)| index),
            Balance::InOrder => well.first().copied(),
            Balance::RoundRobin => take_turns(&mut members, &well),
            Balance::LeastConnections => {
                let least = least_busy(&members, &well);
                take_turns(&mut members, &least)
            }
        }?;
        let member = members.get_mut(index)?;
        member.in_progress += 1;
        let address = member.address;
        let comes_back = member.out_until.is_some_and(|until| until <= now) && member.trial == Trial::NotYet;
        if comes_back {
            member.trial = Trial::Begun;
        }
        drop(members);
        if comes_back {
            pool.tell(address, Circuit::HalfOpen, "a request tries it".to_owned());
        }
        Some(Lease { pool: Arc::clone(pool), index })
    }

    /// What the health checks say from now on.
    pub(super) fn checked(&self, address: SocketAddr, checked: Checked) {
        let mut members = self.lock();
        let Some(member) = members.iter_mut().find(|member| member.address == address) else { return };
        let before = std::mem::replace(&mut member.checked, checked);
        drop(members);
        if before != checked {
            match checked {
                Checked::Well => self.tell(address, Circuit::Closed, "its health checks succeed".to_owned()),
                Checked::Unwell => self.tell(address, Circuit::Open, "its health checks fail".to_owned()),
            }
        }
    }

    fn tell(&self, address: SocketAddr, circuit: Circuit, note: String) {
        self.events.circuit(Guarded::Peer(&self.upstream, address), circuit, note);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Smooth weighted round robin: in as many turns as the weights sum up to, each has exactly its share, and a heavy peer
/// does not get its turns in one go.
fn take_turns(members: &mut [Member], among: &[usize]) -> Option<usize> {
    let mut sum = 0;
    for (_, member) in members.iter_mut().enumerate().filter(|(index, _)| among.contains(index)) {
        member.credit += i64::from(member.weight);
        sum += i64::from(member.weight);
    }
    let mut next: Option<(usize, i64)> = None;
    for (index, member) in members.iter().enumerate().filter(|(index, _)| among.contains(index)) {
        // The first of equals, so that turns begin in the order written.
        if next.is_none_or(|(_, most)| member.credit > most) {
            next = Some((index, member.credit));
        }
    }
    let (index, _) = next?;
    members.get_mut(index)?.credit -= sum;
    Some(index)
}

fn least_busy(members: &[Member], among: &[usize]) -> Vec<usize> {
    let others = |index: &&usize| {
        let Some(member) = members.get(**index) else { return false };
        !among.iter().filter_map(|other| members.get(*other)).any(|other| other.is_less_busy(member))
    };
    among.iter().filter(others).copied().collect()
}

/// A peer at work: it counts as busy until this is dropped.
#[derive(Debug)]
pub(in crate::proxy) struct Lease {
    pool: Arc<Pool>,
    index: usize,
}

impl Lease {
    pub(in crate::proxy) fn index(&self) -> usize {
        self.index
    }

    /// The peer answered.
    pub(in crate::proxy) fn succeeded(&self) {
        let mut members = self.pool.lock();
        if let Some(member) = members.get_mut(self.index) {
            member.failures = 0;
            member.trial = Trial::NotYet;
            if member.out_until.take().is_some() {
                let address = member.address;
                drop(members);
                log::info!("upstream `{}`: peer {address} answers again", self.pool.upstream);
                self.pool.tell(address, Circuit::Closed, "it answers again".to_owned());
            }
        }
    }

    /// The peer took no connection, broke off or answered that it cannot serve.
    pub(super) fn failed(&self, now: Duration) {
        let Ejection { failures, pause } = self.pool.ejection;
        let mut members = self.pool.lock();
        let Some(member) = members.get_mut(self.index) else { return };
        member.failures = member.failures.saturating_add(1);
        // The count stays after the time is up: one failure of a peer that has just come back leaves it out again.
        if failures == 0 || member.failures < failures {
            return;
        }
        let newly = !member.is_out(now);
        let (name, address, count) = (&self.pool.upstream, member.address, member.failures);
        member.out_until = Some(now.saturating_add(pause));
        member.trial = Trial::NotYet;
        drop(members);
        if newly {
            log::warn!("upstream `{name}`: peer {address} is left out for {pause:?} after {count} failures in a row");
            self.pool.tell(address, Circuit::Open, format!("failures in a row: {count}; left out for {pause:?}"));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(member) = self.pool.lock().get_mut(self.index) {
            member.in_progress = member.in_progress.saturating_sub(1);
        }
    }
}
