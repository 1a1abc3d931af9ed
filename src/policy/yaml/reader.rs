//! Reads typed values off the tree and collects what is wrong on the way.

use std::collections::HashSet;
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::code::Code;
use super::problem::{Problem, Problems};
use super::tree::{Node, Place, Source, Value};

/// Reads one file.
#[derive(Debug)]
pub struct Reader<'s> {
    source: &'s Source,
    problems: Vec<Problem>,
    /// What kind of finding a value is that cannot be used.
    values: Code,
}

/// The entries of a map, each taken once.
#[derive(Debug)]
pub struct Fields<'n> {
    place: Place,
    entries: Vec<(&'n str, &'n Node, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(name, _, _)| *name == key).map(|(_, _, value)| *value)
    }

    /// Every entry, in the order written.
    pub fn iter(&self) -> impl Iterator<Item = (&'n str, &'n Node, &'n Node)> + '_ {
        self.entries.iter().copied()
    }

    /// Where the map begins.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }
}

impl<'s> Reader<'s> {
    /// Reads this file.
    #[must_use]
    pub fn new(source: &'s Source) -> Self {
        Self { source, problems: Vec::new(), values: Code::InvalidValue }
    }

    /// Reads this file, where values are times, days and zones.
    #[must_use]
    pub fn of_times(source: &'s Source) -> Self {
        Self { values: Code::ImpossibleTime, ..Self::new(source) }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.source.file
    }

    /// What was wrong.
    #[must_use]
    pub fn finish(self) -> Problems {
        Problems(self.problems)
    }

    /// Whether nothing was wrong so far.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Notes a value that cannot be used. The message says behind a semicolon what to do about it.
    pub fn problem(&mut self, place: Place, message: impl Into<String>) {
        self.note(self.values, place, message);
    }

    /// Notes a problem of this kind.
    pub fn note(&mut self, code: Code, place: Place, message: impl Into<String>) {
        self.problems.push(self.source.problem(place, message).coded(code));
    }

    /// The place of a character of a text that a node holds, where the file shows that line of it as it is; else the
    /// place of the node.
    #[must_use]
    pub fn place_in(&self, node: &Node, text: &str, at: usize) -> Place {
        let before: String = text.chars().take(at).collect();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let line = text.lines().nth(before.matches('\n').count()).unwrap_or_default();
        let lines = self.source.text.lines().enumerate().take(node.last_line).skip(node.place.line.saturating_sub(1));
        let shown = lines.filter(|_| !line.is_empty()).find_map(|(index, shown)| {
            let (front, _) = shown.split_once(line)?;
            Some(Place { line: index + 1, column: front.chars().count() + column + 1, width: 1 })
        });
        shown.unwrap_or(node.place)
    }

