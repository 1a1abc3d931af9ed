//! The texts that a configuration is made of, and places in them.

use std::fmt;

/// A place in one of the texts. Lines and columns count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) source: usize,
    pub(super) line: usize,
    pub(super) column: usize,
    /// How many characters it takes; at least 1.
    pub(super) length: usize,
}

impl Place {
    pub(super) fn start_of(source: usize) -> Self {
        Self { source, line: 1, column: 1, length: 1 }
    }
}

/// Where an effective value comes from. An earlier one beats a later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `--set key=value` on the command line.
    Flag,
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// The configuration file.
    File {
        /// As the operator named it.
        file: String,
        /// Counted from 1.
        line: usize,
    },
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => out.write_str("flag"),
            Self::Environment { variable } => write!(out, "environment {variable}"),
            Self::File { file, line } => write!(out, "{file}:{line}"),
            Self::Default => out.write_str("default"),
        }
    }
}

/// Where a text comes from.
#[derive(Debug, Clone)]
pub(super) enum TextKind {
    File(String),
    Environment(String),
    Flag(String),
}

/// All texts read, in reading order.
#[derive(Default)]
pub(super) struct Texts(Vec<(TextKind, String)>);

impl Texts {
    /// Keeps a text and gives its number.
    pub(super) fn add(&mut self, kind: TextKind, text: String) -> usize {
        self.0.push((kind, text));
        self.0.len().saturating_sub(1)
    }

    pub(super) fn text(&self, source: usize) -> &str {
        self.0.get(source).map_or("", |(_, text)| text)
    }

    /// What to call it in a message.
    pub(super) fn name(&self, source: usize) -> String {
        match self.kind(source) {
            Some(TextKind::File(file)) => file.clone(),
            Some(TextKind::Environment(variable)) => format!("environment variable {variable}"),
            Some(TextKind::Flag(key)) => format!("flag --set {key}"),
            None => "default".to_owned(),
        }
    }

    /// The text if it is a file: only files have lines worth showing.
    pub(super) fn file(&self, source: usize) -> Option<&str> {
        match self.kind(source)? {
            TextKind::File(_) => Some(self.text(source)),
            TextKind::Environment(_) | TextKind::Flag(_) => None,
        }
    }

    pub(super) fn origin(&self, place: Place) -> Origin {
        match self.kind(place.source) {
            Some(TextKind::File(file)) => Origin::File { file: file.clone(), line: place.line },
            Some(TextKind::Environment(variable)) => Origin::Environment { variable: variable.clone() },
            Some(TextKind::Flag(_)) => Origin::Flag,
            None => Origin::Default,
        }
    }

    fn kind(&self, source: usize) -> Option<&TextKind> {
        self.0.get(source).map(|(kind, _)| kind)
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SECURITY: somebody may have pasted a secret into one of them.
        out.debug_list().entries(self.0.iter().map(|(kind, _)| kind)).finish()
    }
}
