//! Changes of the `APP_KEY`.

use serde_json::{Value, json};

use super::Directory;
use super::change::{By, Result};
use super::entry::entry;
use crate::secrets::{KeyId, KeyRing};
use crate::store::Resealed;

impl Directory {
    /// Records that a key took the place of another.
    ///
    /// # Errors
    /// When the store fails.
    pub fn rotate_key(&self, by: &By, former: KeyId, new: KeyId) -> Result<()> {
        self.with_lock(|_| {
            let entry = entry(by, "key.rotate", new.to_string()).changed(in_use(former), in_use(new));
            self.commit(&entry, |tx| tx.rotate_to(new)).map(drop)
        })
    }

    /// Seals the canary with the key in use: from now on the database opens with it alone.
    ///
    /// # Errors
    /// When the store fails.
    pub fn end_key_rotation(&self, by: &By, former: KeyId, ring: &KeyRing, done: Resealed) -> Result<()> {
        self.with_lock(|_| {
            let Resealed { moved, unreadable } = done;
            let after = json!({ "key": ring.current_id(), "values": moved, "unreadable": unreadable });
            let entry = entry(by, "key.reseal", ring.current_id().to_string()).changed(in_use(former), after);
            self.commit(&entry, |tx| tx.move_canary(ring, &*self.entropy)).map(drop)
        })
    }

    /// Records that a key is given up.
    ///
    /// # Errors
    /// When the store fails.
    pub fn retire_key(&self, by: &By, key: KeyId) -> Result<()> {
        self.with_lock(|_| {
            let entry = entry(by, "key.retire", key.to_string()).changed(json!({ "key": key }), Value::Null);
            self.commit(&entry, |_| Ok(())).map(drop)
        })
    }
}

fn in_use(key: KeyId) -> Value {
    json!({ "key": key })
}
