//! Who may call what at a moment, told from both sides: for an endpoint, and for what somebody holds.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::access::{Access, Part};
use super::decision::ScheduleUse;
use super::endpoint::Endpoint;
use super::rules::{Effect, Policy, Rule};
use super::set::PolicySet;
use crate::directory::CredentialKind;
use crate::domain::{EndpointId, PolicyName};
use crate::schedule::State;

/// What policies give at one endpoint.
pub struct Reach<'s> {
    set: &'s PolicySet,
    parts: HashMap<&'s PolicyName, Part>,
    unrestricted: Part,
    refusing: Part,
}

impl fmt::Debug for Reach<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Reach({} policies)", self.parts.len())
    }
}

impl PolicySet {
    /// The endpoint with this id.
    #[must_use]
    pub fn endpoint(&self, id: &EndpointId) -> Option<&Arc<Endpoint>> {
        self.endpoints().iter().find(|endpoint| endpoint.id() == id)
    }

    /// What policies give at an endpoint, without rules that have ended.
    #[must_use]
    pub fn reach(&self, endpoint: &Arc<Endpoint>, now: Timestamp) -> Reach<'_> {
        let part = |policy: &Arc<Policy>| Part::at(policy, endpoint.id(), now);
        Reach {
            set: self,
            parts: self.here(endpoint).all().map(|here| (here.policy().name(), part(here.policy()))).collect(),
            unrestricted: self.unrestricted_part(Some(endpoint)),
            refusing: Part::refusing(),
        }
    }
}

impl Reach<'_> {
    /// What somebody may do here who holds these policies.
    #[must_use]
    pub fn access(&self, kind: CredentialKind, held: &[&PolicyName]) -> Access {
        let open = match kind {
            CredentialKind::Bounded => None,
            CredentialKind::Unrestricted => Some(&self.unrestricted),
        };
        let part =
            |name: &&PolicyName| if self.set.is_broken(name) { Some(&self.refusing) } else { self.parts.get(*name) };
        Part::together(open.into_iter().chain(held.iter().filter_map(part)))
    }

    /// The held policies that open a way here.
    #[must_use]
    pub fn opened_by<'n>(&self, held: &[&'n PolicyName]) -> Vec<&'n PolicyName> {
        let opens = |name: &&&PolicyName| self.parts.get(**name).is_some_and(Part::opens);
        held.iter().filter(opens).copied().collect()
    }
}

/// What a granted policy really gives to somebody who holds others beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// There is no such policy.
    Missing,
    /// Its file is broken: whoever holds it may do nothing.
    Broken,
    /// Nothing, and why.
    Nothing(String),
    /// Ways to endpoints.
    Endpoints {
        /// How many it opens.
        open: usize,
        /// How many of these under a condition.
        conditional: usize,
        /// How many that it would open are closed by a rule that denies.
        denied: usize,
    },
}

impl Given {
    /// The word for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Broken => "broken",
            Self::Nothing(_) => "nothing",
            Self::Endpoints { .. } => "permits",
        }
    }
}

impl fmt::Display for Given {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => out.write_str("nothing: there is no such policy"),
            Self::Broken => out.write_str("nothing, and stops all else: its file is broken"),
            Self::Nothing(why) => write!(out, "nothing: {why}"),
            Self::Endpoints { open, conditional, denied } => {
                write!(out, "{open} {}", if *open == 1 { "endpoint" } else { "endpoints" })?;
                if *conditional > 0 {
                    write!(out, ", {conditional} under conditions")?;
                }
                if *denied > 0 {
                    write!(out, ", {denied} more denied")?;
                }
                Ok(())
            }
        }
    }
}

/// Says what policies give. What it has looked at once it knows.
pub struct Giving<'s> {
    set: &'s PolicySet,
    now: Timestamp,
    parts: HashMap<&'s PolicyName, BTreeMap<&'s EndpointId, Part>>,
}

impl fmt::Debug for Giving<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Giving({} policies)", self.parts.len())
    }
}

impl<'s> Giving<'s> {
    /// At this moment.
    #[must_use]
    pub fn new(set: &'s PolicySet, now: Timestamp) -> Self {
        Self { set, now, parts: HashMap::new() }
    }

