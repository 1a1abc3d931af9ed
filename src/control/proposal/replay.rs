//! The recorded requests before a proposal: whose decision would change, and what cannot be told.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::again::{Again, Asker, Decided, NotTold, Past};
use super::in_force::{Holder, InForce};
use crate::audit::{Recorded, RecordedPart, Step};
use crate::directory::Grant;
use crate::domain::{CredentialId, Labels, RequestId};
use crate::policy::{Allowed, PolicySet, Refused, ScheduleUse};

/// Groups of changes that are told apart at most; what comes behind is counted only.
const GROUPS: usize = 10_000;

/// Policies that were in force earlier, for each hash of a part; absent where they cannot be had.
pub type Earlier = [Option<Arc<PolicySet>>];

/// Goes through recorded requests, part by part.
#[derive(Debug)]
pub struct Replay<'s> {
    before: &'s PolicySet,
    after: &'s PolicySet,
    askers: HashMap<CredentialId, Known>,
    groups: HashMap<Key, Group>,
    report: Counts,
}

#[derive(Debug)]
struct Known {
    holder: Holder,
    labels: Labels,
    grants: Vec<Grant>,
}

/// What the requests of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    credential: CredentialId,
    /// Whether it would be allowed.
    allowed: bool,
    /// On what grounds it was decided.
    before: String,
    /// On what grounds it would be.
    after: String,
    /// Whether what is in force decides so too.
    already: bool,
}

#[derive(Debug)]
struct Group {
    requests: u64,
    example: Example,
}

#[derive(Debug, Clone, Serialize)]
struct Example {
    id: RequestId,
    at: Timestamp,
    method: String,
    path: String,
}

#[derive(Debug, Default, Serialize)]
struct Counts {
    /// Requests looked at.
    requests: u64,
    /// Those that would be decided the same.
    same: u64,
    /// Of these, those by another rule.
    by_another_rule: u64,
    /// Those that would be decided otherwise.
    changed: u64,
    /// Those that what is in force decides otherwise already, as the proposal does.
    already: u64,
    /// Those that another step denied, by step.
    out_of_scope: BTreeMap<String, u64>,
    /// Those that cannot be decided again, by reason.
    not_told: BTreeMap<&'static str, u64>,
    /// Those that change and are in no group, because there are too many groups.
    ungrouped: u64,
}

/// What a replay found.
#[derive(Debug, Serialize)]
pub struct ReplayReport {
    #[serde(flatten)]
    counts: Counts,
    /// The changes that the proposal makes, the most frequent first.
    changes: Vec<Changed>,
    /// Those that are in force already: grants or policies were changed since, or an operator had set the hours aside.
    already_so: Vec<Changed>,
}

/// Requests of one credential set that change alike.
#[derive(Debug, Serialize)]
struct Changed {
    credential: CredentialId,
    name: String,
    account: Option<String>,
    /// `denied` or `allowed`: what they would be.
    becomes: &'static str,
    before: String,
    after: String,
    requests: u64,
    example: Example,
}

/// What becomes of one request.
enum Fate {
    Same,
    ByAnotherRule,
    Otherwise(Key),
    OutOfScope(String),
    NotTold(&'static str),
}

/// What is decided, and on what grounds.
struct Verdict<'a> {
    allowed: bool,
    rule: Option<(&'a str, &'a str)>,
    grounds: Grounds<'a>,
}

