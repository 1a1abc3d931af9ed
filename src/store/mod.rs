//! The only SQL on the state database: pool, migrations, one file per table.
//!
//! Every change of state goes through [`Store::change`]: one transaction with its rows, its entry in the stream of
//! changes and the next number of that stream. All functions block.

mod accounts;
mod anchor;
mod canary;
mod changes;
mod credentials;
mod database;
mod keys;
mod labels;
mod lock;
mod operator_keys;
mod overrides;
mod pinned;
mod policies;
mod repeatable;
mod restoring;
mod rotation;
mod schema;
mod sessions;
mod swap;
mod switches;
mod tokens;
mod upstreams;
mod users;

pub use accounts::{Account, AccountState};
pub use changes::{Change, ChangeTransaction, RecordedChange, Seq};
pub use credentials::{Credential, CredentialKind, CredentialState, Grant};
pub use database::{Store, StoreError, StoreSettings, Synchronous};
pub use keys::{Dependants, Resealed};
pub use lock::StoreLock;
pub use operator_keys::OperatorKey;
pub use pinned::{Held, Pinned};
pub use policies::{KeptSnapshot, PolicyText};
pub use repeatable::Asked;
pub use restoring::settle;
pub use rotation::{FormerSecrets, HashedSecrets, Pair, Used};
pub use schema::STATE_FORMAT;
pub use sessions::{PortalSession, Stage};
pub use swap::Swap;
pub use tokens::TokenRow;
pub use upstreams::{SealedSecrets, SealedSession, sealed_row};
pub use users::{NewUser, SignInUser, User, UserState};

use jiff::Timestamp;

/// Times are kept as microseconds since 1970-01-01T00:00:00Z.
fn to_sql(at: Timestamp) -> i64 {
    at.as_microsecond()
}

fn from_sql(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A statement that is about one row must change one.
fn exactly_one(what: &'static str, affected: usize) -> Result<(), StoreError> {
    if affected == 1 { Ok(()) } else { Err(StoreError::Affected(what, affected)) }
}

/// A text in the database that this version did not write.
fn unknown(column: usize, text: &str) -> rusqlite::Error {
    let error = format!("`{text}` is not a value of this version");
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
}

#[cfg(test)]
mod tests;
