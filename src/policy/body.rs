//! Conditions on a JSON body: operations that share one path. The body is read once, strictly, and not kept: only what
//! stands at the pointers asked for is.
//!
//! What two parsers could read differently is refused: repeated keys anywhere, a byte order mark, anything but UTF-8,
//! anything after the document, halves of surrogate pairs, and at the top anything but an object or a batch of objects.

use std::cell::RefCell;
use std::collections::HashSet;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A condition: these pointers hold one of these values.
#[derive(Debug, Clone)]
pub(super) struct BodyCondition {
    /// The longest body that is looked into, in bytes.
    pub(super) max_bytes: usize,
    /// The most parts of a batch; 0 refuses batches.
    pub(super) batch: usize,
    /// Each pointer with the values that are allowed there.
    pub(super) allowed: Vec<(Pointer, Vec<Value>)>,
}

impl BodyCondition {
    pub(super) fn is_met(&self, part: &Part<'_>) -> bool {
        self.allowed.iter().all(|(pointer, values)| part.at(pointer).is_some_and(|found| values.contains(found)))
    }
}

/// A JSON pointer (RFC 6901), taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer(Vec<String>);

impl Pointer {
    /// `None` where it is none, or points at the whole document.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let tokens = text.strip_prefix('/')?.split('/');
        let unescaped = tokens.map(|token| {
            let escapes = token.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
            escapes.then(|| token.replace("~1", "/").replace("~0", "~"))
        });
        unescaped.collect::<Option<_>>().map(Self)
    }
}

/// What stands at the pointers asked for in one object of a body.
#[derive(Debug)]
pub(super) struct Part<'w> {
    wanted: &'w [&'w Pointer],
    found: Vec<Option<Value>>,
}

impl Part<'_> {
    fn at(&self, pointer: &Pointer) -> Option<&Value> {
        let index = self.wanted.iter().position(|wanted| *wanted == pointer)?;
        self.found.get(index)?.as_ref()
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
    /// The top is neither an object nor a list of some objects.
    #[error("it is neither an object nor a batch of objects")]
    NotAnObject,
}

/// Deepest nesting that is read; `serde_json` itself stops at 128.
const DEEPEST: usize = 64;
const DUPLICATE: &str = "duplicate key";
const NOT_AN_OBJECT: &str = "not an object";

/// Reads a body that has one meaning: its parts, and whether they came as a batch.
pub(super) fn read<'w>(body: &[u8], wanted: &'w [&'w Pointer]) -> Result<(Vec<Part<'w>>, bool), BodyRefused> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let parts = Top { wanted }.deserialize(&mut reader).map_err(|error| refused(&error))?;
    reader.end().map_err(|_| BodyRefused::NotJson)?;
    Ok(parts)
}

fn refused(error: &serde_json::Error) -> BodyRefused {
    let text = error.to_string();
    if text.starts_with(DUPLICATE) {
        BodyRefused::DuplicateKey
    } else if text.starts_with(NOT_AN_OBJECT) {
        BodyRefused::NotAnObject
    } else {
        BodyRefused::NotJson
    }
}

/// The top of a body: an object, or a list of objects.
struct Top<'w> {
    wanted: &'w [&'w Pointer],
}

impl<'w> Top<'w> {
    fn one<'de, A: MapAccess<'de>>(&self, entries: A) -> Result<Part<'w>, A::Error> {
        let found = RefCell::new(vec![None; self.wanted.len()]);
        let active: Vec<Active<'_>> =
            self.wanted.iter().enumerate().map(|(index, pointer)| (index, pointer.0.as_slice())).collect();
        Strict { depth: 0, active: &active, found: &found }.visit_map(entries)?;
        Ok(Part { wanted: self.wanted, found: found.into_inner() })
    }
}

