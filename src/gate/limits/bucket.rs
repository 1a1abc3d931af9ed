//! So much per period, filled again evenly: the arithmetic of every limit on requests and bytes (GCRA, a leaky bucket).

use std::time::Duration;

/// Exact: whole numbers only, and nothing that was taken is lost. As much as it holds may be had in a burst, and no
/// more than that on average.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    most: u64,
    period: Duration,
    /// What is used, times the nanoseconds of the period, so that what flows back in one nanosecond is a whole number:
    /// `most`.
    level: u128,
    /// When that was so, on the monotonic clock.
    at: Duration,
}

/// There is no room for what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// There is after so long.
    For(Duration),
    /// It is more than the bucket holds.
    Ever,
}

impl Bucket {
    /// A bucket that nothing was taken from.
    pub(super) fn new(most: u64, period: Duration) -> Self {
        Self { most, period, level: 0, at: Duration::ZERO }
    }

    /// Takes `units`, or nothing.
    pub(super) fn take(&mut self, units: u64, now: Duration) -> Result<(), NoRoom> {
        self.room_for(units, now)?;
        self.level = self.level.saturating_add(self.times_period(units));
        Ok(())
    }

    /// Whether `units` could be taken.
    pub(super) fn room_for(&mut self, units: u64, now: Duration) -> Result<(), NoRoom> {
        self.flow(now);
        let before = self.most.checked_sub(units).ok_or(NoRoom::Ever)?;
        match self.level.checked_sub(self.times_period(before)) {
            Some(over) if over > 0 => Err(NoRoom::For(self.time_for(over))),
            _ => Ok(()),
        }
    }

    /// Takes `units` whether there is room or not: what an answer costs is known when it has left.
    pub(super) fn spend(&mut self, units: u64, now: Duration) {
        self.flow(now);
        self.level = self.level.saturating_add(self.times_period(units));
    }

    /// Puts back what was taken in vain.
    pub(super) fn give_back(&mut self, units: u64, now: Duration) {
        self.flow(now);
        self.level = self.level.saturating_sub(self.times_period(units));
    }

    /// How many whole units could be taken, when it was last looked at.
    pub(super) fn left(&self) -> u64 {
        let room = self.times_period(self.most).saturating_sub(self.level);
        u64::try_from(room / self.period.as_nanos().max(1)).unwrap_or(u64::MAX)
    }

    /// How long until nothing is used any more, when it was last looked at.
    pub(super) fn unused_in(&self) -> Duration {
        self.time_for(self.level)
    }

    /// Whether it is as if nothing had ever been taken.
    pub(super) fn is_unused(&mut self, now: Duration) -> bool {
        self.flow(now);
        self.level == 0
    }

    /// The same with other numbers. Of the new one the same share is used, rounded up: a change is no fresh burst, and
    /// changing back and forth gains nothing.
    pub(super) fn resized(mut self, most: u64, period: Duration, now: Duration) -> Self {
        self.flow(now);
        let mut new = Self { most, period, level: 0, at: self.at };
        let (held, holds) = (self.times_period(self.most).max(1), new.times_period(most));
        let divisor = greatest_common_divisor(held, holds).max(1);
        let (held, holds) = (held / divisor, holds / divisor);
        new.level = match self.level.checked_mul(holds) {
            Some(product) => product.div_ceil(held),
            None => (self.level / held).saturating_add(1).saturating_mul(holds),
        };
        new
    }

    fn flow(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_nanos();
        self.level = self.level.saturating_sub(passed.saturating_mul(u128::from(self.most)));
        self.at = self.at.max(now);
    }

    fn times_period(&self, units: u64) -> u128 {
        u128::from(units).saturating_mul(self.period.as_nanos())
    }

