//! What clients and operators are told of a limit.

use std::fmt;
use std::time::Duration;

use crate::audit::Step;
use crate::domain::{Code, PolicyName};
use crate::gate::{Denial, Quota, ReachedLimit};

use super::limiter::{Left, Reached};

/// Whose limit it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whose {
    Policy(PolicyName),
    Credential,
    Account,
    Address,
}

impl Whose {
    /// The kinds of limits, as metrics name them, in the order of [`Whose::kind`].
    pub(super) const KINDS: [&'static str; 4] = ["policy", "credential", "account", "address"];

    /// Which of [`Whose::KINDS`] it is.
    pub(super) const fn kind(&self) -> usize {
        match self {
            Self::Policy(_) => 0,
            Self::Credential => 1,
            Self::Account => 2,
            Self::Address => 3,
        }
    }

    /// The name under which clients see it. No two limits on one request have the same.
    fn name(&self) -> String {
        match self {
            Self::Policy(name) if Self::KINDS.contains(&name.as_str()) => format!("policy {name}"),
            Self::Policy(name) => name.to_string(),
            Self::Credential => "credential".to_owned(),
            Self::Account => "account".to_owned(),
            Self::Address => "address".to_owned(),
        }
    }

    /// The denial of a request that reaches it.
    pub(super) fn denial(&self, requests: u32, reached: Reached) -> Denial {
        let Reached { quota, period, left, wait } = reached;
        let batch = if wait.is_none() { format!("the batch has {requests} operations; ") } else { String::new() };
        let allows = match quota {
            Quota::Requests(most) => format!("{most} requests"),
            Quota::Bytes(most) => format!("{most} bytes of answers"),
            Quota::AtOnce(most) => format!("{most} requests at once"),
        };
        let per = period.map_or_else(String::new, |period| format!(" per {period:?}"));
        let mut denial = Denial::new(Step::Limits, Code::RateLimited, format!("{batch}{self} allows {allows}{per}"));
        denial.public.limit = Some(ReachedLimit { name: self.name(), quota, period, left });
        denial.public.retry_after = wait;
        denial
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(name) => write!(out, "policy `{name}`"),
            Self::Credential => out.write_str("the limit of the credential set"),
            Self::Account => out.write_str("the limit of the account"),
            Self::Address => out.write_str("the limit of the address"),
        }
    }
}

/// What is left of a limit after a request, as the draft of the `RateLimit` header fields has it
/// (draft-ietf-httpapi-ratelimit-headers).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitState {
    whose: Whose,
    left: Left,
}

impl LimitState {
    pub(super) fn new(whose: Whose, left: Left) -> Self {
        Self { whose, left }
    }

    /// An item of `RateLimit-Policy`.
    #[must_use]
    pub fn policy_item(&self) -> String {
        format!("\"{}\";q={};w={}", self.whose.name(), self.left.most, self.left.period.as_secs().max(1))
    }

    /// An item of `RateLimit`: how many requests are left, and in how many seconds all are there again.
    #[must_use]
    pub fn state_item(&self) -> String {
        format!("\"{}\";r={};t={}", self.whose.name(), self.left.requests, whole_seconds(self.left.unused_in))
    }
}

fn whole_seconds(length: Duration) -> u64 {
    length.as_secs() + u64::from(length.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_is_called_as_another_kind_of_limit_is_not_taken_for_it() {
        let policy = |name: &str| Whose::Policy(name.parse().expect("a name")).name();
        assert_eq!((policy("account").as_str(), policy("clerk").as_str()), ("policy account", "clerk"));
    }

    #[test]
    fn seconds_are_rounded_up_so_that_nobody_comes_too_early() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
    }
}
