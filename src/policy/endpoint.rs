//! The endpoint catalogue: what is not in it does not exist.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::body::{self, BodyCondition, BodyRefused, Part};
use super::template::{self, Template};
use crate::domain::{CanonicalPath, EndpointId, UpstreamName};

/// One mapped ERP operation.
#[derive(Debug)]
pub struct Endpoint {
    pub(super) id: EndpointId,
    pub(super) upstream: UpstreamName,
    pub(super) methods: Vec<&'static str>,
    pub(super) path: Template,
    pub(super) path_text: String,
    pub(super) upstream_path: Template,
    pub(super) body: Option<BodyCondition>,
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
}

/// The catalogue, ready to be searched: a router per method, so the search does not grow with the catalogue.
#[derive(Default)]
pub(super) struct Catalogue {
    routers: HashMap<&'static str, matchit::Router<Vec<Arc<Endpoint>>>>,
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Catalogue({} methods)", self.routers.len())
    }
}

impl Catalogue {
    /// Builds the routers. Endpoints of the same method and pattern share a place.
    pub(super) fn build(endpoints: &[Arc<Endpoint>]) -> Result<Self, String> {
        let mut places: HashMap<(&'static str, String), Vec<Arc<Endpoint>>> = HashMap::new();
        for endpoint in endpoints {
            for method in &endpoint.methods {
                places.entry((method, endpoint.path.router_pattern())).or_default().push(Arc::clone(endpoint));
            }
        }
        let mut catalogue = Self::default();
        for ((method, pattern), endpoints) in places {
            let router = catalogue.routers.entry(method).or_default();
            router.insert(pattern.as_str(), endpoints).map_err(|error| format!("`{method} {pattern}`: {error}"))?;
        }
        Ok(catalogue)
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
    candidates: &'p [Arc<Endpoint>],
    values: Vec<String>,
}

/// No single endpoint is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotResolved {
    /// The body has no single meaning.
    BodyUnreadable(BodyRefused),
    /// No endpoint's condition fits the body.
    NoCandidate,
    /// Several endpoints' conditions fit the body.
    SeveralCandidates,
    /// The parts of a batch belong to endpoints that lead to different places.
    SeveralPlaces,
}

impl<'p> Route<'p> {
    /// How many bytes of body must be looked into, where that is needed.
    #[must_use]
    pub fn needs_body(&self) -> Option<usize> {
        self.candidates.iter().filter_map(|endpoint| endpoint.body.as_ref()).map(|body| body.max_bytes).max()
    }

    /// The one endpoint that is meant; of a batch, the one that each of its parts means.
    ///
    /// # Errors
    /// When there is none, or more than one, or when the parts of a batch would not go to one place.
    pub fn resolve(self, body: Option<&[u8]>) -> Result<Matched<'p>, NotResolved> {
        let Some(bytes) = body else {
            let endpoint = one(self.candidates.iter().filter(|endpoint| endpoint.body.is_none()))?;
            return Ok(self.matched(endpoint, Vec::new()));
        };
        let conditions = || self.candidates.iter().filter_map(|endpoint| endpoint.body.as_ref());
        let wanted: Vec<_> =
            conditions().flat_map(|condition| condition.allowed.iter().map(|(pointer, _)| pointer)).collect();
        let (parts, batch) = body::read(bytes, &wanted).map_err(NotResolved::BodyUnreadable)?;
        let means = |part: &Part<'_>| {
            one(self.candidates.iter().filter(|endpoint| match &endpoint.body {
                None => !batch,
                Some(condition) => {
                    let fits = bytes.len() <= condition.max_bytes && (!batch || parts.len() <= condition.batch);
                    fits && condition.is_met(part)
                }
            }))
        };
        let mut each = parts.iter().map(means);
        let first = each.next().ok_or(NotResolved::NoCandidate)??;
        let more = each.collect::<Result<Vec<_>, _>>()?;
        let same_place =
            |other: &&Arc<Endpoint>| other.upstream == first.upstream && other.upstream_path == first.upstream_path;
        if !more.iter().all(same_place) {
            return Err(NotResolved::SeveralPlaces);
        }
        Ok(self.matched(first, more))
    }

    fn matched(self, endpoint: &'p Arc<Endpoint>, more: Vec<&'p Arc<Endpoint>>) -> Matched<'p> {
        let names = endpoint.path.parameters().map(str::to_owned);
        Matched { endpoint, more, parameters: names.zip(self.values).collect() }
    }
}

fn one<'p>(mut fitting: impl Iterator<Item = &'p Arc<Endpoint>>) -> Result<&'p Arc<Endpoint>, NotResolved> {
    let endpoint = fitting.next().ok_or(NotResolved::NoCandidate)?;
    if fitting.next().is_some() { Err(NotResolved::SeveralCandidates) } else { Ok(endpoint) }
}

/// An endpoint with the values of its parameters.
#[derive(Debug)]
pub struct Matched<'p> {
    endpoint: &'p Arc<Endpoint>,
    /// What the further parts of a batch mean.
    more: Vec<&'p Arc<Endpoint>>,
    parameters: Vec<(String, String)>,
}

impl<'p> Matched<'p> {
    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &'p Endpoint {
        self.endpoint
    }

    /// Whether a parameter makes it an `OData` batch, whose parts no rule would see.
    #[must_use]
    pub fn leads_to_batch(&self) -> bool {
        self.parameters.iter().any(|(_, value)| value.rsplit('/').next().is_some_and(template::is_batch))
    }

    /// The same request once for each further part of a batch.
    pub fn further_parts(&self) -> impl Iterator<Item = Matched<'p>> {
        let part = |endpoint: &&'p Arc<Endpoint>| {
            let names = endpoint.path.parameters().map(str::to_owned);
            let values = self.parameters.iter().map(|(_, value)| value.clone());
            Matched { endpoint, more: Vec::new(), parameters: names.zip(values).collect() }
        };
        self.more.iter().map(part)
    }

    pub(super) fn shared_endpoint(&self) -> &'p Arc<Endpoint> {
        self.endpoint
    }

    /// The parameters, by name.
    #[must_use]
    pub fn parameters(&self) -> &[(String, String)] {
        &self.parameters
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
