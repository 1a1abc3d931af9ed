//! The table of the labels of accounts.

use std::collections::HashMap;

use rusqlite::params;

use super::{ChangeTransaction, Store, StoreError, unknown};
use crate::domain::{AccountId, LabelChange, LabelKey, LabelValue, Labels};

impl Store {
    /// The labels of all accounts that have some.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) fn labels(&self) -> Result<HashMap<AccountId, Labels>, StoreError> {
        let connection = self.connection()?;
        let mut statement =
            connection.prepare("SELECT account, key, value FROM account_label ORDER BY account, key")?;
        let rows = statement.query_map([], |row| {
            let (key, value): (String, String) = (row.get(1)?, row.get(2)?);
            let key: LabelKey = key.parse().map_err(|_| unknown(1, &key))?;
            let value: LabelValue = value.parse().map_err(|_| unknown(2, &value))?;
            Ok((AccountId::from_bytes(row.get(0)?), LabelChange::Set(key, value)))
        })?;
        let mut all: HashMap<AccountId, Labels> = HashMap::new();
        for row in rows {
            let (account, label) = row?;
            let labels = all.entry(account).or_default();
            *labels = labels.changed(&[label]).map_err(|_| StoreError::Affected("read labels", usize::MAX))?;
        }
        Ok(all)
    }
}

impl ChangeTransaction<'_> {
    /// Replaces the labels of an account.
    ///
    /// # Errors
    /// When there is no such account, or on a fault of the database.
    pub fn put_labels(&self, account: AccountId, labels: &Labels) -> Result<(), StoreError> {
        let connection = self.connection();
        connection.execute("DELETE FROM account_label WHERE account = ?1", params![account.as_bytes()])?;
        let mut insert = connection.prepare("INSERT INTO account_label (account, key, value) VALUES (?1, ?2, ?3)")?;
        for (key, value) in labels.iter() {
            let affected = insert.execute(params![account.as_bytes(), key, value])?;
            if affected != 1 {
                return Err(StoreError::Affected("insert label", affected));
            }
        }
        Ok(())
    }
}
