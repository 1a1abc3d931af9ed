//! One opening of the API on some days of the week.

use jiff::civil::{Date, DateTime, Time, Weekday};

/// A minute of the day as a wall clock shows it, 0 to 1440; 1440 is the midnight that ends the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute(u16);

const DAY: u16 = 24 * 60;

impl Minute {
    /// Reads `"HH:MM"`: two digits each, `"24:00"` at most.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |part: &str| {
            (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| part.parse::<u16>().ok())
                .flatten()
        };
        let (hours, minutes) = text.split_once(':')?;
        let (hours, minutes) = (digits(hours)?, digits(minutes)?);
        let total = hours * 60 + minutes;
        (minutes < 60 && total <= DAY).then_some(Self(total))
    }

    /// So many minutes after the midnight that begins the day.
    pub(super) fn nth(number: u16) -> Option<Self> {
        (number < DAY).then_some(Self(number))
    }

    pub(super) fn of(time: Time) -> Self {
        let part = |value: i8| u16::try_from(value).unwrap_or(0);
        Self(part(time.hour()) * 60 + part(time.minute()))
    }

    /// What a wall shows at this minute of `day`; 1440 is midnight of the next day.
    pub(super) fn on(self, day: Date) -> Option<DateTime> {
        if self.0 == DAY {
            return Some(day.tomorrow().ok()?.at(0, 0, 0, 0));
        }
        let (hour, minute) = (i8::try_from(self.0 / 60).ok()?, i8::try_from(self.0 % 60).ok()?);
        Some(day.at(hour, minute, 0, 0))
    }
}

impl std::fmt::Display for Minute {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// Times that make no window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// It would be empty, or a whole day, depending on the reader.
    #[error("`from` and `to` are equal; write `from: \"00:00\", to: \"24:00\"` for a whole day")]
    Equal,
    /// `24:00` begins nothing.
    #[error("`24:00` can only be an end")]
    Start,
    /// It would never open.
    #[error("`days` is empty")]
    NoDays,
}

/// A stretch of time as a clock on the wall shows it: from a minute on, to before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    from: Minute,
    to: Minute,
}

impl Opening {
    /// A stretch of time. `to` before `from` crosses midnight.
    ///
    /// # Errors
    /// When it would be empty or could be read in two ways.
    pub fn new(from: Minute, to: Minute) -> Result<Self, WindowError> {
        match (from, to) {
            (Minute(DAY), _) => Err(WindowError::Start),
            (from, to) if from == to => Err(WindowError::Equal),
            (from, to) => Ok(Self { from, to }),
        }
    }

    /// Whether it covers this minute of the day on which it starts.
    pub(super) fn covers_start_day(self, minute: Minute) -> bool {
        minute >= self.from && (minute < self.to || self.crosses_midnight())
    }

    /// Whether it covers this minute of the day after.
    pub(super) fn covers_next_day(self, minute: Minute) -> bool {
        self.crosses_midnight() && minute < self.to
    }

    /// Whether it is open whenever another one is that begins on the same day.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        // One that crosses midnight ends later than any that does not.
        let end = |opening: Self| (opening.to < opening.from, opening.to);
        self.from <= other.from && end(self) >= end(other)
    }

    pub(super) fn edges(self) -> [Minute; 2] {
        [self.from, self.to]
    }

    fn crosses_midnight(self) -> bool {
        self.to < self.from
    }
}

impl std::fmt::Display for Opening {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}-{}", self.from, self.to)
    }
}

/// An opening that starts on some days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    days: Vec<Weekday>,
    opening: Opening,
}

impl Window {
    /// A window. `to` before `from` crosses midnight.
    ///
    /// # Errors
    /// When it would be empty or could be read in two ways.
    pub fn new(days: Vec<Weekday>, from: Minute, to: Minute) -> Result<Self, WindowError> {
        if days.is_empty() {
            return Err(WindowError::NoDays);
        }
        Ok(Self { days, opening: Opening::new(from, to)? })
    }

    /// The days on which it starts.
    #[must_use]
    pub fn days(&self) -> &[Weekday] {
        &self.days
    }

    /// From when to when it is open.
    #[must_use]
    pub fn opening(&self) -> Opening {
        self.opening
    }

    pub(super) fn starts_on(&self, date: Date) -> bool {
        self.days.contains(&date.weekday())
    }
}
