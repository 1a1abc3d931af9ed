//! Floods of requests that nobody is known to have sent do not fill the disk: past a limit per source and minute they
//! are counted, and one row says how many there were. Nothing else is ever folded.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::domain::{Actor, Code, CredentialId};

use super::entry::{Decision, Entry, Kind};

/// Sources told apart within a minute at most.
const SOURCES: usize = 16_384;
/// Counted rows at most within a minute; what is beyond is counted together, without its source.
const ROWS: usize = 1024;

/// Counts what is folded.
#[derive(Debug)]
pub(super) struct Folder {
    /// Rows of one source within a minute.
    limit: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    minute: i64,
    sources: HashMap<Option<IpAddr>, u32>,
    rows: HashMap<Alike, Folded>,
}

/// Requests that are folded into the same row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Alike {
    source: Option<IpAddr>,
    kind: Kind,
    code: Option<Code>,
    credential: Option<CredentialId>,
}

#[derive(Debug)]
struct Folded {
    first: Entry,
    last: Timestamp,
    count: u32,
}

/// What is to be written now.
#[derive(Debug, Default)]
pub(super) struct Unfolded {
    /// The row that was given, where it is written as it is.
    pub(super) row: Option<Entry>,
    /// Rows of the minute that has passed.
    pub(super) passed: Vec<Entry>,
}

impl Folder {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, state: Mutex::new(State::default()) }
    }

    /// Takes a row that is over; it comes back unless it is one too many of a flood.
    pub(super) fn take(&self, entry: Entry) -> Unfolded {
        if entry.actor != Actor::Unknown || entry.decision != Decision::Denied || !is_request(entry.kind) {
            return Unfolded { row: Some(entry), passed: Vec::new() };
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = state.turn_to(minute(entry.at));
        let source = entry.client.map(network);
        let room = state.sources.len() < SOURCES;
        let count = match state.sources.get_mut(&source) {
            Some(count) => count,
            None if room => state.sources.entry(source).or_insert(0),
            None => {
                state.count(entry, None);
                return Unfolded { row: None, passed };
            }
        };
        *count = count.saturating_add(1);
        if *count <= self.limit {
            return Unfolded { row: Some(entry), passed };
        }
        state.count(entry, source);
        Unfolded { row: None, passed }
    }

    /// What was counted in a minute that has passed by `now`; with `all`, of the current one too.
    pub(super) fn passed(&self, now: Timestamp, all: bool) -> Vec<Entry> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if all { state.drain() } else { state.turn_to(minute(now)) }
    }
}

impl State {
    fn turn_to(&mut self, minute: i64) -> Vec<Entry> {
        // A clock that goes back begins a new minute too.
        if self.minute == minute {
            return Vec::new();
        }
        self.minute = minute;
        self.sources.clear();
        self.drain()
    }

    fn drain(&mut self) -> Vec<Entry> {
        self.rows.drain().map(|(_, folded)| folded.into_row()).collect()
    }

    fn count(&mut self, entry: Entry, source: Option<IpAddr>) {
        let mut alike = Alike { source, kind: entry.kind, code: entry.code, credential: entry.credential };
        if self.rows.len() >= ROWS && !self.rows.contains_key(&alike) {
            (alike.source, alike.credential) = (None, None);
        }
        let last = entry.at;
        let shared = alike.source.is_none();
        let folded = self.rows.entry(alike).or_insert_with(|| {
            // A row for many sources names none of them.
            let first = if shared { Entry { client: None, credential: None, account: None, ..entry } } else { entry };
            Folded { first, last, count: 0 }
        });
        folded.last = last;
        folded.count = folded.count.saturating_add(1);
    }
}

impl Folded {
    fn into_row(self) -> Entry {
        let detail = serde_json::json!({ "folded": { "from": self.first.at, "to": self.last } });
        Entry { repeats: self.count, detail: Some(detail.to_string()), ..self.first }
    }
}

fn is_request(kind: Kind) -> bool {
    match kind {
        Kind::Relay | Kind::TokenAttempt => true,
        Kind::Change | Kind::System => false,
    }
}

fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

