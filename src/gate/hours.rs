//! Step 5: the API is open for one of the allowing policies, and no scoped kill switch stops what is left.

use std::sync::Arc;

use jiff::Timestamp;

use crate::audit::Step;
use crate::domain::{Code, ScheduleName};
use crate::policy::{Allowed, AllowedBy, Policy, ScheduleUse};
use crate::schedule::{Hours, Overrides, Schedule};

use super::permit::Permitted;
use super::{Denial, Gate, Trail};

/// Proof: the API is open for the policy that decides, and in a batch for that of each operation.
#[must_use]
pub(super) struct InHours<'a> {
    pub(super) permitted: Permitted<'a>,
    /// The deciding policy of each operation; none for an unrestricted credential set.
    pub(super) policies: Vec<Option<Arc<Policy>>>,
}

impl Gate {
    pub(super) fn in_hours<'a>(&self, permitted: Permitted<'a>, trail: &mut Trail) -> Result<InHours<'a>, Denial> {
        let mut policies: Vec<Option<Arc<Policy>>> = Vec::with_capacity(1);
        let mut openings: Vec<String> = Vec::with_capacity(1);
        for allowed in permitted.each() {
            let (allowing, opening) = self.open_for(&permitted, allowed, trail)?;
            if policies.is_empty() {
                trail.decided_by(allowing.policy().map(|policy| policy.name()), allowing.rule());
            }
            policies.push(allowing.policy().cloned());
            if !openings.contains(&opening) {
                openings.push(opening);
            }
        }
        trail.passed(Step::Schedule, openings.join(", "));
        trail.passed(Step::ScopedKillSwitch, "not engaged");
        Ok(InHours { permitted, policies })
    }

    /// The first allowing policy that is open and not stopped, and why it is open.
    fn open_for<'p>(
        &self,
        permitted: &Permitted<'_>,
        allowed: &'p Allowed,
        trail: &mut Trail,
    ) -> Result<(&'p AllowedBy, String), Denial> {
        let now = permitted.known.running.request.asked.now;
        let account = &permitted.known.account.name;
        let snapshot = self.directory.snapshot();
        let overrides = snapshot.overrides();
        let mut closed = None;
        let mut killed = None;
        for allowing in allowed.by() {
            let (state, opening) = match allowing.schedule() {
                ScheduleUse::Exempt => ("exempt", "exempt".to_owned()),
                ScheduleUse::Named(schedule, name) => match overrides.hours(name, schedule, now) {
                    Hours::Open => ("open", format!("`{name}` is open")),
                    Hours::HeldOpen(held) => ("open_by_override", format!("`{name}` is {held}")),
                    Hours::Closed | Hours::HeldClosed(_) => {
                        closed.get_or_insert_with(|| (allowing, outside(name, schedule, overrides, now)));
                        continue;
                    }
                },
            };
            let name = allowing.policy().map(|policy| policy.name());
            if let Some(engaged) = snapshot.kill_switches().hit(account, name, allowed.upstream(), now) {
                killed.get_or_insert((allowing, state, engaged));
                continue;
            }
            trail.schedule(state);
            return Ok((allowing, opening));
        }
        // Which policy is meant, and what stands in its way: a kill switch before an hour that comes by itself.
        let (allowing, denial) = match (killed, closed) {
            (Some((allowing, state, engaged)), _) => {
                trail.schedule(state);
                trail.stopped_by(engaged);
                (allowing, Denial::stopped(Step::ScopedKillSwitch, engaged, now))
            }
            (None, Some((allowing, (denial, state)))) => {
                trail.schedule(state);
                (allowing, denial)
            }
            (None, None) => return Err(Denial::new(Step::Schedule, Code::NotPermitted, "no policy decides")),
        };
        trail.decided_by(allowing.policy().map(|policy| policy.name()), allowing.rule());
        Err(denial)
    }
}

/// The denial outside of a schedule's hours, and how its audit row calls that.
fn outside(name: &ScheduleName, schedule: &Schedule, overrides: &Overrides, now: Timestamp) -> (Denial, &'static str) {
    let opens_at = overrides.state(name, schedule, now).changes_at();
    let next = opens_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
    let (state, closed) = match overrides.deciding(name, now) {
        Some(held) => ("closed_by_override", held.to_string()),
        None => ("closed", "closed".to_owned()),
    };
    let reason = format!("schedule `{name}` is {closed}; it opens next: {next}");
    let mut denial = Denial::new(Step::Schedule, Code::OutsideSchedule, reason);
    denial.public.opens_at = opens_at;
    denial.public.retry_after = opens_at.and_then(|at| at.duration_since(now).try_into().ok());
    (denial, state)
}
