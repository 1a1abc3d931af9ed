//! Moments as people read them: in UTC, with how far away they are; a script shows them in the zone of who reads.

use jiff::{SignedDuration, Timestamp};

/// A moment on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::portal) struct Moment {
    /// For machines.
    pub(in crate::portal) machine: String,
    /// How far away, as in `3 min ago`.
    pub(in crate::portal) away: String,
}

impl Moment {
    /// Reads a moment as pages write it; `None` for any other text.
    pub(super) fn read(text: &str, now: Timestamp) -> Option<Self> {
        let looks_so = text.len() >= 20 && text.ends_with('Z') && text.starts_with("20");
        let at: Timestamp = looks_so.then(|| text.parse().ok())??;
        Some(Self { machine: at.to_string(), away: away(at, now) })
    }
}

/// How far away a moment is, in its largest unit.
pub(super) fn away(at: Timestamp, now: Timestamp) -> String {
    let gap = at.duration_since(now);
    let length = length(gap.abs());
    if gap.abs() < SignedDuration::from_secs(5) {
        "now".to_owned()
    } else if gap.is_positive() {
        format!("in {length}")
    } else {
        format!("{length} ago")
    }
}

fn length(gap: SignedDuration) -> String {
    let seconds = gap.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_from_other_texts_and_from_now() {
        let now = "2026-11-26T12:00:00Z".parse().expect("a time");
        let read = |text: &str| Moment::read(text, now).map(|moment| moment.away);
        assert_eq!(read("2026-11-26 11:59:30Z").as_deref(), Some("30 s ago"));
        assert_eq!(read("2026-11-26T11:00:00.5Z").as_deref(), Some("59 min ago"));
        assert_eq!(read("2026-11-26 12:00:01Z").as_deref(), Some("now"));
        assert_eq!(read("2026-11-29 12:00:00Z").as_deref(), Some("in 3 days"));
        for other in ["", "web shop", "2026-11-26", "20 rows and many more words in Z", "none"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
