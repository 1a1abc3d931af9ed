//! What would change for whom, as decisions.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::in_force::{Holder, InForce};
use crate::directory::CredentialKind;
use crate::domain::Limits;
use crate::domain::PolicyName;
use crate::policy::{Access, Change, Comparison, Hours, Place, PolicySet};
use crate::schedule::Schedule;

/// What a proposed folder would change.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// Whether nothing would change.
    pub same: bool,
    /// The generation in force that it was compared with.
    generation: u64,
    /// Schedules whose hours change, for everything that follows them.
    schedules: Vec<ScheduleDiffers>,
    /// Places whose requests go elsewhere at the ERPs.
    moved: Vec<Moved>,
    /// Each policy that changes what its holders may do, also one that nobody holds.
    policies: Vec<PolicyDiffers>,
    /// The holders whose decisions change, by account.
    accounts: Vec<AccountDiffers>,
}

#[derive(Debug, Serialize)]
struct ScheduleDiffers {
    schedule: String,
    before: Option<String>,
    after: Option<String>,
}

#[derive(Debug, Serialize)]
struct Moved {
    #[serde(flatten)]
    at: At,
    before: String,
    after: String,
}

#[derive(Debug, Serialize)]
struct PolicyDiffers {
    policy: String,
    /// `added`, `removed` or `changed`.
    change: &'static str,
    /// How many credential sets hold it.
    holders: usize,
    limits: Option<(String, String)>,
    endpoints: Vec<Differs>,
}

#[derive(Debug, Serialize)]
struct AccountDiffers {
    account: String,
    holders: Vec<HoldersDiffer>,
}

/// Credential sets of one account that hold the same.
#[derive(Debug, Serialize)]
struct HoldersDiffer {
    credentials: Vec<(String, String)>,
    kind: &'static str,
    policies: Vec<String>,
    endpoints: Vec<Differs>,
}

#[derive(Debug, Clone, Serialize)]
struct At {
    method: &'static str,
    path: String,
    body: Option<String>,
}

/// What changes at one place.
#[derive(Debug, Clone, Serialize)]
struct Differs {
    #[serde(flatten)]
    at: At,
    /// `gained`, `lost`, `hours` or `conditions`.
    change: &'static str,
    before: String,
    after: String,
    /// The change in words.
    text: String,
}

impl Difference {
    /// Compares what is in force with a proposal.
    #[must_use]
    pub fn of(in_force: &InForce, before: &PolicySet, after: &PolicySet) -> Self {
        let comparison = Comparison::new(before, after);
        let schedules: Vec<_> = comparison
            .schedules()
            .into_iter()
            .map(|(schedule, before, after)| ScheduleDiffers {
                schedule,
                before: before.map(hours_of),
                after: after.map(hours_of),
            })
            .collect();
        let moved: Vec<_> = comparison
            .moved()
            .map(|(place, (before, after))| Moved { at: At::from(place), before: before.clone(), after: after.clone() })
            .collect();
        let policies = policies(in_force, before, after, &comparison);
        let accounts = accounts(in_force, &comparison);
        let same = schedules.is_empty() && moved.is_empty() && policies.is_empty() && accounts.is_empty();
        Self { same, generation: in_force.generation, schedules, moved, policies, accounts }
    }
}

fn policies(
    in_force: &InForce,
    before: &PolicySet,
    after: &PolicySet,
    comparison: &Comparison<'_>,
) -> Vec<PolicyDiffers> {
    let differs = |name: &PolicyName| {
        let changes = comparison.changes(CredentialKind::Bounded, std::iter::once(name));
        let endpoints: Vec<_> = changes.iter().map(Differs::from).collect();
        let (was, is) = (before.policy(name), after.policy(name));
        let limits = was.zip(is).map(|(was, is)| (limits_of(was.limits()), limits_of(is.limits())));
        let limits = limits.filter(|(was, is)| was != is);
        let change = match (was.is_some() || before.is_broken(name), is.is_some()) {
            (false, _) => "added",
            (true, false) => "removed",
            (true, true) => "changed",
        };
        let holds = |holder: &&Holder| live(holder, in_force).any(|held| held == name);
        let holders = in_force.holders.iter().filter(holds).count();
        let any = limits.is_some() || !endpoints.is_empty();
        any.then(|| PolicyDiffers { policy: name.to_string(), change, holders, limits, endpoints })
    };
    comparison.policies().filter_map(differs).collect()
}

/// The kind of a credential set, and what it holds.
type Held<'h> = (&'static str, BTreeSet<&'h PolicyName>);

