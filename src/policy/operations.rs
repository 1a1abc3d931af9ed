//! What one request asks for: one operation, or several in a batch. Each is decided by itself.

use std::collections::BTreeMap;
use std::fmt;

use super::body::{Batch, BodyHolds};
use super::candidates::NotOne;
use super::endpoint::{Endpoint, Matched, NotResolved, Route};
use super::facts::Facts;
use super::odata::{self, Body, BodyForm, Media};
use super::set::PolicySet;
use crate::domain::{Document, EndpointId, Found, JsonRefused, PathRefused, Target};

/// Why a part of a batch leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartRefused {
    /// No endpoint's condition fits it.
    #[error("no endpoint on this path has a condition that fits it")]
    NoCandidate,
    /// Several endpoints' conditions fit it.
    #[error("several endpoints on this path have a condition that fits it")]
    SeveralCandidates,
    /// Its endpoint may not be called in a batch, or not in one of so many parts.
    #[error("its endpoint `{0}` does not allow a batch of so many parts")]
    BatchNotAllowed(EndpointId),
    /// The batch does not go where its endpoint is.
    #[error("its endpoint `{0}` is at another place of the ERP than where the batch would take it")]
    Elsewhere(EndpointId),
    /// Its request line is not one.
    #[error("its request line is not `METHOD path HTTP/1.1` with an empty line behind the head")]
    RequestLine,
    /// It tells another length than its body has.
    #[error("its `Content-Length` is not the length of its body")]
    Length,
    /// Its method is none that a part may have.
    #[error("its method is none of GET, DELETE, POST, PUT, PATCH")]
    Method,
    /// It has a body that its method has no use for.
    #[error("its method comes without a body")]
    BodyOnMethod,
    /// One of its headers is none that a part may have, or is written twice.
    #[error("one of its headers is none that a part may have, or is written twice")]
    Header,
    /// Its URL names a host.
    #[error("its URL names a scheme or a host; only paths are possible")]
    OtherHost,
    /// Its URL refers to the answer of another part.
    #[error("its URL refers to another part (`$…`), so where it leads is not known before")]
    Reference,
    /// Its URL could be read in two ways.
    #[error("its URL can be read in more than one way: {0}")]
    Url(PathRefused),
    /// Its URL is not in canonical form.
    #[error("its URL is not in canonical form; a body is relayed as it is")]
    Spelling,
    /// No endpoint has its method and path.
    #[error("no endpoint has its method and path")]
    Unmapped,
    /// It is a batch itself.
    #[error("it is a batch itself")]
    Nested,
    /// Its endpoint has a condition on the body, and the body is not JSON.
    #[error("its endpoint has a condition on the body, and the body is not plain JSON")]
    BodyNotJson,
    /// Its endpoint has a condition on the body, and the body has no single meaning.
    #[error("its body has no single meaning: {0}")]
    BodyUnreadable(JsonRefused),
}

impl From<NotOne> for PartRefused {
    fn from(not_one: NotOne) -> Self {
        match not_one {
            NotOne::None => Self::NoCandidate,
            NotOne::Several => Self::SeveralCandidates,
        }
    }
}

/// One operation: the endpoint, and what is to be known of it.
#[derive(Debug)]
pub struct Operation<'p> {
    matched: Matched<'p>,
    /// Method and target of a request inside of another; `None` takes them from the request itself.
    inside: Option<(&'static str, Target)>,
    /// Whether it came in a batch, be it the only one there.
    in_batch: bool,
}

impl<'p> Operation<'p> {
    /// The endpoint, with the values of its parameters.
    #[must_use]
    pub fn matched(&self) -> &Matched<'p> {
        &self.matched
    }

    /// Whether it is a part of a batch. Its answer comes inside of another then, and what is said of the request as a
    /// whole is said of the other parts too.
    pub(super) fn is_in_batch(&self) -> bool {
        self.in_batch
    }

    /// The facts about it, given those about the request that brought it.
    #[must_use]
    pub fn facts<'a>(&'a self, request: Facts<'a>) -> Facts<'a> {
        match &self.inside {
            None => request,
            Some((method, target)) => Facts { method, path: target.path(), query: target.query(), ..request },
        }
    }
}

/// Everything that one request asks for; at least one operation.
#[derive(Debug)]
pub struct Operations<'p> {
    first: Operation<'p>,
    others: Vec<Operation<'p>>,
}

impl<'p> Operations<'p> {
    fn one(matched: Matched<'p>) -> Self {
        Self { first: Operation { matched, inside: None, in_batch: false }, others: Vec::new() }
    }

    /// The operation that says where the request goes.
    #[must_use]
    pub fn first(&self) -> &Operation<'p> {
        &self.first
    }

    /// All of them. Each must be permitted.
    pub fn iter(&self) -> impl Iterator<Item = &Operation<'p>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Whether there are several.
    #[must_use]
    pub fn is_batch(&self) -> bool {
        !self.others.is_empty()
    }
}

impl fmt::Display for Operations<'_> {
    /// The endpoint, or each endpoint of a batch once, with how often it is asked for.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_batch() {
            return write!(out, "`{}`", self.first.matched.endpoint().id());
        }
        let mut counts: BTreeMap<&EndpointId, usize> = BTreeMap::new();
        for operation in self.iter() {
            *counts.entry(operation.matched.endpoint().id()).or_default() += 1;
        }
        let names: Vec<_> = counts.iter().map(|(id, count)| format!("`{id}` ({count})")).collect();
        write!(out, "a batch of {}: {}", self.others.len() + 1, names.join(", "))
    }
}

