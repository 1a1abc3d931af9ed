//! What of the trail is needed to decide its requests again: the decision records of relays, in the order of the trail.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use serde::{Deserialize, Serialize};

use crate::domain::{CredentialId, RequestId};

use super::condition::Condition;
use super::database::AuditError;
use super::entry::Step;
use super::index;
use super::ledger::end_of;
use super::row::{Filter, moment};

/// Records gone through at once: a part stays below a few MiB.
const AT_ONCE: i64 = 8192;

/// A request as its row tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The row's id.
    pub id: RequestId,
    /// When it was decided.
    #[serde(with = "jiff::fmt::serde::timestamp::microsecond::required")]
    pub at: Timestamp,
    /// Whose request it was, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialId>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The method.
    pub method: String,
    /// The canonical path, where it has one.
    pub path: String,
    /// The query, redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The deciding policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The deciding rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The policies in force then: a place among the hashes of its part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<usize>,
    /// The step that denied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied_at: Option<String>,
    /// What was in it, where it was a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Whether an override of a schedule decided.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_override: bool,
    /// How many requests the row stands for.
    pub repeats: u32,
}

/// A part of the trail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedPart {
    /// The requests in it, oldest first.
    pub rows: Vec<Recorded>,
    /// The hashes of the policy texts that were in force, in hex.
    pub snapshots: Vec<String>,
    /// The last record that was looked at.
    pub checked_to: i64,
    /// The last record that is to be looked at.
    pub end: i64,
}

/// The next part after this record, none behind `through`. Without `after` it says where to begin and where to end.
pub(super) fn next(
    trail: &Connection,
    index: Option<&Connection>,
    filter: &Filter,
    after: Option<i64>,
    through: Option<i64>,
) -> Result<RecordedPart, AuditError> {
    let trail = trail.unchecked_transaction()?;
    let end = through.unwrap_or(i64::MAX).min(end_of(&trail)?);
    let Some(after) = after else {
        let checked_to = index::first_of(index, filter)?.saturating_sub(1).min(end);
        return Ok(RecordedPart { checked_to, end, ..RecordedPart::default() });
    };
    let to = after.saturating_add(AT_ONCE).min(end).max(after);
    let mut condition = Condition::of(filter);
    let (from, last) = (condition.bind(Value::Integer(after)), condition.bind(Value::Integer(to)));
    condition.and(format!("seq > {from} AND seq <= {last}"));
    let (wanted, values) = condition.parts();
    let text = format!(
        "SELECT id, at, credential, client, method, path, query, endpoint, policy, rule, policy_snapshot, decision,
                verdicts, repeats, schedule
           FROM decision WHERE {wanted} ORDER BY seq"
    );
    let mut part = RecordedPart { checked_to: to, end, ..RecordedPart::default() };
    let mut statement = trail.prepare_cached(&text)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut known: Vec<[u8; 32]> = Vec::new();
    while let Some(row) = rows.next()? {
        let snapshot: Option<[u8; 32]> = row.get(10)?;
        let snapshot = snapshot.map(|hash| {
            known.iter().position(|other| *other == hash).unwrap_or_else(|| {
                known.push(hash);
                known.len() - 1
            })
        });
        part.rows.push(read(row, snapshot)?);
    }
    part.snapshots = known.iter().map(hex::encode).collect();
    Ok(part)
}

fn read(row: &rusqlite::Row<'_>, snapshot: Option<usize>) -> rusqlite::Result<Recorded> {
    let allowed = row.get_ref(11)?.as_str()? == "allowed";
    let (denied_at, batch) = steps(row.get_ref(12)?.as_str()?, allowed);
    Ok(Recorded {
        id: RequestId::from_bytes(row.get(0)?),
        at: moment(row.get(1)?),
        credential: row.get::<_, Option<_>>(2)?.map(CredentialId::from_bytes),
        client: row.get(3)?,
        method: row.get(4)?,
        path: row.get(5)?,
        query: row.get(6)?,
        endpoint: row.get(7)?,
        policy: row.get(8)?,
        rule: row.get(9)?,
        snapshot,
        denied_at,
        batch,
        by_override: row.get_ref(14)?.as_str_or_null()?.is_some_and(|schedule| schedule.ends_with("_by_override")),
        repeats: row.get(13)?,
    })
}

/// The step that denied, and what was in a batch. Most rows are told by neither and are not taken apart.
fn steps(verdicts: &str, allowed: bool) -> (Option<String>, Option<String>) {
    if allowed && !verdicts.contains("a batch of ") {
        return (None, None);
    }
    let mut verdicts: Vec<(String, String, String)> = serde_json::from_str(verdicts).unwrap_or_default();
    let last = verdicts.last().filter(|_| !allowed).map(|(step, ..)| step.clone());
    // A denial without any step is one of a row that nobody can read: it is not decided again either.
    let denied_at = if allowed { None } else { Some(last.unwrap_or_else(|| Step::Request.as_str().to_owned())) };
    let batch = verdicts.iter_mut().find(|(step, _, note)| step == Step::Endpoint.as_str() && is_batch(note));
    (denied_at, batch.map(|(.., note)| std::mem::take(note)))
}

/// Whether the note of the endpoint's step is that of a batch.
fn is_batch(note: &str) -> bool {
    note.starts_with("a batch of ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_of_a_denied_row_denied_it() {
        let denied = r#"[["request","allowed","one meaning"],["policy","denied","no \"rule\""]]"#;
        assert_eq!(steps(denied, false), (Some("policy".to_owned()), None));
        assert_eq!(steps(denied, true), (None, None));
        assert_eq!(steps("[]", false), (Some("request".to_owned()), None));
    }

    #[test]
    fn a_batch_is_known_by_the_endpoint_step_alone() {
        let batch = r#"[["endpoint","allowed","a batch of 2: `a` (1), `b` (1)"]]"#;
        assert_eq!(steps(batch, true), (None, Some("a batch of 2: `a` (1), `b` (1)".to_owned())));
        assert_eq!(steps(r#"[["policy","allowed","a batch of 2"]]"#, true), (None, None));
    }
}
