//! Whether the API is there for an account, and until when: what its people ask first.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::callable::{Callable, Now, callable};
use super::reach::Holder;
use super::{Control, Result};
use crate::directory::AccountState;
use crate::domain::{AccountName, PolicyName, ScheduleName, UpstreamName};
use crate::kill_switch::{Engaged, Scope};
use crate::policy::Hours;

impl Control {
    /// The state of the API as this account meets it. Why somebody has stopped it is for the house; the message is not.
    pub(super) fn account_api(&self, name: &AccountName) -> Result<Value> {
        let (policies, snapshot) = (self.policies.current(), self.directory.snapshot());
        let account = snapshot.account_named(name).ok_or_else(|| super::accounts::no_account(name))?;
        let now = Now { policies: &policies, snapshot: &snapshot, at: self.clock.now() };
        let sets = snapshot.credentials();
        let own = sets.iter().filter(|set| set.account == account.id).map(|set| Holder::of(set, &snapshot, now.at));
        let usable: Vec<_> = own.filter(|holder| matches!(holder.stopped, None | Some("account suspended"))).collect();
        // Many sets hold the same: each combination is looked at once.
        let mut seen = BTreeSet::new();
        let different = usable.iter().filter(|holder| seen.insert((holder.set.kind.as_str(), holder.held.clone())));
        let all: Vec<Callable<'_>> = different.flat_map(|holder| callable(holder, &now)).collect();
        let mut hours: BTreeSet<Hours> = BTreeSet::new();
        for callable in &all {
            hours.extend(callable.openness.always.then_some(Hours::Exempt));
            hours.extend(callable.openness.schedules.iter().cloned().map(Hours::Named));
        }
        let openness = now.openness(&hours.iter().collect());
        let upstreams: BTreeSet<&UpstreamName> = all.iter().map(|callable| callable.endpoint.upstream()).collect();
        let policies: BTreeSet<&PolicyName> = usable.iter().flat_map(|holder| holder.held.iter().copied()).collect();
        let whole = |engaged: &Engaged| match &engaged.scope {
            Scope::All => Some(true),
            Scope::Account(stopped) => (stopped == name).then_some(true),
            Scope::Policy(stopped) => policies.contains(stopped).then_some(false),
            Scope::Upstream(stopped) => upstreams.contains(stopped).then_some(false),
        };
        let stops: Vec<(bool, &Engaged)> =
            snapshot.kill_switches().in_force(now.at).filter_map(|engaged| Some((whole(engaged)?, engaged))).collect();
        let suspended = match account.state {
            AccountState::Active => false,
            AccountState::Suspended { .. } => true,
        };
        let state = if suspended {
            "suspended"
        } else if stops.iter().any(|(whole, _)| *whole) {
            "stopped"
        } else if all.is_empty() {
            "nothing"
        } else if openness.open {
            "open"
        } else {
            "closed"
        };
        let schedules: BTreeSet<&ScheduleName> = openness.schedules.iter().collect();
        let told = |(whole, engaged): &(bool, &Engaged)| json!({ "message": engaged.message, "since": engaged.at, "until": engaged.until, "everything": whole });
        Ok(json!({
            "account": account.name, "state": state, "always": openness.always, "changes_at": openness.changes_at,
            "schedules": now.schedules(schedules.into_iter()), "stops": stops.iter().map(told).collect::<Vec<_>>(),
            "limits": self.offered.rate_limits.of_account(account.limits), "url": self.offered.url,
            "token_path": self.offered.token_path,
        }))
    }
}