fn accounts(in_force: &InForce, comparison: &Comparison<'_>) -> Vec<AccountDiffers> {
    let mut groups: BTreeMap<String, BTreeMap<Held<'_>, Vec<&Holder>>> = BTreeMap::new();
    for holder in in_force.holders.iter().filter(|holder| holder.usable) {
        let account = holder.account.as_ref().map_or_else(|| "(none)".to_owned(), ToString::to_string);
        let held = (holder.kind().as_str(), live(holder, in_force).collect());
        groups.entry(account).or_default().entry(held).or_default().push(holder);
    }
    // Many accounts hold the same: each combination is compared once.
    let mut known: BTreeMap<Held<'_>, Vec<Differs>> = BTreeMap::new();
    let mut accounts = Vec::new();
    for (account, holders) in groups {
        let mut differing = Vec::new();
        for ((kind, held), sets) in holders {
            let Some(first) = sets.first() else { continue };
            let endpoints = known.entry((kind, held.clone())).or_insert_with(|| {
                comparison.changes(first.kind(), held.iter().copied()).iter().map(Differs::from).collect()
            });
            if !endpoints.is_empty() {
                differing.push(HoldersDiffer {
                    credentials: sets.iter().map(|set| (set.id.to_string(), set.name.clone())).collect(),
                    kind,
                    policies: held.into_iter().map(ToString::to_string).collect(),
                    endpoints: endpoints.clone(),
                });
            }
        }
        if !differing.is_empty() {
            accounts.push(AccountDiffers { account, holders: differing });
        }
    }
    accounts
}

fn live<'h>(holder: &'h Holder, in_force: &InForce) -> impl Iterator<Item = &'h PolicyName> {
    let now = in_force.at;
    holder.grants.iter().filter(move |(_, end)| end.is_none_or(|end| end > now)).map(|(policy, _)| policy)
}

impl From<&Place> for At {
    fn from(place: &Place) -> Self {
        Self { method: place.method, path: place.path.clone(), body: place.body.clone() }
    }
}

impl From<&Change<'_>> for Differs {
    fn from(change: &Change<'_>) -> Self {
        let Change { place, before, after } = change;
        let (kind, text) = match (before, after) {
            (Access::Never, Access::Allowed { .. } | Access::Never) => ("gained", format!("gains: {after}")),
            (Access::Allowed { .. }, Access::Never) => ("lost", format!("loses: was {before}")),
            (Access::Allowed { .. }, Access::Allowed { .. }) if before.same_conditions(after) => {
                ("hours", format!("hours changed: {} → {}", hours(before), hours(after)))
            }
            (Access::Allowed { .. }, Access::Allowed { .. }) => ("conditions", format!("{before} → {after}")),
        };
        Self { at: At::from(*place), change: kind, before: before.to_string(), after: after.to_string(), text }
    }
}

fn hours(access: &Access) -> String {
    access.hours().into_iter().map(Hours::to_string).collect::<Vec<_>>().join(" or ")
}

/// The hours of a schedule on one line.
fn hours_of(schedule: &Schedule) -> String {
    let day = |day: &jiff::civil::Weekday| format!("{day:?}").chars().take(3).collect::<String>();
    let windows = schedule.windows().iter().map(|window| {
        let days: Vec<String> = window.days().iter().map(day).collect();
        format!("{} {}", days.join(","), window.opening())
    });
    let windows: Vec<String> = windows.collect();
    let windows = if windows.is_empty() { "never open".to_owned() } else { windows.join("; ") };
    let holidays: Vec<String> = schedule.holidays().iter().map(|holiday| holiday.date.to_string()).collect();
    let closed = if holidays.is_empty() { String::new() } else { format!("; closed on {}", holidays.join(", ")) };
    let exceptions = schedule.exceptions().iter().map(|exception| {
        let openings: Vec<String> = exception.openings.iter().map(ToString::to_string).collect();
        format!("; open on {} {}", exception.date, openings.join(", "))
    });
    format!("{windows} in {}{closed}{}", schedule.zone_name(), exceptions.collect::<String>())
}

fn limits_of(limits: Option<&Limits>) -> String {
    let Some(limits) = limits else { return "none".to_owned() };
    let rate = limits.rate().map(|(requests, period)| format!("{requests} requests per {period:?}"));
    let concurrent = limits.concurrent().map(|most| format!("{most} at once"));
    let bytes = limits.bytes().map(|(bytes, period)| format!("{bytes} bytes of answers per {period:?}"));
    rate.into_iter().chain(concurrent).chain(bytes).collect::<Vec<_>>().join(", ")
}
