//! YAML events to a tree that knows where each part stands.

use std::path::{Path, PathBuf};

use granit_parser::{Event, Parser, ScalarStyle, Span, options};

use super::code::Code;
use super::problem::{Problem, Problems};

/// How much of a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The largest file, in bytes.
    pub largest: usize,
    /// The longest single value, in bytes.
    pub longest_value: usize,
    /// The deepest nesting.
    pub deepest: usize,
}

impl Bounds {
    /// Those of files that operators write.
    pub const OWN: Self = Self { largest: 512 * 1024, longest_value: 16 * 1024, deepest: 24 };
}

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
    /// Where each line begins.
    lines: Vec<usize>,
    bounds: Bounds,
}

/// Where something stands, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
    /// How many characters of the line are meant.
    pub width: usize,
}

impl Place {
    /// The first character of a file.
    pub const START: Self = Self { line: 1, column: 1, width: 1 };
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
        Self::within(Bounds::OWN, file, bytes)
    }

    /// Takes the bytes of a file that others write.
    ///
    /// # Errors
    /// The same.
    pub fn within(bounds: Bounds, file: &Path, bytes: &[u8]) -> Result<Self, Problem> {
        let largest = bounds.largest;
        let problem = |line: usize, message: String| Problem::of_file(file, Code::InvalidYaml, message).on_line(line);
        if bytes.len() > largest {
            return Err(problem(
                1,
                format!("the file is too large: its size is {} bytes, {largest} are allowed", bytes.len()),
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
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Ok(Self { file: file.to_owned(), text: text.to_owned(), lines, bounds })
    }

    /// A line, counted from 1, without its end; empty where there is none.
    fn line(&self, number: usize) -> &str {
        let start = number.checked_sub(1).and_then(|index| self.lines.get(index));
        let line = start.and_then(|start| self.text.get(*start..)).and_then(|rest| rest.lines().next());
        line.unwrap_or_default()
    }

    /// A problem at a place in this file.
    #[must_use]
    pub fn problem(&self, place: Place, message: impl Into<String>) -> Problem {
        Problem::at(&self.file, self.line(place.line), place, message)
    }

    /// The first line that a tab indents.
    fn tab(&self) -> Option<Place> {
        let indent = |line: &str| {
            line.chars().take_while(|character| character.is_whitespace()).position(|character| character == '\t')
        };
        self.text
            .lines()
            .enumerate()
            .find_map(|(index, line)| Some(Place { line: index + 1, column: indent(line)? + 1, width: 1 }))
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
        Builder::new(self).build().map_err(|problem| Problems(vec![problem.coded(Code::InvalidYaml)]))
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
        let deepest = self.source.bounds.deepest;
        let options = options! {
            disallow_directives: true,
            flow_nesting_limit: deepest + 8,
            block_nesting_limit: deepest + 8,
        };
        for next in Parser::new_from_str_with_options(&self.source.text, options) {
            let (event, span) = next.map_err(|error| {
                if let Some(place) = self.source.tab() {
                    return self.source.problem(place, "a tab indents this line; YAML wants spaces");
                }
                let marker = error.marker();
                let place = Place { line: marker.line().max(1), column: marker.col() + 1, width: 1 };
                if let Some(place) = self.source.star(place) {
                    return self.source.problem(place, ALIAS);
                }
                self.source.problem(place, format!("this is not valid YAML: {error}"))
            })?;
            self.take(event, span)?;
        }
        self.root
            .ok_or_else(|| self.source.problem(Place::START, "the file is empty; it must at least say `version: 1`"))
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else the parser may report one day is not for us")]
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let place = self.place(span);
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
                let longest = self.source.bounds.longest_value;
                if text.len() > longest {
                    return refuse(&format!("the value is too long: its size is beyond {} KiB", longest / 1024));
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

    /// Where an event begins, and as much of it as stands on that line.
    fn place(&self, span: Span) -> Place {
        let (line, before) = (span.start.line().max(1), span.start.col());
        let end = if span.end.line() > line { self.line_length(line) } else { span.end.col() };
        Place { line, column: before + 1, width: end.saturating_sub(before).max(1) }
    }

    fn line_length(&self, line: usize) -> usize {
        self.source.line(line).trim_end().chars().count()
    }

    /// The last line of a value. A block of text ends for the parser where something else begins.
    fn last_line(&self, place: Place, span: Span) -> usize {
        let (line, column) = (span.end.line(), span.end.col());
        if line <= place.line {
            return place.line;
        }
        let mut before = self.source.line(line).chars().take(column);
        if before.all(char::is_whitespace) { line - 1 } else { line }
    }

    fn descend(&mut self, place: Place, open: Open) -> Result<(), Problem> {
        let deepest = self.source.bounds.deepest;
        if self.open.len() >= deepest {
            return Err(self.source.problem(place, format!("the nesting is deeper than the limit of {deepest}")));
        }
        self.open.push(open);
        Ok(())
    }

    fn ascend(&mut self, end: Span) -> Result<(), Problem> {
        // What is indented ends with its last part; the parser sees the end only at what comes next. A bracket ends
        // where it stands.
        let bracket = (end.start != end.end).then_some((end.end.line(), end.end.col()));
        match self.open.pop() {
            Some(Open::List(start, items)) => {
                let place = self.widened(start, bracket, items.iter());
                let last_line = last_line(place, items.last(), bracket);
                self.add(Node { place, last_line, value: Value::List(items) })
            }
            Some(Open::Map(start, entries, _)) => {
                let place = self.widened(start, bracket, entries.iter().flat_map(|(key, value)| [key, value]));
                let last_line = last_line(place, entries.last().map(|(_, value)| value), bracket);
                self.add(Node { place, last_line, value: Value::Map(entries) })
            }
            None => Ok(()),
        }
    }

    /// As much of a list or map as stands on its first line.
    fn widened<'n>(
        &self,
        start: Place,
        bracket: Option<(usize, usize)>,
        parts: impl Iterator<Item = &'n Node>,
    ) -> Place {
        let behind = match bracket {
            Some((line, column)) if line == start.line => column + 1,
            Some(_) => self.line_length(start.line) + 1,
            None => {
                let here = parts.map(|node| node.place).filter(|place| place.line == start.line);
                here.map(|place| place.column + place.width).max().unwrap_or_default()
            }
        };
        Place { width: behind.saturating_sub(start.column).max(1), ..start }
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

fn last_line(place: Place, last: Option<&Node>, bracket: Option<(usize, usize)>) -> usize {
    last.map_or(place.line, |node| node.last_line).max(place.line).max(bracket.map_or(0, |(line, _)| line))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each node of the text, as far as it is meant on its first line.
    fn marked(text: &str) -> Vec<String> {
        fn collect(node: &Node, lines: &[&str], found: &mut Vec<String>) {
            let Place { line, column, width } = node.place;
            found.push(lines[line - 1].chars().skip(column - 1).take(width).collect());
            match &node.value {
                Value::Scalar { .. } => {}
                Value::List(items) => items.iter().for_each(|item| collect(item, lines, found)),
                Value::Map(entries) => entries.iter().for_each(|(key, value)| {
                    collect(key, lines, found);
                    collect(value, lines, found);
                }),
            }
        }
        let source = Source::new(Path::new("a.yaml"), text.as_bytes()).expect("a text");
        let mut found = Vec::new();
        collect(&source.parse().expect("YAML"), &text.lines().collect::<Vec<_>>(), &mut found);
        found
    }

    #[test]
    fn a_node_is_as_wide_as_what_is_written() {
        assert_eq!(
            marked("- id: ä, ö   # why\n  \"to\": 'x ''y'  \n- [a, bc ]  # no\n"),
            ["- id: ä, ö", "id: ä, ö", "id", "ä, ö", "\"to\"", "'x ''y'", "[a, bc ]", "a", "bc"]
        );
    }

    #[test]
    fn what_goes_on_over_lines_is_marked_on_its_first() {
        assert_eq!(
            marked("a:\n  b: >-\n    text\n    more\nc: {d: [e,\n  f], g: h\n  i}\n"),
            ["a", "a", "b", "b", "text", "c", "{d: [e,", "d", "[e,", "e", "f", "g", "h"]
        );
    }
}
