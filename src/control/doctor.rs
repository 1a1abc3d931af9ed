//! What an operator should look at, as far as the store, the policies and the running gateway tell: each with what to do.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::{Control, ControlError, Result};
use crate::audit::{AUDIT_FORMAT, Filter, Kind, SinkState, WriterState};
use crate::directory::{Credential, CredentialKind, CredentialState, Pair};
use crate::policy::PolicySet;
use crate::store::STATE_FORMAT;

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it stands.
    pub state: FindingState,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub advice: String,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingState {
    /// As it should.
    Ok,
    /// Not as it should for long.
    Warn,
    /// It does not work, or is open to somebody.
    Fail,
}

impl Finding {
    /// It stands as it should.
    #[must_use]
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: FindingState::Ok, found: found.into(), advice: String::new() }
    }

    /// Somebody should look at it.
    #[must_use]
    pub fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: FindingState::Warn, found: found.into(), advice: advice.into() }
    }

    /// Somebody must look at it.
    #[must_use]
    pub fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: FindingState::Fail, found: found.into(), advice: advice.into() }
    }
}

/// What ends within so many days is told.
const SOON: i64 = 14;
/// A set that got no token for so many days is unused.
const UNUSED: i64 = 90;
/// A set that was never used is told after so many days.
const NEVER_USED: i64 = 30;
/// So many grants are looked up in the audit trail at most, the oldest first.
const MOST_GRANTS: usize = 200;
/// Secrets that are older than so many days should be rotated.
const OLD: i64 = 365;

impl Control {
    pub(super) fn doctor(&self) -> Result<Value> {
        let mut findings = Vec::new();
        self.examine_controls(&mut findings);
        self.examine_policies(&mut findings);
        self.examine_sets(&mut findings);
        self.examine_operator_keys(&mut findings);
        self.examine_upstreams(&mut findings);
        self.examine_certificates(&mut findings);
        self.examine_audit(&mut findings);
        self.examine_keys(&mut findings)?;
        self.examine_ages(&mut findings)?;
        self.examine_grants(&mut findings)?;
        // Databases of another format are not opened.
        let formats = format!("have this version's format (state {STATE_FORMAT}, audit {AUDIT_FORMAT})");
        findings.push(Finding::ok("databases", formats));
        serde_json::to_value(findings).map_err(ControlError::failed)
    }

    fn examine_controls(&self, findings: &mut Vec<Finding>) {
        let snapshot = self.directory.snapshot();
        let before = findings.len();
        for engaged in snapshot.kill_switches().in_force(self.clock.now()) {
            let found =
                format!("`{}` is engaged since {} by {}: {}", engaged.scope, engaged.at, engaged.by, engaged.reason);
            let advice = format!("when it is over: `erp-access kill release --scope {} --reason …`", engaged.scope);
            findings.push(Finding::warn("kill switches", found, advice));
        }
        if findings.len() == before {
            findings.push(Finding::ok("kill switches", "none is engaged"));
        }
    }

    fn examine_policies(&self, findings: &mut Vec<Finding>) {
        let (policies, problems) = (self.policies.current(), self.policies.problems());
        for problem in &problems.0 {
            let first = problem.to_string().lines().next().unwrap_or_default().to_owned();
            let advice = "the last good version is in force; `erp-access policy lint` shows the place";
            findings.push(Finding::fail("policies", first, advice));
        }
        let warnings = policies.warnings().0.len();
        if warnings > 0 {
            let found = format!("{warnings} warnings");
            findings.push(Finding::warn("policies", found, "`erp-access policy lint` shows them"));
        }
        if problems.is_empty() && warnings == 0 {
            findings.push(Finding::ok("policies", format!("generation {} is in force", policies.generation())));
        }
    }

