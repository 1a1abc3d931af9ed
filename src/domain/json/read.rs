//! The reader: one pass, no tree.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::keys::Keys;
use super::pointer::{Place, PointerSet, Step};
use super::{DEEPEST, Document, Found, Held, JsonRefused, LARGEST_WHOLE};

/// Reads what stands at `pointers` in an object, or in each object of a list of at most `most_parts`; with 0 there is
/// no list.
///
/// Nothing is kept but what was asked for and the keys of the objects that are open. A text is copied only where it has
/// escapes.
///
/// # Errors
/// When the document could be read in two ways, or is of another form.
pub fn read_json<'d>(bytes: &'d [u8], pointers: &PointerSet, most_parts: usize) -> Result<Document<'d>, JsonRefused> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let mut state = State { pointers, found: Found::nothing(pointers.count()), refused: None };
    let top = Top { state: &mut state, most_parts };
    let read = top.deserialize(&mut reader).and_then(|document| reader.end().map(|()| document));
    read.map_err(|_| state.refused.unwrap_or(JsonRefused::NotJson))
}

struct State<'p, 'd> {
    pointers: &'p PointerSet,
    found: Found<'d>,
    refused: Option<JsonRefused>,
}

impl<'d> State<'_, 'd> {
    fn refuse<E: Error>(&mut self, why: JsonRefused) -> E {
        self.refused = Some(why);
        E::custom(why)
    }

    fn take(&mut self) -> Found<'d> {
        std::mem::replace(&mut self.found, Found::nothing(self.pointers.count()))
    }
}

/// The document: an object or a list of objects.
struct Top<'s, 'p, 'd> {
    state: &'s mut State<'p, 'd>,
    most_parts: usize,
}

impl<'d> DeserializeSeed<'d> for Top<'_, '_, 'd> {
    type Value = Document<'d>;

    fn deserialize<D: Deserializer<'d>>(self, deserializer: D) -> Result<Document<'d>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! refuse_scalars {
    ($why:expr, $value:ty) => {
        fn visit_bool<E: Error>(self, _: bool) -> Result<$value, E> {
            Err(self.state.refuse($why))
        }

        fn visit_i64<E: Error>(self, _: i64) -> Result<$value, E> {
            Err(self.state.refuse($why))
        }

        fn visit_u64<E: Error>(self, _: u64) -> Result<$value, E> {
            Err(self.state.refuse($why))
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<$value, E> {
            Err(self.state.refuse($why))
        }

        fn visit_str<E: Error>(self, _: &str) -> Result<$value, E> {
            Err(self.state.refuse($why))
        }

        fn visit_unit<E: Error>(self) -> Result<$value, E> {
            Err(self.state.refuse($why))
        }
    };
}

impl<'d> Visitor<'d> for Top<'_, '_, 'd> {
    type Value = Document<'d>;

    refuse_scalars!(JsonRefused::NotAnObject, Document<'d>);

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON object or list")
    }

    fn visit_map<A: MapAccess<'d>>(self, entries: A) -> Result<Document<'d>, A::Error> {
        let state = self.state;
        Value { state: &mut *state, place: Some(PointerSet::root()), depth: 0 }.visit_map(entries)?;
        Ok(Document::Object(state.take()))
    }

    fn visit_seq<A: SeqAccess<'d>>(self, mut items: A) -> Result<Document<'d>, A::Error> {
        if self.most_parts == 0 {
            return Err(self.state.refuse(JsonRefused::NotAnObject));
        }
        let mut parts = Vec::new();
        while let Some(part) = items.next_element_seed(Part { state: &mut *self.state })? {
            if parts.len() == self.most_parts {
                return Err(self.state.refuse(JsonRefused::TooManyParts));
            }
            parts.push(part);
        }
        if parts.is_empty() { Err(self.state.refuse(JsonRefused::NotABatch)) } else { Ok(Document::List(parts)) }
    }
}

/// One object of a list at the top.
struct Part<'s, 'p, 'd> {
    state: &'s mut State<'p, 'd>,
}

