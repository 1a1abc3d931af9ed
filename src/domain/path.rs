//! The one canonical form of a request's path. What two servers could read differently is refused, not repaired.
//!
//! Canonical means: escapes of unreserved characters decoded, other escapes in upper case (RFC 3986 section 6.2.2).
//! The check runs on the canonical text, so that it is idempotent: `%25%32%65` has no `%252e` in it before.

use std::fmt;

/// Why a path was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathRefused {
    /// It does not begin with `/`.
    #[error("the target does not begin with `/`")]
    NoSlash,
    /// A segment is empty: some servers merge slashes, others do not.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// A segment is `.` or `..` in some spelling.
    #[error("the path has a dot segment")]
    DotSegment,
    /// A character that no URI may hold: controls, spaces, raw non-ASCII, `\`, `<`, `"`, braces.
    #[error("the path has a character that no URI may hold")]
    Character,
    /// An escape is cut short or not hexadecimal.
    #[error("the path has a broken escape")]
    BrokenEscape,
    /// An escaped `/`, `\`, `%`, `;` or control character: decoded once or twice, it means another path.
    #[error("the path has an escape that servers read differently")]
    AmbiguousEscape,
    /// The escapes spell no UTF-8.
    #[error("the path's escapes are not UTF-8")]
    NotUtf8,
    /// A `;` parameter: some servers drop it.
    #[error("the path has a `;` parameter")]
    Parameter,
    /// The query holds a character that no URI may hold.
    #[error("the query has a character that no URI may hold")]
    Query,
}

/// A path in canonical form: begins with `/`, no segment is empty, `.` or `..`.
///
/// The path `/` alone has one empty segment and is refused like any other path that ends with `/`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanonicalPath(String);

impl CanonicalPath {
    /// Brings a raw path, without query, into canonical form.
    ///
    /// # Errors
    /// When it could be read in more than one way.
    pub fn parse(raw: &[u8]) -> Result<Self, PathRefused> {
        let text = if raw.contains(&b'%') { decode_unreserved(raw)? } else { ascii(raw)? };
        check(&text)?;
        Ok(Self(text))
    }

    /// The text, exactly as it is matched and sent on.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CanonicalPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for CanonicalPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CanonicalPath({})", self.0)
    }
}

/// A request target: the canonical path, and the query as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    path: CanonicalPath,
    query: Option<String>,
}

