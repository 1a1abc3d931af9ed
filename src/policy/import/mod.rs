//! A proposal for the endpoint catalogue, made from an `OpenAPI` document. Nothing is allowed by it.

mod document;
mod known;
mod names;
mod operations;
mod write;

use std::collections::HashSet;
use std::path::Path;

use super::template::{Template, TrailingSlash};
use super::yaml::Problems;
use super::{files, raw_endpoints};
use crate::domain::UpstreamName;
use operations::Operation;

pub use document::LARGEST_DOCUMENT;
pub use known::KnownEndpoints;

/// What an import gives.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The text of the endpoints file.
    pub text: String,
    /// How many endpoints are in it.
    pub endpoints: usize,
    /// What is not in it. The text lists it too, as comments.
    pub left_out: Vec<LeftOut>,
}

/// An operation that is not in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Method and path, as the document has them.
    pub operation: String,
    /// Why.
    pub why: String,
}

/// An endpoint of the proposal.
#[derive(Debug)]
struct Proposed {
    id: String,
    method: &'static str,
    path: String,
    upstream_path: Option<String>,
    description: String,
}

/// Makes an endpoints file from an `OpenAPI` document of version 3.0 or 3.1, in JSON or YAML.
///
/// # Errors
/// When the document cannot be read, or is none.
pub fn import_openapi(
    file: &Path,
    bytes: &[u8],
    upstream: &UpstreamName,
    known: &KnownEndpoints,
) -> Result<Imported, Problems> {
    let document = document::read(file, bytes).map_err(|problem| Problems(vec![problem]))?;
    let found = operations::of(&document).map_err(|why| document::refused(file, &why))?;
    let mut proposals = Proposals { known, ids: HashSet::new(), routes: HashSet::new(), proposed: Vec::new() };
    let mut left_out = found.left_out;
    for operation in found.all {
        let name = format!("{} {}", operation.method, operation.path);
        if let Err(why) = proposals.add(&operation) {
            left_out.push(LeftOut { operation: name, why });
        }
    }
    let proposed = proposals.proposed;
    let text = write::text(&found.title, file, upstream, &proposed, &left_out);
    as_a_load_reads_it(&text)?;
    Ok(Imported { text, endpoints: proposed.len(), left_out })
}

/// What an import writes must be in order, whatever the document says.
fn as_a_load_reads_it(text: &str) -> Result<(), Problems> {
    let mut problems = Vec::new();
    files::read(Path::new("endpoints/imported.yaml"), text.as_bytes(), &mut problems);
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
}

struct Proposals<'k> {
    known: &'k KnownEndpoints,
    ids: HashSet<String>,
    routes: HashSet<(&'static str, String)>,
    proposed: Vec<Proposed>,
}

impl Proposals<'_> {
    fn add(&mut self, operation: &Operation) -> Result<(), String> {
        let Some(method) = raw_endpoints::METHODS.into_iter().find(|method| *method == operation.method) else {
            return Err(format!("the gateway does not relay {}", operation.method));
        };
        let base = operation.base.as_deref().map_err(Clone::clone)?;
        let path = names::template(&operation.path)?;
        let template = Template::parse(&path, TrailingSlash::Never)?;
        let slash = if operation.path.ends_with('/') { "/" } else { "" };
        let upstream_path = format!("{base}{path}{slash}");
        if Template::parse(&upstream_path, TrailingSlash::Kept)?.ends_with_batch() {
            return Err("a `$batch` carries requests that no rule would see; map it by hand with `body`".into());
        }
        let pattern = template.router_pattern();
        if self.routes.contains(&(method, pattern.clone())) {
            return Err("another operation has the same method and path, with other names of its parameters".into());
        }
        if let Some(other) = self.known.at(method, &pattern) {
            return Err(format!("it is mapped already, as {other}"));
        }
        let wanted = names::id(operation.id.as_deref(), method, &path);
        if let Some(other) = self.known.with_id(&wanted) {
            return Err(format!("its id exists already: {other}"));
        }
        let id = names::unique(&wanted, |id| self.ids.contains(id) || self.known.with_id(id).is_some());
        self.ids.insert(id.clone());
        self.routes.insert((method, pattern));
        let upstream_path = Some(upstream_path).filter(|upstream_path| *upstream_path != path);
        self.proposed.push(Proposed { id, method, path, upstream_path, description: operation.summary.clone() });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
