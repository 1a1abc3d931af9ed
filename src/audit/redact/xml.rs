//! Elements with a secret name, elements that name a secret in an attribute, and names beside their values.

use std::ops::Range;

use super::bytes::{at, before, find, is_space, part, starts, starts_in_any_case, until, until_byte};
use super::names::{Names, is_called_with_a_password};
use super::spans::Spans;

/// A tag longer than this is not read as one.
const LONGEST_TAG: usize = 4096;

/// Marks what XML and HTML tell to be secret. Attributes with a secret name are found by `pairs`.
pub(super) fn mark(text: &[u8], names: &Names, spans: &mut Spans) {
    let mut index = 0;
    let mut next_element_is_secret = false;
    loop {
        index = until_byte(text, index, b'<');
        if index >= text.len() {
            return;
        }
        let Some(tag) = Tag::read(text, index) else {
            index += 1;
            continue;
        };
        let holds_a_secret = tag.mark_value_of_named_secret(text, names, spans);
        let secret =
            names.is_only_a_secret_name(part(text, tag.local.clone())) || next_element_is_secret || holds_a_secret;
        index = tag.end;
        if secret && !tag.is_empty {
            let close = closing_tag(text, tag.end, part(text, tag.local.clone()));
            spans.add(tag.end..close);
            index = close;
        }
        next_element_is_secret = !tag.is_empty && !secret && tag.names_a_secret_in_its_text(text, names);
    }
}

struct Tag {
    /// The name without its prefix.
    local: Range<usize>,
    attributes: Vec<(Range<usize>, Range<usize>)>,
    end: usize,
    /// It has no content: `<x/>`, `<input>`.
    is_empty: bool,
}

impl Tag {
    /// Reads the start tag at `open`.
    fn read(text: &[u8], open: usize) -> Option<Self> {
        if !is_name(at(text, open + 1)) {
            return None;
        }
        let name_end = until(text, open + 1, |byte| !is_name(byte));
        let name = open + 1..name_end;
        let prefix = part(text, name.clone()).iter().rposition(|byte| *byte == b':').map_or(0, |colon| colon + 1);
        let local = name.start + prefix..name_end;
        let limit = text.len().min(open + LONGEST_TAG);
        let mut attributes = Vec::new();
        let mut index = name_end;
        while index < limit && !matches!(at(text, index), b'>' | b'<') {
            index = read_attribute(text, index, &mut attributes);
        }
        if at(text, index) != b'>' {
            return None;
        }
        let is_empty = before(text, index) == b'/' || is_void(part(text, local.clone()));
        Some(Self { local, attributes, end: index + 1, is_empty })
    }

    /// `<add key="password" value="…"/>`: marks the value, and says whether a secret was named.
    fn mark_value_of_named_secret(&self, text: &[u8], names: &Names, spans: &mut Spans) -> bool {
        const NAMING: [&[u8]; 8] = [b"name", b"key", b"field", b"n", b"var", b"property", b"type", b"param"];
        const HOLDING: [&[u8]; 5] = [b"value", b"content", b"data", b"default", b"v"];
        let is_one_of = |words: &[&[u8]], name: &Range<usize>| {
            words.iter().any(|word| part(text, name.clone()).eq_ignore_ascii_case(word))
        };
        let found = self
            .attributes
            .iter()
            .any(|(name, value)| is_one_of(&NAMING, name) && names.is_only_a_secret_name(part(text, value.clone())));
        let holding = self.attributes.iter().filter(|(name, _)| found && is_one_of(&HOLDING, name));
        holding.for_each(|(_, value)| spans.add(value.clone()));
        found
    }

    /// `<name>password</name><value>…</value>` and `<methodName>login</methodName><params>…</params>`.
    fn names_a_secret_in_its_text(&self, text: &[u8], names: &Names) -> bool {
        const NAMING: [&[u8]; 4] = [b"name", b"key", b"field", b"parameter"];
        let local = part(text, self.local.clone());
        let content = || part(text, self.end..until(text, self.end, |byte| byte == b'<'));
        if NAMING.iter().any(|word| local.eq_ignore_ascii_case(word)) {
            names.is_only_a_secret_name(content())
        } else {
            local.eq_ignore_ascii_case(b"methodName") && is_called_with_a_password(content().trim_ascii())
        }
    }
}

/// Reads one attribute, or steps over what is none.
fn read_attribute(text: &[u8], index: usize, attributes: &mut Vec<(Range<usize>, Range<usize>)>) -> usize {
    if !is_name(at(text, index)) {
        return index + 1;
    }
    let name_end = until(text, index, |byte| !is_name(byte));
    let equals = until(text, name_end, |byte| !is_space(byte));
    if at(text, equals) != b'=' {
        return name_end;
    }
    let start = until(text, equals + 1, |byte| !is_space(byte));
    let quote = at(text, start);
    if matches!(quote, b'"' | b'\'') {
        let end = until(text, start + 1, |byte| byte == quote);
        attributes.push((index..name_end, start + 1..end));
        return (end + 1).min(text.len());
    }
    let end = until(text, start, |byte| is_space(byte) || matches!(byte, b'>' | b'<'));
    attributes.push((index..name_end, start..end));
    end
}

/// Where the closing tag of an element begins whose content begins at `from`; the end of the text if there is none.
fn closing_tag(text: &[u8], from: usize, local: &[u8]) -> usize {
    let mut depth = 1_usize;
    let mut index = from;
    loop {
        index = until_byte(text, index, b'<');
        if index >= text.len() {
            return text.len();
        }
        if starts(text, index, b"<![CDATA[") {
            index = find(text, index, b"]]>").unwrap_or(text.len());
        } else if starts(text, index, b"<!--") {
            index = find(text, index, b"-->").unwrap_or(text.len());
        } else if at(text, index + 1) == b'/' && is_named(text, index + 2, local) {
            depth -= 1;
            if depth == 0 {
                return index;
            }
        } else if is_named(text, index + 1, local) {
            let end = until(text, index, |byte| byte == b'>');
            if before(text, end) != b'/' {
                depth += 1;
            }
            index = end;
        }
        index = (index + 1).min(text.len());
    }
}

/// Whether the name at `start`, with or without a prefix, is `local`.
fn is_named(text: &[u8], start: usize, local: &[u8]) -> bool {
    let ends_at = |at_name: usize| {
        starts_in_any_case(text, at_name, local) && !is_name(at(text, at_name.saturating_add(local.len())))
    };
    // A prefix is short; looking no further keeps the walk linear.
    let colon = (start..text.len().min(start + 64)).take_while(|index| is_name(at(text, *index)));
    ends_at(start) || colon.filter(|index| at(text, *index) == b':').any(|index| ends_at(index + 1))
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':') || !byte.is_ascii()
}

fn is_void(local: &[u8]) -> bool {
    const VOID: [&[u8]; 8] = [b"input", b"meta", b"link", b"img", b"br", b"hr", b"source", b"embed"];
    VOID.iter().any(|void| local.eq_ignore_ascii_case(void))
}
