//! Every policy text that was ever in force, by the hash of its content: the audit rows point here.

use hex::FromHex;
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, TransactionBehavior, params};

use super::{Store, StoreError, from_sql, to_sql, unknown};

/// One text of a snapshot.
#[derive(Debug)]
pub struct PolicyText<'a> {
    /// The path inside the policy folder.
    pub path: String,
    /// The hash of the text.
    pub hash: [u8; 32],
    /// The text.
    pub text: &'a [u8],
}

/// Which texts were in force together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSnapshot {
    /// When they were first in force together.
    pub first_used_at: Timestamp,
    /// The path of each text inside the policy folder, with the hash of the text.
    pub files: Vec<(String, [u8; 32])>,
}

impl Store {
    /// Keeps the texts that are in force from now on; those known already take no more room.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn keep_policies(
        &self,
        snapshot: &[u8; 32],
        texts: &[PolicyText<'_>],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for text in texts {
            transaction.execute(
                "INSERT INTO policy_text (hash, text) VALUES (?1, ?2) ON CONFLICT (hash) DO NOTHING",
                params![text.hash, text.text],
            )?;
        }
        let listing: serde_json::Map<_, _> =
            texts.iter().map(|text| (text.path.clone(), serde_json::json!(hex::encode(text.hash)))).collect();
        transaction.execute(
            "INSERT INTO policy_snapshot (hash, listing, first_used_at) VALUES (?1, ?2, ?3) ON CONFLICT (hash) DO NOTHING",
            params![snapshot, serde_json::Value::Object(listing).to_string(), to_sql(at)],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// The snapshot with this hash, where it was kept.
    ///
    /// # Errors
    /// On a fault of the database, or a listing that this version did not write.
    pub fn policy_snapshot(&self, hash: &[u8; 32]) -> Result<Option<KeptSnapshot>, StoreError> {
        let connection = self.connection()?;
        let mut statement =
            connection.prepare_cached("SELECT first_used_at, listing FROM policy_snapshot WHERE hash = ?1")?;
        let found = statement.query_row([hash], |row| {
            let listing: String = row.get(1)?;
            let files = files_of(&listing).ok_or_else(|| unknown(1, &listing))?;
            Ok(KeptSnapshot { first_used_at: from_sql(row.get(0)?), files })
        });
        Ok(found.optional()?)
    }

    /// The snapshots that came into force before this one, with their hashes, newest first; without one, the newest.
    ///
    /// # Errors
    /// On a fault of the database, or a listing that this version did not write.
    pub fn policy_snapshots(
        &self,
        before: Option<&[u8; 32]>,
        most: usize,
    ) -> Result<Vec<([u8; 32], KeptSnapshot)>, StoreError> {
        let connection = self.connection()?;
        let mut statement = connection.prepare_cached(
            "SELECT hash, first_used_at, listing FROM policy_snapshot
             WHERE ?1 IS NULL OR (first_used_at, hash) < (SELECT first_used_at, hash FROM policy_snapshot WHERE hash = ?1)
             ORDER BY first_used_at DESC, hash DESC LIMIT ?2",
        )?;
        let rows = statement.query_map(params![before, i64::try_from(most).unwrap_or(i64::MAX)], |row| {
            let listing: String = row.get(2)?;
            let files = files_of(&listing).ok_or_else(|| unknown(2, &listing))?;
            Ok((row.get(0)?, KeptSnapshot { first_used_at: from_sql(row.get(1)?), files }))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The policy text with this hash, where it was kept.
    ///
    /// # Errors
    /// On a fault of the database.
    pub fn policy_text(&self, hash: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        let connection = self.connection()?;
        let mut statement = connection.prepare_cached("SELECT text FROM policy_text WHERE hash = ?1")?;
        Ok(statement.query_row([hash], |row| row.get(0)).optional()?)
    }
}

fn files_of(listing: &str) -> Option<Vec<(String, [u8; 32])>> {
    let listing: serde_json::Map<String, serde_json::Value> = serde_json::from_str(listing).ok()?;
    listing.into_iter().map(|(path, hash)| Some((path, FromHex::from_hex(hash.as_str()?).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{StoreSettings, Synchronous};

    fn store(folder: &std::path::Path) -> Store {
        let settings = StoreSettings {
            directory: folder.join("data"),
            synchronous: Synchronous::Normal,
            busy_timeout: std::time::Duration::from_millis(200),
            connections: 2,
        };
        Store::migrate(&settings).expect("migrated");
        Store::open(&settings).expect("opened")
    }

    #[test]
    fn a_snapshot_is_found_with_the_moment_of_its_first_use_and_its_texts() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(folder.path());
        let text = |path: &str, hash, text| PolicyText { path: path.into(), hash, text };
        let old = [text("a.yaml", [0xa1; 32], b"old a"), text("endpoints/e.yaml", [0xe1; 32], b"e")];
        let new = [text("a.yaml", [0xa2; 32], b"new a"), text("endpoints/e.yaml", [0xe1; 32], b"e")];
        let at = |second| Timestamp::from_second(second).expect("a time");
        store.keep_policies(&[1; 32], &old, at(100)).expect("kept");
        store.keep_policies(&[2; 32], &new, at(200)).expect("kept");
        store.keep_policies(&[1; 32], &old, at(300)).expect("kept once");
        let files = vec![("a.yaml".to_owned(), [0xa1; 32]), ("endpoints/e.yaml".to_owned(), [0xe1; 32])];
        let found = store.policy_snapshot(&[1; 32]).expect("read");
        assert_eq!(found, Some(KeptSnapshot { first_used_at: at(100), files }));
        assert_eq!(store.policy_text(&[0xa1; 32]).expect("read").as_deref(), Some(b"old a".as_slice()));
        assert_eq!(store.policy_text(&[0xa2; 32]).expect("read").as_deref(), Some(b"new a".as_slice()));
    }

    #[test]
    fn snapshots_are_listed_newest_first_and_page_by_page() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(folder.path());
        // The second and the third came into force at the same moment.
        for (number, second) in [(1_u8, 100), (2, 200), (3, 200), (4, 300)] {
            let at = Timestamp::from_second(second).expect("a time");
            store.keep_policies(&[number; 32], &[], at).expect("kept");
        }
        let page = |before: Option<u8>, most| -> Vec<u8> {
            let before = before.map(|number| [number; 32]);
            let found = store.policy_snapshots(before.as_ref(), most).expect("listed");
            found.into_iter().map(|(hash, _)| hash[0]).collect()
        };
        assert_eq!(page(None, 10), [4, 3, 2, 1]);
        assert_eq!(page(None, 2), [4, 3]);
        assert_eq!(page(Some(3), 2), [2, 1]);
        assert_eq!(page(Some(1), 2), [0_u8; 0]);
        assert_eq!(page(Some(9), 2), [0_u8; 0], "one that was never kept is before nothing");
    }

    #[test]
    fn what_was_never_kept_is_not_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(folder.path());
        assert_eq!(store.policy_snapshot(&[9; 32]).expect("read"), None);
        assert_eq!(store.policy_text(&[9; 32]).expect("read"), None);
    }

    #[test]
    fn a_listing_that_this_version_did_not_write_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(folder.path());
        let connection = store.connection().expect("a connection");
        for (number, listing) in ["[]", r#"{"a.yaml":"xyz"}"#, r#"{"a.yaml":1}"#].iter().enumerate() {
            let hash = [u8::try_from(number).expect("small"); 32];
            let sql = "INSERT INTO policy_snapshot (hash, listing, first_used_at) VALUES (?1, ?2, 0)";
            connection.execute(sql, params![hash, listing]).expect("inserted");
            assert!(store.policy_snapshot(&hash).is_err(), "{listing}");
        }
    }
}
