//! Which credential sets are looked for.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantNames};
use utoipa::ToSchema;

use crate::domain::AccountName;

/// Which credential sets, and which part of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SetQuery {
    /// Sets of one account.
    pub account: Option<AccountName>,
    /// Sets whose name, id, account, purpose or a policy says this, in any case of letters.
    pub text: Option<String>,
    /// Sets in this state.
    pub state: Option<SetState>,
    /// Active sets that end within so many days.
    pub ending_within_days: Option<u16>,
    /// Active sets that got no token for so many days, and are as old themselves.
    pub unused_for_days: Option<u16>,
    /// In which order; by name where it is not said.
    pub sort: Option<SetOrder>,
    /// The other way round.
    pub descending: bool,
    /// So many are left out at the beginning.
    pub offset: usize,
    /// At most so many, 1 to 1000; 100 where it is not said.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

/// The state of a credential set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, EnumString, IntoStaticStr, VariantNames)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum SetState {
    /// It can be used.
    Active,
    /// It can be enabled again.
    Disabled,
    /// Its time is over.
    Expired,
    /// It is gone for good.
    Revoked,
}

/// The order of credential sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, EnumString, IntoStaticStr, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum SetOrder {
    /// By name.
    Name,
    /// By account.
    Account,
    /// By state.
    State,
    /// By when they were issued.
    CreatedAt,
    /// By when they end; those without an end last.
    ExpiresAt,
    /// By when they got a token last; those that got none first.
    LastUsedAt,
}
