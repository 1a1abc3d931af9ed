//! Changes of the overrides of schedules.

use serde_json::Value;

use super::change::{By, ChangeError, Result};
use super::entry::entry;
use super::{Directory, detail};
use crate::domain::ScheduleName;
use crate::schedule::{Held, Override};
use crate::store::Seq;

impl Directory {
    /// Holds a schedule open or closed, in place of an override of the same kind.
    ///
    /// # Errors
    /// When the store fails.
    pub fn hold(&self, by: &By, held: Override) -> Result<Seq> {
        self.with_lock(|snapshot| {
            let before = snapshot.overrides().of(&held.schedule, held.held).map_or(Value::Null, detail::held);
            let operation = match held.held {
                Held::Open => "schedule.override.open",
                Held::Closed => "schedule.override.close",
            };
            let entry = entry(by, operation, held.schedule.to_string());
            let entry = entry.changed_because(&held.reason, before, detail::held(&held));
            let seq = self.commit(&entry, |tx| tx.put_override(&held))?;
            let overrides = snapshot.overrides().with(held);
            self.swap(|snapshot| snapshot.put_overrides(overrides.clone()));
            Ok(seq)
        })
    }

    /// Lifts what holds a schedule, or the one of this kind only, and gives what was lifted.
    ///
    /// # Errors
    /// When nothing of the kind is in force, or the store fails.
    pub fn lift(&self, by: &By, schedule: &ScheduleName, kind: Option<Held>, reason: &str) -> Result<Vec<Override>> {
        self.with_lock(|snapshot| {
            let in_force = snapshot.overrides().in_force(by.at);
            let meant = in_force.filter(|held| held.schedule == *schedule && kind.is_none_or(|kind| kind == held.held));
            let lifted: Vec<Override> = meant.cloned().collect();
            if lifted.is_empty() {
                let kind = kind.map_or_else(String::new, |kind| format!(" {kind}"));
                return Err(ChangeError::NotFound(format!("no override holds the schedule `{schedule}`{kind}")));
            }
            let before = lifted.iter().map(detail::held).collect();
            let entry = entry(by, "schedule.override.lift", schedule.to_string());
            let entry = entry.changed_because(reason, before, Value::Null);
            self.commit(&entry, |tx| lifted.iter().try_for_each(|held| tx.delete_override(&held.schedule, held.held)))?;
            self.forget_overrides(&lifted);
            Ok(lifted)
        })
    }

    /// Removes overrides whose time is over; each leaves its entry in the stream of changes. They have decided nothing
    /// since then.
    ///
    /// # Errors
    /// When the store fails.
    pub fn remove_ended_overrides(&self, by: &By) -> Result<usize> {
        self.with_lock(|snapshot| {
            let ended: Vec<Override> = snapshot.overrides().over(by.at).cloned().collect();
            for held in &ended {
                let entry = entry(by, "schedule.override.end", held.schedule.to_string());
                let entry = entry.changed(detail::held(held), Value::Null);
                self.commit(&entry, |tx| tx.delete_override(&held.schedule, held.held))?;
                self.forget_overrides(std::slice::from_ref(held));
            }
            Ok(ended.len())
        })
    }

    fn forget_overrides(&self, gone: &[Override]) {
        self.swap(|snapshot| {
            let left =
                gone.iter().fold(snapshot.overrides().clone(), |left, held| left.without(&held.schedule, held.held));
            snapshot.put_overrides(left);
        });
    }
}
