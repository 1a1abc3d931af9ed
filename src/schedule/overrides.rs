//! Overrides: an operator opens or closes a schedule for a while, whatever its windows say.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Schedule, State};
use crate::domain::ScheduleName;

/// How a schedule is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Held {
    /// Open.
    Open,
    /// Closed.
    Closed,
}

/// A text says neither `open` nor `closed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a schedule is held `open` or `closed`")]
pub struct HeldError;

impl Held {
    /// The stable text, as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

impl FromStr for Held {
    type Err = HeldError;

    fn from_str(text: &str) -> Result<Self, HeldError> {
        match text {
            "open" => Ok(Self::Open),
            "closed" => Ok(Self::Closed),
            _ => Err(HeldError),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The longest time for which a schedule may be held: a leap year.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

/// When an override ends: later than now, within a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverrideEnd(Timestamp);

/// A moment at which no override can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverrideEndError {
    /// It would be over before it began.
    #[error("`until` is {until}, which is not later than now ({now}): such an override would never be in force")]
    Past {
        /// What was asked for.
        until: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// What lasts longer is no exception any more.
    #[error("`until` is {until}, more than a year ahead; what is to last belongs into policies/schedule.yaml")]
    TooFar {
        /// What was asked for.
        until: Timestamp,
    },
}

impl OverrideEnd {
    /// The end of an override that is made now.
    ///
    /// # Errors
    /// When it is past or more than a year ahead.
    pub fn new(until: Timestamp, now: Timestamp) -> Result<Self, OverrideEndError> {
        if until <= now {
            Err(OverrideEndError::Past { until, now })
        } else if until.duration_since(now) > LONGEST {
            Err(OverrideEndError::TooFar { until })
        } else {
            Ok(Self(until))
        }
    }

    /// The moment.
    #[must_use]
    pub fn at(self) -> Timestamp {
        self.0
    }
}

/// A schedule is held open or closed for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The schedule.
    pub schedule: ScheduleName,
    /// How it is held.
    pub held: Held,
    /// Until when; at this moment it is over.
    pub until: Timestamp,
    /// Why, for the audit trail.
    pub reason: String,
    /// Who made it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

impl Override {
    fn is_in_force(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

impl fmt::Display for Override {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "held {} by {} until {}: {}", self.held, self.by, self.until, self.reason)
    }
}

/// What decides about a schedule now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hours<'o> {
    /// A window or an exception is open.
    Open,
    /// None is.
    Closed,
    /// An override holds it open.
    HeldOpen(&'o Override),
    /// An override holds it closed.
    HeldClosed(&'o Override),
}

/// The overrides that there are: at most one of each kind for a schedule.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    all: Vec<Override>,
}

impl Overrides {
    /// These are there.
    #[must_use]
    pub fn new(all: Vec<Override>) -> Self {
        Self { all }
    }

    /// All that are in force now.
    pub fn in_force(&self, now: Timestamp) -> impl Iterator<Item = &Override> {
        self.all.iter().filter(move |held| held.is_in_force(now))
    }

    /// All whose time is over, though nobody has removed them yet.
    pub fn over(&self, now: Timestamp) -> impl Iterator<Item = &Override> {
        self.all.iter().filter(move |held| !held.is_in_force(now))
    }

    /// The one of exactly this kind, in force or not.
    #[must_use]
    pub fn of(&self, schedule: &ScheduleName, held: Held) -> Option<&Override> {
        self.all.iter().find(|known| known.schedule == *schedule && known.held == held)
    }

    /// The one that decides about a schedule now: one that closes beats one that opens.
    #[must_use]
    pub fn deciding(&self, schedule: &ScheduleName, now: Timestamp) -> Option<&Override> {
        let of = |held: Held| self.of(schedule, held).filter(|known| known.is_in_force(now));
        of(Held::Closed).or_else(|| of(Held::Open))
    }

    /// What decides about a schedule now.
    #[must_use]
    pub fn hours<'o>(&'o self, name: &ScheduleName, schedule: &Schedule, now: Timestamp) -> Hours<'o> {
        match self.deciding(name, now) {
            Some(held) => match held.held {
                Held::Open => Hours::HeldOpen(held),
                Held::Closed => Hours::HeldClosed(held),
            },
            None if schedule.is_open(now) => Hours::Open,
            None => Hours::Closed,
        }
    }

    /// Whether a schedule is open now and when that changes, its overrides included.
    #[must_use]
    pub fn state(&self, name: &ScheduleName, schedule: &Schedule, now: Timestamp) -> State {
        let open = self.is_open(name, schedule, now);
        let mut at = now;
        // Each turn passes the end of one override, and there are two at most.
        while let Some(held) = self.deciding(name, at) {
            at = held.until;
            if self.is_open(name, schedule, at) != open {
                return State::of(open, Some(at));
            }
        }
        State::of(open, schedule.state(at).changes_at())
    }

    fn is_open(&self, name: &ScheduleName, schedule: &Schedule, at: Timestamp) -> bool {
        match self.hours(name, schedule, at) {
            Hours::Open | Hours::HeldOpen(_) => true,
            Hours::Closed | Hours::HeldClosed(_) => false,
        }
    }

    /// The same with one more, in place of one of the same kind.
    #[must_use]
    pub fn with(&self, held: Override) -> Self {
        let mut all = self.without(&held.schedule, held.held).all;
        all.push(held);
        all.sort_by(|one, other| (&one.schedule, one.held).cmp(&(&other.schedule, other.held)));
        Self { all }
    }

    /// The same without the one of this kind.
    #[must_use]
    pub fn without(&self, schedule: &ScheduleName, held: Held) -> Self {
        let others = self.all.iter().filter(|known| known.schedule != *schedule || known.held != held);
        Self { all: others.cloned().collect() }
    }
}

#[cfg(test)]
mod tests;
