//! `audit show`: one row in plain words.

use std::process::ExitCode;

use serde_json::Value;

use super::arguments::Output;
use super::output::{self, Failure, line, safe};

/// One audit row: what happened, the decision path, the policy text of then, and what today's policies say.
pub(super) fn row(row: &Value, output: Output) -> Result<ExitCode, Failure> {
    if output == Output::Table {
        lines(row).iter().try_for_each(|text| line(text))?;
    } else {
        output::print(row, &[], output)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(row: &Value) -> Vec<String> {
    let explanation = row.get("explanation").unwrap_or(&Value::Null);
    let mut lines = sentences(row, explanation);
    if let Some(policy) = explanation.get("policy").filter(|policy| !policy.is_null()) {
        lines.extend(policy_text(policy));
    }
    if let Some(today) = explanation.get("today").filter(|today| !today.is_null()) {
        lines.extend([String::new(), "today".to_owned(), format!("   {}", text(today, "why"))]);
    }
    lines.extend([String::new(), "row".to_owned()]);
    lines.extend(members(row, &["explanation", "verdicts", "outcome"]));
    if let Some(outcome) = row.get("outcome").filter(|outcome| !outcome.is_null()) {
        lines.extend([String::new(), "outcome".to_owned()]);
        lines.extend(members(outcome, &[]));
    }
    lines
}

/// The first sentence says what happened, then there is one for each step, then come those about the end.
fn sentences(row: &Value, explanation: &Value) -> Vec<String> {
    let sentences = explanation.get("sentences").and_then(Value::as_array).into_iter().flatten();
    let mut sentences = sentences.filter_map(Value::as_str).map(safe);
    let mut lines: Vec<String> = sentences.next().into_iter().collect();
    let verdicts = row.get("verdicts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !verdicts.is_empty() {
        lines.extend([String::new(), "decision path".to_owned()]);
    }
    for (number, verdict) in (1..).zip(verdicts) {
        let passed = verdict.get(1).and_then(Value::as_str) == Some("allowed");
        let mark = if passed { "passed" } else { "DENIED" };
        lines.push(format!("  {number:>2}. {mark}  {}", sentences.next().unwrap_or_default()));
    }
    let end: Vec<String> = sentences.collect();
    if !end.is_empty() {
        lines.push(String::new());
    }
    lines.extend(end);
    lines
}

fn policy_text(policy: &Value) -> Vec<String> {
    let snapshot: String = text(policy, "snapshot").chars().take(12).collect();
    let (file, since) = (text(policy, "file"), text(policy, "in_force_from"));
    let mut lines =
        vec![String::new(), format!("{file}, as it was then (snapshot {snapshot}, first in force {since})")];
    lines.extend(excerpt(policy));
    lines
}

/// The lines of a policy's text with their numbers, those of the deciding rule marked.
pub(super) fn excerpt(policy: &Value) -> Vec<String> {
    let shown = policy.get("lines").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let number = |line: &Value| line.get("number").and_then(Value::as_u64).unwrap_or(0);
    let width = shown.last().map_or(1, |line| number(line).to_string().len());
    let marked = shown.iter().map(|line| {
        let mark = if line.get("deciding").and_then(Value::as_bool) == Some(true) { '>' } else { ' ' };
        format!("{mark} {:>width$}  {}", number(line), text(line, "text")).trim_end().to_owned()
    });
    marked.collect()
}

fn members(value: &Value, but: &[&str]) -> Vec<String> {
    let members = value.as_object().into_iter().flatten();
    members
        .filter(|(name, member)| !but.contains(&name.as_str()) && !member.is_null())
        .map(|(name, member)| {
            let member = member.as_str().map_or_else(|| safe(&member.to_string()), safe);
            format!("   {name:<17} {member}")
        })
        .collect()
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).map(safe).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_in_a_row_can_steer_the_terminal() {
        let evil = "x\u{1b}[2Jy\u{202e}z\n";
        let row = json!({
            "path": evil, "verdicts": [["request", "denied", evil]], "outcome": { "detail": evil },
            "explanation": {
                "sentences": [evil, evil, evil],
                "policy": {
                    "file": evil, "first_line": 1, "in_force_from": evil, "snapshot": evil,
                    "lines": [{ "number": 1, "text": evil, "deciding": true }],
                },
                "today": { "decision": null, "same": null, "why": evil },
            },
        });
        let lines = lines(&row);
        assert!(lines.iter().any(|line| line.contains("\\u{1b}[2Jy")), "{lines:#?}");
        for line in lines {
            assert!(!line.contains(['\u{1b}', '\u{202e}', '\n']), "{line:?}");
        }
    }
}