    /// What each of these policies gives to somebody who holds all of them.
    pub fn of<'n>(&mut self, held: &[&'n PolicyName]) -> Vec<(&'n PolicyName, Given)> {
        for name in held {
            if let Some(policy) = self.set.policy(name) {
                let (now, known) = (self.now, self.parts.contains_key(policy.name()));
                if !known {
                    self.parts.insert(policy.name(), parts_of(policy, now));
                }
            }
        }
        held.iter().map(|name| (*name, self.given(name, held))).collect()
    }

    fn given(&self, name: &PolicyName, held: &[&PolicyName]) -> Given {
        if self.set.is_broken(name) {
            return Given::Broken;
        }
        let Some((policy, parts)) = self.set.policy(name).zip(self.parts.get(name)) else { return Given::Missing };
        if let Some(broken) = held.iter().find(|other| self.set.is_broken(other)) {
            return Given::Nothing(format!("`{broken}`, held beside it, is broken and stops everything"));
        }
        if let Some(why) = never(policy, self.now) {
            return Given::Nothing(why);
        }
        let others: Vec<_> = held.iter().filter_map(|other| self.parts.get(*other)).collect();
        let (mut open, mut conditional, mut denied) = (0, 0, 0);
        for (endpoint, part) in parts.iter().filter(|(_, part)| part.opens()) {
            let here = || others.iter().filter_map(|parts| parts.get(*endpoint));
            if here().any(Part::refuses) {
                denied += 1;
            } else {
                open += 1;
                conditional += usize::from(part.is_conditional() || here().any(Part::denies_some));
            }
        }
        if open == 0 {
            return Given::Nothing("rules deny all that it would allow".to_owned());
        }
        Given::Endpoints { open, conditional, denied }
    }
}

/// What a policy adds at each endpoint that it names.
fn parts_of(policy: &Arc<Policy>, now: Timestamp) -> BTreeMap<&EndpointId, Part> {
    let named = policy.rules.iter().flat_map(|rule| &rule.endpoints);
    named.map(|endpoint| (endpoint, Part::at(policy, endpoint, now))).collect()
}

