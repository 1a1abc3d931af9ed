//! Conditions on JSON bodies.

use std::sync::OnceLock;

use erp_access::domain::Target;
use erp_access::policy::{Body, PolicySet};
use serde_json::Value;

const ENDPOINTS: &str = "version: 1\nupstream: erp\nendpoints:\n  - { id: rpc.read, methods: [POST], path: /v1/rpc, body: { where: { /method: [a.read] }, batch: allowed } }\n  - { id: rpc.write, methods: [POST], path: /v1/rpc, body: { where: { /method: [a.write] }, batch: allowed } }\n";

/// Where a body is taken for something, that is what another reader of JSON finds in it, part by part.
pub(crate) fn body(input: &[u8]) {
    static SET: OnceLock<PolicySet> = OnceLock::new();
    let set = SET.get_or_init(|| {
        let files = [("endpoints/erp.yaml".into(), ENDPOINTS.into())];
        PolicySet::from_texts(&files).unwrap_or_else(|problems| panic!("{problems}"))
    });
    let target = Target::parse(b"/v1/rpc").expect("a target");
    let route = set.route("POST", target.path()).expect("mapped");
    let Ok(operations) = set.operations(route, &target, Some(Body::json(input))) else { return };
    let value: Value = serde_json::from_slice(input).unwrap_or_else(|error| panic!("it is no JSON: {error}"));
    let parts = value.as_array().map_or(std::slice::from_ref(&value), Vec::as_slice);
    let named = |part: &Value| match part.get("method").and_then(Value::as_str) {
        Some("a.read") => "rpc.read",
        Some("a.write") => "rpc.write",
        other => panic!("{other:?} is neither"),
    };
    let expected: Vec<&str> = parts.iter().map(named).collect();
    let found: Vec<String> =
        operations.iter().map(|operation| operation.matched().endpoint().id().to_string()).collect();
    assert_eq!(found, expected);
}
