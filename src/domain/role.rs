//! What people and programs that administer the gateway may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::AccountId;

/// What somebody may do, as people say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Admin,
    /// Kill switches, overrides of schedules, revocation, sessions at the ERPs; reads everything.
    Operator,
    /// Reads everything, changes nothing.
    Auditor,
    /// Its own account only.
    Client,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Operator, Self::Auditor, Self::Client];

    /// The text as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A text is no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is `admin`, `operator`, `auditor` or `client`")]
pub struct RoleError;

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(RoleError)
    }
}

/// What somebody may do, with the account that a client is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// Everything.
    Admin,
    /// What an operator may.
    Operator,
    /// Reading.
    Auditor,
    /// What concerns this account.
    Client(AccountId),
}

impl Authority {
    /// What it is called.
    #[must_use]
    pub const fn role(self) -> Role {
        match self {
            Self::Admin => Role::Admin,
            Self::Operator => Role::Operator,
            Self::Auditor => Role::Auditor,
            Self::Client(_) => Role::Client,
        }
    }

    /// The authority of a role; a client needs an account, and nobody else has one.
    #[must_use]
    pub const fn of(role: Role, account: Option<AccountId>) -> Option<Self> {
        match (role, account) {
            (Role::Admin, None) => Some(Self::Admin),
            (Role::Operator, None) => Some(Self::Operator),
            (Role::Auditor, None) => Some(Self::Auditor),
            (Role::Client, Some(account)) => Some(Self::Client(account)),
            (Role::Admin | Role::Operator | Role::Auditor, Some(_)) | (Role::Client, None) => None,
        }
    }

    /// The account that it is held to.
    #[must_use]
    pub const fn account(self) -> Option<AccountId> {
        match self {
            Self::Client(account) => Some(account),
            Self::Admin | Self::Operator | Self::Auditor => None,
        }
    }
}
