//! The smallest bounded policies that would have covered what a credential set was allowed to do.
//!
//! What is suggested is never more than the set may do today: each way in is one that was used, with its condition and
//! within its hours, and what a held policy denies at the same endpoint stays denied.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::again::Past;
use super::in_force::{Holder, InForce};
use super::replay::Earlier;
use super::suggested_text::{self, Header, Rules};
use crate::audit::{Recorded, RecordedPart};
use crate::control::{ControlError, ErrorKind};
use crate::domain::{EndpointId, PolicyName};
use crate::policy::{Hours, PolicySet, Terms, Way, default_schedule_name};

/// Kinds of denied requests that are told apart at most.
const DENIED: usize = 100;

/// How often something was done, and when last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) requests: u64,
    pub(super) last: Timestamp,
}

/// A way in that was used, and in which hours all its requests lie.
#[derive(Debug, Clone, Copy)]
struct Trodden {
    used: Used,
    within_its_hours: bool,
    within_default: bool,
}

/// Gathers what a credential set did.
#[derive(Debug)]
pub struct Suggestion<'s> {
    policies: &'s PolicySet,
    holder: &'s Holder,
    /// What it holds now.
    held: Vec<&'s PolicyName>,
    ways: BTreeMap<(EndpointId, Way), Trodden>,
    denied: BTreeMap<String, Used>,
    /// Allowed requests to endpoints that are not there any more.
    gone: BTreeMap<String, Used>,
    allowed: u64,
    refused: u64,
    more_denied: u64,
    minute: (i64, u64),
    busiest: u64,
}

/// Suggested policies.
#[derive(Debug, Serialize)]
pub struct Suggested {
    /// Requests looked at.
    pub requests: u64,
    /// Of these, those that were allowed.
    pub allowed: u64,
    /// From when on.
    pub since: Timestamp,
    /// File names and their texts: one policy for each schedule. None where nothing was allowed.
    pub files: Vec<(String, String)>,
}

impl<'s> Suggestion<'s> {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(in_force: &InForce, policies: &'s PolicySet, holder: &'s Holder) -> Self {
        let now = in_force.at;
        let live = holder.grants.iter().filter(|(_, end)| end.is_none_or(|end| end > now));
        Self {
            policies,
            holder,
            held: live.map(|(policy, _)| policy).collect(),
            ways: BTreeMap::new(),
            denied: BTreeMap::new(),
            gone: BTreeMap::new(),
            allowed: 0,
            refused: 0,
            more_denied: 0,
            minute: (0, 0),
            busiest: 0,
        }
    }

    /// Takes the requests of a part.
    pub fn take(&mut self, part: &RecordedPart, earlier: &Earlier) {
        for row in &part.rows {
            match &row.denied_at {
                None => self.allowed_row(row, earlier),
                Some(step) => self.denied_row(row, step),
            }
        }
    }

    fn allowed_row(&mut self, row: &Recorded, earlier: &Earlier) {
        self.allowed += 1;
        self.count_minute(row.at);
        let way = self.way(row);
        let then = || earlier.get(row.snapshot?).cloned().flatten();
        let led = match &row.batch {
            Some(note) => self.in_batch(note),
            None => Past::from(row).leads_to(self.policies, &then).into_iter().collect(),
        };
        if led.is_empty() {
            let place = row.endpoint.clone().unwrap_or_else(|| format!("{} {}", row.method, row.path));
            count(&mut self.gone, place, 1, row.at);
        }
        let within_its_hours = self.is_open(&way.hours, row.at);
        let within_default = default_schedule_name().is_some_and(|name| self.is_open(&Hours::Named(name), row.at));
        for endpoint in led {
            let used = Used { requests: 0, last: row.at };
            let new = Trodden { used, within_its_hours: true, within_default: true };
            let trodden = self.ways.entry((endpoint, way.clone())).or_insert(new);
            trodden.used.requests += 1;
            trodden.used.last = trodden.used.last.max(row.at);
            trodden.within_its_hours &= within_its_hours;
            trodden.within_default &= within_default;
        }
    }

    /// The way that a row was let in by. A rule that is gone is taken as one without a condition in the default hours.
    fn way(&self, row: &Recorded) -> Way {
        let rule = row.policy.as_deref().zip(row.rule.as_deref());
        rule.and_then(|(policy, rule)| self.policies.way_of(policy, rule)).unwrap_or_else(|| Way {
            hours: default_schedule_name().map_or(Hours::Exempt, Hours::Named),
            terms: Terms::default(),
        })
    }

    /// The endpoints that a batch names in its row, as far as they are still there.
    fn in_batch(&self, note: &str) -> Vec<EndpointId> {
        let named = note.split('`').skip(1).step_by(2).filter_map(|id| id.parse().ok());
        named.filter(|id: &EndpointId| self.policies.endpoints().iter().any(|known| known.id() == id)).collect()
    }

    fn is_open(&self, hours: &Hours, at: Timestamp) -> bool {
        match hours {
            Hours::Exempt => true,
            Hours::Named(name) => self.policies.schedule(name).is_some_and(|schedule| schedule.is_open(at)),
        }
    }

