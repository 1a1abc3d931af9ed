//! The things that answers about policies and grants consist of, member by member.

use super::kinds::{Kind, Members};

use Kind::{Flag, Many, Maybe, Number, Text, Texts, Time};

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
    ("Endpoints", &[&[("items", Many("ReachedEndpoint")), ("next", MAYBE_TEXT), ("total", Number)]]),
    ("ReachedEndpoint", &[ENDPOINT, &[("sets", Number), ("policies", Texts), ("access", MAYBE_TEXT)]]),
    ("EndpointWithHolders", &[ENDPOINT, &[("holders", Many("Reaching")), ("next", MAYBE_TEXT), ("total", Number)]]),
    ("Reaching", &[SET_IN_BRIEF, &[("policies", Texts), ("access", Text)]]),
    ("GrantMatrix", &[&[("items", Many("GrantsOfSet")), ("next", MAYBE_TEXT), ("total", Number)]]),
    ("GrantsOfSet", &[SET_IN_BRIEF, &[("beyond_grants", MAYBE_TEXT), ("grants", Many("GivingGrant"))]]),
    ("GivingGrant", &[GIVING_GRANT]),
];
