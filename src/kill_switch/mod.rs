//! Kill switches: scopes, engage, release.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{AccountName, NameError, PolicyName, UpstreamName};

/// What a kill switch stops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// Every request.
    All,
    /// The requests of one account.
    Account(AccountName),
    /// The requests that one policy allows.
    Policy(PolicyName),
    /// The requests for one upstream.
    Upstream(UpstreamName),
}

/// A text is not a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// No such kind of scope.
    #[error("a scope is `all`, `account:NAME`, `policy:NAME` or `upstream:NAME`")]
    Kind,
    /// What follows the colon is no name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Scope {
    /// The text of the scope, without an allocation for the usual one.
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        match self {
            Self::All => "all".into(),
            Self::Account(_) | Self::Policy(_) | Self::Upstream(_) => self.to_string().into(),
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        match text.split_once(':') {
            None if text == "all" => Ok(Self::All),
            Some(("account", name)) => Ok(Self::Account(name.parse()?)),
            Some(("policy", name)) => Ok(Self::Policy(name.parse()?)),
            Some(("upstream", name)) => Ok(Self::Upstream(name.parse()?)),
            _ => Err(ScopeError::Kind),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;

    fn try_from(text: String) -> Result<Self, ScopeError> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => out.write_str("all"),
            Self::Account(name) => write!(out, "account:{name}"),
            Self::Policy(name) => write!(out, "policy:{name}"),
            Self::Upstream(name) => write!(out, "upstream:{name}"),
        }
    }
}

/// A kill switch that is engaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engaged {
    /// What it stops.
    pub scope: Scope,
    /// What clients are told.
    pub message: Option<String>,
    /// Why, for the audit trail.
    pub reason: String,
    /// Who engaged it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// When it ends by itself; without, it must be released.
    pub until: Option<Timestamp>,
}

impl Engaged {
    /// Whether it stops anything at this moment.
    #[must_use]
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

/// The kill switches that are engaged.
#[derive(Debug, Clone, Default)]
pub struct KillSwitches {
    engaged: Vec<Engaged>,
}

impl KillSwitches {
    /// These are engaged.
    #[must_use]
    pub fn new(engaged: Vec<Engaged>) -> Self {
        Self { engaged }
    }

    /// All that are in force at this moment.
    pub fn in_force(&self, now: Timestamp) -> impl Iterator<Item = &Engaged> {
        self.engaged.iter().filter(move |engaged| engaged.is_in_force(now))
    }

    /// Those that have ended by themselves.
    pub fn over(&self, now: Timestamp) -> impl Iterator<Item = &Engaged> {
        self.engaged.iter().filter(move |engaged| !engaged.is_in_force(now))
    }

    /// The one that stops everything.
    #[must_use]
    pub fn global(&self, now: Timestamp) -> Option<&Engaged> {
        self.in_force(now).find(|engaged| engaged.scope == Scope::All)
    }

    /// The one of exactly this scope, over or not.
    #[must_use]
    pub fn of(&self, scope: &Scope) -> Option<&Engaged> {
        self.engaged.iter().find(|engaged| engaged.scope == *scope)
    }

    /// One that stops a request of this account, allowed by this policy, for this upstream.
    #[must_use]
    pub fn hit(
        &self,
        account: &AccountName,
        policy: Option<&PolicyName>,
        upstream: &UpstreamName,
        now: Timestamp,
    ) -> Option<&Engaged> {
        self.in_force(now).find(|engaged| match &engaged.scope {
            Scope::All => true,
            Scope::Account(name) => name == account,
            Scope::Policy(name) => policy == Some(name),
            Scope::Upstream(name) => name == upstream,
        })
    }

    /// The same with one more, in place of one of the same scope.
    #[must_use]
    pub fn with(&self, engaged: Engaged) -> Self {
        let mut all = self.without(&engaged.scope).engaged;
        all.push(engaged);
        Self { engaged: all }
    }

    /// The same without the one of this scope.
    #[must_use]
    pub fn without(&self, scope: &Scope) -> Self {
        Self { engaged: self.engaged.iter().filter(|engaged| engaged.scope != *scope).cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engaged(scope: &str) -> Engaged {
        let scope = scope.parse().expect("a scope");
        Engaged {
            scope,
            message: None,
            reason: "test".into(),
            by: "test".into(),
            at: Timestamp::UNIX_EPOCH,
            until: None,
        }
    }

    fn hits(scope: &str) -> bool {
        let switches = KillSwitches::default().with(engaged(scope));
        let (account, policy, upstream) = ("acme".parse(), "reader".parse(), "erp".parse());
        let policy = policy.expect("a name");
        switches
            .hit(&account.expect("a name"), Some(&policy), &upstream.expect("a name"), Timestamp::UNIX_EPOCH)
            .is_some()
    }

    #[test]
    fn a_switch_stops_what_its_scope_names_and_nothing_else() {
        for scope in ["all", "account:acme", "policy:reader", "upstream:erp"] {
            assert!(hits(scope), "{scope}");
        }
        for scope in ["account:other", "policy:writer", "upstream:crm"] {
            assert!(!hits(scope), "{scope}");
        }
    }

    #[test]
    fn what_is_released_is_no_longer_engaged() {
        let switches = KillSwitches::default().with(engaged("all")).with(engaged("account:acme"));
        let left = switches.without(&Scope::All);
        assert!(left.global(Timestamp::UNIX_EPOCH).is_none());
        assert_eq!(left.in_force(Timestamp::UNIX_EPOCH).count(), 1);
    }

    #[test]
    fn a_switch_with_an_end_stops_nothing_from_then_on() {
        let until = Timestamp::from_second(60).expect("a time");
        let switches = KillSwitches::default().with(Engaged { until: Some(until), ..engaged("all") });
        let last = Timestamp::from_microsecond(59_999_999).expect("a time");
        assert!(switches.global(last).is_some());
        assert!(switches.global(until).is_none());
        assert_eq!((switches.in_force(until).count(), switches.over(until).count()), (0, 1));
    }

    #[test]
    fn a_scope_that_is_none_is_refused() {
        for text in ["", "ALL", "all:", "account:", "account:A", "tenant:x", "account"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }
}
