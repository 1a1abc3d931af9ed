//! What exists (endpoint catalogue) and what is allowed (rules); all else is denied.

mod access;
mod apply;
mod body;
mod candidates;
mod cases;
mod clients;
mod condition;
mod coverage;
mod decision;
mod difference;
mod endpoint;
mod facts;
mod files;
mod folder;
mod forced_query;
mod import;
mod index;
mod link;
mod lint;
mod location;
mod obligations;
mod odata;
mod operations;
mod pattern;
mod policy_file;
mod raw_endpoints;
mod raw_obligations;
mod raw_policy;
mod raw_schedule;
mod reach;
mod replace;
mod rules;
mod schema;
mod set;
mod store;
mod surroundings;
mod telling;
mod template;
mod terms;
mod texts;
mod watch;
pub mod yaml;

pub use access::{Access, Hours, Way};
pub use apply::{Edit, NotApplied, Planned};
pub use cases::{CaseResult, Difference};
pub use coverage::{Coverage, Untested};
pub use decision::{Allowed, AllowedBy, Refused, ScheduleUse};
pub use difference::{Change, Comparison, Place, ScheduleChange};
pub use endpoint::{Endpoint, Matched, NotResolved, Route};
pub use facts::{Facts, Grants, Requester};
pub use import::{Imported, KnownEndpoints, LARGEST_DOCUMENT, LeftOut, import_openapi};
pub use lint::{Circumstances, HeldPolicy, lint, lint_set};
pub use location::{file_of, lines_of_rule};
pub use obligations::{Obligations, Unfulfillable};
pub use odata::{Body, BodyForm, Boundary, boundary_of};
pub use operations::{Operation, Operations, PartRefused};
pub use policy_file::{NotAPolicyFile, PolicyFile};
pub use raw_obligations::may_force;
pub use reach::{Given, Giving, Reach};
pub use replace::NotWritable;
pub use rules::Policy;
pub use schema::{SchemaFile, schemas};
pub use set::{LoadedFile, PolicySet, SnapshotHash};
pub use store::{PolicyStore, ReloadReport};
pub use telling::{Said, Told, ToldRule};
pub use terms::Terms;
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
pub(crate) mod double;
#[cfg(test)]
mod obligations_tests;
#[cfg(test)]
mod rule_tests;
#[cfg(test)]
mod tests;
