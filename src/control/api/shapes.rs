//! The things that answers consist of, member by member. A test holds real answers against this list.

use utoipa::openapi::Schema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};

use super::kinds::{Kind, Members, object};
use super::policy_shapes::POLICY_THINGS;

use Kind::{A, Any, Flag, Many, Maybe, Number, Text, Texts, Time};

const MAYBE_TEXT: Kind = Maybe(&Text);
const MAYBE_TIME: Kind = Maybe(&Time);
const MAYBE_NUMBER: Kind = Maybe(&Number);

const ACCOUNT: Members = &[
    ("name", Text),
    ("id", Text),
    ("state", Text),
    ("reason", MAYBE_TEXT),
    ("labels", Any),
    ("contacts", Texts),
    ("limits", Any),
    ("certificates", Texts),
    ("credential_sets", Number),
    ("revision", Number),
    ("created_at", Time),
];

const CREDENTIAL_SET: Members = &[
    ("id", Text),
    ("account", MAYBE_TEXT),
    ("name", Text),
    ("kind", Text),
    ("reason", MAYBE_TEXT),
    ("purpose", MAYBE_TEXT),
    ("state", Text),
    ("grants", Texts),
    ("clients", Texts),
    ("limits", Any),
    ("certificates", Texts),
    ("live_tokens", Number),
    ("expires_at", MAYBE_TIME),
    ("revision", Number),
    ("created_at", Time),
    ("rotated_at", MAYBE_TIME),
    ("last_used_at", MAYBE_TIME),
    ("former_secrets", Maybe(&A("FormerSecrets"))),
];

const OPERATOR_KEY: Members = &[
    ("id", Text),
    ("name", Text),
    ("role", Text),
    ("account", MAYBE_TEXT),
    ("state", Text),
    ("clients", Texts),
    ("expires_at", Time),
    ("created_at", Time),
];

const USER: Members = &[
    ("name", Text),
    ("id", Text),
    ("role", Text),
    ("account", MAYBE_TEXT),
    ("state", Text),
    ("must_change_password", Flag),
    ("second_factor", Flag),
    ("created_at", Time),
];

/// What everybody is shown of an audit row.
const AUDIT_ROW: Members = &[
    ("seq", Number),
    ("id", Text),
    ("kind", Text),
    ("at", Time),
    ("correlation", MAYBE_TEXT),
    ("account", MAYBE_TEXT),
    ("credential", MAYBE_TEXT),
    ("token", MAYBE_TEXT),
    ("client", MAYBE_TEXT),
    ("method", Text),
    ("path", Text),
    ("decision", Text),
    ("code", MAYBE_TEXT),
    ("status", MAYBE_NUMBER),
    ("cause", MAYBE_TEXT),
    ("outcome", Any),
];

/// What clients are not shown of it.
const ON_WHAT_GROUNDS: Members = &[
    ("actor", Text),
    ("query", Text),
    ("endpoint", Text),
    ("policy", Text),
    ("rule", Text),
    ("policy_snapshot", Text),
    ("generation", Number),
    ("verdicts", Any),
    ("detail", Text),
    ("node", Text),
    ("repeats", Number),
    ("schedule", Text),
    ("kill_switch", Text),
    ("tls", Text),
];

