//! What each operation answers with: its shape, its status, and by what a list is read in pages.

use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Schema};

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
            "account-show" => one("AccountWithSets"),
            "account-label"
            | "account-rename"
            | "account-contacts"
            | "account-limit"
            | "account-certificates"
            | "account-suspend" => one("Account"),
            "account-activate" | "account-delete" => one("AccountState"),
            "credential-list" => pages("CredentialSet", &["id"]),
            "credential-search" => one("FoundCredentialSets"),
            "credential-issue" => Self { status: 201, makes: true, ..one("IssuedCredentialSet") },
            "credential-rotate" => Self { makes: true, ..one("IssuedCredentialSet") },
            "credential-show"
            | "credential-update"
            | "credential-limit"
            | "credential-certificates"
            | "grant-add"
            | "grant-remove" => one("CredentialSet"),
            "credential-access" => one("Callable"),
            "credential-openapi" => one("OpenApiDocument"),
            "account-api" => one("AccountApi"),
            "credential-rotate-end" => one("RotatedCredentialSet"),
            "credential-disable" | "credential-enable" | "credential-revoke" => one("CredentialState"),
            "grant-list" => pages("Grant", &["credential", "policy"]),
            "token-list" => pages("Token", &["id"]),
            "token-revoke" | "token-revoke-account" | "token-revoke-all" => one("Revoked"),
            "operator-key-list" => pages("OperatorKey", &["id"]),
            "operator-key-issue" => Self { status: 201, makes: true, ..one("IssuedOperatorKey") },
            "operator-key-revoke" => one("OperatorKeyState"),
            "user-list" => pages("User", &["name"]),
            "user-create" => Self { status: 201, makes: true, ..one("IssuedUser") },
            "user-reset-password" => Self { makes: true, ..one("IssuedUser") },
            "user-show" | "user-disable" | "user-enable" | "user-role" | "user-reset-totp" => one("User"),
            "kill-status" => pages("KillSwitch", &["scope"]),
            "kill-engage" => one("KillSwitch"),
            "kill-release" => one("KillSwitchState"),
            "schedule-show" => pages("Schedule", &["name"]),
            "schedule-next" => pages("ScheduleChange", &["name"]),
            "schedule-overrides" => pages("Override", &["schedule", "held"]),
            "schedule-override" => one("Override"),
            "schedule-lift" => one("Lifted"),
            "upstream-list" => pages("UpstreamSession", &["name", "account"]),
            "upstream-show" | "upstream-login" => one("UpstreamSession"),
            "upstream-test" => one("SignIn"),
            "upstream-logout" | "upstream-secret-set" | "upstream-secret-remove" => one("UpstreamState"),
            "policy-reload" => one("Reloaded"),
            "policy-in-force" => one("InForce"),
            "policy-snapshot" => Self { shape: Shape::Whole, ..one("PolicyFile") },
            "policy-apply" => one("Applied"),
            "policy-versions" => one("PolicyVersions"),
            "endpoint-list" => one("Endpoints"),
            "endpoint-show" => one("EndpointWithHolders"),
            "grant-matrix" => one("GrantMatrix"),
            "policy-explain" => one("Explanation"),
            "audit-search" => Self { shape: Shape::Newest, ..one("AuditRow") },
            "audit-show" => one("ExplainedRow"),
            "audit-stats" => Self { shape: Shape::Whole, ..one("AuditGroup") },
            "audit-forward" | "audit-export" => one("AuditPart"),
            "audit-recorded" => one("RecordedPart"),
            "audit-verify" => one("Verified"),
            "audit-checkpoint" => one("Checkpoint"),
            "audit-prune" => one("Pruned"),
            "key-status" => Self { shape: Shape::Whole, ..one("Key") },
            "key-rotate" => one("RotatedKey"),
            "key-retire" => one("KeyState"),
            "db-backup" => one("Backup"),
            "doctor" => Self { shape: Shape::Whole, ..one("Finding") },
            "status" => one("Status"),
            _ => one("Object"),
        }
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
