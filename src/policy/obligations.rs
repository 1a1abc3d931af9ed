//! Obligations: what the rules that allow a request demand besides, of the request and of its answer.
//!
//! Those of all allowing rules add up; a rule without any lifts none. `docs/adr/0009-obligations-add-up.md` says why.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::decision::{Allowed, Refused};
use super::facts::{Facts, Grants};
use super::forced_query;
use super::operations::Operation;
use super::rules::{Policy, Rule};
use super::set::PolicySet;
use crate::directory::{CredentialKind, Grant};
use crate::domain::{MaskPointer, Masked, NotMasked, PolicyName, RuleId, UpstreamName, mask_json};

/// What one rule demands.
#[derive(Debug, Default)]
pub(super) struct Demands {
    /// Query parameters with the value that the ERP gets.
    pub(super) query: Vec<(String, String)>,
    /// Headers with the value that the ERP gets.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) mask: Option<Mask>,
}

/// Values of an answer that do not leave.
#[derive(Debug)]
pub(super) struct Mask {
    pub(super) pointers: Vec<MaskPointer>,
    /// What stands there instead: one JSON value.
    pub(super) with: String,
    /// The longest body that is masked, in bytes; a longer one is withheld.
    pub(super) max_bytes: usize,
}

/// What one allowing rule demands of the request at hand.
#[derive(Debug, Clone)]
pub(super) struct Owed {
    policy: Arc<Policy>,
    rule: RuleId,
    line: usize,
    demands: Arc<Demands>,
}

impl Owed {
    /// What this rule demands, where it demands something.
    pub(super) fn by(policy: &Arc<Policy>, rule: &Rule) -> Option<Self> {
        let demands = Arc::clone(rule.demands.as_ref()?);
        Some(Self { policy: Arc::clone(policy), rule: rule.id.clone(), line: rule.line, demands })
    }

    fn named(&self) -> (PolicyName, RuleId, String) {
        (self.policy.name.clone(), self.rule.clone(), format!("{}:{}", self.policy.file.display(), self.line))
    }

    /// `policy/rule`.
    fn source(&self) -> String {
        format!("{}/{}", self.policy.name(), self.rule)
    }

    fn query(&self) -> impl Iterator<Item = (&str, &str)> {
        self.demands.query.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Each demand in words, without who makes it.
    fn words(&self) -> impl Iterator<Item = String> {
        let Demands { query, headers, mask } = &*self.demands;
        let pointers = mask.iter().flat_map(|mask| &mask.pointers);
        let masks = pointers.map(|pointer| format!("mask {pointer}"));
        let query = query.iter().map(|(name, value)| format!("query {name}={value}"));
        let headers = headers.iter().map(|(name, value)| format!("header {name}={}", value.to_str().unwrap_or("?")));
        masks.chain(query).chain(headers)
    }
}

/// What the allowing rules demand cannot be done for the request, so it is denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfulfillable {
    /// Two rules force one thing to different values.
    #[error("rules `{policy}/{rule}` ({at}) and `{other}` force {about} to different values")]
    Conflict {
        /// The policy of the first.
        policy: PolicyName,
        /// The first rule.
        rule: RuleId,
        /// File and line of the first.
        at: String,
        /// The other rule.
        other: String,
        /// What they force.
        about: String,
    },
    /// A rule demands something of a part of a batch.
    #[error(
        "rule `{policy}/{rule}` ({at}) demands {demands}, which cannot be done for a part of a batch; it passes alone"
    )]
    InBatch {
        /// The policy.
        policy: PolicyName,
        /// The rule.
        rule: RuleId,
        /// File and line.
        at: String,
        /// What is demanded.
        demands: String,
    },
}

impl Unfulfillable {
    /// The policy of the rule that is named first.
    #[must_use]
    pub fn policy(&self) -> &PolicyName {
        match self {
            Self::Conflict { policy, .. } | Self::InBatch { policy, .. } => policy,
        }
    }

    /// The rule that is named first.
    #[must_use]
    pub fn rule(&self) -> &RuleId {
        match self {
            Self::Conflict { rule, .. } | Self::InBatch { rule, .. } => rule,
        }
    }
}

/// Everything that the rules allowing one request demand. Usually nothing, and then it holds no memory.
#[derive(Debug, Clone, Default)]
pub struct Obligations(Vec<Owed>);

impl Obligations {
    /// Sorted by policy and rule, so that the order of grants and rules changes nothing.
    pub(super) fn of(mut owed: Vec<Owed>) -> Result<Self, Unfulfillable> {
        owed.sort_by(|one, other| (one.policy.name(), &one.rule).cmp(&(other.policy.name(), &other.rule)));
        let mut rest = owed.as_slice();
        while let Some((one, others)) = rest.split_first() {
            let found = others.iter().find_map(|other| Some((other, differing(&one.demands, &other.demands)?)));
            if let Some((other, about)) = found {
                let (policy, rule, at) = one.named();
                return Err(Unfulfillable::Conflict { policy, rule, at, other: other.source(), about });
            }
            rest = others;
        }
        Ok(Self(owed))
    }

    /// Whether nothing is demanded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rule that forces query parameters, where one does.
    #[must_use]
    pub fn rule_on_query(&self) -> Option<String> {
        self.0.iter().find(|owed| !owed.demands.query.is_empty()).map(Owed::source)
    }

    /// The query that the ERP gets in place of the one that was sent; `None` where nothing is forced.
    #[must_use]
    pub fn forced_query(&self, sent: Option<&str>) -> Option<String> {
        let forced: BTreeSet<(&str, &str)> = self.0.iter().flat_map(Owed::query).collect();
        (!forced.is_empty()).then(|| forced_query::put(sent, &forced))
    }

