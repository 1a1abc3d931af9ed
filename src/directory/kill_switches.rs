//! Changes of the kill switches.

use serde_json::Value;

use super::change::{By, ChangeError, Result};
use super::entry::entry;
use super::{Directory, detail};
use crate::kill_switch::{Engaged, Scope};
use crate::store::Seq;

impl Directory {
    /// Engages a kill switch, in place of one of the same scope.
    ///
    /// # Errors
    /// When the store fails.
    pub fn engage(&self, by: &By, engaged: Engaged) -> Result<Seq> {
        self.with_lock(|snapshot| {
            let before = snapshot.kill_switches().of(&engaged.scope).map_or(Value::Null, detail::switch);
            let entry = entry(by, "kill.engage", engaged.scope.to_string());
            let entry = entry.changed_because(&engaged.reason, before, detail::switch(&engaged));
            let seq = self.commit(&entry, |tx| tx.put_kill_switch(&engaged))?;
            let switches = snapshot.kill_switches().with(engaged);
            self.swap(|snapshot| snapshot.put_kill_switches(switches.clone()));
            Ok(seq)
        })
    }

    /// Releases a kill switch.
    ///
    /// # Errors
    /// When none of this scope is engaged, or the store fails.
    pub fn release(&self, by: &By, scope: &Scope, reason: &str) -> Result<Seq> {
        self.with_lock(|snapshot| {
            let Some(engaged) = snapshot.kill_switches().of(scope) else {
                return Err(ChangeError::NotFound(format!("no kill switch is engaged for `{scope}`")));
            };
            let entry = entry(by, "kill.release", scope.to_string());
            let entry = entry.changed_because(reason, detail::switch(engaged), Value::Null);
            let seq = self.commit(&entry, |tx| tx.delete_kill_switch(scope))?;
            let switches = snapshot.kill_switches().without(scope);
            self.swap(|snapshot| snapshot.put_kill_switches(switches.clone()));
            Ok(seq)
        })
    }

    /// Removes kill switches whose time is over; each leaves its entry in the stream of changes. They have stopped
    /// nothing since then.
    ///
    /// # Errors
    /// When the store fails.
    pub fn remove_ended_kill_switches(&self, by: &By) -> Result<usize> {
        self.with_lock(|snapshot| {
            let ended: Vec<Engaged> = snapshot.kill_switches().over(by.at).cloned().collect();
            for engaged in &ended {
                let entry = entry(by, "kill.end", engaged.scope.to_string());
                let entry = entry.changed(detail::switch(engaged), Value::Null);
                self.commit(&entry, |tx| tx.delete_kill_switch(&engaged.scope))?;
                self.swap(|snapshot| {
                    let left = snapshot.kill_switches().without(&engaged.scope);
                    snapshot.put_kill_switches(left);
                });
            }
            Ok(ended.len())
        })
    }
}
