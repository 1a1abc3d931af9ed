//! What an endpoint wants of a body: operations that share one path, and requests that hold others.

use std::fmt;

use crate::domain::{JsonPointer, JsonScalar};

/// What an endpoint wants of a body.
#[derive(Debug, Clone)]
pub(super) struct BodyRule {
    /// The longest body that is looked into, in bytes.
    pub(super) max_bytes: usize,
    /// What must be in it.
    pub(super) holds: BodyHolds,
}

/// What a body must hold.
#[derive(Debug, Clone)]
pub(super) enum BodyHolds {
    /// One JSON object with one of its values at each pointer, or a list of such objects.
    Values {
        /// Each pointer with the values that are allowed there.
        wanted: Vec<(JsonPointer, Vec<JsonScalar>)>,
        /// Whether a list is possible.
        batch: Batch,
    },
    /// Whole requests, as `OData` batches them in JSON or `multipart/mixed`; each is decided by itself.
    ODataBatch {
        /// The most requests in it.
        most_parts: usize,
    },
}

/// Whether one body may hold several operations (a JSON-RPC batch).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Batch {
    /// It may not.
    Refused,
    /// At most so many.
    Allowed {
        /// The most operations in it.
        most_parts: usize,
    },
}

impl fmt::Display for BodyRule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.holds {
            BodyHolds::Values { wanted, batch } => {
                for (pointer, values) in wanted {
                    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                    write!(out, "{pointer} is {}, ", values.join(" or "))?;
                }
                if let Batch::Allowed { most_parts } = batch {
                    write!(out, "alone or in a batch of {most_parts}, ")?;
                }
            }
            BodyHolds::ODataBatch { most_parts } => write!(out, "an OData batch of {most_parts} requests, ")?,
        }
        write!(out, "at most {} bytes", self.max_bytes)
    }
}

impl BodyRule {
    /// The most operations in one body; 0 where it is one only.
    pub(super) fn most_parts(&self) -> usize {
        match &self.holds {
            BodyHolds::Values { batch: Batch::Refused, .. } => 0,
            BodyHolds::Values { batch: Batch::Allowed { most_parts }, .. } | BodyHolds::ODataBatch { most_parts } => {
                *most_parts
            }
        }
    }
}
