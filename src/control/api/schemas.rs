//! What the texts in operations look like, for the API's description.

use std::borrow::Cow;

use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::audit::{Checkpoint, Position, StatsBy};
use crate::domain::{
    AccountName, CredentialId, EndpointId, Fingerprint, LabelChange, Limits, OperatorKeyId, PolicyName, RequestId,
    Role, ScheduleName, TokenId, UpstreamName,
};
use crate::kill_switch::Scope;
use crate::policy::PolicyFile;
use crate::schedule::Held;

use super::super::{SecretText, SetOrder, SetState};

/// A name that operators write.
const SLUG: &str = "^[a-z0-9][a-z0-9._-]{0,63}$";
/// A `UUIDv7` (RFC 9562).
const ID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$";

fn text(about: &str, pattern: &str, example: &str) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String).description(Some(about)).pattern(Some(pattern));
    text.examples([example]).into()
}

macro_rules! texts {
    ($($type:ty: $about:literal, $pattern:expr, $example:literal;)+) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                text($about, $pattern, $example)
            }
        }

        impl ToSchema for $type {}
    )+};
}

texts! {
    AccountName: "The name of an account", SLUG, "acme";
    PolicyName: "The name of a policy", SLUG, "order-reader";
    EndpointId: "The id of an endpoint", SLUG, "orders.read";
    PolicyFile: "A file, by its path inside the policy folder",
        "^((endpoints|cases)/)?[A-Za-z0-9][A-Za-z0-9._-]{0,95}\\.ya?ml$", "order-reader.yaml";
    ScheduleName: "The name of a schedule", SLUG, "default";
    UpstreamName: "The name of an upstream", SLUG, "erp";
    CredentialId: "The id of a credential set", ID, "019ab7c2-7d3e-7cc1-8b1f-0242ac120002";
    OperatorKeyId: "The id of an operator key", ID, "019ab7c2-7d3e-7cc1-8b1f-0242ac120005";
    TokenId: "The id of a token", ID, "019ab7c2-7d3e-7cc1-8b1f-0242ac120003";
    RequestId: "The id of an audit row", ID, "019ab7c2-7d3e-7cc1-8b1f-0242ac120004";
    Fingerprint: "The SHA-256 of a certificate", "^[0-9a-fA-F]{2}(:?[0-9a-fA-F]{2}){31}$",
        "5a8b8b0f0d2a1f9d5e3c7b6a4958473625140312a1b2c3d4e5f60718293a4b5c";
    LabelChange: "`key=value` sets a label, `key-` removes one",
        "^[a-z0-9][a-z0-9._-]{0,63}(=[ -~]{1,100}|-)$", "tier=gold";
    Scope: "What a kill switch stops", "^(all|(account|policy|upstream):[a-z0-9][a-z0-9._-]{0,63})$", "all";
}

macro_rules! words {
    ($($type:ty: $about:literal, $words:expr;)+) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some($words));
                words.description(Some($about)).into()
            }
        }

        impl ToSchema for $type {}
    )+};
}

words! {
    Role: "What somebody may do", ["admin", "operator", "auditor", "client"];
    Held: "How a schedule is held", ["open", "closed"];
    SetState: "The state of a credential set", ["active", "disabled", "expired", "revoked"];
    SetOrder: "The order of credential sets", ["name", "account", "state", "created_at", "expires_at", "last_used_at"];
    StatsBy: "By what rows are counted", ["hour", "minute", "endpoint", "account", "code"];
}

impl PartialSchema for Limits {
    fn schema() -> RefOr<Schema> {
        let number = |about: &str, most: u64| {
            let types = SchemaType::Array(vec![Type::Integer, Type::Null]);
            ObjectBuilder::new().schema_type(types).minimum(Some(1)).maximum(Some(most)).description(Some(about))
        };
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
            .property("requests", number("Requests per period", 1_000_000))
            .property("bytes", number("Bytes of answers per period", 1 << 50))
            .property("per_seconds", number("The period, with `requests` or `bytes`", 86_400))
            .property("concurrent", number("Requests at once", 100_000))
            .description(Some("How much may be asked for; at least one limit"))
            .into()
    }
}

impl ToSchema for Limits {}

impl PartialSchema for SecretText {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).write_only(true).description(Some("A secret")).into()
    }
}

impl ToSchema for SecretText {
    fn name() -> Cow<'static, str> {
        "Secret".into()
    }
}

/// What a caller passes back as it was given.
macro_rules! opaque {
    ($($type:ty: $about:literal;)+) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(Type::Object).description(Some($about)).into()
            }
        }

        impl ToSchema for $type {}
    )+};
}

opaque! {
    Position: "Where a verification stands, as the last answer said";
    Checkpoint: "A signed statement of how far the audit trail goes";
}