impl<'de, 'w> DeserializeSeed<'de> for Top<'w> {
    type Value = (Vec<Part<'w>>, bool);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, 'w> Visitor<'de> for Top<'w> {
    type Value = (Vec<Part<'w>>, bool);

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("JSON")
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Err(E::custom(NOT_AN_OBJECT))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Err(E::custom(NOT_AN_OBJECT))
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Err(E::custom(NOT_AN_OBJECT))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Err(E::custom(NOT_AN_OBJECT))
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(E::custom(NOT_AN_OBJECT))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Err(E::custom(NOT_AN_OBJECT))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        Ok((vec![self.one(entries)?], false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = items.next_element_seed(OnePart(&self))? {
            parts.push(part);
        }
        if parts.is_empty() { Err(A::Error::custom(NOT_AN_OBJECT)) } else { Ok((parts, true)) }
    }
}

/// One part of a batch.
struct OnePart<'t, 'w>(&'t Top<'w>);

impl<'de, 'w> DeserializeSeed<'de> for OnePart<'_, 'w> {
    type Value = Part<'w>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Part<'w>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, 'w> Visitor<'de> for OnePart<'_, 'w> {
    type Value = Part<'w>;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Part<'w>, A::Error> {
        self.0.one(entries)
    }
}

/// A pointer that is still possible here: its number, and what of it is left.
type Active<'w> = (usize, &'w [String]);

/// Reads a value without keeping it; a repeated key is an error instead of the last one winning.
#[derive(Clone, Copy)]
struct Strict<'w> {
    depth: usize,
    active: &'w [Active<'w>],
    found: &'w RefCell<Vec<Option<Value>>>,
}

impl Strict<'_> {
    fn scalar(&self, value: impl Fn() -> Value) {
        for (index, left) in self.active {
            if left.is_empty()
                && let Some(place) = self.found.borrow_mut().get_mut(*index)
            {
                *place = Some(value());
            }
        }
    }

    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.depth < DEEPEST { Ok(self.depth + 1) } else { Err(E::custom("too deep")) }
    }
}

