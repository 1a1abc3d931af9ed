//! What JSON says by position: `{"name": "password", "value": …}`, `["password", …]`, a sign-in call and its arguments.
//!
//! Values under secret keys are found by `pairs`, in JSON too. A walk that meets what is not JSON begins again behind
//! the last place where JSON could begin, so text around and inside of JSON does no harm.

use std::ops::Range;

use super::bytes::{after_closing_quote, at, inside_quotes, is_space, part, until, until_either};
use super::names::{Names, is_called_with_a_password};
use super::spans::Spans;

/// Marks what JSON tells to be secret by position.
pub(super) fn mark(text: &[u8], names: &Names, spans: &mut Spans) {
    let mut index = 0;
    loop {
        let open = until_either(text, index, *b"{[");
        if open >= text.len() {
            return;
        }
        let mut walk = Walk { text, names, spans, stack: Vec::new(), retry: open + 1 };
        index = walk.document(open);
    }
}

/// What may come next in an object or array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Key,
    Colon,
    Value,
    CommaOrEnd,
}

/// What a key says about the value after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Name,
    Value,
    Method,
    Arguments,
    Other,
}

/// An object or array that has not ended yet.
struct Open {
    start: usize,
    is_object: bool,
    next: Next,
    role: Role,
    /// `name` was seen: was it the name of a secret?
    name: Option<bool>,
    /// `method` was seen: is it called with a password?
    method: Option<bool>,
    values: Vec<Range<usize>>,
    arguments: Vec<Range<usize>>,
    /// The last element of this array was the name of a secret.
    after_secret_name: bool,
}

struct Walk<'a> {
    text: &'a [u8],
    names: &'a Names,
    spans: &'a mut Spans,
    stack: Vec<Open>,
    retry: usize,
}

