//! The things that answers about policies and grants consist of, member by member.

use super::kinds::{Kind, Members};

use Kind::{Any, Flag, Many, Maybe, Number, Text, Texts, Time};

const MAYBE_TEXT: Kind = Maybe(&Text);
const MAYBE_TIME: Kind = Maybe(&Time);
const MAYBE_NUMBER: Kind = Maybe(&Number);

const POLICY_VERSION: Members = &[
    ("hash", Text),
    ("first_used_at", Time),
    ("in_force", Flag),
    ("generation", MAYBE_NUMBER),
    ("files", Number),
    ("changed", Maybe(&Texts)),
];

const ENDPOINT: Members = &[("id", Text), ("methods", Texts), ("path", Text), ("upstream", Text), ("body", MAYBE_TEXT)];

const CALLABLE: Members = &[
    ("id", Text),
    ("methods", Texts),
    ("path", Text),
    ("body", MAYBE_TEXT),
    ("open", Flag),
    ("always", Flag),
    ("changes_at", MAYBE_TIME),
    ("schedules", Texts),
    ("conditions", Flag),
    ("ends_at", MAYBE_TIME),
    ("stopped", Flag),
];

const OPENAPI_DOCUMENT: Members =
    &[("openapi", Text), ("info", Any), ("servers", Any), ("security", Any), ("paths", Any), ("components", Any)];

const HOURS: Members = &[
    ("name", Text),
    ("state", Text),
    ("changes_at", MAYBE_TIME),
    ("changes_at_there", MAYBE_TEXT),
    ("time_zone", Text),
    ("windows", Texts),
];

const SET_IN_BRIEF: Members =
    &[("id", Text), ("name", Text), ("account", MAYBE_TEXT), ("kind", Text), ("stopped", MAYBE_TEXT)];

const GIVING_GRANT: Members =
    &[("policy", Text), ("state", Text), ("gives", Text), ("endpoints", Number), ("expires_at", MAYBE_TIME)];

/// The things, by name, with their members; all are there in every answer.
pub(super) const POLICY_THINGS: &[(&str, &[Members])] = &[
    (
        "Applied",
        &[&[
            ("file", Text),
            ("change", Text),
            ("generation", Number),
            ("hash", Text),
            ("text_before", MAYBE_TEXT),
            ("text_after", MAYBE_TEXT),
            ("warnings", Number),
        ]],
    ),
    ("PolicyVersions", &[&[("items", Many("PolicyVersion")), ("next", MAYBE_TEXT)]]),
    ("PolicyVersion", &[POLICY_VERSION]),
    (
        "Callable",
        &[&[
            ("credential", Text),
            ("name", Text),
            ("account", MAYBE_TEXT),
            ("stopped", MAYBE_TEXT),
            ("limits", Any),
            ("schedules", Many("HoursForClients")),
            ("items", Many("CallableEndpoint")),
            ("next", MAYBE_TEXT),
            ("total", Number),
        ]],
    ),
    ("CallableEndpoint", &[CALLABLE]),
    ("OpenApiDocument", &[OPENAPI_DOCUMENT]),
    ("HoursForClients", &[HOURS]),
    (
        "AccountApi",
        &[&[
            ("account", Text),
            ("state", Text),
            ("always", Flag),
            ("changes_at", MAYBE_TIME),
            ("schedules", Many("HoursForClients")),
            ("stops", Many("Stop")),
            ("limits", Any),
            ("url", MAYBE_TEXT),
            ("token_path", Text),
        ]],
    ),
    ("Stop", &[&[("message", MAYBE_TEXT), ("since", Time), ("until", MAYBE_TIME), ("everything", Flag)]]),
    ("Endpoints", &[&[("items", Many("ReachedEndpoint")), ("next", MAYBE_TEXT), ("total", Number)]]),
    ("ReachedEndpoint", &[ENDPOINT, &[("sets", Number), ("policies", Texts), ("access", MAYBE_TEXT)]]),
    ("EndpointWithHolders", &[ENDPOINT, &[("holders", Many("Reaching")), ("next", MAYBE_TEXT), ("total", Number)]]),
    ("Reaching", &[SET_IN_BRIEF, &[("policies", Texts), ("access", Text)]]),
    ("GrantMatrix", &[&[("items", Many("GrantsOfSet")), ("next", MAYBE_TEXT), ("total", Number)]]),
    ("GrantsOfSet", &[SET_IN_BRIEF, &[("beyond_grants", MAYBE_TEXT), ("grants", Many("GivingGrant"))]]),
    ("GivingGrant", &[GIVING_GRANT]),
];