/// The pointers that are still possible below `token`.
fn below<'w>(active: &[Active<'w>], token: &str) -> Vec<Active<'w>> {
    active.iter().filter_map(|(index, left)| Some((*index, left.strip_prefix(&[token.to_owned()])?))).collect()
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.scalar(|| Value::Bool(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.scalar(|| value.into());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.scalar(|| value.into());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.scalar(|| value.into());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.scalar(|| value.into());
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        for index in 0_usize.. {
            let active = if self.active.is_empty() { Vec::new() } else { below(self.active, &index.to_string()) };
            if items.next_element_seed(Strict { depth, active: &active, found: self.found })?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let mut seen = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            let active = if self.active.is_empty() { Vec::new() } else { below(self.active, &key) };
            entries.next_value_seed(Strict { depth, active: &active, found: self.found })?;
            if !seen.insert(key) {
                return Err(A::Error::custom(DUPLICATE));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pointer(text: &str) -> Pointer {
        Pointer::parse(text).expect("a pointer")
    }

    /// What stands at these pointers in each part.
    fn at(body: &[u8], pointers: &[&str]) -> Result<Vec<Vec<Option<Value>>>, BodyRefused> {
        let pointers: Vec<_> = pointers.iter().map(|text| pointer(text)).collect();
        let wanted: Vec<_> = pointers.iter().collect();
        let (parts, _) = read(body, &wanted)?;
        Ok(parts.into_iter().map(|part| part.found).collect())
    }

    #[test]
    fn values_at_pointers_are_found_at_any_depth() {
        let body = br#"{"id":1,"method":"m.read","params":[[1],{"a/b":null,"c":1.5}],"~":true}"#;
        let pointers = ["/method", "/params/0/0", "/params/1/a~1b", "/params/1/c", "/~0", "/params", "/none"];
        let found = at(body, &pointers).expect("read");
        assert_eq!(
            found,
            [vec![Some(json!("m.read")), Some(json!(1)), None, Some(json!(1.5)), Some(json!(true)), None, None]]
        );
    }

    #[test]
    fn batch_is_read_part_by_part() {
        let body = br#"[{"method":"a"},{"method":"b"},{}]"#;
        let found = at(body, &["/method"]).expect("read");
        assert_eq!(found, [vec![Some(json!("a"))], vec![Some(json!("b"))], vec![None]]);
        assert!(read(body, &[]).expect("read").1, "it says that it is a batch");
    }

    #[test]
    fn what_two_parsers_read_differently_is_refused() {
        for (body, why) in [
            (br#"{"method":"a","method":"b"}"#.as_slice(), BodyRefused::DuplicateKey),
            (br#"{"x":{"a":1,"\u0061":2}}"#, BodyRefused::DuplicateKey),
            (br#"[{"a":1},{"b":[{"a":1,"a":1}]}]"#, BodyRefused::DuplicateKey),
            (br#"{"method":"a"}{"method":"b"}"#, BodyRefused::NotJson),
            (br#"{"method":"a\ud800"}"#, BodyRefused::NotJson),
            (b"\xef\xbb\xbf{}", BodyRefused::NotJson),
            (b"{\"a\":\"\xff\"}", BodyRefused::NotJson),
            (b"{'a':1}", BodyRefused::NotJson),
            (b"{\"a\":NaN}", BodyRefused::NotJson),
            (b"{\"a\":1e999}", BodyRefused::NotJson),
            (b"", BodyRefused::NotJson),
            (b"null", BodyRefused::NotAnObject),
            (b"[]", BodyRefused::NotAnObject),
            (b"7", BodyRefused::NotAnObject),
        ] {
            assert_eq!(read(body, &[]).map(drop), Err(why), "{}", String::from_utf8_lossy(body));
        }
        assert!(read(b"[1]", &[]).is_err() && read(b"[[{}]]", &[]).is_err());
    }

    #[test]
    fn deep_nesting_is_refused_without_overflowing() {
        let deep = [br#"{"a":"#.to_vec(), vec![b'['; 100_000]].concat();
        assert!(read(&deep, &[]).is_err());
    }

    #[test]
    fn a_condition_wants_one_of_its_values_at_each_pointer() {
        let method = (pointer("/method"), vec![json!("a"), json!("b"), json!(7)]);
        let condition = BodyCondition { max_bytes: 10, batch: 0, allowed: vec![method] };
        let met = |body: &[u8]| {
            let wanted = [&condition.allowed[0].0];
            let (parts, _) = read(body, &wanted).expect("read");
            condition.is_met(&parts[0])
        };
        assert!(met(br#"{"method":"b"}"#) && met(br#"{"method":7}"#));
        for body in [
            br#"{"method":"c"}"#.as_slice(),
            br#"{"method":["a"]}"#,
            br#"{"Method":"a"}"#,
            b"{}",
            br#"{"method":7.0}"#,
            br#"{"method":"7"}"#,
        ] {
            assert!(!met(body), "{}", String::from_utf8_lossy(body));
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            "[a-c]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The reader that keeps nothing finds what a look into the whole tree finds.
        #[test]
        fn finds_what_stands_in_the_tree(body in any_json(), path in prop::collection::vec("[a-c0-2]", 1..4)) {
            let text = format!("/{}", path.join("/"));
            let bytes = serde_json::to_vec(&json!({ "a": body })).expect("JSON");
            let tree: Value = serde_json::from_slice(&bytes).expect("JSON");
            let expected = tree.pointer(&text).filter(|value| !value.is_null() && !value.is_array() && !value.is_object());
            let found = at(&bytes, &[text.as_str()]).expect("read");
            prop_assert_eq!(found[0][0].as_ref(), expected);
        }

        /// A key that is written twice is found wherever it is.
        #[test]
        fn finds_any_repeated_key(body in any_json(), other in any_json()) {
            let text = format!(r#"{{"x":{{"k":{body},"m":{other},"k":{other}}}}}"#);
            prop_assert_eq!(read(text.as_bytes(), &[]).map(drop), Err(BodyRefused::DuplicateKey));
        }
    }
}
