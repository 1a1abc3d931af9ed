//! A budget of bytes per period, spent after the fact: what an answer costs is known when it has left.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Exact: whole numbers only, and no byte is lost. It is filled again evenly, as the limit on requests is.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes per period.
    bytes: u64,
    period: Duration,
    spent: Mutex<Spent>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    /// Bytes times nanoseconds of the period, so that what flows back in one nanosecond is a whole number: `bytes`.
    level: u128,
    /// When that was so, on the monotonic clock.
    at: Duration,
}

impl Budget {
    pub(super) fn new(bytes: u64, period: Duration) -> Self {
        Self { bytes, period, spent: Mutex::default() }
    }

    /// Takes bytes out of it; it may be overdrawn, for an answer on its way is not cut.
    pub(super) fn spend(&self, bytes: usize, now: Duration) {
        let cost = u128::try_from(bytes).unwrap_or(u128::MAX).saturating_mul(self.period.as_nanos());
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        *spent = self.later(*spent, now);
        spent.level = spent.level.saturating_add(cost);
    }

    /// How long it stays used up; `None` while there is a byte in it.
    pub(super) fn used_up_for(&self, now: Duration) -> Option<Duration> {
        let spent = self.later(*self.spent.lock().unwrap_or_else(PoisonError::into_inner), now);
        let one_byte_left = u128::from(self.bytes.saturating_sub(1)).saturating_mul(self.period.as_nanos());
        let over = spent.level.checked_sub(one_byte_left).filter(|over| *over > 0)?;
        let nanoseconds = over.div_ceil(u128::from(self.bytes.max(1)));
        Some(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)))
    }

    fn later(&self, spent: Spent, now: Duration) -> Spent {
        let passed = now.saturating_sub(spent.at).as_nanos();
        Spent {
            level: spent.level.saturating_sub(passed.saturating_mul(u128::from(self.bytes))),
            at: spent.at.max(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NANOSECOND: Duration = Duration::from_nanos(1);

    #[test]
    fn the_budget_is_used_up_with_its_last_byte_and_no_byte_before() {
        let budget = Budget::new(10, SECOND * 10);
        budget.spend(9, SECOND);
        assert_eq!(budget.used_up_for(SECOND), None);
        budget.spend(1, SECOND);
        assert_eq!(budget.used_up_for(SECOND), Some(SECOND), "one byte flows back in a second");
        assert_eq!(budget.used_up_for((SECOND * 2).saturating_sub(NANOSECOND)), Some(NANOSECOND));
        assert_eq!(budget.used_up_for(SECOND * 2), None);
    }

    #[test]
    fn what_was_overdrawn_is_waited_for() {
        let budget = Budget::new(1024, SECOND);
        budget.spend(10 * 1024, SECOND);
        let wait = budget.used_up_for(SECOND).expect("used up");
        assert_eq!(budget.used_up_for((SECOND + wait).saturating_sub(NANOSECOND)), Some(NANOSECOND));
        assert_eq!(budget.used_up_for(SECOND + wait), None);
        assert!(wait > SECOND * 9 && wait < SECOND * 10, "{wait:?}");
    }

    #[test]
    fn an_untouched_budget_does_not_grow() {
        let budget = Budget::new(5, SECOND);
        assert_eq!(budget.used_up_for(SECOND * 100), None);
        budget.spend(5, SECOND * 100);
        assert!(budget.used_up_for(SECOND * 100).is_some());
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let budget = Budget::new(1 << 40, SECOND * 86_400);
        for _ in 0..100 {
            budget.spend(usize::MAX, SECOND);
        }
        assert!(budget.used_up_for(SECOND).is_some());
    }

    proptest! {
        /// However the bytes are cut into pieces: spent at one moment they count the same.
        #[test]
        fn each_byte_counts_however_the_answer_is_cut(pieces in prop::collection::vec(0_usize..5000, 0..40), bytes in 1_u64..100_000) {
            let (in_pieces, at_once) = (Budget::new(bytes, SECOND), Budget::new(bytes, SECOND));
            for piece in &pieces {
                in_pieces.spend(*piece, SECOND);
            }
            let sum: usize = pieces.iter().sum();
            at_once.spend(sum, SECOND);
            prop_assert_eq!(in_pieces.used_up_for(SECOND), at_once.used_up_for(SECOND));
            prop_assert_eq!(in_pieces.used_up_for(SECOND).is_some(), u64::try_from(sum).expect("small") >= bytes);
        }
    }
}
