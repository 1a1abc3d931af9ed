//! How the members of answers are described.

use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{KnownFormat, Ref, RefOr, Schema};

/// What a member is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Time,
    Number,
    Flag,
    /// Anything that JSON can say.
    Any,
    Texts,
    /// One of these things.
    A(&'static str),
    /// Several of these things.
    Many(&'static str),
    /// The same where it may be null.
    Maybe(&'static Self),
}

use Kind::{A, Any, Flag, Many, Maybe, Number, Text, Texts, Time};

/// The members of a thing, by name.
pub(super) type Members = &'static [(&'static str, Kind)];

/// A thing with members that are always there, and others that may be left out or null.
pub(super) fn object(always: &[Members], maybe: &[Members]) -> Schema {
    let mut object = ObjectBuilder::new().schema_type(Type::Object);
    for (name, kind) in always.iter().copied().flatten() {
        object = object.property(*name, member(*kind)).required(*name);
    }
    for (name, kind) in maybe.iter().copied().flatten() {
        object = object.property(*name, or_null(*kind));
    }
    object.into()
}

fn member(kind: Kind) -> RefOr<Schema> {
    match kind {
        Text => plain(Type::String).into(),
        Time => {
            let time = ObjectBuilder::new().schema_type(Type::String);
            Schema::from(time.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))).into()
        }
        Number => plain(Type::Integer).into(),
        Flag => plain(Type::Boolean).into(),
        Any => Schema::from(ObjectBuilder::new().schema_type(SchemaType::AnyValue)).into(),
        Texts => Schema::from(ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::String))).into(),
        A(name) => Ref::from_schema_name(name).into(),
        Many(name) => Schema::from(ArrayBuilder::new().items(Ref::from_schema_name(name))).into(),
        Maybe(kind) => or_null(*kind),
    }
}

fn plain(one: Type) -> Schema {
    ObjectBuilder::new().schema_type(one).into()
}

fn or_null(kind: Kind) -> RefOr<Schema> {
    let of = |one: Type| ObjectBuilder::new().schema_type(SchemaType::Array(vec![one, Type::Null]));
    match kind {
        Text => Schema::from(of(Type::String)).into(),
        Number => Schema::from(of(Type::Integer)).into(),
        Flag => Schema::from(of(Type::Boolean)).into(),
        Time => Schema::from(of(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))).into(),
        Any | Texts | A(_) | Many(_) | Maybe(_) => {
            Schema::from(OneOfBuilder::new().item(member(kind)).item(plain(Type::Null))).into()
        }
    }
}
