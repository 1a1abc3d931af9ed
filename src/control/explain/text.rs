//! The policy text that was in force when a row was written, with the deciding rule marked.

use hex::FromHex;
use serde::Serialize;

use super::super::{Control, ControlError, Result};
use crate::audit::{Row, Step};
use crate::policy;

/// A text of at most so many lines is shown whole.
const WHOLE: usize = 80;
/// Of a longer one, the rule with so many lines before and behind it.
const AROUND: usize = 12;

/// The policy of a row as it was written then.
#[derive(Debug, Serialize)]
pub(super) struct PolicyExcerpt {
    /// The file, inside the policy folder.
    file: String,
    /// The number of the first line shown.
    first_line: usize,
    lines: Vec<Line>,
    /// When the texts of this snapshot were first in force together.
    in_force_from: jiff::Timestamp,
    /// The hash of all texts in force, in hex.
    snapshot: String,
}

#[derive(Debug, Serialize)]
struct Line {
    number: usize,
    text: String,
    /// Whether it belongs to the rule that decided.
    deciding: bool,
}

impl Control {
    pub(super) fn policy_text(&self, row: &Row) -> Result<Option<PolicyExcerpt>> {
        let (Some(policy), Some(rule), Some(snapshot)) = (&row.policy, &row.rule, &row.policy_snapshot) else {
            return Ok(None);
        };
        let Some(hash) = hash_of(snapshot) else { return Ok(None) };
        self.kept_text(policy, rule, &hash)
    }

    /// The text of a policy in the snapshot with this hash, around one of its rules.
    pub(super) fn kept_text(&self, policy: &str, rule: &str, hash: &[u8; 32]) -> Result<Option<PolicyExcerpt>> {
        let Some(kept) = self.store.policy_snapshot(hash).map_err(ControlError::failed)? else { return Ok(None) };
        let Some(file) = policy::file_of(kept.files.iter().map(|(path, _)| path.as_str()), policy) else {
            return Ok(None);
        };
        let Some((_, text)) = kept.files.iter().find(|(path, _)| path == file) else { return Ok(None) };
        let Some(text) = self.store.policy_text(text).map_err(ControlError::failed)? else { return Ok(None) };
        let (first_line, lines) = excerpt(file, &text, rule);
        let (file, in_force_from, snapshot) = (file.to_owned(), kept.first_used_at, hex::encode(hash));
        Ok(Some(PolicyExcerpt { file, first_line, lines, in_force_from, snapshot }))
    }
}

/// Why no policy text is shown, where one might be expected.
pub(super) fn missing(row: &Row, shown: Option<&PolicyExcerpt>) -> Option<String> {
    if shown.is_some() {
        return None;
    }
    if let (Some(policy), Some(rule)) = (&row.policy, &row.rule) {
        return Some(format!("The text in which rule `{rule}` of policy `{policy}` stood then is not kept here."));
    }
    if let Some(policy) = &row.policy {
        return Some(format!("No rule decided: policy `{policy}` had no text that could be used."));
    }
    let refused =
        |step: Step| row.verdicts.iter().any(|(name, decision, _)| name == step.as_str() && decision == "denied");
    refused(Step::Policy)
        .then(|| "No rule decided: what no rule of a granted policy allows is denied by default.".to_owned())
}

fn excerpt(file: &str, text: &[u8], rule: &str) -> (usize, Vec<Line>) {
    let deciding = policy::lines_of_rule(file, text, rule);
    let text = String::from_utf8_lossy(text);
    let count = text.lines().count();
    let (first, last) = match &deciding {
        Some(lines) if count > WHOLE => {
            (lines.start().saturating_sub(AROUND).max(1), lines.end().saturating_add(AROUND).min(count))
        }
        Some(_) | None => (1, count),
    };
    let lines = (1..).zip(text.lines()).skip(first - 1).take(last.saturating_sub(first - 1));
    let marked = |(number, text): (usize, &str)| Line {
        number,
        text: text.to_owned(),
        deciding: deciding.as_ref().is_some_and(|lines| lines.contains(&number)),
    };
    (first, lines.map(marked).collect())
}

pub(in super::super) fn hash_of(hex: &str) -> Option<[u8; 32]> {
    FromHex::from_hex(hex).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_text_the_surroundings_of_the_rule_are_shown() {
        let rules: Vec<String> = (0..100).map(|number| format!("  - id: r{number}\n    allow: [a]\n")).collect();
        let text = format!("policy: p\nrules:\n{}", rules.concat());
        let (first, lines) = excerpt("p.yaml", text.as_bytes(), "r50");
        let deciding: Vec<_> = lines.iter().filter(|line| line.deciding).map(|line| line.number).collect();
        assert_eq!((first, deciding), (91, vec![103, 104]));
        assert_eq!(lines.last().map(|line| line.number), Some(116));
        let (first, lines) = excerpt("p.yaml", text.as_bytes(), "r0");
        assert_eq!((first, lines.first().map(|line| line.number)), (1, Some(1)));
    }
}
