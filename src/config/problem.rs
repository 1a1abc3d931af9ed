//! What is wrong with a configuration, said the way a compiler says it.

use std::fmt;

use super::mask;
use super::texts::{Place, Texts};

/// Everything that is wrong, in the order of the texts. Never empty.
#[derive(Debug, Clone)]
pub struct ConfigErrors {
    problems: Vec<Problem>,
}

impl ConfigErrors {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.location.as_ref().map(|at| (at.source, at.line, at.column)));
        Self { problems }
    }

    /// The problems one by one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(out, "{problem}\n")?;
        }
        match self.problems.len() {
            1 => out.write_str("1 error in the configuration"),
            count => write!(out, "{count} errors in the configuration"),
        }
    }
}

/// One thing that is wrong. Holds no secret: excerpts and messages are masked when it is made.
#[derive(Debug, Clone)]
pub struct Problem {
    message: String,
    help: Option<String>,
    location: Option<Box<Location>>,
}

/// Where it is wrong.
#[derive(Debug, Clone)]
struct Location {
    source: usize,
    name: String,
    line: usize,
    column: usize,
    excerpt: Option<Excerpt>,
}

#[derive(Debug, Clone)]
struct Excerpt {
    text: String,
    /// How many characters to underline; 0 where the mask hides the place.
    underline: usize,
}

impl Problem {
    pub(super) fn new(texts: &Texts, place: Place, message: impl Into<String>) -> Self {
        let excerpt = texts.file(place.source).and_then(|text| Excerpt::of(text, place));
        let location = Location {
            source: place.source,
            name: texts.name(place.source),
            line: place.line,
            column: place.column,
            excerpt,
        };
        Self { location: Some(Box::new(location)), ..Self::without_place(message) }
    }

    pub(super) fn without_place(message: impl Into<String>) -> Self {
        Self { message: mask::printable(&mask::text(&message.into())), help: None, location: None }
    }

    #[must_use]
    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(mask::printable(&mask::text(&help.into())));
        self
    }

    /// What is wrong, in one line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Line and column, counted from 1, where it stands in a file.
    #[must_use]
    pub fn line_and_column(&self) -> Option<(usize, usize)> {
        self.location.as_ref().filter(|at| at.excerpt.is_some()).map(|at| (at.line, at.column))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "error: {}", self.message)?;
        let Some(at) = &self.location else {
            return self.help.iter().try_for_each(|help| write!(out, "\n  = help: {help}"));
        };
        let gutter = at.line.to_string().len();
        let Some(excerpt) = &at.excerpt else {
            write!(out, "\n --> {}", at.name)?;
            return self.help.iter().try_for_each(|help| write!(out, "\n  = help: {help}"));
        };
        write!(out, "\n{:gutter$}--> {}:{}:{}", "", at.name, at.line, at.column)?;
        write!(out, "\n{:gutter$} |\n{} | {}", "", at.line, excerpt.text)?;
        if excerpt.underline > 0 {
            let indent = at.column.saturating_sub(1);
            write!(out, "\n{:gutter$} | {:indent$}{}", "", "", "^".repeat(excerpt.underline))?;
        }
        self.help.iter().try_for_each(|help| write!(out, "\n{:gutter$} = help: {help}", ""))
    }
}

/// Longest excerpt, in characters.
const WIDEST: usize = 160;

impl Excerpt {
    fn of(text: &str, place: Place) -> Option<Self> {
        let line = text.lines().nth(place.line.checked_sub(1)?).unwrap_or_default();
        // SECURITY: the whole text decides what is masked; a secret may go on over several lines.
        let masked = mask::line_of(text, place.line);
        let before = place.column.saturating_sub(1);
        let same_before = line.chars().take(before).eq(masked.chars().take(before));
        let left = masked.chars().count().saturating_sub(before);
        let underline = if same_before && before < WIDEST { place.length.min(left.max(1)) } else { 0 };
        let mut shown: String = mask::printable(&masked).chars().take(WIDEST).collect();
        if masked.chars().count() > WIDEST {
            shown.push('…');
        }
        Some(Self { text: shown, underline: underline.min(WIDEST.saturating_sub(before)) })
    }
}
