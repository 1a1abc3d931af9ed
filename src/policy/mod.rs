//! What exists (endpoint catalogue) and what is allowed (rules); all else is denied.

mod access;
mod body;
mod candidates;
mod cases;
mod condition;
mod decision;
mod difference;
mod endpoint;
mod files;
mod location;
mod odata;
mod operations;
mod raw_endpoints;
mod raw_policy;
mod raw_schedule;
mod rules;
mod set;
mod store;
mod telling;
mod template;
mod watch;
pub mod yaml;

pub use access::{Access, Hours, Way};
pub use cases::CaseResult;
pub use decision::{Allowed, AllowedBy, Facts, Grants, Refused, ScheduleUse};
pub use difference::{Change, Comparison, Place, ScheduleChange};
pub use endpoint::{Endpoint, Matched, NotResolved, Route};
pub use location::{file_of, lines_of_rule};
pub use odata::{Body, BodyForm, Boundary, boundary_of};
pub use operations::{Operation, Operations, PartRefused};
pub use rules::{Limits, Policy};
pub use set::{LoadedFile, PolicySet, SnapshotHash};
pub use store::{PolicyStore, ReloadReport};
pub use telling::{Said, Told, ToldRule};
pub use watch::{WatchError, Watcher};

use crate::domain::ScheduleName;

/// The schedule that is used where a policy names none: `default`.
#[must_use]
pub fn default_schedule_name() -> Option<ScheduleName> {
    "default".parse().ok()
}

#[cfg(test)]
mod difference_tests;
#[cfg(test)]
mod tests;