/// Why a policy allows nothing whoever holds it.
fn never(policy: &Policy, now: Timestamp) -> Option<String> {
    let mut allowing = policy.rules.iter().filter(|rule| rule.effect == Effect::Allow && !rule.endpoints.is_empty());
    let ended = |rule: &Rule| rule.has_ended(now);
    match (allowing.clone().next(), allowing.find(|rule| !ended(rule))) {
        (None, _) => return Some("none of its rules allows anything".to_owned()),
        (Some(_), None) => return Some("its rules have ended".to_owned()),
        (Some(_), Some(_)) => {}
    }
    match &policy.schedule {
        ScheduleUse::Exempt => None,
        ScheduleUse::Named(schedule, name) => match schedule.state(now) {
            State::Closed { opens_at: None } => Some(format!("its schedule `{name}` does not open within a year")),
            State::Closed { opens_at: Some(_) } | State::Open { .. } => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const ENDPOINTS: &str = "version: 1
upstream: erp
endpoints:
  - { id: orders.list, methods: [GET], path: /v1/orders }
  - { id: orders.read, methods: [GET], path: '/v1/orders/{id}' }
  - { id: stock.list, methods: [GET], path: /v1/stock }
";
    const SCHEDULE: &str = "version: 1
default: { time_zone: UTC, windows: [{ days: [mon], from: \"00:00\", to: \"24:00\" }] }
never: { time_zone: UTC, windows: [] }
";

    fn set(policies: &[(&str, &str)]) -> PolicySet {
        let policies =
            policies.iter().map(|(name, rest)| (format!("{name}.yaml"), format!("version: 1\npolicy: {name}\n{rest}")));
        let fixed = [("endpoints/erp.yaml", ENDPOINTS), ("schedule.yaml", SCHEDULE)];
        let fixed = fixed.map(|(path, text)| (path.to_owned(), text.to_owned()));
        let texts: Vec<_> =
            policies.chain(fixed).map(|(path, text)| (PathBuf::from(path), text.into_bytes())).collect();
        PolicySet::from_texts(&texts).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn names(texts: &[&str]) -> Vec<PolicyName> {
        texts.iter().map(|text| text.parse().expect("a name")).collect()
    }

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().expect("a time")
    }

    const READER: (&str, &str) = ("reader", "rules:\n  - { id: read, allow: [orders.list, orders.read] }\n");

    #[test]
    fn an_endpoint_tells_what_holders_may_do_there_and_by_which_policy() {
        let set = set(&[
            READER,
            (
                "other",
                "schedule: exempt\nrules:\n  - { id: a, allow: [orders.list], when: 'request.method == \"GET\"' }\n",
            ),
            ("stop", "rules:\n  - { id: d, deny: [orders.list] }\n"),
            ("past", "rules:\n  - { id: p, allow: [orders.list], until: 2026-01-01T00:00:00Z }\n"),
        ]);
        let endpoint = set.endpoint(&"orders.list".parse().expect("an id")).expect("there");
        let reach = set.reach(endpoint, now());
        let told = |kind, held: &[&str]| {
            let held = names(held);
            let held: Vec<_> = held.iter().collect();
            let by: Vec<_> = reach.opened_by(&held).into_iter().map(ToString::to_string).collect();
            (reach.access(kind, &held).to_string(), by.join(","))
        };
        let bounded = CredentialKind::Bounded;
        assert_eq!(told(bounded, &["reader"]), ("allowed in `default`".into(), "reader".into()));
        assert_eq!(
            told(bounded, &["reader", "other"]),
            (
                "allowed at any time if `request.method == \"GET\"`, or allowed in `default`".into(),
                "reader,other".into()
            )
        );
        assert_eq!(told(bounded, &["reader", "stop"]).0, "not allowed");
        assert_eq!(told(bounded, &["past"]), ("not allowed".into(), String::new()));
        assert_eq!(told(bounded, &["missing"]).0, "not allowed");
        assert_eq!(told(CredentialKind::Unrestricted, &[]).0, "allowed in `default`");
        assert_eq!(told(CredentialKind::Unrestricted, &["stop"]).0, "not allowed");
    }

    #[test]
    fn a_broken_policy_closes_every_endpoint_to_its_holders() {
        let set = set(&[READER]).with_broken(names(&["bad"]).into_iter().collect());
        let endpoint = set.endpoint(&"orders.list".parse().expect("an id")).expect("there");
        let held = names(&["reader", "bad"]);
        let held: Vec<_> = held.iter().collect();
        assert_eq!(set.reach(endpoint, now()).access(CredentialKind::Bounded, &held), Access::Never);
        let given = Giving::new(&set, now()).of(&held);
        assert_eq!(given[1].1, Given::Broken);
        assert!(given[0].1.to_string().contains("`bad`, held beside it, is broken"), "{given:?}");
    }

    #[test]
    fn a_grant_says_what_it_really_gives() {
        let set = set(&[
            READER,
            ("stop", "rules:\n  - { id: d, deny: [orders.list] }\n"),
            ("past", "rules:\n  - { id: p, allow: [orders.list], until: 2026-01-01T00:00:00Z }\n"),
            ("shut", "schedule: never\nrules:\n  - { id: s, allow: [orders.list] }\n"),
            ("some", "rules:\n  - { id: s, allow: [stock.list], when: 'request.method == \"GET\"' }\n"),
            ("self", "rules:\n  - { id: a, allow: [stock.list] }\n  - { id: b, deny: [stock.list] }\n"),
        ]);
        let mut giving = Giving::new(&set, now());
        let mut told = |held: &[&str]| {
            let held = names(held);
            let held: Vec<_> = held.iter().collect();
            giving.of(&held).first().map(|(_, given)| given.to_string()).expect("one")
        };
        assert_eq!(told(&["reader"]), "2 endpoints");
        assert_eq!(told(&["reader", "stop"]), "1 endpoint, 1 more denied");
        assert_eq!(told(&["stop"]), "nothing: none of its rules allows anything");
        assert_eq!(told(&["past"]), "nothing: its rules have ended");
        assert_eq!(told(&["shut"]), "nothing: its schedule `never` does not open within a year");
        assert_eq!(told(&["some"]), "1 endpoint, 1 under conditions");
        assert_eq!(told(&["self"]), "nothing: rules deny all that it would allow");
        assert_eq!(told(&["gone"]), "nothing: there is no such policy");
    }
}
