//! What a credential set may call, as `OpenAPI` 3.1: for clients that are generated, and for people who browse it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::callable::{Callable, Now, Openness, callable};
use super::reach::Holder;
use super::{Control, Result};
use crate::domain::{Code, CredentialId};

/// A path as `OpenAPI` tells paths apart: by where parameters stand, whatever they are called.
fn shape(path: &str) -> String {
    let segment = |segment: &str| if segment.starts_with('{') { "{}".to_owned() } else { segment.to_owned() };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// The path as `OpenAPI` writes it, with its parameters.
fn written(path: &str) -> (String, Vec<Value>) {
    let mut parameters = Vec::new();
    let segments: Vec<String> = path
        .split('/')
        .map(|segment| {
            let Some(name) = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) else {
                return segment.to_owned();
            };
            let (name, about) = match name.strip_suffix("...") {
                Some(name) => (name, Some("The rest of the path: it may hold `/`, which is not escaped.")),
                None => (name, None),
            };
            let mut parameter =
                json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } });
            if let (Some(members), Some(about)) = (parameter.as_object_mut(), about) {
                members.insert("description".into(), about.into());
            }
            parameters.push(parameter);
            format!("{{{name}}}")
        })
        .collect();
    (segments.join("/"), parameters)
}

/// What is to be known of an endpoint besides its path.
fn about(callable: &Callable<'_>) -> String {
    let Openness { always, schedules, .. } = &callable.openness;
    let names: Vec<String> = schedules.iter().map(|name| format!("`{name}`")).collect();
    let mut about = match (always, names.as_slice()) {
        (true, _) => "At any hour.".to_owned(),
        (false, [name]) => format!("In the hours of {name}."),
        (false, names) => format!("In the hours of one of {}.", names.join(", ")),
    };
    if let Some(body) = callable.endpoint.wants_of_body() {
        let _ = write!(about, " Its body: {body}.");
    }
    if callable.conditions {
        about.push_str(" What a request holds, and where it comes from, decides too: some are not permitted.");
    }
    if let Some(end) = callable.ends_at {
        let _ = write!(about, " Until {end}.");
    }
    about
}

fn takes_body(method: &str) -> bool {
    matches!(method, "POST" | "PUT" | "PATCH")
}

/// One operation; several endpoints share one where only their bodies tell them apart.
fn operation(method: &str, endpoints: &[&Callable<'_>]) -> Value {
    let ids: Vec<&str> = endpoints.iter().map(|callable| callable.endpoint.id().as_str()).collect();
    let methods = endpoints.first().map_or(1, |callable| callable.endpoint.methods().len());
    let id = ids.join("+");
    // An id is unique in a document, and an endpoint may have several methods.
    let operation_id = if methods > 1 { format!("{id}:{}", method.to_lowercase()) } else { id };
    let description: Vec<String> = match endpoints {
        [one] => vec![about(one)],
        many => many.iter().map(|one| format!("- `{}`: {}", one.endpoint.id(), about(one))).collect(),
    };
    let mut operation = json!({
        "operationId": operation_id,
        "summary": ids.join(", "),
        "description": description.join("\n"),
        "responses": {
            "2XX": { "description": "What the ERP answers" },
            "default": { "$ref": "#/components/responses/Problem" },
        },
    });
    if let (Some(members), true) = (operation.as_object_mut(), takes_body(method)) {
        let looked_into = endpoints.iter().any(|callable| callable.endpoint.wants_of_body().is_some());
        let media = if looked_into { "application/json" } else { "*/*" };
        members.insert("requestBody".into(), json!({ "required": looked_into, "content": { media: {} } }));
    }
    operation
}

fn paths(all: &[Callable<'_>]) -> Value {
    // The first endpoint of a shape gives its parameters their names.
    let mut places: BTreeMap<String, (&str, BTreeMap<&str, Vec<&Callable<'_>>>)> = BTreeMap::new();
    for callable in all {
        let path = callable.endpoint.path();
        let (_, methods) = places.entry(shape(path)).or_insert_with(|| (path, BTreeMap::new()));
        for method in callable.endpoint.methods() {
            methods.entry(method).or_default().push(callable);
        }
    }
    let place = |(path, methods): &(&str, BTreeMap<&str, Vec<&Callable<'_>>>)| {
        let (path, parameters) = written(path);
        let mut item = Map::new();
        if !parameters.is_empty() {
            item.insert("parameters".into(), parameters.into());
        }
        for (method, endpoints) in methods {
            item.insert(method.to_lowercase(), operation(method, endpoints));
        }
        (path, Value::Object(item))
    };
    Value::Object(places.values().map(place).collect())
}

fn problem() -> Value {
    let codes: Vec<&str> = Code::ALL.iter().filter(|code| code.is_told()).map(|code| code.as_str()).collect();
    let text = |about: &str| json!({ "type": "string", "description": about });
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code", "cause", "request_id"],
        "properties": {
            "type": text("Stands for the code"),
            "title": text("One sentence"),
            "status": { "type": "integer" },
            "code": { "type": "string", "description": "Why; programs decide by it", "enum": codes },
            "cause": {
                "type": "string",
                "description": "Who can do something about it",
                "enum": ["client", "policy", "operator_control", "outage"],
            },
            "detail": text("More about it, where there is more to say"),
            "request_id": text("What to name when you ask about it"),
        },
    })
}

impl Control {
    /// What a set may call, for whoever writes a client.
    pub(super) fn credential_openapi(&self, id: CredentialId) -> Result<Value> {
        let set = self.credential(id)?;
        let (policies, snapshot) = (self.policies.current(), self.directory.snapshot());
        let now = Now { policies: &policies, snapshot: &snapshot, at: self.clock.now() };
        let holder = Holder::of(&set, &snapshot, now.at);
        let all = callable(&holder, &now);
        let hash: String = policies.hash().to_string().chars().take(12).collect();
        let mut security = json!({ "token": [] });
        if let (Some(members), true) = (security.as_object_mut(), self.offered.api_key) {
            members.insert("key".into(), json!([]));
        }
        Ok(json!({
            "openapi": "3.1.0",
            "info": {
                "title": format!("What {} may call", set.name),
                "version": hash,
                "description": "What is not listed here does not exist for this credential set. Get a token with client \
                    id and password as Basic credentials and the x-api-key beside them, and send it as Bearer token.",
            },
            "servers": [{ "url": self.offered.base() }],
            "security": [security],
            "paths": paths(&all),
            "components": {
                "securitySchemes": {
                    "token": {
                        "type": "oauth2",
                        "flows": { "clientCredentials": { "tokenUrl": self.offered.token_url(), "scopes": {} } },
                    },
                    "key": { "type": "apiKey", "in": "header", "name": "x-api-key" },
                },
                "schemas": { "Problem": problem() },
                "responses": {
                    "Problem": {
                        "description": "It was not served; `code` says why, `Retry-After` when to try again",
                        "content": {
                            "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
                        },
                    },
                },
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart_by_where_their_parameters_stand() {
        assert_eq!(shape("/v1/orders/{id}"), shape("/v1/orders/{number}"));
        assert_ne!(shape("/v1/orders/{id}"), shape("/v1/orders/{id}/lines"));
        let (path, parameters) = written("/v1/files/{folder}/{path...}");
        assert_eq!(path, "/v1/files/{folder}/{path}");
        assert_eq!(parameters.len(), 2);
        assert!(parameters[0].get("description").is_none());
        assert!(parameters[1]["description"].as_str().is_some_and(|about| about.contains("rest")));
    }
}
