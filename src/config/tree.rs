//! A configuration text as a tree in which every key and value knows where it stands.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Location, Spanned};

use super::mask;
use super::problem::Problem;
use super::texts::{Place, Texts};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// What stands there.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as JSON knows it.
    Number(Number),
    /// Any other text, or anything in quotation marks.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values in the order written, repeated keys included.
    Map(Vec<Entry>),
}

/// One key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) node: Node,
}

impl Value {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a section",
        }
    }
}

/// Largest text read, in bytes; a configuration is a few KiB.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// Reads the text number `source` of `texts`.
///
/// # Errors
/// The text is not YAML, or uses what a configuration has no need of: anchors, aliases, tags, several documents.
pub(super) fn parse(texts: &Texts, source: usize) -> Result<Node, Problem> {
    let text = texts.text(source);
    if text.len() > MAX_BYTES {
        return Err(Problem::without_place(format!("{} is larger than 1 MiB", texts.name(source))));
    }
    match serde_saphyr::from_str_with_options::<Option<Spanned<Raw>>>(text, options()) {
        Ok(Some(raw)) => Ok(node(raw, source)),
        Ok(None) => Ok(Node { value: Value::Null, place: Place::start_of(source) }),
        Err(error) => {
            let place = error.location().map_or(Place::start_of(source), |location| place(location, source));
            // SECURITY: some of the reader's messages quote what they stumbled over, as in `password: *hunter2`.
            if mask::hides(text, place.line) {
                let problem = Problem::new(texts, place, "not readable as YAML");
                return Err(problem.with_help("put the value in quotation marks; and no secret belongs into this file"));
            }
            Err(Problem::new(texts, place, format!("not readable as YAML: {}", first_line(&error))))
        }
    }
}

/// Reports repeated keys and merge keys, wherever they stand: YAML readers disagree on which of them counts.
pub(super) fn check_keys(node: &Node, texts: &Texts, problems: &mut Vec<Problem>) {
    match &node.value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
        Value::List(items) => items.iter().for_each(|item| check_keys(item, texts, problems)),
        Value::Map(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                let first = entries.iter().take(index).find(|earlier| earlier.key == entry.key);
                if let Some(first) = first {
                    let message = format!("`{}` is written twice", entry.key);
                    let help = format!("it already stands on line {}; keep one of them", first.place.line);
                    problems.push(Problem::new(texts, entry.place, message).with_help(help));
                } else if entry.key == "<<" {
                    let message = "merge keys (`<<`) are not supported";
                    problems.push(Problem::new(texts, entry.place, message).with_help("write the keys out"));
                }
                check_keys(&entry.node, texts, problems);
            }
        }
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        // Repeated keys and merge keys are passed on so that `check_keys` reports all of them at once.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        strict_booleans: true,
        strict_indentation: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
        emit_comments: false,
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(MAX_BYTES),
            max_total_scalar_bytes: MAX_BYTES,
            max_events: 50_000,
            max_nodes: 20_000,
            max_depth: 32,
            flow_nesting_limit: 32,
            max_documents: 1,
            // SECURITY: no anchors, so no aliases that make a small file large in memory.
            max_aliases: 0,
            max_anchors: 0,
        },
    }
}

fn first_line(error: &serde_saphyr::Error) -> String {
    error.without_snippet().to_string().lines().next().unwrap_or_default().to_owned()
}

fn place(location: Location, source: usize) -> Place {
    let small = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Place {
        source,
        line: small(location.line()),
        column: small(location.column()),
        length: small(location.span().len()).max(1),
    }
}

fn node(raw: Spanned<Raw>, source: usize) -> Node {
    let value = match raw.value {
        Raw::Plain(value) => value,
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, source)).collect()),
        Raw::Map(entries) => Value::Map(entries.into_iter().map(|(key, value)| entry(key, value, source)).collect()),
    };
    Node { value, place: place(raw.referenced, source) }
}

fn entry(key: Spanned<String>, value: Spanned<Raw>, source: usize) -> Entry {
    let key_place = place(key.referenced, source);
    let mut node = node(value, source);
    // An empty value has no place of its own.
    if node.place.line == 0 {
        node.place = key_place;
    }
    Entry { key: key.value, place: key_place, node }
}

/// What the YAML reader hands over.
enum Raw {
    Plain(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Number(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Number(value.into())))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Raw, E> {
        Number::from_f64(value)
            .map(|number| Raw::Plain(Value::Number(number)))
            .ok_or_else(|| E::custom("a number without an end"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Text(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Text(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Raw>>()? {
            if key.value.is_empty() {
                return Err(A::Error::custom("a key is empty"));
            }
            entries.push((key, value));
        }
        Ok(Raw::Map(entries))
    }
}
