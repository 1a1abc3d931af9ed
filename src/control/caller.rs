//! Who asks for an operation, and whether that one may have it.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::operation::Operation;
use super::{Command, Control, ControlError, Result};
use crate::audit::{Decision, Entry, Step, Verdict};
use crate::directory::By;
use crate::domain::{Actor, Authority, Code};

/// Who asks: known to the face that took the request, as the audit trail will name it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// What that one may do.
    pub authority: Authority,
    /// The revision that the account or credential set must still have.
    pub expected: Option<u64>,
}

impl Caller {
    /// Somebody with this authority.
    #[must_use]
    pub fn new(actor: Actor, authority: Authority) -> Self {
        Self { actor, authority, expected: None }
    }

    /// Somebody who may do everything.
    #[must_use]
    pub fn admin(actor: Actor) -> Self {
        Self::new(actor, Authority::Admin)
    }
}

/// Proof: the caller may carry this command out; it is held to the caller's account where it has one.
#[must_use]
pub(super) struct Permitted {
    pub(super) by: By,
    pub(super) command: Command,
    /// Whether the answer is for somebody outside the house.
    pub(super) for_client: bool,
}

impl Control {
    /// The role check of every operation; a refusal leaves a row.
    pub(super) fn permit(&self, caller: Caller, command: Command) -> Result<Permitted> {
        let name: &'static str = (&command).into();
        self.permit_role(&caller, name)?;
        let Caller { actor, authority, expected } = caller;
        let by = By { expected, ..self.by(actor) };
        let Some(account) = authority.account() else {
            return Ok(Permitted { by, command, for_client: false });
        };
        match self.held_to(account, command) {
            Ok(command) => Ok(Permitted { by, command, for_client: true }),
            Err(error) => {
                self.leave_refusal(&by.actor, authority, name);
                Err(error)
            }
        }
    }

    /// Whether the caller's role may have this operation at all, whatever it is to be done to.
    pub(super) fn permit_role(&self, caller: &Caller, operation: &'static str) -> Result<()> {
        let role = caller.authority.role();
        // Deny is the default: what the table does not hold, nobody may have.
        let audience = Operation::named(operation).map(|operation| operation.audience);
        if audience.is_some_and(|audience| audience.includes(role)) {
            return Ok(());
        }
        self.leave_refusal(&caller.actor, caller.authority, operation);
        Err(ControlError::forbidden(format!("the role `{role}` may not do `{operation}`")))
    }

    fn leave_refusal(&self, actor: &Actor, authority: Authority, operation: &'static str) {
        let role = authority.role();
        let row = self.system_row("control.refused", operation.to_owned(), &json!({ "role": role }));
        let row = row.map(|row| Entry { account: authority.account(), ..row });
        self.leave_denied(row, actor.clone(), format!("role `{role}`"));
    }

    /// Leaves the row of somebody who was turned away, with why.
    pub(super) fn leave_denied(&self, row: Option<Entry>, actor: Actor, why: impl Into<Cow<'static, str>>) {
        self.leave(row.map(|mut row| {
            row.verdicts.push(Verdict::denied(Step::Authentication, why));
            Entry { actor, decision: Decision::Denied, ..row }
        }));
    }
}

/// What somebody outside the house is shown of an audit row: what it asked for and how that ended, not on what grounds.
pub(super) fn for_client(answer: Value) -> Value {
    /// SECURITY: the decision path, rules, peers and reasons are for the house.
    const SHOWN: [&str; 16] = [
        "id",
        "kind",
        "at",
        "correlation",
        "account",
        "credential",
        "token",
        "client",
        "method",
        "path",
        "decision",
        "code",
        "cause",
        "status",
        "outcome",
        "seq",
    ];
    const OF_OUTCOME: [&str; 6] = ["ended", "at", "status", "duration", "request_bytes", "response_bytes"];
    let only = |mut value: Value, names: &[&str]| {
        if let Some(members) = value.as_object_mut() {
            members.retain(|name, _| names.contains(&name.as_str()));
        }
        value
    };
    let row = |row: Value| {
        let refused = row.get("cause").is_some_and(|cause| cause == "policy");
        let mut row = only(row, &SHOWN);
        if let Some(outcome) = row.get_mut("outcome") {
            *outcome = only(outcome.take(), &OF_OUTCOME);
        }
        // What a policy refuses looks alike from outside, but for limits.
        if let Some(code) = row.get_mut("code").filter(|code| refused && !code.is_null() && *code != "rate_limited") {
            *code = Code::NotPermitted.as_str().into();
        }
        row
    };
    let mut answer = answer;
    match answer.as_array_mut() {
        Some(rows) => rows.iter_mut().map(|one| row(one.take())).collect(),
        None => row(answer),
    }
}
