//! What a record looks like in its table, column by column. The chain covers the columns in this order.

use std::time::Duration;

use rusqlite::types::Value;

use crate::domain::{AccountId, Code, CredentialId, EndpointId, PolicyName, RuleId, TokenId};

use super::entry::{End, Entry, Outcome};

/// The columns of `decision` between `seq` and `mac`.
pub(super) const DECISION: &str = "id, kind, at, correlation, actor, account, credential, token, client, method, path,
    query, endpoint, policy, rule, policy_snapshot, generation, decision, code, status, verdicts, detail, change, node,
    repeats, schedule, kill_switch, tls";
pub(super) const INSERT_DECISION: &str = "INSERT INTO decision (seq, id, kind, at, correlation, actor, account,
    credential, token, client, method, path, query, endpoint, policy, rule, policy_snapshot, generation, decision, code,
    status, verdicts, detail, change, node, repeats, schedule, kill_switch, tls, mac) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// The columns of `outcome` between `seq` and `mac`.
pub(super) const OUTCOME: &str =
    "decision_seq, at, ended, status, code, detail, upstream_peer, upstream_status, attempts,
    duration, upstream_duration, request_bytes, response_bytes, request_preview, response_preview";
pub(super) const INSERT_OUTCOME: &str = "INSERT INTO outcome (seq, decision_seq, at, ended, status, code, detail,
    upstream_peer, upstream_status, attempts, duration, upstream_duration, request_bytes, response_bytes,
    request_preview, response_preview, mac) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

pub(super) fn of_decision(entry: &Entry, node: &str) -> [Value; 28] {
    let verdicts: Vec<_> = entry
        .verdicts
        .iter()
        .map(|verdict| (verdict.step.as_str(), verdict.decision.as_str(), &*verdict.note))
        .collect();
    [
        blob(entry.id.as_bytes()),
        text(entry.kind.as_str()),
        Value::Integer(entry.at.as_microsecond()),
        maybe(entry.correlation.as_deref()),
        Value::Text(entry.actor.to_string()),
        entry.account.as_ref().map(AccountId::as_bytes).map_or(Value::Null, |id| blob(id)),
        entry.credential.as_ref().map(CredentialId::as_bytes).map_or(Value::Null, |id| blob(id)),
        entry.token.as_ref().map(TokenId::as_bytes).map_or(Value::Null, |id| blob(id)),
        entry.client.map_or(Value::Null, |address| Value::Text(address.to_string())),
        text(&entry.method),
        text(&entry.path),
        maybe(entry.query.as_deref()),
        maybe(entry.endpoint.as_ref().map(EndpointId::as_str)),
        maybe(entry.policy.as_ref().map(PolicyName::as_str)),
        maybe(entry.rule.as_ref().map(RuleId::as_str)),
        entry.policy_snapshot.map_or(Value::Null, |hash| blob(&hash)),
        count(entry.generation),
        text(entry.decision.as_str()),
        maybe(entry.code.map(Code::as_str)),
        status(entry.status),
        Value::Text(serde_json::to_string(&verdicts).unwrap_or_default()),
        maybe(entry.detail.as_deref()),
        entry.change.map_or(Value::Null, count),
        text(node),
        Value::Integer(entry.repeats.into()),
        maybe(entry.schedule.as_deref()),
        maybe(entry.kill_switch.as_deref()),
        maybe(entry.tls.as_deref()),
    ]
}

pub(super) fn of_outcome(decision: i64, outcome: &Outcome) -> [Value; 15] {
    [
        Value::Integer(decision),
        Value::Integer(outcome.at.as_microsecond()),
        text(outcome.end.unwrap_or(End::Aborted).as_str()),
        status(outcome.status),
        maybe(outcome.code.map(Code::as_str)),
        maybe(outcome.detail.as_deref()),
        outcome.upstream_peer.map_or(Value::Null, |peer| Value::Text(peer.to_string())),
        status(outcome.upstream_status),
        Value::Integer(outcome.attempts.into()),
        micros(outcome.duration),
        outcome.upstream_duration.map_or(Value::Null, micros),
        count(outcome.request_bytes),
        count(outcome.response_bytes),
        maybe(outcome.request_preview.as_ref().map(|preview| preview.text.as_str())),
        maybe(outcome.response_preview.as_ref().map(|preview| preview.text.as_str())),
    ]
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn maybe(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| Value::Text(text.to_owned()))
}

fn blob(bytes: &[u8]) -> Value {
    Value::Blob(bytes.to_vec())
}

fn status(status: Option<u16>) -> Value {
    status.map_or(Value::Null, |status| Value::Integer(status.into()))
}

fn count(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn micros(duration: Duration) -> Value {
    Value::Integer(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}