impl Walk<'_> {
    /// Walks the document that begins at `index`; answers where to look for the next one.
    fn document(&mut self, mut index: usize) -> usize {
        loop {
            index = until(self.text, index, |byte| !is_space(byte));
            if index >= self.text.len() {
                self.end_of_text();
                return index;
            }
            let step = match at(self.text, index) {
                b'{' | b'[' => self.open(index),
                b'}' | b']' => self.close(index),
                b'"' => self.string(index),
                b',' | b':' => self.sign(index),
                _ => self.literal(index),
            };
            match step {
                Some(next) => index = next,
                None => return self.retry,
            }
            if self.stack.is_empty() {
                return index;
            }
        }
    }

    fn open(&mut self, index: usize) -> Option<usize> {
        let is_object = at(self.text, index) == b'{';
        if self.stack.last().is_some_and(|parent| parent.next != Next::Value) {
            return None;
        }
        self.stack.push(Open {
            start: index,
            is_object,
            next: if is_object { Next::Key } else { Next::Value },
            role: Role::Other,
            name: None,
            method: None,
            values: Vec::new(),
            arguments: Vec::new(),
            after_secret_name: false,
        });
        self.retry = index + 1;
        Some(index + 1)
    }

    fn close(&mut self, index: usize) -> Option<usize> {
        let open = self.stack.pop()?;
        if open.is_object != (at(self.text, index) == b'}') {
            return None;
        }
        if !self.stack.is_empty() {
            self.value(open.start..index + 1, None)?;
        }
        Some(index + 1)
    }

    fn string(&mut self, index: usize) -> Option<usize> {
        self.retry = index + 1;
        let end = after_closing_quote(self.text, index);
        let inside = inside_quotes(self.text, index, end);
        let open = self.stack.last_mut()?;
        match open.next {
            Next::Key => {
                open.role = role_of(part(self.text, inside));
                open.next = Next::Colon;
            }
            Next::Value => self.value(inside.clone(), Some(inside))?,
            Next::Colon | Next::CommaOrEnd => return None,
        }
        Some(end)
    }

    fn literal(&mut self, index: usize) -> Option<usize> {
        let end = until(self.text, index, |byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')));
        if end == index || self.stack.last()?.next != Next::Value {
            return None;
        }
        self.value(index..end, None)?;
        Some(end)
    }

    fn sign(&mut self, index: usize) -> Option<usize> {
        let open = self.stack.last_mut()?;
        open.next = match (at(self.text, index), open.next) {
            (b',', Next::CommaOrEnd) if open.is_object => Next::Key,
            (b':', Next::Colon) | (b',', Next::CommaOrEnd) => Next::Value,
            _ => return None,
        };
        Some(index + 1)
    }

    /// Takes note of a value, and of its text when it is a string.
    fn value(&mut self, range: Range<usize>, string: Option<Range<usize>>) -> Option<()> {
        let string = string.map(|inside| part(self.text, inside));
        let open = self.stack.last_mut()?;
        open.next = Next::CommaOrEnd;
        let names_a_secret = string.is_some_and(|string| self.names.is_only_a_secret_name(string));
        if !open.is_object {
            if open.after_secret_name {
                self.spans.add(range);
            }
            open.after_secret_name = names_a_secret;
            return Some(());
        }
        match open.role {
            Role::Name => {
                open.name = Some(names_a_secret || open.name == Some(true));
                if open.name == Some(true) {
                    open.values.drain(..).for_each(|value| self.spans.add(value));
                }
            }
            Role::Value if open.name == Some(true) => self.spans.add(range),
            Role::Value => open.values.push(range),
            Role::Method => {
                let with_password = string.is_some_and(is_called_with_a_password);
                open.method = Some(with_password || open.method == Some(true));
                if open.method == Some(true) {
                    open.arguments.drain(..).for_each(|arguments| self.spans.add(arguments));
                }
            }
            Role::Arguments if open.method == Some(true) => self.spans.add(range),
            Role::Arguments => open.arguments.push(range),
            Role::Other => {}
        }
        Some(())
    }

    /// The text ended too early: what would have told that a value is a secret may be missing.
    fn end_of_text(&mut self) {
        let text = self.text;
        let is_plain = |value: &Range<usize>| !matches!(at(text, value.start), b'{' | b'[');
        let starts: Vec<usize> = self.stack.iter().skip(1).map(|open| open.start).chain([text.len()]).collect();
        for (open, child) in self.stack.drain(..).zip(starts) {
            if open.name.is_none() {
                open.values.into_iter().filter(is_plain).for_each(|value| self.spans.add(value));
            }
            if open.method.is_none() {
                open.arguments.into_iter().for_each(|arguments| self.spans.add(arguments));
            }
            let may_be_called_with_a_password = open.method.is_none_or(|secret| secret);
            if open.role == Role::Arguments && open.next == Next::Value && may_be_called_with_a_password {
                self.spans.add(child..text.len());
            }
        }
    }
}

fn role_of(key: &[u8]) -> Role {
    const NAMES: [&[u8]; 10] =
        [b"name", b"key", b"field", b"header", b"param", b"parameter", b"property", b"attribute", b"variable", b"k"];
    const VALUES: [&[u8]; 13] = [
        b"value",
        b"val",
        b"values",
        b"v",
        b"content",
        b"data",
        b"text",
        b"new",
        b"old",
        b"before",
        b"after",
        b"newvalue",
        b"oldvalue",
    ];
    const ARGUMENTS: [&[u8]; 5] = [b"params", b"args", b"arguments", b"parameters", b"kwargs"];
    let is_one_of = |words: &[&[u8]]| words.iter().any(|word| key.eq_ignore_ascii_case(word));
    if is_one_of(&NAMES) {
        Role::Name
    } else if is_one_of(&VALUES) {
        Role::Value
    } else if key.eq_ignore_ascii_case(b"method") {
        Role::Method
    } else if is_one_of(&ARGUMENTS) {
        Role::Arguments
    } else {
        Role::Other
    }
}
