//! What a credential set may call, told to whoever holds it: no policy, rule or ERP is named.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::part::size;
use super::reach::{Holder, MOST, USUAL, access, page};
use super::{Control, Result, render};
use crate::directory::{CredentialKind, Snapshot};
use crate::domain::{CredentialId, ScheduleName};
use crate::policy::{Access, Endpoint, Hours, PolicySet};
use crate::schedule::State;

/// When something is open, whatever its schedules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Openness {
    pub(super) open: bool,
    /// Whether it is open at any hour.
    pub(super) always: bool,
    /// When that changes, as far as it is known.
    pub(super) changes_at: Option<Timestamp>,
    pub(super) schedules: Vec<ScheduleName>,
}

/// What decides about hours at this moment.
#[derive(Clone, Copy)]
pub(super) struct Now<'s> {
    pub(super) policies: &'s PolicySet,
    pub(super) snapshot: &'s Snapshot,
    pub(super) at: Timestamp,
}

impl Now<'_> {
    /// When something is open that one of these hours opens.
    pub(super) fn openness(&self, hours: &BTreeSet<&Hours>) -> Openness {
        let names: Vec<&ScheduleName> = hours
            .iter()
            .filter_map(|hours| match hours {
                Hours::Exempt => None,
                Hours::Named(name) => Some(name),
            })
            .collect();
        let always = hours.len() > names.len();
        let states: Vec<State> = names
            .iter()
            .filter_map(|name| {
                let schedule = self.policies.schedule(name)?;
                Some(self.snapshot.overrides().state(name, schedule, self.at))
            })
            .collect();
        let open = always || states.iter().any(|state| matches!(state, State::Open { .. }));
        let changes = states.iter().filter_map(|state| match state {
            State::Open { until } if open => Some(*until),
            State::Closed { opens_at } if !open => Some(*opens_at),
            State::Open { .. } | State::Closed { .. } => None,
        });
        // It closes with the last that is open, and opens with the first that does.
        let changes_at = if always {
            None
        } else if open {
            changes.collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max())
        } else {
            changes.flatten().min()
        };
        Openness { open, always, changes_at, schedules: names.into_iter().cloned().collect() }
    }

    /// The hours of these schedules, for those who live by them.
    pub(super) fn schedules<'n>(&self, names: impl Iterator<Item = &'n ScheduleName>) -> Value {
        let rows = names.filter_map(|name| {
            let schedule = self.policies.schedule(name)?;
            let state = self.snapshot.overrides().state(name, schedule, self.at);
            let windows: Vec<String> = schedule.windows().iter().map(render::window).collect();
            Some(json!({
                "name": name, "state": state.as_str(), "changes_at": state.changes_at(),
                "changes_at_there": render::there(schedule, state.changes_at()), "time_zone": schedule.zone_name(),
                "windows": windows,
            }))
        });
        rows.collect()
    }
}

/// An endpoint with what a set may do there.
pub(super) struct Callable<'s> {
    pub(super) endpoint: &'s Endpoint,
    pub(super) openness: Openness,
    /// Whether what a request holds decides too, or where it comes from.
    pub(super) conditions: bool,
    /// When the last way ends for good.
    pub(super) ends_at: Option<Timestamp>,
    /// Whether an operator has stopped it.
    pub(super) stopped: bool,
}

impl Callable<'_> {
    fn told(&self) -> Value {
        let Openness { open, always, changes_at, schedules } = &self.openness;
        json!({
            "id": self.endpoint.id(), "methods": self.endpoint.methods(), "path": self.endpoint.path(),
            "body": self.endpoint.wants_of_body(), "open": *open && !self.stopped, "always": always,
            "changes_at": changes_at, "schedules": schedules, "conditions": self.conditions, "ends_at": self.ends_at,
            "stopped": self.stopped,
        })
    }
}

/// The endpoints that a set may call, by id.
pub(super) fn callable<'s>(holder: &Holder<'_>, now: &Now<'s>) -> Vec<Callable<'s>> {
    let kill_switches = now.snapshot.kill_switches();
    let mut all: Vec<Callable<'s>> = now
        .policies
        .endpoints()
        .iter()
        .filter_map(|endpoint| {
            let reach = now.policies.reach(endpoint, now.at);
            let access = access(&reach, holder);
            let Access::Allowed { ways, unless, .. } = &access else { return None };
            let hit = |policy| {
                let account = holder.account?;
                kill_switches.hit(account, policy, endpoint.upstream(), now.at)
            };
            let by = reach.opened_by(&holder.held);
            let unrestricted = holder.set.kind == CredentialKind::Unrestricted;
            let stopped =
                hit(None).is_some() || (!unrestricted && by.iter().all(|policy| hit(Some(*policy)).is_some()));
            let conditional = ways.iter().all(|way| way.terms.when.is_some() || !way.terms.clients.is_empty());
            let ends: Option<Vec<_>> = ways.iter().map(|way| way.terms.until).collect();
            Some(Callable {
                endpoint,
                openness: now.openness(&access.hours()),
                conditions: conditional || !unless.is_empty(),
                ends_at: ends.and_then(|ends| ends.into_iter().max()),
                stopped,
            })
        })
        .collect();
    all.sort_unstable_by(|one, other| one.endpoint.id().cmp(other.endpoint.id()));
    all
}

/// Whether an endpoint says this to clients. SECURITY: the ERP is not looked into: who searches would learn its name.
pub(super) fn says(endpoint: &Endpoint, text: Option<&str>) -> bool {
    let Some(text) = text else { return true };
    let text = text.to_lowercase();
    let holds = |part: &str| part.to_lowercase().contains(&text);
    holds(endpoint.id().as_str())
        || holds(endpoint.path())
        || endpoint.methods().iter().any(|method| method.eq_ignore_ascii_case(&text))
}

impl Control {
    /// The endpoints that a set may call now or at another hour.
    pub(super) fn credential_access(
        &self,
        id: CredentialId,
        text: Option<&str>,
        after: Option<&str>,
        last: Option<usize>,
    ) -> Result<Value> {
        size("last", last, USUAL, MOST)?;
        let set = self.credential(id)?;
        let (policies, snapshot) = (self.policies.current(), self.directory.snapshot());
        let now = Now { policies: &policies, snapshot: &snapshot, at: self.clock.now() };
        let holder = Holder::of(&set, &snapshot, now.at);
        let mut found = callable(&holder, &now);
        let schedules: BTreeSet<ScheduleName> =
            found.iter().flat_map(|callable| callable.openness.schedules.iter().cloned()).collect();
        found.retain(|callable| says(callable.endpoint, text));
        let total = found.len();
        let rows = found.into_iter().map(|callable| (callable.endpoint.id().to_string(), callable)).collect();
        let (found, next) = page(rows, after, last)?;
        Ok(json!({
            "credential": set.id, "name": set.name, "account": holder.account, "stopped": holder.stopped,
            "limits": self.offered.rate_limits.of_credential(set.limits), "schedules": now.schedules(schedules.iter()),
            "items": found.iter().map(Callable::told).collect::<Vec<_>>(), "next": next, "total": total,
        }))
    }
}
