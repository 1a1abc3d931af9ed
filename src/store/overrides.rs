//! The table of overrides of schedules.

use rusqlite::params;

use super::{ChangeTransaction, Store, StoreError, exactly_one, from_sql, to_sql, unknown};
use crate::domain::ScheduleName;
use crate::schedule::{Held, Override};

impl Store {
    /// The overrides, also those whose time is over.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn overrides(&self) -> Result<Vec<Override>, StoreError> {
        let connection = self.connection()?;
        let mut statement = connection.prepare(
            "SELECT schedule, held, until, reason, made_by, made_at FROM schedule_override ORDER BY schedule, held",
        )?;
        let rows = statement.query_map([], |row| {
            let (schedule, held): (String, String) = (row.get(0)?, row.get(1)?);
            Ok(Override {
                schedule: schedule.parse().map_err(|_| unknown(0, &schedule))?,
                held: held.parse().map_err(|_| unknown(1, &held))?,
                until: from_sql(row.get(2)?),
                reason: row.get(3)?,
                by: row.get(4)?,
                at: from_sql(row.get(5)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl ChangeTransaction<'_> {
    /// Adds an override, in place of one of the same kind.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn put_override(&self, held: &Override) -> Result<(), StoreError> {
        let Override { schedule, held, until, reason, by, at } = held;
        self.connection().execute(
            "INSERT INTO schedule_override (schedule, held, until, reason, made_by, made_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (schedule, held) DO UPDATE SET until = excluded.until, reason = excluded.reason,
                made_by = excluded.made_by, made_at = excluded.made_at",
            params![schedule.as_str(), held.as_str(), to_sql(*until), reason, by, to_sql(*at)],
        )?;
        Ok(())
    }

    /// Takes an override away.
    ///
    /// # Errors
    /// When it is not there, or on a fault of the database.
    pub fn delete_override(&self, schedule: &ScheduleName, held: Held) -> Result<(), StoreError> {
        let affected = self.connection().execute(
            "DELETE FROM schedule_override WHERE schedule = ?1 AND held = ?2",
            params![schedule.as_str(), held.as_str()],
        )?;
        exactly_one("lift an override", affected)
    }
}
