//! `endpoints/*.yaml` as written.

use serde_json::Value;

use super::body::{BodyCondition, Pointer};
use super::template::{Template, TrailingSlash};
use super::yaml::{Fields, Node, Place, Problems, Reader, Source};
use crate::domain::{EndpointId, UpstreamName};

/// One endpoint as written, each part checked by itself.
#[derive(Debug)]
pub(super) struct RawEndpoint {
    pub(super) id: EndpointId,
    pub(super) place: Place,
    pub(super) upstream: UpstreamName,
    pub(super) methods: Vec<&'static str>,
    pub(super) path: Template,
    pub(super) path_text: String,
    pub(super) upstream_path: Template,
    pub(super) body: Option<BodyCondition>,
}

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// What Pingora keeps of a body so that it can be relayed after it was looked into.
const LARGEST_BODY: u64 = 64 * 1024;
/// The most parts that a batch may have.
const MOST_PARTS: u64 = 100;

/// The endpoints that could be read, and what was wrong: mistakes between endpoints are found even beside others.
pub(super) fn read(source: &Source, root: &Node) -> (Vec<RawEndpoint>, Problems) {
    let mut reader = Reader::new(source);
    let endpoints = read_file(&mut reader, root).unwrap_or_default();
    (endpoints, reader.finish())
}

fn read_file(reader: &mut Reader<'_>, root: &Node) -> Option<Vec<RawEndpoint>> {
    let fields = reader.map(root, "an endpoints file", &["version", "upstream", "endpoints"])?;
    version(reader, &fields);
    let upstream = reader.required(&fields, "upstream", "an endpoints file");
    let upstream = upstream.and_then(|node| reader.parsed::<UpstreamName>(node, "upstream"));
    let list = reader.required(&fields, "endpoints", "an endpoints file")?;
    let items = reader.list(list, "endpoints")?;
    let mut endpoints: Vec<RawEndpoint> = Vec::with_capacity(items.len());
    for item in items {
        if let Some(endpoint) = read_endpoint(reader, item, upstream.as_ref()) {
            if endpoints.iter().any(|known| known.id == endpoint.id) {
                reader.problem(endpoint.place, format!("duplicate endpoint id `{}`", endpoint.id));
            }
            endpoints.push(endpoint);
        }
    }
    Some(endpoints)
}

/// `version: 1`, the only one there is.
pub(super) fn version(reader: &mut Reader<'_>, fields: &Fields<'_>) {
    if let Some(node) = reader.required(fields, "version", "the file") {
        let _ = reader.number(node, "version", 1..=1);
    }
}

fn read_endpoint(reader: &mut Reader<'_>, node: &Node, upstream: Option<&UpstreamName>) -> Option<RawEndpoint> {
    let fields = reader.map(node, "an endpoint", &["id", "methods", "path", "upstream_path", "body", "description"])?;
    let id = reader.required(&fields, "id", "an endpoint").and_then(|node| reader.parsed::<EndpointId>(node, "id"));
    let methods = reader.required(&fields, "methods", "an endpoint").and_then(|node| read_methods(reader, node));
    let path = reader
        .required(&fields, "path", "an endpoint")
        .and_then(|node| read_template(reader, node, "path", TrailingSlash::Never).map(|template| (template, node)));
    let upstream_path = match fields.get("upstream_path") {
        Some(node) => {
            read_template(reader, node, "upstream_path", TrailingSlash::Kept).map(|template| (template, Some(node)))
        }
        None => path.as_ref().map(|((template, _), _)| ((template.clone(), String::new()), None)),
    };
    if let Some(node) = fields.get("description") {
        reader.text(node, "description");
    }
    let body = match fields.get("body") {
        Some(node) => Some(read_body(reader, node)?),
        None => None,
    };
    let (((path, path_text), _), ((upstream_path, _), upstream_node)) = path.zip(upstream_path)?;
    if let Some(node) = upstream_node {
        same_parameters(reader, node, &path, &upstream_path);
    }
    if upstream_path.ends_with_batch() {
        // SECURITY: no rule would see the requests inside of an OData batch.
        reader.problem(
            upstream_node.unwrap_or(node).place,
            "`$batch` carries requests that no rule would see; map the operations themselves",
        );
    }
    Some(RawEndpoint {
        id: id?,
        place: node.place,
        upstream: upstream?.clone(),
        methods: methods?,
        path,
        path_text,
        upstream_path,
        body,
    })
}

