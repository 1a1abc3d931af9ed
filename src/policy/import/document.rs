//! Reads a document that others wrote, in JSON or YAML, within bounds. A key that stands twice is refused in both.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::policy::yaml::{Bounds, Code, Node, Place, Problem, Problems, Source, Value as Yaml};

/// The largest document, in bytes.
pub const LARGEST_DOCUMENT: usize = 16 * 1024 * 1024;

const BOUNDS: Bounds = Bounds { largest: LARGEST_DOCUMENT, longest_value: 1024 * 1024, deepest: 100 };

pub(super) fn read(file: &Path, bytes: &[u8]) -> Result<Value, Problem> {
    let source = Source::within(BOUNDS, file, bytes)?;
    if source.text.trim_start().starts_with('{') {
        return serde_json::from_str::<Unrepeated>(&source.text).map(|document| document.0).map_err(|error| {
            let place = Place { line: error.line().max(1), column: error.column().max(1), width: 1 };
            source.problem(place, format!("this is not valid JSON: {}", without_place(&error))).coded(Code::InvalidYaml)
        });
    }
    let root = source.parse().map_err(|problems| {
        let first = problems.0.into_iter().next();
        first.unwrap_or_else(|| Problem::of_file(file, Code::InvalidYaml, "this is not valid YAML"))
    })?;
    value(&source, &root)
}

/// A document that can be read and is not what it should be.
pub(super) fn refused(file: &Path, why: &str) -> Problems {
    Problems(vec![Problem::of_file(file, Code::InvalidValue, why)])
}

/// What is wrong, without the place that the problem shows by itself.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(what, _)| what.to_owned())
}

/// The tree of a YAML document. All that an import reads are texts, so numbers stay as they are written.
fn value(source: &Source, node: &Node) -> Result<Value, Problem> {
    match &node.value {
        Yaml::Scalar { text, .. } => Ok(Value::String(text.clone())),
        Yaml::List(items) => items.iter().map(|item| value(source, item)).collect(),
        Yaml::Map(entries) => {
            let mut members = Map::new();
            for (key, item) in entries {
                let Yaml::Scalar { text, .. } = &key.value else { continue };
                if members.insert(text.clone(), value(source, item)?).is_some() {
                    let shown: String = text.chars().take(64).flat_map(char::escape_debug).collect();
                    let message = format!("duplicate key `{shown}`; only one can be meant");
                    return Err(source.problem(key.place, message).coded(Code::DuplicateKey));
                }
            }
            Ok(Value::Object(members))
        }
    }
}

/// A JSON value none of whose objects has a name twice.
struct Unrepeated(Value);

impl<'de> Deserialize<'de> for Unrepeated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Unrepeating)
    }
}

struct Unrepeating;

impl<'de> Visitor<'de> for Unrepeating {
    type Value = Unrepeated;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Unrepeated, E> {
        Ok(Unrepeated(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Unrepeated, E> {
        Ok(Unrepeated(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Unrepeated, E> {
        Ok(Unrepeated(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Unrepeated, E> {
        Ok(Unrepeated(value.into()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Unrepeated, E> {
        Ok(Unrepeated(value.into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Unrepeated, E> {
        Ok(Unrepeated(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unrepeated, A::Error> {
        let mut list = Vec::new();
        while let Some(Unrepeated(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Unrepeated(Value::Array(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unrepeated, A::Error> {
        let mut members = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if members.contains_key(&name) {
                let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
                return Err(A::Error::custom(format!("duplicate key `{shown}`; only one can be meant")));
            }
            let Unrepeated(member) = entries.next_value()?;
            members.insert(name, member);
        }
        Ok(Unrepeated(Value::Object(members)))
    }
}
