//! Which rules and endpoints the cases of a set exercise.

use std::collections::HashSet;
use std::path::PathBuf;

use super::decision::applies;
use super::set::PolicySet;
use super::texts::Texts;
use crate::domain::{EndpointId, PolicyName, RuleId};

/// What no case exercises.
#[derive(Debug, Clone)]
pub struct Coverage {
    /// How many rules there are.
    pub rules: usize,
    /// The rules that applied to no request of a case.
    pub untested_rules: Vec<Untested>,
    /// How many endpoints there are.
    pub endpoints: usize,
    /// The endpoints that no request of a case led to.
    pub untested_endpoints: Vec<Untested>,
}

/// Something that no case exercises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untested {
    /// `policy/rule`, or the id of the endpoint.
    pub name: String,
    /// Its file, as a path inside the policy folder.
    pub file: PathBuf,
    /// The line on which it begins.
    pub line: usize,
}

#[derive(Default)]
struct Exercised<'s> {
    rules: HashSet<(&'s PolicyName, &'s RuleId)>,
    endpoints: HashSet<&'s EndpointId>,
}

impl PolicySet {
    /// What the cases exercise, whether they come out as expected or not.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        let exercised = self.exercised();
        let texts = Texts::new(self.files());
        let policies = || self.policy_names().into_iter().filter_map(|name| self.policy(name));
        let rules = policies().flat_map(|policy| policy.rules.iter().map(move |rule| (policy, rule)));
        let untested_rules = rules.filter(|(policy, rule)| !exercised.rules.contains(&(&policy.name, &rule.id)));
        let untested_endpoints =
            self.endpoints().iter().filter(|endpoint| !exercised.endpoints.contains(&endpoint.id)).filter_map(
                |endpoint| {
                    let (tree, place) = texts.endpoint(endpoint.id.as_str())?;
                    let (file, line) = (tree.file().to_owned(), place.id.line);
                    Some(Untested { name: endpoint.id.to_string(), file, line })
                },
            );
        Coverage {
            rules: policies().map(|policy| policy.rules.len()).sum(),
            untested_rules: untested_rules
                .map(|(policy, rule)| Untested {
                    name: format!("{}/{}", policy.name, rule.id),
                    file: policy.file.clone(),
                    line: rule.line,
                })
                .collect(),
            endpoints: self.endpoints().len(),
            untested_endpoints: untested_endpoints.collect(),
        }
    }

    fn exercised(&self) -> Exercised<'_> {
        let mut exercised = Exercised::default();
        for case in self.cases() {
            // A request that leads nowhere exercises nothing.
            let Ok(operations) = self.operations_of(case) else { continue };
            for operation in operations.iter() {
                let matched = operation.matched();
                let facts = operation.facts(case.facts());
                exercised.endpoints.insert(matched.endpoint().id());
                for policy in case.grants.iter().filter_map(|(name, _)| self.policy(name)) {
                    for rule in policy.rules.iter().filter(|rule| rule.endpoints.contains(matched.endpoint().id())) {
                        // One that cannot be evaluated decides too.
                        if applies(policy, rule, matched, &facts).unwrap_or(true) {
                            exercised.rules.insert((&policy.name, &rule.id));
                        }
                    }
                }
            }
        }
        exercised
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: &str = "version: 1
cases:
  - name: reads
    grants: [reader]
    request: { method: GET, path: /v1/orders, at: 1970-01-01T00:00:00Z }
    expect: { decision: allowed }
  - name: nowhere
    grants: [reader]
    request: { method: GET, path: /nowhere, at: 1970-01-01T00:00:00Z }
    expect: { decision: allowed }
";
    const READER: &str = "version: 1
policy: reader
schedule: exempt
rules:
  - { id: read, allow: [orders.list] }
  - { id: again, allow: [orders.list, orders.read] }
  - id: archive
    deny: [orders.list]
    when: 'request.query[\"archived\"] == \"true\"'
  - { id: other, allow: [orders.read] }
";
    const ENDPOINTS: &str = "version: 1
upstream: erp
endpoints:
  - { id: orders.list, methods: [GET], path: /v1/orders }
  - id: orders.read
    methods: [GET]
    path: '/v1/orders/{id}'
";

    fn set(cases: &str) -> PolicySet {
        let texts = [("cases/c.yaml", cases), ("endpoints/e.yaml", ENDPOINTS), ("reader.yaml", READER)];
        let texts = texts.map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec()));
        PolicySet::from_texts(&texts).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn places(untested: &[Untested]) -> Vec<(&str, usize)> {
        untested.iter().map(|untested| (untested.name.as_str(), untested.line)).collect()
    }

    #[test]
    fn rules_that_apply_to_no_request_and_endpoints_that_none_leads_to_are_listed() {
        let coverage = set(CASES).coverage();
        assert_eq!((coverage.rules, coverage.endpoints), (4, 2));
        assert_eq!(places(&coverage.untested_rules), [("reader/archive", 7), ("reader/other", 10)]);
        assert_eq!(places(&coverage.untested_endpoints), [("orders.read", 5)]);
    }

    #[test]
    fn a_rule_beside_the_one_that_is_named_as_deciding_is_exercised_too() {
        let coverage = set(&CASES.replace("/v1/orders,", "/v1/orders?archived=true,")).coverage();
        assert_eq!(places(&coverage.untested_rules), [("reader/other", 10)]);
    }

    #[test]
    fn a_result_names_file_and_line_and_both_sides() {
        let results = set(CASES).run_cases();
        let places: Vec<_> = results.iter().map(|result| (result.file.display().to_string(), result.line)).collect();
        assert_eq!(places, [("cases/c.yaml".to_owned(), 3), ("cases/c.yaml".to_owned(), 7)]);
        assert_eq!(results[0].difference, None);
        let difference = results[1].difference.clone().expect("a difference");
        assert_eq!(difference.expected, "allowed by any rule");
        assert!(difference.decided.starts_with("denied, unmapped"), "{difference:?}");
    }
}
