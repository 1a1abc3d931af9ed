//! Batches of `OData`: whole requests in one body, in JSON (`OData` JSON Format 4.01, section 19) or in
//! `multipart/mixed` (`OData` Protocol 4.01, section 11.7).
//!
//! The body is relayed as it came, so what the ERP will make of a part must be exactly what was decided on: nothing here
//! is repaired, and a member or header that could change a part's meaning refuses the batch.

mod json;
mod multipart;

use std::borrow::Cow;
use std::collections::HashSet;

use super::endpoint::NotResolved;
use super::operations::PartRefused;
use crate::domain::{PathRefused, Target};

pub use multipart::{Boundary, boundary_of};

/// In which format a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyForm<'b> {
    /// JSON in UTF-8, not compressed.
    Json,
    /// Parts between boundaries. Only an endpoint for batches takes it.
    Multipart(&'b Boundary),
}

/// A body that is looked into.
#[derive(Debug, Clone, Copy)]
pub struct Body<'b> {
    /// All of it.
    pub bytes: &'b [u8],
    /// Its format.
    pub form: BodyForm<'b>,
}

impl<'b> Body<'b> {
    /// A body in JSON.
    #[must_use]
    pub fn json(bytes: &'b [u8]) -> Self {
        Self { bytes, form: BodyForm::Json }
    }
}

/// One request of a batch, on its way to be mapped.
#[derive(Debug)]
pub(super) struct Part<'b> {
    pub(super) method: &'static str,
    url: Cow<'b, str>,
    /// Its body as it stands there, and whether that is JSON.
    pub(super) body: Option<(&'b [u8], Media)>,
}

/// What the body of a part is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Other,
}

/// Where a part leads.
#[derive(Debug)]
pub(super) struct Leads {
    /// As the gateway maps it.
    pub(super) target: Target,
    /// The request target that the ERP will make of it.
    pub(super) at_the_erp: String,
}

/// Methods of a part, and whether one comes with a body.
const METHODS: [(&str, bool); 5] = [("GET", false), ("DELETE", false), ("POST", true), ("PUT", true), ("PATCH", true)];

/// Headers that a part may have. Denied by default, like those of a request.
///
/// SECURITY: an ERP that takes `X-HTTP-Method` from a part would do something else than was decided.
const HEADERS: [&str; 13] = [
    "accept",
    "accept-language",
    "content-id",
    "content-language",
    "content-type",
    "dataserviceversion",
    "if-match",
    "if-none-match",
    "maxdataserviceversion",
    "odata-isolation",
    "odata-maxversion",
    "odata-version",
    "prefer",
];

/// Takes a batch apart.
pub(super) fn read(body: Body<'_>, most_parts: usize) -> Result<Vec<Part<'_>>, NotResolved> {
    match body.form {
        BodyForm::Json => json::read(body.bytes, most_parts),
        BodyForm::Multipart(boundary) => multipart::read(body.bytes, boundary, most_parts),
    }
}

/// The media type that the headers of a part tell, where each may be there and is there once; `untold` without one.
fn media<'h>(headers: impl Iterator<Item = (&'h str, &'h str)>, untold: Media) -> Result<Media, PartRefused> {
    let mut seen = HashSet::new();
    let mut media = untold;
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if !HEADERS.contains(&name.as_str()) || value.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err(PartRefused::Header);
        }
        if name == "content-type" {
            media = media_of(value);
        }
        if !seen.insert(name) {
            return Err(PartRefused::Header);
        }
    }
    Ok(media)
}

fn media_of(content_type: &str) -> Media {
    let lower = content_type.to_ascii_lowercase();
    let mut parts = lower.split(';').map(str::trim);
    let json = parts.next() == Some("application/json");
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some(("charset", charset)) => charset.trim_matches('"') == "utf-8",
        _ => true,
    });
    if json && utf8 { Media::Json } else { Media::Other }
}

impl Part<'_> {
    /// Where its URL leads, in a batch that was sent to the path `batch` and goes to the path `upstream_batch`.
    ///
    /// RFC 3986 section 5.2, for what needs no repair: a path from the root, or one beside the batch's own.
    pub(super) fn leads(&self, batch: &str, upstream_batch: &str) -> Result<Leads, PartRefused> {
        let url = self.url.as_ref();
        let first = url.split(['/', '?', '#']).next().unwrap_or_default();
        if url.starts_with("//") || first.contains(':') {
            return Err(PartRefused::OtherHost);
        }
        // SECURITY: `$1/Lines` is what part 1 has answered, not a path; `%24` is `$` to whoever decodes first.
        if first.starts_with('$') || first.starts_with("%24") {
            return Err(PartRefused::Reference);
        }
        if first.is_empty() && !url.starts_with('/') {
            return Err(PartRefused::Url(PathRefused::EmptySegment));
        }
        let beside = |path: &str| match path.rfind('/') {
            Some(_) if url.starts_with('/') => url.to_owned(),
            Some(end) => format!("{}/{url}", path.split_at(end).0),
            None => url.to_owned(),
        };
        let raw = beside(batch);
        let target = Target::parse(raw.as_bytes()).map_err(PartRefused::Url)?;
        // The ERP reads the URL as it stands in the body, so it must be spelt as it was matched.
        if raw.split('?').next() != Some(target.path().as_str()) {
            return Err(PartRefused::Spelling);
        }
        Ok(Leads { target, at_the_erp: beside(upstream_batch) })
    }
}
