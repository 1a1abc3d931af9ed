//! The operations of an `OpenAPI` document.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::LeftOut;

/// References that lead from one to the next.
const LONGEST_CHAIN: usize = 16;

/// What a document says.
pub(super) struct Operations {
    pub(super) title: String,
    pub(super) all: Vec<Operation>,
    pub(super) left_out: Vec<LeftOut>,
}

/// One operation.
pub(super) struct Operation {
    pub(super) method: String,
    pub(super) path: String,
    /// What the document calls it.
    pub(super) id: Option<String>,
    pub(super) summary: String,
    /// The path of the server before it, or why that is not known.
    pub(super) base: Result<String, String>,
}

pub(super) fn of(document: &Value) -> Result<Operations, String> {
    version(document)?;
    let paths = match document.get("paths") {
        Some(Value::Object(paths)) => paths,
        Some(_) => return Err("`paths` is not a map of paths".into()),
        None => return Err("the document has no `paths`; there is nothing to import".into()),
    };
    let info = |key: &str| document.pointer(&format!("/info/{key}")).and_then(Value::as_str).unwrap_or_default();
    let title = format!("{} {}", info("title"), info("version")).trim().to_owned();
    let mut found = Operations { title, all: Vec::new(), left_out: Vec::new() };
    for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
        match resolved(document, item, path)? {
            Item::Local(item) => found.add(document, path, item),
            Item::Elsewhere(reference) => found.left_out.push(LeftOut {
                operation: path.clone(),
                why: format!("it is described in another document: `{reference}`"),
            }),
        }
    }
    Ok(found)
}

fn version(document: &Value) -> Result<(), String> {
    let text =
        |key: &str| document.get(key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let is = |version: &str, wanted: &str| {
        version == wanted || version.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
    };
    match (text("openapi"), text("swagger")) {
        (Some(version), _) if is(&version, "3.0") || is(&version, "3.1") => Ok(()),
        (Some(version), _) => Err(format!("this is OpenAPI {}; 3.0 and 3.1 can be imported", shown(&version))),
        (None, Some(_)) => Err("this is Swagger 2.0; convert it to OpenAPI 3.0 or 3.1 first".into()),
        (None, None) => Err("this is no OpenAPI document: it has no `openapi: 3.0…` or `3.1…`".into()),
    }
}

enum Item<'d> {
    Local(&'d Map<String, Value>),
    Elsewhere(String),
}

/// A path item, whether it stands in its place or is referred to.
fn resolved<'d>(document: &'d Value, item: &'d Value, path: &str) -> Result<Item<'d>, String> {
    let mut item = item;
    for _ in 0..LONGEST_CHAIN {
        let Value::Object(members) = item else {
            return Err(format!("`paths`: `{}` is not a map of methods", shown(path)));
        };
        let Some(reference) = members.get("$ref") else { return Ok(Item::Local(members)) };
        let reference =
            reference.as_str().ok_or_else(|| format!("`paths`: the `$ref` of `{}` is no text", shown(path)))?;
        let Some(fragment) = reference.strip_prefix('#') else { return Ok(Item::Elsewhere(shown(reference))) };
        let pointer = percent_decode_str(fragment).decode_utf8_lossy();
        item = document.pointer(&pointer).ok_or_else(|| {
            format!(
                "`paths`: the `$ref` of `{}` leads to `{}`, which is not in the document",
                shown(path),
                shown(reference)
            )
        })?;
    }
    Err(format!("`paths`: the `$ref` of `{}` leads in a circle", shown(path)))
}

impl Operations {
    fn add(&mut self, document: &Value, path: &str, item: &Map<String, Value>) {
        for (key, operation) in item {
            let method = key.to_ascii_uppercase();
            match key.as_str() {
                "get" | "put" | "post" | "delete" | "options" | "head" | "patch" | "trace" | "query" => {}
                "additionalOperations" => {
                    let why = "`additionalOperations` have methods that the gateway does not relay".to_owned();
                    self.left_out.push(LeftOut { operation: path.to_owned(), why });
                    continue;
                }
                _ => continue,
            }
            let text = |key: &str| operation.get(key).and_then(Value::as_str).map(str::to_owned);
            let servers = [operation.get("servers"), item.get("servers"), document.get("servers")];
            self.all.push(Operation {
                method,
                path: path.to_owned(),
                id: text("operationId"),
                summary: text("summary").or_else(|| text("description")).unwrap_or_default(),
                base: base_path(servers.into_iter().flatten().next()),
            });
        }
    }
}

/// The path of the first server, without a slash at the end.
fn base_path(servers: Option<&Value>) -> Result<String, String> {
    let Some(server) = servers.and_then(|servers| servers.get(0)) else { return Ok(String::new()) };
    let mut url = server.get("url").and_then(Value::as_str).unwrap_or("/").to_owned();
    for (name, variable) in server.get("variables").and_then(Value::as_object).into_iter().flatten() {
        if let Some(default) = variable.get("default").and_then(Value::as_str) {
            url = url.replace(&format!("{{{name}}}"), default);
        }
        if url.len() > 2000 {
            return Err("the address of its server is too long".into());
        }
    }
    let behind_scheme = url.split_once("://").map_or(url.strip_prefix("//"), |(_, rest)| Some(rest));
    let path = match behind_scheme {
        Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
        None => url.trim_start_matches('/'),
    };
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    match path {
        _ if path.contains(['{', '}']) => {
            Err(format!("the address of its server has no default for a variable: `{}`", shown(&url)))
        }
        "" => Ok(String::new()),
        path => Ok(format!("/{path}")),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_path_of_a_server_stands_before_every_path() {
        for (servers, wanted) in [
            (json!([{ "url": "https://erp.example/api/v3/" }]), "/api/v3"),
            (json!([{ "url": "https://erp.example" }]), ""),
            (json!([{ "url": "/api" }, { "url": "/other" }]), "/api"),
            (json!([{ "url": "api/v2?x=y" }]), "/api/v2"),
            (json!([{ "url": "//erp.example/x" }]), "/x"),
            (json!([{ "url": "/{tenant}/v1", "variables": { "tenant": { "default": "main" } } }]), "/main/v1"),
            (json!([]), ""),
        ] {
            assert_eq!(base_path(Some(&servers)).as_deref(), Ok(wanted), "{servers}");
        }
        assert!(base_path(Some(&json!([{ "url": "/{tenant}/v1" }]))).is_err());
        let growing = json!([{ "url": "/{a}", "variables": { "a": { "default": "{a}{a}".repeat(900) } } }]);
        assert!(base_path(Some(&growing)).is_err());
    }
}
