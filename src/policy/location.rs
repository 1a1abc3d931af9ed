//! Where a rule stands in a policy's text, also in one that is no longer in force.

use std::ops::RangeInclusive;
use std::path::Path;

use super::yaml::{Node, Source, Value};

/// The path among these that holds this policy: its name is that of the file.
#[must_use]
pub fn file_of<'p>(mut paths: impl Iterator<Item = &'p str>, policy: &str) -> Option<&'p str> {
    paths.find(|path| {
        let path = Path::new(path);
        let in_the_folder = path.parent().is_none_or(|folder| folder.as_os_str().is_empty());
        in_the_folder && path.file_stem().is_some_and(|stem| stem == policy)
    })
}

/// The lines of a rule in the text of a policy, counted from 1; `None` where the text has no such rule.
///
/// The text need not be one that this version would put in force: its tree is enough.
#[must_use]
pub fn lines_of_rule(file: &str, text: &[u8], rule: &str) -> Option<RangeInclusive<usize>> {
    let source = Source::new(Path::new(file), text).ok()?;
    let root = source.parse().ok()?;
    let Value::List(rules) = &member(&root, "rules")?.value else { return None };
    let found = rules.iter().find(|node| member(node, "id").is_some_and(|id| is(id, rule)))?;
    let first = found.place.line;
    // A block of text takes the empty lines behind it along.
    let lines: Vec<&str> = source.text.lines().take(found.last_line).skip(first.saturating_sub(1)).collect();
    let filled = lines.iter().rposition(|line| !line.trim().is_empty()).unwrap_or(0);
    Some(first..=first + filled)
}

fn member<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|(name, _)| is(name, key)).map(|(_, value)| value)
}

fn is(node: &Node, wanted: &str) -> bool {
    matches!(&node.value, Value::Scalar { text, .. } if text == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A comment that names id: two.
version: 1
policy: p
rules:
  - id: one
    allow: [a,
            b]

  # About the next rule.
  - when: |
      request.query[\"id: three\"] == \"x\"
      && true
    deny:
      - a
      - b
    id: two

  - id: three
    allow: [c]
    when: >-
      true
      || false

  - {
      id: four, allow: [d]
    }
  - { id: five, allow: [e] }
limits: { requests: 1, per: 1s }
";

    #[test]
    fn a_rule_is_found_with_all_of_its_lines_and_no_others() {
        for (rule, lines) in
            [("one", 5..=7), ("two", 10..=16), ("three", 18..=22), ("four", 24..=26), ("five", 27..=27)]
        {
            assert_eq!(lines_of_rule("p.yaml", TEXT.as_bytes(), rule), Some(lines), "{rule}");
        }
        assert_eq!(lines_of_rule("p.yaml", TEXT.as_bytes(), "six"), None);
    }

    #[test]
    fn the_last_rule_ends_with_the_file() {
        for text in ["rules: [{ id: a, allow: [x] }]", "rules:\n- id: a\n", "rules:\n- id: a\n  when: |\n    x\n\n\n"] {
            let lines = lines_of_rule("p.yaml", text.as_bytes(), "a").expect("found");
            assert!(*lines.end() <= text.trim_end().lines().count(), "{text}: {lines:?}");
        }
    }

    #[test]
    fn a_text_that_cannot_be_read_has_no_rules() {
        for text in [&b"rules: ["[..], b"", b"rules: 1", b"\xff"] {
            assert_eq!(lines_of_rule("p.yaml", text, "a"), None);
        }
    }

    #[test]
    fn the_file_of_a_policy_is_found_by_its_name() {
        let paths = ["cases/p.yaml", "endpoints/p.yaml", "p.yml", "pp.yaml"];
        assert_eq!(file_of(paths.into_iter(), "p"), Some("p.yml"));
        assert_eq!(file_of(paths.into_iter(), "q"), None);
    }
}
