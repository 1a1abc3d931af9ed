//! Whose session it is.

use crate::domain::{AccountId, AccountName, UpstreamName};

/// An account as sessions know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRef {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub name: AccountName,
}

/// Whose secrets and session: those of an upstream, or of one account there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The upstream.
    pub upstream: UpstreamName,
    /// The account; `None` is the ERP user that all accounts share.
    pub account: Option<AccountId>,
}

impl SessionKey {
    /// The key of the ERP user that all accounts share.
    #[must_use]
    pub fn shared(upstream: &UpstreamName) -> Self {
        Self { upstream: upstream.clone(), account: None }
    }

    /// The key of one account's own ERP user.
    #[must_use]
    pub fn own(upstream: &UpstreamName, account: AccountId) -> Self {
        Self { upstream: upstream.clone(), account: Some(account) }
    }
}
