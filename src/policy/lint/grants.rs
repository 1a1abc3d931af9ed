//! Policies and those who hold them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{HeldPolicy, Linted};
use crate::domain::PolicyName;
use crate::policy::texts::entry;
use crate::policy::yaml::{Code, Place, Problem, suggestion_among};

/// How many holders are named.
const NAMED: usize = 5;

pub(super) fn grants_and_policies_that_miss_each_other(linted: &Linted<'_>, found: &mut Vec<Problem>) {
    let Some(held) = linted.around.held else { return };
    let mut holders: BTreeMap<&PolicyName, BTreeSet<&str>> = BTreeMap::new();
    for HeldPolicy { holder, policy } in held {
        holders.entry(policy).or_default().insert(holder);
    }
    let known = linted.set.policy_names();
    for name in known.iter().filter(|name| !holders.contains_key(**name)) {
        let tree = linted.set.policy(name).and_then(|policy| linted.texts.file(&policy.file));
        if let Some(tree) = tree {
            let place = entry(tree.root, "policy").map_or(Place::START, |(_, value)| value.place);
            let message = format!("no credential set holds policy `{name}`; grant it with `erp-access grant add`");
            found.push(tree.problem(Code::UnheldPolicy, place, message));
        }
    }
    let texts: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
    for (name, by) in holders.iter().filter(|(name, _)| !known.contains(name)) {
        let shown: Vec<&str> = by.iter().copied().take(NAMED).collect();
        let more = if by.len() > NAMED { format!(" and {} more", by.len() - NAMED) } else { String::new() };
        let hint = suggestion_among("policies", name.as_str(), &texts);
        let message = format!(
            "policy `{name}` is granted and does not exist, so the grant gives nothing: {}{more}{hint}",
            shown.join(", ")
        );
        found.push(Problem::of_file(Path::new(""), Code::GrantWithoutPolicy, message));
    }
}
