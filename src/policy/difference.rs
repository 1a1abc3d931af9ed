//! Two sets of policies compared as decisions: who may do what at which method and path.
//!
//! Endpoints are compared by where they are, not by what they are called: an id is nothing that a client sees. A place
//! that one set does not name is looked up in it as a request would be, so a new literal path that takes requests away
//! from a parameter is seen to do so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::access::{Access, Hours, Part};
use super::endpoint::Endpoint;
use super::set::PolicySet;
use crate::directory::CredentialKind;
use crate::domain::{CanonicalPath, PolicyName};
use crate::schedule::Schedule;

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The path template.
    pub path: String,
    /// The method.
    pub method: &'static str,
    /// What its body must hold, where other endpoints share the path.
    pub body: Option<String>,
}

/// A place, and who serves it in each set.
struct Compared<'s> {
    place: Place,
    before: Option<&'s Arc<Endpoint>>,
    after: Option<&'s Arc<Endpoint>>,
    /// Where its requests go at the ERPs, where that differs.
    moved: Option<(String, String)>,
}

/// What somebody may do at a place before and after.
#[derive(Debug, Clone)]
pub struct Change<'c> {
    /// Where.
    pub place: &'c Place,
    /// Before.
    pub before: Access,
    /// After.
    pub after: Access,
}

/// A schedule before and after; it may be missing in one of them.
pub type ScheduleChange<'s> = (String, Option<&'s Schedule>, Option<&'s Schedule>);

/// What policies say at each place, before and after.
struct Parts {
    before: Vec<Part>,
    after: Vec<Part>,
    /// The places where they differ.
    changed: BTreeSet<usize>,
}

/// Two sets, ready to be asked about holders.
pub struct Comparison<'s> {
    before: &'s PolicySet,
    after: &'s PolicySet,
    places: Vec<Compared<'s>>,
    policies: BTreeMap<PolicyName, Parts>,
    /// What an unrestricted set may do before policies deny.
    unrestricted: Parts,
}

impl std::fmt::Debug for Comparison<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Comparison({} places, {} policies)", self.places.len(), self.policies.len())
    }
}

impl<'s> Comparison<'s> {
    /// Compares two sets.
    #[must_use]
    pub fn new(before: &'s PolicySet, after: &'s PolicySet) -> Self {
        let places = places(before, after);
        let names: BTreeSet<&PolicyName> = before.known_policies().chain(after.known_policies()).collect();
        let parts = |name: &PolicyName| {
            let part = |set: &PolicySet, endpoint: Option<&Arc<Endpoint>>| set.part(name, endpoint);
            Parts::of(&places, |place| part(before, place.before), |place| part(after, place.after))
        };
        let policies = names.into_iter().map(|name| (name.clone(), parts(name))).collect();
        let unrestricted = Parts::of(
            &places,
            |place| before.unrestricted_part(place.before),
            |place| after.unrestricted_part(place.after),
        );
        Self { before, after, places, policies, unrestricted }
    }

    /// The policies in one of the sets, by name.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyName> {
        self.policies.keys()
    }

    /// What changes for somebody who holds these policies.
    #[must_use]
    pub fn changes<'n>(&self, kind: CredentialKind, held: impl Iterator<Item = &'n PolicyName>) -> Vec<Change<'_>> {
        let mut parts: Vec<&Parts> = held.filter_map(|name| self.policies.get(name)).collect();
        match kind {
            CredentialKind::Bounded => {}
            CredentialKind::Unrestricted => parts.push(&self.unrestricted),
        }
        let touched: BTreeSet<usize> = parts.iter().flat_map(|parts| parts.changed.iter().copied()).collect();
        let change = |index: usize| {
            let before = Part::together(parts.iter().filter_map(|parts| parts.before.get(index)));
            let after = Part::together(parts.iter().filter_map(|parts| parts.after.get(index)));
            (before != after).then_some(Change { place: &self.places.get(index)?.place, before, after })
        };
        touched.into_iter().filter_map(change).collect()
    }

    /// Places whose requests go elsewhere at the ERPs, with where they go before and after.
    pub fn moved(&self) -> impl Iterator<Item = (&Place, &(String, String))> {
        self.places.iter().filter_map(|compared| Some((&compared.place, compared.moved.as_ref()?)))
    }

    /// Schedules whose hours differ, by name.
    #[must_use]
    pub fn schedules(&self) -> Vec<ScheduleChange<'s>> {
        let names = self.before.schedules().into_iter().chain(self.after.schedules()).map(|(name, _)| name);
        let names: BTreeSet<_> = names.collect();
        let both = names.into_iter().map(|name| (name, self.before.schedule(name), self.after.schedule(name)));
        both.filter(|(_, before, after)| before != after)
            .map(|(name, before, after)| (name.to_string(), before, after))
            .collect()
    }
}

