//! The schema of `endpoints/*.yaml`.

use serde_json::{Value, json};

use super::{file, list, name, number, object, text, version};

const PATH: &str = "^/([^/{}*?#\\s]+|\\{[a-z0-9_]+(\\.\\.\\.)?\\})(/([^/{}*?#\\s]+|\\{[a-z0-9_]+(\\.\\.\\.)?\\}))*";

pub(super) fn schema() -> Value {
    let properties = json!({
        "version": version(),
        "upstream": name("The upstream of the configuration to which these endpoints lead."),
        "endpoints": list("What exists. What is not listed does not exist for anybody; listing allows nothing.", 0, &endpoint()),
    });
    file(
        "Endpoints of ERP Access",
        object("A part of the endpoint catalogue.", &["version", "upstream", "endpoints"], &properties),
    )
}

fn endpoint() -> Value {
    let path = json!({
        "type": "string", "pattern": format!("{PATH}$"),
        "description": "The public path: `{name}` takes one segment, `{name...}` the rest. A literal beats a parameter.",
    });
    let upstream_path = json!({
        "type": "string", "pattern": format!("{PATH}/?$"),
        "description": "The path at the ERP, with the same parameters; the same as `path` when it is not given.",
    });
    let methods = json!({
        "type": "array", "minItems": 1, "uniqueItems": true,
        "items": { "enum": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] },
        "description": "The methods, in capitals.",
    });
    let properties = json!({
        "id": name("The name that rules use."),
        "methods": methods,
        "path": path,
        "upstream_path": upstream_path,
        "body": body(),
        "description": text("What it is for."),
    });
    object("One operation of the ERP.", &["id", "methods", "path"], &properties)
}

fn body() -> Value {
    let values = json!({
        "type": "array", "minItems": 1, "uniqueItems": true, "items": { "type": ["string", "integer", "boolean"] },
    });
    let wanted = json!({
        "type": "object", "minProperties": 1, "patternProperties": { "^/": values }, "additionalProperties": false,
        "description": "JSON pointers with the values that may stand there. Types count: \"1\" is not 1.",
    });
    let batch = json!({
        "enum": ["refused", "allowed", "odata"],
        "description": "Whether one body may hold several operations: a JSON-RPC list (`allowed`) or an OData batch (`odata`). The default is `refused`.",
    });
    let properties = json!({
        "max_bytes": number("The longest body that is looked into. The default is 65536.", 1, 65536),
        "where": wanted,
        "batch": batch,
        "max_parts": number("The most operations in one body. The default is 20.", 1, 100),
    });
    object("What tells operations apart that share one path: a look into the JSON body.", &[], &properties)
}
