//! Questions about rows.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::domain::{AccountId, CredentialId, RequestId, TokenId};

use super::database::AuditError;

/// Which rows to show.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// At most so many, newest first.
    pub last: usize,
    /// Rows of this account only.
    pub account: Option<AccountId>,
    /// Rows of this credential set only.
    pub credential: Option<CredentialId>,
    /// Rows of this token only.
    pub token: Option<TokenId>,
    /// Rows with this code only.
    pub code: Option<String>,
    /// Rows of this kind only.
    pub kind: Option<String>,
    /// Rows decided at this moment or later.
    pub since: Option<Timestamp>,
    /// Rows decided before this moment.
    pub until: Option<Timestamp>,
    /// `allowed` or `denied` only.
    pub decision: Option<String>,
    /// Rows of this endpoint only.
    pub endpoint: Option<String>,
    /// Rows that this policy decided only.
    pub policy: Option<String>,
    /// Rows of this actor only, written as rows show it.
    pub actor: Option<String>,
    /// Rows of requests from this address only.
    pub client: Option<String>,
    /// Rows with this request id of the client only.
    pub correlation: Option<String>,
    /// Rows to which the ERP answered with this status only.
    pub upstream_status: Option<u16>,
    /// Rows that took at least so many microseconds.
    pub min_duration: Option<i64>,
    /// Rows before this one only; for the next page.
    pub before: Option<i64>,
}

/// A row as stored: the decision and, where the exchange is over, its outcome.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Row {
    /// The place in the order in which rows were written.
    pub seq: i64,
    /// The row's id.
    pub id: RequestId,
    /// What it is about.
    pub kind: String,
    /// When it was decided.
    pub at: Timestamp,
    /// The client's own request id.
    pub correlation: Option<String>,
    /// Who did it.
    pub actor: String,
    /// The account concerned.
    pub account: Option<AccountId>,
    /// The credential set concerned.
    pub credential: Option<CredentialId>,
    /// The token, by its id.
    pub token: Option<TokenId>,
    /// Where it came from.
    pub client: Option<String>,
    /// The method or operation.
    pub method: String,
    /// The canonical path or the operation's subject.
    pub path: String,
    /// The query, redacted.
    pub query: Option<String>,
    /// The endpoint.
    pub endpoint: Option<String>,
    /// The deciding policy.
    pub policy: Option<String>,
    /// The deciding rule.
    pub rule: Option<String>,
    /// The hash of the policy texts in force, in hex.
    pub policy_snapshot: Option<String>,
    /// The number of the policies' generation.
    pub generation: i64,
    /// `allowed` or `denied`.
    pub decision: String,
    /// Why not.
    pub code: Option<String>,
    /// The status answered, where known from the decision alone.
    pub status: Option<u16>,
    /// Each step: its name, what it said, on what grounds.
    pub verdicts: Vec<(String, String, String)>,
    /// More about it, as JSON.
    pub detail: Option<String>,
    /// The node that wrote it.
    pub node: String,
    /// How it ended.
    pub outcome: Option<StoredOutcome>,
}

/// The outcome as stored.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct StoredOutcome {
    /// When.
    pub at: Timestamp,
    /// How.
    pub ended: String,
    /// The status that the client got.
    pub status: Option<u16>,
    /// Why the client did not get the ERP's answer.
    pub code: Option<String>,
    /// What went wrong, for the operator.
    pub detail: Option<String>,
    /// The peer contacted.
    pub upstream_peer: Option<String>,
    /// What the ERP answered.
    pub upstream_status: Option<u16>,
    /// How many times it was sent.
    pub attempts: u32,
    /// Microseconds from the first byte in to the last byte out.
    pub duration: i64,
    /// Microseconds until the head of the ERP's answer.
    pub upstream_duration: Option<i64>,
    /// Bytes of body received from the client.
    pub request_bytes: i64,
    /// Bytes of body sent to the client.
    pub response_bytes: i64,
    /// The start of the request's body, redacted.
    pub request_preview: Option<String>,
    /// The start of the answer's body, redacted.
    pub response_preview: Option<String>,
}

impl Row {
    /// The code that explains the answer: of the decision, else of the outcome.
    #[must_use]
    pub fn final_code(&self) -> Option<&str> {
        self.code.as_deref().or_else(|| self.outcome.as_ref().and_then(|outcome| outcome.code.as_deref()))
    }

    /// The status that the client got.
    #[must_use]
    pub fn final_status(&self) -> Option<u16> {
        self.outcome.as_ref().and_then(|outcome| outcome.status).or(self.status)
    }
}

