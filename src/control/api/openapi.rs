//! The description of the admin API, as `OpenAPI` 3.1.

use std::collections::BTreeMap;

use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{AdditionalProperties, ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, Schema};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::super::operation::{Audience, OPERATIONS, Operation, Verb};
use super::answers::{Answer, Shape, schema_of};
use super::members::{COMPONENTS, Member, members_of};
use super::pages::MOST;
use super::problem::Problem;
use super::shapes::schemas;
use crate::domain::Role;

const ABOUT: &str = "Everything that administrators, operators, auditors and clients can do with the gateway. Over the \
    Unix socket the kernel says who asks; over HTTP the header `x-api-key` carries an operator key. What was not done is \
    answered with `application/problem+json` (RFC 9457). Every change leaves an audit row.";

/// The whole description.
#[must_use]
pub fn description() -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut items: BTreeMap<&str, PathItem> = BTreeMap::new();
    for operation in OPERATIONS {
        let method = match operation.method {
            Verb::Get => HttpMethod::Get,
            Verb::Post => HttpMethod::Post,
            Verb::Put => HttpMethod::Put,
            Verb::Delete => HttpMethod::Delete,
        };
        items.entry(operation.path).or_default().merge_operations(PathItem::new(method, described(operation)));
    }
    for (path, item) in items {
        paths = paths.path(path, item);
    }
    let mut components = ComponentsBuilder::new().schema(Problem::name(), Problem::schema());
    let named: BTreeMap<_, _> = COMPONENTS.iter().collect();
    for (name, schema) in named {
        components = components.schema(name.clone(), schema.clone());
    }
    for (name, schema) in schemas() {
        components = components.schema(name, schema);
    }
    let key = ApiKey::Header(ApiKeyValue::with_description("x-api-key", "An operator key"));
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("ERP Access: admin API")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(ABOUT)),
        )
        .paths(paths)
        .components(Some(components.security_scheme("operator_key", SecurityScheme::ApiKey(key)).build()))
        .security(Some([SecurityRequirement::new("operator_key", Vec::<String>::new())]))
        .build()
}

fn described(operation: &'static Operation) -> utoipa::openapi::path::Operation {
    let answer = Answer::of(operation);
    let members = members_of(operation);
    let mut described = OperationBuilder::new()
        .operation_id(Some(operation.name))
        .summary(Some(operation.about))
        .description(Some(format!("For: {}.", roles(operation.audience))));
    let in_path: Vec<_> = operation.in_path().collect();
    let (placed, free): (Vec<_>, Vec<_>) = members.iter().partition(|member| in_path.contains(&member.name.as_str()));
    for member in placed {
        described = described.parameter(parameter(member, ParameterIn::Path));
    }
    if matches!(operation.method, Verb::Get | Verb::Delete) {
        for member in free {
            described = described.parameter(parameter(member, ParameterIn::Query));
        }
    } else if !free.is_empty() {
        described = described.request_body(Some(body(&free)));
    }
    if let Shape::Pages(_) = answer.shape {
        described = described.parameter(limit()).parameter(after());
    }
    if answer.makes {
        described = described.parameter(parameter_named(
            "Idempotency-Key",
            "The same key makes nothing twice within 24 hours: the second answer is 409 and names what was made",
            "^[!-~]{1,128}$",
        ));
    }
    if operation.method != Verb::Get {
        let about = "The `ETag` of an account or credential set: nothing is changed where it has changed since";
        described = described.parameter(parameter_named("If-Match", about, "^(\\*|\"[0-9]{1,19}\")$"));
    }
    for (status, about) in problems(operation, answer) {
        described = described.response(status.to_string(), problem(about));
    }
    let done = ResponseBuilder::new()
        .description("Done")
        .content("application/json", ContentBuilder::new().schema(Some(schema_of(answer))).build());
    described.response(answer.status.to_string(), done.build()).build()
}

fn roles(audience: Audience) -> String {
    let names: Vec<_> = Role::ALL.iter().filter(|role| audience.includes(**role)).map(|role| role.as_str()).collect();
    names.join(", ")
}

fn parameter(member: &Member, place: ParameterIn) -> ParameterBuilder {
    let required = if member.required { Required::True } else { Required::False };
    let schema = without_null(member.schema.clone());
    ParameterBuilder::new().name(&member.name).parameter_in(place).required(required).schema(Some(schema))
}

/// In a query what is not said is left out, so nothing is null there.
fn without_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    use utoipa::openapi::schema::SchemaType;
    match &schema {
        RefOr::T(Schema::Object(object)) => {
            let mut object = object.clone();
            if let SchemaType::Array(kinds) = &object.schema_type
                && let Some(kind) = kinds.iter().find(|kind| **kind != Type::Null)
            {
                object.schema_type = SchemaType::Type(kind.clone());
            }
            RefOr::T(Schema::Object(object))
        }
        RefOr::T(Schema::OneOf(one)) => {
            let named = one.items.iter().find(|item| matches!(item, RefOr::Ref(_))).cloned();
            named.unwrap_or(schema)
        }
        RefOr::Ref(_) | RefOr::T(_) => schema,
    }
}

fn body(members: &[&Member]) -> utoipa::openapi::request_body::RequestBody {
    let mut object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)));
    for member in members {
        object = object.property(&member.name, member.schema.clone());
        if member.required {
            object = object.required(&member.name);
        }
    }
    let required = if members.iter().any(|member| member.required) { Required::True } else { Required::False };
    let content = ContentBuilder::new().schema(Some(RefOr::T(Schema::Object(object.build())))).build();
    RequestBodyBuilder::new().content("application/json", content).required(Some(required)).build()
}

fn parameter_named(name: &str, about: &str, pattern: &str) -> ParameterBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(RefOr::T(Schema::Object(text.build()))))
}

fn limit() -> ParameterBuilder {
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(MOST as u64));
    query("limit", "Items on the page; 100 where it is not said", number)
}

fn after() -> ParameterBuilder {
    query("after", "What `next` of the page before said", ObjectBuilder::new().schema_type(Type::String))
}

fn query(name: &str, about: &str, schema: ObjectBuilder) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(RefOr::T(Schema::Object(schema.build()))))
}

fn problems(operation: &Operation, answer: Answer) -> Vec<(u16, &'static str)> {
    let mut problems = vec![
        (401, "Nobody is known by what was presented"),
        (403, "The role does not allow it"),
        (404, "There is no such thing"),
        (422, "It makes no sense as given"),
        (429, "Too many failed sign-ins"),
        (500, "Something is broken; the log says what"),
    ];
    if operation.method != Verb::Get || answer.makes {
        problems.push((409, "Its state does not allow it"));
    }
    if matches!(operation.method, Verb::Post | Verb::Put) {
        problems.extend([(400, "Something is missing"), (413, "The body is too large"), (415, "The body is not JSON")]);
    } else {
        problems.push((400, "Something is missing"));
    }
    if operation.path.starts_with("/v1/upstreams/") && operation.method == Verb::Post {
        problems.push((502, "The ERP did not do its part"));
    }
    problems.push((412, "It is no longer what `If-Match` says"));
    problems
}

fn problem(about: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
    ResponseBuilder::new().description(about).content("application/problem+json", content).build()
}
