//! One problem, a few lines: what one place in the code logs again and again is left out, and counted.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use logforth::record::Record;
use logforth::{Append, Diagnostic};

/// So many lines of one place are written within a window.
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(10);

/// Writes what is not too much.
#[derive(Debug)]
pub(super) struct Restrained<A> {
    inner: A,
    places: Mutex<HashMap<Place, Window>>,
}

/// Where in the code a line comes from.
type Place = (String, u32);

#[derive(Debug, Clone, Copy)]
struct Window {
    began: SystemTime,
    written: u32,
    left_out: u64,
}

impl<A> Restrained<A> {
    pub(super) fn new(inner: A) -> Self {
        Self { inner, places: Mutex::default() }
    }

    /// Whether the line is written, and how many of its place were left out before it.
    fn takes(&self, place: Place, now: SystemTime) -> Option<u64> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let window = places.entry(place).or_insert(Window { began: now, written: 0, left_out: 0 });
        // A clock that was set back begins anew too.
        if now.duration_since(window.began).map_or(true, |age| age >= WINDOW) {
            let before = window.left_out;
            *window = Window { began: now, written: 1, left_out: 0 };
            return Some(before);
        }
        if window.written < LINES {
            window.written += 1;
            return Some(0);
        }
        window.left_out += 1;
        None
    }
}

impl<A: Append> Append for Restrained<A> {
    fn append(&self, record: &Record<'_>, diagnostics: &[Box<dyn Diagnostic>]) -> Result<(), logforth::Error> {
        let place = (record.file().unwrap_or_else(|| record.target()).to_owned(), record.line().unwrap_or(0));
        match self.takes(place, record.time()) {
            None => Ok(()),
            Some(0) => self.inner.append(record, diagnostics),
            Some(count) => {
                self.inner.append(
                    &record.to_builder().payload(format_args!("{count} lines like the next were left out")).build(),
                    diagnostics,
                )?;
                self.inner.append(record, diagnostics)
            }
        }
    }

    fn flush(&self) -> Result<(), logforth::Error> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl Append for Kept {
        fn append(&self, record: &Record<'_>, _: &[Box<dyn Diagnostic>]) -> Result<(), logforth::Error> {
            self.0.lock().expect("not poisoned").push(record.payload().to_string());
            Ok(())
        }

        fn flush(&self) -> Result<(), logforth::Error> {
            Ok(())
        }
    }

    #[test]
    fn a_place_that_repeats_itself_is_left_out_and_counted_and_others_are_not() {
        let kept = Kept::default();
        let restrained = Restrained::new(kept.clone());
        let log = |line, text: &str| {
            restrained
                .append(
                    &Record::builder().file(Some("a.rs")).line(Some(line)).payload(format_args!("{text}")).build(),
                    &[],
                )
                .expect("written");
        };
        for number in 0..100 {
            log(1, &format!("the disk is full, {number}"));
        }
        log(2, "something else");
        let lines = kept.0.lock().expect("not poisoned").clone();
        assert_eq!(lines.len(), 11, "{lines:?}");
        assert_eq!(lines.last().map(String::as_str), Some("something else"));
    }

    #[test]
    fn after_a_while_the_next_line_is_written_with_how_many_were_not() {
        let restrained = Restrained::new(Kept::default());
        let (begin, place) = (SystemTime::UNIX_EPOCH + WINDOW, || ("a.rs".to_owned(), 1));
        for _ in 0..LINES {
            assert_eq!(restrained.takes(place(), begin), Some(0));
        }
        assert_eq!(restrained.takes(place(), begin + WINDOW / 2), None);
        assert_eq!(restrained.takes(place(), begin + WINDOW), Some(1));
        assert_eq!(restrained.takes(place(), begin), Some(0), "the clock was set back");
    }
}
