//! What each operation answers with: its shape, its status, and by what a list is read in pages.

use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{KnownFormat, Ref, RefOr, Schema};

use super::super::operation::Operation;

/// What an operation answers with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// The name of the schema of the answer, or of one item of a list.
    pub(super) schema: &'static str,
    pub(super) shape: Shape,
    /// The status of success.
    pub(super) status: u16,
    /// Whether doing it twice would make two: it takes an `Idempotency-Key`.
    pub(super) makes: bool,
}

/// One thing, or many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    /// A list, in the order of these members, read in pages.
    Pages(&'static [&'static str]),
    /// A list that says itself where the next page begins.
    Newest,
    /// A list that is never long.
    Whole,
}

impl Answer {
    pub(super) fn of(operation: &Operation) -> Self {
        let one = |schema| Self { schema, shape: Shape::One, status: 200, makes: false };
        let pages = |schema, by| Self { schema, shape: Shape::Pages(by), status: 200, makes: false };
        match operation.name {
            "account-list" => pages("Account", &["name"]),
            "account-create" => Self { status: 201, makes: true, ..one("Account") },
            "account-show" | "account-label" | "account-rename" | "account-contacts" | "account-limit"
            | "account-suspend" => one("Account"),
            "credential-list" => pages("CredentialSet", &["id"]),
            "credential-issue" => Self { status: 201, makes: true, ..one("IssuedCredentialSet") },
            "credential-rotate" => Self { makes: true, ..one("IssuedCredentialSet") },
            "credential-show"
            | "credential-update"
            | "credential-limit"
            | "credential-rotate-end"
            | "grant-add"
            | "grant-remove" => one("CredentialSet"),
            "grant-list" => pages("Grant", &["credential", "policy"]),
            "token-list" => pages("Token", &["id"]),
            "operator-key-list" => pages("OperatorKey", &["id"]),
            "operator-key-issue" => Self { status: 201, makes: true, ..one("IssuedOperatorKey") },
            "user-list" => pages("Object", &["name"]),
            "user-create" => Self { status: 201, makes: true, ..one("Object") },
            "user-reset-password" => Self { makes: true, ..one("Object") },
            "kill-status" => pages("KillSwitch", &["scope"]),
            "kill-engage" => one("KillSwitch"),
            "schedule-show" | "schedule-next" => pages("Schedule", &["name"]),
            "schedule-overrides" => pages("Override", &["schedule", "held"]),
            "schedule-override" => one("Override"),
            "upstream-list" => pages("UpstreamSession", &["name", "account"]),
            "upstream-show" | "upstream-login" => one("UpstreamSession"),
            "audit-search" => Self { shape: Shape::Newest, ..one("AuditRow") },
            "audit-show" => one("AuditRow"),
            "doctor" | "audit-stats" => Self { shape: Shape::Whole, ..one("Object") },
            "status" => one("Status"),
            _ => one("Object"),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Time,
    Number,
    /// Anything that JSON can say.
    Any,
    Texts,
}

use Kind::{Any, Number, Text, Texts, Time};

/// The members that are always there, and those that may be null.
type Members = &'static [(&'static str, Kind)];

const CREDENTIAL_SET: Members = &[("id", Text), ("name", Text), ("kind", Text), ("state", Text), ("grants", Texts)];
const CREDENTIAL_SET_MAYBE: Members =
    &[("account", Text), ("reason", Text), ("expires_at", Time), ("created_at", Time), ("live_tokens", Number)];
const OPERATOR_KEY: Members =
    &[("id", Text), ("name", Text), ("role", Text), ("state", Text), ("clients", Texts), ("expires_at", Time)];

