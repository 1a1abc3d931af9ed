//! What each operation takes, as its description says.

use std::collections::HashMap;
use std::sync::LazyLock;

use utoipa::openapi::schema::{AllOf, Object, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::super::Command;
use super::super::operation::Operation;

/// One member of a command.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) schema: RefOr<Schema>,
    pub(super) required: bool,
}

/// The tag that says which command it is; a route says it already.
const TAG: &str = "operation";

/// The schemas that others refer to, by name.
pub(super) static COMPONENTS: LazyLock<HashMap<String, RefOr<Schema>>> = LazyLock::new(|| {
    let mut named = Vec::new();
    Command::schemas(&mut named);
    named.into_iter().collect()
});

static MEMBERS: LazyLock<HashMap<String, Vec<Member>>> = LazyLock::new(|| {
    let RefOr::T(Schema::OneOf(commands)) = Command::schema() else { return HashMap::new() };
    commands.items.iter().filter_map(|command| named(&objects(command))).collect()
});

/// The members of the command of an operation.
pub(super) fn members_of(operation: &Operation) -> &'static [Member] {
    MEMBERS.get(operation.name).map(Vec::as_slice).unwrap_or_default()
}

/// A command of one struct is the struct and the tag.
fn objects(command: &RefOr<Schema>) -> Vec<&Object> {
    match command {
        RefOr::T(Schema::Object(object)) => vec![object],
        RefOr::T(Schema::AllOf(AllOf { items, .. })) => items.iter().flat_map(objects).collect(),
        RefOr::Ref(reference) => {
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            COMPONENTS.get(name).map(objects).unwrap_or_default()
        }
        RefOr::T(_) => Vec::new(),
    }
}

fn named(objects: &[&Object]) -> Option<(String, Vec<Member>)> {
    let tag = objects.iter().find_map(|object| object.properties.get(TAG))?;
    let RefOr::T(Schema::Object(tag)) = tag else { return None };
    let name = tag.enum_values.as_ref()?.first()?.as_str()?.to_owned();
    let members = objects.iter().flat_map(|object| {
        let members = object.properties.iter().filter(|(name, _)| *name != TAG);
        members.map(|(name, schema)| Member {
            name: name.clone(),
            schema: schema.clone(),
            required: object.required.contains(name),
        })
    });
    Some((name, members.collect()))
}

impl Member {
    /// Whether it is a number or a truth value, which a query writes as text.
    pub(super) fn is_plain(&self) -> bool {
        let RefOr::T(Schema::Object(object)) = &self.schema else { return false };
        let plain = |one: &Type| matches!(one, Type::Integer | Type::Number | Type::Boolean);
        match &object.schema_type {
            SchemaType::Type(one) => plain(one),
            SchemaType::Array(several) => several.iter().any(plain),
            SchemaType::AnyValue => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::operation::OPERATIONS;
    use super::*;

    #[test]
    fn what_stands_in_a_path_is_a_required_member_of_the_command() {
        for operation in OPERATIONS {
            let members = members_of(operation);
            for name in operation.in_path() {
                let member = members.iter().find(|member| member.name == name);
                assert!(member.is_some_and(|member| member.required), "{}: {name}", operation.name);
            }
        }
    }

    #[test]
    fn the_members_of_a_command_of_one_struct_are_those_of_the_struct() {
        let search = members_of(Operation::named("audit-search").expect("there"));
        assert!(search.iter().any(|member| member.name == "min_duration_ms" && member.is_plain()));
        assert!(search.iter().all(|member| member.name != TAG));
    }
}
