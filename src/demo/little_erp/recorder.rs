//! What arrived at the little ERP, for tests that look from the ERP's side.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use http::request::Parts;

/// One request as the little ERP received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The method.
    pub method: String,
    /// The request target: path and query.
    pub target: String,
    /// The headers in the order of arrival, names in lower case; bytes outside of UTF-8 become U+FFFD.
    pub headers: Vec<(String, String)>,
    /// How many bytes of body have arrived so far.
    pub body_length: u64,
}

impl Recorded {
    /// How many requests are kept.
    pub const KEPT: usize = 10_000;

    /// The first value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The number of a recorded request, counted from 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sequence(u64);

#[derive(Debug, Default)]
pub(super) struct Recorder {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Number of the request at the front.
    first: u64,
    requests: VecDeque<Recorded>,
}

impl Recorder {
    /// Records a request whose head has arrived.
    pub(super) fn arrived(&self, head: &Parts) -> Sequence {
        let recorded = Recorded {
            method: head.method.to_string(),
            target: head.uri.to_string(),
            headers: head
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
            body_length: 0,
        };
        let mut kept = self.lock();
        if kept.requests.len() == Recorded::KEPT {
            kept.requests.pop_front();
            kept.first += 1;
        }
        kept.requests.push_back(recorded);
        Sequence(kept.total() - 1)
    }

    /// Adds to the length of the body of a recorded request.
    pub(super) fn body_arrived(&self, sequence: Sequence, bytes: u64) {
        let mut kept = self.lock();
        let place = sequence.0.checked_sub(kept.first).and_then(|place| usize::try_from(place).ok());
        if let Some(recorded) = place.and_then(|place| kept.requests.get_mut(place)) {
            recorded.body_length += bytes;
        }
    }

    pub(super) fn requests(&self) -> Vec<Recorded> {
        self.lock().requests.iter().cloned().collect()
    }

    pub(super) fn total(&self) -> u64 {
        self.lock().total()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn total(&self) -> u64 {
        self.first + self.requests.len() as u64
    }
}
