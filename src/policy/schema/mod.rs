//! JSON Schemas of the policy files, for editors that complete and check while one types.
//!
//! They say what the readers say, as far as a schema can; what is linked across files stays with lint. The readers are
//! written by hand, so the schemas are too (docs/adr/0011), and the tests hold each against the other.

mod cases;
mod endpoints;
mod policy;
mod schedule;

use serde_json::{Value, json};

/// A schema with the name of its file.
#[derive(Debug, Clone, Copy)]
pub struct SchemaFile {
    /// The file, in the policy folder.
    pub name: &'static str,
    schema: fn() -> Value,
}

impl SchemaFile {
    /// Its text.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{:#}\n", (self.schema)())
    }
}

/// The schemas of all kinds of files.
#[must_use]
pub fn schemas() -> [SchemaFile; 4] {
    [
        SchemaFile { name: "endpoints.schema.json", schema: endpoints::schema },
        SchemaFile { name: "policy.schema.json", schema: policy::schema },
        SchemaFile { name: "schedule.schema.json", schema: schedule::schema },
        SchemaFile { name: "cases.schema.json", schema: cases::schema },
    ]
}

/// The draft that editors know best.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// An instant with its offset.
const INSTANT: &str = "^[0-9]{4}-.*([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)(\\[.*\\])?$";

/// A map whose keys are all named.
fn object(description: &str, required: &[&str], properties: &Value) -> Value {
    json!({
        "type": "object", "description": description, "required": required, "properties": properties,
        "additionalProperties": false,
    })
}

/// A whole file.
fn file(title: &str, mut object: Value) -> Value {
    if let Value::Object(members) = &mut object {
        members.insert("$schema".into(), json!(DRAFT));
        members.insert("title".into(), json!(title));
    }
    object
}

fn version() -> Value {
    json!({ "const": 1, "description": "The format of the file; there is only one." })
}

fn name(description: &str) -> Value {
    json!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$", "description": description })
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn list(description: &str, least: usize, items: &Value) -> Value {
    json!({ "type": "array", "minItems": least, "items": items, "description": description })
}

fn number(description: &str, least: u64, most: u64) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most, "description": description })
}

#[cfg(test)]
mod tests;