    /// Headers that the ERP gets whatever the client sent.
    pub fn headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().flat_map(|owed| owed.demands.headers.iter().map(|(name, value)| (name, value)))
    }

    /// The rule that forces this header, where one does.
    #[must_use]
    pub fn rule_on_header(&self, name: &HeaderName) -> Option<String> {
        let forces = |owed: &&Owed| owed.demands.headers.iter().any(|(forced, _)| forced == name);
        self.0.iter().find(forces).map(Owed::source)
    }

    /// Whether values of the answer are masked.
    #[must_use]
    pub fn masks(&self) -> bool {
        self.0.iter().any(|owed| owed.demands.mask.is_some())
    }

    /// The rules that mask, for the audit row.
    #[must_use]
    pub fn rules_that_mask(&self) -> String {
        let masking = self.0.iter().filter(|owed| owed.demands.mask.is_some());
        masking.map(|owed| format!("`{}`", owed.source())).collect::<Vec<_>>().join(", ")
    }

    /// The longest body that is masked, in bytes: the least that a rule says. Zero where nothing is masked.
    #[must_use]
    pub fn longest_masked(&self) -> usize {
        self.0.iter().filter_map(|owed| owed.demands.mask.as_ref()).map(|mask| mask.max_bytes).min().unwrap_or(0)
    }

    /// The body as the client may see it; not longer than [`Self::longest_masked`].
    ///
    /// # Errors
    /// When it cannot be masked; nothing of it may leave then.
    pub fn mask(&self, body: &[u8]) -> Result<Vec<u8>, NotMasked> {
        let masks = self.0.iter().filter_map(|owed| owed.demands.mask.as_ref());
        let all: Vec<Masked<'_>> =
            masks.flat_map(|mask| mask.pointers.iter().map(|at| Masked { at, with: &mask.with })).collect();
        mask_json(body, &all, self.longest_masked())
    }

    /// Each demand once, as the cases of a policy write it: `mask /cost`, `query company=7`, `header x-company=7`.
    #[must_use]
    pub fn in_words(&self) -> BTreeSet<String> {
        self.0.iter().flat_map(Owed::words).collect()
    }
}

impl fmt::Display for Obligations {
    /// What is done and by which rule, for the decision path: `masked /cost by order-reader/read`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let notes = self.0.iter().flat_map(|owed| {
            owed.words().map(move |word| match word.strip_prefix("mask ") {
                Some(pointer) => format!("masked {pointer} by {}", owed.source()),
                None => format!("{word} by {}", owed.source()),
            })
        });
        out.write_str(&notes.collect::<Vec<_>>().join(", "))
    }
}

impl PolicySet {
    /// Decides about one operation of a request; `request` are the facts about the request that brought it.
    ///
    /// # Errors
    /// When it is not allowed, or is in a batch and a rule demands something of it.
    pub fn decide_operation(
        &self,
        operation: &Operation<'_>,
        grants: Grants<'_>,
        request: Facts<'_>,
    ) -> Result<Allowed, Refused> {
        let allowed = self.decide(operation.matched(), grants, &operation.facts(request))?;
        let obligations = allowed.obligations();
        match obligations.0.first() {
            // SECURITY: a pointer would be looked up in the answer to the batch, where it leads nowhere.
            Some(owed) if operation.is_in_batch() => {
                let (policy, rule, at) = owed.named();
                let demands: Vec<String> = obligations.in_words().iter().map(|word| format!("`{word}`")).collect();
                Err(Unfulfillable::InBatch { policy, rule, at, demands: demands.join(", ") }.into())
            }
            Some(_) | None => Ok(allowed),
        }
    }

    /// The same for a credential set of this kind with these grants, of which those count that have not ended.
    ///
    /// # Errors
    /// As above.
    pub fn decide_operation_for(
        &self,
        operation: &Operation<'_>,
        (kind, granted): (CredentialKind, &[Grant]),
        request: Facts<'_>,
    ) -> Result<Allowed, Refused> {
        let mut held = granted.iter().filter(|grant| grant.is_live(request.now)).map(|grant| &grant.policy);
        self.decide_operation(operation, Grants::of(kind, &mut held), request)
    }

    /// The rule that forces this header on requests to this upstream, as `policy/rule`, where one does.
    #[must_use]
    pub fn rule_forcing(&self, header: &HeaderName, upstream: &UpstreamName) -> Option<String> {
        let leads_there = |rule: &Rule| {
            let mut endpoints = self.endpoints().iter().filter(|endpoint| endpoint.upstream() == upstream);
            endpoints.any(|endpoint| rule.endpoints.contains(endpoint.id()))
        };
        let forces = |rule: &Rule| {
            rule.demands.as_ref().is_some_and(|demands| demands.headers.iter().any(|(forced, _)| forced == header))
        };
        let policies = self.policy_names().into_iter().filter_map(|name| self.policy(name));
        policies.flat_map(|policy| policy.rules.iter().map(move |rule| (policy, rule))).find_map(|(policy, rule)| {
            (forces(rule) && leads_there(rule)).then(|| format!("{}/{}", policy.name(), rule.id))
        })
    }
}

/// What two rules force to different values.
fn differing(one: &Demands, other: &Demands) -> Option<String> {
    let query = one.query.iter().find(|(name, value)| {
        let differs = |(known, forced): &(String, String)| (known, forced) != (name, value);
        other.query.iter().any(|demand| forced_query::is_spelling_of(&demand.0, name) && differs(demand))
    });
    let header =
        one.headers.iter().find(|(name, value)| other.headers.iter().any(|(known, set)| known == name && set != value));
    query
        .map(|(name, _)| format!("the query parameter `{name}`"))
        .or_else(|| header.map(|(name, _)| format!("the header `{name}`")))
}
