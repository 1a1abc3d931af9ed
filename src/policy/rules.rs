//! A policy: named rules over endpoints, and limits.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::clients::Clients;
use super::condition::Condition;
use super::decision::ScheduleUse;
use super::obligations::Demands;
use crate::domain::{EndpointId, Limits, PolicyName, RuleId};

/// A named file of rules.
#[derive(Debug)]
pub struct Policy {
    pub(super) name: PolicyName,
    pub(super) file: PathBuf,
    pub(super) description: Option<String>,
    pub(super) schedule: ScheduleUse,
    pub(super) rules: Vec<Rule>,
    pub(super) limits: Option<Limits>,
}

impl Policy {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &PolicyName {
        &self.name
    }

    /// What it is for.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// When it applies.
    #[must_use]
    pub fn schedule(&self) -> &ScheduleUse {
        &self.schedule
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> Option<&Limits> {
        self.limits.as_ref()
    }
}

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: RuleId,
    pub(super) line: usize,
    pub(super) effect: Effect,
    /// Globs are expanded.
    pub(super) endpoints: HashSet<EndpointId>,
    /// Whom it is for; `None` is everybody.
    pub(super) clients: Option<Clients>,
    /// When it ends.
    pub(super) until: Option<Timestamp>,
    pub(super) condition: Option<Condition>,
    pub(super) demands: Option<Arc<Demands>>,
}

impl Rule {
    /// Whether it has ended. An allow rule that has ended allows nothing, a deny rule denies nothing.
    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether it is for this client.
    pub(super) fn is_for(&self, client: Option<IpAddr>) -> bool {
        self.clients.as_ref().is_none_or(|clients| clients.meant(client, self.effect))
    }

    /// Whether it applies to every request at its endpoints. What narrows a rule belongs here.
    pub(super) fn is_unconditional(&self) -> bool {
        let Self { id: _, line: _, effect: _, endpoints: _, clients, until, condition, demands: _ } = self;
        condition.is_none() && clients.is_none() && until.is_none()
    }
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}