fn read_methods(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<&'static str>> {
    let items = reader.list(node, "methods")?;
    let mut methods = Vec::new();
    for item in items {
        let text = reader.text(item, "methods")?;
        match METHODS.iter().find(|method| **method == text) {
            Some(method) if methods.contains(method) => {
                reader.problem(item.place, format!("method `{method}` stands twice in `methods`"));
            }
            Some(method) => methods.push(*method),
            None => {
                let shown: String = text.chars().take(32).flat_map(char::escape_debug).collect();
                reader.problem(item.place, format!("`methods`: `{shown}` is not one of {}", METHODS.join(", ")));
            }
        }
    }
    if items.is_empty() {
        reader.problem(node.place, "`methods` is empty, so the endpoint could never be called");
    }
    Some(methods)
}

fn read_template(reader: &mut Reader<'_>, node: &Node, what: &str, slash: TrailingSlash) -> Option<(Template, String)> {
    let text = reader.text(node, what)?;
    match Template::parse(text, slash) {
        Ok(template) => Some((template, text.to_owned())),
        Err(why) => {
            reader.problem(node.place, format!("`{what}`: {why}"));
            None
        }
    }
}

fn same_parameters(reader: &mut Reader<'_>, node: &Node, path: &Template, upstream_path: &Template) {
    let known: Vec<_> = path.parameters().collect();
    for name in upstream_path.parameters().filter(|name| !known.contains(name)) {
        reader.problem(node.place, format!("`upstream_path` uses `{{{name}}}`, which is not in `path`"));
    }
    let used: Vec<_> = upstream_path.parameters().collect();
    for name in known.iter().filter(|name| !used.contains(name)) {
        reader.problem(
            node.place,
            format!("`upstream_path` leaves `{{{name}}}` out: every value would lead to the same place"),
        );
    }
    if path.has_rest() && !upstream_path.has_rest() && used.len() == known.len() {
        reader.problem(node.place, "`upstream_path` must take the rest parameter as `{name...}` too");
    }
}

fn read_body(reader: &mut Reader<'_>, node: &Node) -> Option<BodyCondition> {
    let fields = reader.map(node, "`body`", &["max_bytes", "batch", "where"])?;
    let max_bytes = match fields.get("max_bytes") {
        Some(node) => reader.number(node, "max_bytes", 1..=LARGEST_BODY),
        None => Some(LARGEST_BODY),
    };
    let batch = match fields.get("batch") {
        Some(node) => reader.number(node, "batch", 1..=MOST_PARTS),
        None => Some(0),
    };
    let conditions = reader.required(&fields, "where", "`body`")?;
    let conditions = reader.any_map(conditions, "`where`")?;
    let mut allowed = Vec::new();
    for (pointer, key, value) in conditions.iter() {
        let parsed = Pointer::parse(pointer);
        if parsed.is_none() {
            reader.problem(key.place, format!("`where`: `{pointer}` is not a JSON pointer; write `/method`"));
        }
        let items = reader.list(value, pointer)?;
        let values: Vec<Value> = items.iter().filter_map(|item| reader.scalar(item, pointer)).collect();
        if items.is_empty() {
            reader.problem(value.place, format!("`{pointer}` lists nothing, so no body could ever fit"));
        }
        allowed.extend(parsed.map(|pointer| (pointer, values)));
    }
    if conditions.iter().next().is_none() {
        reader.problem(fields.place(), "`where` is empty: every body would fit");
    }
    let small = |number: u64| usize::try_from(number).ok();
    Some(BodyCondition { max_bytes: small(max_bytes?)?, batch: small(batch?)?, allowed })
}
