//! The audit trail: answers about it, and the rows of administrative changes.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{AuditQuery, Control, ControlError, Result};
use crate::audit::{Decision, Entry, Filter, Kind};
use crate::directory::By;
use crate::domain::{AccountId, AccountName, Actor, Cause, RequestId};
use crate::store::{RecordedChange, Seq};

/// Rows of a search that does not say how many.
pub(super) const USUAL_ROWS: usize = 20;
/// Changes copied in one go.
const AT_ONCE: usize = 500;

impl Control {
    pub(super) fn search_audit(&self, query: &AuditQuery) -> Result<Value> {
        let rows = self.auditor.search(&self.filter(query)?).map_err(ControlError::failed)?;
        serde_json::to_value(rows).map_err(ControlError::failed)
    }

    pub(super) fn forward_audit(&self, query: &AuditQuery, after: Option<i64>) -> Result<Value> {
        let passed = self.auditor.forward(&self.filter(query)?, after, None, true).map_err(ControlError::failed)?;
        serde_json::to_value(passed).map_err(ControlError::failed)
    }

    /// A part of what was recorded of requests to the ERP.
    pub(super) fn recorded_requests(&self, filter: &Filter, after: Option<i64>, through: Option<i64>) -> Result<Value> {
        let part = self.auditor.recorded(filter, after, through).map_err(ControlError::failed)?;
        serde_json::to_value(part).map_err(ControlError::failed)
    }

    /// A part of an export. The row that says who took what is on disk before the first part leaves.
    pub(super) fn export_audit(
        &self,
        by: &By,
        query: &AuditQuery,
        format: &str,
        after: Option<i64>,
        through: Option<i64>,
    ) -> Result<Value> {
        let filter = self.filter(query)?;
        if after.is_none() {
            let now = self.clock.now();
            let asked = serde_json::to_value(query).map_err(ControlError::failed)?;
            let entry = Entry {
                actor: by.actor.clone(),
                method: Cow::Borrowed("audit.export"),
                path: format.chars().take(16).collect(),
                decision: Decision::Allowed,
                detail: Some(json!({ "query": without_nulls(asked) }).to_string()),
                ..Entry::new(RequestId::new(now, &*self.entropy).map_err(ControlError::failed)?, Kind::Change, now)
            };
            self.auditor.write_blocking(entry).map_err(ControlError::failed)?;
        }
        let after = Some(after.unwrap_or(0));
        let passed = self.auditor.forward(&filter, after, through, false).map_err(ControlError::failed)?;
        serde_json::to_value(passed).map_err(ControlError::failed)
    }

    /// The filter that a query asks for.
    pub(super) fn filter(&self, query: &AuditQuery) -> Result<Filter> {
        let account = match &query.account {
            Some(name) => Some(self.account_ever_named(name)?),
            None => None,
        };
        let cause = match &query.cause {
            Some(text) => Some(Cause::from_text(text).ok_or_else(|| {
                ControlError::invalid(format!(
                    "`{text}` is no cause; there are client, policy, operator_control, outage"
                ))
            })?),
            None => None,
        };
        Ok(Filter {
            last: if query.last == 0 { USUAL_ROWS } else { query.last },
            account,
            credential: query.credential,
            token: query.token,
            code: query.code.clone(),
            kind: query.kind.clone(),
            since: query.since,
            until: query.until,
            decision: query.decision.clone(),
            endpoint: query.endpoint.clone(),
            policy: query.policy.clone(),
            actor: query.actor.clone(),
            client: query.client.map(|address| address.to_string()),
            correlation: query.correlation.clone(),
            id: query.id,
            cause,
            text: query.text.clone(),
            upstream_status: query.upstream_status,
            min_duration: query.min_duration_ms.map(|millis| i64::from(millis) * 1000),
            before: query.before,
        })
    }
}

pub(super) fn no_row(id: RequestId) -> ControlError {
    ControlError::not_found(format!("there is no audit row `{id}`"))
}

impl Control {
    /// The account with this name, or the one that had it last: its rows stay when it is renamed or deleted.
    fn account_ever_named(&self, name: &AccountName) -> Result<AccountId> {
        self.account_id(name)
            .or_else(|none| self.store.account_once_named(name).map_err(ControlError::failed)?.ok_or(none))
    }
}

fn without_nulls(value: Value) -> Value {
    let mut value = value;
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, member| !member.is_null());
    }
    value
}

/// Gives each change of state its row, once: the changes are numbered, and the rows know their numbers.
pub(super) fn copy(control: &Control) -> std::result::Result<(), String> {
    let mut last = control.auditor.last_change().map_err(|error| error.to_string())?;
    loop {
        let changes = control.store.changes_after(Seq(last), AT_ONCE).map_err(|error| error.to_string())?;
        let Some(newest) = changes.last().map(|change| change.seq.0) else { return Ok(()) };
        for change in changes {
            let entry = row(control, change)?;
            control.auditor.write_blocking(entry).map_err(|error| error.to_string())?;
        }
        last = newest;
    }
}

fn row(control: &Control, change: RecordedChange) -> std::result::Result<Entry, String> {
    let id = RequestId::new(change.at, &*control.entropy).map_err(|error| error.to_string())?;
    Ok(Entry {
        actor: change.actor.parse().unwrap_or(Actor::Unknown),
        account: change.account,
        credential: change.credential,
        method: Cow::Owned(change.operation),
        path: change.subject,
        decision: Decision::Allowed,
        detail: change.detail,
        change: Some(change.seq.0),
        ..Entry::new(id, Kind::Change, change.at)
    })
}
