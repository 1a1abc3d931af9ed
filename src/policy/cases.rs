//! `cases/*.yaml`: tests of the policies, as data.

use std::fmt;

use jiff::Timestamp;

use super::decision::{Allowed, Facts, Grants, Refused};
use super::odata::Body;
use super::set::PolicySet;
use super::yaml::{Node, Place, Problems, Reader, Source};
use crate::domain::{CanonicalPath, PolicyName, Target};

/// One case as written.
#[derive(Debug)]
pub(super) struct RawCase {
    pub(super) name: String,
    pub(super) grants: Vec<(PolicyName, Place)>,
    method: String,
    target: Target,
    at: Timestamp,
    body: Option<String>,
    expected: Expected,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    Allowed { rule: Option<String> },
    Denied { reason: Option<String> },
}

/// Whether one case came out as written.
#[derive(Debug, Clone)]
pub struct CaseResult {
    /// The name of the case.
    pub name: String,
    /// What was expected and what was decided, where they differ.
    pub difference: Option<String>,
}

pub(super) fn read(source: &Source, root: &Node) -> Result<Vec<RawCase>, Problems> {
    let mut reader = Reader::new(source);
    let cases = read_file(&mut reader, root).unwrap_or_default();
    let problems = reader.finish();
    if problems.is_empty() { Ok(cases) } else { Err(problems) }
}

fn read_file(reader: &mut Reader<'_>, root: &Node) -> Option<Vec<RawCase>> {
    let fields = reader.map(root, "a file of cases", &["version", "cases"])?;
    super::raw_endpoints::version(reader, &fields);
    let list = reader.required(&fields, "cases", "a file of cases")?;
    Some(reader.list(list, "cases")?.iter().filter_map(|item| read_case(reader, item)).collect())
}

fn read_case(reader: &mut Reader<'_>, node: &Node) -> Option<RawCase> {
    let fields = reader.map(node, "a case", &["name", "grants", "request", "expect"])?;
    let name = reader.required(&fields, "name", "a case").and_then(|node| reader.text(node, "name"));
    let grants = reader.required(&fields, "grants", "a case").and_then(|node| {
        let items = reader.list(node, "grants")?;
        let grants: Vec<_> =
            items.iter().map(|item| Some((reader.parsed::<PolicyName>(item, "grants")?, item.place))).collect();
        grants.into_iter().collect::<Option<Vec<_>>>()
    });
    let request = reader.required(&fields, "request", "a case").and_then(|node| read_request(reader, node));
    let expected = reader.required(&fields, "expect", "a case").and_then(|node| read_expected(reader, node));
    let (method, target, at, body) = request?;
    Some(RawCase { name: name?.to_owned(), grants: grants?, method, target, at, body, expected: expected? })
}

fn read_request(reader: &mut Reader<'_>, node: &Node) -> Option<(String, Target, Timestamp, Option<String>)> {
    let fields = reader.map(node, "a request", &["method", "path", "at", "body"])?;
    let method = reader.required(&fields, "method", "a request").and_then(|node| reader.text(node, "method"));
    let target = reader.required(&fields, "path", "a request").and_then(|node| {
        let text = reader.text(node, "path")?;
        Target::parse(text.as_bytes()).map_err(|why| reader.problem(node.place, format!("`path`: {why}"))).ok()
    });
    let at = reader.required(&fields, "at", "a request").and_then(|node| {
        let text = reader.text(node, "at")?;
        let at = text.parse::<Timestamp>().ok();
        if at.is_none() {
            reader.problem(node.place, "`at` must be an instant with its offset, as in 2026-11-23T12:00:00+05:00");
        }
        at
    });
    let body = match fields.get("body") {
        Some(node) => Some(reader.text(node, "body")?.to_owned()),
        None => None,
    };
    Some((method?.to_owned(), target?, at?, body))
}