/// The things, by name, with their members; all are there in every answer.
const THINGS: &[(&str, &[Members])] = &[
    ("Account", &[ACCOUNT]),
    ("AccountWithSets", &[ACCOUNT, &[("sets", Many("CredentialSet"))]]),
    ("AccountState", &[&[("name", Text), ("state", Text)]]),
    ("CredentialSet", &[CREDENTIAL_SET]),
    ("FoundCredentialSets", &[&[("items", Many("CredentialSet")), ("total", Number)]]),
    ("IssuedCredentialSet", &[CREDENTIAL_SET, &[("client_id", Text), ("password", Text), ("api_key", Text)]]),
    ("RotatedCredentialSet", &[CREDENTIAL_SET, &[("tokens_ended", Number)]]),
    ("CredentialState", &[&[("id", Text), ("state", Text), ("tokens_ended", Number)]]),
    ("FormerSecrets", &[&[("end_at", Time), ("last_used_at", MAYBE_TIME)]]),
    ("Grant", &[&[("credential", Text), ("policy", Text), ("policy_exists", Flag), ("expires_at", MAYBE_TIME)]]),
    ("Token", &[&[("id", Text), ("credential", Text), ("issued_at", Time), ("expires_at", Time)]]),
    ("Revoked", &[&[("revoked", Number)]]),
    ("OperatorKey", &[OPERATOR_KEY]),
    ("IssuedOperatorKey", &[OPERATOR_KEY, &[("api_key", Text)]]),
    ("OperatorKeyState", &[&[("id", Text), ("state", Text)]]),
    ("User", &[USER]),
    ("IssuedUser", &[USER, &[("password", Text)]]),
    (
        "KillSwitch",
        &[&[
            ("scope", Text),
            ("reason", Text),
            ("message", MAYBE_TEXT),
            ("engaged_by", Text),
            ("engaged_at", Time),
            ("until", MAYBE_TIME),
        ]],
    ),
    ("KillSwitchState", &[&[("scope", Text), ("state", Text)]]),
    (
        "Schedule",
        &[&[
            ("name", Text),
            ("time_zone", Text),
            ("now", Text),
            ("state", Text),
            ("changes_at", MAYBE_TIME),
            ("changes_at_there", MAYBE_TEXT),
            ("overrides", Any),
            ("windows", Texts),
            ("holidays", Texts),
            ("exceptions", Texts),
            ("week", Any),
            ("legend", Text),
        ]],
    ),
    (
        "ScheduleChange",
        &[&[
            ("name", Text),
            ("state", Text),
            ("changes_at", MAYBE_TIME),
            ("changes_at_there", MAYBE_TEXT),
            ("time_zone", Text),
            ("override", MAYBE_TEXT),
        ]],
    ),
    (
        "Override",
        &[&[
            ("schedule", Text),
            ("held", Text),
            ("until", Time),
            ("reason", Text),
            ("made_by", Text),
            ("made_at", Time),
        ]],
    ),
    ("Lifted", &[&[("schedule", Text), ("lifted", Texts), ("state", Text)]]),
    (
        "UpstreamSession",
        &[&[
            ("name", Text),
            ("account", MAYBE_TEXT),
            ("state", Text),
            ("until", MAYBE_TIME),
            ("age_seconds", MAYBE_NUMBER),
            ("sign_ins", Number),
            ("failures", Number),
            ("last_error", MAYBE_TEXT),
        ]],
    ),
    ("UpstreamState", &[&[("upstream", Text), ("account", MAYBE_TEXT), ("state", Text)]]),
    (
        "SignIn",
        &[&[("steps", Many("SignInStep")), ("injects", Texts), ("expires_at", MAYBE_TIME), ("error", MAYBE_TEXT)]],
    ),
    (
        "SignInStep",
        &[&[
            ("request", Text),
            ("request_headers", Texts),
            ("request_body", MAYBE_TEXT),
            ("answer", Text),
            ("answer_headers", Texts),
            ("answer_body", MAYBE_TEXT),
        ]],
    ),
    ("Reloaded", &[&[("generation", Number), ("changed", Flag), ("hash", Text)]]),
    (
        "InForce",
        &[&[
            ("at", Time),
            ("generation", Number),
            ("hash", Text),
            ("files", Any),
            ("broken", Texts),
            ("holders", Many("Holder")),
        ]],
    ),
    (
        "Holder",
        &[&[
            ("id", Text),
            ("name", Text),
            ("account", MAYBE_TEXT),
            ("account_id", Text),
            ("labels", Texts),
            ("kind", Text),
            ("usable", Flag),
            ("grants", Any),
        ]],
    ),
    (
        "Explanation",
        &[&[
            ("decision", Text),
            ("code", MAYBE_TEXT),
            ("status", MAYBE_NUMBER),
            ("asked", Any),
            ("path", Text),
            ("endpoint", MAYBE_TEXT),
            ("policy", MAYBE_TEXT),
            ("rule", MAYBE_TEXT),
            ("steps", Any),
            ("sentences", Texts),
            ("granted", Any),
            ("text", Any),
            ("notes", Texts),
        ]],
    ),
    ("InPlainWords", &[&[("sentences", Texts), ("policy", Any), ("today", Any)]]),
    ("AuditPart", &[&[("rows", Many("AuditRow")), ("checked_to", Number), ("end", Number)]]),
    ("RecordedPart", &[&[("rows", Any), ("snapshots", Texts), ("checked_to", Number), ("end", Number)]]),
    (
        "AuditGroup",
        &[&[
            ("group", MAYBE_TEXT),
            ("total", Number),
            ("allowed", Number),
            ("denied", Number),
            ("errors", Number),
            ("p50_ms", Any),
            ("p95_ms", Any),
        ]],
    ),
    (
        "Verified",
        &[&[("position", Any), ("end", Number), ("done", Flag), ("findings", Any), ("clean_stop", Maybe(&Flag))]],
    ),
    (
        "Checkpoint",
        &[&[
            ("version", Number),
            ("node", Text),
            ("sequence", Number),
            ("head", Text),
            ("sealed_at", Time),
            ("public_key", Text),
            ("signature", Text),
        ]],
    ),
    (
        "Key",
        &[&[
            ("key", Text),
            ("state", Text),
            ("sealed_values", Number),
            ("client_secrets", Number),
            ("operator_keys", Number),
            ("user_passwords", Number),
            ("portal_sessions", Number),
            ("live_tokens", Number),
            ("audit_seals", Number),
            ("since", MAYBE_TIME),
        ]],
    ),
    (
        "RotatedKey",
        &[&[
            ("key", Text),
            ("former", Text),
            ("state", Text),
            ("resealed", Number),
            ("unreadable", Number),
            ("keys", Many("Key")),
        ]],
    ),
    ("KeyState", &[&[("key", Text), ("state", Text)]]),
    (
        "Backup",
        &[&[
            ("file", Text),
            ("bytes", Number),
            ("sha256", Text),
            ("made_at", Time),
            ("change", Number),
            ("audit_sequence", Number),
            ("key", Text),
            ("encrypted_to", MAYBE_TEXT),
        ]],
    ),
    ("Finding", &[&[("check", Text), ("state", Text), ("found", Text), ("advice", Text)]]),
    (
        "Status",
        &[&[
            ("api", Text),
            ("kill_switches", Many("KillSwitch")),
            ("schedule_overrides", Many("Override")),
            ("accounts", Number),
            ("credential_sets", Number),
            ("unrestricted_sets", Any),
            ("live_tokens", Number),
            ("policy_generation", Number),
            ("policy_hash", Text),
            ("policy_files", Texts),
            ("policy_problems", Texts),
            ("policy_warnings", Number),
            ("upstreams", Many("UpstreamSession")),
            ("audit", Text),
            ("audit_queue", Text),
            ("audit_rows_written", Number),
            ("audit_write_failures", Number),
            ("audit_rows_lost", Number),
            ("audit_sinks", Any),
        ]],
    ),
];

/// The schemas of answers, by name.
pub(super) fn schemas() -> Vec<(&'static str, Schema)> {
    let things = THINGS.iter().chain(POLICY_THINGS).map(|(name, parts)| (*name, object(parts, &[])));
    let pruned =
        object(&[&[("records", Number), ("removed", Flag)]], &[&[("through", Number), ("shipped_to", Number)]]);
    let row = object(&[AUDIT_ROW], &[ON_WHAT_GROUNDS]);
    let explained = object(&[AUDIT_ROW], &[ON_WHAT_GROUNDS, &[("explanation", A("InPlainWords"))]]);
    let file = ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::String));
    let file = file.description(Some("Its path and its text")).into();
    things.chain([("Pruned", pruned), ("AuditRow", row), ("ExplainedRow", explained), ("PolicyFile", file)]).collect()
}
