//! Logs: one line for people or machines on standard error, never a secret.

mod restrained;

use std::fmt::Write as _;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use log::{Level, LevelFilter};
use logforth::append::Stderr;
use logforth::bridge::log::LogBridge;
use logforth::filter::FilterResult;
use logforth::kv::{KeyView, ValueView, Visitor};
use logforth::record::{FilterCriteria, Record};
use logforth::{Diagnostic, Filter, Layout};

use serde::Serialize;
use serde_json::{Map, Value};

use restrained::Restrained;

use crate::config::{LogConfig, LogFormat, LogLevel};

/// Logs cannot be set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// Somebody did it before.
    #[error("the log is set up already")]
    AlreadySetUp,
}

/// Sends logs to standard error and notes panics. To be called once, at the start.
///
/// # Errors
/// The log is set up already.
pub fn init(config: &LogConfig) -> Result<(), TelemetryError> {
    let least = least_of(config.level);
    let appender = match config.format {
        LogFormat::Text => Stderr::default().with_layout(OneLine),
        LogFormat::Json => Stderr::default().with_layout(JsonLine),
    };
    let logger = logforth::core::builder()
        .dispatch(|dispatch| dispatch.filter(Capped { least }).append(Restrained::new(appender)))
        .build();
    log::set_boxed_logger(Box::new(LogBridge::new(logger))).map_err(|_| TelemetryError::AlreadySetUp)?;
    log::set_max_level(least);
    std::panic::set_hook(Box::new(note_panic));
    Ok(())
}

/// How many panics there were since the start. Each one ended a request, not the process.
#[must_use]
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

static PANICS: AtomicU64 = AtomicU64::new(0);

/// The root of our own log targets.
const OURS: &str = "erp_access";

/// Whether a line of `level` from `target` is logged where the configuration asks for `least`.
#[must_use]
pub fn is_logged(level: Level, target: &str, least: LevelFilter) -> bool {
    let ours = target.strip_prefix(OURS).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    // SECURITY: below INFO, Pingora prints the headers that it receives and those that it sends, with the client's
    // credentials and with the ERP session that we have injected; other libraries on the data path may do the same.
    // Only our own modules are known to print no secret, so only they get below INFO, whatever anybody configures.
    let most = if ours { least } else { least.min(LevelFilter::Info) };
    level <= most
}

fn least_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
    }
}

#[derive(Debug)]
struct Capped {
    least: LevelFilter,
}

impl Filter for Capped {
    fn enabled(&self, criteria: &FilterCriteria<'_>, _: &[Box<dyn Diagnostic>]) -> FilterResult {
        match level_of(criteria.level()) {
            Some(level) if is_logged(level, criteria.target(), self.least) => FilterResult::Neutral,
            Some(_) | None => FilterResult::Reject,
        }
    }
}

/// The level as the `log` crate knows it; the finer ones of the logger do not come from there.
fn level_of(level: logforth::record::Level) -> Option<Level> {
    level.name().parse().ok()
}

/// `2026-11-23T17:00:00.123Z WARN  erp_access::upstream: the message key=value`
#[derive(Debug)]
struct OneLine;

impl Layout for OneLine {
    fn format(&self, record: &Record<'_>, _: &[Box<dyn Diagnostic>]) -> Result<Vec<u8>, logforth::Error> {
        let mut line = format!("{} {:5} {}: ", time_of(record), record.level().name(), record.target());
        push_escaped(&mut line, &record.payload().to_string());
        record.key_values().visit(&mut Pairs(&mut line))?;
        Ok(line.into_bytes())
    }
}

struct Pairs<'a>(&'a mut String);

impl Visitor for Pairs<'_> {
    fn visit(&mut self, key: KeyView<'_>, value: ValueView<'_>) -> Result<(), logforth::Error> {
        self.0.push(' ');
        push_escaped(self.0, &key.to_string());
        self.0.push('=');
        push_escaped(self.0, &value.to_string());
        Ok(())
    }
}

// SECURITY: a client chooses parts of many messages; with a line break it would write log lines of its own, with an
// escape sequence it would drive the reader's terminal.
fn push_escaped(line: &mut String, text: &str) {
    for shown in text.chars() {
        let dangerous = shown.is_control()
            || matches!(shown, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if dangerous {
            line.extend(shown.escape_unicode());
        } else {
            line.push(shown);
        }
    }
}

/// `{"time":"2026-11-23T17:00:00.123Z","level":"WARN","target":"erp_access::upstream","message":"…","fields":{…}}`
#[derive(Debug)]
struct JsonLine;

#[derive(Serialize)]
struct JsonRecord<'a> {
    time: String,
    level: &'a str,
    target: &'a str,
    message: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
}

