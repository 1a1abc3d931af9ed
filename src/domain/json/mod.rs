//! Values at given places of a JSON document, read or masked in one pass without building the document.
//!
//! While reading, what two parsers could read differently is refused: repeated keys at any depth, keys that look like one that is
//! looked for, a byte order mark, anything but UTF-8, escapes that are half a character, anything after the document,
//! and at a place that is looked at a number that is rounded by some.

mod keys;
mod mask;
#[cfg(test)]
mod mask_tests;
mod pointer;
mod read;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

pub use mask::{MaskPointer, Masked, NotMasked, mask_json};
pub use pointer::{JsonPointer, PointerRefused, PointerSet, Slot};
pub use read::read_json;

/// The largest whole number that every parser reads exactly (RFC 8259 section 6): 2^53 - 1.
pub const LARGEST_WHOLE: i64 = 9_007_199_254_740_991;

/// Deepest nesting that is read.
pub const DEEPEST: usize = 64;

/// A value that something in a document is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonScalar {
    /// A text.
    Text(String),
    /// A whole number between plus and minus [`LARGEST_WHOLE`].
    Whole(i64),
    /// `true` or `false`.
    Boolean(bool),
}

impl fmt::Display for JsonScalar {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(out, "{text:?}"),
            Self::Whole(number) => write!(out, "{number}"),
            Self::Boolean(value) => write!(out, "{value}"),
        }
    }
}

/// What stands at a place of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held<'d> {
    /// Nothing.
    Absent,
    /// `null`.
    Null,
    /// A text, escapes resolved.
    Text(Cow<'d, str>),
    /// A whole number that every parser reads exactly.
    Whole(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// A list, an object, or a number that is not whole.
    Other,
}

impl Held<'_> {
    /// Whether it is exactly this value; `"1"`, `1` and `true` are three values.
    #[must_use]
    pub fn is(&self, wanted: &JsonScalar) -> bool {
        match (self, wanted) {
            (Self::Text(held), JsonScalar::Text(wanted)) => held == wanted,
            (Self::Whole(held), JsonScalar::Whole(wanted)) => held == wanted,
            (Self::Boolean(held), JsonScalar::Boolean(wanted)) => held == wanted,
            (Self::Absent | Self::Null | Self::Text(_) | Self::Whole(_) | Self::Boolean(_) | Self::Other, _) => false,
        }
    }

    /// Whether something stands there that is not null.
    #[must_use]
    pub fn is_present(&self) -> bool {
        !matches!(self, Self::Absent | Self::Null)
    }
}

/// What stands at each place that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'d>(Vec<Held<'d>>);

impl<'d> Found<'d> {
    fn nothing(places: usize) -> Self {
        Self(vec![Held::Absent; places])
    }

    /// What stands at this place.
    #[must_use]
    pub fn at(&self, slot: Slot) -> &Held<'d> {
        self.0.get(slot.0).unwrap_or(&Held::Absent)
    }

    fn hold(&mut self, slot: Slot, held: Held<'d>) {
        if let Some(place) = self.0.get_mut(slot.0) {
            *place = held;
        }
    }
}

/// A document that has one meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document<'d> {
    /// An object.
    Object(Found<'d>),
    /// A list of objects; the places are those in each of them.
    List(Vec<Found<'d>>),
}

/// A document has no single meaning, or is not of the form that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonRefused {
    /// It is not exactly one JSON document in UTF-8.
    #[error("it is not exactly one JSON document in UTF-8")]
    NotJson,
    /// A key occurs twice.
    #[error("a key occurs twice in one object")]
    DuplicateKey,
    /// A key looks like one that is looked for: in capitals, or up to a NUL.
    #[error("a key differs from one that decides only in capitals or behind a NUL; some parsers take it for the same")]
    LookalikeKey,
    /// It nests too deep.
    #[error("it nests deeper than {DEEPEST} levels")]
    TooDeep,
    /// A number that decides is rounded by some parsers, or is written in a way that makes it another type to some.
    #[error(
        "a number that decides is not read alike by all: write whole numbers up to 2^53 - 1 without `.`, `e` or -0"
    )]
    Number,
    /// The top is not an object.
    #[error("it is not an object; batches are not allowed")]
    NotAnObject,
    /// The list is empty, or something in it is not an object.
    #[error("a batch must be a list of objects that is not empty")]
    NotABatch,
    /// The list is too long.
    #[error("the batch has more parts than allowed")]
    TooManyParts,
}
