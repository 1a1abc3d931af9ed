//! What a comparison and a replay found, told in lines for people.

use jiff::Timestamp;
use serde_json::Value;

/// Groups of requests that are told one by one.
const SHOWN: usize = 50;

/// What `policy diff` tells people.
#[must_use]
pub fn difference_in_words(difference: &Value) -> Vec<String> {
    let generation = difference.get("generation").and_then(Value::as_u64).unwrap_or_default();
    if difference.get("same").and_then(Value::as_bool) == Some(true) {
        return vec![format!("no decision would change (compared with generation {generation})")];
    }
    let mut lines = vec![format!("compared with generation {generation}")];
    for schedule in list(difference, "schedules") {
        lines.extend([String::new(), format!("schedule {}", text(schedule, "schedule"))]);
        lines.extend(before_and_after(schedule));
    }
    for moved in list(difference, "moved") {
        lines.extend([String::new(), format!("{} is relayed elsewhere", place(moved))]);
        lines.extend(before_and_after(moved));
    }
    for policy in list(difference, "policies") {
        let holders = policy.get("holders").and_then(Value::as_u64).unwrap_or_default();
        let held = match holders {
            0 => "held by nobody".to_owned(),
            1 => "held by 1 credential set".to_owned(),
            more => format!("held by {more} credential sets"),
        };
        lines
            .extend([String::new(), format!("policy {} ({}, {held})", text(policy, "policy"), text(policy, "change"))]);
        if let [before, after] = list(policy, "limits") {
            lines.push(format!("   limits: {} → {}", shown(before), shown(after)));
        }
        lines.extend(list(policy, "endpoints").iter().map(of_endpoint));
    }
    for account in list(difference, "accounts") {
        lines.extend([String::new(), format!("account {}", text(account, "account"))]);
        lines.extend(list(account, "holders").iter().flat_map(of_holders));
    }
    lines
}

/// What `policy replay` tells people.
#[must_use]
pub fn replay_in_words(report: &Value, since: Timestamp) -> Vec<String> {
    let count = |key: &str| report.get(key).and_then(Value::as_u64).unwrap_or_default();
    let mut lines = vec![
        format!("{} requests since {since}: {} would be decided otherwise", count("requests"), count("changed")),
        format!("   {} the same, {} of these by another rule", count("same"), count("by_another_rule")),
    ];
    if count("already") > 0 {
        lines.push(format!(
            "   {} otherwise than then, but as what is in force decides already: grants or policies were changed since, or an operator had set the hours aside",
            count("already")
        ));
    }
    for (key, what) in [("out_of_scope", "denied by another step"), ("not_told", "cannot be decided again")] {
        let counts = report.get(key).and_then(Value::as_object).into_iter().flatten();
        lines.extend(counts.map(|(why, count)| format!("   {count} {what}: {why}")));
    }
    for (key, title) in
        [("changes", "would be decided otherwise"), ("already_so", "decided otherwise already by what is in force")]
    {
        let groups = report.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if !groups.is_empty() {
            lines.extend([String::new(), title.to_owned()]);
        }
        lines.extend(groups.iter().take(SHOWN).flat_map(of_group));
        if groups.len() > SHOWN {
            lines.push(format!("   … and {} more groups; -o json lists them", groups.len() - SHOWN));
        }
    }
    if count("ungrouped") > 0 {
        lines.push(format!("   … and {} requests in more groups than are told apart", count("ungrouped")));
    }
    lines
}

fn of_holders(holders: &Value) -> Vec<String> {
    let sets: Vec<String> = list(holders, "credentials")
        .iter()
        .map(|set| {
            format!("`{}` ({})", set.get(1).map(shown).unwrap_or_default(), set.get(0).map(shown).unwrap_or_default())
        })
        .collect();
    let held: Vec<String> = list(holders, "policies").iter().map(shown).collect();
    let held = if held.is_empty() { "nothing".to_owned() } else { held.join(", ") };
    let mut lines = vec![format!("   {}, {}, granted {held}", sets.join(", "), text(holders, "kind"))];
    lines.extend(list(holders, "endpoints").iter().map(|endpoint| format!("   {}", of_endpoint(endpoint))));
    lines
}

fn of_endpoint(endpoint: &Value) -> String {
    let sign = match text(endpoint, "change").as_str() {
        "gained" => '+',
        "lost" => '-',
        _ => '~',
    };
    format!("   {sign} {}  {}", place(endpoint), text(endpoint, "text"))
}

fn before_and_after(value: &Value) -> [String; 2] {
    let told = |key| Some(text(value, key)).filter(|text| !text.is_empty()).unwrap_or_else(|| "(not there)".to_owned());
    [format!("   - {}", told("before")), format!("   + {}", told("after"))]
}

fn place(value: &Value) -> String {
    let body = text(value, "body");
    let body = if body.is_empty() { body } else { format!(" [body: {body}]") };
    format!("{} {}{body}", text(value, "method"), text(value, "path"))
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).map(shown).unwrap_or_default()
}

fn shown(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn of_group(group: &Value) -> [String; 3] {
    let becomes = text(group, "becomes");
    let sign = if becomes == "allowed" { '+' } else { '-' };
    let requests = group.get("requests").and_then(Value::as_u64).unwrap_or_default();
    let noun = if requests == 1 { "request" } else { "requests" };
    let account = Some(text(group, "account")).filter(|name| !name.is_empty());
    let account = account.map_or_else(String::new, |name| format!(" of account `{name}`"));
    let example = group.get("example").unwrap_or(&Value::Null);
    [
        format!(
            "   {sign} {requests} {noun} of `{}` ({}){account} would be {becomes}",
            text(group, "name"),
            text(group, "credential")
        ),
        format!("        {} → {}", text(group, "before"), text(group, "after")),
        format!(
            "        such as {} at {}: {} {}",
            text(example, "id"),
            text(example, "at"),
            text(example, "method"),
            text(example, "path")
        ),
    ]
}
