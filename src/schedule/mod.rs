//! When the API is open: windows, holidays, exceptions, overrides, the next change.
//!
//! The clock on the wall decides: the API is open when the time that a clock in the schedule's zone shows lies in a
//! window. A window belongs to the day on which it starts, so a holiday removes the windows that start on it, and one
//! that crosses midnight takes its tail along. An exception opens a day besides, a holiday too. Where the clock is set
//! back, an hour is shown twice and counts twice. An override of a schedule decides before all of this, while it lasts.

mod calendar;
mod overrides;
mod week;
mod window;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

pub use calendar::{Exception, Holiday, HolidayDate, YearDay};
pub use overrides::{Held, Hours, Override, OverrideEnd, Overrides};
pub use week::{Week, WeekDay};
pub use window::{Minute, Opening, Window, WindowError};

/// A named set of windows in one zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    zone: TimeZone,
    windows: Vec<Window>,
    holidays: Vec<Holiday>,
    exceptions: Vec<Exception>,
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

impl State {
    /// `open` or `closed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Closed { .. } => "closed",
        }
    }

    /// When it changes.
    #[must_use]
    pub fn changes_at(self) -> Option<Timestamp> {
        match self {
            Self::Open { until: at } | Self::Closed { opens_at: at } => at,
        }
    }

    fn of(open: bool, changes_at: Option<Timestamp>) -> Self {
        if open { Self::Open { until: changes_at } } else { Self::Closed { opens_at: changes_at } }
    }
}

/// What opens the API at a moment of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpenedBy {
    /// A window that started on that day.
    Window,
    /// A window that started on the day before.
    Tail,
    /// An exception.
    Exception,
}

/// How far ahead each day is looked at for the next change: past every yearly pattern. Beyond, only days that the
/// schedule names can differ from the week.
const HORIZON: i32 = 400;

impl Schedule {
    /// A schedule.
    #[must_use]
    pub fn new(zone: TimeZone, windows: Vec<Window>, holidays: Vec<Holiday>) -> Self {
        Self { zone, windows, holidays, exceptions: Vec::new() }
    }

    /// The same with days on which it is open besides.
    #[must_use]
    pub fn with_exceptions(self, exceptions: Vec<Exception>) -> Self {
        Self { exceptions, ..self }
    }

    /// The name of its zone.
    #[must_use]
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// What a clock on the wall shows at this moment.
    #[must_use]
    pub fn wall(&self, at: Timestamp) -> DateTime {
        self.zone.to_datetime(at)
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

    /// Its exceptions.
    #[must_use]
    pub fn exceptions(&self) -> &[Exception] {
        &self.exceptions
    }

    /// Whether the API is open at this moment.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.opened_by(self.zone.to_datetime(now)).is_some()
    }

    /// Whether the API is open at this moment, and when that changes.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> State {
        let open = self.is_open(now);
        State::of(open, self.next_change(now, open))
    }

    /// What opens the API when a clock on the wall shows `wall`.
    fn opened_by(&self, wall: DateTime) -> Option<OpenedBy> {
        let (today, minute) = (wall.date(), Minute::of(wall.time()));
        let yesterday = today.yesterday().ok();
        let started = |window: &Window, day: Date| window.starts_on(day) && !self.is_holiday(day);
        if self.windows.iter().any(|window| window.opening().covers_start_day(minute) && started(window, today)) {
            return Some(OpenedBy::Window);
        }
        let tail = |window: &Window| {
            window.opening().covers_next_day(minute) && yesterday.is_some_and(|yesterday| started(window, yesterday))
        };
        if self.windows.iter().any(tail) {
            return Some(OpenedBy::Tail);
        }
        let excepted = |exception: &Exception| {
            let (on, after) = (exception.date == today, Some(exception.date) == yesterday);
            exception
                .openings
                .iter()
                .any(|opening| (on && opening.covers_start_day(minute)) || (after && opening.covers_next_day(minute)))
        };
        self.exceptions.iter().any(excepted).then_some(OpenedBy::Exception)
    }

    fn is_holiday(&self, date: Date) -> bool {
        self.holidays.iter().any(|holiday| holiday.date.falls_on(date))
    }

    /// The first moment after `now` at which the API is not in the state `open`.
    ///
    /// The state can change only where the wall shows an edge of a window, at midnight, or where the clock is changed.
    fn next_change(&self, now: Timestamp, open: bool) -> Option<Timestamp> {
        if self.windows.is_empty() && self.exceptions.is_empty() {
            return None;
        }
        let first = |day: Date| {
            let later = self.moments_of(day).into_iter().filter(|at| *at > now);
            later.into_iter().find(|at| self.is_open(*at) != open)
        };
        // A clock that is set back over midnight shows yesterday once more.
        let begin = self.zone.to_datetime(now).date().yesterday().ok()?;
        let end = begin.checked_add(HORIZON.days()).ok()?;
        let near = begin.series(1.day()).take_while(|day| *day < end);
        let day = near.chain(self.named_days(end)).find(|day| first(*day).is_some())?;
        let (this, next) = (first(day), day.tomorrow().ok().and_then(first));
        this.into_iter().chain(next).min()
    }

    /// The days from `begin` on that holidays and exceptions name, each with the day after it.
    fn named_days(&self, begin: Date) -> Vec<Date> {
        let dated = self.holidays.iter().filter_map(|holiday| match holiday.date {
            HolidayDate::Once(date) => Some(date),
            HolidayDate::Yearly(_) => None,
        });
        let named = dated.chain(self.exceptions.iter().map(|exception| exception.date));
        let mut days: Vec<Date> = named.flat_map(|day| [Some(day), day.tomorrow().ok()]).flatten().collect();
        days.retain(|day| *day >= begin);
        days.sort_unstable();
        days
    }

    /// The moments of a day at which the state may change, in order.
    fn moments_of(&self, day: Date) -> Vec<Timestamp> {
        let mut walls: Vec<DateTime> = vec![day.at(0, 0, 0, 0)];
        let by_week = self.windows.iter().map(Window::opening);
        let started = |exception: &&Exception| exception.date == day || Some(exception.date) == day.yesterday().ok();
        let by_exception = self.exceptions.iter().filter(started).flat_map(|exception| &exception.openings).copied();
        walls.extend(by_week.chain(by_exception).flat_map(Opening::edges).filter_map(|edge| edge.on(day)));
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
