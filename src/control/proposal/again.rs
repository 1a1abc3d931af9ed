//! A recorded request before other policies than those of then. What the row does not hold is not guessed.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::audit::{Recorded, Row, Step};
use crate::directory::{CredentialKind, Grant};
use crate::domain::{CanonicalPath, EndpointId};
use crate::policy::{Allowed, Facts, Matched, PolicySet, Refused, Requester};

/// What stands in a row in place of a secret.
const REDACTED: &str = "[redacted]";

/// A request as its row tells it.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Past<'r> {
    pub(in super::super) method: &'r str,
    pub(in super::super) path: &'r str,
    pub(in super::super) query: Option<&'r str>,
    pub(in super::super) client: Option<IpAddr>,
    pub(in super::super) at: Timestamp,
    pub(in super::super) endpoint: Option<&'r str>,
    pub(in super::super) is_batch: bool,
}

/// Who asks: the kind of the credential set, and its grants.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Asker<'g> {
    pub(in super::super) kind: CredentialKind,
    pub(in super::super) grants: &'g [Grant],
    /// As it is now; a row does not hold what it was then.
    pub(in super::super) requester: Option<Requester<'g>>,
}

/// What the policies say now.
#[derive(Debug)]
pub(in super::super) enum Again {
    Allowed(Allowed),
    Refused(Refused),
    NoEndpoint(String),
}

/// What the policies say, and what they looked at that the row does not hold as it was sent.
#[derive(Debug)]
pub(in super::super) struct Decided {
    pub(in super::super) again: Again,
    pub(in super::super) query_in_doubt: bool,
    pub(in super::super) unrecorded: bool,
}

/// Why it cannot be decided again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum NotTold {
    /// The path has no single meaning.
    Path,
    /// It was a batch.
    Batch,
    /// The body decides between endpoints.
    Body,
}

impl<'r> From<&'r Row> for Past<'r> {
    fn from(row: &'r Row) -> Self {
        let endpoint_step = row.verdicts.iter().find(|(name, ..)| name == Step::Endpoint.as_str());
        Self {
            method: &row.method,
            path: &row.path,
            query: row.query.as_deref(),
            client: address(row.client.as_deref()),
            at: row.at,
            endpoint: row.endpoint.as_deref(),
            is_batch: endpoint_step.is_some_and(|(.., note)| note.starts_with("a batch of ")),
        }
    }
}

impl<'r> From<&'r Recorded> for Past<'r> {
    fn from(row: &'r Recorded) -> Self {
        Self {
            method: &row.method,
            path: &row.path,
            query: row.query.as_deref(),
            client: address(row.client.as_deref()),
            at: row.at,
            endpoint: row.endpoint.as_deref(),
            is_batch: row.batch.is_some(),
        }
    }
}

fn address(text: Option<&str>) -> Option<IpAddr> {
    text.and_then(|text| text.parse().ok())
}

impl Past<'_> {
    /// Decides it again. `then` are the policies that were in force, where they are known: they say what a body meant.
    ///
    /// # Errors
    /// When the row does not hold what it depends on.
    pub(in super::super) fn decide(
        &self,
        policies: &PolicySet,
        then: &dyn Fn() -> Option<Arc<PolicySet>>,
        asker: Asker<'_>,
    ) -> Result<Decided, NotTold> {
        let path = CanonicalPath::parse(self.path.as_bytes()).map_err(|_| NotTold::Path)?;
        let matched = match self.endpoint(policies, then, &path)? {
            Ok(matched) => matched,
            Err(why) => {
                return Ok(Decided { again: Again::NoEndpoint(why), query_in_doubt: false, unrecorded: false });
            }
        };
        let facts = Facts {
            client: self.client,
            requester: asker.requester,
            ..Facts::new(self.method, &path, self.query, self.at)
        };
        let decided = policies.decide_for(&matched, asker.kind, asker.grants, &facts);
        let held = || asker.grants.iter().filter(|grant| grant.is_live(self.at)).map(|grant| &grant.policy);
        let redacted = self.query.is_some_and(|query| query.contains(REDACTED));
        Ok(Decided {
            again: decided.map_or_else(Again::Refused, Again::Allowed),
            query_in_doubt: redacted && policies.looks_at_query(&matched, held()),
            unrecorded: policies.looks_at_connection(&matched, held()),
        })
    }

    /// The endpoint of today that it led to. Where only the body would tell, the one that the row names.
    pub(in super::super) fn leads_to(
        &self,
        policies: &PolicySet,
        then: &dyn Fn() -> Option<Arc<PolicySet>>,
    ) -> Option<EndpointId> {
        let path = CanonicalPath::parse(self.path.as_bytes()).ok()?;
        match self.endpoint(policies, then, &path) {
            Ok(Ok(matched)) => Some(matched.endpoint().id().clone()),
            Ok(Err(_)) | Err(NotTold::Path | NotTold::Batch) => None,
            Err(NotTold::Body) => {
                let named = policies.route(self.method, &path)?.named(self.endpoint?)?;
                Some(named.endpoint().id().clone())
            }
        }
    }

    /// The endpoint that is meant; the inner error says why there is none.
    fn endpoint<'p>(
        &self,
        policies: &'p PolicySet,
        then: &dyn Fn() -> Option<Arc<PolicySet>>,
        path: &CanonicalPath,
    ) -> Result<Result<Matched<'p>, String>, NotTold> {
        let Some(route) = policies.route(self.method, path) else {
            return Ok(Err("no endpoint has this method and path".to_owned()));
        };
        if route.needs_body().is_none() {
            let resolved = route.resolve(None).map_err(|why| why.to_string());
            return Ok(resolved.and_then(|matched| {
                if matched.leads_to_batch() {
                    Err("a `$batch` carries requests that no rule would see".into())
                } else {
                    Ok(matched)
                }
            }));
        }
        if self.is_batch {
            return Err(NotTold::Batch);
        }
        // The body decided between endpoints; the row says for which.
        let endpoint = self.endpoint.ok_or(NotTold::Body)?;
        let then = then().ok_or(NotTold::Body)?;
        let there = then.route(self.method, path).ok_or(NotTold::Body)?;
        route.meant_as(&there, endpoint).map(Ok).ok_or(NotTold::Body)
    }
}
