//! A policy file as written.

use std::time::Duration;

use jiff::Timestamp;

use super::clients::Clients;
use super::condition::Condition;
use super::obligations::Demands;
use super::pattern::EndpointPattern;
use super::raw_obligations;
use super::rules::Effect;
use super::yaml::{Code, Fields, Node, Place, Problems, Reader, Source};
use crate::domain::{Limits, PolicyName, RuleId};

/// Bytes in one period at most.
const MOST_BYTES: u64 = 1 << 40;

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
    pub(super) endpoints: Vec<(EndpointPattern, Place)>,
    pub(super) clients: Option<Clients>,
    pub(super) until: Option<Timestamp>,
    pub(super) condition: Option<Condition>,
    pub(super) demands: Option<Demands>,
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
    let own = ["id", "allow", "deny", "clients", "until", "when", "description"];
    let known = [&own[..], &raw_obligations::KEYS].concat();
    let fields = reader.map(node, "a rule", &known)?;
    let id = reader.required(&fields, "id", "a rule").and_then(|node| reader.parsed::<RuleId>(node, "id"));
    if let Some(node) = fields.get("description") {
        reader.text(node, "description");
    }
    // SECURITY: what cannot be read is not left out, it makes the rule unusable: each of these narrows it.
    let condition = fields.get("when").map(|node| read_condition(reader, node).ok_or(Unreadable)).transpose();
    let clients = fields.get("clients").map(|node| Clients::read(reader, node).ok_or(Unreadable)).transpose();
    let until = fields.get("until").map(|node| read_until(reader, node).ok_or(Unreadable)).transpose();
    let (effect, key, list) = read_effect(reader, node, &fields)?;
    let demands = raw_obligations::read(reader, &fields, effect);
    let endpoints = read_endpoints(reader, list, key)?;
    let (condition, clients, until) = (condition.ok()?, clients.ok()?, until.ok()?);
    Some(RawRule { id: id?, place: node.place, effect, endpoints, clients, until, condition, demands })
}

/// A key is there and could not be read; why is among the problems.
struct Unreadable;

fn read_effect<'n>(
    reader: &mut Reader<'_>,
    node: &Node,
    fields: &Fields<'n>,
) -> Option<(Effect, &'static str, &'n Node)> {
    match (fields.get("allow"), fields.get("deny")) {
        (Some(list), None) => Some((Effect::Allow, "allow", list)),
        (None, Some(list)) => Some((Effect::Deny, "deny", list)),
        (Some(_), Some(_)) => {
            let second = fields.iter().filter(|(key, _, _)| matches!(*key, "allow" | "deny")).last();
            reader.problem(
                second.map_or(node.place, |(_, key, _)| key.place),
                "a rule has either `allow` or `deny`, not both",
            );
            None
        }
        (None, None) => {
            reader.note(Code::MissingKey, node.place, "a rule needs `allow` or `deny`: a list of endpoint ids");
            None
        }
    }
}

fn read_condition(reader: &mut Reader<'_>, node: &Node) -> Option<Condition> {
    let source = reader.text(node, "when")?;
    match Condition::compile(source) {
        Ok(condition) => Some(condition),
        Err(wrong) => {
            for wrong in wrong {
                let place = wrong.at.map_or(node.place, |at| reader.place_in(node, source, at));
                reader.problem(place, format!("`when`: {}", wrong.message));
            }
            None
        }
    }
}

/// A moment. A date alone, or a time without its offset, would be another moment in another zone.
fn read_until(reader: &mut Reader<'_>, node: &Node) -> Option<Timestamp> {
    let text = reader.text(node, "until")?;
    // A zone in brackets beside the offset could contradict it.
    let until = text.parse::<Timestamp>().ok().filter(|_| !text.contains('['));
    if until.is_none() {
        let message =
            "`until` must be an instant with its offset, as in 2027-01-01T00:00:00+05:00 or 2026-12-31T19:00:00Z";
        reader.problem(node.place, message);
    }
    until
}

fn read_endpoints(reader: &mut Reader<'_>, list: &Node, key: &str) -> Option<Vec<(EndpointPattern, Place)>> {
    let items = reader.list(list, key)?;
    if items.is_empty() {
        reader.problem(list.place, format!("`{key}` is empty, so the rule does nothing"));
    }
    let endpoints: Vec<_> =
        items.iter().map(|item| Some((reader.parsed::<EndpointPattern>(item, key)?, item.place))).collect();
    endpoints.into_iter().collect()
}

fn read_limits(reader: &mut Reader<'_>, node: &Node) -> Option<Limits> {
    let fields = reader.map(node, "`limits`", &["requests", "per", "concurrent", "bytes"])?;
    let requests = fields.get("requests").map(|node| reader.number(node, "requests", 1..=1_000_000));
    let bytes = fields.get("bytes").map(|node| reader.size(node, "bytes", 1..=MOST_BYTES));
    let second = Duration::from_secs(1);
    let per = fields.get("per").map(|node| reader.duration(node, "per", second..=second * 86_400));
    let concurrent = fields.get("concurrent").map(|node| reader.number(node, "concurrent", 1..=100_000));
    if per.is_some() == (requests.is_none() && bytes.is_none()) {
        let why = "`per` belongs together with `requests` or `bytes`, as in `{ requests: 600, bytes: 10MiB, per: 1m }`";
        reader.problem(node.place, why);
        return None;
    }
    let rate = match (requests, per) {
        (Some(requests), Some(per)) => Some((u32::try_from(requests?).ok()?, per?)),
        _ => None,
    };
    let bytes = match (bytes, per) {
        (Some(bytes), Some(per)) => Some((bytes?, per?)),
        _ => None,
    };
    let concurrent = match concurrent {
        Some(number) => Some(u32::try_from(number?).ok()?),
        None => None,
    };
    Some(Limits::new(rate, concurrent, bytes))
}
