//! Who may call what: the catalogue with those who reach each endpoint, and grants with what they really give.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::callable::says;
use super::part::size;
use super::proposal::only;
use super::{Control, ControlError, Result};
use crate::directory::{AccountState, Credential, CredentialKind, CredentialState, Snapshot};
use crate::domain::{AccountName, EndpointId, PolicyName};
use crate::policy::{Access, Endpoint, Given, Giving, PolicySet, Reach};

/// Items in one answer, where it is not said, and at most.
pub(super) const USUAL: usize = 50;
pub(super) const MOST: usize = 200;

/// Which endpoints.
#[derive(Debug, Default)]
pub(super) struct Which<'a> {
    /// Those whose id, path, method or upstream holds this.
    pub(super) text: Option<&'a str>,
    /// Those that one set reaches, by its id or name.
    pub(super) credential: Option<&'a str>,
}

/// A set with the policies that it holds now.
pub(super) struct Holder<'s> {
    pub(super) set: &'s Arc<Credential>,
    pub(super) account: Option<&'s AccountName>,
    pub(super) held: Vec<&'s PolicyName>,
    /// Why it may do nothing at the moment, where that is so.
    pub(super) stopped: Option<&'static str>,
}

impl<'s> Holder<'s> {
    pub(super) fn of(set: &'s Arc<Credential>, snapshot: &'s Snapshot, now: Timestamp) -> Self {
        let account = snapshot.account(set.account);
        let mut held: Vec<_> =
            set.grants.iter().filter(|grant| grant.is_live(now)).map(|grant| &grant.policy).collect();
        held.sort_unstable();
        let suspended = account.is_none_or(|account| account.state != AccountState::Active);
        let stopped = match set.state {
            CredentialState::Revoked => Some("revoked"),
            CredentialState::Disabled => Some("disabled"),
            CredentialState::Active if set.expires_at.is_some_and(|end| end <= now) => Some("expired"),
            CredentialState::Active if suspended => Some("account suspended"),
            CredentialState::Active => None,
        };
        Self { set, account: account.map(|account| &account.name), held, stopped }
    }

    /// By account, then by name.
    fn key(&self) -> String {
        let account = self.account.map(AccountName::as_str).unwrap_or_default();
        format!("{account} {} {}", self.set.name, self.set.id)
    }
}

pub(super) fn page<T>(
    rows: Vec<(String, T)>,
    after: Option<&str>,
    last: Option<usize>,
) -> Result<(Vec<T>, Option<String>)> {
    let last = size("last", last, USUAL, MOST)?;
    let mut rest = rows.into_iter().skip_while(|(key, _)| after.is_some_and(|after| key.as_str() <= after));
    let page: Vec<_> = rest.by_ref().take(last).collect();
    let next = rest.next().and_then(|_| page.last().map(|(key, _)| key.clone()));
    Ok((page.into_iter().map(|(_, row)| row).collect(), next))
}

impl Control {
    /// The endpoints, by id, each with how many sets reach it and by which policies.
    pub(super) fn list_endpoints(&self, which: &Which<'_>, after: Option<&str>, last: Option<usize>) -> Result<Value> {
        let (policies, snapshot, now) = (self.policies.current(), self.directory.snapshot(), self.clock.now());
        let sets = snapshot.credentials();
        let asked = which.credential.map(|text| only(text, sets.iter().map(|set| (set.id, set.name.as_str(), *set))));
        let asked = asked.transpose()?.map(|set| Holder::of(set, &snapshot, now));
        let mut found: Vec<_> = policies.endpoints().iter().filter(|endpoint| fits(endpoint, which.text)).collect();
        if let Some(holder) = &asked {
            found.retain(|endpoint| access(&policies.reach(endpoint, now), holder) != Access::Never);
        }
        found.sort_unstable_by(|one, other| one.id().cmp(other.id()));
        let total = found.len();
        let rows = found.into_iter().map(|endpoint| (endpoint.id().to_string(), endpoint)).collect();
        let (found, next) = page(rows, after, last)?;
        let groups = groups(&sets, &snapshot, now);
        let rows = found.into_iter().map(|endpoint| {
            let reach = policies.reach(endpoint, now);
            let mut row = told(endpoint);
            let reaching = groups.iter().filter(|((kind, held), _)| reach.access(*kind, held) != Access::Never);
            let (mut count, mut by) = (0_usize, BTreeSet::new());
            for ((kind, held), sets) in reaching {
                count += sets;
                by.extend(reach.opened_by(held).into_iter().map(PolicyName::as_str));
                if *kind == CredentialKind::Unrestricted {
                    by.insert("(unrestricted)");
                }
            }
            if let Some(members) = row.as_object_mut() {
                members.insert("sets".into(), count.into());
                members.insert("policies".into(), by.into_iter().collect());
                let access = asked.as_ref().map(|holder| access(&reach, holder).to_string());
                members.insert("access".into(), access.into());
            }
            row
        });
        Ok(json!({ "items": rows.collect::<Vec<_>>(), "next": next, "total": total }))
    }

