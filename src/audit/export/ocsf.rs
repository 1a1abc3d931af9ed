//! Rows as events of the Open Cybersecurity Schema Framework (<https://schema.ocsf.io>), schema 1.4.
//!
//! A relay or a change is an API Activity, a token attempt and a sign-in at an ERP are an Authentication, what else the
//! gateway does by itself is an Application Lifecycle. What the schema has no attribute for stands in `unmapped`.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::super::{End, Kind, Row};
use crate::domain::{Cause, Code};

const SCHEMA: &str = "1.4.0";
const PRODUCT: &str = "erp-access";

/// Members of a row that have attributes of their own in every class.
const MAPPED: [&str; 7] = ["seq", "id", "at", "correlation", "actor", "status", "repeats"];
/// Those that have them where a client or an operator asked for something.
const MAPPED_WHERE_ASKED: [&str; 7] = ["account", "credential", "token", "client", "method", "path", "query"];

/// An event class with its category.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Authentication,
    ApplicationLifecycle,
    ApiActivity,
}

impl Class {
    fn of(row: &Row) -> Self {
        match Kind::from_text(&row.kind) {
            Some(Kind::TokenAttempt) => Self::Authentication,
            Some(Kind::System) if row.method == "upstream.login" => Self::Authentication,
            Some(Kind::System) => Self::ApplicationLifecycle,
            Some(Kind::Relay | Kind::Change) | None => Self::ApiActivity,
        }
    }

    const fn uid(self) -> u32 {
        match self {
            Self::Authentication => 3002,
            Self::ApplicationLifecycle => 6002,
            Self::ApiActivity => 6003,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Authentication => "Authentication",
            Self::ApplicationLifecycle => "Application Lifecycle",
            Self::ApiActivity => "API Activity",
        }
    }

    const fn category(self) -> (u32, &'static str) {
        match self {
            Self::Authentication => (3, "Identity & Access Management"),
            Self::ApplicationLifecycle | Self::ApiActivity => (6, "Application Activity"),
        }
    }
}

/// The event of a row.
pub(super) fn event(row: &Row) -> Value {
    let class = Class::of(row);
    let (activity_id, activity) = activity(row, class);
    let (category_uid, category) = class.category();
    let (severity_id, severity) = severity(row);
    let (status_id, status) = status(row);
    let mut event = attributes(json!({
        "class_uid": class.uid(),
        "class_name": class.name(),
        "category_uid": category_uid,
        "category_name": category,
        "activity_id": activity_id,
        "activity_name": activity,
        "type_uid": class.uid() * 100 + activity_id,
        "type_name": format!("{}: {activity}", class.name()),
        "time": row.at.as_millisecond(),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "status_code": row.final_status().map(|status| status.to_string()),
        "status_detail": row.final_code(),
        "duration": row.outcome.as_ref().map(|outcome| outcome.duration / 1000),
        "count": row.repeats,
        "message": format!("{} {}: {}", row.method, row.path, row.decision),
        "metadata": {
            "version": SCHEMA,
            "product": { "name": PRODUCT, "vendor_name": PRODUCT, "version": env!("CARGO_PKG_VERSION") },
            "uid": row.id,
            "sequence": row.seq,
            "correlation_uid": row.correlation,
            "log_name": "audit",
            "log_provider": row.node,
        },
        "actor": actor(row),
        "src_endpoint": source(row),
        "unmapped": unmapped(row),
    }));
    event.extend(match class {
        Class::Authentication => authentication(row),
        Class::ApplicationLifecycle => lifecycle(),
        Class::ApiActivity => api_activity(row),
    });
    if class == Class::ApplicationLifecycle {
        // The class has an actor only as part of the profile `host`, and no source.
        event.remove("src_endpoint");
        if let Some(metadata) = event.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("profiles".into(), json!(["host"]));
        }
    }
    without_nulls(Value::Object(event))
}

