//! A mistake in a file, shown as compilers show theirs.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::code::{Code, Severity};
use super::tree::Place;

/// One finding: a mistake, or what is probably one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1, in characters.
    pub column: usize,
    /// The column behind the last character that is meant.
    pub end_column: usize,
    /// What kind of finding it is.
    pub code: Code,
    /// What is wrong. Holds no secret.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    excerpt: Box<Excerpt>,
}

/// The line as it may be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Excerpt {
    text: String,
    /// How many characters stand before what is meant, and how many to underline; 0 where that is hidden.
    indent: usize,
    underline: usize,
}

impl Problem {
    /// A finding about a whole file, or about no line in particular.
    ///
    /// A message says what is wrong and, behind its last semicolon, what to do about it.
    #[must_use]
    pub fn of_file(file: &Path, code: Code, message: impl Into<String>) -> Self {
        let (message, help) = advice(message.into());
        let excerpt = Box::default();
        Self { file: file.to_owned(), line: 1, column: 1, end_column: 2, code, message, help, excerpt }
    }

    /// A finding at a place in this line.
    pub(super) fn at(file: &Path, line: &str, place: Place, message: impl Into<String>) -> Self {
        let Place { line: number, column, width } = place;
        Self {
            line: number,
            column,
            end_column: column + width.max(1),
            excerpt: Box::new(Excerpt::of(line, column, width)),
            ..Self::of_file(file, Code::InvalidValue, message)
        }
    }

    /// The same about a line that cannot be shown.
    pub(super) fn on_line(self, line: usize) -> Self {
        Self { line, ..self }
    }

    /// The same as another kind of finding.
    #[must_use]
    pub fn coded(self, code: Code) -> Self {
        Self { code, ..self }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same in a file that is named with its folder, so that an editor finds it.
    #[must_use]
    pub fn inside(self, folder: &Path) -> Self {
        Self { file: folder.join(&self.file), ..self }
    }

    /// What is wrong and what to do about it, in one line.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.help.as_ref().map_or_else(|| self.message.clone(), |help| format!("{}; {help}", self.message))
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// The line as it stands in the file, cut and with secrets masked.
    #[must_use]
    pub fn excerpt(&self) -> &str {
        &self.excerpt.text
    }
}

/// Takes the advice off a message: what stands behind its last semicolon, outside of what it quotes.
fn advice(message: String) -> (String, Option<String>) {
    let mut quoted = false;
    let mut last = None;
    for (at, character) in message.char_indices() {
        quoted ^= character == '`';
        if !quoted && character == ';' {
            last = Some(at);
        }
    }
    let parts = last.and_then(|at| message.split_at_checked(at));
    match parts.and_then(|(what, rest)| Some((what, rest.strip_prefix("; ")?))) {
        Some((what, help)) if !help.is_empty() => (what.to_owned(), Some(help.to_owned())),
        _ => (message, None),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, code, message, help, excerpt, .. } = self;
        writeln!(out, "{}[{code}]: {message}", self.severity())?;
        let number = line.to_string();
        let gutter = number.len();
        writeln!(out, "{:gutter$}--> {}:{line}:{column}", "", file.display())?;
        if !excerpt.text.is_empty() {
            writeln!(out, "{:gutter$} |\n{number} | {}", "", excerpt.text)?;
            if excerpt.underline > 0 {
                let marks = "^".repeat(excerpt.underline);
                writeln!(out, "{:gutter$} | {:indent$}{marks}", "", "", indent = excerpt.indent)?;
            }
        }
        help.iter().try_for_each(|help| writeln!(out, "{:gutter$} = help: {help}", ""))
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'p> {
            file: String,
            line: usize,
            column: usize,
            end_column: usize,
            severity: String,
            code: &'static str,
            message: &'p str,
            help: Option<&'p str>,
            excerpt: &'p str,
        }
        let written = Written {
            file: self.file.display().to_string(),
            line: self.line,
            column: self.column,
            end_column: self.end_column,
            severity: self.severity().to_string(),
            code: self.code.as_str(),
            message: &self.message,
            help: self.help.as_deref(),
            excerpt: self.excerpt(),
        };
        written.serialize(serializer)
    }
}

