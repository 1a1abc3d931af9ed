//! What can be typed after `schedule`.

use clap::{Args, Subcommand, ValueEnum};
use jiff::{Timestamp, Unit};

use super::audit_search::{length, now};
use crate::domain::ScheduleName;
use crate::schedule::Held;

/// `schedule …`
#[derive(Debug, Subcommand)]
pub enum Schedule {
    /// Draw the coming week of each schedule, with holidays, exceptions and overrides
    Show,
    /// Say when each schedule changes next, overrides included
    Next,
    /// Hold a schedule open or closed for a while, whatever its windows say
    #[command(subcommand)]
    Override(Override),
}

/// `schedule override …`
#[derive(Debug, Subcommand)]
pub enum Override {
    /// Hold a schedule open; a kill switch and an override that closes it still stop requests
    #[command(after_help = "Example: schedule override open --until 2h --reason 'stock-taking'")]
    Open(Hold),
    /// Hold a schedule closed for new requests; those in progress go on (a kill switch cuts them)
    #[command(
        after_help = "Example: schedule override close --schedule night --until 2026-12-01T06:00:00+05:00 --reason 'ERP upgrade'"
    )]
    Close(Hold),
    /// Lift what holds a schedule before it ends by itself
    Lift {
        /// Only the override of this kind [default: both]
        which: Option<Which>,
        /// The schedule
        #[arg(long, default_value = "default")]
        schedule: ScheduleName,
        /// Why; goes to the audit trail
        #[arg(long)]
        reason: String,
    },
    /// List the overrides in force
    List,
}

/// Which schedule is held, until when, and why.
#[derive(Debug, Args)]
pub struct Hold {
    /// The schedule
    #[arg(long, default_value = "default")]
    pub schedule: ScheduleName,
    /// When it ends by itself: a moment, or how long from now, as in `90m`, `2h` or `3d`; a year at most
    #[arg(long, value_parser = ahead)]
    pub until: Timestamp,
    /// Why; goes to the audit trail
    #[arg(long)]
    pub reason: String,
}

/// A kind of override.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Which {
    /// One that holds open.
    Open,
    /// One that holds closed.
    Close,
}

impl From<Which> for Held {
    fn from(which: Which) -> Self {
        match which {
            Which::Open => Self::Open,
            Which::Close => Self::Closed,
        }
    }
}

/// A moment as written, or so long from now.
pub(super) fn ahead(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let ahead = length(text).and_then(|length| now().checked_add(length).ok());
    // Nobody means a fraction of a second, and it makes the moment hard to read.
    let whole = ahead.and_then(|ahead| ahead.round(Unit::Second).ok());
    whole.ok_or_else(|| {
        format!("`{text}` is neither a moment (`2026-11-23T22:00:00+05:00`) nor a time from now (`90m`, `2h`, `3d`)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_times_from_now_are_understood_and_nothing_else() {
        assert_eq!(ahead("2026-11-23T12:00:00+05:00"), Ok("2026-11-23T07:00:00Z".parse().expect("a time")));
        let away = ahead("2h").expect("a moment").duration_since(now()).as_secs();
        assert!((7100..=7201).contains(&away), "{away}");
        assert_eq!(ahead("2h").expect("a moment").subsec_nanosecond(), 0);
        for wrong in ["", "2", "h", "-2h", "1.5h", "tomorrow", "22:00", "2026-11-23", "99999999999999999999d"] {
            assert!(ahead(wrong).is_err(), "{wrong}");
        }
    }
}
