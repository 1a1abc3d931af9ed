//! Conditions on a JSON body: operations that share one path. The body is read once, strictly.
//!
//! What two parsers could read differently is refused: repeated keys anywhere, a byte order mark, anything but UTF-8,
//! anything after the document, and at the top anything but an object (a JSON-RPC batch is a list).

use std::collections::HashSet;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A condition: these pointers hold one of these texts.
#[derive(Debug, Clone)]
pub(super) struct BodyCondition {
    /// The longest body that is looked into, in bytes.
    pub(super) max_bytes: usize,
    /// JSON pointers (RFC 6901), each with the texts that are allowed there.
    pub(super) allowed: Vec<(String, Vec<String>)>,
}

impl BodyCondition {
    pub(super) fn is_met(&self, body: &Value) -> bool {
        self.allowed.iter().all(|(pointer, texts)| {
            body.pointer(pointer).and_then(Value::as_str).is_some_and(|found| texts.iter().any(|text| text == found))
        })
    }
}

/// A body has no single meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefused {
    /// It is not exactly one JSON document in UTF-8.
    #[error("it is not exactly one JSON document in UTF-8")]
    NotJson,
    /// A key occurs twice.
    #[error("a key occurs twice in one object")]
    DuplicateKey,
    /// The top is not an object.
    #[error("it is not an object; batches are not allowed")]
    NotAnObject,
}

/// Deepest nesting that is read; `serde_json` itself stops at 128.
const DEEPEST: usize = 64;
const DUPLICATE: &str = "duplicate key";

/// Reads a body that has one meaning.
pub(super) fn read(body: &[u8]) -> Result<Value, BodyRefused> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = Strict { depth: 0 }.deserialize(&mut reader).map_err(|error| refused(&error))?;
    reader.end().map_err(|_| BodyRefused::NotJson)?;
    if value.is_object() { Ok(value) } else { Err(BodyRefused::NotAnObject) }
}

fn refused(error: &serde_json::Error) -> BodyRefused {
    if error.to_string().starts_with(DUPLICATE) { BodyRefused::DuplicateKey } else { BodyRefused::NotJson }
}

/// Like `Value`, but a repeated key is an error instead of the last one winning.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut seen = HashSet::new();
        let mut object = serde_json::Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(DUPLICATE));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth < DEEPEST { Ok(Self { depth: self.depth + 1 }) } else { Err(E::custom("too deep")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_is_read() {
        let body =
            read(br#"{"id":1,"method":"model.party.party.read","params":[[1],{"a":null,"b":1.5}]}"#).expect("read");
        assert_eq!(body.pointer("/method").and_then(Value::as_str), Some("model.party.party.read"));
    }

    #[test]
    fn what_two_parsers_read_differently_is_refused() {
        for (body, why) in [
            (br#"{"method":"a","method":"b"}"#.as_slice(), BodyRefused::DuplicateKey),
            (br#"{"x":{"a":1,"\u0061":2}}"#, BodyRefused::DuplicateKey),
            (br#"[{"method":"a"}]"#, BodyRefused::NotAnObject),
            (br#"{"method":"a"}{"method":"b"}"#, BodyRefused::NotJson),
            (b"\xef\xbb\xbf{}", BodyRefused::NotJson),
            (b"{\"a\":\"\xff\"}", BodyRefused::NotJson),
            (b"{'a':1}", BodyRefused::NotJson),
            (b"{\"a\":NaN}", BodyRefused::NotJson),
            (b"", BodyRefused::NotJson),
            (b"null", BodyRefused::NotAnObject),
        ] {
            assert_eq!(read(body), Err(why), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_overflowing() {
        assert_eq!(read(&vec![b'['; 100_000]), Err(BodyRefused::NotJson));
    }

    #[test]
    fn a_condition_wants_one_of_its_texts_at_each_pointer() {
        let condition =
            BodyCondition { max_bytes: 10, allowed: vec![("/method".into(), vec!["a".into(), "b".into()])] };
        let met = |body: &[u8]| condition.is_met(&read(body).expect("read"));
        assert!(met(br#"{"method":"b"}"#));
        for body in [br#"{"method":"c"}"#.as_slice(), br#"{"method":["a"]}"#, br#"{"Method":"a"}"#, b"{}"] {
            assert!(!met(body));
        }
    }
}
