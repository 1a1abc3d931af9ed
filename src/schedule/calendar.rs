//! Days that differ from the week: holidays, on which no window starts, and exceptions, on which more is open.

use std::fmt;

use jiff::civil::Date;

use super::window::Opening;

/// A day of the year, `MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct YearDay {
    month: i8,
    day: i8,
}

impl YearDay {
    /// Reads `MM-DD`, two digits each. `02-29` comes in leap years only; `02-30` comes never and is refused.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |part: &str| {
            let two = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            two.then(|| part.parse::<i8>().ok()).flatten()
        };
        let (month, day) = text.split_once('-')?;
        let (month, day) = (digits(month)?, digits(day)?);
        // In a leap year every day of the year exists.
        Date::new(2024, month, day).ok().map(|_| Self { month, day })
    }

    fn falls_on(self, date: Date) -> bool {
        (date.month(), date.day()) == (self.month, self.day)
    }
}

impl fmt::Display for YearDay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:02}-{:02}", self.month, self.day)
    }
}

/// When a holiday is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HolidayDate {
    /// Once.
    Once(Date),
    /// Every year.
    Yearly(YearDay),
}

impl HolidayDate {
    /// Whether it is on this day.
    #[must_use]
    pub fn falls_on(self, date: Date) -> bool {
        match self {
            Self::Once(once) => once == date,
            Self::Yearly(day) => day.falls_on(date),
        }
    }

    /// Whether both are on one day, in some year.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        match (self, other) {
            (Self::Yearly(one), Self::Yearly(other)) => one == other,
            (Self::Once(date), other) | (other, Self::Once(date)) => other.falls_on(date),
        }
    }
}

impl fmt::Display for HolidayDate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Once(date) => write!(out, "{date}"),
            Self::Yearly(day) => write!(out, "every {day}"),
        }
    }
}

/// A day on which no window starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holiday {
    /// When it is.
    pub date: HolidayDate,
    /// What it is called.
    pub name: String,
}

/// A day on which the API is open besides, whatever weekday or holiday it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// The day.
    pub date: Date,
    /// When it is open; as with windows, the part after midnight belongs to this day.
    pub openings: Vec<Opening>,
    /// What it is for.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_year_that_exist_are_read_and_no_others() {
        for good in ["01-01", "02-28", "02-29", "12-31"] {
            assert_eq!(YearDay::parse(good).map(|day| day.to_string()).as_deref(), Some(good));
        }
        for wrong in ["02-30", "04-31", "00-10", "13-01", "1-1", "12-1", "1225", "12-25-", "--12-25", "+1-02", "12-٣١"]
        {
            assert_eq!(YearDay::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_29th_of_february_comes_in_leap_years_only() {
        let day = HolidayDate::Yearly(YearDay::parse("02-29").expect("a day"));
        let on = |text: &str| day.falls_on(text.parse().expect("a date"));
        assert!(on("2028-02-29") && !on("2027-02-28") && !on("2027-03-01"));
    }
}