    fn examine_sets(&self, findings: &mut Vec<Finding>) {
        let (snapshot, now) = (self.directory.snapshot(), self.clock.now());
        let (before, policies) = (findings.len(), self.policies.current());
        let usable = |set: &Credential| set.state == CredentialState::Active && !set.has_expired(now);
        let name = |set: &Credential| {
            let account = snapshot.account(set.account).map_or("?", |account| account.name.as_str());
            format!("`{}` of `{account}` ({})", set.name, set.id)
        };
        let sets: Vec<_> = snapshot.credentials().into_iter().filter(|set| usable(set)).collect();
        for set in &sets {
            examine_set(set, &name(set), &policies, now, findings);
        }
        let disabled = |set: &&Arc<Credential>| set.state == CredentialState::Disabled && !set.has_expired(now);
        let unrestricted = |set: &&Arc<Credential>| set.kind == CredentialKind::Unrestricted;
        for set in snapshot.credentials().into_iter().filter(disabled).filter(unrestricted) {
            let found = format!("{} is disabled; enabled again it may call everything", name(set));
            let advice = format!("`erp-access credential revoke {}` where it is not needed", set.id);
            findings.push(Finding::warn("unrestricted sets", found, advice));
        }
        if findings.len() == before {
            findings.push(Finding::ok("credential sets", format!("{} can be used", sets.len())));
        }
    }

    fn examine_operator_keys(&self, findings: &mut Vec<Finding>) {
        let (snapshot, now) = (self.directory.snapshot(), self.clock.now());
        let live = snapshot.operator_keys().filter(|key| key.is_live(now));
        for key in live.filter(|key| days(now, key.expires_at) < SOON) {
            let found = format!("`{}` ({}) ends at {}", key.name, key.id, key.expires_at);
            findings.push(Finding::warn(
                "operator keys",
                found,
                "issue another before (`erp-access operator-key issue`)",
            ));
        }
    }

    fn examine_upstreams(&self, findings: &mut Vec<Finding>) {
        let Some(sessions) = &self.sessions else { return };
        for status in sessions.status() {
            let whose = status.account.as_ref().map_or_else(String::new, |account| format!(" for `{account}`"));
            let name = format!("`{}`{whose}", status.upstream);
            match (&status.last_error, status.failures) {
                (Some(error), 1..) => {
                    let found = format!("{name}: {} sign-ins have failed: {error}", status.failures);
                    let advice = format!("`erp-access upstream test {}` shows the steps", status.upstream);
                    findings.push(Finding::fail("sessions at ERPs", found, advice));
                }
                _ => findings.push(Finding::ok("sessions at ERPs", format!("{name} has no failure"))),
            }
        }
    }

    /// Secrets that nobody has replaced for long.
    fn examine_ages(&self, findings: &mut Vec<Finding>) -> Result<()> {
        let (snapshot, now) = (self.directory.snapshot(), self.clock.now());
        let failed = ControlError::failed;
        if let Some(since) = self.store.key_in_use_since().map_err(failed)?.filter(|since| days(*since, now) >= OLD) {
            let found = format!("the APP_KEY in use is from {since}");
            findings.push(Finding::warn("old secrets", found, "`erp-access key rotate`"));
        }
        for (upstream, account, set_at) in self.store.upstream_secrets_set_at().map_err(failed)? {
            if days(set_at, now) >= OLD {
                let account = account.and_then(|id| snapshot.account(id));
                let whose = account.map_or_else(String::new, |account| format!(" for `{}`", account.name));
                let found = format!("the secrets at `{upstream}`{whose} are from {set_at}");
                let advice = format!("change them at the ERP, then `erp-access upstream secret set {upstream}`");
                findings.push(Finding::warn("old secrets", found, advice));
            }
        }
        Ok(())
    }

    /// Grants on which no request has rested for long, of sets that are used.
    fn examine_grants(&self, findings: &mut Vec<Finding>) -> Result<()> {
        let (snapshot, now) = (self.directory.snapshot(), self.clock.now());
        let Ok(since) = now.checked_sub(SignedDuration::from_hours(24 * UNUSED)) else { return Ok(()) };
        let grants = self.store.grants_made_before(since).map_err(ControlError::failed)?;
        let used =
            |set: &&Arc<Credential>| set.used.last(Pair::Current).max(set.used.last(Pair::Former)) >= Some(since);
        let held = grants.into_iter().filter_map(|(id, policy)| {
            let set = snapshot.credential(id).filter(used)?;
            set.grants.iter().any(|grant| grant.policy == policy && grant.is_live(now)).then_some((set, policy))
        });
        for (set, policy) in held.take(MOST_GRANTS) {
            let kind = Some(Kind::Relay.as_str().to_owned());
            let (credential, name) = (Some(set.id), Some(policy.to_string()));
            let filter = Filter { last: 1, credential, policy: name, kind, since: Some(since), ..Filter::default() };
            if self.auditor.search(&filter).map_err(ControlError::failed)?.is_empty() {
                let found = format!("no request of `{}` ({}) rested on `{policy}` since {since}", set.name, set.id);
                let advice = format!("`erp-access grant remove {} {policy}` where it is not needed", set.id);
                findings.push(Finding::warn("unused grants", found, advice));
            }
        }
        Ok(())
    }

