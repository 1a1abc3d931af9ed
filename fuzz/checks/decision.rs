//! What policies decide, against a slow and obvious reading of the same rules.

use std::fmt::Write as _;
use std::path::PathBuf;

use erp_access::domain::{PolicyName, Target};
use erp_access::policy::{Facts, Grants, PolicySet};
use jiff::Timestamp;

const ENDPOINTS: &str = "version: 1\nupstream: erp\nendpoints:\n  - { id: orders.list, methods: [GET], path: /v1/orders }\n  - { id: orders.read, methods: [GET], path: '/v1/orders/{id}' }\n  - { id: orders.lines.read, methods: [GET], path: '/v1/orders/{id}/lines' }\n  - { id: items.read, methods: [GET], path: '/v1/items/{id}' }\n";
/// The endpoints, each with a target that leads there.
const ASKED: [(&str, &str); 4] = [
    ("orders.list", "/v1/orders"),
    ("orders.read", "/v1/orders/7"),
    ("orders.lines.read", "/v1/orders/7/lines"),
    ("items.read", "/v1/items/7?x=1"),
];
const PATTERNS: [&str; 6] = ["orders.list", "orders.read", "orders.*", "orders.lines.*", "items.read", "items.*"];

/// A rule as it is meant.
struct Rule {
    allows: bool,
    patterns: Vec<&'static str>,
    /// Only clients of this network.
    network: Option<&'static str>,
    /// Whether it has ended.
    ended: bool,
    /// What its condition says, where it has one.
    condition: Option<bool>,
}

/// Takes choices from the bytes; none left is zero.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn of(&mut self, most: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % most
    }
}

impl Rule {
    fn any(choices: &mut Choices<'_>) -> Self {
        let allows = choices.of(3) != 0;
        let patterns = (0..=choices.of(2)).map(|_| PATTERNS[choices.of(PATTERNS.len())]).collect();
        let network = [None, None, Some("192.0.2.0/24"), Some("198.51.100.0/24")][choices.of(4)];
        let ended = choices.of(4) == 3;
        let condition = [None, None, Some(true), Some(false)][choices.of(4)];
        Self { allows, patterns, network, ended, condition }
    }

    fn text(&self, number: usize) -> String {
        let effect = if self.allows { "allow" } else { "deny" };
        let mut patterns: Vec<String> = self.patterns.iter().map(|pattern| format!("\"{pattern}\"")).collect();
        patterns.dedup();
        let mut text = format!("  - id: r{number}\n    {effect}: [{}]\n", patterns.join(", "));
        // Writing to a string cannot fail.
        if let Some(network) = self.network {
            let _ = writeln!(text, "    clients: [{network}]");
        }
        let year = if self.ended { 2020 } else { 2090 };
        let _ = writeln!(text, "    until: {year}-01-31T18:00:00+00:00");
        if let Some(says) = self.condition {
            let method = if says { "GET" } else { "POST" };
            let _ = writeln!(text, "    when: 'request.method == \"{method}\"'");
        }
        text
    }

    fn speaks_of(&self, endpoint: &str, client: &str) -> bool {
        let covers = |pattern: &&str| match pattern.strip_suffix('*') {
            Some(beginning) => endpoint.starts_with(beginning),
            None => *pattern == endpoint,
        };
        let from_there = self.network.is_none_or(|network| client.starts_with(network.trim_end_matches("0/24")));
        self.patterns.iter().any(covers) && from_there && !self.ended && self.condition != Some(false)
    }
}

/// Deny beats allow, over all policies that are granted, and nothing else allows.
pub(crate) fn decision(input: &[u8]) {
    let mut choices = Choices(input.iter());
    let policies: Vec<Vec<Rule>> =
        (0..3).map(|_| (0..=choices.of(3)).map(|_| Rule::any(&mut choices)).collect()).collect();
    let mut files: Vec<(PathBuf, Vec<u8>)> = vec![("endpoints/erp.yaml".into(), ENDPOINTS.into())];
    for (number, rules) in policies.iter().enumerate() {
        let mut text = format!("version: 1\npolicy: p{number}\nschedule: exempt\nrules:\n");
        rules.iter().enumerate().for_each(|(place, rule)| text.push_str(&rule.text(place)));
        files.push((format!("p{number}.yaml").into(), text.into_bytes()));
    }
    let set = PolicySet::from_texts(&files).unwrap_or_else(|problems| panic!("{problems}"));
    let held: Vec<usize> = (0..3).filter(|_| choices.of(2) == 1).collect();
    let client = ["192.0.2.7", "198.51.100.7", "203.0.113.7"][choices.of(3)];
    let names: Vec<PolicyName> = held.iter().map(|number| format!("p{number}").parse().expect("a name")).collect();
    for (endpoint, target) in ASKED {
        let rules =
            || held.iter().flat_map(|number| &policies[*number]).filter(|rule| rule.speaks_of(endpoint, client));
        let expected = rules().any(|rule| rule.allows) && rules().all(|rule| rule.allows);
        let target = Target::parse(target.as_bytes()).expect("a target");
        let matched = set.route("GET", target.path()).expect("mapped").resolve(None).expect("one");
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().expect("a time");
        let facts = Facts { client: client.parse().ok(), ..Facts::new("GET", target.path(), target.query(), now) };
        let decided = set.decide(&matched, Grants::Bounded(&mut names.iter()), &facts);
        assert_eq!(decided.is_ok(), expected, "{endpoint} of {client} with {held:?}: {decided:?}\n{}", shown(&files));
    }
}

fn shown(files: &[(PathBuf, Vec<u8>)]) -> String {
    files.iter().skip(1).map(|(_, text)| String::from_utf8_lossy(text)).collect()
}