enum Grounds<'a> {
    Open(&'a crate::policy::AllowedBy),
    Closed(&'a Allowed),
    Refused(&'a Refused),
    NoEndpoint(&'a str),
}

impl<'s> Replay<'s> {
    /// A replay of what is in force and a proposal.
    #[must_use]
    pub fn new(in_force: &InForce, before: &'s PolicySet, after: &'s PolicySet) -> Self {
        let known =
            |holder: &Holder| Known { holder: holder.clone(), labels: holder.labels(), grants: holder.granted() };
        let askers = in_force.holders.iter().map(|holder| (holder.id, known(holder))).collect();
        Self { before, after, askers, groups: HashMap::new(), report: Counts::default() }
    }

    /// Decides the requests of a part.
    pub fn take(&mut self, part: &RecordedPart, earlier: &Earlier) {
        for row in &part.rows {
            let requests = u64::from(row.repeats);
            self.report.requests += requests;
            match self.fate(row, earlier) {
                Fate::Same => self.report.same += requests,
                Fate::ByAnotherRule => {
                    self.report.same += requests;
                    self.report.by_another_rule += requests;
                }
                Fate::OutOfScope(step) => *self.report.out_of_scope.entry(step).or_default() += requests,
                Fate::NotTold(why) => *self.report.not_told.entry(why).or_default() += requests,
                Fate::Otherwise(key) => self.count(key, row),
            }
        }
    }

    fn count(&mut self, key: Key, row: &Recorded) {
        if key.already {
            self.report.already += 1;
        } else {
            self.report.changed += 1;
        }
        if self.groups.len() >= GROUPS && !self.groups.contains_key(&key) {
            self.report.ungrouped += 1;
            return;
        }
        let example = || Example { id: row.id, at: row.at, method: row.method.clone(), path: row.path.clone() };
        self.groups.entry(key).or_insert_with(|| Group { requests: 0, example: example() }).requests += 1;
    }

    fn fate(&self, row: &Recorded, earlier: &Earlier) -> Fate {
        if row.repeats > 1 {
            return Fate::NotTold("rows that stand for many requests of a flood");
        }
        if row.by_override {
            return Fate::OutOfScope("override of a schedule".to_owned());
        }
        let was_allowed = match row.denied_at.as_deref() {
            None => true,
            Some(step) if is_matter_of_policy(step) => false,
            Some(step) => return Fate::OutOfScope(step.to_owned()),
        };
        let Some(credential) = row.credential else { return Fate::NotTold("requests of nobody who was recognised") };
        let Some(known) = self.askers.get(&credential) else {
            return Fate::NotTold("requests of credential sets that do not exist any more");
        };
        let asker = Asker {
            kind: known.holder.kind(),
            grants: &known.grants,
            requester: known.holder.requester(&known.labels),
        };
        let past = Past::from(row);
        let then = || earlier.get(row.snapshot?).cloned().flatten();
        let decided = match past.decide(self.after, &then, asker) {
            Ok(decided) => decided,
            Err(why) => return Fate::NotTold(not_told(why)),
        };
        if let Some(why) = in_doubt(&decided) {
            return Fate::NotTold(why);
        }
        let now = verdict(&decided.again, row.at);
        if now.allowed == was_allowed {
            let was = row.policy.as_deref().zip(row.rule.as_deref());
            let other = now.rule.is_some() && was.is_some() && now.rule != was;
            return if other { Fate::ByAnotherRule } else { Fate::Same };
        }
        // Where what is in force decides as the proposal does, the proposal is not what makes the difference.
        let already = past.decide(self.before, &then, asker).is_ok_and(|decided| {
            in_doubt(&decided).is_none() && verdict(&decided.again, row.at).allowed == now.allowed
        });
        let (before, after) = (grounds_then(row), now.grounds.to_string());
        Fate::Otherwise(Key { credential, allowed: now.allowed, before, after, already })
    }

    /// What was found.
    #[must_use]
    pub fn finish(self) -> ReplayReport {
        let (mut changes, mut already_so) = (Vec::new(), Vec::new());
        for (key, group) in self.groups {
            let known = self.askers.get(&key.credential);
            let told = Changed {
                credential: key.credential,
                name: known.map(|known| known.holder.name.clone()).unwrap_or_default(),
                account: known.and_then(|known| known.holder.account.as_ref().map(ToString::to_string)),
                becomes: if key.allowed { "allowed" } else { "denied" },
                before: key.before,
                after: key.after,
                requests: group.requests,
                example: group.example,
            };
            if key.already { already_so.push(told) } else { changes.push(told) }
        }
        for list in [&mut changes, &mut already_so] {
            list.sort_by(|one: &Changed, other| {
                let most = other.requests.cmp(&one.requests);
                let (told, as_told) = ((&one.before, &one.after), (&other.before, &other.after));
                most.then_with(|| told.cmp(&as_told)).then_with(|| one.credential.cmp(&other.credential))
            });
        }
        ReplayReport { counts: self.report, changes, already_so }
    }
}

impl ReplayReport {
    /// Whether the proposal changes no decision.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.counts.changed == 0
    }
}

/// Schedule, rules and catalogue are in the files; all else that denies is not.
fn is_matter_of_policy(step: &str) -> bool {
    match Step::from_text(step) {
        Some(Step::Endpoint | Step::Policy | Step::Schedule) => true,
        Some(
            Step::Request
            | Step::KillSwitch
            | Step::Authentication
            | Step::ScopedKillSwitch
            | Step::Limits
            | Step::Throttle
            | Step::Audit
            | Step::UpstreamSession,
        )
        | None => false,
    }
}

fn not_told(why: NotTold) -> &'static str {
    match why {
        NotTold::Path => "requests whose path has no single meaning",
        NotTold::Batch => "batches: what was in them is not kept",
        NotTold::Body => "requests whose endpoint depends on the body, which is not kept",
    }
}

fn in_doubt(decided: &Decided) -> Option<&'static str> {
    if decided.unrecorded {
        Some("requests with a condition that looks at what rows do not hold")
    } else if decided.query_in_doubt {
        Some("requests with a condition that looks at a query with redacted parts")
    } else {
        None
    }
}