/// One source: an IPv4 address, or the /64 that one subscriber of IPv6 has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{RequestId, SystemEntropy};

    fn denied(second: i64, client: &str) -> Entry {
        let at = Timestamp::from_second(second).expect("a time");
        let id = RequestId::new(at, &SystemEntropy).expect("entropy");
        Entry {
            client: Some(client.parse().expect("an address")),
            code: Some(Code::TokenInvalid),
            ..Entry::new(id, Kind::Relay, at)
        }
    }

    fn written(folder: &Folder, entries: impl IntoIterator<Item = Entry>) -> usize {
        entries.into_iter().filter_map(|entry| folder.take(entry).row).count()
    }

    #[test]
    fn what_exceeds_the_limit_is_counted_in_one_row_for_each_source() {
        let folder = Folder::new(3);
        assert_eq!(written(&folder, (0..50).map(|second| denied(second, "10.0.0.1"))), 3);
        assert_eq!(written(&folder, (0..50).map(|second| denied(second, "10.0.0.2"))), 3);
        let mut rows = folder.take(denied(60, "10.0.0.1")).passed;
        rows.sort_by_key(|row| row.client);
        let counts: Vec<_> =
            rows.iter().map(|row| (row.client.map(|client| client.to_string()), row.repeats)).collect();
        assert_eq!(counts, [(Some("10.0.0.1".to_owned()), 47), (Some("10.0.0.2".to_owned()), 47)]);
        let detail = rows.first().and_then(|row| row.detail.as_deref());
        assert_eq!(detail, Some(r#"{"folded":{"from":"1970-01-01T00:00:03Z","to":"1970-01-01T00:00:49Z"}}"#));
        assert_eq!(folder.passed(Timestamp::from_second(119).expect("a time"), false).len(), 0);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_source() {
        let folder = Folder::new(1);
        let flood = (0..100).map(|host| denied(0, &format!("2001:db8:1:2::{host:x}")));
        assert_eq!(written(&folder, flood), 1);
        assert_eq!(written(&folder, [denied(0, "2001:db8:1:3::1"), denied(0, "::ffff:10.0.0.1")]), 2);
        assert_eq!(written(&folder, [denied(0, "10.0.0.1")]), 0, "the same address, written otherwise");
    }

    #[test]
    fn nothing_that_somebody_is_known_to_have_sent_is_folded() {
        let folder = Folder::new(1);
        let known = |_| Entry { actor: Actor::Credential(CredentialId::from_bytes([1; 16])), ..denied(0, "10.0.0.1") };
        assert_eq!(written(&folder, (0..9).map(known)), 9);
        let allowed = |_| Entry { decision: Decision::Allowed, ..denied(0, "10.0.0.1") };
        assert_eq!(written(&folder, (0..9).map(allowed)), 9);
        let change = |_| Entry { kind: Kind::Change, ..denied(0, "10.0.0.1") };
        assert_eq!(written(&folder, (0..9).map(change)), 9);
        assert!(folder.passed(Timestamp::MAX, true).is_empty());
    }

    #[test]
    fn reasons_stay_apart_and_the_clock_may_go_back() {
        let folder = Folder::new(1);
        let throttled = |second| Entry { code: Some(Code::RateLimited), ..denied(second, "10.0.0.1") };
        written(&folder, [denied(120, "10.0.0.1"), denied(121, "10.0.0.1"), throttled(122), throttled(123)]);
        let mut repeats: Vec<_> = folder.take(denied(0, "10.0.0.1")).passed.iter().map(|row| row.repeats).collect();
        repeats.sort_unstable();
        assert_eq!(repeats, [1, 2]);
    }

    #[test]
    fn a_flood_from_everywhere_takes_bounded_memory_and_every_request_is_counted() {
        let folder = Folder::new(1);
        let total = u32::try_from(2 * SOURCES).expect("small");
        let flood = (0..total).map(|number| {
            let [_, b, c, d] = number.to_be_bytes();
            denied(0, &format!("10.{b}.{c}.{d}"))
        });
        let alone = written(&folder, flood);
        assert_eq!(alone, SOURCES);
        let again = (0..total).map(|number| {
            let [_, b, c, d] = number.to_be_bytes();
            denied(1, &format!("10.{b}.{c}.{d}"))
        });
        assert_eq!(written(&folder, again), 0);
        let rows = folder.passed(Timestamp::UNIX_EPOCH, true);
        assert!(rows.len() <= ROWS + 1, "{}", rows.len());
        let counted: u32 = rows.iter().map(|row| row.repeats).sum();
        assert_eq!(counted, 2 * total - u32::try_from(alone).expect("small"));
    }
}
