//! The endpoint catalogue: what is not in it does not exist.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use super::body::BodyRule;
use super::candidates::{Candidates, NotOne};
use super::operations::PartRefused;
use super::template::{self, Template};
use crate::domain::{CanonicalPath, EndpointId, JsonRefused, UpstreamName};

/// One mapped ERP operation.
#[derive(Debug)]
pub struct Endpoint {
    pub(super) id: EndpointId,
    /// Its place in the catalogue, counted from 0.
    pub(super) number: usize,
    pub(super) upstream: UpstreamName,
    pub(super) methods: Vec<&'static str>,
    pub(super) path: Template,
    pub(super) path_text: String,
    pub(super) upstream_path: Template,
    pub(super) body: Option<BodyRule>,
}

impl Endpoint {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &EndpointId {
        &self.id
    }

    /// Where its requests go.
    #[must_use]
    pub fn upstream(&self) -> &UpstreamName {
        &self.upstream
    }

    /// Its methods.
    #[must_use]
    pub fn methods(&self) -> &[&'static str] {
        &self.methods
    }

    /// Its path template as written.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path_text
    }

    /// What it wants of a body, in words; `None` where it looks into none.
    #[must_use]
    pub fn wants_of_body(&self) -> Option<String> {
        self.body.as_ref().map(ToString::to_string)
    }
}

/// The catalogue, ready to be searched: a router per method, so the search does not grow with the catalogue.
#[derive(Default)]
pub(super) struct Catalogue {
    routers: HashMap<&'static str, matchit::Router<Candidates>>,
}

/// An endpoint whose path cannot stand beside that of another one.
#[derive(Debug)]
pub(super) struct Conflict {
    pub(super) endpoint: EndpointId,
    pub(super) other: Option<EndpointId>,
    /// What the router says.
    pub(super) why: String,
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Catalogue({} methods)", self.routers.len())
    }
}

impl Catalogue {
    /// Builds the routers. Endpoints of the same method and pattern share a place.
    pub(super) fn build(endpoints: &[Arc<Endpoint>]) -> Result<Self, Vec<Conflict>> {
        let mut places: BTreeMap<(&'static str, String), Candidates> = BTreeMap::new();
        // In the order written, so that of two that conflict the later one is told.
        let mut order: Vec<(&'static str, String, &EndpointId)> = Vec::new();
        for endpoint in endpoints {
            for method in &endpoint.methods {
                let pattern = endpoint.path.router_pattern();
                places.entry((method, pattern.clone())).or_default().add(Arc::clone(endpoint));
                order.push((method, pattern, &endpoint.id));
            }
        }
        let mut catalogue = Self::default();
        let mut conflicts = Vec::new();
        for (method, pattern, id) in &order {
            let Some(candidates) = places.remove(&(*method, pattern.clone())) else { continue };
            let router = catalogue.routers.entry(method).or_default();
            if let Err(error) = router.insert(pattern.as_str(), candidates) {
                let other = order.iter().find(|(known, other, _)| {
                    known == method && matches!(&error, matchit::InsertError::Conflict { with } if with == other)
                });
                conflicts.push(Conflict {
                    endpoint: (*id).clone(),
                    other: other.map(|(_, _, id)| (*id).clone()),
                    why: error.to_string(),
                });
            }
        }
        if conflicts.is_empty() { Ok(catalogue) } else { Err(conflicts) }
    }

    pub(super) fn find(&self, method: &str, path: &CanonicalPath) -> Option<Route<'_>> {
        let found = self.routers.get(method)?.at(path.as_str()).ok()?;
        let values = found.params.iter().map(|(_, value)| value.to_owned()).collect();
        Some(Route { candidates: found.value, values })
    }
}

/// The endpoints at one method and path; more than one only where they differ by the body.
#[derive(Debug)]
pub struct Route<'p> {
    candidates: &'p Candidates,
    values: Vec<String>,
}

