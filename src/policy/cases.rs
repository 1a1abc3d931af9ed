//! `cases/*.yaml`: tests of the policies, as data.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;

use super::decision::{Allowed, Refused};
use super::facts::{Facts, Grants};
use super::obligations::Unfulfillable;
use super::odata::Body;
use super::operations::Operations;
use super::set::PolicySet;
use super::surroundings::{self, Surroundings};
use super::yaml::{Node, Place, Problems, Reader, Source};
use crate::domain::{PolicyName, Target};

/// One case as written.
#[derive(Debug)]
pub(super) struct RawCase {
    pub(super) name: String,
    file: PathBuf,
    line: usize,
    pub(super) grants: Vec<(PolicyName, Place)>,
    method: String,
    target: Target,
    at: Timestamp,
    body: Option<String>,
    surroundings: Surroundings,
    expected: Expected,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    Allowed {
        rule: Option<String>,
        /// What the allowing rules must demand, all of it; `None` is whatever they demand.
        obligations: Option<BTreeSet<String>>,
    },
    Denied {
        reason: Option<String>,
    },
}

/// Whether one case came out as written.
#[derive(Debug, Clone)]
pub struct CaseResult {
    /// The name of the case.
    pub name: String,
    /// Its file, as a path inside the policy folder.
    pub file: PathBuf,
    /// The line on which it begins.
    pub line: usize,
    /// What was expected and what was decided, where they differ.
    pub difference: Option<Difference>,
}

/// A decision that is not the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What the case says.
    pub expected: String,
    /// What the policies say.
    pub decided: String,
}

/// The cases that could be read, and what was wrong.
pub(super) fn read(source: &Source, root: &Node) -> (Vec<RawCase>, Problems) {
    let mut reader = Reader::new(source);
    let cases = read_file(&mut reader, root).unwrap_or_default();
    (cases, reader.finish())
}

fn read_file(reader: &mut Reader<'_>, root: &Node) -> Option<Vec<RawCase>> {
    let fields = reader.map(root, "a file of cases", &["version", "cases"])?;
    super::raw_endpoints::version(reader, &fields);
    let list = reader.required(&fields, "cases", "a file of cases")?;
    Some(reader.list(list, "cases")?.iter().filter_map(|item| read_case(reader, item)).collect())
}

fn read_case(reader: &mut Reader<'_>, node: &Node) -> Option<RawCase> {
    let fields = reader.map(node, "a case", &["name", "grants", "principal", "request", "expect"])?;
    let name = reader.required(&fields, "name", "a case").and_then(|node| reader.text(node, "name"));
    let grants = reader.required(&fields, "grants", "a case").and_then(|node| {
        let items = reader.list(node, "grants")?;
        let grants: Vec<_> =
            items.iter().map(|item| Some((reader.parsed::<PolicyName>(item, "grants")?, item.place))).collect();
        grants.into_iter().collect::<Option<Vec<_>>>()
    });
    let request = reader.required(&fields, "request", "a case");
    let request = request.and_then(|node| read_request(reader, node, fields.get("principal")));
    let expected = reader.required(&fields, "expect", "a case").and_then(|node| read_expected(reader, node));
    let Request { method, target, at, body, surroundings } = request?;
    let (file, line) = (reader.file().to_owned(), node.place.line);
    let (name, grants, expected) = (name?.to_owned(), grants?, expected?);
    Some(RawCase { name, file, line, grants, method, target, at, body, surroundings, expected })
}

struct Request {
    method: String,
    target: Target,
    at: Timestamp,
    body: Option<String>,
    surroundings: Surroundings,
}

fn read_request(reader: &mut Reader<'_>, node: &Node, principal: Option<&Node>) -> Option<Request> {
    let known = [&["method", "path", "at", "body"][..], &surroundings::KEYS].concat();
    let fields = reader.map(node, "a request", &known)?;
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
    let surroundings = Surroundings::read(reader, &fields, principal);
    Some(Request { method: method?.to_owned(), target: target?, at: at?, body, surroundings: surroundings? })
}

fn read_expected(reader: &mut Reader<'_>, node: &Node) -> Option<Expected> {
    let fields = reader.map(node, "`expect`", &["decision", "rule", "reason", "obligations"])?;
    let decision = reader.required(&fields, "decision", "`expect`")?;
    let rule = fields.get("rule").and_then(|node| reader.text(node, "rule")).map(str::to_owned);
    let reason = fields.get("reason").and_then(|node| reader.text(node, "reason")).map(str::to_owned);
    let obligations = match fields.get("obligations") {
        Some(node) => Some(read_obligations(reader, node)?),
        None => None,
    };
    match reader.text(decision, "decision")? {
        "allowed" => Some(Expected::Allowed { rule, obligations }),
        "denied" => {
            if let Some(node) = fields.get("obligations") {
                reader.problem(node.place, "`obligations` says nothing where the request is denied");
            }
            Some(Expected::Denied { reason })
        }
        other => {
            let shown: String = other.chars().take(32).flat_map(char::escape_debug).collect();
            let hint = super::yaml::suggestion(other, &["allowed", "denied"]);
            reader.problem(decision.place, format!("`decision`: `{shown}` is neither `allowed` nor `denied`{hint}"));
            None
        }
    }
}