impl Parts {
    fn of<'s>(
        places: &[Compared<'s>],
        before: impl Fn(&Compared<'s>) -> Part,
        after: impl Fn(&Compared<'s>) -> Part,
    ) -> Self {
        let before: Vec<Part> = places.iter().map(before).collect();
        let after: Vec<Part> = places.iter().map(after).collect();
        let differs = |(index, (one, other)): (usize, (&Part, &Part))| (one != other).then_some(index);
        let changed = before.iter().zip(&after).enumerate().filter_map(differs).collect();
        Self { before, after, changed }
    }
}

impl PolicySet {
    /// What a policy adds at an endpoint.
    fn part(&self, name: &PolicyName, endpoint: Option<&Arc<Endpoint>>) -> Part {
        match (endpoint, self.policy(name)) {
            _ if self.is_broken(name) => Part::refusing(),
            (Some(endpoint), Some(policy)) => Part::of(policy, endpoint.id()),
            (None, _) | (_, None) => Part::default(),
        }
    }

    pub(super) fn unrestricted_part(&self, endpoint: Option<&Arc<Endpoint>>) -> Part {
        let default = super::default_schedule_name().filter(|name| self.schedule(name).is_some());
        match (endpoint, default) {
            (Some(_), Some(name)) => Part::open(Hours::Named(name)),
            (None, _) | (_, None) => Part::default(),
        }
    }

    /// The endpoint that serves a request at this place.
    fn serving(&self, method: &str, path: &CanonicalPath, body: Option<&str>) -> Option<&Arc<Endpoint>> {
        self.route(method, path)?.candidates().asking_for(body)
    }
}

/// Every place that one of the sets names, in the order of paths.
fn places<'s>(before: &'s PolicySet, after: &'s PolicySet) -> Vec<Compared<'s>> {
    let mut places = BTreeMap::new();
    for endpoint in before.endpoints().iter().chain(after.endpoints()) {
        for method in &endpoint.methods {
            let body = endpoint.body.as_ref().map(ToString::to_string);
            let place = Place { path: endpoint.path_text.clone(), method, body };
            // The newer text of two that match the same paths.
            places.insert((endpoint.path.router_pattern(), *method, place.body.clone()), (place, endpoint));
        }
    }
    let mut compared: Vec<_> = places
        .into_values()
        .filter_map(|(place, endpoint)| {
            let path = CanonicalPath::parse(endpoint.path.sample().as_bytes()).ok()?;
            let serving = |set: &'s PolicySet| set.serving(place.method, &path, place.body.as_deref());
            let (was, is) = (serving(before), serving(after));
            let moved = goes(before, &place, &path, was).zip(goes(after, &place, &path, is));
            let moved = moved.filter(|(was, is)| was != is);
            Some(Compared { before: was, after: is, moved, place })
        })
        .collect();
    compared.sort_by(|one, other| one.place.cmp(&other.place));
    compared
}

/// Where a request at this place goes.
fn goes(set: &PolicySet, place: &Place, path: &CanonicalPath, endpoint: Option<&Arc<Endpoint>>) -> Option<String> {
    let matched = set.route(place.method, path)?.named(endpoint?.id().as_str())?;
    let target = matched.upstream_target(None).replace(super::template::SAMPLE, "…");
    Some(format!("{} {target}", matched.endpoint().upstream()))
}
