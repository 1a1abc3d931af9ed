//! A credential set to be issued.

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{AccountName, PolicyName};

/// A credential set to be issued.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSet {
    /// The account that it is for.
    pub account: AccountName,
    /// What it is called.
    pub name: String,
    /// Whether it is held to grants.
    pub kind: Bounds,
    /// Why it is not held to grants; for unrestricted sets.
    #[serde(default)]
    pub reason: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub purpose: Option<String>,
    /// When it ends.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// The networks from which it may be used; everywhere where there are none.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub clients: Vec<IpNet>,
    /// The policies that it holds.
    #[serde(default)]
    pub grants: Vec<PolicyName>,
}

impl NewSet {
    /// One that is held to these policies, may be used from everywhere and does not end.
    #[must_use]
    pub fn bounded(account: AccountName, name: impl Into<String>, grants: Vec<PolicyName>) -> Self {
        let (name, kind) = (name.into(), Bounds::Bounded);
        Self { account, name, kind, reason: None, purpose: None, expires_at: None, clients: Vec::new(), grants }
    }
}

/// Whether a credential set is held to its granted policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bounds {
    /// Only what granted policies allow.
    Bounded,
    /// Every mapped endpoint.
    Unrestricted,
}
