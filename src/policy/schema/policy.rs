//! The schema of a policy file.

use serde_json::{Value, json};

use super::{file, list, name, number, object, text, version};

pub(super) fn schema() -> Value {
    let properties = json!({
        "version": version(),
        "policy": name("The name of the policy: that of the file without `.yaml`."),
        "description": text("What it is for."),
        "schedule": text("When it applies: `default`, `exempt` for at any time, or the name of a schedule."),
        "rules": list("The rules. A deny always wins, and their order changes nothing.", 0, &rule()),
        "limits": limits(),
    });
    file(
        "A policy of ERP Access",
        object("What is allowed to whoever is granted this policy.", &["version", "policy", "rules"], &properties),
    )
}

fn rule() -> Value {
    let endpoints = |description| list(description, 1, &name("The id of an endpoint."));
    let when = json!({
        "type": "string", "minLength": 1, "maxLength": 2000,
        "description": "A condition in CEL. One that cannot be evaluated denies.",
    });
    let properties = json!({
        "id": name("The name of the rule in decisions and audit rows."),
        "allow": endpoints("The endpoints that it allows."),
        "deny": endpoints("The endpoints that it denies, whatever other rules allow."),
        "when": when,
        "description": text("What it is for."),
    });
    let mut rule = object("One rule: either `allow` or `deny`.", &["id"], &properties);
    if let Value::Object(members) = &mut rule {
        members.insert("oneOf".into(), json!([{ "required": ["allow"] }, { "required": ["deny"] }]));
    }
    rule
}

fn limits() -> Value {
    let per = json!({
        "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$",
        "description": "The period in which the requests count, as in `1m`; from 1s to 1d.",
    });
    let properties = json!({
        "requests": number("Requests in one period.", 1, 1_000_000),
        "per": per,
        "concurrent": number("Requests at once.", 1, 100_000),
    });
    let mut limits = object("Limits on what one credential set may ask for with this policy.", &[], &properties);
    if let Value::Object(members) = &mut limits {
        members.insert("dependencies".into(), json!({ "requests": ["per"], "per": ["requests"] }));
    }
    limits
}
