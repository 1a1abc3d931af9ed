//! Replaces values at given places of a JSON document; every other byte stays as it is.
//!
//! One pass, no tree. All values of a key that is written twice are replaced: whichever of them a reader takes, it
//! takes the mask. Keys are compared with their escapes resolved, and exactly.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::pointer::{self, JsonPointer, PointerRefused};
use super::read::Key;

/// Places in a JSON document: a JSON pointer (RFC 6901) in which a segment `*` stands for every member or item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskPointer {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Every,
    Named {
        key: String,
        /// The key as the place in a list, where it is one.
        index: Option<usize>,
    },
}

impl Segment {
    fn has_key(&self, wanted: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Named { key, .. } => key == wanted,
        }
    }

    fn has_index(&self, wanted: usize) -> bool {
        match self {
            Self::Every => true,
            Self::Named { index, .. } => *index == Some(wanted),
        }
    }
}

impl MaskPointer {
    /// The pointer as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for MaskPointer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl FromStr for MaskPointer {
    type Err = PointerRefused;

    fn from_str(text: &str) -> Result<Self, PointerRefused> {
        let pointer: JsonPointer = text.parse()?;
        let segment = |token: &String| match token.as_str() {
            "*" => Segment::Every,
            key => Segment::Named { key: key.to_owned(), index: pointer::index(key) },
        };
        let segments = pointer.tokens().iter().map(segment).collect();
        Ok(Self { text: text.to_owned(), segments })
    }
}

/// Places, and the JSON text that is put there.
#[derive(Debug, Clone, Copy)]
pub struct Masked<'m> {
    /// The places.
    pub at: &'m MaskPointer,
    /// One JSON value.
    pub with: &'m str,
}

/// A document could not be masked, so nothing of it may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotMasked {
    /// It is not exactly one JSON document in UTF-8.
    #[error("it is not exactly one JSON document in UTF-8")]
    NotJson,
    /// With the masks in it, it is too long.
    #[error("with the masks in it, it is longer than allowed")]
    TooLong,
}

/// The document with the values at these places replaced. Where two of them meet, the outer one counts, then the
/// first. The result has at most `longest` bytes.
///
/// # Errors
/// When it is no JSON, or would become too long.
pub fn mask_json(document: &[u8], masks: &[Masked<'_>], longest: usize) -> Result<Vec<u8>, NotMasked> {
    let text = std::str::from_utf8(document).map_err(|_| NotMasked::NotJson)?;
    let mut work = Work {
        text,
        masks,
        longest,
        out: Vec::with_capacity(document.len().min(longest)),
        copied: 0,
        alive: vec![(0..masks.len()).collect()],
        too_long: false,
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Value { work: &mut work, depth: 0 }.deserialize(&mut reader).and_then(|()| reader.end());
    match read {
        Ok(()) => work.finish(),
        Err(_) if work.too_long => Err(NotMasked::TooLong),
        Err(_) => Err(NotMasked::NotJson),
    }
}

struct Work<'w, 'd> {
    text: &'d str,
    masks: &'w [Masked<'w>],
    longest: usize,
    out: Vec<u8>,
    /// So many bytes of the text are in `out`, or are masked there.
    copied: usize,
    /// For each depth, the masks whose segments have fitted so far.
    alive: Vec<Vec<usize>>,
    too_long: bool,
}

/// What a value is to the masks.
enum Concern {
    /// Nothing in it is masked.
    None,
    /// Something deeper may be.
    Inside,
    /// It is masked itself, by this one.
    Itself(usize),
}

impl Work<'_, '_> {
    /// What a member or an item is to the masks that are alive in the value around it, at `depth`.
    fn concern(&mut self, depth: usize, fits: impl Fn(&Segment) -> bool) -> Concern {
        if self.alive.len() <= depth + 1 {
            self.alive.push(Vec::new());
        }
        let (around, inside) = self.alive.split_at_mut(depth + 1);
        let (Some(around), Some(inside)) = (around.last(), inside.first_mut()) else { return Concern::None };
        inside.clear();
        for &number in around {
            let segments = self.masks.get(number).map_or(&[][..], |mask| mask.at.segments.as_slice());
            match segments.get(depth) {
                Some(segment) if fits(segment) && segments.len() == depth + 1 => return Concern::Itself(number),
                Some(segment) if fits(segment) => inside.push(number),
                Some(_) | None => {}
            }
        }
        if inside.is_empty() { Concern::None } else { Concern::Inside }
    }

    /// Puts the mask in place of a value, which is a piece of the text.
    fn replace(&mut self, value: &RawValue, number: usize) {
        let begin = value.get().as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        self.copy_until(begin);
        self.push(self.masks.get(number).map_or("null", |mask| mask.with).as_bytes());
        self.copied = begin.saturating_add(value.get().len());
    }

    fn copy_until(&mut self, end: usize) {
        let text = self.text;
        self.push(text.as_bytes().get(self.copied..end).unwrap_or_default());
        self.copied = end;
    }

    fn push(&mut self, bytes: &[u8]) {
        let length = self.out.len().saturating_add(bytes.len());
        self.too_long |= length > self.longest;
        if self.too_long {
            return;
        }
        if length > self.out.capacity() {
            let room = self.out.capacity().saturating_mul(2).clamp(length, self.longest);
            self.out.reserve_exact(room.saturating_sub(self.out.len()));
        }
        self.out.extend_from_slice(bytes);
    }

    fn finish(mut self) -> Result<Vec<u8>, NotMasked> {
        self.copy_until(self.text.len());
        if self.too_long { Err(NotMasked::TooLong) } else { Ok(self.out) }
    }
}

/// A value in which something may be masked.
struct Value<'s, 'w, 'd> {
    work: &'s mut Work<'w, 'd>,
    depth: usize,
}

impl<'w, 'd> Value<'_, 'w, 'd> {
    fn inner(&mut self) -> Value<'_, 'w, 'd> {
        Value { work: &mut *self.work, depth: self.depth + 1 }
    }

    fn goes_on<E: Error>(&self) -> Result<(), E> {
        if self.work.too_long { Err(E::custom(NotMasked::TooLong)) } else { Ok(()) }
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

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'d>>(mut self, mut items: A) -> Result<(), A::Error> {
        for index in 0.. {
            let more = match self.work.concern(self.depth, |segment| segment.has_index(index)) {
                Concern::None => items.next_element::<IgnoredAny>()?.is_some(),
                Concern::Inside => items.next_element_seed(self.inner())?.is_some(),
                Concern::Itself(number) => {
                    let value = items.next_element::<&RawValue>()?;
                    value.inspect(|value| self.work.replace(value, number)).is_some()
                }
            };
            self.goes_on()?;
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'d>>(mut self, mut entries: A) -> Result<(), A::Error> {
        while let Some(key) = entries.next_key_seed(Key)? {
            let key: Cow<'_, str> = key;
            match self.work.concern(self.depth, |segment| segment.has_key(&key)) {
                Concern::None => drop(entries.next_value::<IgnoredAny>()?),
                Concern::Inside => entries.next_value_seed(self.inner())?,
                Concern::Itself(number) => {
                    let value: &RawValue = entries.next_value()?;
                    self.work.replace(value, number);
                }
            }
            self.goes_on()?;
        }
        Ok(())
    }
}