const COLUMNS: &str = "decision.seq, decision.id, kind, decision.at, correlation, actor, account, credential, token,
    client, method, path, query, endpoint, policy, rule, policy_snapshot, generation, decision, decision.code,
    decision.status, verdicts, decision.detail, node, outcome.at, ended, outcome.status, outcome.code, outcome.detail,
    upstream_peer, upstream_status, attempts, duration, upstream_duration, request_bytes, response_bytes,
    request_preview, response_preview";

const FROM: &str = "FROM decision LEFT JOIN outcome ON outcome.decision_seq = decision.seq";

pub(super) fn find(connection: &Connection, id: RequestId) -> Result<Option<Row>, AuditError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} {FROM} WHERE decision.id = ?1"))?;
    Ok(statement.query_row([id.as_bytes()], read_row).optional()?)
}

pub(super) fn search(connection: &Connection, filter: &Filter) -> Result<Vec<Row>, AuditError> {
    let mut conditions = Vec::new();
    let mut values = Vec::new();
    let mut only = |condition: &str, value: Option<Value>| {
        if let Some(value) = value {
            values.push(value);
            conditions.push(format!("{condition} ?{}", values.len()));
        }
    };
    only("account =", filter.account.map(|id| Value::Blob(id.as_bytes().to_vec())));
    only("credential =", filter.credential.map(|id| Value::Blob(id.as_bytes().to_vec())));
    only("token =", filter.token.map(|id| Value::Blob(id.as_bytes().to_vec())));
    only("COALESCE(decision.code, outcome.code) =", filter.code.clone().map(Value::Text));
    only("kind =", filter.kind.clone().map(Value::Text));
    only("decision.at >=", filter.since.map(|at| Value::Integer(at.as_microsecond())));
    only("decision.at <", filter.until.map(|at| Value::Integer(at.as_microsecond())));
    only("decision =", filter.decision.clone().map(Value::Text));
    only("endpoint =", filter.endpoint.clone().map(Value::Text));
    only("policy =", filter.policy.clone().map(Value::Text));
    only("actor =", filter.actor.clone().map(Value::Text));
    only("client =", filter.client.clone().map(Value::Text));
    only("correlation =", filter.correlation.clone().map(Value::Text));
    only("upstream_status =", filter.upstream_status.map(|status| Value::Integer(status.into())));
    only("duration >=", filter.min_duration.map(Value::Integer));
    only("decision.seq <", filter.before.map(Value::Integer));
    let wanted = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let limit = i64::try_from(filter.last).unwrap_or(i64::MAX);
    let text = format!("SELECT {COLUMNS} {FROM} {wanted} ORDER BY decision.seq DESC LIMIT {limit}");
    let mut statement = connection.prepare_cached(&text)?;
    let rows = statement.query_map(params_from_iter(values), read_row)?;
    rows.map(|row| row.map_err(AuditError::from)).collect()
}

fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let verdicts: String = row.get(21)?;
    Ok(Row {
        seq: row.get(0)?,
        id: RequestId::from_bytes(row.get(1)?),
        kind: row.get(2)?,
        at: moment(row.get(3)?),
        correlation: row.get(4)?,
        actor: row.get(5)?,
        account: row.get::<_, Option<_>>(6)?.map(AccountId::from_bytes),
        credential: row.get::<_, Option<_>>(7)?.map(CredentialId::from_bytes),
        token: row.get::<_, Option<_>>(8)?.map(TokenId::from_bytes),
        client: row.get(9)?,
        method: row.get(10)?,
        path: row.get(11)?,
        query: row.get(12)?,
        endpoint: row.get(13)?,
        policy: row.get(14)?,
        rule: row.get(15)?,
        policy_snapshot: row.get::<_, Option<[u8; 32]>>(16)?.map(|hash| hex(&hash)),
        generation: row.get(17)?,
        decision: row.get(18)?,
        code: row.get(19)?,
        status: row.get(20)?,
        verdicts: serde_json::from_str(&verdicts).unwrap_or_default(),
        detail: row.get(22)?,
        node: row.get(23)?,
        outcome: read_outcome(row)?,
    })
}

fn read_outcome(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<StoredOutcome>> {
    let Some(at) = row.get::<_, Option<i64>>(24)? else { return Ok(None) };
    Ok(Some(StoredOutcome {
        at: moment(at),
        ended: row.get(25)?,
        status: row.get(26)?,
        code: row.get(27)?,
        detail: row.get(28)?,
        upstream_peer: row.get(29)?,
        upstream_status: row.get(30)?,
        attempts: row.get(31)?,
        duration: row.get(32)?,
        upstream_duration: row.get(33)?,
        request_bytes: row.get(34)?,
        response_bytes: row.get(35)?,
        request_preview: row.get(36)?,
        response_preview: row.get(37)?,
    }))
}

fn moment(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
