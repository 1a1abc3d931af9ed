//! Path templates: `/v1/orders/{id}` (one segment) and `/v1/files/{path...}` (the rest).

use std::fmt::Write as _;

use crate::domain::CanonicalPath;

/// What stands for a value in a sample.
pub(super) const SAMPLE: &str = "~any~";

/// A path with parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(String),
    One(String),
    Rest(String),
}

impl Template {
    /// Reads a template that a canonical path can match.
    ///
    /// `at_end` allows the trailing slash that some ERPs want in their own paths.
    pub(super) fn parse(text: &str, at_end: TrailingSlash) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("`{text}`: {why}"));
        if text.contains('*') {
            return wrong("`*` is not a pattern here; write `{name}` for a segment or `{name...}` for the rest");
        }
        let path = text.strip_prefix('/').ok_or_else(|| format!("`{text}`: a path begins with `/`"))?;
        let (path, slash) = match (path.strip_suffix('/'), at_end) {
            (Some(path), TrailingSlash::Kept) if !path.is_empty() => (path, true),
            _ => (path, false),
        };
        let count = path.split('/').count();
        let mut segments = Vec::with_capacity(count + 1);
        for (index, part) in path.split('/').enumerate() {
            let segment = segment(text, part)?;
            if matches!(segment, Segment::Rest(_)) && index + 1 < count {
                return wrong(&format!("`{part}` takes the rest of the path, so it must be the last segment"));
            }
            segments.push(segment);
        }
        if slash {
            segments.push(Segment::Literal(String::new()));
        }
        let template = Self { segments };
        let mut names: Vec<_> = template.parameters().collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return wrong("a parameter occurs twice");
        }
        Ok(template)
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names of its parameters, in order.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::One(name) | Segment::Rest(name) => Some(name.as_str()),
        })
    }

    /// Whether it leads to the batches of `OData`.
    pub(super) fn ends_with_batch(&self) -> bool {
        let last =
            self.segments.iter().rev().find(|segment| !matches!(segment, Segment::Literal(text) if text.is_empty()));
        matches!(last, Some(Segment::Literal(text)) if is_batch(text))
    }

    pub(super) fn has_rest(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::Rest(_)))
    }

    /// The same in the router's notation, parameters numbered: two templates match the same paths iff these are equal.
    pub(super) fn router_pattern(&self) -> String {
        let mut number = 0;
        self.segments.iter().fold(String::new(), |mut pattern, segment| {
            pattern.push('/');
            match segment {
                Segment::Literal(text) => pattern.push_str(text),
                Segment::One(_) => drop(write!(pattern, "{{p{number}}}")),
                Segment::Rest(_) => drop(write!(pattern, "{{*p{number}}}")),
            }
            number += usize::from(!matches!(segment, Segment::Literal(_)));
            pattern
        })
    }

    /// A path that the template matches, and that no template with a literal in place of a parameter is likely to match.
    pub(super) fn sample(&self) -> String {
        let mut number = 0;
        self.segments.iter().fold(String::new(), |mut path, segment| {
            number += 1;
            path.push('/');
            match segment {
                Segment::Literal(text) => path.push_str(text),
                Segment::One(_) => drop(write!(path, "{SAMPLE}{number}")),
                Segment::Rest(_) => drop(write!(path, "{SAMPLE}{number}/{SAMPLE}")),
            }
            path
        })
    }

    /// The path with values put in, exactly as they stand in a canonical path.
    pub(super) fn fill<'v>(&self, value_of: impl Fn(&str) -> Option<&'v str>) -> String {
        self.segments.iter().fold(String::with_capacity(64), |mut path, segment| {
            path.push('/');
            match segment {
                Segment::Literal(text) => path.push_str(text),
                Segment::One(name) | Segment::Rest(name) => path.push_str(value_of(name).unwrap_or_default()),
            }
            path
        })
    }
}

/// `$batch`, in any spelling.
pub(super) fn is_batch(segment: &str) -> bool {
    segment.replace("%24", "$").eq_ignore_ascii_case("$batch")
}

/// Whether a template may end with `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrailingSlash {
    /// No canonical path does.
    Never,
    /// The ERP's own path may.
    Kept,
}

fn segment(text: &str, part: &str) -> Result<Segment, String> {
    let wrong = |why: String| Err(format!("`{text}`: {why}"));
    if let Some(inside) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        let (name, rest) = match inside.strip_suffix("...") {
            Some(name) => (name, true),
            None => (inside, false),
        };
        let fits = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        return match (fits, rest) {
            (false, _) => wrong(format!("`{{{inside}}}` is not a parameter; write `{{name}}` with a-z, 0-9 and _")),
            (true, true) => Ok(Segment::Rest(name.to_owned())),
            (true, false) => Ok(Segment::One(name.to_owned())),
        };
    }
    if part.contains(['{', '}']) {
        return wrong(format!(
            "in `{part}` the parameter is not a whole segment, or a stray `{{` or `}}` stands there"
        ));
    }
    // A literal that no canonical path holds would never match.
    match CanonicalPath::parse(format!("/{part}").as_bytes()) {
        Ok(canonical) if canonical.as_str().strip_prefix('/') == Some(part) => Ok(Segment::Literal(part.to_owned())),
        Ok(canonical) => wrong(format!("`{part}` has another spelling in canonical paths: `{}`", canonical.as_str())),
        Err(why) => wrong(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Template, String> {
        Template::parse(text, TrailingSlash::Never)
    }

    #[test]
    fn a_template_is_filled_as_it_matched() {
        let template = parse("/v1/orders/{id}/files/{path...}").expect("a template");
        let filled = template.fill(|name| Some(if name == "id" { "4%232" } else { "a/b" }));
        assert_eq!(filled, "/v1/orders/4%232/files/a/b");
        assert_eq!(template.router_pattern(), "/v1/orders/{p0}/files/{*p1}");
    }

    #[test]
    fn what_can_never_match_or_misleads_is_refused() {
        for text in [
            "",
            "v1",
            "/",
            "/v1/",
            "/v1//a",
            "/v1/../a",
            "/v1/a b",
            "/v1/%2F",
            "/v1/%7e",
            "/v1/*",
            "/v1/{}",
            "/v1/{id",
            "/v1/id}",
            "/v1/a{id}",
            "/v1/{id:int}",
            "/v1/{rest...}/a",
            "/v1/{id}/{id}",
            "/v1/a;b",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_upstream_path_may_end_with_a_slash() {
        let template = Template::parse("/erp/rpc/", TrailingSlash::Kept).expect("a template");
        assert_eq!(template.fill(|_| None), "/erp/rpc/");
    }
}
