//! Names that operators write: ASCII slugs, a type for each kind of thing that has one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The text given is not a name.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("`{given}` is not a {kind}: use 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit")]
pub struct NameError {
    kind: &'static str,
    given: String,
}

/// Longest name, in bytes.
const MAX_LENGTH: usize = 64;

fn is_slug(text: &str) -> bool {
    let mut bytes = text.bytes();
    let begins_well = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    begins_well
        && text.len() <= MAX_LENGTH
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-'))
}

macro_rules! slug_name {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if is_slug(text) {
                    Ok(Self(Arc::from(text)))
                } else {
                    let given = text.chars().take(MAX_LENGTH).flat_map(char::escape_debug).collect();
                    Err(NameError { kind: $kind, given })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

slug_name!(
    /// The name of an account.
    AccountName, "account name");
slug_name!(
    /// The id of an endpoint in the catalogue.
    EndpointId, "endpoint id");
slug_name!(
    /// The key of a label.
    LabelKey, "label key");
slug_name!(
    /// The name of a policy.
    PolicyName, "policy name");
slug_name!(
    /// The id of a rule within its policy.
    RuleId, "rule id");
slug_name!(
    /// The name of a schedule.
    ScheduleName, "schedule name");
slug_name!(
    /// The name of a sink of audit records.
    SinkName, "sink name");
slug_name!(
    /// The name of an upstream.
    UpstreamName, "upstream name");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_names() {
        for good in ["erp", "party-reader", "parties.read", "0", "a_b"] {
            assert!(good.parse::<PolicyName>().is_ok(), "{good}");
        }
    }

    #[test]
    fn anything_else_is_refused_and_shown_escaped() {
        for bad in ["", "NO", "-a", ".a", "a b", "pаrty", "a\u{1b}[31m", "a/b", &"a".repeat(65)] {
            assert!(bad.parse::<PolicyName>().is_err(), "{bad:?}");
        }
        let error = "a\u{1b}[31m".parse::<PolicyName>().expect_err("refused").to_string();
        assert!(!error.contains('\u{1b}'), "{error}");
    }
}
