//! How much of a long list one answer holds.

use super::{ControlError, Result};

/// The number that was asked for, or the usual one.
///
/// # Errors
///
/// Nothing is cut silently: what is none or too much is refused.
pub(super) fn size(member: &str, asked: Option<usize>, usual: usize, most: usize) -> Result<usize> {
    let size = asked.unwrap_or(usual);
    if (1..=most).contains(&size) {
        return Ok(size);
    }
    Err(ControlError::invalid(format!("`{member}` must be a number from 1 to {most}")))
}
