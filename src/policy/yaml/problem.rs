//! A mistake in a file, shown as compilers show theirs.

use std::fmt;
use std::path::PathBuf;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1, in characters.
    pub column: usize,
    /// What is wrong and what to do about it. Holds no secret.
    pub message: String,
    /// The line as it stands in the file, cut and with secrets masked.
    pub excerpt: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, excerpt } = self;
        writeln!(out, "error: {message}")?;
        writeln!(out, "  --> {}:{line}:{column}", file.display())?;
        if !excerpt.is_empty() {
            let number = line.to_string();
            let margin = " ".repeat(number.len());
            let marker = " ".repeat(column.saturating_sub(1).min(excerpt.chars().count()));
            writeln!(out, "{margin} |\n{number} | {excerpt}\n{margin} | {marker}^")?;
        }
        Ok(())
    }
}

/// All mistakes found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| writeln!(out, "{problem}"))?;
        let count = self.0.len();
        write!(out, "{count} {}", if count == 1 { "problem" } else { "problems" })
    }
}

impl std::error::Error for Problems {}

/// Longest excerpt, in characters.
const LONGEST: usize = 120;

/// Keys whose values are never shown.
const SECRET_KEYS: [&str; 9] =
    ["password", "passwd", "secret", "token", "api_key", "api-key", "apikey", "app_key", "authorization"];

/// The line as it may be shown: cut, printable, without what looks like a secret.
pub(super) fn excerpt(line: &str) -> String {
    let masked = mask(line.trim_end());
    let printable: String = masked.chars().take(LONGEST).flat_map(printable).collect();
    if masked.chars().nth(LONGEST).is_some() { format!("{printable}…") } else { printable }
}

fn printable(character: char) -> impl Iterator<Item = char> {
    let steers = character.is_control()
        || matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let kept = if steers { '\u{fffd}' } else { character };
    std::iter::once(kept)
}

fn mask(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    if SECRET_KEYS.iter().any(|key| lower.contains(key))
        && let Some((key, value)) = line.split_once(':')
        && !value.trim().is_empty()
        && !value.contains("{{")
    {
        return format!("{key}: [hidden]");
    }
    line.split_inclusive(|character: char| {
        character.is_whitespace() || matches!(character, '"' | '\'' | ',' | '{' | '}' | '[' | ']')
    })
    .map(|word| if looks_secret(word) { "[hidden] ".to_owned() } else { word.to_owned() })
    .collect()
}

/// Our own secret formats, and long runs that only machines write.
fn looks_secret(word: &str) -> bool {
    let word = word.trim_end_matches(|character: char| !character.is_ascii_alphanumeric() && character != '=');
    let machine_made = |text: &str| {
        text.len() >= 32
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_'))
            && text.bytes().any(|byte| byte.is_ascii_digit())
            && text.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    word.contains("erpa_") || word.starts_with("base64:") || machine_made(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_stands_in_an_excerpt() {
        for line in [
            "x-api-key: erpa_key_0123456789012345678901234567890123456789012345678",
            "password: hunter2",
            "key: base64:AAAABBBBCCCCDDDD",
            "note: [\"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMw==\", ok]",
        ] {
            let shown = excerpt(line);
            for secret in ["hunter2", "erpa_key_0", "AAAABBBB", "c2VjcmV0"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
        assert_eq!(excerpt("  - id: parties.list  "), "  - id: parties.list");
    }

    #[test]
    fn a_long_line_is_cut_and_controls_are_not_shown() {
        assert_eq!(excerpt(&"ab ".repeat(100)).chars().count(), LONGEST + 1);
        assert!(!excerpt("a\u{1b}[31m\u{202e}b").contains(['\u{1b}', '\u{202e}']));
    }
}
