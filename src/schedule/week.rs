//! The coming week as something to look at: a row for each day, a column for each half hour.

use jiff::civil::{Date, DateTime};
use jiff::{Timestamp, ToSpan as _};

use super::overrides::{Held, Override, Overrides};
use super::window::Minute;
use super::{OpenedBy, Schedule};
use crate::domain::ScheduleName;

/// Half an hour, in minutes.
const COLUMN: u16 = 30;
const COLUMNS: u16 = 48;

/// Today and the six days after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Week {
    /// The days, in order.
    pub days: Vec<WeekDay>,
}

/// One day of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeekDay {
    /// The day.
    pub date: Date,
    /// A mark for each half hour that the wall clock shows; [`Week::LEGEND`] says what they mean.
    pub hours: String,
    /// What is special about the day.
    pub notes: Vec<String>,
}

/// What a half hour is shown as. Where several hold in it, the one that stands last here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    NeverShown,
    Closed,
    Holiday,
    Window,
    Tail,
    Exception,
    HeldOpen,
    HeldClosed,
}

impl Mark {
    const fn sign(self) -> char {
        match self {
            Self::NeverShown => ' ',
            Self::Closed => '.',
            Self::Holiday => '-',
            Self::Window => '#',
            Self::Tail => '~',
            Self::Exception => '+',
            Self::HeldOpen => 'O',
            Self::HeldClosed => 'X',
        }
    }
}

impl Week {
    /// What the marks mean.
    pub const LEGEND: &'static str = "# window   ~ window of the day before   + exception   - no window: holiday   \
         O held open   X held closed   . closed";
}

impl Schedule {
    /// The coming week with the overrides of this schedule, which is called `name`.
    #[must_use]
    pub fn week(&self, name: &ScheduleName, overrides: &Overrides, now: Timestamp) -> Week {
        let held = |held: Held| overrides.of(name, held).filter(|held| now < held.until);
        let held = [held(Held::Closed), held(Held::Open)];
        let days = self.wall(now).date().series(1.day()).take(7);
        Week { days: days.map(|date| self.week_day(date, held)).collect() }
    }

    fn week_day(&self, date: Date, held: [Option<&Override>; 2]) -> WeekDay {
        let hours = (0..COLUMNS).map(|column| {
            let minutes = (column * COLUMN..(column + 1) * COLUMN).filter_map(|minute| Minute::nth(minute)?.on(date));
            minutes.map(|wall| self.mark(wall, held)).max().unwrap_or(Mark::NeverShown).sign()
        });
        WeekDay { date, hours: hours.collect(), notes: self.notes(date) }
    }

    fn mark(&self, wall: DateTime, held: [Option<&Override>; 2]) -> Mark {
        let moments = self.moments_showing(wall);
        if moments.is_empty() {
            return Mark::NeverShown;
        }
        // The minute in which an override is made belongs to it.
        let begun = |at: Timestamp, held: &Override| at.checked_add(1.minute()).is_ok_and(|next| next > held.at);
        let holds = |held: &&Override| moments.iter().any(|at| begun(*at, held) && *at < held.until);
        match held.into_iter().flatten().find(holds).map(|held| held.held) {
            Some(Held::Open) => return Mark::HeldOpen,
            Some(Held::Closed) => return Mark::HeldClosed,
            None => {}
        }
        match self.opened_by(wall) {
            Some(OpenedBy::Window) => Mark::Window,
            Some(OpenedBy::Tail) => Mark::Tail,
            Some(OpenedBy::Exception) => Mark::Exception,
            None if self.falls_away(wall) => Mark::Holiday,
            None => Mark::Closed,
        }
    }

    /// Whether it would be open if there were no holidays.
    fn falls_away(&self, wall: DateTime) -> bool {
        let (today, minute) = (wall.date(), Minute::of(wall.time()));
        self.windows.iter().any(|window| {
            let tail = || today.yesterday().is_ok_and(|yesterday| window.starts_on(yesterday));
            (window.opening().covers_start_day(minute) && window.starts_on(today))
                || (window.opening().covers_next_day(minute) && tail())
        })
    }

    fn notes(&self, date: Date) -> Vec<String> {
        let named = |what: &str, name: &str| if name.is_empty() { what.to_owned() } else { format!("{what}: {name}") };
        let holidays = self.holidays.iter().filter(|holiday| holiday.date.falls_on(date));
        let mut notes: Vec<String> = holidays.map(|holiday| named("holiday", &holiday.name)).collect();
        for exception in self.exceptions.iter().filter(|exception| exception.date == date) {
            let openings: Vec<String> = exception.openings.iter().map(ToString::to_string).collect();
            notes.push(named(&format!("open {}", openings.join(", ")), &exception.name));
        }
        notes.extend(self.clock_changes(date).into_iter().map(|at| {
            let before = self.wall(at.checked_sub(1.nanosecond()).unwrap_or(at));
            let (shown, instead) = (self.wall(at), before.checked_add(1.nanosecond()).unwrap_or(before));
            let how = if shown > instead { "forward" } else { "back" };
            format!("the clock is set {how} from {} to {}", instead.strftime("%H:%M"), shown.strftime("%H:%M"))
        }));
        notes
    }
}

#[cfg(test)]
mod tests;