/// No single endpoint is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotResolved {
    /// The body has no single meaning.
    #[error("the body has no single meaning: {0}")]
    BodyUnreadable(JsonRefused),
    /// The body is no batch of requests.
    #[error("the body is no OData batch: {0}")]
    NotABatch(&'static str),
    /// No endpoint's condition fits the body.
    #[error("no endpoint on this path has a condition that fits the body")]
    NoCandidate,
    /// Several endpoints' conditions fit the body.
    #[error("several endpoints on this path have a condition that fits the body")]
    SeveralCandidates,
    /// A parameter makes it a batch of `OData`.
    #[error("a `$batch` carries requests that no rule would see")]
    SpeltBatch,
    /// A part of a batch does not lead to a mapped endpoint.
    #[error("part {number} of the batch: {why}")]
    Part {
        /// Which part, counted from 1.
        number: usize,
        /// Why not.
        why: PartRefused,
    },
}

impl From<NotOne> for NotResolved {
    fn from(not_one: NotOne) -> Self {
        match not_one {
            NotOne::None => Self::NoCandidate,
            NotOne::Several => Self::SeveralCandidates,
        }
    }
}

impl<'p> Route<'p> {
    /// How many bytes of body must be looked into, where that is needed.
    #[must_use]
    pub fn needs_body(&self) -> Option<usize> {
        self.candidates.longest_body()
    }

    /// Whether the body is an `OData` batch, which may come as `multipart/mixed` too.
    #[must_use]
    pub fn takes_odata_batch(&self) -> bool {
        self.candidates.odata_batch().is_some()
    }

    /// The one endpoint that is meant by a request that is no batch.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn resolve(self, body: Option<&[u8]>) -> Result<Matched<'p>, NotResolved> {
        let endpoint = match body {
            None => self.candidates.meant(None)?,
            Some(bytes) => {
                let found = self.candidates.read_one(bytes).map_err(NotResolved::BodyUnreadable)?;
                self.candidates.meant(Some((&found, bytes.len())))?
            }
        };
        Ok(self.matched(endpoint))
    }

    /// The endpoint with this id, where it is one of those at this method and path.
    #[must_use]
    pub fn named(&self, id: &str) -> Option<Matched<'p>> {
        self.candidates.named(id).map(|endpoint| self.matched(endpoint))
    }

    /// The endpoint that the same body would mean here as it meant there, where the endpoint of this id was meant.
    /// `None` where the two do not ask the same of bodies.
    #[must_use]
    pub fn meant_as(&self, there: &Route<'_>, id: &str) -> Option<Matched<'p>> {
        let asked = there.candidates.named(id)?.body.as_ref().map(ToString::to_string);
        if !self.candidates.asks_as(there.candidates) {
            return None;
        }
        self.candidates.asking_for(asked.as_deref()).map(|endpoint| self.matched(endpoint))
    }

    pub(super) fn candidates(&self) -> &'p Candidates {
        self.candidates
    }

    /// One of its endpoints, with the values of this path.
    pub(super) fn matched(&self, endpoint: &'p Arc<Endpoint>) -> Matched<'p> {
        let names = endpoint.path.parameters().map(str::to_owned);
        Matched { endpoint, parameters: names.zip(self.values.iter().cloned()).collect() }
    }
}

/// An endpoint with the values of its parameters.
#[derive(Debug)]
pub struct Matched<'p> {
    endpoint: &'p Arc<Endpoint>,
    parameters: Vec<(String, String)>,
}

impl<'p> Matched<'p> {
    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &'p Endpoint {
        self.endpoint
    }

    pub(super) fn shared_endpoint(&self) -> &'p Arc<Endpoint> {
        self.endpoint
    }

    /// The parameters, by name.
    #[must_use]
    pub fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// Whether a parameter makes it an `OData` batch, whose parts no rule would see.
    #[must_use]
    pub fn leads_to_batch(&self) -> bool {
        self.parameters.iter().any(|(_, value)| value.rsplit('/').next().is_some_and(template::is_batch))
    }

    /// The request target that the ERP sees: its own path with the values put in, and the query as it was sent.
    #[must_use]
    pub fn upstream_target(&self, query: Option<&str>) -> String {
        let value_of =
            |name: &str| self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let mut target = self.endpoint.upstream_path.fill(value_of);
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        target
    }
}
