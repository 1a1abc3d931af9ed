//! The endpoint catalogue: what is not in it does not exist.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::body::{self, BodyCondition, BodyRefused};
use super::template::Template;
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
}

impl<'p> Route<'p> {
    /// How many bytes of body must be looked into, where that is needed.
    #[must_use]
    pub fn needs_body(&self) -> Option<usize> {
        self.candidates.iter().filter_map(|endpoint| endpoint.body.as_ref()).map(|body| body.max_bytes).max()
    }

    /// The one endpoint that is meant.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn resolve(self, body: Option<&[u8]>) -> Result<Matched<'p>, NotResolved> {
        let read = body.map(body::read).transpose().map_err(NotResolved::BodyUnreadable)?;
        let mut fitting = self.candidates.iter().filter(|endpoint| match (&endpoint.body, &read, body) {
            (None, _, _) => true,
            (Some(condition), Some(read), Some(bytes)) => bytes.len() <= condition.max_bytes && condition.is_met(read),
            (Some(_), _, _) => false,
        });
        let endpoint = fitting.next().ok_or(NotResolved::NoCandidate)?;
        if fitting.next().is_some() {
            return Err(NotResolved::SeveralCandidates);
        }
        let names = endpoint.path.parameters().map(str::to_owned);
        Ok(Matched { endpoint, parameters: names.zip(self.values).collect() })
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
