//! The proposal as a text. What comes from the document is quoted, and cannot leave its comment or value.

use std::fmt::Write as _;
use std::path::Path;

use super::{LeftOut, Proposed};
use crate::domain::UpstreamName;

/// Longest text taken over from a document, in characters.
const LONGEST: usize = 160;

pub(super) fn text(
    title: &str,
    file: &Path,
    upstream: &UpstreamName,
    proposed: &[Proposed],
    left_out: &[LeftOut],
) -> String {
    let mut text = String::from("# yaml-language-server: $schema=../endpoints.schema.json\n");
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let _ = write!(
        text,
        "# Proposed by `erp-access policy import openapi` from {} ({}).
# To be reviewed by a person: remove what nobody needs, and check where each path leads.
# Nothing is allowed by importing: an endpoint can be called once a policy names it, or by an unrestricted credential set.
",
        plain(&name),
        plain(title)
    );
    if !left_out.is_empty() {
        text.push_str("#\n# Left out:\n");
        for LeftOut { operation, why } in left_out {
            let _ = writeln!(text, "#   {}: {}", plain(operation), plain(why));
        }
    }
    let _ = write!(text, "version: 1\nupstream: {}\nendpoints:", value(upstream.as_str()));
    if proposed.is_empty() {
        text.push_str(" []");
    }
    text.push('\n');
    for Proposed { id, method, path, upstream_path, description } in proposed {
        let _ = writeln!(text, "  - id: {}\n    methods: [{method}]\n    path: {}", value(id), value(path));
        if let Some(upstream_path) = upstream_path {
            let _ = writeln!(text, "    upstream_path: {}", value(upstream_path));
        }
        let description = plain(description);
        if !description.is_empty() {
            let _ = writeln!(text, "    description: {}", quoted(&description));
        }
    }
    text
}

/// On one line, without anything that steers a terminal or ends a line for some reader, and cut.
fn plain(text: &str) -> String {
    let steers = |character: char| {
        character.is_control()
            || matches!(
                character,
                '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
            )
    };
    let words = text.split(|character: char| character.is_whitespace() || steers(character));
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let cut: String = line.chars().take(LONGEST).collect();
    if line.chars().nth(LONGEST).is_some() { format!("{cut}…") } else { cut }
}

/// A value, in quotes where YAML could read something else.
fn value(text: &str) -> String {
    let harmless =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'{' | b'}' | b'.' | b'_' | b'-' | b'$');
    let begins =
        text.starts_with('/') || (text.len() > 5 && text.starts_with(|first: char| first.is_ascii_lowercase()));
    if begins && text.bytes().all(harmless) { text.to_owned() } else { quoted(text) }
}

/// JSON's quotes and escapes are YAML's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
