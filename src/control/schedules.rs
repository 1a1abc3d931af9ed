//! Schedules and their overrides.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Control, ControlError, Result, render};
use crate::directory::By;
use crate::domain::{Actor, ScheduleName};
use crate::policy::PolicySet;
use crate::policy::yaml::suggestion;
use crate::schedule::{Held, Override, OverrideEnd, Schedule, Week};

impl Control {
    pub(super) fn show_schedules(&self) -> Value {
        let (policies, snapshot, now) = (self.policies.current(), self.directory.snapshot(), self.clock.now());
        let overrides = snapshot.overrides();
        let rows = policies.schedules().into_iter().map(|(name, schedule)| {
            let state = overrides.state(name, schedule, now);
            let days = schedule.week(name, overrides, now).days;
            let week: Vec<Value> = days
                .into_iter()
                .map(|day| {
                    let weekday = render::weekday(day.date.weekday());
                    json!({ "day": weekday, "date": day.date, "hours": day.hours, "notes": day.notes })
                })
                .collect();
            let windows: Vec<String> = schedule.windows().iter().map(render::window).collect();
            let holidays: Vec<String> = schedule.holidays().iter().map(render::holiday).collect();
            let exceptions: Vec<String> = schedule.exceptions().iter().map(render::exception).collect();
            let held: Vec<Value> =
                overrides.in_force(now).filter(|held| held.schedule == *name).map(render::held).collect();
            json!({
                "name": name, "time_zone": schedule.zone_name(), "now": schedule.wall(now).strftime("%a %Y-%m-%d %H:%M").to_string(),
                "state": state.as_str(), "changes_at": state.changes_at(), "changes_at_there": render::there(schedule, state.changes_at()),
                "overrides": held, "windows": windows, "holidays": holidays, "exceptions": exceptions,
                "week": week, "legend": Week::LEGEND,
            })
        });
        rows.collect()
    }

    pub(super) fn next_changes(&self) -> Value {
        let (policies, snapshot, now) = (self.policies.current(), self.directory.snapshot(), self.clock.now());
        let overrides = snapshot.overrides();
        let rows = policies.schedules().into_iter().map(|(name, schedule)| {
            let state = overrides.state(name, schedule, now);
            json!({
                "name": name, "state": state.as_str(), "changes_at": state.changes_at(),
                "changes_at_there": render::there(schedule, state.changes_at()), "time_zone": schedule.zone_name(),
                "override": overrides.deciding(name, now).map(ToString::to_string),
            })
        });
        rows.collect()
    }

    pub(super) fn list_overrides(&self) -> Value {
        self.directory.snapshot().overrides().in_force(self.clock.now()).map(render::held).collect()
    }

    pub(super) fn hold_schedule(
        &self,
        by: &By,
        schedule: ScheduleName,
        held: Held,
        until: Timestamp,
        reason: String,
    ) -> Result<Value> {
        if reason.trim().is_empty() {
            return Err(ControlError::invalid("an override needs a reason"));
        }
        let policies = self.policies.current();
        if policies.schedule(&schedule).is_none() {
            return Err(no_schedule(&policies, &schedule));
        }
        let until = OverrideEnd::new(until, by.at).map_err(|error| ControlError::invalid(error.to_string()))?.at();
        let held = Override { schedule, held, until, reason, by: by.actor.to_string(), at: by.at };
        self.directory.hold(by, held.clone())?;
        Ok(render::held(&held))
    }

    pub(super) fn lift_override(
        &self,
        by: &By,
        schedule: &ScheduleName,
        kind: Option<Held>,
        reason: &str,
    ) -> Result<Value> {
        if reason.trim().is_empty() {
            return Err(ControlError::invalid("lifting an override needs a reason"));
        }
        let lifted = self.directory.lift(by, schedule, kind, reason)?;
        let state = self.policies.current().schedule(schedule).map(|known| self.state_of(schedule, known));
        Ok(json!({
            "schedule": schedule, "lifted": lifted.iter().map(|held| held.held).collect::<Vec<_>>(), "state": state,
        }))
    }

    /// Removes overrides that have ended by themselves.
    pub fn remove_ended_overrides(&self) {
        match self.directory.remove_ended_overrides(&self.by(Actor::System)) {
            Ok(0) => {}
            Ok(count) => log::info!("{count} overrides of schedules have ended"),
            Err(error) => log::error!("overrides that have ended could not be removed: {error}"),
        }
    }

    pub(super) fn state_of(&self, name: &ScheduleName, schedule: &Schedule) -> &'static str {
        self.directory.snapshot().overrides().state(name, schedule, self.clock.now()).as_str()
    }
}

fn no_schedule(policies: &PolicySet, wanted: &ScheduleName) -> ControlError {
    let schedules = policies.schedules();
    let known: Vec<&str> = schedules.iter().map(|(name, _)| name.as_str()).collect();
    let hint = suggestion(wanted.as_str(), &known);
    ControlError::not_found(format!("there is no schedule `{wanted}`{hint}; `erp-access schedule show` shows them"))
}