impl Layout for JsonLine {
    fn format(&self, record: &Record<'_>, _: &[Box<dyn Diagnostic>]) -> Result<Vec<u8>, logforth::Error> {
        let mut fields = Map::new();
        record.key_values().visit(&mut Fields(&mut fields))?;
        let json = JsonRecord {
            time: time_of(record),
            level: record.level().name(),
            target: record.target(),
            message: record.payload().to_string(),
            fields,
        };
        serde_json::to_vec(&json).map_err(|_| logforth::Error::new("a log line cannot be written as JSON"))
    }
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Visitor for Fields<'_> {
    fn visit(&mut self, key: KeyView<'_>, value: ValueView<'_>) -> Result<(), logforth::Error> {
        self.0.insert(key.to_string(), Value::String(value.to_string()));
        Ok(())
    }
}

fn time_of(record: &Record<'_>) -> String {
    format!("{:.3}", Timestamp::try_from(record.time()).unwrap_or_default())
}

/// Counts a panic and says where it happened.
fn note_panic(panic: &PanicHookInfo<'_>) {
    PANICS.fetch_add(1, Ordering::Relaxed);
    log::error!("{}", panic_message(panic));
}

// SECURITY: the payload is left out: a message such as that of a failed `unwrap` shows the value that it failed on.
fn panic_message(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let mut message = format!("panic in thread `{}`", thread.name().unwrap_or("unnamed"));
    if let Some(at) = panic.location() {
        let _ = write!(message, " at {}:{}:{}", at.file(), at.line(), at.column());
    }
    message
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn own_modules_are_logged_as_configured() {
        for target in ["erp_access", "erp_access::upstream::sign_in"] {
            assert!(is_logged(Level::Debug, target, LevelFilter::Debug));
            assert!(is_logged(Level::Trace, target, LevelFilter::Trace));
            assert!(!is_logged(Level::Info, target, LevelFilter::Warn));
        }
    }

    #[test]
    fn pingora_is_never_logged_below_info_whatever_is_configured() {
        for target in
            ["pingora", "pingora_proxy::proxy_h1", "pingora_core::protocols::http", "h2", "erp_accessible", ""]
        {
            for least in [LevelFilter::Debug, LevelFilter::Trace] {
                assert!(!is_logged(Level::Debug, target, least), "{target}");
                assert!(!is_logged(Level::Trace, target, least), "{target}");
                assert!(is_logged(Level::Info, target, least), "{target}");
            }
            assert!(!is_logged(Level::Info, target, LevelFilter::Warn), "{target}");
        }
    }

    #[test]
    fn filter_of_the_logger_decides_the_same() {
        use logforth::record::Level;
        let filter = Capped { least: LevelFilter::Debug };
        let decide =
            |level, target| filter.enabled(&FilterCriteria::builder().level(level).target(target).build(), &[]);
        assert_eq!(decide(Level::Debug, "pingora_proxy"), FilterResult::Reject);
        assert_eq!(decide(Level::Info, "pingora_proxy"), FilterResult::Neutral);
        assert_eq!(decide(Level::Debug, "erp_access::gate"), FilterResult::Neutral);
        assert_eq!(decide(Level::Trace, "erp_access::gate"), FilterResult::Reject);
        assert_eq!(decide(Level::Error, "anybody"), FilterResult::Neutral);
        assert_eq!(decide(Level::Info2, "erp_access::gate"), FilterResult::Reject);
    }

    #[test]
    fn line_breaks_and_escape_sequences_of_a_message_are_escaped() {
        let record = Record::builder()
            .level(logforth::record::Level::Warn)
            .target("erp_access::gate")
            .payload(format_args!("refused /a\nWARN forged \u{1b}[31m\u{202e}"))
            .build();
        let line = String::from_utf8(OneLine.format(&record, &[]).expect("a line")).expect("UTF-8");
        assert!(line.contains(" WARN  erp_access::gate: refused /a\\u{a}WARN forged \\u{1b}[31m\\u{202e}"), "{line}");
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn json_line_reads_back_as_one_object() {
        let fields = [(logforth::kv::Key::new("code"), logforth::kv::Value::i64(403))];
        let record = Record::builder()
            .target("erp_access::gate")
            .payload(format_args!("refused \"/a\n\""))
            .key_values(fields.as_slice())
            .build();
        let line = JsonLine.format(&record, &[]).expect("a line");
        let read: Value = serde_json::from_slice(&line).expect("JSON");
        assert!(!line.contains(&b'\n'));
        assert_eq!((&read["message"], &read["fields"]["code"]), (&"refused \"/a\n\"".into(), &"403".into()));
        assert!(read["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{read}");
    }

    #[test]
    fn panic_is_noted_by_place_without_what_it_says() {
        let noted = Arc::new(Mutex::new(String::new()));
        let keep = Arc::clone(&noted);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.location().is_some_and(|at| at.file().ends_with("telemetry.rs")) {
                note_panic(panic);
                *keep.lock().expect("not poisoned") = panic_message(panic);
            }
        }));
        let count = panics();
        let outcome = std::panic::catch_unwind(|| panic!("hunter2"));
        std::panic::set_hook(before);
        let message = noted.lock().expect("not poisoned").clone();
        assert!(outcome.is_err() && panics() > count);
        assert!(message.contains("src/telemetry.rs:") && !message.contains("hunter2"), "{message}");
    }
}