    /// One endpoint, with each set that reaches it.
    pub(super) fn show_endpoint(&self, id: &EndpointId, after: Option<&str>, last: Option<usize>) -> Result<Value> {
        let (policies, snapshot, now) = (self.policies.current(), self.directory.snapshot(), self.clock.now());
        let endpoint = policies.endpoint(id);
        let endpoint = endpoint.ok_or_else(|| ControlError::not_found(format!("there is no endpoint `{id}`")))?;
        let reach = policies.reach(endpoint, now);
        let mut known: BTreeMap<(CredentialKind, Vec<&PolicyName>), bool> = BTreeMap::new();
        let sets = snapshot.credentials();
        let holders = sets.iter().map(|set| Holder::of(set, &snapshot, now)).filter(|holder| !is_over(holder));
        // Many sets hold the same: each combination is looked at once.
        let reaching = holders.filter(|holder| {
            *known
                .entry((holder.set.kind, holder.held.clone()))
                .or_insert_with(|| access(&reach, holder) != Access::Never)
        });
        let mut rows: Vec<_> = reaching.map(|holder| (holder.key(), holder)).collect();
        rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let total = rows.len();
        let (holders, next) = page(rows, after, last)?;
        let row = |holder: Holder<'_>| {
            json!({
                "id": holder.set.id, "name": holder.set.name, "account": holder.account,
                "kind": holder.set.kind.as_str(), "policies": reach.opened_by(&holder.held),
                "access": access(&reach, &holder).to_string(), "stopped": holder.stopped,
            })
        };
        let mut shown = told(endpoint);
        if let Some(members) = shown.as_object_mut() {
            members.insert("holders".into(), holders.into_iter().map(row).collect());
            members.insert("next".into(), next.into());
            members.insert("total".into(), total.into());
        }
        Ok(shown)
    }

    /// Credential sets with what each of their grants really gives.
    pub(super) fn grant_matrix(
        &self,
        account: Option<&AccountName>,
        policy: Option<&PolicyName>,
        after: Option<&str>,
        last: Option<usize>,
    ) -> Result<Value> {
        let (policies, snapshot, now) = (self.policies.current(), self.directory.snapshot(), self.clock.now());
        let sets = snapshot.credentials();
        if let Some(account) = account.filter(|name| snapshot.account_named(name).is_none()) {
            return Err(super::accounts::no_account(account));
        }
        let holders = sets.iter().map(|set| Holder::of(set, &snapshot, now));
        let wanted = holders.filter(|holder| {
            holder.set.state != CredentialState::Revoked
                && account.is_none_or(|account| holder.account == Some(account))
                && policy.is_none_or(|policy| holder.set.grants.iter().any(|grant| grant.policy == *policy))
        });
        let mut rows: Vec<_> = wanted.map(|holder| (holder.key(), holder)).collect();
        rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let total = rows.len();
        let (holders, next) = page(rows, after, last)?;
        let mut giving = Giving::new(&policies, now);
        let rows: Vec<Value> = holders.iter().map(|holder| row(holder, &mut giving, &policies, now)).collect();
        Ok(json!({ "items": rows, "next": next, "total": total }))
    }
}

/// A row of the matrix.
fn row(holder: &Holder<'_>, giving: &mut Giving<'_>, policies: &PolicySet, now: Timestamp) -> Value {
    let live = giving.of(&holder.held);
    let grants = holder.set.grants.iter().map(|grant| {
        let given = live.iter().find(|(name, _)| **name == grant.policy).map(|(_, given)| given);
        let given = if grant.is_live(now) { given } else { None };
        let (state, text) = match given {
            Some(given) => (given.as_str(), given.to_string()),
            None => ("expired", "nothing: the grant has ended".to_owned()),
        };
        let endpoints = match given {
            Some(Given::Endpoints { open, .. }) => *open,
            Some(Given::Missing | Given::Broken | Given::Nothing(_)) | None => 0,
        };
        json!({
            "policy": grant.policy, "state": state, "gives": text, "endpoints": endpoints, "expires_at": grant.expires_at,
        })
    });
    let beyond = match holder.set.kind {
        CredentialKind::Bounded => None,
        CredentialKind::Unrestricted => {
            Some(format!("all {} endpoints, but what these deny", policies.endpoints().len()))
        }
    };
    json!({
        "id": holder.set.id, "name": holder.set.name, "account": holder.account, "kind": holder.set.kind.as_str(),
        "beyond_grants": beyond, "stopped": holder.stopped, "grants": grants.collect::<Vec<_>>(),
    })
}

fn fits(endpoint: &Endpoint, text: Option<&str>) -> bool {
    let of_upstream = |text: &str| endpoint.upstream().as_str().contains(&text.to_lowercase());
    says(endpoint, text) || text.is_some_and(of_upstream)
}

fn told(endpoint: &Endpoint) -> Value {
    json!({
        "id": endpoint.id(), "methods": endpoint.methods(), "path": endpoint.path(), "upstream": endpoint.upstream(),
        "body": endpoint.wants_of_body(),
    })
}

pub(super) fn access(reach: &Reach<'_>, holder: &Holder<'_>) -> Access {
    reach.access(holder.set.kind, &holder.held)
}

/// Whether it can never be used again.
fn is_over(holder: &Holder<'_>) -> bool {
    matches!(holder.stopped, Some("revoked" | "expired"))
}

/// How many sets hold the same policies.
fn groups<'s>(
    sets: &[&'s Arc<Credential>],
    snapshot: &'s Snapshot,
    now: Timestamp,
) -> BTreeMap<(CredentialKind, Vec<&'s PolicyName>), usize> {
    let mut groups = BTreeMap::new();
    for holder in sets.iter().map(|set| Holder::of(set, snapshot, now)).filter(|holder| !is_over(holder)) {
        *groups.entry((holder.set.kind, holder.held)).or_default() += 1;
    }
    groups
}