/// The schemas of answers, by name.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("Object", object(&[], &[])),
        (
            "Account",
            object(&[("name", Text), ("state", Text)], &[("id", Text), ("reason", Text), ("created_at", Time)]),
        ),
        ("CredentialSet", object(CREDENTIAL_SET, CREDENTIAL_SET_MAYBE)),
        (
            "IssuedCredentialSet",
            object(
                &[CREDENTIAL_SET, &[("client_id", Text), ("password", Text), ("api_key", Text)]].concat(),
                CREDENTIAL_SET_MAYBE,
            ),
        ),
        ("Grant", object(&[("credential", Text), ("policy", Text), ("policy_exists", Any)], &[("expires_at", Time)])),
        ("Token", object(&[("id", Text), ("credential", Text), ("issued_at", Time), ("expires_at", Time)], &[])),
        ("OperatorKey", object(OPERATOR_KEY, &[("account", Text)])),
        ("IssuedOperatorKey", object(&[OPERATOR_KEY, &[("api_key", Text)]].concat(), &[("account", Text)])),
        (
            "KillSwitch",
            object(
                &[("scope", Text), ("reason", Text), ("engaged_by", Text), ("engaged_at", Time)],
                &[("message", Text), ("until", Time)],
            ),
        ),
        ("Schedule", object(&[("name", Text), ("state", Text), ("time_zone", Text)], &[("changes_at", Time)])),
        (
            "Override",
            object(
                &[
                    ("schedule", Text),
                    ("held", Text),
                    ("until", Time),
                    ("reason", Text),
                    ("made_by", Text),
                    ("made_at", Time),
                ],
                &[],
            ),
        ),
        ("UpstreamSession", object(&[("name", Text), ("state", Text)], &[("account", Text), ("last_error", Text)])),
        (
            "AuditRow",
            object(
                &[
                    ("seq", Number),
                    ("id", Text),
                    ("kind", Text),
                    ("at", Time),
                    ("method", Text),
                    ("path", Text),
                    ("decision", Text),
                ],
                &[("account", Text), ("credential", Text), ("code", Text), ("cause", Text), ("status", Number)],
            ),
        ),
        (
            "Status",
            object(
                &[
                    ("api", Text),
                    ("kill_switches", Any),
                    ("policy_generation", Number),
                    ("policy_problems", Texts),
                    ("upstreams", Any),
                    ("audit", Text),
                ],
                &[],
            ),
        ),
    ]
}

fn object(always: &[(&'static str, Kind)], maybe: &[(&'static str, Kind)]) -> Schema {
    let mut object = ObjectBuilder::new().schema_type(Type::Object);
    for (name, kind) in always {
        object = object.property(*name, member(*kind, Null::Never)).required(*name);
    }
    for (name, kind) in maybe {
        object = object.property(*name, member(*kind, Null::Maybe));
    }
    object.into()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Null {
    Never,
    Maybe,
}

fn member(kind: Kind, null: Null) -> Schema {
    let of = |one: Type| match null {
        Null::Never => SchemaType::Type(one),
        Null::Maybe => SchemaType::Array(vec![one, Type::Null]),
    };
    let plain = |one| ObjectBuilder::new().schema_type(of(one));
    match kind {
        Text => plain(Type::String).into(),
        Time => plain(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).into(),
        Number => plain(Type::Integer).into(),
        Any => ObjectBuilder::new().schema_type(SchemaType::AnyValue).into(),
        Texts => ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::String)).into(),
    }
}

/// The schema of the whole answer.
pub(super) fn schema_of(answer: Answer) -> RefOr<Schema> {
    let item = Ref::from_schema_name(answer.schema);
    match answer.shape {
        Shape::One => item.into(),
        Shape::Whole => ArrayBuilder::new().items(item).into(),
        Shape::Pages(_) | Shape::Newest => {
            let next = ObjectBuilder::new()
                .schema_type(SchemaType::Array(vec![Type::String, Type::Null]))
                .description(Some("Where the next page begins; null on the last page"));
            let items = ArrayBuilder::new().items(item);
            let page = ObjectBuilder::new().property("items", items).required("items").property("next", next);
            page.required("next").into()
        }
    }
}