fn verdict(again: &Again, at: Timestamp) -> Verdict<'_> {
    match again {
        Again::NoEndpoint(why) => Verdict { allowed: false, rule: None, grounds: Grounds::NoEndpoint(why) },
        Again::Refused(refused) => {
            let rule = refused.policy().zip(refused.rule()).map(|(policy, rule)| (policy.as_str(), rule.as_str()));
            Verdict { allowed: false, rule, grounds: Grounds::Refused(refused) }
        }
        Again::Allowed(allowed) => match allowed.open_at(at) {
            None => Verdict { allowed: false, rule: None, grounds: Grounds::Closed(allowed) },
            Some(by) => {
                let rule = by.policy().zip(by.rule()).map(|(policy, rule)| (policy.name().as_str(), rule.as_str()));
                Verdict { allowed: true, rule, grounds: Grounds::Open(by) }
            }
        },
    }
}

impl std::fmt::Display for Grounds<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(by) => out.write_str(&by.name()),
            Self::Refused(refused) => write!(out, "{refused}"),
            Self::NoEndpoint(why) => out.write_str(why),
            Self::Closed(allowed) => {
                let closed = allowed.by().iter().map(|by| match by.schedule() {
                    ScheduleUse::Exempt => Cow::Owned(by.name()),
                    ScheduleUse::Named(_, name) => Cow::Owned(format!("{} outside of `{name}`", by.name())),
                });
                out.write_str(&closed.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// On what grounds a row was decided, as far as it says.
fn grounds_then(row: &Recorded) -> String {
    let rule = match (&row.policy, &row.rule) {
        (Some(policy), Some(rule)) => Some(format!("{policy}/{rule}")),
        (Some(policy), None) => Some(policy.clone()),
        (None, _) => None,
    };
    match (row.denied_at.as_deref().and_then(Step::from_text), rule) {
        (None, Some(rule)) => rule,
        (None, None) => "unrestricted".to_owned(),
        (Some(Step::Schedule), Some(rule)) => format!("{rule} outside of its hours"),
        (Some(Step::Schedule), None) => "outside of the hours".to_owned(),
        (Some(Step::Policy), Some(rule)) => format!("denied by {rule}"),
        (Some(Step::Policy), None) => "no rule allowed it".to_owned(),
        (Some(_), _) => "no endpoint".to_owned(),
    }
}
