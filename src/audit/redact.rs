//! Takes secrets out of what is kept.

use crate::domain::Secret;

/// What may be kept of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Redacted text, cut on a character boundary; or a line that describes a binary body.
    pub text: String,
    /// The length of the whole body in bytes.
    pub length: u64,
}

/// Knows what is secret.
#[derive(Debug)]
pub struct Redactor {
    known: Vec<Secret>,
}

impl Redactor {
    /// Sees nothing as secret yet.
    #[must_use]
    pub fn new() -> Self {
        Self { known: Vec::new() }
    }
}
impl Default for Redactor {
    fn default() -> Self {
        Self::new()
    }
}

/// Collects a body.
#[derive(Debug, Default)]
pub struct PreviewCollector {
    start: Vec<u8>,
}