impl PolicySet {
    /// What a request at this route asks for.
    ///
    /// # Errors
    /// When the body has no single meaning, or something in it does not lead to exactly one endpoint.
    pub fn operations<'p>(
        &'p self,
        route: Route<'p>,
        target: &Target,
        body: Option<Body<'_>>,
    ) -> Result<Operations<'p>, NotResolved> {
        let operations = self.mapped(route, target, body)?;
        // SECURITY: an endpoint that takes the rest of a path would take a batch along.
        let spelt = operations.iter().any(|operation| operation.matched().leads_to_batch());
        if spelt { Err(NotResolved::SpeltBatch) } else { Ok(operations) }
    }

    fn mapped<'p>(
        &'p self,
        route: Route<'p>,
        target: &Target,
        body: Option<Body<'_>>,
    ) -> Result<Operations<'p>, NotResolved> {
        let Some(body) = body else { return route.resolve(None).map(Operations::one) };
        if let Some((endpoint, most_parts)) = route.candidates().odata_batch() {
            return self.odata(route.matched(endpoint), most_parts, target, body);
        }
        let bytes = match body.form {
            BodyForm::Json => body.bytes,
            BodyForm::Multipart(_) => return Err(NotResolved::BodyUnreadable(JsonRefused::NotJson)),
        };
        match route.candidates().read(bytes).map_err(NotResolved::BodyUnreadable)? {
            Document::Object(found) => {
                let endpoint = route.candidates().meant(Some((&found, bytes.len())))?;
                Ok(Operations::one(route.matched(endpoint)))
            }
            Document::List(parts) => each(&route, &parts, bytes.len()),
        }
    }

    /// The requests in an `OData` batch, each mapped as if it came alone.
    fn odata<'p>(
        &'p self,
        batch: Matched<'p>,
        most_parts: usize,
        target: &Target,
        body: Body<'_>,
    ) -> Result<Operations<'p>, NotResolved> {
        let upstream_batch = batch.upstream_target(None);
        if body.bytes.len() > batch.endpoint().body.as_ref().map_or(0, |rule| rule.max_bytes) {
            return Err(NotResolved::NoCandidate);
        }
        let parts = odata::read(body, most_parts)?.into_iter().zip(1..);
        let others = parts.map(|(part, number)| {
            let mapped = part.leads(target.path().as_str(), &upstream_batch).and_then(|leads| {
                let matched = self.map_part(&part, &leads.target)?;
                let sent = matched.upstream_target(leads.target.query());
                same_place(batch.endpoint(), &matched, sent == leads.at_the_erp)?;
                Ok(Operation { matched, inside: Some((part.method, leads.target)), in_batch: true })
            });
            mapped.map_err(|why| NotResolved::Part { number, why })
        });
        let others = others.collect::<Result<Vec<_>, _>>()?;
        Ok(Operations { first: Operation { matched: batch, inside: None, in_batch: false }, others })
    }

    fn map_part<'p>(&'p self, part: &odata::Part<'_>, target: &Target) -> Result<Matched<'p>, PartRefused> {
        let route = self.route(part.method, target.path()).ok_or(PartRefused::Unmapped)?;
        if route.candidates().odata_batch().is_some() {
            return Err(PartRefused::Nested);
        }
        let endpoint = match (route.needs_body(), part.body) {
            (None, _) => route.candidates().meant(None)?,
            (Some(_), Some((bytes, Media::Json))) => {
                let found = route.candidates().read_one(bytes).map_err(PartRefused::BodyUnreadable)?;
                route.candidates().meant(Some((&found, bytes.len())))?
            }
            (Some(_), Some((_, Media::Other)) | None) => return Err(PartRefused::BodyNotJson),
        };
        Ok(route.matched(endpoint))
    }
}

/// The batch is sent as one, so each part must be for where it goes.
fn same_place(batch: &Endpoint, part: &Matched<'_>, same_target: bool) -> Result<(), PartRefused> {
    let endpoint = part.endpoint();
    if same_target && endpoint.upstream() == batch.upstream() {
        Ok(())
    } else {
        Err(PartRefused::Elsewhere(endpoint.id().clone()))
    }
}

/// The operations of a JSON-RPC batch. All of them are sent to one place.
fn each<'p>(route: &Route<'p>, parts: &[Found<'_>], length: usize) -> Result<Operations<'p>, NotResolved> {
    let operation = |(found, number): (&Found<'_>, usize)| {
        let refused = |why| NotResolved::Part { number, why };
        let endpoint = route.candidates().meant(Some((found, length))).map_err(|not_one| refused(not_one.into()))?;
        if !takes_batch_of(endpoint, parts.len()) {
            return Err(refused(PartRefused::BatchNotAllowed(endpoint.id().clone())));
        }
        Ok(Operation { matched: route.matched(endpoint), inside: None, in_batch: true })
    };
    let mut all = parts.iter().zip(1..).map(operation);
    let first = all.next().ok_or(NotResolved::BodyUnreadable(JsonRefused::NotABatch))??;
    let others = all.collect::<Result<Vec<_>, _>>()?;
    let sent = first.matched.upstream_target(None);
    for (other, number) in others.iter().zip(2..) {
        let same = other.matched.upstream_target(None) == sent;
        same_place(first.matched.endpoint(), &other.matched, same).map_err(|why| NotResolved::Part { number, why })?;
    }
    Ok(Operations { first, others })
}

fn takes_batch_of(endpoint: &Endpoint, parts: usize) -> bool {
    match endpoint.body.as_ref().map(|body| &body.holds) {
        Some(BodyHolds::Values { batch: Batch::Allowed { most_parts }, .. }) => parts <= *most_parts,
        Some(BodyHolds::Values { batch: Batch::Refused, .. } | BodyHolds::ODataBatch { .. }) | None => false,
    }
}
