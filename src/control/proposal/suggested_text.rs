//! A suggested policy as YAML, for a person to review.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;

use super::in_force::Holder;
use super::suggest::Used;
use crate::domain::{EndpointId, PolicyName};
use crate::policy::{Hours, Terms};

/// Longest text from outside in a comment, in characters.
const LONGEST: usize = 160;

/// What stands above the rules.
pub(super) struct Header<'h> {
    pub(super) name: &'h PolicyName,
    pub(super) hours: &'h Hours,
    pub(super) holder: &'h Holder,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    pub(super) allowed: u64,
    pub(super) denied: u64,
    pub(super) busiest_minute: u64,
}

/// What the rules are made from.
pub(super) struct Rules<'r> {
    pub(super) used: &'r BTreeMap<(EndpointId, Terms), Used>,
    pub(super) denials: &'r BTreeMap<Terms, Vec<EndpointId>>,
    /// What held policies demand at these endpoints.
    pub(super) owed: &'r BTreeSet<String>,
}

/// The whole file.
pub(super) fn policy(
    header: &Header<'_>,
    Rules { used, denials, owed }: &Rules<'_>,
    denied: &BTreeMap<String, Used>,
    more_denied: u64,
    gone: &BTreeMap<String, Used>,
) -> String {
    let mut text = head(header);
    let mut ids = BTreeSet::new();
    for (number, ((group, terms), endpoints)) in (1..).zip(grouped(used)) {
        let id = if terms.is_empty() { group.to_owned() } else { format!("{group}-if-{number}") };
        let _ = writeln!(text, "  - id: {}\n    allow:", unique(&mut ids, &id));
        let width = endpoints.iter().map(|(endpoint, _)| endpoint.as_str().len()).max().unwrap_or(0);
        for (endpoint, used) in endpoints {
            let _ = writeln!(text, "      - {:width$}  # {}", endpoint.as_str(), often(*used));
        }
        narrowed(&mut text, terms);
    }
    for (number, (terms, endpoints)) in (1..).zip(*denials) {
        let list: Vec<&str> = endpoints.iter().map(EndpointId::as_str).collect();
        let id = unique(&mut ids, &format!("no-{number}"));
        let _ = writeln!(text, "  - id: {id}\n    deny: [{}]", list.join(", "));
        narrowed(&mut text, terms);
    }
    if !owed.is_empty() {
        let _ =
            writeln!(text, "# TO BE ADDED: held policies demand this besides, and a rule without it demands nothing:");
        for demand in *owed {
            let _ = writeln!(text, "#   {}", shown(demand));
        }
    }
    remarks(&mut text, "Denied, and so not in the rules", denied);
    if more_denied > 0 {
        let _ = writeln!(text, "#   {more_denied} more requests of further kinds");
    }
    remarks(&mut text, "Allowed then, but no longer possible, and so not in the rules", gone);
    text
}

fn head(header: &Header<'_>) -> String {
    let Header { name, hours, holder, since, until, allowed, denied, busiest_minute } = header;
    let account = holder.account.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
    let (set, kind, requests) = (shown(&holder.name), holder.kind().as_str(), allowed + denied);
    format!(
        "# Suggested, to be reviewed: what credential set `{set}` ({}, {kind})\n\
         # of account `{account}` was allowed to do, and nothing else. Nothing is granted by this file.\n\
         # Looked at: {requests} requests from {since} to {until}, {allowed} allowed and {denied} denied.\n\
         # The busiest minute had {busiest_minute} allowed requests; `limits` are not suggested.\n\
         version: 1\n\
         policy: {name}\n\
         description: Suggested from the requests of credential set {}\n\
         schedule: {hours}\n\
         rules:\n",
        holder.id, holder.id
    )
}

/// The keys of a rule that narrow it.
fn narrowed(text: &mut String, terms: &Terms) {
    let Terms { when, clients, until } = terms;
    if !clients.is_empty() {
        let clients: Vec<String> = clients.iter().map(|client| format!("\"{client}\"")).collect();
        let _ = writeln!(text, "    clients: [{}]", clients.join(", "));
    }
    if let Some(until) = until {
        let _ = writeln!(text, "    until: {until}");
    }
    if let Some(when) = when {
        let _ = writeln!(text, "    when: {}", quoted(when));
    }
}

/// What a rule is about, and what narrows it.
type About<'u> = (&'u str, &'u Terms);
type Endpoints<'u> = Vec<(&'u EndpointId, &'u Used)>;

/// Endpoints of one kind of thing in one rule: what stands before the last dot of their ids.
fn grouped(used: &BTreeMap<(EndpointId, Terms), Used>) -> BTreeMap<About<'_>, Endpoints<'_>> {
    let mut groups: BTreeMap<About<'_>, Endpoints<'_>> = BTreeMap::new();
    for ((endpoint, terms), used) in used {
        let id = endpoint.as_str();
        let group = id.rsplit_once('.').map_or(id, |(group, _)| group);
        groups.entry((group, terms)).or_default().push((endpoint, used));
    }
    groups
}

fn unique(ids: &mut BTreeSet<String>, wanted: &str) -> String {
    let short: String = wanted.chars().take(56).collect();
    let numbered = (2_u32..).map(|number| format!("{short}-{number}"));
    let free = std::iter::once(short.clone()).chain(numbered).find(|id| !ids.contains(id)).unwrap_or(short.clone());
    ids.insert(free.clone());
    free
}

fn remarks(text: &mut String, title: &str, counts: &BTreeMap<String, Used>) {
    if counts.is_empty() {
        return;
    }
    let _ = writeln!(text, "# {title}:");
    for (place, used) in counts {
        let _ = writeln!(text, "#   {}: {}", shown(place), often(*used));
    }
}

fn often(used: Used) -> String {
    let noun = if used.requests == 1 { "request" } else { "requests" };
    format!("{} {noun}, last {}", used.requests, used.last)
}

/// A condition as a YAML text.
fn quoted(when: &str) -> String {
    let plain = when.chars().all(|character| !character.is_control() && character != '\'');
    // JSON's texts are YAML's double-quoted ones.
    if plain { format!("'{when}'") } else { serde_json::Value::from(when).to_string() }
}

/// Text from outside, such that it stays a comment on one line that steers nothing.
fn shown(text: &str) -> String {
    let kept = |character: char| {
        if character.is_ascii_graphic() || character == ' ' || character.is_alphanumeric() { character } else { '?' }
    };
    text.chars().take(LONGEST).map(kept).collect()
}
