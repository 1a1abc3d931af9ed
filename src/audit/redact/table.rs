//! Tables with a heading (CSV, TSV): the columns whose heading is a secret name.

use std::ops::Range;

use super::analysis::Kind;
use super::bytes::{at, end_of_line, is_line_end, part, until, until_byte};
use super::names::{Names, Place};
use super::spans::Spans;

/// In the order of preference where two occur equally often.
const SEPARATORS: [u8; 4] = [b'|', b'\t', b';', b','];

/// Marks the cells of secret columns, and the whole of a row that does not fit its heading. A text that is not
/// declared to be a table counts as one only when its first line is nothing but names.
pub(super) fn mark(text: &[u8], kind: Kind, names: &Names, spans: &mut Spans) {
    let declared = kind == Kind::Table;
    let heading_end = end_of_line(text, 0);
    let may_be_in_heading = |byte: &u8| is_in_name(*byte) || SEPARATORS.contains(byte);
    if !declared && !part(text, 0..heading_end).iter().all(may_be_in_heading) {
        return;
    }
    let count = |separator: u8| part(text, 0..heading_end).split(|byte| *byte == separator).count() - 1;
    let Some(separator) = SEPARATORS.into_iter().max_by_key(|separator| count(*separator)) else { return };
    if !declared && count(separator) == 0 {
        return;
    }
    let (heading, first_row) = cells(text, 0, separator);
    let cell = |range: &Range<usize>| part(text, range.clone());
    if !declared && !heading.iter().all(|range| cell(range).iter().all(|byte| is_in_name(*byte))) {
        return;
    }
    let is_secret = |range: &Range<usize>| {
        names.is_only_a_secret_name(cell(range)) || declared && names.is_secret(cell(range), Place::Field)
    };
    let secret: Vec<bool> = heading.iter().map(is_secret).collect();
    if secret.contains(&true) {
        mark_rows(text, first_row, separator, &secret, spans);
    }
}

fn mark_rows(text: &[u8], mut row: usize, separator: u8, secret: &[bool], spans: &mut Spans) {
    while row < text.len() {
        let (found, next) = cells(text, row, separator);
        if found.len() == secret.len() {
            found.into_iter().zip(secret).filter(|(_, secret)| **secret).for_each(|(cell, _)| spans.add(cell));
        } else if let (Some(first), Some(last)) = (found.first(), found.last()) {
            spans.add(first.start..last.end);
        }
        row = next;
    }
}

fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || b" _-.\"'()#".contains(&byte)
}

/// The cells of the row at `start`, quotes left out, and where the next row begins.
fn cells(text: &[u8], start: usize, separator: u8) -> (Vec<Range<usize>>, usize) {
    let mut cells = Vec::new();
    let mut index = start;
    loop {
        let cell = if at(text, index) == b'"' { quoted(text, index) } else { index..index };
        let end = until(text, cell.end, |byte| byte == separator || is_line_end(byte));
        cells.push(cell.start..end);
        if end >= text.len() || is_line_end(at(text, end)) {
            return (cells, until(text, end, |byte| !is_line_end(byte)));
        }
        index = end + 1;
    }
}

/// A quote inside quotes is written twice.
fn quoted(text: &[u8], open: usize) -> Range<usize> {
    let mut end = open;
    loop {
        end = until_byte(text, end + 1, b'"') + 1;
        if end >= text.len() || at(text, end) != b'"' {
            return open..end.min(text.len());
        }
    }
}
