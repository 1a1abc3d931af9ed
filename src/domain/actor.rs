//! Who did a thing. Every audit row names one.

use std::fmt;
use std::str::FromStr;

use super::{AccountId, CredentialId, OperatorKeyId, TokenId, UserId};

/// The one who did a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// An integration, by its credential set.
    Credential(CredentialId),
    /// Somebody at the command line, by the name of the OS user.
    Operator(String),
    /// A program, by its operator key.
    OperatorKey(OperatorKeyId),
    /// Somebody who signed in to the portal.
    User(UserId),
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
            Self::OperatorKey(id) => write!(out, "operator-key:{id}"),
            Self::User(id) => write!(out, "user:{id}"),
            Self::System => out.write_str("system"),
            Self::Unknown => out.write_str("unknown"),
        }
    }
}

impl FromStr for Actor {
    type Err = NoActor;

    /// Reads what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, NoActor> {
        match text.split_once(':') {
            Some(("operator", name)) => Ok(Self::Operator(name.to_owned())),
            Some(("credential", id)) => id.parse().map(Self::Credential).map_err(|_| NoActor),
            Some(("operator-key", id)) => id.parse().map(Self::OperatorKey).map_err(|_| NoActor),
            Some(("user", id)) => id.parse().map(Self::User).map_err(|_| NoActor),
            None if text == "system" => Ok(Self::System),
            _ => Err(NoActor),
        }
    }
}

/// A text names no actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this names nobody who can act")]
pub struct NoActor;

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
