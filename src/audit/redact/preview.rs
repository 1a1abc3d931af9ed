//! Keeps the beginning of a body while it streams by, and makes a preview of it at the end.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::Redactor;
use super::analysis::{Kind, doubtful_tail, secrets_in};
use super::charset::{ContentDescription, Declared, text_of};
use crate::domain::Secret;

/// What may be kept of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Redacted text that is safe to print, cut on a character boundary; or a line that describes a binary body.
    pub text: String,
    /// The length of the whole body in bytes.
    pub length: u64,
}

/// Collects one body, chunk by chunk. How the body is divided into chunks changes nothing.
///
/// Memory is bounded by twice the preview's limit and 1 KiB; it is taken as the body arrives. Once a text has
/// filled it, a further chunk costs an addition.
pub struct PreviewCollector {
    limit: usize,
    declared: Declared,
    kind: Kind,
    length: u64,
    state: State,
}

enum State {
    /// What has come so far, all of it.
    Beginning(Zeroizing<Vec<u8>>),
    /// The beginning of a longer text.
    Text(Zeroizing<Vec<u8>>),
    Binary(Sha256),
    Nothing,
}

impl std::fmt::Debug for PreviewCollector {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("PreviewCollector").field("length", &self.length).finish_non_exhaustive()
    }
}

impl PreviewCollector {
    /// Begins a body. `limit` is the greatest length of the preview in bytes; zero means no preview.
    #[must_use]
    pub fn new(limit: usize, description: &ContentDescription<'_>) -> Self {
        let declared = description.declared();
        let media_type = description.media_type();
        let kind = if media_type.ends_with("x-www-form-urlencoded") {
            Kind::Form
        } else if media_type.contains("csv") || media_type.contains("tab-separated") {
            Kind::Table
        } else {
            Kind::Other
        };
        let state = match (limit, declared) {
            (0, _) => State::Nothing,
            (_, Declared::Binary) => State::Binary(Sha256::new()),
            (_, Declared::Text(_) | Declared::Nothing) => State::Beginning(Zeroizing::new(Vec::new())),
        };
        Self { limit, declared, kind, length: 0, state }
    }

    /// Takes note of the next chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        self.length = self.length.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        match &mut self.state {
            State::Nothing | State::Text(_) => {}
            State::Binary(hash) => hash.update(chunk),
            State::Beginning(kept) => {
                let room = self.limit.saturating_mul(2).saturating_add(1024).saturating_sub(kept.len());
                let (fitting, rest) = chunk.split_at(chunk.len().min(room));
                kept.extend_from_slice(fitting);
                if !rest.is_empty() {
                    self.overflow(rest);
                }
            }
        }
    }

    /// The beginning is complete and the body goes on: decides what the body is.
    fn overflow(&mut self, rest: &[u8]) {
        let State::Beginning(kept) = std::mem::replace(&mut self.state, State::Nothing) else { return };
        self.state = if text_of(&kept, self.declared).is_some() {
            State::Text(kept)
        } else {
            State::Binary(Sha256::new().chain_update(kept.as_slice()).chain_update(rest))
        };
    }

    /// The preview of the body as far as it came. `known` are secrets that must not appear, whatever stands around
    /// them.
    #[must_use]
    pub fn finish(self, redactor: &Redactor, known: &[Secret]) -> Preview {
        let text = match &self.state {
            State::Nothing => String::new(),
            State::Beginning(kept) if kept.is_empty() => String::new(),
            State::Binary(_) if self.length == 0 => String::new(),
            State::Binary(hash) => self.describe(hash.clone()),
            State::Beginning(kept) => match text_of(kept, self.declared) {
                Some(text) => self.redacted(text, Tail::Whole, redactor, known),
                None => self.describe(Sha256::new_with_prefix(kept.as_slice())),
            },
            State::Text(kept) => match text_of(kept, self.declared) {
                Some(text) => self.redacted(text, Tail::Cut, redactor, known),
                None => String::new(),
            },
        };
        Preview { text, length: self.length }
    }

    fn redacted(&self, text: String, tail: Tail, redactor: &Redactor, known: &[Secret]) -> String {
        let text = Zeroizing::new(text);
        let spans = secrets_in(&text, self.kind, redactor.names(), known);
        let end = match tail {
            Tail::Whole => text.len(),
            Tail::Cut => text.floor_char_boundary(doubtful_tail(&text, known).start),
        };
        spans.before(end).render(text.get(..end).unwrap_or_default(), self.limit)
    }

    fn describe(&self, hash: Sha256) -> String {
        let mut text = format!("[binary, {} bytes, sha256 {}]", self.length, hex::encode(hash.finalize()));
        text.truncate(self.limit);
        text
    }
}

/// Whether the text is the whole body.
#[derive(Clone, Copy)]
enum Tail {
    Whole,
    Cut,
}