/// Each as in `mask /cost`, `query company=7` or `header X-Company=7`.
fn read_obligations(reader: &mut Reader<'_>, node: &Node) -> Option<BTreeSet<String>> {
    let mut obligations = BTreeSet::new();
    for item in reader.list(node, "obligations")? {
        let text = reader.text(item, "obligations")?;
        match text.split_once(' ') {
            Some(("mask" | "query", _)) => drop(obligations.insert(text.to_owned())),
            Some(("header", rest)) => {
                let (name, value) = rest.split_once('=').unwrap_or((rest, ""));
                obligations.insert(format!("header {}={value}", name.to_ascii_lowercase()));
            }
            _ => {
                let why = "`obligations` are written `mask /pointer`, `query name=value` or `header name=value`";
                reader.problem(item.place, why);
            }
        }
    }
    Some(obligations)
}

/// What was decided about a case.
pub(super) enum Decided {
    /// By these rules, with these obligations.
    Allowed(String, BTreeSet<String>),
    Denied(&'static str, String),
}

impl fmt::Display for Decided {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed(rule, obligations) => write!(out, "allowed by {rule}{}", with(obligations)),
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
            (Expected::Allowed { rule, obligations }, Decided::Allowed(by, owed)) => {
                rule.as_ref().is_none_or(|rule| rule == by)
                    && obligations.as_ref().is_none_or(|obligations| obligations == owed)
            }
            (Expected::Denied { reason }, Decided::Denied(found, _)) => {
                reason.as_ref().is_none_or(|reason| reason == found)
            }
            (Expected::Allowed { .. }, Decided::Denied(..)) | (Expected::Denied { .. }, Decided::Allowed(..)) => false,
        };
        let difference = (!as_expected).then(|| {
            let expected = match &case.expected {
                Expected::Allowed { rule, obligations } => {
                    let rule = rule.as_deref().unwrap_or("any rule");
                    match obligations {
                        Some(none) if none.is_empty() => format!("allowed by {rule}, without obligations"),
                        Some(obligations) => format!("allowed by {rule}{}", with(obligations)),
                        None => format!("allowed by {rule}"),
                    }
                }
                Expected::Denied { reason } => format!("denied, {}", reason.as_deref().unwrap_or("for any reason")),
            };
            Difference { expected, decided: decided.to_string() }
        });
        CaseResult { name: case.name.clone(), file: case.file.clone(), line: case.line, difference }
    }

    fn decide_case(&self, case: &RawCase) -> Decided {
        let operations = match self.operations_of(case) {
            Ok(operations) => operations,
            Err(denied) => return denied,
        };
        let facts = case.facts();
        let mut by: Vec<String> = Vec::new();
        let mut owed = BTreeSet::new();
        for operation in operations.iter() {
            let mut held = case.grants.iter().map(|(policy, _)| policy);
            let decided = self.decide_operation(operation, Grants::Bounded(&mut held), facts).map_or_else(
                |refused| Decided::Denied(reason_of(&refused), refused.to_string()),
                |allowed| open_by(&allowed, case.at),
            );
            match decided {
                Decided::Allowed(rule, obligations) => {
                    owed.extend(obligations);
                    if !by.contains(&rule) {
                        by.push(rule);
                    }
                }
                denied @ Decided::Denied(..) => return denied,
            }
        }
        Decided::Allowed(by.join(", "), owed)
    }

    /// What the request of a case asks for.
    pub(super) fn operations_of(&self, case: &RawCase) -> Result<Operations<'_>, Decided> {
        let Some(route) = self.route(&case.method, case.target.path()) else {
            return Err(Decided::Denied("unmapped", "no endpoint has this method and path".into()));
        };
        let body = case.body.as_deref().map(|body| Body::json(body.as_bytes()));
        self.operations(route, &case.target, body).map_err(|why| Decided::Denied("body", why.to_string()))
    }
}

impl RawCase {
    pub(super) fn facts(&self) -> Facts<'_> {
        let Self { method, target, at, surroundings, .. } = self;
        surroundings.add_to(Facts::new(method, target.path(), target.query(), *at))
    }
}

fn reason_of(refused: &Refused) -> &'static str {
    match refused {
        Refused::NoRuleMatched => "not_granted",
        Refused::DeniedByRule { .. } => "denied_by_rule",
        Refused::ConditionFailed { .. } => "condition_failed",
        Refused::Unfulfillable(Unfulfillable::Conflict { .. }) => "obligations_conflict",
        Refused::Unfulfillable(Unfulfillable::InBatch { .. }) => "obligation_in_batch",
        Refused::PolicyBroken { .. } => "policy_broken",
    }
}

fn with(obligations: &BTreeSet<String>) -> String {
    if obligations.is_empty() {
        return String::new();
    }
    format!(" with {}", obligations.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
}

fn open_by(allowed: &Allowed, at: Timestamp) -> Decided {
    match allowed.open_at(at) {
        Some(allowing) => Decided::Allowed(allowing.name(), allowed.obligations().in_words()),
        None => Decided::Denied("outside_schedule", "no allowing policy's schedule is open".into()),
    }
}
