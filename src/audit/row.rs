//! A row as it stands in the trail, and what can be asked for.

use jiff::Timestamp;

use crate::domain::{AccountId, Cause, Code, CredentialId, RequestId, TokenId};

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
    /// The row with this id only.
    pub id: Option<RequestId>,
    /// Rows that were not served for this class of reasons only.
    pub cause: Option<Cause>,
    /// Rows whose decision path or outcome says this, in any case of letters.
    pub text: Option<String>,
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
    /// Who can do something about it, where it was not served.
    pub cause: Option<String>,
    /// The node that wrote it.
    pub node: String,
    /// How many requests it stands for: more than one only where a flood was folded.
    pub repeats: u32,
    /// What the schedule said, where it was asked.
    pub schedule: Option<String>,
    /// What the kill switches said, where they were asked.
    pub kill_switch: Option<String>,
    /// The connection's TLS.
    pub tls: Option<String>,
    /// How it ended.
    pub outcome: Option<StoredOutcome>,
}

/// A part of the trail that was gone through.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct Passed {
    /// The rows in it that fit, oldest first.
    pub rows: Vec<Row>,
    /// The last record that was looked at.
    pub checked_to: i64,
    /// The last record that is to be looked at.
    pub end: i64,
}

/// The outcome as stored.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct StoredOutcome {
    /// The place of this record.
    pub seq: i64,
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

pub(super) const COLUMNS: &str =
    "decision.seq, decision.id, kind, decision.at, correlation, actor, account, credential, token,
    client, method, path, query, endpoint, policy, rule, policy_snapshot, generation, decision, decision.code,
    decision.status, verdicts, decision.detail, node, outcome.at, ended, outcome.status, outcome.code, outcome.detail,
    upstream_peer, upstream_status, attempts, duration, upstream_duration, request_bytes, response_bytes,
    request_preview, response_preview, outcome.seq, repeats, schedule, kill_switch, tls";

pub(super) const FROM: &str = "FROM decision LEFT JOIN outcome ON outcome.decision_seq = decision.seq";

pub(super) fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
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
        policy_snapshot: row.get::<_, Option<[u8; 32]>>(16)?.map(hex::encode),
        generation: row.get(17)?,
        decision: row.get(18)?,
        code: row.get(19)?,
        status: row.get(20)?,
        verdicts: serde_json::from_str(&verdicts).unwrap_or_default(),
        detail: row.get(22)?,
        cause: cause_of(row)?,
        node: row.get(23)?,
        repeats: row.get(39)?,
        schedule: row.get(40)?,
        kill_switch: row.get(41)?,
        tls: row.get(42)?,
        outcome: read_outcome(row)?,
    })
}

fn cause_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<String>> {
    let code: Option<String> = row.get::<_, Option<String>>(19)?.or(row.get(27)?);
    Ok(code.and_then(|code| Code::from_text(&code)).map(|code| code.cause().as_str().to_owned()))
}

fn read_outcome(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<StoredOutcome>> {
    let Some(at) = row.get::<_, Option<i64>>(24)? else { return Ok(None) };
    Ok(Some(StoredOutcome {
        seq: row.get(38)?,
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

pub(super) fn moment(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}
