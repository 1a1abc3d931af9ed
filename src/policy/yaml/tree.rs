//! YAML events to a tree that knows where each part stands.

use std::path::{Path, PathBuf};

use granit_parser::{Event, Parser, ScalarStyle, Span, options};

use super::problem::{Problem, Problems, excerpt};

/// Largest file, in bytes.
const LARGEST: usize = 512 * 1024;
/// Longest single value, in bytes.
const LONGEST_SCALAR: usize = 16 * 1024;
/// Deepest nesting.
const DEEPEST: usize = 24;

/// Why an alias is refused, with what somebody meant who writes globs.
const ALIAS: &str = "anchors and aliases (`&x`, `*x`) are not allowed here; write the value out, and a glob that begins with \
                     `*` in quotes";

/// A file's text.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file, as named in problems.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
}

/// Where something stands, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// A part of the tree.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// The last line of it, counted from 1.
    pub last_line: usize,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Value {
    /// One value.
    Scalar {
        /// Its text, escapes resolved.
        text: String,
        /// Whether it is written without quotes, so that it may mean a number, a boolean or null.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map, in the order written; keys may repeat, which the reader reports.
    Map(Vec<(Node, Node)>),
}

impl Source {
    /// Takes a file's bytes.
    ///
    /// # Errors
    /// When they are too many, no UTF-8, or hold characters that make a text look like another.
    pub fn new(file: &Path, bytes: &[u8]) -> Result<Self, Problem> {
        let problem = |line: usize, message: String| Problem {
            file: file.to_owned(),
            line,
            column: 1,
            message,
            excerpt: String::new(),
        };
        if bytes.len() > LARGEST {
            return Err(problem(
                1,
                format!("the file is too large: its size is {} bytes, {LARGEST} are allowed", bytes.len()),
            ));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            problem(1 + String::from_utf8_lossy(before).matches('\n').count(), "the file is not UTF-8".into())
        })?;
        for (index, line) in text.lines().enumerate() {
            // Trojan Source (CVE-2021-42574): the text would not read as it is shown.
            if let Some(bidi) =
                line.chars().find(|character| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
            {
                let number = u32::from(bidi);
                return Err(problem(
                    index + 1,
                    format!("a bidi control character (U+{number:04X}) hides what the line says"),
                ));
            }
        }
        Ok(Self { file: file.to_owned(), text: text.to_owned() })
    }

    /// A problem at a place in this file.
    #[must_use]
    pub fn problem(&self, place: Place, message: impl Into<String>) -> Problem {
        let line = self.text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
        Problem {
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            message: message.into(),
            excerpt: excerpt(line),
        }
    }

    /// The first line that a tab indents.
    fn tab(&self) -> Option<Place> {
        let indent = |line: &str| {
            line.chars().take_while(|character| character.is_whitespace()).position(|character| character == '\t')
        };
        self.text
            .lines()
            .enumerate()
            .find_map(|(index, line)| Some(Place { line: index + 1, column: indent(line)? + 1 }))
    }

    /// The star that an alias, or a glob without quotes, begins with at this place.
    fn star(&self, place: Place) -> Option<Place> {
        let line = self.text.lines().nth(place.line.checked_sub(1)?)?;
        let is_star = |column: &usize| line.chars().nth(*column - 1) == Some('*');
        let column = [place.column, place.column.saturating_sub(1).max(1)].into_iter().find(is_star)?;
        Some(Place { column, ..place })
    }

    /// The tree of the one document in the file.
    ///
    /// # Errors
    /// When it is no YAML, or uses what is not allowed here. Further reading would be guessing, so it is one problem.
    pub fn parse(&self) -> Result<Node, Problems> {
        Builder::new(self).build().map_err(|problem| Problems(vec![problem]))
    }
}

/// A collection that is still open.
enum Open {
    List(Place, Vec<Node>),
    Map(Place, Vec<(Node, Node)>, Option<Node>),
}

struct Builder<'s> {
    source: &'s Source,
    open: Vec<Open>,
    root: Option<Node>,
}

impl<'s> Builder<'s> {
    fn new(source: &'s Source) -> Self {
        Self { source, open: Vec::new(), root: None }
    }

