//! Looks at a text in every spelling it may be read in and gathers what is secret in any of them.

use std::ops::Range;

use super::bytes::{find, part, until};
use super::decode::{Layer, Spelling};
use super::names::Names;
use super::spans::Spans;
use super::{form, json, known, multipart, pairs, runs, shapes, table, xml};
use crate::domain::Secret;

/// What a text claims to be. The claim adds rules and never removes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A query string or form body.
    Form,
    /// A table with a heading.
    Table,
    /// Anything else.
    Other,
}

/// The text needs more decoding than is worth its preview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TooDeep;

/// Base64 within base64 is followed so far.
const DEEPEST: usize = 3;

struct Analysis<'a> {
    names: &'a Names,
    known: &'a [Secret],
    /// Bytes that may still be looked at.
    // INVARIANT: every layer is paid for, so that the work is linear in the length of the text.
    budget: usize,
}

/// Everything in `text` that must not be shown.
pub(super) fn secrets_in(text: &str, kind: Kind, names: &Names, known: &[Secret]) -> Spans {
    const LOOKS: usize = 16;
    const LOOKS_AT_SHORT_TEXT: usize = 16 * 1024;
    let budget = text.len().saturating_mul(LOOKS).saturating_add(LOOKS_AT_SHORT_TEXT);
    let mut analysis = Analysis { names, known, budget };
    analysis.spans(text.as_bytes(), kind, 0).unwrap_or_else(|TooDeep| {
        let mut everything = Spans::default();
        everything.add(0..text.len());
        everything
    })
}

impl Analysis<'_> {
    fn spans(&mut self, text: &[u8], kind: Kind, depth: usize) -> Result<Spans, TooDeep> {
        let mut spans = Spans::default();
        let mut layers = vec![Layer::root(text)];
        let mut index = 0;
        while let Some(layer) = layers.get(index) {
            self.budget = self.budget.checked_sub(layer.bytes().len()).ok_or(TooDeep)?;
            let found = self.spans_of_layer(layer.bytes(), kind, depth)?;
            found.iter().for_each(|range| spans.add(layer.original(range)));
            for spelling in Spelling::ALL {
                // Two spellings undone in either order give the same layer.
                let plain = layers.get(index).and_then(|layer| layer.without(spelling));
                layers.extend(plain.filter(|plain| !layers.contains(plain)));
            }
            index += 1;
        }
        Ok(spans)
    }

    /// What is secret in one spelling of the text.
    fn spans_of_layer(&mut self, text: &[u8], kind: Kind, depth: usize) -> Result<Spans, TooDeep> {
        let mut spans = Spans::default();
        pairs::mark(text, self.names, &mut spans);
        shapes::mark(text, &mut spans);
        known::mark(text, self.known, &mut spans);
        json::mark(text, self.names, &mut spans);
        xml::mark(text, self.names, &mut spans);
        multipart::mark(text, self.names, &mut spans);
        table::mark(text, kind, self.names, &mut spans);
        if kind == Kind::Form || form::looks_like(text) {
            form::mark(text, self.names, &mut spans);
        }
        self.mark_options(text, &mut spans);
        self.mark_runs(text, depth, &mut spans)?;
        Ok(spans)
    }

    fn mark_options(&self, text: &[u8], spans: &mut Spans) {
        let mut index = 0;
        while let Some(option) = find(text, index, b"--") {
            index = until(text, option, |byte| byte != b'-');
            if let Some(argument) = runs::argument_of_secret_option(text, option, self.names) {
                spans.add(argument);
            }
        }
    }

    fn mark_runs(&mut self, text: &[u8], depth: usize, spans: &mut Spans) -> Result<(), TooDeep> {
        for run in runs::base64_runs(text, runs::shortest_base64(self.known)) {
            let digits = part(text, run.clone());
            if runs::follows_key_like_word(text, &run, self.names)
                || self.any_tells_a_secret(runs::readings_of_base64(digits), depth)?
            {
                spans.add(run);
            }
        }
        for run in runs::hex_runs(text, runs::shortest_hex(self.known)) {
            if self.any_tells_a_secret(runs::readings_of_hex(part(text, run.clone())), depth)? {
                spans.add(run);
            }
        }
        Ok(())
    }

    fn any_tells_a_secret(&mut self, readings: impl Iterator<Item = Vec<u8>>, depth: usize) -> Result<bool, TooDeep> {
        for reading in readings {
            let mut found = Spans::default();
            known::mark(&reading, self.known, &mut found);
            if !found.is_empty() {
                return Ok(true);
            }
            if depth < DEEPEST && reads_as_text(&reading) && !self.spans(&reading, Kind::Other, depth + 1)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn reads_as_text(bytes: &[u8]) -> bool {
    const SHORTEST: usize = 8;
    let steers = |character: char| character.is_control() && !character.is_whitespace();
    let valid = match str::from_utf8(bytes) {
        Ok(text) => Some(text),
        // The run was cut inside of a character.
        Err(error) if error.error_len().is_none() => str::from_utf8(part(bytes, 0..error.valid_up_to())).ok(),
        Err(_) => None,
    };
    valid.is_some_and(|text| text.len() >= SHORTEST && !text.contains(steers))
}

/// The range of the last bytes of `text` in which a known value may have begun that the cut took apart.
pub(super) fn doubtful_tail(text: &str, known: &[Secret]) -> Range<usize> {
    /// A byte takes so many at most when it is escaped.
    const WIDEST_ESCAPE: usize = 8;
    const SHORTEST: usize = 64;
    let longest = known.iter().map(|secret| secret.expose().len()).max().unwrap_or(0);
    let tail = longest.saturating_mul(WIDEST_ESCAPE).saturating_add(SHORTEST);
    text.len() - tail.min(text.len() / 2)..text.len()
}
