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
    let endpoint = json!({
        "type": "string", "pattern": "^[a-z0-9*][a-z0-9._*-]{0,63}$",
        "description": "The id of an endpoint, or a glob in which * stands for any characters.",
    });
    let endpoints = |description| list(description, 1, &endpoint);
    let when = json!({
        "type": "string", "minLength": 1, "maxLength": 2000,
        "description": "A condition in CEL. One that cannot be evaluated denies.",
    });
    let clients = json!({
        "type": "array", "minItems": 1, "maxItems": 500, "items": { "type": "string" },
        "description": "Networks and addresses of clients that it is for, as in 10.0.0.0/8; without it, everybody.",
    });
    let until = json!({
        "type": "string", "pattern": super::INSTANT,
        "description": "When it ends, with the offset, as in 2027-01-31T18:00:00+05:00. A deny rule ends too.",
    });
    let properties = json!({
        "clients": clients,
        "request": request(),
        "response": response(),
        "until": until,
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

fn request() -> Value {
    let texts = |description: &str| {
        json!({
            "type": "object", "minProperties": 1, "additionalProperties": true, "description": description,
        })
    };
    let properties = json!({
        "force_query": texts("Query parameters that take the place of what the client sends, or are added."),
        "force_header": texts("Headers that the ERP is sent whatever the client sent."),
    });
    object("What the request must hold; in an allow rule only.", &[], &properties)
}

fn response() -> Value {
    let pointer = json!({ "type": "string", "pattern": "^/" });
    let with = json!({
        "type": ["string", "integer", "boolean", "null"],
        "description": "What stands in their place. The default is null.",
    });
    let mask = json!({
        "pointers": list("JSON pointers; a segment * stands for every member or item.", 1, &pointer),
        "with": with,
        "max_bytes": size("A longer answer is withheld. The default is 256KiB; at most 8MiB."),
    });
    let properties =
        json!({ "mask": object("Values that are replaced before an answer leaves.", &["pointers"], &mask) });
    object("What the answer may not show; in an allow rule only.", &["mask"], &properties)
}

fn size(description: &str) -> Value {
    json!({ "type": ["string", "integer"], "pattern": "^[0-9]+(KiB|MiB|GiB)?$", "description": description })
}

fn limits() -> Value {
    let per = json!({
        "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$",
        "description": "The period in which the requests count, as in `1m`; from 1s to 1d.",
    });
    let properties = json!({
        "requests": number("Requests in one period.", 1, 1_000_000),
        "per": per,
        "bytes": size("Bytes of answers in one period, as in 50MiB."),
        "concurrent": number("Requests at once.", 1, 100_000),
    });
    let mut limits = object("Limits on what one credential set may ask for with this policy.", &[], &properties);
    if let Value::Object(members) = &mut limits {
        members.insert("dependencies".into(), json!({ "requests": ["per"], "bytes": ["per"] }));
    }
    limits
}
