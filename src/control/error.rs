//! Why an operation was not carried out.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why an operation was not carried out.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ControlError {
    /// What kind of reason.
    pub kind: ErrorKind,
    /// The reason, with what to do about it.
    pub message: String,
}

/// The kinds of reasons, each with an exit code of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// There is no such thing.
    NotFound,
    /// It is there already, or in a state that does not allow it.
    Conflict,
    /// The operation makes no sense as given.
    Invalid,
    /// Something that the operation needs was not given.
    Incomplete,
    /// The role of who asks does not allow it.
    Forbidden,
    /// It is no longer what it was when it was looked at.
    Stale,
    /// The ERP did not do its part.
    Upstream,
    /// Something is broken.
    Failed,
}

impl ControlError {
    /// There is no such thing.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::NotFound, message: message.into() }
    }

    /// Its state does not allow it.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Conflict, message: message.into() }
    }

    /// The operation makes no sense as given.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Invalid, message: message.into() }
    }

    /// Something that the operation needs was not given.
    #[must_use]
    pub fn incomplete(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Incomplete, message: message.into() }
    }

    /// The role of who asks does not allow it.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Forbidden, message: message.into() }
    }

    /// Something is broken.
    #[must_use]
    pub fn failed(message: impl fmt::Display) -> Self {
        Self { kind: ErrorKind::Failed, message: message.to_string() }
    }
}