    fn build(mut self) -> Result<Node, Problem> {
        let options = options! {
            disallow_directives: true,
            flow_nesting_limit: DEEPEST + 8,
            block_nesting_limit: DEEPEST + 8,
        };
        for next in Parser::new_from_str_with_options(&self.source.text, options) {
            let (event, span) = next.map_err(|error| {
                if let Some(place) = self.source.tab() {
                    return self.source.problem(place, "a tab indents this line; YAML wants spaces");
                }
                let marker = error.marker();
                let place = Place { line: marker.line().max(1), column: marker.col() + 1 };
                if let Some(place) = self.source.star(place) {
                    return self.source.problem(place, ALIAS);
                }
                self.source.problem(place, format!("this is not valid YAML: {error}"))
            })?;
            self.take(event, span)?;
        }
        let start = Place { line: 1, column: 1 };
        self.root.ok_or_else(|| self.source.problem(start, "the file is empty; it must at least say `version: 1`"))
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else the parser may report one day is not for us")]
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let place = Place { line: span.start.line().max(1), column: span.start.col() + 1 };
        let refuse = |message: &str| Err(self.source.problem(place, message));
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                refuse("a file holds one document; remove the second `---`")
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, _, Some(_))
            | Event::MappingStart(_, _, Some(_)) => refuse("a tag (`!…`) is not allowed here"),
            Event::Scalar(_, _, 1.., _) | Event::SequenceStart(_, 1.., _) | Event::MappingStart(_, 1.., _) => {
                refuse("anchors and aliases (`&x`, `*x`) are not allowed here; write the value out")
            }
            Event::Scalar(text, style, _, None) => {
                if text.len() > LONGEST_SCALAR {
                    return refuse("the value is too long: its size is beyond 16 KiB");
                }
                let plain = style == ScalarStyle::Plain;
                let last_line = self.last_line(place, span);
                self.add(Node { place, last_line, value: Value::Scalar { text: text.into_owned(), plain } })
            }
            Event::SequenceStart(..) => self.descend(place, Open::List(place, Vec::new())),
            Event::MappingStart(..) => self.descend(place, Open::Map(place, Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => self.ascend(span),
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Comment(..) => Ok(()),
            _ => refuse(ALIAS),
        }
    }

    /// The last line of a value. A block of text ends for the parser where something else begins.
    fn last_line(&self, place: Place, span: Span) -> usize {
        let (line, column) = (span.end.line(), span.end.col());
        if line <= place.line {
            return place.line;
        }
        let before = self.source.text.lines().nth(line - 1).unwrap_or_default().chars().take(column);
        if before.into_iter().all(char::is_whitespace) { line - 1 } else { line }
    }

    fn descend(&mut self, place: Place, open: Open) -> Result<(), Problem> {
        if self.open.len() >= DEEPEST {
            return Err(self.source.problem(place, format!("the nesting is deeper than the limit of {DEEPEST}")));
        }
        self.open.push(open);
        Ok(())
    }

    fn ascend(&mut self, end: Span) -> Result<(), Problem> {
        // What is indented ends with its last part; the parser sees the end only at what comes next. A bracket ends
        // where it stands.
        let bracket = if end.start == end.end { 0 } else { end.start.line() };
        let last_line = |place: Place, last: Option<&Node>| {
            last.map_or(place.line, |node| node.last_line).max(place.line).max(bracket)
        };
        match self.open.pop() {
            Some(Open::List(place, items)) => {
                self.add(Node { place, last_line: last_line(place, items.last()), value: Value::List(items) })
            }
            Some(Open::Map(place, entries, _)) => {
                let last_line = last_line(place, entries.last().map(|(_, value)| value));
                self.add(Node { place, last_line, value: Value::Map(entries) })
            }
            None => Ok(()),
        }
    }

    fn add(&mut self, node: Node) -> Result<(), Problem> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, entries, pending)) => match pending.take() {
                Some(key) => entries.push((key, node)),
                None if matches!(node.value, Value::Scalar { .. }) => *pending = Some(node),
                None => return Err(self.source.problem(node.place, "a key must be a text")),
            },
        }
        Ok(())
    }
}
