//! The golden access matrix: every shipped policy at every endpoint at a few times, as `tests/golden/access.txt`.
//!
//! A change of a policy, of the catalogue or of deciding shows as a difference of that file. Where it is meant, run
//! `GOLDEN=write cargo test --test it access_matrix` and look at what `git diff` shows.

use std::path::PathBuf;

use erp_access::domain::{PolicyName, Target};
use erp_access::policy::{Allowed, Endpoint, Facts, Grants, PolicySet, PolicyStore, ScheduleUse};
use jiff::Timestamp;

use crate::support::golden;

/// Times that tell schedules apart: in hours, at night, at a weekend, on a holiday.
const TIMES: [(&str, &str); 4] = [
    ("mon noon", "2026-11-23T12:00:00+05:00"),
    ("mon night", "2026-11-23T23:00:00+05:00"),
    ("sat noon", "2026-11-28T12:00:00+05:00"),
    ("holiday", "2026-12-25T12:00:00+05:00"),
];
/// Queries that tell the conditions of the shipped policies apart.
const QUERIES: [&str; 2] = ["", "?archived=true"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Who asks: the policies held, and whether they bound.
enum Holder {
    Nothing,
    Policy(PolicyName),
    Unrestricted,
}

impl Holder {
    fn name(&self) -> &str {
        match self {
            Self::Nothing => "(no grant)",
            Self::Policy(name) => name.as_str(),
            Self::Unrestricted => "(unrestricted)",
        }
    }

    fn decide(&self, set: &PolicySet, method: &str, target: &Target, now: Timestamp) -> String {
        let matched = set.route(method, target.path()).expect("mapped").resolve(None).expect("one endpoint");
        let facts = Facts::new(method, target.path(), target.query(), now);
        let mut none = std::iter::empty();
        let decided = match self {
            Self::Nothing => set.decide(&matched, Grants::Bounded(&mut none), &facts),
            Self::Policy(name) => set.decide(&matched, Grants::Bounded(&mut std::iter::once(name)), &facts),
            Self::Unrestricted => set.decide(&matched, Grants::Unrestricted(&mut none), &facts),
        };
        decided.map_or_else(|_| "-".to_owned(), |allowed| open(&allowed, now))
    }
}

/// The rule that allows in these hours; `closed` where only the schedule stands in the way.
fn open(allowed: &Allowed, now: Timestamp) -> String {
    let by = allowed.by().iter().find(|by| match by.schedule() {
        ScheduleUse::Exempt => true,
        ScheduleUse::Named(schedule, _) => schedule.is_open(now),
    });
    let rule = |by: &erp_access::policy::AllowedBy| by.rule().map_or("allowed".to_owned(), ToString::to_string);
    by.map_or("closed".to_owned(), rule)
}

/// A request path of an endpoint: each parameter is 1.
fn path(endpoint: &Endpoint) -> String {
    let filled = endpoint.path().split('/').map(|segment| if segment.starts_with('{') { "1" } else { segment });
    filled.collect::<Vec<_>>().join("/")
}

fn matrix(set: &PolicySet) -> String {
    let mut holders = vec![Holder::Nothing];
    holders.extend(set.policy_names().into_iter().cloned().map(Holder::Policy));
    holders.push(Holder::Unrestricted);
    let mut text = "# What each grant may do at each endpoint: the rule that allows it, `closed` where the schedule stops it, `-` denied.\n# tests/it/access_matrix.rs writes this file and says how to renew it.\n".to_owned();
    for holder in holders {
        let head = format!("\n{:<40}{}", holder.name(), TIMES.map(|(name, _)| format!("{name:<14}")).concat());
        text.push_str(head.trim_end());
        text.push('\n');
        for endpoint in set.endpoints() {
            for (method, query) in endpoint.methods().iter().flat_map(|method| QUERIES.map(|query| (method, query))) {
                let target = Target::parse(format!("{}{query}", path(endpoint)).as_bytes()).expect("a target");
                let cells = TIMES.map(|(_, at)| {
                    let decided = holder.decide(set, method, &target, at.parse().expect("a time"));
                    format!("{decided:<14}")
                });
                let line = format!("  {:<38}{}", format!("{method} {}{query}", endpoint.id()), cells.concat());
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
    }
    text
}

#[test]
fn the_access_that_the_shipped_policies_give_is_the_access_that_was_agreed() {
    let store = PolicyStore::open(&root().join("policies")).unwrap_or_else(|problems| panic!("{problems}"));
    let now = matrix(&store.current());
    golden::assert_kept("tests/golden/access.txt", &now);
}
