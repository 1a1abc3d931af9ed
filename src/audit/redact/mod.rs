//! Takes secrets out of what is kept: by name, by shape and by value.
//!
//! A text is read as every notation at once (`pairs`, `json`, `xml`, `form`, `multipart`, `table`, `shapes`), in every
//! spelling it may have (`decode`), and what any of them finds is taken out. A wrong content type, broken syntax or
//! one notation inside another therefore makes a preview poorer, never richer.

mod bytes;
mod decode;
mod words;
mod filter;
mod names;
mod spans;
mod pairs;
mod value;
mod json;
mod xml;
mod form;
mod multipart;
mod table;
mod shapes;
mod known;
mod runs;
mod analysis;
mod charset;
mod preview;

use std::borrow::Cow;

pub use charset::ContentDescription;
pub use preview::{Preview, PreviewCollector};

use crate::domain::Secret;
use analysis::{Kind, secrets_in};
use names::Names;

/// What the operator adds to the built-in names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedactionLists {
    /// Names of headers whose values are secret.
    pub headers: Vec<String>,
    /// Names of keys, fields, elements, attributes and parameters whose values are secret.
    pub fields: Vec<String>,
}

/// Knows which names are secret. Built once and shared.
#[derive(Debug)]
pub struct Redactor {
    names: Names,
}

/// A redactor for one exchange, which also knows the values of secrets that are in use there.
#[derive(Debug, Clone, Copy)]
pub struct KnowingRedactor<'a> {
    redactor: &'a Redactor,
    known: &'a [Secret],
}

impl Redactor {
    /// The built-in names and those of the operator. Case and punctuation of a name do not matter.
    #[must_use]
    pub fn new(extra: &RedactionLists) -> Self {
        Self { names: Names::new(extra) }
    }

    /// The same redactor with values that must not appear in any encoding. Values under four bytes are not looked for.
    #[must_use]
    pub fn with_known<'a>(&'a self, known: &'a [Secret]) -> KnowingRedactor<'a> {
        KnowingRedactor { redactor: self, known }
    }

    /// A query string, without its `?`, that is safe to keep and to print.
    #[must_use]
    pub fn query(&self, query: &str) -> String {
        self.with_known(&[]).query(query)
    }

    /// The value of a header, safe to keep and to print.
    #[must_use]
    pub fn header<'t>(&self, name: &str, value: &'t str) -> Cow<'t, str> {
        self.with_known(&[]).header(name, value)
    }

    /// Any other text, safe to keep and to print: a user agent, a correlation id, an error message.
    #[must_use]
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.with_known(&[]).text(text)
    }

    fn names(&self) -> &Names {
        &self.names
    }
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new(&RedactionLists::default())
    }
}

impl KnowingRedactor<'_> {
    /// As [`Redactor::query`].
    #[must_use]
    pub fn query(&self, query: &str) -> String {
        self.clean(query, Kind::Form).into_owned()
    }

    /// As [`Redactor::header`].
    #[must_use]
    pub fn header<'t>(&self, name: &str, value: &'t str) -> Cow<'t, str> {
        if self.redactor.names.is_secret_header(name) {
            return Cow::Borrowed(spans::PLACEHOLDER);
        }
        self.clean(value, Kind::Other)
    }

    /// As [`Redactor::text`].
    #[must_use]
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.clean(text, Kind::Other)
    }

    fn clean<'t>(&self, text: &'t str, kind: Kind) -> Cow<'t, str> {
        let secrets = secrets_in(text, kind, &self.redactor.names, self.known);
        if secrets.is_empty() && spans::is_safe_to_print(text) {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(secrets.render(text, usize::MAX))
        }
    }
}

#[cfg(test)]
mod tests;