fn attributes(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

/// Absent, not null: the schema knows no null.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().filter(|(_, member)| !member.is_null());
            Value::Object(members.map(|(name, member)| (name, without_nulls(member))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => value,
    }
}

fn activity(row: &Row, class: Class) -> (u32, &str) {
    match class {
        Class::Authentication => match (row.kind.as_str(), row.path.as_str()) {
            ("token_attempt", "token") | ("system", _) => (1, "Logon"),
            ("token_attempt", "revoke") => (2, "Logoff"),
            (_, other) => (99, other),
        },
        Class::ApplicationLifecycle => match row.method.as_str() {
            "start" => (3, "Start"),
            "stop" => (4, "Stop"),
            other => (99, other),
        },
        Class::ApiActivity if row.kind == Kind::Change.as_str() => {
            match row.method.rsplit('.').next().unwrap_or_default() {
                "create" | "issue" | "add" => (1, "Create"),
                "remove" | "revoke" | "revoke-all" => (4, "Delete"),
                _ => (3, "Update"),
            }
        }
        Class::ApiActivity => match row.method.as_str() {
            "GET" | "HEAD" | "OPTIONS" => (2, "Read"),
            "POST" => (1, "Create"),
            "PUT" | "PATCH" => (3, "Update"),
            "DELETE" => (4, "Delete"),
            other => (99, other),
        },
    }
}

fn severity(row: &Row) -> (u32, &'static str) {
    match row.final_code().map(|code| Code::from_text(code).map(Code::cause)) {
        None if row.decision == "allowed" => (1, "Informational"),
        Some(Some(Cause::Outage)) => (3, "Medium"),
        Some(Some(Cause::Client | Cause::Policy | Cause::OperatorControl) | None) | None => (2, "Low"),
    }
}

/// An allowed relay without an outcome, or one that was interrupted, may have succeeded or not.
fn status(row: &Row) -> (u32, &'static str) {
    let (unknown, success, failure) = ((0, "Unknown"), (1, "Success"), (2, "Failure"));
    if row.decision != "allowed" {
        return failure;
    }
    match row.outcome.as_ref().map(|outcome| End::from_text(&outcome.ended)) {
        None if row.kind == Kind::Relay.as_str() => unknown,
        Some(Some(End::Interrupted) | None) => unknown,
        Some(Some(End::Failed | End::Aborted | End::Cut)) => failure,
        Some(Some(End::Completed)) if row.final_code().is_some() => failure,
        None | Some(Some(End::Completed)) => success,
    }
}

fn actor(row: &Row) -> Value {
    let account = row.account.map(|id| json!({ "uid": id, "type": "account", "type_id": 99 }));
    match row.actor.split_once(':') {
        Some(("credential", id)) => json!({
            "user": { "uid": id, "type": "credential set", "type_id": 99, "account": account },
            "session": row.token.map(|token| json!({ "uid": token })),
        }),
        Some(("operator", name)) => json!({ "user": { "name": name, "type": "Admin", "type_id": 2 } }),
        _ if row.actor == "system" => {
            json!({ "app_name": PRODUCT, "user": { "name": PRODUCT, "type": "System", "type_id": 3 } })
        }
        _ => json!({ "user": { "name": row.actor, "type": "Unknown", "type_id": 0 } }),
    }
}

/// An address where there is one; operators and the gateway itself are on the node.
fn source(row: &Row) -> Value {
    match &row.client {
        Some(address) => json!({ "ip": address }),
        None => json!({ "name": row.node, "svc_name": PRODUCT }),
    }
}

fn api_activity(row: &Row) -> Map<String, Value> {
    let relayed = row.kind == Kind::Relay.as_str();
    let operation = if relayed { row.endpoint.as_deref().unwrap_or(&row.method) } else { &row.method };
    let status = row.final_status();
    let outcome = row.outcome.as_ref();
    let peer = outcome.and_then(|outcome| outcome.upstream_peer.as_deref()?.parse::<SocketAddr>().ok());
    attributes(json!({
        "api": {
            "operation": operation,
            "request": { "uid": row.id },
            "response": { "code": status, "error": row.final_code(), "message": row.final_code().and_then(meaning) },
            "service": { "name": PRODUCT },
        },
        "http_request": relayed.then(|| http_request(row, &row.path)),
        "http_response": status.map(|status| json!({
            "code": status,
            "length": outcome.map(|outcome| outcome.response_bytes),
            "latency": outcome.map(|outcome| outcome.duration / 1000),
        })),
        "dst_endpoint": peer.map(|peer| json!({ "ip": peer.ip(), "port": peer.port() })),
        "resources": resources(row, relayed),
    }))
}

fn http_request(row: &Row, path: &str) -> Value {
    json!({
        "http_method": row.method,
        "uid": row.id,
        "length": row.outcome.as_ref().map(|outcome| outcome.request_bytes),
        "url": { "path": path, "query_string": row.query },
    })
}

fn resources(row: &Row, relayed: bool) -> Vec<Value> {
    let mut resources = Vec::new();
    if relayed {
        resources.push(match &row.endpoint {
            Some(endpoint) => json!({ "name": endpoint, "type": "endpoint" }),
            None => json!({ "name": row.path, "type": "path" }),
        });
        return resources;
    }
    let kind = row.method.rsplit_once('.').map_or(row.kind.as_str(), |(kind, _)| kind);
    resources.push(json!({ "name": row.path, "type": kind }));
    resources.extend(row.account.map(|id| json!({ "uid": id, "type": "account" })));
    resources.extend(row.credential.map(|id| json!({ "uid": id, "type": "credential" })));
    resources
}

fn authentication(row: &Row) -> Map<String, Value> {
    let account = row.account.map(|id| json!({ "uid": id, "type": "account", "type_id": 99 }));
    if row.kind == Kind::System.as_str() {
        return attributes(json!({
            "user": { "name": PRODUCT, "type": "System", "type_id": 3, "account": account },
            "service": { "name": row.path },
            "is_remote": true,
        }));
    }
    // The set that was tried, whether or not its password was right.
    let user = match row.credential {
        Some(id) => json!({ "uid": id, "type": "credential set", "type_id": 99, "account": account }),
        None => json!({ "name": "unknown", "type": "Unknown", "type_id": 0 }),
    };
    attributes(json!({
        "user": user,
        "session": row.token.map(|token| json!({ "uid": token })),
        "service": { "name": PRODUCT },
        "auth_protocol": "OAUTH 2.0",
        "auth_protocol_id": 6,
        "is_remote": true,
        "http_request": http_request(row, &format!("/oauth/{}", row.path)),
    }))
}

fn lifecycle() -> Map<String, Value> {
    let version = env!("CARGO_PKG_VERSION");
    attributes(json!({ "app": { "name": PRODUCT, "vendor_name": PRODUCT, "version": version } }))
}

fn meaning(code: &str) -> Option<&'static str> {
    Code::from_text(code).map(Code::title)
}

/// What the schema has no attribute for; nothing of a row gets lost.
fn unmapped(row: &Row) -> Value {
    let mut members = attributes(serde_json::to_value(row).unwrap_or_default());
    let asked = Kind::from_text(&row.kind) != Some(Kind::System);
    let also = if asked { MAPPED_WHERE_ASKED.as_slice() } else { &[] };
    for name in MAPPED.iter().chain(also) {
        members.remove(*name);
    }
    Value::Object(members)
}
