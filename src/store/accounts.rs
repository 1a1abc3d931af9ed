//! The table of accounts.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use super::{ChangeTransaction, Store, StoreError, exactly_one, from_sql, to_sql, unknown};
use crate::domain::{AccountId, AccountName, Fingerprint, Labels, Limits};

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
    /// How much all its sets together may ask for.
    pub limits: Option<Limits>,
    /// The client certificates of which one must be shown; none is demanded where there are none.
    pub certificates: Vec<Fingerprint>,
    /// How its people are reached.
    pub contacts: Vec<String>,
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
        let mut statement = connection.prepare(
            "SELECT id, name, state, reason, changed_at, created_at, revision, contacts, limits, certificates
             FROM account ORDER BY name",
        )?;
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
                limits: limits(row.get(8)?)?,
                certificates: fingerprints(row.get(9)?)?,
                contacts: contacts(row.get(7)?)?,
                revision: row.get::<_, i64>(6)?.unsigned_abs(),
                created_at: from_sql(row.get(5)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Limits as a column holds them; none is NULL.
pub(super) fn limits(column: Option<String>) -> rusqlite::Result<Option<Limits>> {
    column.map(|text| serde_json::from_str(&text).map_err(|_| unknown(0, &text))).transpose()
}

/// Fingerprints as a column holds them; none is NULL.
pub(super) fn fingerprints(column: Option<String>) -> rusqlite::Result<Vec<Fingerprint>> {
    let Some(text) = column else { return Ok(Vec::new()) };
    serde_json::from_str(&text).map_err(|_| unknown(0, &text))
}

fn contacts(column: Option<String>) -> rusqlite::Result<Vec<String>> {
    let Some(text) = column else { return Ok(Vec::new()) };
    serde_json::from_str(&text).map_err(|_| unknown(7, &text))
}

impl Store {
    /// The account that has or had this name last, whether it still is there or not.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn account_once_named(&self, name: &AccountName) -> Result<Option<AccountId>, StoreError> {
        let connection = self.connection()?;
        let found = connection.query_row(
            "SELECT account FROM change WHERE operation IN ('account.create', 'account.rename') AND subject = ?1
             ORDER BY seq DESC LIMIT 1",
            params![name.as_str()],
            |row| row.get::<_, Option<_>>(0),
        );
        Ok(found.optional()?.flatten().map(AccountId::from_bytes))
    }

    /// The last name of an account, whether it still is there or not.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last_name_of(&self, id: AccountId) -> Result<Option<String>, StoreError> {
        let connection = self.connection()?;
        let found = connection.query_row(
            "SELECT subject FROM change WHERE operation IN ('account.create', 'account.rename') AND account = ?1
             ORDER BY seq DESC LIMIT 1",
            params![id.as_bytes()],
            |row| row.get(0),
        );
        Ok(found.optional()?)
    }

    /// What still belongs to an account besides credential sets, in words; `None` where nothing does.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn belongings_of(&self, id: AccountId) -> Result<Option<&'static str>, StoreError> {
        const QUESTIONS: [(&str, &str); 3] = [
            ("portal users", "SELECT EXISTS (SELECT 1 FROM portal_user WHERE account = ?1)"),
            ("live operator keys", "SELECT EXISTS (SELECT 1 FROM operator_key WHERE account = ?1 AND revoked = 0)"),
            ("secrets of its own at an upstream", "SELECT EXISTS (SELECT 1 FROM upstream_secret WHERE account = ?1)"),
        ];
        let connection = self.connection()?;
        for (what, question) in QUESTIONS {
            if connection.query_row(question, params![id.as_bytes()], |row| row.get(0))? {
                return Ok(Some(what));
            }
        }
        Ok(None)
    }
}

impl ChangeTransaction<'_> {
    /// Gives an account another name.
    ///
    /// # Errors
    /// When there is no such account, the name is taken, or on a fault of the database.
    pub fn rename_account(&self, id: AccountId, name: &AccountName) -> Result<(), StoreError> {
        let affected = self
            .connection()
            .execute("UPDATE account SET name = ?2 WHERE id = ?1", params![id.as_bytes(), name.as_str()])?;
        exactly_one("rename account", affected)
    }

    /// Writes how much all sets of an account together may ask for.
    ///
    /// # Errors
    /// When there is no such account, or on a fault of the database.
    pub fn put_account_limits(&self, id: AccountId, limits: Option<Limits>) -> Result<(), StoreError> {
        let affected = self
            .connection()
            .execute("UPDATE account SET limits = ?2 WHERE id = ?1", params![id.as_bytes(), limits_column(limits)])?;
        exactly_one("update account", affected)
    }

    /// Writes which client certificates an account demands.
    ///
    /// # Errors
    /// When there is no such account, or on a fault of the database.
    pub fn put_account_certificates(&self, id: AccountId, certificates: &[Fingerprint]) -> Result<(), StoreError> {
        let affected = self.connection().execute(
            "UPDATE account SET certificates = ?2 WHERE id = ?1",
            params![id.as_bytes(), fingerprints_column(certificates)],
        )?;
        exactly_one("update account", affected)
    }

    /// Writes how an account's people are reached.
    ///
    /// # Errors
    /// When there is no such account, or on a fault of the database.
    pub fn put_contacts(&self, id: AccountId, contacts: &[String]) -> Result<(), StoreError> {
        let column = (!contacts.is_empty()).then(|| serde_json::json!(contacts).to_string());
        let affected = self
            .connection()
            .execute("UPDATE account SET contacts = ?2 WHERE id = ?1", params![id.as_bytes(), column])?;
        exactly_one("update account", affected)
    }

    /// Deletes an account with its revoked credential sets and what hangs on them. What was done is in the stream of changes
    /// and in the audit trail, which stay.
    ///
    /// # Errors
    /// When something else still belongs to it, or on a fault of the database.
    pub fn delete_account(&self, id: AccountId) -> Result<(), StoreError> {
        const STEPS: [&str; 8] = [
            "DELETE FROM token WHERE credential IN (SELECT id FROM credential WHERE account = ?1)",
            "DELETE FROM former_secrets WHERE credential IN (SELECT id FROM credential WHERE account = ?1)",
            "DELETE FROM granted WHERE credential IN (SELECT id FROM credential WHERE account = ?1)",
            "DELETE FROM credential WHERE account = ?1",
            "DELETE FROM account_label WHERE account = ?1",
            "DELETE FROM upstream_session WHERE account = ?1",
            "DELETE FROM operator_key WHERE account = ?1",
            "DELETE FROM account WHERE id = ?1",
        ];
        for step in STEPS {
            self.connection().execute(step, params![id.as_bytes()])?;
        }
        Ok(())
    }

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
        exactly_one("update account", affected)
    }
}

/// The same the other way.
pub(super) fn limits_column(limits: Option<Limits>) -> Option<String> {
    limits.map(|limits| serde_json::json!(limits).to_string())
}

/// The same the other way.
pub(super) fn fingerprints_column(fingerprints: &[Fingerprint]) -> Option<String> {
    (!fingerprints.is_empty()).then(|| serde_json::json!(fingerprints).to_string())
}

fn columns(account: &Account) -> (&'static str, Option<&str>, i64) {
    match &account.state {
        AccountState::Active => ("active", None, to_sql(account.created_at)),
        AccountState::Suspended { reason, at } => ("suspended", Some(reason), to_sql(*at)),
    }
}