impl<'d> DeserializeSeed<'d> for Part<'_, '_, 'd> {
    type Value = Found<'d>;

    fn deserialize<D: Deserializer<'d>>(self, deserializer: D) -> Result<Found<'d>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'d> Visitor<'d> for Part<'_, '_, 'd> {
    type Value = Found<'d>;

    refuse_scalars!(JsonRefused::NotABatch, Found<'d>);

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON object")
    }

    fn visit_seq<A: SeqAccess<'d>>(self, _: A) -> Result<Found<'d>, A::Error> {
        Err(self.state.refuse(JsonRefused::NotABatch))
    }

    fn visit_map<A: MapAccess<'d>>(self, entries: A) -> Result<Found<'d>, A::Error> {
        let state = self.state;
        Value { state: &mut *state, place: Some(PointerSet::root()), depth: 1 }.visit_map(entries)?;
        Ok(state.take())
    }
}

/// Any value; `place` is where it stands in the tree of pointers, if it does.
struct Value<'s, 'p, 'd> {
    state: &'s mut State<'p, 'd>,
    place: Option<Place>,
    depth: usize,
}

impl<'p, 'd> Value<'_, 'p, 'd> {
    fn hold(self, held: Held<'d>) {
        if let Some(slot) = self.place.and_then(|place| self.state.pointers.slot(place)) {
            self.state.found.hold(slot, held);
        }
    }

    fn is_looked_at(&self) -> bool {
        self.place.is_some_and(|place| self.state.pointers.slot(place).is_some())
    }

    fn descend<E: Error>(&mut self) -> Result<(), E> {
        if self.depth >= DEEPEST {
            return Err(self.state.refuse(JsonRefused::TooDeep));
        }
        if let Some(slot) = self.place.and_then(|place| self.state.pointers.slot(place)) {
            self.state.found.hold(slot, Held::Other);
        }
        self.depth += 1;
        Ok(())
    }

    fn inner(&mut self, place: Option<Place>) -> Value<'_, 'p, 'd> {
        Value { state: &mut *self.state, place, depth: self.depth }
    }

    fn whole<E: Error>(self, number: Option<i64>) -> Result<(), E> {
        match number.filter(|number| (-LARGEST_WHOLE..=LARGEST_WHOLE).contains(number)) {
            Some(number) => self.hold(Held::Whole(number)),
            // 2^53 + 1 is 2^53 to a parser that keeps doubles.
            None if self.is_looked_at() => return Err(self.state.refuse(JsonRefused::Number)),
            None => {}
        }
        Ok(())
    }
}

impl<'d> DeserializeSeed<'d> for Value<'_, '_, 'd> {
    type Value = ();

    fn deserialize<D: Deserializer<'d>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'d> Visitor<'d> for Value<'_, '_, 'd> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.hold(Held::Boolean(value));
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.whole(Some(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.whole(i64::try_from(value).ok())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        // `1.0`, `1e2`, `-0` and whole numbers beyond 64 bits come here: a float to some parsers, an integer to others.
        if value.fract() == 0.0 && self.is_looked_at() {
            return Err(self.state.refuse(JsonRefused::Number));
        }
        self.hold(Held::Other);
        Ok(())
    }

    fn visit_borrowed_str<E: Error>(self, value: &'d str) -> Result<(), E> {
        self.hold(Held::Text(Cow::Borrowed(value)));
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        if self.is_looked_at() {
            self.hold(Held::Text(Cow::Owned(value.to_owned())));
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.hold(Held::Null);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'d>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.descend()?;
        let mut index = 0;
        loop {
            let place = self.place.and_then(|place| self.state.pointers.by_index(place, index));
            if items.next_element_seed(self.inner(place))?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_map<A: MapAccess<'d>>(mut self, mut entries: A) -> Result<(), A::Error> {
        self.descend()?;
        let mut keys = Keys::default();
        while let Some(key) = entries.next_key_seed(Key)? {
            let place = match self.place.map_or(Step::Off, |place| self.state.pointers.by_key(place, &key)) {
                Step::Off => None,
                Step::To(place) => Some(place),
                Step::Lookalike => return Err(self.state.refuse(JsonRefused::LookalikeKey)),
            };
            if !keys.insert(key) {
                return Err(self.state.refuse(JsonRefused::DuplicateKey));
            }
            entries.next_value_seed(self.inner(place))?;
        }
        Ok(())
    }
}

/// A key, borrowed where it has no escapes.
pub(super) struct Key;

impl<'d> DeserializeSeed<'d> for Key {
    type Value = Cow<'d, str>;

    fn deserialize<D: Deserializer<'d>>(self, deserializer: D) -> Result<Cow<'d, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'d> Visitor<'d> for Key {
    type Value = Cow<'d, str>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'d str) -> Result<Cow<'d, str>, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Cow<'d, str>, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
