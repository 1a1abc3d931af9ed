//! What a rule writes for endpoints: an id, or a glob in which `*` stands for any run of characters.

use std::fmt;
use std::str::FromStr;

use crate::domain::{EndpointId, NameError};

/// One entry of `allow` or `deny`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EndpointPattern {
    /// This endpoint.
    Exactly(EndpointId),
    /// Each endpoint whose id fits, of those in the catalogue when the files are loaded.
    Glob(Glob),
}

/// An id with one `*` or more in it. Nothing else is special.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob(String);

/// The text is neither an id nor a glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    /// It has no `*` and is no id.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It has a `*`, and something that no id has.
    #[error("`{0}` fits no endpoint id: a glob holds `*` and what ids are made of, a-z 0-9 . _ -")]
    Glob(String),
}

/// Longest glob, in bytes; ids are not longer.
const LONGEST: usize = 64;

impl FromStr for EndpointPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if !text.contains('*') {
            return Ok(Self::Exactly(text.parse()?));
        }
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-' | b'*');
        if text.len() <= LONGEST && text.bytes().all(fits) {
            Ok(Self::Glob(Glob(text.to_owned())))
        } else {
            Err(PatternError::Glob(text.chars().take(LONGEST).flat_map(char::escape_debug).collect()))
        }
    }
}

impl Glob {
    /// Whether it fits this id, from its first character to its last.
    pub(super) fn fits(&self, id: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == id };
        let Some(mut left) = id.strip_prefix(first) else { return false };
        let mut parts = rest.split('*').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return left.ends_with(part);
            }
            // The first place where a part fits leaves most to the parts behind it.
            let Some((_, behind)) = left.split_once(part) else { return false };
            left = behind;
        }
        true
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Globs that would fit one of these ids, to suggest one for a glob that fits none: `a.*` and `*.c` of `a.b.c`.
pub(super) fn nearby<'i>(ids: impl Iterator<Item = &'i str>) -> Vec<String> {
    let mut globs: Vec<String> = ids
        .flat_map(|id| {
            let fronts = id.match_indices('.').filter_map(move |(at, _)| Some(format!("{}.*", id.get(..at)?)));
            let backs = id.match_indices('.').filter_map(move |(at, _)| Some(format!("*{}", id.get(at..)?)));
            fronts.chain(backs)
        })
        .collect();
    globs.sort_unstable();
    globs.dedup();
    globs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(glob: &str, id: &str) -> bool {
        match glob.parse() {
            Ok(EndpointPattern::Glob(glob)) => glob.fits(id),
            other => panic!("{other:?} is no glob"),
        }
    }

    #[test]
    fn a_star_stands_for_any_run_of_characters_also_none() {
        for (glob, id) in [
            ("parties.*", "parties.list"),
            ("parties.*", "parties.lines.read"),
            ("parties*", "parties"),
            ("*", "anything"),
            ("*.read", "parties.read"),
            ("p*s.*d", "parties.read"),
            ("**", "a"),
            ("a*b*b", "abb"),
            ("a*aba", "aababa"),
        ] {
            assert!(fits(glob, id), "{glob} fits {id}");
        }
    }

    #[test]
    fn what_stands_beside_a_star_must_be_there() {
        for (glob, id) in [
            ("parties.*", "parties"),
            ("parties.*", "xparties.list"),
            ("*.read", "parties.reads"),
            ("a*a", "a"),
            ("a*b*b", "ab"),
            ("*-x*", "a.x"),
        ] {
            assert!(!fits(glob, id), "{glob} does not fit {id}");
        }
    }

    #[test]
    fn only_the_star_is_special() {
        for text in ["parties.?", "parties.[a-z]*", "{a,b}*", "PARTIES.*", "a b*", "!a*", &"*".repeat(65)] {
            assert!(text.parse::<EndpointPattern>().is_err(), "{text}");
        }
        assert_eq!("a.b".parse(), Ok(EndpointPattern::Exactly("a.b".parse().expect("an id"))));
    }
}
