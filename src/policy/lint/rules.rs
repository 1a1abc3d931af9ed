//! Rules that decide nothing.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use cel::{Context, Program, Value as Outcome};

use super::Linted;
use crate::domain::EndpointId;
use crate::policy::rules::{Effect, Policy, Rule};
use crate::policy::texts::{Tree, entry, item_with_id, items, member};
use crate::policy::yaml::{Code, Node, Place, Problem, Value};

fn policies<'l>(linted: &'l Linted<'_>) -> impl Iterator<Item = (&'l Arc<Policy>, Tree<'l>)> {
    let names = linted.set.policy_names().into_iter();
    names
        .filter_map(|name| linted.set.policy(name))
        .filter_map(|policy| Some((policy, linted.texts.file(&policy.file)?)))
}

fn rule_node<'t>(tree: Tree<'t>, rule: &Rule) -> Option<&'t Node> {
    item_with_id(member(tree.root, "rules"), rule.id.as_str())
}

fn key_of(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    }
}

/// A deny without condition leaves nothing to any other rule at its endpoints.
pub(super) fn rules_behind_a_deny(linted: &Linted<'_>, found: &mut Vec<Problem>) {
    for (policy, tree) in policies(linted) {
        for (index, rule) in policy.rules.iter().enumerate() {
            let denies = policy.rules.iter().enumerate().filter(|(at, other)| {
                let decides_alone = *at != index && other.effect == Effect::Deny && other.is_unconditional();
                // Of two rules that deny the same, the first one stays.
                let comes_first = !(rule.effect == Effect::Deny && rule.is_unconditional()) || *at < index;
                decides_alone && comes_first
            });
            let denies: Vec<&Rule> = denies.map(|(_, other)| other).collect();
            found.extend(behind(tree, rule, &denies));
        }
    }
}

fn behind(tree: Tree<'_>, rule: &Rule, denies: &[&Rule]) -> Vec<Problem> {
    let deny_of = |endpoint: &EndpointId| denies.iter().find(|deny| deny.endpoints.contains(endpoint));
    let Some(node) = rule_node(tree, rule) else { return Vec::new() };
    if !rule.endpoints.is_empty() && rule.endpoints.iter().all(|endpoint| deny_of(endpoint).is_some()) {
        let by: BTreeSet<_> = rule.endpoints.iter().filter_map(deny_of).map(|deny| (deny.line, &deny.id)).collect();
        let by: Vec<_> = by.into_iter().map(|(line, id)| format!("`{id}` (line {line})")).collect();
        let does = match rule.effect {
            Effect::Allow => "can never allow anything",
            Effect::Deny => "changes nothing",
        };
        let message = format!(
            "rule `{}` {does}: {} always {} its endpoints; a deny wins whatever the order, so remove one of them",
            rule.id,
            by.join(", "),
            if by.len() == 1 { "denies" } else { "deny" }
        );
        let place = member(node, "id").map_or(node.place, |id| id.place);
        return vec![tree.problem(Code::ShadowedRule, place, message)];
    }
    if rule.effect == Effect::Deny {
        return Vec::new();
    }
    let named = items(member(node, key_of(rule.effect))).iter().filter_map(|item| {
        let deny = deny_of(&text_of(item)?.parse().ok()?)?;
        let message = format!(
            "`{}` is in the allow rule `{}`, and `{}` (line {}) always denies it; a deny wins whatever the order",
            text_of(item)?,
            rule.id,
            deny.id,
            deny.line
        );
        Some(tree.problem(Code::ShadowedEndpoint, item.place, message))
    });
    named.collect()
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text),
        Value::List(_) | Value::Map(_) => None,
    }
}

pub(super) fn conditions_that_never_hold(linted: &Linted<'_>, found: &mut Vec<Problem>) {
    for (policy, tree) in policies(linted) {
        for rule in policy.rules.iter().filter(|rule| rule.condition.is_some()) {
            let condition = rule_node(tree, rule).and_then(|node| member(node, "when"));
            if let Some(node) = condition.filter(|node| text_of(node).is_some_and(is_always_false)) {
                let message = format!(
                    "the condition of rule `{}` is false for every request; remove the rule or mend it",
                    rule.id
                );
                found.push(tree.problem(Code::NeverMatches, node.place, message));
            }
        }
    }
}

/// Whether an expression asks nothing about the request and comes out false.
fn is_always_false(expression: &str) -> bool {
    let Ok(program) = Program::compile(expression) else { return false };
    program.references().variables().is_empty()
        && matches!(program.execute(&Context::default()), Ok(Outcome::Bool(false)))
}

pub(super) fn rules_that_have_ended(linted: &Linted<'_>, found: &mut Vec<Problem>) {
    let Some(now) = linted.around.now else { return };
    for (policy, tree) in policies(linted) {
        for rule in policy.rules.iter().filter(|rule| rule.has_ended(now)) {
            if let Some(node) = rule_node(tree, rule).and_then(|node| member(node, "until")) {
                let message =
                    format!("rule `{}` has ended, so it {}s nothing any more; remove it", rule.id, key_of(rule.effect));
                let message = message.replace("denys", "denies");
                found.push(tree.problem(Code::EndedRule, node.place, message));
            }
        }
    }
}

pub(super) fn endpoints_twice_in_a_rule(linted: &Linted<'_>, found: &mut Vec<Problem>) {
    for (policy, tree) in policies(linted) {
        for rule in &policy.rules {
            let list = rule_node(tree, rule).and_then(|node| member(node, key_of(rule.effect)));
            let mut seen = HashSet::new();
            for item in items(list) {
                let Some(text) = text_of(item) else { continue };
                if !seen.insert(text) {
                    let message = format!("`{text}` stands twice in rule `{}`; once is enough", rule.id);
                    found.push(tree.problem(Code::DuplicateEndpoint, item.place, message));
                }
            }
        }
    }
}

pub(super) fn policies_that_allow_nothing(linted: &Linted<'_>, found: &mut Vec<Problem>) {
    for (policy, tree) in policies(linted) {
        if policy.rules.iter().all(|rule| rule.effect == Effect::Deny) {
            let place = entry(tree.root, "rules").map_or(Place::START, |(key, _)| key.place);
            let message = format!(
                "policy `{}` has no `allow` rule; who holds nothing else may do nothing, and it only narrows what other \
                 policies allow",
                policy.name
            );
            found.push(tree.problem(Code::NothingAllowed, place, message));
        }
    }
}