impl Target {
    /// Reads a request target in origin form.
    ///
    /// # Errors
    /// When path or query hold what two servers could read differently.
    pub fn parse(raw: &[u8]) -> Result<Self, PathRefused> {
        let mut parts = raw.splitn(2, |byte| *byte == b'?');
        let path = CanonicalPath::parse(parts.next().unwrap_or_default())?;
        let query = parts.next().map(query).transpose()?;
        Ok(Self { path, query })
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &CanonicalPath {
        &self.path
    }

    /// The query, without `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }
}

/// The query is data: it takes no part in matching and travels byte for byte, so only what is no URI at all is refused.
fn query(raw: &[u8]) -> Result<String, PathRefused> {
    let fits =
        |byte: &u8| matches!(byte, 0x21..=0x7e) && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`');
    if raw.iter().all(fits) { ascii(raw) } else { Err(PathRefused::Query) }
}

fn ascii(raw: &[u8]) -> Result<String, PathRefused> {
    if raw.is_ascii() {
        String::from_utf8(raw.to_vec()).map_err(|_| PathRefused::Character)
    } else {
        Err(PathRefused::Character)
    }
}

/// RFC 3986 section 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 section 3.3: what a segment may hold besides escapes; `;` is looked at separately.
const fn is_segment_character(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

fn decode_unreserved(raw: &[u8]) -> Result<String, PathRefused> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            if !byte.is_ascii() {
                return Err(PathRefused::Character);
            }
            text.push(char::from(*byte));
            continue;
        }
        let (high, low, after) = match rest {
            [high, low, after @ ..] => (hex(*high)?, hex(*low)?, after),
            _ => return Err(PathRefused::BrokenEscape),
        };
        rest = after;
        push_escaped(&mut text, high * 16 + low);
    }
    Ok(text)
}

fn push_escaped(text: &mut String, byte: u8) {
    const UPPER: &[u8; 16] = b"0123456789ABCDEF";
    if is_unreserved(byte) {
        text.push(char::from(byte));
    } else {
        let digit = |value: u8| char::from(UPPER.get(usize::from(value)).copied().unwrap_or(b'0'));
        text.push('%');
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
}

fn hex(digit: u8) -> Result<u8, PathRefused> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(PathRefused::BrokenEscape),
    }
}

fn check(text: &str) -> Result<(), PathRefused> {
    let segments = text.strip_prefix('/').ok_or(PathRefused::NoSlash)?;
    for segment in segments.split('/') {
        match segment {
            "" => return Err(PathRefused::EmptySegment),
            "." | ".." => return Err(PathRefused::DotSegment),
            _ => check_segment(segment)?,
        }
    }
    Ok(())
}

fn check_segment(segment: &str) -> Result<(), PathRefused> {
    let mut bytes = segment.bytes();
    let mut escaped = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) = bytes.next().zip(bytes.next()).ok_or(PathRefused::BrokenEscape)?;
            let value = hex(high)? * 16 + hex(low)?;
            // SECURITY: decoded by the next server (once, or twice for `%25`), these would mean another path.
            if matches!(value, 0..=0x1f | 0x7f | b'/' | b'\\' | b'%' | b';') {
                return Err(PathRefused::AmbiguousEscape);
            }
            escaped.push(value);
            continue;
        }
        utf8(&mut escaped)?;
        match byte {
            b';' => return Err(PathRefused::Parameter),
            byte if is_segment_character(byte) => {}
            _ => return Err(PathRefused::Character),
        }
    }
    utf8(&mut escaped)
}

/// A run of escapes must be whole UTF-8 (no overlong forms, no surrogates) without C1 controls.
fn utf8(run: &mut Vec<u8>) -> Result<(), PathRefused> {
    if !run.is_empty() {
        let text = std::str::from_utf8(run).map_err(|_| PathRefused::NotUtf8)?;
        if text.chars().any(char::is_control) {
            return Err(PathRefused::AmbiguousEscape);
        }
        run.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(raw: &str) -> Result<String, PathRefused> {
        CanonicalPath::parse(raw.as_bytes()).map(|path| path.0)
    }

    #[test]
    fn equivalent_spellings_have_one_form() {
        assert_eq!(canonical("/%76%31/%6F%72%64%65%72%73"), Ok("/v1/orders".into()));
        assert_eq!(canonical("/a/%7euser"), Ok("/a/~user".into()));
        assert_eq!(canonical("/a/caf%c3%a9"), Ok("/a/caf%C3%A9".into()));
        assert_eq!(canonical("/a/%3cb%3e"), Ok("/a/%3Cb%3E".into()));
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for (raw, why) in [
            ("", PathRefused::NoSlash),
            ("v1", PathRefused::NoSlash),
            ("/", PathRefused::EmptySegment),
            ("/a/", PathRefused::EmptySegment),
            ("//a", PathRefused::EmptySegment),
            ("/a/%2e%2E/b", PathRefused::DotSegment),
            ("/a/.", PathRefused::DotSegment),
            ("/a%2fb", PathRefused::AmbiguousEscape),
            ("/a%5Cb", PathRefused::AmbiguousEscape),
            ("/a%00", PathRefused::AmbiguousEscape),
            ("/a%0a", PathRefused::AmbiguousEscape),
            ("/a%3b", PathRefused::AmbiguousEscape),
            ("/%25%32%65", PathRefused::AmbiguousEscape),
            ("/a%c2%85", PathRefused::AmbiguousEscape),
            ("/a%", PathRefused::BrokenEscape),
            ("/a%4", PathRefused::BrokenEscape),
            ("/a%zz", PathRefused::BrokenEscape),
            ("/%c0%ae", PathRefused::NotUtf8),
            ("/%ed%a0%80", PathRefused::NotUtf8),
            ("/a;b", PathRefused::Parameter),
            ("/a\\b", PathRefused::Character),
            ("/a b", PathRefused::Character),
            ("/{{password}}", PathRefused::Character),
        ] {
            assert_eq!(canonical(raw), Err(why), "{raw:?}");
        }
    }

    #[test]
    fn the_query_travels_as_it_is() {
        let target = Target::parse(b"/a?x=%2e%2e%2fadmin%00&next=/v1/admin;b").expect("a target");
        assert_eq!(target.query(), Some("x=%2e%2e%2fadmin%00&next=/v1/admin;b"));
        assert_eq!(Target::parse(b"/a?").expect("a target").query(), Some(""));
        assert_eq!(Target::parse(b"/a?x y"), Err(PathRefused::Query));
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_its_own_canonical_form(raw in "/[a-zA-Z0-9%./;~ -]{0,40}") {
            if let Ok(path) = CanonicalPath::parse(raw.as_bytes()) {
                prop_assert_eq!(CanonicalPath::parse(path.as_str().as_bytes()), Ok(path.clone()));
            }
        }

        #[test]
        fn escaping_more_than_needed_changes_nothing(plain in "(/[a-z0-9_~-]{1,8}){1,4}") {
            let escaped: String = plain.bytes().map(|byte| if byte == b'/' { "/".into() } else { format!("%{byte:02x}") }).collect();
            prop_assert_eq!(canonical(&escaped), Ok(plain));
        }

        #[test]
        fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Target::parse(&raw);
        }
    }
}
