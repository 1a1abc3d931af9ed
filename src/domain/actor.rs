//! Who did a thing. Every audit row names one.

use std::fmt;

use super::{AccountId, CredentialId, TokenId};

/// The one who did a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// An integration, by its credential set.
    Credential(CredentialId),
    /// Somebody at the command line, by the name of the OS user.
    Operator(String),
    /// The gateway itself.
    System,
    /// Nobody that could be recognised.
    Unknown,
}

impl fmt::Display for Actor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(id) => write!(out, "credential:{id}"),
            Self::Operator(name) => write!(out, "operator:{name}"),
            Self::System => out.write_str("system"),
            Self::Unknown => out.write_str("unknown"),
        }
    }
}

/// The authenticated requester of one relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// The token that was presented.
    pub token: TokenId,
    /// The credential set for which it was issued.
    pub credential: CredentialId,
    /// The account that owns the set.
    pub account: AccountId,
}
