//! Every policy text that was ever in force, by the hash of its content: the audit rows point here.

use jiff::Timestamp;
use rusqlite::{TransactionBehavior, params};

use super::{Store, StoreError, to_sql};

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
            texts.iter().map(|text| (text.path.clone(), serde_json::json!(hex(&text.hash)))).collect();
        transaction.execute(
            "INSERT INTO policy_snapshot (hash, listing, first_used_at) VALUES (?1, ?2, ?3) ON CONFLICT (hash) DO NOTHING",
            params![snapshot, serde_json::Value::Object(listing).to_string(), to_sql(at)],
        )?;
        transaction.commit()?;
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