    fn examine_audit(&self, findings: &mut Vec<Finding>) {
        let health = self.auditor.health();
        let advice = "nothing is relayed meanwhile: look at the disk of `store.directory`";
        findings.push(match health.state {
            WriterState::Ok => Finding::ok("audit trail", "rows are written"),
            WriterState::Failing { since } => {
                Finding::fail("audit trail", format!("rows cannot be written for {} s", since.as_secs()), advice)
            }
            WriterState::Stalled { since } => {
                Finding::fail("audit trail", format!("the writer is stalled for {} s", since.as_secs()), advice)
            }
        });
        if health.lost > 0 {
            let found = format!("{} rows of refused requests were counted only", health.lost);
            findings.push(Finding::warn("audit trail", found, "the queue was full: look at the disk's speed"));
        }
        for sink in self.auditor.sink_reports(self.clock.now()) {
            let found = format!("`{}` is {} records behind", sink.name, sink.lag_records);
            let advice = "rows are kept until its receiver has them; look at the receiver";
            findings.push(match sink.state {
                SinkState::Ok | SinkState::Stopped => Finding::ok("audit sinks", found),
                SinkState::Retrying => Finding::warn("audit sinks", found, advice),
            });
        }
    }
}

fn examine_set(set: &Credential, name: &str, policies: &PolicySet, now: Timestamp, findings: &mut Vec<Finding>) {
    let id = set.id;
    if set.kind == CredentialKind::Unrestricted {
        let end = set.expires_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        let found = format!("{name} may call everything until {end}: {}", set.reason.as_deref().unwrap_or("no reason"));
        let advice = format!("`erp-access policy suggest --credential {id}` writes the policy that it needs");
        findings.push(Finding::warn("unrestricted sets", found, advice));
    }
    if let Some(end) = set.expires_at.filter(|at| days(now, *at) < SOON) {
        let advice = format!("`erp-access credential update {id} --expires-at …`, or let it end");
        findings.push(Finding::warn("expiring sets", format!("{name} ends at {end}"), advice));
    }
    let last = set.used.last(Pair::Current).max(set.used.last(Pair::Former));
    let idle = match last {
        Some(last) if days(last, now) >= UNUSED => Some(format!("{name} got its last token at {last}")),
        None if days(set.created_at, now) >= NEVER_USED => Some(format!("{name} was never used")),
        _ => None,
    };
    if let Some(found) = idle {
        findings.push(Finding::warn(
            "unused sets",
            found,
            format!("`erp-access credential disable {id}` until it is missed"),
        ));
    }
    let made = set.rotated_at.unwrap_or(set.created_at);
    if days(made, now) >= OLD {
        let advice = format!("`erp-access credential rotate {id}`");
        findings.push(Finding::warn("old secrets", format!("the secrets of {name} are from {made}"), advice));
    }
    for grant in set.grants.iter().filter(|grant| policies.policy(&grant.policy).is_none()) {
        let found = format!("{name} holds `{}`, which does not exist", grant.policy);
        let advice = format!("`erp-access grant remove {id} {}`, or bring the file back", grant.policy);
        findings.push(Finding::warn("grants", found, advice));
    }
    for grant in set.grants.iter().filter(|grant| !grant.is_live(now)) {
        let advice = format!("`erp-access grant remove {id} {}`", grant.policy);
        findings.push(Finding::warn("grants", format!("the grant of `{}` to {name} has ended", grant.policy), advice));
    }
}

/// Whole days from one moment to another.
fn days(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_secs() / SignedDuration::from_hours(24).as_secs()
}
