//! `log:`: how much is logged, and in which form.

use super::decode::{Choice, Section};

/// Logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// The least that is worth a line.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
}

/// The least that is worth a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Something failed and somebody must look.
    Error,
    /// Something may need a look.
    Warn,
    /// What happens.
    Info,
    /// What happens inside; our own modules only, and only in a debug build.
    Debug,
}

impl Choice for LogLevel {
    const WORDS: &'static [(&'static str, Self)] =
        &[("error", Self::Error), ("warn", Self::Warn), ("info", Self::Info), ("debug", Self::Debug)];
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Choice for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Text }
    }
}

impl LogConfig {
    pub(super) fn read(section: &Section<'_, '_>) -> Self {
        let default = Self::default();
        Self { level: section.choice("level", default.level), format: section.choice("format", default.format) }
    }
}
