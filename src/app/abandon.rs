//! Going on without an `APP_KEY` that is lost.

use serde_json::json;

use super::{StartError, World, key_ring, settings};
use crate::config::Config;
use crate::domain::Actor;
use crate::store::{Change, Store, StoreError, StoreLock};

/// Forgets what only the lost key could open or check, and lets the databases open with the one that is configured now.
/// Accounts, credential sets with their grants, users, schedules and the audit trail stay.
///
/// # Errors
/// When the key is not lost, a gateway runs, or the store cannot be changed; nothing has changed then.
pub fn abandon_key(config: &Config, world: &World, actor: Actor, reason: &str) -> Result<(), StartError> {
    let ring = key_ring(config)?;
    let _lock = StoreLock::take(&config.store.directory)?;
    let store = Store::open(&settings::store_settings(config))?;
    match store.check_app_key(&ring, &*world.entropy) {
        Ok(_) => return Err(StartError::KeyNotLost),
        Err(StoreError::WrongKey) => {}
        Err(error) => return Err(error.into()),
    }
    let forgotten = ["upstream secrets", "upstream sessions", "tokens", "second factors"];
    let change = Change {
        at: world.clock.now(),
        actor,
        operation: "key.abandon",
        subject: ring.current_id().to_string(),
        account: None,
        credential: None,
        detail: Some(json!({ "reason": reason, "forgotten": forgotten, "after": { "key": ring.current_id() } })),
    };
    store.change(&change, |tx| tx.abandon_lost_key(&ring, &*world.entropy))?;
    Ok(())
}