fn read_expected(reader: &mut Reader<'_>, node: &Node) -> Option<Expected> {
    let fields = reader.map(node, "`expect`", &["decision", "rule", "reason"])?;
    let decision = reader.required(&fields, "decision", "`expect`")?;
    let rule = fields.get("rule").and_then(|node| reader.text(node, "rule")).map(str::to_owned);
    let reason = fields.get("reason").and_then(|node| reader.text(node, "reason")).map(str::to_owned);
    match reader.text(decision, "decision")? {
        "allowed" => Some(Expected::Allowed { rule }),
        "denied" => Some(Expected::Denied { reason }),
        other => {
            let shown: String = other.chars().take(32).flat_map(char::escape_debug).collect();
            let hint = super::yaml::suggestion(other, &["allowed", "denied"]);
            reader.problem(decision.place, format!("`decision`: `{shown}` is neither `allowed` nor `denied`{hint}"));
            None
        }
    }
}

/// What was decided about a case.
enum Decided {
    Allowed(String),
    Denied(&'static str, String),
}

impl fmt::Display for Decided {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed(rule) => write!(out, "allowed by {rule}"),
            Self::Denied(reason, why) => write!(out, "denied, {reason}: {why}"),
        }
    }
}

impl PolicySet {
    /// Runs the cases of the set.
    #[must_use]
    pub fn run_cases(&self) -> Vec<CaseResult> {
        self.cases().iter().map(|case| self.run_case(case)).collect()
    }

    fn run_case(&self, case: &RawCase) -> CaseResult {
        let decided = self.decide_case(case);
        let as_expected = match (&case.expected, &decided) {
            (Expected::Allowed { rule }, Decided::Allowed(by)) => rule.as_ref().is_none_or(|rule| rule == by),
            (Expected::Denied { reason }, Decided::Denied(found, _)) => {
                reason.as_ref().is_none_or(|reason| reason == found)
            }
            (Expected::Allowed { .. }, Decided::Denied(..)) | (Expected::Denied { .. }, Decided::Allowed(_)) => false,
        };
        let difference = (!as_expected).then(|| {
            let expected = match &case.expected {
                Expected::Allowed { rule } => format!("allowed by {}", rule.as_deref().unwrap_or("any rule")),
                Expected::Denied { reason } => format!("denied, {}", reason.as_deref().unwrap_or("for any reason")),
            };
            format!("expected: {expected}\n   decided: {decided}")
        });
        CaseResult { name: case.name.clone(), difference }
    }

    fn decide_case(&self, case: &RawCase) -> Decided {
        let path: &CanonicalPath = case.target.path();
        let Some(route) = self.route(&case.method, path) else {
            return Decided::Denied("unmapped", "no endpoint has this method and path".into());
        };
        let operations =
            match self.operations(route, &case.target, case.body.as_deref().map(|body| Body::json(body.as_bytes()))) {
                Ok(operations) => operations,
                Err(why) => return Decided::Denied("body", why.to_string()),
            };
        let facts = Facts { method: &case.method, path, query: case.target.query(), client: None, now: case.at };
        let mut by: Vec<String> = Vec::new();
        for operation in operations.iter() {
            let mut held = case.grants.iter().map(|(policy, _)| policy);
            let decided =
                self.decide(operation.matched(), Grants::Bounded(&mut held), &operation.facts(facts)).map_or_else(
                    |refused| Decided::Denied(reason_of(&refused), refused.to_string()),
                    |allowed| open_by(&allowed, case.at),
                );
            match decided {
                Decided::Allowed(rule) if by.contains(&rule) => {}
                Decided::Allowed(rule) => by.push(rule),
                denied @ Decided::Denied(..) => return denied,
            }
        }
        Decided::Allowed(by.join(", "))
    }
}

fn reason_of(refused: &Refused) -> &'static str {
    match refused {
        Refused::NoRuleMatched => "not_granted",
        Refused::DeniedByRule { .. } => "denied_by_rule",
        Refused::ConditionFailed { .. } => "condition_failed",
        Refused::PolicyBroken { .. } => "policy_broken",
    }
}

fn open_by(allowed: &Allowed, at: Timestamp) -> Decided {
    match allowed.open_at(at) {
        Some(allowing) => Decided::Allowed(allowing.name()),
        None => Decided::Denied("outside_schedule", "no allowing policy's schedule is open".into()),
    }
}
