//! The versions of the policies that were in force, newest first.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::explain::hash_of;
use super::part::size;
use super::{Control, ControlError, Result};
use crate::store::KeptSnapshot;

/// Versions in one answer, where it is not said, and at most.
const USUAL: usize = 20;
const MOST: usize = 100;

impl Control {
    /// The versions that came into force before this one, each with what differs from the one before.
    pub(super) fn list_versions(&self, before: Option<&str>, last: Option<usize>) -> Result<Value> {
        let last = size("last", last, USUAL, MOST)?;
        let before = before.map(|text| {
            hash_of(text).ok_or_else(|| ControlError::not_found(format!("no policy texts are kept under `{text}`")))
        });
        // One more, for what the last one differs in.
        let kept = self.store.policy_snapshots(before.transpose()?.as_ref(), last + 1).map_err(ControlError::failed)?;
        let current = self.policies.current();
        let hash_in_force = *current.hash().as_bytes();
        let shown = kept.iter().take(last).zip(1..).map(|((hash, snapshot), place)| {
            let in_force = *hash == hash_in_force;
            json!({
                "hash": hex::encode(hash),
                "first_used_at": snapshot.first_used_at,
                "in_force": in_force,
                "generation": in_force.then(|| current.generation()),
                "files": snapshot.files.len(),
                "changed": kept.get(place).map(|(_, older)| changed(older, snapshot)),
            })
        });
        let items: Vec<Value> = shown.collect();
        let next = (kept.len() > last).then(|| kept.get(last - 1).map(|(hash, _)| hex::encode(hash))).flatten();
        Ok(json!({ "items": items, "next": next }))
    }
}

/// What became of the files, as `+ file`, `- file`, `~ file`.
fn changed(older: &KeptSnapshot, newer: &KeptSnapshot) -> Vec<String> {
    let older: BTreeMap<&String, &[u8; 32]> = older.files.iter().map(|(path, hash)| (path, hash)).collect();
    let newer: BTreeMap<&String, &[u8; 32]> = newer.files.iter().map(|(path, hash)| (path, hash)).collect();
    let gone = older.keys().filter(|path| !newer.contains_key(*path)).map(|path| format!("- {path}"));
    let now = newer.iter().filter_map(|(path, hash)| match older.get(path) {
        None => Some(format!("+ {path}")),
        Some(before) if before != hash => Some(format!("~ {path}")),
        Some(_) => None,
    });
    now.chain(gone).collect()
}
