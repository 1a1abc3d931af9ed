//! The connections of clients: how many there are, of whom, and how they end when the gateway stops.
//!
//! Then nobody who is about to send a request finds a closed connection. No connection is accepted any more; those that wait stay in the socket's queue, which the service manager keeps for
//! the next process. Each answer on an open connection is its last (`Connection: close`, GOAWAY). One that is idle stays
//! open for a moment, so that a request that is on its way is answered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::gate::network;

/// How long an idle connection stays open.
const LINGER: Duration = Duration::from_secs(1);
/// How often it is looked whether all have ended.
const LOOK: Duration = Duration::from_millis(10);
/// So many looks in a row must find none: what was accepted last may still be shaking hands.
const QUIET: u32 = 5;

/// The connections of clients.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, usize>>,
    refused: [AtomicU64; Refused::NAMES.len()],
    streams_refused: AtomicU64,
    no_more: AtomicBool,
}

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) of_all: usize,
    /// `None` where an address may have as many as there are.
    pub(super) of_address: Option<usize>,
}

/// Why there is no room for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// So many are open.
    OfAll(usize),
    /// So many of this address are open.
    OfAddress(usize),
}

impl Refused {
    /// What the limits are called.
    pub(super) const NAMES: [&'static str; 2] = ["all", "address"];

    const fn place(self) -> usize {
        match self {
            Self::OfAll(_) => 0,
            Self::OfAddress(_) => 1,
        }
    }
}

/// A connection that is open as long as this lives.
#[derive(Debug)]
pub(super) struct Open {
    of: Arc<Connections>,
    /// Where it is counted besides.
    address: Option<IpAddr>,
}

impl Open {
    /// Counts it for this address too, where addresses are counted.
    pub(super) fn counts_for(&mut self, address: IpAddr, most: Most) -> Result<(), Refused> {
        let Some(most) = most.of_address else { return Ok(()) };
        let address = network(address);
        let others = {
            let mut addresses = self.of.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            let count = addresses.entry(address).or_default();
            *count += 1;
            *count - 1
        };
        self.address = Some(address);
        if others >= most { Err(self.of.refuse(Refused::OfAddress(others))) } else { Ok(()) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.of.open.fetch_sub(1, Ordering::AcqRel);
        if let Some(address) = self.address {
            let mut addresses = self.of.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = addresses.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    addresses.remove(&address);
                }
            }
        }
    }
}

impl Connections {
    /// Counts a connection; one that finds no room counts until it is closed.
    pub(super) fn opened(self: &Arc<Self>, most: Most) -> (Open, Result<(), Refused>) {
        let others = self.open.fetch_add(1, Ordering::AcqRel);
        let room = if others >= most.of_all { Err(self.refuse(Refused::OfAll(others))) } else { Ok(()) };
        (Open { of: Arc::clone(self), address: None }, room)
    }

    fn refuse(&self, refused: Refused) -> Refused {
        if let Some(count) = self.refused.get(refused.place()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        refused
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many found no room since the start, by the limit.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refused::NAMES.into_iter().zip(&self.refused).map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }

    /// A stream of HTTP/2 found no room.
    pub(super) fn refuse_stream(&self) {
        self.streams_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How many streams of HTTP/2 found no room since the start.
    #[must_use]
    pub fn streams_refused(&self) -> u64 {
        self.streams_refused.load(Ordering::Relaxed)
    }

    /// No connection comes any more, and idle ones were closed.
    pub(super) fn accepts_no_more(&self) {
        self.no_more.store(true, Ordering::Release);
    }

    /// Gives idle connections a moment; ends at once where none is open.
    pub(super) async fn linger(&self) {
        let _ = tokio::time::timeout(LINGER, self.quiet()).await;
    }

    /// Returns when the last connection has ended.
    pub(super) async fn are_over(&self) {
        while !self.no_more.load(Ordering::Acquire) {
            tokio::time::sleep(LOOK).await;
        }
        self.quiet().await;
    }

    async fn quiet(&self) {
        let mut looks = 0;
        while looks < QUIET {
            looks = if self.open.load(Ordering::Acquire) == 0 { looks + 1 } else { 0 };
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const MANY: Most = Most { of_all: 100, of_address: None };

    fn open(connections: &Arc<Connections>) -> Open {
        connections.opened(MANY).0
    }

    #[test]
    fn connections_are_limited_together_and_by_address() {
        let connections = Arc::new(Connections::default());
        let most = Most { of_all: 4, of_address: Some(2) };
        let from = |address: &str| {
            let (mut open, room) = connections.opened(most);
            let room = room.and_then(|()| open.counts_for(address.parse().expect("an address"), most));
            (open, room)
        };
        let (first, room) = from("192.0.2.1");
        assert_eq!(room, Ok(()));
        let second = from("::ffff:192.0.2.1");
        assert_eq!(second.1, Ok(()));
        let third = from("192.0.2.1");
        assert_eq!(third.1, Err(Refused::OfAddress(2)));
        let other = from("2001:db8::1");
        assert_eq!(other.1, Ok(()));
        let last = from("2001:db8::2");
        assert_eq!(last.1, Err(Refused::OfAll(4)));
        let refused: Vec<_> = connections.refused().collect();
        assert_eq!(refused, [("all", 1), ("address", 1)]);
        drop((first, third, last));
        assert_eq!(from("192.0.2.1").1, Ok(()), "a place is given back");
        drop((second, other));
        assert!(connections.addresses.lock().expect("whole").is_empty(), "nobody is remembered");
        assert_eq!(connections.open(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_is_over_when_the_last_connection_has_ended() {
        let connections = Arc::new(Connections::default());
        let (one, other) = (open(&connections), open(&connections));
        assert_eq!(connections.open(), 2);
        let waiting = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.are_over().await }
        });
        drop(one);
        connections.accepts_no_more();
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(!waiting.is_finished(), "one is open");
        drop(other);
        waiting.await.expect("over");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_have_a_moment_and_no_more() {
        let connections = Arc::new(Connections::default());
        let one = open(&connections);
        let began = Instant::now();
        connections.linger().await;
        assert_eq!(began.elapsed(), LINGER);
        drop(one);
        let began = Instant::now();
        connections.linger().await;
        assert!(began.elapsed() < LINGER, "nobody is waited for");
    }
}
