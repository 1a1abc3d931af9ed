//! What was decided and how it ended, counted as records are written: by code, so that a graph shows what a row explains.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::Code;

use super::entry::{Decision, Entry, Kind, Outcome};
use super::histogram::{Durations, Histogram};
use super::ledger::Record;

/// Upper bounds of the classes of requests, in microseconds.
const BOUNDS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// Counts by code, with those that have none.
#[derive(Debug)]
struct ByCode {
    none: AtomicU64,
    codes: Vec<AtomicU64>,
}

impl ByCode {
    fn new() -> Self {
        Self { none: AtomicU64::new(0), codes: Code::ALL.iter().map(|_| AtomicU64::new(0)).collect() }
    }

    fn count(&self, code: Option<Code>, times: u64) {
        let place = code.and_then(|code| Code::ALL.iter().position(|known| *known == code));
        let counter = place.and_then(|place| self.codes.get(place)).unwrap_or(&self.none);
        counter.fetch_add(times, Ordering::Relaxed);
    }

    fn read(&self) -> Vec<(Option<Code>, u64)> {
        let none = (None, self.none.load(Ordering::Relaxed));
        let codes = Code::ALL.iter().zip(&self.codes).map(|(code, count)| (Some(*code), count.load(Ordering::Relaxed)));
        std::iter::once(none).chain(codes).collect()
    }
}

/// Counts since the start.
#[derive(Debug)]
pub(super) struct Tally {
    relays: ByCode,
    tokens: ByCode,
    ended: ByCode,
    gateway: Histogram,
    upstream: Histogram,
}

/// What was counted since the start; `None` stands for what was allowed, or ended well.
#[derive(Debug, Clone)]
pub struct Counts {
    /// Decisions about relays.
    pub relays: Vec<(Option<Code>, u64)>,
    /// Answers to requests for tokens.
    pub tokens: Vec<(Option<Code>, u64)>,
    /// How relays ended.
    pub ended: Vec<(Option<Code>, u64)>,
    /// How long the gateway took for them.
    pub gateway: Durations,
    /// How long the ERP took for them.
    pub upstream: Durations,
}

impl Tally {
    pub(super) fn new() -> Self {
        let by_code = ByCode::new;
        Self {
            relays: by_code(),
            tokens: by_code(),
            ended: by_code(),
            gateway: Histogram::new(&BOUNDS),
            upstream: Histogram::new(&BOUNDS),
        }
    }

    /// Counts a record that was written.
    pub(super) fn take(&self, record: &Record) {
        match record {
            Record::Decision(entry) => self.decided(entry),
            Record::Outcome(_, outcome) => self.ended(outcome),
        }
    }

    fn decided(&self, entry: &Entry) {
        let code = match entry.decision {
            Decision::Allowed => None,
            Decision::Denied => Some(entry.code.unwrap_or(Code::InternalError)),
        };
        match entry.kind {
            Kind::Relay => self.relays.count(code, entry.repeats.into()),
            Kind::TokenAttempt => self.tokens.count(code, entry.repeats.into()),
            Kind::Change | Kind::System => {}
        }
    }

    fn ended(&self, outcome: &Outcome) {
        self.ended.count(outcome.code, 1);
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let upstream = outcome.upstream_duration.unwrap_or_default();
        self.gateway.count(micros(outcome.duration.saturating_sub(upstream)));
        if outcome.upstream_duration.is_some() {
            self.upstream.count(micros(upstream));
        }
    }

    pub(super) fn read(&self) -> Counts {
        Counts {
            relays: self.relays.read(),
            tokens: self.tokens.read(),
            ended: self.ended.read(),
            gateway: self.gateway.read(),
            upstream: self.upstream.read(),
        }
    }
}
