//! The table of engaged kill switches.

use rusqlite::params;

use super::{ChangeTransaction, Store, StoreError, exactly_one, from_sql, to_sql, unknown};
use crate::kill_switch::{Engaged, Scope};

impl Store {
    /// The engaged kill switches.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn kill_switches(&self) -> Result<Vec<Engaged>, StoreError> {
        let connection = self.connection()?;
        let mut statement = connection
            .prepare("SELECT scope, message, reason, engaged_by, engaged_at, until FROM kill_switch ORDER BY scope")?;
        let rows = statement.query_map([], |row| {
            let scope: String = row.get(0)?;
            Ok(Engaged {
                scope: scope.parse().map_err(|_| unknown(0, &scope))?,
                message: row.get(1)?,
                reason: row.get(2)?,
                by: row.get(3)?,
                at: from_sql(row.get(4)?),
                until: row.get::<_, Option<_>>(5)?.map(from_sql),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl ChangeTransaction<'_> {
    /// Adds an engaged kill switch, in place of one of the same scope.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn put_kill_switch(&self, engaged: &Engaged) -> Result<(), StoreError> {
        self.connection().execute(
            "INSERT INTO kill_switch (scope, message, reason, engaged_by, engaged_at, until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (scope) DO UPDATE SET message = excluded.message, reason = excluded.reason,
                engaged_by = excluded.engaged_by, engaged_at = excluded.engaged_at, until = excluded.until",
            params![
                engaged.scope.to_string(),
                engaged.message,
                engaged.reason,
                engaged.by,
                to_sql(engaged.at),
                engaged.until.map(to_sql),
            ],
        )?;
        Ok(())
    }

    /// Takes a kill switch away.
    ///
    /// # Errors
    /// When it is not engaged, or on a fault of the database.
    pub fn delete_kill_switch(&self, scope: &Scope) -> Result<(), StoreError> {
        let affected =
            self.connection().execute("DELETE FROM kill_switch WHERE scope = ?1", params![scope.to_string()])?;
        exactly_one("release kill switch", affected)
    }
}
