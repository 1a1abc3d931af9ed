//! The endpoints that share one method and path, and what they look for in a body: all of it in one pass.

use std::sync::Arc;

use super::body::{BodyHolds, BodyRule};
use super::endpoint::Endpoint;
use crate::domain::{Document, Found, JsonRefused, PointerSet, Slot, read_json};

/// The endpoints at one method and path; more than one only where they differ by the body.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    endpoints: Vec<(Arc<Endpoint>, Vec<Slot>)>,
    looked_at: PointerSet,
}

/// Not exactly one endpoint fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotOne {
    None,
    Several,
}

impl Candidates {
    pub(super) fn add(&mut self, endpoint: Arc<Endpoint>) {
        let slots = match endpoint.body.as_ref().map(|body| &body.holds) {
            Some(BodyHolds::Values { wanted, .. }) => {
                wanted.iter().map(|(pointer, _)| self.looked_at.add(pointer)).collect()
            }
            Some(BodyHolds::ODataBatch { .. }) | None => Vec::new(),
        };
        self.endpoints.push((endpoint, slots));
    }

    /// The longest body that one of them looks into, in bytes; `None` where none does.
    pub(super) fn longest_body(&self) -> Option<usize> {
        self.rules().map(|body| body.max_bytes).max()
    }

    /// The endpoint that takes `OData` batches here, and the most requests in one. It has the path for itself.
    pub(super) fn odata_batch(&self) -> Option<(&Arc<Endpoint>, usize)> {
        self.endpoints.iter().find_map(|(endpoint, _)| match endpoint.body.as_ref()?.holds {
            BodyHolds::ODataBatch { most_parts } => Some((endpoint, most_parts)),
            BodyHolds::Values { .. } => None,
        })
    }

    /// Reads what the endpoints look for. A list is read where one of them allows batches.
    pub(super) fn read<'b>(&self, body: &'b [u8]) -> Result<Document<'b>, JsonRefused> {
        read_json(body, &self.looked_at, self.rules().map(BodyRule::most_parts).max().unwrap_or(0))
    }

    /// The same for a body that must be one object.
    pub(super) fn read_one<'b>(&self, body: &'b [u8]) -> Result<Found<'b>, JsonRefused> {
        match read_json(body, &self.looked_at, 0)? {
            Document::Object(found) => Ok(found),
            Document::List(_) => Err(JsonRefused::NotAnObject),
        }
    }

    /// The one endpoint that is meant; `body` is what was found, in a body of so many bytes.
    pub(super) fn meant(&self, body: Option<(&Found<'_>, usize)>) -> Result<&Arc<Endpoint>, NotOne> {
        let mut fitting = self.endpoints.iter().filter(|(endpoint, slots)| match (&endpoint.body, body) {
            (None, _) => true,
            (Some(rule), Some((found, length))) => length <= rule.max_bytes && fits(rule, slots, found),
            (Some(_), None) => false,
        });
        let (endpoint, _) = fitting.next().ok_or(NotOne::None)?;
        if fitting.next().is_some() { Err(NotOne::Several) } else { Ok(endpoint) }
    }

    /// The endpoint that asks for exactly this of a body, or that asks for nothing.
    pub(super) fn asking_for(&self, body: Option<&str>) -> Option<&Arc<Endpoint>> {
        let asks = |endpoint: &&Arc<Endpoint>| match (&endpoint.body, body) {
            (None, _) => true,
            (Some(rule), Some(body)) => rule.to_string() == body,
            (Some(_), None) => false,
        };
        self.endpoints.iter().map(|(endpoint, _)| endpoint).find(asks)
    }

    /// Whether these endpoints tell bodies apart as the others do.
    pub(super) fn asks_as(&self, other: &Self) -> bool {
        let asked = |of: &Self| {
            let mut texts: Vec<_> =
                of.endpoints.iter().map(|(endpoint, _)| endpoint.body.as_ref().map(ToString::to_string)).collect();
            texts.sort_unstable();
            texts
        };
        asked(self) == asked(other)
    }

    pub(super) fn named(&self, id: &str) -> Option<&Arc<Endpoint>> {
        self.endpoints.iter().map(|(endpoint, _)| endpoint).find(|endpoint| endpoint.id.as_str() == id)
    }

    fn rules(&self) -> impl Iterator<Item = &BodyRule> {
        self.endpoints.iter().filter_map(|(endpoint, _)| endpoint.body.as_ref())
    }
}

fn fits(rule: &BodyRule, slots: &[Slot], found: &Found<'_>) -> bool {
    match &rule.holds {
        BodyHolds::Values { wanted, .. } => wanted.iter().zip(slots).all(|((_, allowed), slot)| {
            let held = found.at(*slot);
            allowed.iter().any(|value| held.is(value))
        }),
        // A batch is taken apart before anybody asks what its parts hold.
        BodyHolds::ODataBatch { .. } => false,
    }
}
