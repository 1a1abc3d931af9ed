//! Step 5: the API is open for one of the allowing policies, and no scoped kill switch stops what is left.

use std::sync::Arc;

use jiff::Timestamp;

use crate::audit::Step;
use crate::domain::{Code, PolicyName, RuleId};
use crate::policy::{Allowed, Policy, ScheduleUse};
use crate::schedule::State;

use super::permit::Permitted;
use super::{Denial, Gate, Trail};

/// Proof: the API is open for the policy that decides.
#[must_use]
pub(super) struct InHours<'a> {
    pub(super) permitted: Permitted<'a>,
    pub(super) policy: Option<Arc<Policy>>,
    /// The deciding policy of each further part of a batch.
    pub(super) further: Vec<Option<Arc<Policy>>>,
}

impl Gate {
    pub(super) fn in_hours<'a>(&self, permitted: Permitted<'a>, trail: &mut Trail) -> Result<InHours<'a>, Denial> {
        let mut further = Vec::new();
        for part in &permitted.further {
            further.push(self.open_for(part, &permitted, trail)?);
        }
        // The first part last: the row names its policy.
        let policy = self.open_for(&permitted.allowed, &permitted, trail)?;
        Ok(InHours { permitted, policy, further })
    }

    /// The first of the allowing policies for which the API is open; `None` for an unrestricted credential set.
    fn open_for(
        &self,
        allowed: &Allowed,
        permitted: &Permitted<'_>,
        trail: &mut Trail,
    ) -> Result<Option<Arc<Policy>>, Denial> {
        let now = permitted.known.running.request.asked.now;
        let account = &permitted.known.account.name;
        let snapshot = self.directory.snapshot();
        let mut closed = None;
        let mut killed = None;
        for allowing in allowed.by() {
            let opening = match allowing.schedule() {
                ScheduleUse::Exempt => "exempt".to_owned(),
                ScheduleUse::Named(schedule, name) => match schedule.state(now) {
                    State::Open { .. } => format!("`{name}` is open"),
                    State::Closed { opens_at } => {
                        closed.get_or_insert_with(|| outside(name.as_str(), opens_at, now));
                        continue;
                    }
                },
            };
            let policy = allowing.policy();
            let name: Option<&PolicyName> = policy.map(|policy| policy.name());
            if let Some(engaged) = snapshot.kill_switches().hit(account, name, allowed.upstream()) {
                killed.get_or_insert_with(|| Denial::stopped(Step::ScopedKillSwitch, engaged));
                continue;
            }
            let rule: Option<&RuleId> = allowing.rule();
            trail.decided_by(name, rule);
            trail.passed(Step::Schedule, opening);
            trail.passed(Step::ScopedKillSwitch, "not engaged");
            return Ok(policy.cloned());
        }
        Err(killed.or(closed).unwrap_or_else(|| Denial::new(Step::Schedule, Code::NotPermitted, "no policy decides")))
    }
}

fn outside(schedule: &str, opens_at: Option<Timestamp>, now: Timestamp) -> Denial {
    let next = opens_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
    let reason = format!("schedule `{schedule}` is closed; it opens next: {next}");
    let mut denial = Denial::new(Step::Schedule, Code::OutsideSchedule, reason);
    denial.public.opens_at = opens_at;
    denial.public.retry_after = opens_at.and_then(|at| at.duration_since(now).try_into().ok());
    denial
}
