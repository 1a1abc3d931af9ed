//! What kinds of findings there are, each with a stable name that scripts and editors rely on.

use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be put in force.
    Error,
    /// It can, and probably does not do what its author means.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

macro_rules! codes {
    ($($severity:ident { $($(#[$doc:meta])* $name:ident = $text:literal,)+ })+) => {
        /// The kind of a finding. `docs/policies.md` lists them; a name never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($($(#[$doc])* $name,)+)+
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)+)+];

            /// The name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $($(Self::$name => $text,)+)+
                }
            }

            /// How bad it is.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self {
                    $($(Self::$name)|+ => Severity::$severity,)+
                }
            }
        }
    };
}

codes! {
    Error {
        /// The file is no YAML, or uses what is not allowed in these files.
        InvalidYaml = "invalid-yaml",
        /// A key that nobody reads.
        UnknownKey = "unknown-key",
        /// A key that stands twice.
        DuplicateKey = "duplicate-key",
        /// A key that must be there.
        MissingKey = "missing-key",
        /// A list where a text belongs, and the like.
        WrongType = "wrong-type",
        /// A value that cannot be used.
        InvalidValue = "invalid-value",
        /// A time, a day or a zone that does not exist or makes no sense.
        ImpossibleTime = "impossible-time",
        /// Two endpoints or two rules with one id.
        DuplicateId = "duplicate-id",
        /// Two endpoints with the same method and path.
        DuplicateRoute = "duplicate-route",
        /// Two path templates that no router can keep apart.
        ConflictingTemplates = "conflicting-templates",
        /// A rule names an endpoint that does not exist.
        UnknownEndpoint = "unknown-endpoint",
        /// A glob that fits the id of no endpoint.
        GlobFitsNothing = "glob-fits-nothing",
        /// A policy names a schedule that does not exist.
        UnknownSchedule = "unknown-schedule",
        /// A case grants a policy that does not exist.
        UnknownPolicy = "unknown-policy",
        /// An endpoint leads to an upstream that is not configured.
        UnknownUpstream = "unknown-upstream",
        /// A file in a folder that holds none of ours.
        MisplacedFile = "misplaced-file",
        /// A folder or file that cannot be read.
        Unreadable = "unreadable",
    }
    Warning {
        /// Two path templates that match the same path.
        TemplateOverlap = "template-overlap",
        /// A rule that decides nothing because another one of its policy always denies the same.
        ShadowedRule = "shadowed-rule",
        /// An endpoint in an allow rule that another rule of its policy always denies.
        ShadowedEndpoint = "shadowed-endpoint",
        /// A rule whose condition never holds.
        NeverMatches = "never-matches",
        /// A rule that has ended.
        EndedRule = "ended-rule",
        /// An endpoint that stands twice in one rule.
        DuplicateEndpoint = "duplicate-endpoint",
        /// An endpoint that no policy mentions.
        UnusedEndpoint = "unused-endpoint",
        /// A policy that allows nothing.
        NothingAllowed = "nothing-allowed",
        /// A schedule that nothing uses.
        UnusedSchedule = "unused-schedule",
        /// A schedule that does not open any more.
        NeverOpens = "never-opens",
        /// A window that lies inside of others.
        CoveredWindow = "covered-window",
        /// A file of cases without cases.
        NoCases = "no-cases",
        /// A policy that no credential set holds.
        UnheldPolicy = "unheld-policy",
        /// A credential set holds a policy that does not exist.
        GrantWithoutPolicy = "grant-without-policy",
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own_and_stands_in_the_documents() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policies.md");
        let document = std::fs::read_to_string(path).expect("the document");
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        for code in Code::ALL {
            let row = format!("| `{code}` | {} |", code.severity());
            assert!(document.contains(&row), "{row}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
