//! The schema of `cases/*.yaml`.

use serde_json::{Value, json};

use super::{INSTANT, file, list, name, object, text, version};

pub(super) fn schema() -> Value {
    let properties = json!({
        "version": version(),
        "cases": list("Tests of the policies; `erp-access policy test` runs them.", 0, &case()),
    });
    file("Cases of ERP Access", object("Tests of the policies, as data.", &["version", "cases"], &properties))
}

fn case() -> Value {
    let properties = json!({
        "name": text("What is tested, as a sentence."),
        "grants": list("The policies that are held.", 0, &name("The name of a policy.")),
        "principal": principal(),
        "request": request(),
        "expect": expected(),
    });
    object("One request and what must be decided about it.", &["name", "grants", "request", "expect"], &properties)
}

fn request() -> Value {
    let path =
        json!({ "type": "string", "pattern": "^/", "description": "The path, with the query where there is one." });
    let at = json!({
        "type": "string", "pattern": INSTANT,
        "description": "When it is sent, with the offset, as in 2026-11-23T12:00:00+05:00.",
    });
    let properties = json!({
        "method": text("The method, in capitals."),
        "path": path,
        "at": at,
        "body": text("The JSON body, as a text."),
        "headers": texts("Headers by name, for rules that look at them."),
        "client": text("The address of the client; not known without it."),
        "tls": { "type": "boolean", "description": "Whether the connection is TLS. The default is false." },
    });
    object("The request.", &["method", "path", "at"], &properties)
}

fn principal() -> Value {
    let properties = json!({
        "account": name("The name of the account."),
        "credential": text("What the credential set is called."),
        "kind": { "enum": ["bounded", "unrestricted"], "description": "The default is `bounded`." },
        "labels": texts("The labels of the account."),
    });
    object("Who asks, for rules that look at it; not known without it.", &["account"], &properties)
}

/// A map from names to texts.
fn texts(description: &str) -> Value {
    json!({ "type": "object", "additionalProperties": true, "description": description })
}

fn expected() -> Value {
    let obligation = json!({ "type": "string", "pattern": "^(mask|query|header) " });
    let obligations =
        list("What must hold besides, as `mask /pointer`, `query name=value` or `header name=value`.", 0, &obligation);
    let properties = json!({
        "decision": { "enum": ["allowed", "denied"], "description": "What must come out." },
        "rule": text("The allowing rule, as `policy/rule`."),
        "obligations": obligations,
        "reason": text("Why it is denied, as in `not_granted`, `denied_by_rule`, `outside_schedule`, `unmapped`."),
    });
    object("What must be decided.", &["decision"], &properties)
}