    /// The entries of a map whose keys are known; unknown and repeated keys are problems.
    pub fn map<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Option<Fields<'n>> {
        let fields = self.any_map(node, what)?;
        for (name, key, _) in fields.iter() {
            if !known.contains(&name) {
                let hint = suggestion(name, known);
                self.note(Code::UnknownKey, key.place, format!("unknown key `{}` in {what}{hint}", shown(name)));
            }
        }
        Some(fields)
    }

    /// The entries of a map with any keys; repeated keys are problems.
    pub fn any_map<'n>(&mut self, node: &'n Node, what: &str) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            self.note(Code::WrongType, node.place, format!("{what} must be a map (`key: value`), not {}", kind(node)));
            return None;
        };
        let mut seen = HashSet::new();
        let mut fields = Fields { place: node.place, entries: Vec::with_capacity(entries.len()) };
        for (key, value) in entries {
            let Value::Scalar { text, .. } = &key.value else { continue };
            if text == "<<" {
                self.note(Code::InvalidYaml, key.place, "merge keys (`<<`) are not allowed here; write the values out");
            } else if seen.insert(text.as_str()) {
                fields.entries.push((text, key, value));
            } else {
                let message = format!("duplicate key `{}` in {what}; only one can be meant", shown(text));
                self.note(Code::DuplicateKey, key.place, message);
            }
        }
        Some(fields)
    }

    /// The value of a key that must be there.
    pub fn required<'n>(&mut self, fields: &Fields<'n>, key: &str, what: &str) -> Option<&'n Node> {
        let value = fields.get(key);
        if value.is_none() {
            self.note(Code::MissingKey, fields.place, format!("`{key}` is missing in {what}"));
        }
        value
    }

    /// The items of a list.
    pub fn list<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            Value::Scalar { .. } | Value::Map(_) => {
                self.note(
                    Code::WrongType,
                    node.place,
                    format!("`{what}` must be a list (`[a, b]`), not {}", kind(node)),
                );
                None
            }
        }
    }

    /// A text. What YAML might read as null, a boolean or a number must be quoted.
    pub fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        match &node.value {
            Value::Scalar { text, plain: true } if is_null(text) => {
                self.note(Code::WrongType, node.place, format!("`{what}` must be a text, not null"));
                None
            }
            Value::Scalar { text, plain: true } if is_boolean_somewhere(text) => {
                let text = text.clone();
                self.problem(
                    node.place,
                    format!(
                        "`{what}`: `{text}` is a boolean to some YAML readers; write \"{text}\" if the text is meant"
                    ),
                );
                None
            }
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => {
                self.note(Code::WrongType, node.place, format!("`{what}` must be a text, not {}", kind(node)));
                None
            }
        }
    }

    /// A text of a type of its own.
    pub fn parsed<T: FromStr>(&mut self, node: &Node, what: &str) -> Option<T>
    where
        T::Err: Display,
    {
        let text = self.text(node, what)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(node.place, format!("`{what}`: {error}"));
                None
            }
        }
    }

    /// `true` or `false`, nothing else.
    pub fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        match &node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(true),
            Value::Scalar { text, plain: true } if text == "false" => Some(false),
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => {
                self.note(Code::WrongType, node.place, format!("`{what}` must be `true` or `false`"));
                None
            }
        }
    }

    /// A whole number in a range: decimal digits, without sign, underscore or leading zero.
    pub fn number(&mut self, node: &Node, what: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let number = match &node.value {
            Value::Scalar { text, plain: true } => whole_number(text),
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => None,
        };
        let fits = number.filter(|number| range.contains(number));
        if fits.is_none() {
            let (least, most) = (range.start(), range.end());
            self.problem(node.place, format!("`{what}` must be a whole number from {least} to {most}"));
        }
        fits
    }

    /// A duration in a range, as in `250ms`, `10s`, `5m`, `1h` or `7d`.
    pub fn duration(&mut self, node: &Node, what: &str, range: std::ops::RangeInclusive<Duration>) -> Option<Duration> {
        let duration = match &node.value {
            Value::Scalar { text, .. } => parse_duration(text),
            Value::List(_) | Value::Map(_) => None,
        };
        let fits = duration.filter(|duration| range.contains(duration));
        if fits.is_none() {
            let (least, most) = (range.start(), range.end());
            self.problem(
                node.place,
                format!("`{what}` must be a time such as `10s`, `5m` or `1h`, from {least:?} to {most:?}"),
            );
        }
        fits
    }

    /// A size in bytes in a range, as in `512`, `64KiB` or `16MiB`.
    pub fn size(&mut self, node: &Node, what: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let size = match &node.value {
            Value::Scalar { text, .. } => parse_size(text),
            Value::List(_) | Value::Map(_) => None,
        };
        let fits = size.filter(|size| range.contains(size));
        if fits.is_none() {
            let (least, most) = (range.start(), range.end());
            self.problem(
                node.place,
                format!("`{what}` must be a size such as `64KiB` or `16MiB`, from {least} to {most} bytes"),
            );
        }
        fits
    }
}

fn kind(node: &Node) -> &'static str {
    match &node.value {
        Value::Scalar { text, plain: true } if is_null(text) => "null",
        Value::Scalar { .. } => "a single value",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// YAML 1.1 reads these as booleans, YAML 1.2 only two of them: nobody should have to know which.
fn is_boolean_somewhere(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false")
}

fn whole_number(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    (canonical && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// A duration as in `10s`.
#[must_use]
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number = whole_number(number).filter(|_| digits > 0)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        "d" => number.checked_mul(86400).map(Duration::from_secs),
        _ => None,
    }
}

/// A size as in `64KiB`.
#[must_use]
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number = whole_number(number).filter(|_| digits > 0)?;
    match unit {
        "" => Some(number),
        "KiB" => number.checked_mul(1024),
        "MiB" => number.checked_mul(1024 * 1024),
        "GiB" => number.checked_mul(1024 * 1024 * 1024),
        _ => None,
    }
}

/// A key that is not ours, as it may be shown.
fn shown(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

/// `; did you mean …?` where a known name is close.
#[must_use]
pub(crate) fn suggestion(name: &str, known: &[&str]) -> String {
    suggestion_among("keys", name, known)
}

/// The same for names of something else than keys.
#[must_use]
pub(crate) fn suggestion_among(what: &str, name: &str, known: &[&str]) -> String {
    let closest = known.iter().map(|known| (distance(name, known), *known)).min();
    match closest {
        Some((distance, known)) if distance <= 1 + known.len() / 4 => format!("; did you mean `{known}`?"),
        _ if known.len() <= 12 && !known.is_empty() => {
            let mut known = known.to_vec();
            if what != "keys" {
                known.sort_unstable();
            }
            format!("; the {what} are {}", known.join(", "))
        }
        _ => String::new(),
    }
}

/// Edits that turn one name into the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, character) in one.chars().take(64).enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (cell, against) in row.iter_mut().skip(1).zip(&other) {
            let above = *cell;
            left = (diagonal + usize::from(character != *against)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_have_one_spelling() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("2h"), Some(Duration::from_hours(2)));
        assert_eq!(parse_size("64KiB"), Some(65536));
        for wrong in ["", "s", "-1s", "1.5s", "1 s", "010s", "1_0s", "99999999999999999999s", "5min", "٣s"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
        assert_eq!(parse_size("1kb"), None);
    }

    #[test]
    fn a_misspelt_key_gets_a_suggestion() {
        assert_eq!(suggestion("alow", &["allow", "deny"]), "; did you mean `allow`?");
        assert_eq!(suggestion("effect", &["allow", "deny"]), "; the keys are allow, deny");
    }
}
