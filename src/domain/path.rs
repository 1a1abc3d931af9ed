//! The one canonical form of a request's path.
use std::fmt;

/// Why a path was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathRefused {
    /// It does not begin with exactly one `/`.
    #[error("the target does not begin with one `/`")]
    NotOriginForm,
}

/// A path in canonical form.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CanonicalPath(String);

impl CanonicalPath {
    /// Canonicalises.
    ///
    /// # Errors
    /// When ambiguous.
    pub fn parse(raw: &[u8]) -> Result<Self, PathRefused> {
        let _ = raw;
        Err(PathRefused::NotOriginForm)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Debug for CanonicalPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
/// A request target: canonical path plus the query as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    path: CanonicalPath,
    query: Option<String>,
}
impl Target {
    /// The path.
    #[must_use]
    pub fn path(&self) -> &CanonicalPath {
        &self.path
    }
    /// The query.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }
}
