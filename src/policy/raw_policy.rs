//! A policy file as written.

use std::time::Duration;

use super::condition::Condition;
use super::rules::{Effect, Limits};
use super::yaml::{Code, Node, Place, Problems, Reader, Source};
use crate::domain::{EndpointId, PolicyName, RuleId};

/// A policy as written, each part checked by itself; names are not looked up yet.
#[derive(Debug)]
pub(super) struct RawPolicy {
    pub(super) name: PolicyName,
    pub(super) description: Option<String>,
    pub(super) schedule: Option<(String, Place)>,
    pub(super) rules: Vec<RawRule>,
    pub(super) limits: Option<Limits>,
}

/// A rule as written.
#[derive(Debug)]
pub(super) struct RawRule {
    pub(super) id: RuleId,
    pub(super) place: Place,
    pub(super) effect: Effect,
    pub(super) endpoints: Vec<(EndpointId, Place)>,
    pub(super) condition: Option<Condition>,
}

/// The policy as far as it could be read, and what was wrong: dangling references are found even beside mistakes.
pub(super) fn read(source: &Source, root: &Node) -> (Option<RawPolicy>, Problems) {
    let mut reader = Reader::new(source);
    let policy = read_file(&mut reader, source, root);
    (policy, reader.finish())
}

fn read_file(reader: &mut Reader<'_>, source: &Source, root: &Node) -> Option<RawPolicy> {
    let known = ["version", "policy", "description", "schedule", "rules", "limits"];
    let fields = reader.map(root, "a policy file", &known)?;
    super::raw_endpoints::version(reader, &fields);
    let name = reader.required(&fields, "policy", "a policy file").and_then(|node| {
        let name = reader.parsed::<PolicyName>(node, "policy")?;
        let stem = source.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        if stem.as_deref() != Some(name.as_str()) {
            let message = format!(
                "`policy` is `{name}`, but the file is called `{}`; they must be the same",
                source.file.display()
            );
            reader.problem(node.place, message);
        }
        Some(name)
    });
    let description = fields.get("description").and_then(|node| reader.text(node, "description")).map(str::to_owned);
    let schedule =
        fields.get("schedule").and_then(|node| Some((reader.text(node, "schedule")?.to_owned(), node.place)));
    let rules = reader.required(&fields, "rules", "a policy file").and_then(|node| read_rules(reader, node));
    let limits = match fields.get("limits") {
        Some(node) => Some(read_limits(reader, node)?),
        None => None,
    };
    Some(RawPolicy { name: name?, description, schedule, rules: rules?, limits })
}

fn read_rules(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<RawRule>> {
    let mut rules: Vec<RawRule> = Vec::new();
    for item in reader.list(node, "rules")? {
        if let Some(rule) = read_rule(reader, item) {
            if rules.iter().any(|known| known.id == rule.id) {
                reader.note(Code::DuplicateId, rule.place, format!("duplicate rule id `{}`", rule.id));
            }
            rules.push(rule);
        }
    }
    Some(rules)
}

fn read_rule(reader: &mut Reader<'_>, node: &Node) -> Option<RawRule> {
    let fields = reader.map(node, "a rule", &["id", "allow", "deny", "when", "description"])?;
    let id = reader.required(&fields, "id", "a rule").and_then(|node| reader.parsed::<RuleId>(node, "id"));
    if let Some(node) = fields.get("description") {
        reader.text(node, "description");
    }
    let condition = match fields.get("when") {
        Some(node) => {
            let source = reader.text(node, "when")?;
            match Condition::compile(source) {
                Ok(condition) => Some(condition),
                Err(why) => {
                    reader.problem(node.place, format!("`when`: {why}"));
                    return None;
                }
            }
        }
        None => None,
    };
    let (effect, key, list) = match (fields.get("allow"), fields.get("deny")) {
        (Some(list), None) => (Effect::Allow, "allow", list),
        (None, Some(list)) => (Effect::Deny, "deny", list),
        (Some(_), Some(_)) => {
            let second = fields.iter().filter(|(key, _, _)| matches!(*key, "allow" | "deny")).last();
            reader.problem(
                second.map_or(node.place, |(_, key, _)| key.place),
                "a rule has either `allow` or `deny`, not both",
            );
            return None;
        }
        (None, None) => {
            reader.note(Code::MissingKey, node.place, "a rule needs `allow` or `deny`: a list of endpoint ids");
            return None;
        }
    };
    let endpoints = read_endpoints(reader, list, key)?;
    Some(RawRule { id: id?, place: node.place, effect, endpoints, condition })
}

fn read_endpoints(reader: &mut Reader<'_>, list: &Node, key: &str) -> Option<Vec<(EndpointId, Place)>> {
    let items = reader.list(list, key)?;
    if items.is_empty() {
        reader.problem(list.place, format!("`{key}` is empty, so the rule does nothing"));
    }
    let mut endpoints = Vec::with_capacity(items.len());
    for item in items {
        let text = reader.text(item, key)?;
        if text.contains('*') {
            reader.problem(
                item.place,
                format!(
                    "`{key}`: `{text}` is a pattern; name each endpoint, so that a new one is not allowed by chance"
                ),
            );
            continue;
        }
        endpoints.push((reader.parsed::<EndpointId>(item, key)?, item.place));
    }
    Some(endpoints)
}

fn read_limits(reader: &mut Reader<'_>, node: &Node) -> Option<Limits> {
    let fields = reader.map(node, "`limits`", &["requests", "per", "concurrent"])?;
    let requests = fields.get("requests").map(|node| reader.number(node, "requests", 1..=1_000_000));
    let second = Duration::from_secs(1);
    let per = fields.get("per").map(|node| reader.duration(node, "per", second..=second * 86_400));
    let concurrent = fields.get("concurrent").map(|node| reader.number(node, "concurrent", 1..=100_000));
    let rate = match (requests, per) {
        (Some(requests), Some(per)) => Some((u32::try_from(requests?).ok()?, per?)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            reader.problem(node.place, "`requests` and `per` belong together, as in `{ requests: 600, per: 1m }`");
            return None;
        }
    };
    let concurrent = match concurrent {
        Some(number) => Some(u32::try_from(number?).ok()?),
        None => None,
    };
    Some(Limits { rate, concurrent })
}
