//! A policy: named rules over endpoints, and limits.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use super::condition::Condition;
use super::decision::ScheduleUse;
use crate::domain::{EndpointId, PolicyName, RuleId};

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
    pub(super) endpoints: HashSet<EndpointId>,
    pub(super) condition: Option<Condition>,
}

impl Rule {
    /// Whether it applies to every request at its endpoints. What narrows a rule belongs here.
    pub(super) fn is_unconditional(&self) -> bool {
        let Self { id: _, line: _, effect: _, endpoints: _, condition } = self;
        condition.is_none()
    }
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// Limits on the requests that a policy lets one credential set make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub(super) rate: Option<(u32, Duration)>,
    pub(super) concurrent: Option<u32>,
}

impl Limits {
    /// Requests per period.
    #[must_use]
    pub fn rate(&self) -> Option<(u32, Duration)> {
        self.rate
    }

    /// Requests at once.
    #[must_use]
    pub fn concurrent(&self) -> Option<u32> {
        self.concurrent
    }
}
