//! Credential sets, found and sorted: ten thousand are more than one page, and more than anybody reads.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::part::size;
use super::{Control, Result, SetOrder, SetQuery, SetState};
use crate::directory::{Credential, CredentialState, Pair, Snapshot};

/// Sets in a part, where it is not said.
const USUAL: usize = 100;
/// Sets in a part at most.
const MOST: usize = 1000;

impl Control {
    pub(super) fn search_credentials(&self, query: &SetQuery) -> Result<Value> {
        let limit = size("limit", query.limit, USUAL, MOST)?;
        let account = query.account.as_ref().map(|name| self.account_id(name)).transpose()?;
        let snapshot = self.directory.snapshot();
        let wanted = Wanted::new(query, &snapshot, self.clock.now());
        let sets = snapshot.credentials().into_iter();
        let mut found: Vec<&Arc<Credential>> =
            sets.filter(|set| account.is_none_or(|account| set.account == account) && wanted.fits(set)).collect();
        wanted.sort(&mut found);
        if query.descending {
            found.reverse();
        }
        let total = found.len();
        let part: Vec<Value> = found.into_iter().skip(query.offset).take(limit).map(|set| self.shown(set)).collect();
        Ok(json!({ "items": part, "total": total }))
    }
}

/// What is looked for.
struct Wanted<'q> {
    query: &'q SetQuery,
    text: Option<String>,
    snapshot: &'q Snapshot,
    now: Timestamp,
    ending_until: Option<Timestamp>,
    unused_since: Option<Timestamp>,
}

impl<'q> Wanted<'q> {
    fn new(query: &'q SetQuery, snapshot: &'q Snapshot, now: Timestamp) -> Self {
        let days = |days: u16| SignedDuration::from_hours(i64::from(days) * 24);
        let text = query.text.as_ref().map(|text| text.trim().to_lowercase()).filter(|text| !text.is_empty());
        let ending_until = query.ending_within_days.and_then(|within| now.checked_add(days(within)).ok());
        let unused_since = query.unused_for_days.and_then(|ago| now.checked_sub(days(ago)).ok());
        Self { query, text, snapshot, now, ending_until, unused_since }
    }

    fn account(&self, set: &Credential) -> &str {
        self.snapshot.account(set.account).map(|account| account.name.as_str()).unwrap_or_default()
    }

    fn state(&self, set: &Credential) -> SetState {
        match set.state {
            CredentialState::Active if set.has_expired(self.now) => SetState::Expired,
            CredentialState::Active => SetState::Active,
            CredentialState::Disabled => SetState::Disabled,
            CredentialState::Revoked => SetState::Revoked,
        }
    }

    fn fits(&self, set: &Credential) -> bool {
        let state = self.state(set);
        let last_used = || set.used.last(Pair::Current).unwrap_or(set.created_at);
        self.query.state.is_none_or(|wanted| wanted == state)
            && self
                .ending_until
                .is_none_or(|until| state == SetState::Active && set.expires_at.is_some_and(|end| end <= until))
            && self
                .unused_since
                .is_none_or(|since| state == SetState::Active && set.created_at <= since && last_used() <= since)
            && self.text.as_ref().is_none_or(|text| self.says(set, text))
    }

    fn says(&self, set: &Credential, text: &str) -> bool {
        let says = |known: &str| known.to_lowercase().contains(text);
        says(&set.name)
            || says(self.account(set))
            || set.purpose.as_deref().is_some_and(says)
            || set.grants.iter().any(|grant| says(grant.policy.as_str()))
            || says(&set.id.to_string())
    }

    fn sort(&self, sets: &mut [&Arc<Credential>]) {
        let name = |set: &Credential| (set.name.to_lowercase(), set.id);
        match self.query.sort.unwrap_or(SetOrder::Name) {
            SetOrder::Name => sets.sort_by_cached_key(|set| name(set)),
            SetOrder::Account => sets.sort_by_cached_key(|set| (self.account(set).to_owned(), name(set))),
            SetOrder::State => sets.sort_by_cached_key(|set| (<&str>::from(self.state(set)), name(set))),
            SetOrder::CreatedAt => sets.sort_by_key(|set| (set.created_at, set.id)),
            SetOrder::ExpiresAt => sets.sort_by_key(|set| (set.expires_at.unwrap_or(Timestamp::MAX), set.id)),
            SetOrder::LastUsedAt => sets.sort_by_key(|set| (set.used.last(Pair::Current), set.id)),
        }
    }
}