/// All findings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// The same in files that are named with their folder.
    #[must_use]
    pub fn inside(self, folder: &Path) -> Self {
        Self(self.0.into_iter().map(|problem| problem.inside(folder)).collect())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are so bad.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|problem| problem.severity() == severity).count()
    }

    /// How many errors and warnings there are, in words.
    #[must_use]
    pub fn summary(&self) -> String {
        let counted = |severity: Severity| match self.count(severity) {
            0 => None,
            1 => Some(format!("1 {severity}")),
            count => Some(format!("{count} {severity}s")),
        };
        let parts: Vec<_> = [Severity::Error, Severity::Warning].into_iter().filter_map(counted).collect();
        if parts.is_empty() { "nothing found".to_owned() } else { parts.join(", ") }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| writeln!(out, "{problem}"))?;
        out.write_str(&self.summary())
    }
}

impl std::error::Error for Problems {}

/// Longest excerpt, in characters.
const LONGEST: usize = 120;
/// What stays to be seen before a place far to the right.
const BEFORE: usize = 40;

impl Excerpt {
    /// The line as it may be shown: cut around the place, printable, without what looks like a secret.
    fn of(line: &str, column: usize, width: usize) -> Self {
        let line = line.trim_end();
        let masked = mask(line);
        let before = column.saturating_sub(1);
        let seen = line.chars().take(before).eq(masked.chars().take(before));
        let length = masked.chars().count();
        let from = if length > LONGEST && before + width > LONGEST { before.saturating_sub(BEFORE) } else { 0 };
        let mut text: String = if from > 0 { "…".into() } else { String::new() };
        text.extend(masked.chars().skip(from).take(LONGEST).map(printable));
        if length > from + LONGEST {
            text.push('…');
        }
        let indent = before - from + usize::from(from > 0);
        let left = length.min(from + LONGEST).saturating_sub(before);
        Self { text, indent, underline: if seen { width.max(1).min(left.max(1)) } else { 0 } }
    }
}

/// Keys whose values are never shown.
const SECRET_KEYS: [&str; 9] =
    ["password", "passwd", "secret", "token", "api_key", "api-key", "apikey", "app_key", "authorization"];

fn printable(character: char) -> char {
    let steers = character.is_control()
        || matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if steers { '\u{fffd}' } else { character }
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

    fn excerpt(line: &str) -> String {
        Excerpt::of(line, 1, 1).text
    }

    fn problem(line: &str, column: usize, width: usize, message: &str) -> Problem {
        Problem::at(Path::new("p.yaml"), line, Place { line: 12, column, width }, message)
    }

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

    #[test]
    fn a_problem_is_shown_as_compilers_show_theirs() {
        let shown = problem("  - { id: read, alow: [a] }", 17, 4, "unknown key `alow`; did you mean `allow`?");
        let wanted = "error[invalid-value]: unknown key `alow`
  --> p.yaml:12:17
   |
12 |   - { id: read, alow: [a] }
   |                 ^^^^
   = help: did you mean `allow`?
";
        assert_eq!(shown.to_string(), wanted);
        assert_eq!(shown.end_column, 21);
    }

    #[test]
    fn the_underline_stays_under_what_is_meant_far_to_the_right() {
        let line = format!("allow: [{}, wrong, {}]", "endpoint.name, ".repeat(30), "more.names, ".repeat(30));
        let column = line.find("wrong").expect("there") + 1;
        let shown = problem(&line, column, 5, "no").to_string();
        let lines: Vec<&str> = shown.lines().collect();
        let under: String =
            lines[3].chars().zip(lines[4].chars()).filter(|(_, mark)| *mark == '^').map(|(seen, _)| seen).collect();
        assert_eq!(under, "wrong", "{shown}");
        assert!(lines[3].chars().count() < 140, "{shown}");
    }

    #[test]
    fn what_a_mask_hides_is_not_underlined() {
        let shown = problem("password: hunter2, x: y", 20, 1, "no").to_string();
        assert!(!shown.contains('^') && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn only_what_stands_behind_the_last_semicolon_is_advice() {
        let split = |text: &str| advice(text.to_owned());
        assert_eq!(split("no"), ("no".into(), None));
        assert_eq!(split("a; b; do it"), ("a; b".into(), Some("do it".into())));
        assert_eq!(split("unknown `x; y` here"), ("unknown `x; y` here".into(), None));
    }

    #[test]
    fn editors_and_scripts_get_every_part_as_json() {
        let json = serde_json::to_value(problem("abc", 2, 1, "no; yes").coded(Code::UnusedEndpoint)).expect("JSON");
        let wanted = serde_json::json!({
            "file": "p.yaml", "line": 12, "column": 2, "end_column": 3, "severity": "warning", "code": "unused-endpoint",
            "message": "no", "help": "yes", "excerpt": "abc",
        });
        assert_eq!(json, wanted);
    }
}
