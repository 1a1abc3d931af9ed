//! Durations counted in classes, as Prometheus has them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts durations; the longest are in a class of their own.
#[derive(Debug)]
pub(super) struct Histogram {
    /// Upper bounds, in microseconds.
    bounds: &'static [u64],
    classes: Vec<AtomicU64>,
    count: AtomicU64,
    micros: AtomicU64,
}

/// What was counted.
#[derive(Debug, Clone, Default)]
pub struct Durations {
    /// How many were at most so long; the classes include each other.
    pub within: Vec<(Duration, u64)>,
    /// How many there were.
    pub count: u64,
    /// How long they were together.
    pub sum: Duration,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [u64]) -> Self {
        let classes = bounds.iter().map(|_| AtomicU64::new(0)).collect();
        Self { bounds, classes, count: AtomicU64::new(0), micros: AtomicU64::new(0) }
    }

    pub(super) fn count(&self, micros: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        if let Some((class, _)) = self.classes.iter().zip(self.bounds).find(|(_, bound)| micros <= **bound) {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> Durations {
        let mut sum = 0;
        let within = self.classes.iter().zip(self.bounds).map(|(class, bound)| {
            sum += class.load(Ordering::Relaxed);
            (Duration::from_micros(*bound), sum)
        });
        Durations {
            within: within.collect(),
            count: self.count.load(Ordering::Relaxed),
            sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_first_class_that_holds_it() {
        let histogram = Histogram::new(&[1_000, 5_000]);
        for micros in [0, 1_000, 1_001, 9_000] {
            histogram.count(micros);
        }
        let read = histogram.read();
        let millis = Duration::from_millis;
        assert_eq!(read.within, [(millis(1), 2), (millis(5), 3)]);
        assert_eq!((read.count, read.sum), (4, Duration::from_micros(11_001)));
    }
}
