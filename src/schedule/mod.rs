//! When the API is open: windows, holidays, the next change.
//!
//! The clock on the wall decides: the API is open when the time that a clock in the schedule's zone shows lies in a
//! window. A window belongs to the day on which it starts, so a holiday removes the windows that start on it, and one
//! that crosses midnight takes its tail along. Where the clock is set back, an hour is shown twice and counts twice.

mod window;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

pub use window::{Minute, Window, WindowError};

/// A named set of windows in one zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    zone: TimeZone,
    windows: Vec<Window>,
    holidays: Vec<Holiday>,
}

/// A day on which no window starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holiday {
    /// The day.
    pub date: Date,
    /// What it is called.
    pub name: String,
}

/// Whether the API is open, and when that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is open.
    Open {
        /// Until then; `None` when it does not close within a year and more.
        until: Option<Timestamp>,
    },
    /// It is closed.
    Closed {
        /// Until then; `None` when it does not open within a year and more.
        opens_at: Option<Timestamp>,
    },
}

/// How far ahead the next change is looked for, in days: past every yearly pattern and any run of holidays.
const HORIZON: i32 = 400;

impl Schedule {
    /// A schedule.
    #[must_use]
    pub fn new(zone: TimeZone, windows: Vec<Window>, holidays: Vec<Holiday>) -> Self {
        Self { zone, windows, holidays }
    }

    /// The name of its zone.
    #[must_use]
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// Its windows.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Its holidays.
    #[must_use]
    pub fn holidays(&self) -> &[Holiday] {
        &self.holidays
    }

    /// Whether the API is open at this moment.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.shows_open(self.zone.to_datetime(now))
    }

    /// Whether the API is open at this moment, and when that changes.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> State {
        let open = self.is_open(now);
        let change = self.next_change(now, open);
        if open { State::Open { until: change } } else { State::Closed { opens_at: change } }
    }

    /// Whether a clock on the wall that shows `wall` shows an open hour.
    fn shows_open(&self, wall: DateTime) -> bool {
        let today = wall.date();
        let minute = Minute::of(wall.time());
        let yesterday = today.yesterday().ok();
        self.windows.iter().any(|window| {
            let started_today = window.starts_on(today) && !self.is_holiday(today) && window.covers_start_day(minute);
            let started_yesterday = yesterday.is_some_and(|yesterday| {
                window.starts_on(yesterday) && !self.is_holiday(yesterday) && window.covers_next_day(minute)
            });
            started_today || started_yesterday
        })
    }

    fn is_holiday(&self, date: Date) -> bool {
        self.holidays.iter().any(|holiday| holiday.date == date)
    }

    /// The first moment after `now` at which the API is not in the state `open`.
    ///
    /// The state can change only where the wall shows an edge of a window, at midnight, or where the clock is changed.
    fn next_change(&self, now: Timestamp, open: bool) -> Option<Timestamp> {
        let mut day = self.zone.to_datetime(now).date();
        for _ in 0..HORIZON {
            let first = self.moments_of(day).into_iter().filter(|at| *at > now).find(|at| self.is_open(*at) != open);
            if first.is_some() {
                return first;
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    /// The moments of a day at which the state may change, in order.
    fn moments_of(&self, day: Date) -> Vec<Timestamp> {
        let mut walls: Vec<DateTime> = vec![day.at(0, 0, 0, 0)];
        walls.extend(self.windows.iter().flat_map(window::Window::edges).filter_map(|edge| edge.on(day)));
        let mut moments: Vec<Timestamp> = walls.into_iter().flat_map(|wall| self.moments_showing(wall)).collect();
        moments.extend(self.clock_changes(day));
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    /// The moments at which the wall shows `wall`: none in a lost hour, two in a repeated one.
    fn moments_showing(&self, wall: DateTime) -> Vec<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(wall);
        let earlier = ambiguous.earlier();
        let later = ambiguous.later();
        earlier.into_iter().chain(later).filter(|at| self.zone.to_datetime(*at) == wall).collect()
    }

    /// The moments at which the clock is set forward or back on this day.
    fn clock_changes(&self, day: Date) -> Vec<Timestamp> {
        let midnight = |day: Date| self.zone.to_timestamp(day.at(0, 0, 0, 0));
        let Ok(begins) = midnight(day) else { return Vec::new() };
        // A change of the next day belongs to that day: before it comes that day's midnight.
        let ends = day.tomorrow().and_then(midnight).unwrap_or(Timestamp::MAX);
        let before = begins.checked_sub(1.second()).unwrap_or(begins);
        self.zone
            .following(before)
            .map(|transition| transition.timestamp())
            .take_while(|at| *at < ends)
            .take(4)
            .collect()
    }
}

#[cfg(test)]
mod tests;