    fn time_for(&self, level: u128) -> Duration {
        let nanoseconds = level.div_ceil(u128::from(self.most.max(1)));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

fn greatest_common_divisor(mut one: u128, mut other: u128) -> u128 {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_mins(1);
    const NANOSECOND: Duration = Duration::from_nanos(1);

    /// Takes single units until there is no room.
    fn taken(bucket: &mut Bucket, now: Duration) -> u64 {
        let mut count = 0;
        while bucket.take(1, now).is_ok() {
            count += 1;
        }
        count
    }

    #[test]
    fn as_many_as_it_holds_pass_at_once_and_the_next_after_its_share_of_the_period() {
        for most in [1, 3, 7, 600, 999_983] {
            let mut bucket = Bucket::new(most, MINUTE);
            assert_eq!(taken(&mut bucket, SECOND), most);
            let NoRoom::For(wait) = bucket.take(1, SECOND).expect_err("full") else { panic!("a wait") };
            let share = u64::try_from(MINUTE.as_nanos()).expect("small").div_ceil(most);
            assert_eq!(wait, Duration::from_nanos(share));
            assert_eq!(taken(&mut bucket, (SECOND + wait).saturating_sub(NANOSECOND)), 0);
            assert_eq!(taken(&mut bucket, SECOND + wait), 1);
            // Nothing is lost to rounding: after a whole period all are there again.
            assert_eq!(taken(&mut bucket, SECOND + MINUTE), most - 1);
        }
    }

    #[test]
    fn what_is_left_and_when_all_is_there_again_is_told_exactly() {
        let mut bucket = Bucket::new(10, MINUTE);
        bucket.take(4, SECOND).expect("room");
        assert_eq!((bucket.left(), bucket.unused_in()), (6, SECOND * 24));
        assert!(!bucket.is_unused((SECOND * 25).saturating_sub(NANOSECOND)));
        assert_eq!((bucket.left(), bucket.unused_in()), (9, NANOSECOND));
        assert!(bucket.is_unused(SECOND * 25));
    }

    #[test]
    fn more_than_it_holds_never_fits() {
        let mut bucket = Bucket::new(3, MINUTE);
        assert_eq!(bucket.take(4, SECOND), Err(NoRoom::Ever));
        assert_eq!(bucket.take(3, SECOND), Ok(()));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_is_never_more() {
        let mut bucket = Bucket::new(3, MINUTE);
        bucket.take(3, SECOND).expect("room");
        bucket.give_back(1, SECOND);
        assert_eq!(taken(&mut bucket, SECOND), 1);
        bucket.give_back(100, SECOND);
        assert_eq!(taken(&mut bucket, SECOND), 3);
    }

    #[test]
    fn what_was_overdrawn_is_waited_for() {
        let mut bucket = Bucket::new(1024, SECOND);
        bucket.spend(10 * 1024, SECOND);
        let NoRoom::For(wait) = bucket.room_for(1, SECOND).expect_err("used up") else { panic!("a wait") };
        assert_eq!(bucket.room_for(1, (SECOND + wait).saturating_sub(NANOSECOND)), Err(NoRoom::For(NANOSECOND)));
        assert_eq!(bucket.room_for(1, SECOND + wait), Ok(()));
        assert!(wait > SECOND * 9 && wait < SECOND * 10, "{wait:?}");
    }

    #[test]
    fn an_untouched_bucket_does_not_grow_and_a_clock_that_stands_gives_nothing() {
        let mut bucket = Bucket::new(5, SECOND);
        assert_eq!(taken(&mut bucket, SECOND * 100), 5);
        assert_eq!(taken(&mut bucket, SECOND * 99), 0);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let mut bucket = Bucket::new(1 << 50, SECOND * 86_400);
        for _ in 0..100 {
            bucket.spend(u64::MAX, SECOND);
        }
        assert!(bucket.room_for(1, SECOND).is_err());
        let mut other = bucket.resized((1 << 50) - 1, SECOND * 86_399, SECOND);
        assert!(other.room_for(1, SECOND).is_err());
        assert!(bucket.unused_in() > SECOND);
    }

    #[test]
    fn the_same_share_is_used_after_a_change() {
        let mut bucket = Bucket::new(10, MINUTE);
        bucket.take(4, SECOND).expect("room");
        assert_eq!(bucket.resized(5, MINUTE, SECOND).left(), 3);
        assert_eq!(bucket.resized(1000, SECOND * 3600, SECOND).left(), 600);
        bucket.take(6, SECOND).expect("room");
        for (most, period) in [(1, SECOND), (11, MINUTE), (1_000_000, SECOND * 86_400)] {
            assert_eq!(bucket.resized(most, period, SECOND).left(), 0);
        }
    }

    proptest! {
        /// Over any window never more than a burst and what flows back in it.
        #[test]
        fn no_window_holds_more_than_a_burst_and_its_share(
            most in 1_u64..50, seconds in 1_u64..100, asked in prop::collection::vec((0_u64..5_000_000_000, 1_u64..4), 1..120),
        ) {
            let mut bucket = Bucket::new(most, SECOND * u32::try_from(seconds).expect("small"));
            let mut now = Duration::ZERO;
            let mut passed: Vec<(u128, u64)> = Vec::new();
            for (pause, units) in asked {
                now += Duration::from_nanos(pause);
                if bucket.take(units, now).is_ok() {
                    passed.push((now.as_nanos(), units));
                }
            }
            let period = u128::from(seconds) * 1_000_000_000;
            for (first, (from, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (until, units) in &passed[first..] {
                    sum += u128::from(*units);
                    prop_assert!(sum * period <= u128::from(most) * (period + until - from));
                }
            }
        }

        /// And it turns nobody away before that.
        #[test]
        fn whoever_keeps_to_the_rate_is_never_turned_away(most in 1_u64..50, seconds in 1_u64..100, count in 1_usize..200) {
            let period = Duration::from_secs(seconds);
            let mut bucket = Bucket::new(most, period);
            let pause = Duration::from_nanos(u64::try_from(period.as_nanos()).expect("small").div_ceil(most));
            let mut now = Duration::ZERO;
            bucket.take(most, now).expect("a burst");
            for _ in 0..count {
                now += pause;
                prop_assert_eq!(bucket.take(1, now), Ok(()));
            }
        }

        /// Changed at any moment, back and forth: what is used never gets less.
        #[test]
        fn changes_hand_out_nothing(
            used in 0_u64..=100, sizes in prop::collection::vec((1_u64..1_000_000_000_000, 1_u64..86_400), 1..20),
        ) {
            let mut bucket = Bucket::new(100, MINUTE);
            bucket.take(used, SECOND).expect("room");
            for (most, seconds) in sizes {
                bucket = bucket.resized(most, Duration::from_secs(seconds), SECOND);
            }
            prop_assert!(bucket.resized(100, MINUTE, SECOND).left() <= 100 - used);
        }

        /// However the bytes are cut into pieces: spent at one moment they count the same.
        #[test]
        fn each_byte_counts_however_the_answer_is_cut(pieces in prop::collection::vec(0_u64..5000, 0..40), bytes in 1_u64..100_000) {
            let (mut in_pieces, mut at_once) = (Bucket::new(bytes, SECOND), Bucket::new(bytes, SECOND));
            for piece in &pieces {
                in_pieces.spend(*piece, SECOND);
            }
            let sum: u64 = pieces.iter().sum();
            at_once.spend(sum, SECOND);
            prop_assert_eq!(in_pieces.room_for(1, SECOND), at_once.room_for(1, SECOND));
            prop_assert_eq!(in_pieces.room_for(1, SECOND).is_err(), sum >= bytes);
        }
    }
}
