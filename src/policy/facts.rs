//! What a decision looks at: the request, who sent it, and what that holds.

use std::fmt;
use std::net::IpAddr;

use http::HeaderMap;
use jiff::Timestamp;

use crate::directory::{Account, Credential, CredentialKind};
use crate::domain::{AccountId, CanonicalPath, CredentialId, Labels, PolicyName};

/// What is known of a request when it is decided.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The method.
    pub method: &'a str,
    /// The canonical path.
    pub path: &'a CanonicalPath,
    /// The query as sent.
    pub query: Option<&'a str>,
    /// Its headers, of a head that was accepted; `None` where they are not known, as of a request of the past.
    pub headers: Option<&'a HeaderMap>,
    /// Whether the client's connection was TLS; `None` where that is not known.
    pub tls: Option<bool>,
    /// Where it came from.
    pub client: Option<IpAddr>,
    /// Who sent it; `None` where that is not known.
    pub requester: Option<Requester<'a>>,
    /// When.
    pub now: Timestamp,
}

impl<'a> Facts<'a> {
    /// The least that is known of every request. The rest is not known.
    #[must_use]
    pub fn new(method: &'a str, path: &'a CanonicalPath, query: Option<&'a str>, now: Timestamp) -> Self {
        Self { method, path, query, headers: None, tls: None, client: None, requester: None, now }
    }
}

/// Who sent a request, for conditions.
#[derive(Debug, Clone, Copy)]
pub struct Requester<'a> {
    /// The account's name.
    pub account: &'a str,
    /// The account's id.
    pub account_id: AccountId,
    /// What the credential set is called.
    pub credential: &'a str,
    /// The id of the credential set.
    pub credential_id: CredentialId,
    /// Whether the credential set is held to its grants.
    pub kind: CredentialKind,
    /// The account's labels.
    pub labels: &'a Labels,
}

impl<'a> Requester<'a> {
    /// A credential set and its account.
    #[must_use]
    pub fn of(account: &'a Account, credential: &'a Credential) -> Self {
        Self {
            account: account.name.as_str(),
            account_id: account.id,
            credential: &credential.name,
            credential_id: credential.id,
            kind: credential.kind,
            labels: &account.labels,
        }
    }
}

/// The policies that a credential set holds.
pub enum Grants<'a> {
    /// It may do what they allow.
    Bounded(&'a mut dyn Iterator<Item = &'a PolicyName>),
    /// It may do everything that none of them denies.
    Unrestricted(&'a mut dyn Iterator<Item = &'a PolicyName>),
}

impl<'a> Grants<'a> {
    /// What a credential set of this kind holds.
    pub fn of(kind: CredentialKind, held: &'a mut dyn Iterator<Item = &'a PolicyName>) -> Self {
        match kind {
            CredentialKind::Bounded => Self::Bounded(held),
            CredentialKind::Unrestricted => Self::Unrestricted(held),
        }
    }
}

impl fmt::Debug for Grants<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Bounded(_) => "Bounded",
            Self::Unrestricted(_) => "Unrestricted",
        })
    }
}