    fn denied_row(&mut self, row: &Recorded, step: &str) {
        let requests = u64::from(row.repeats);
        self.refused += requests;
        let rule = match (&row.policy, &row.rule) {
            (Some(policy), Some(rule)) => format!(" ({policy}/{rule})"),
            (Some(policy), None) => format!(" ({policy})"),
            (None, _) => String::new(),
        };
        let place = row.endpoint.as_deref().unwrap_or(&row.path);
        let place = format!("{} {place}, denied at {step}{rule}", row.method);
        if self.denied.len() < DENIED || self.denied.contains_key(&place) {
            count(&mut self.denied, place, requests, row.at);
        } else {
            self.more_denied += requests;
        }
    }

    fn count_minute(&mut self, at: Timestamp) {
        let minute = at.as_second().div_euclid(60);
        let before = if self.minute.0 == minute { self.minute.1 } else { 0 };
        self.minute = (minute, before + 1);
        self.busiest = self.busiest.max(self.minute.1);
    }

    /// The policies, with this name or one made from it, that would have covered all that was allowed since then.
    ///
    /// # Errors
    /// When a policy of that name exists already, or the loader would not take the texts: nothing is suggested then.
    pub fn finish(self, in_force: &InForce, name: &PolicyName, since: Timestamp) -> Result<Suggested, ControlError> {
        let mut by_hours: BTreeMap<Hours, BTreeMap<(EndpointId, Terms), Used>> = BTreeMap::new();
        let mut gone = self.gone.clone();
        for ((endpoint, way), trodden) in &self.ways {
            if self.policies.denials(self.held.iter().copied(), endpoint).contains(&Terms::default()) {
                let place = format!("{endpoint}, which a held policy denies now");
                count(&mut gone, place, trodden.used.requests, trodden.used.last);
                continue;
            }
            let place = by_hours.entry(hours(way, *trodden)).or_default();
            let key = (endpoint.clone(), way.terms.clone());
            let used = place.entry(key).or_insert(Used { requests: 0, last: trodden.used.last });
            used.requests += trodden.used.requests;
            used.last = used.last.max(trodden.used.last);
        }
        let several = by_hours.len() > 1;
        let mut files = Vec::new();
        for (hours, used) in by_hours {
            let name = named(name, &hours, several)?;
            if self.policies.policy(&name).is_some() {
                let message = format!("there is a policy `{name}` already; give another name with --name");
                return Err(ControlError { kind: ErrorKind::Conflict, message });
            }
            let endpoints: BTreeSet<&EndpointId> = used.keys().map(|(endpoint, _)| endpoint).collect();
            let header = Header {
                name: &name,
                hours: &hours,
                holder: self.holder,
                since,
                until: in_force.at,
                allowed: self.allowed,
                denied: self.refused,
                busiest_minute: self.busiest,
            };
            let owed = self.policies.demands_at(self.held.iter().copied(), &endpoints);
            let rules = Rules { used: &used, denials: &self.denials(&endpoints), owed: &owed };
            let text = suggested_text::policy(&header, &rules, &self.denied, self.more_denied, &gone);
            files.push((format!("{name}.yaml"), text));
        }
        let all: Vec<_> = in_force.files.iter().chain(&files).cloned().collect();
        super::in_force::policies_of(&all)?;
        Ok(Suggested { requests: self.allowed + self.refused, allowed: self.allowed, since, files })
    }

    /// What held policies deny at these endpoints, by the terms under which they do.
    fn denials(&self, endpoints: &BTreeSet<&EndpointId>) -> BTreeMap<Terms, Vec<EndpointId>> {
        let mut denials: BTreeMap<Terms, Vec<EndpointId>> = BTreeMap::new();
        for endpoint in endpoints {
            let denied = self.policies.denials(self.held.iter().copied(), endpoint);
            for terms in denied.into_iter().filter(|terms| !terms.is_empty()) {
                denials.entry(terms).or_default().push((*endpoint).clone());
            }
        }
        denials
    }
}

/// The narrowest hours that cover all its requests.
fn hours(way: &Way, trodden: Trodden) -> Hours {
    let default = default_schedule_name().map(Hours::Named).filter(|_| trodden.within_default);
    match &way.hours {
        Hours::Named(name) if trodden.within_its_hours => Hours::Named(name.clone()),
        Hours::Named(_) | Hours::Exempt => default.unwrap_or(Hours::Exempt),
    }
}

/// Where there are policies of several schedules, each is named after its own.
fn named(name: &PolicyName, hours: &Hours, several: bool) -> Result<PolicyName, ControlError> {
    if !several {
        return Ok(name.clone());
    }
    format!("{name}-{hours}")
        .parse()
        .map_err(|error: crate::domain::NameError| ControlError::invalid(error.to_string()))
}

fn count(counts: &mut BTreeMap<String, Used>, place: String, requests: u64, at: Timestamp) {
    let used = counts.entry(place).or_insert(Used { requests: 0, last: at });
    used.requests += requests;
    used.last = used.last.max(at);
}

/// A name for what is suggested from a credential set of this name.
#[must_use]
pub fn name_for(holder: &Holder) -> Option<PolicyName> {
    let slug = |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' };
    let name: String = holder.name.chars().map(slug).take(40).collect();
    let parts: Vec<&str> = name.split('-').filter(|part| !part.is_empty()).collect();
    std::iter::once("suggested").chain(parts).collect::<Vec<_>>().join("-").parse().ok()
}
