//! The table of accounts.

use jiff::Timestamp;
use rusqlite::params;

use super::{ChangeTransaction, Store, StoreError, from_sql, to_sql, unknown};
use crate::domain::{AccountId, AccountName, Labels};

/// An organisation or team that is given access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its name.
    pub name: AccountName,
    /// Whether its requests pass.
    pub state: AccountState,
    /// What operators note about it, for conditions.
    pub labels: Labels,
    /// The number of the change that made it what it is.
    pub revision: u64,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Whether an account's requests pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountState {
    /// They are checked like any other.
    Active,
    /// None passes.
    Suspended {
        /// Why.
        reason: String,
        /// Since when.
        at: Timestamp,
    },
}

impl Store {
    /// All accounts.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let mut labels = self.labels()?;
        let connection = self.connection()?;
        let mut statement = connection
            .prepare("SELECT id, name, state, reason, changed_at, created_at, revision FROM account ORDER BY name")?;
        let rows = statement.query_map([], |row| {
            let name: String = row.get(1)?;
            let state: String = row.get(2)?;
            let id = AccountId::from_bytes(row.get(0)?);
            Ok(Account {
                id,
                name: name.parse().map_err(|_| unknown(1, &name))?,
                state: match state.as_str() {
                    "active" => AccountState::Active,
                    "suspended" => AccountState::Suspended {
                        reason: row.get::<_, Option<_>>(3)?.unwrap_or_default(),
                        at: from_sql(row.get(4)?),
                    },
                    other => return Err(unknown(2, other)),
                },
                labels: labels.remove(&id).unwrap_or_default(),
                revision: row.get::<_, i64>(6)?.unsigned_abs(),
                created_at: from_sql(row.get(5)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl ChangeTransaction<'_> {
    /// Adds an account.
    ///
    /// # Errors
    /// When it is there already, or on a fault of the database.
    pub fn insert_account(&self, account: &Account) -> Result<(), StoreError> {
        let (state, reason, changed_at) = columns(account);
        self.connection().execute(
            "INSERT INTO account (id, name, state, reason, changed_at, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                account.id.as_bytes(),
                account.name.as_str(),
                state,
                reason,
                changed_at,
                to_sql(account.created_at)
            ],
        )?;
        self.put_labels(account.id, &account.labels)
    }

    /// Writes an account's state.
    ///
    /// # Errors
    /// When there is no such account, or on a fault of the database.
    pub fn update_account_state(&self, account: &Account) -> Result<(), StoreError> {
        let (state, reason, changed_at) = columns(account);
        let affected = self.connection().execute(
            "UPDATE account SET state = ?2, reason = ?3, changed_at = ?4 WHERE id = ?1",
            params![account.id.as_bytes(), state, reason, changed_at],
        )?;
        if affected == 1 { Ok(()) } else { Err(StoreError::Affected("update account", affected)) }
    }
}

fn columns(account: &Account) -> (&'static str, Option<&str>, i64) {
    match &account.state {
        AccountState::Active => ("active", None, to_sql(account.created_at)),
        AccountState::Suspended { reason, at } => ("suspended", Some(reason), to_sql(*at)),
    }
}
