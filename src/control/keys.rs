//! The `APP_KEY` in use and its predecessors: rotation, what depends on which, giving one up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::doctor::Finding;
use super::{Control, ControlError, Result};
use crate::config::{AppKeyConfig, AppKeySource, KeyFileError, put_key_first, take_key_out};
use crate::directory::By;
use crate::domain::{Actor, Secret};
use crate::secrets::{AppKey, KeyId};
use crate::store::{Dependants, Resealed};

/// Sealed values that are moved to another key in one transaction.
const BATCH: u32 = 100;

/// A key that was in use until less than this ago may still be on its way into a row.
const IN_FLIGHT: Duration = Duration::from_mins(1);

/// Where the keys come from, and who turns the ring.
#[derive(Debug)]
pub struct KeyKeeper {
    config: AppKeyConfig,
    /// When the ring was turned last in this process.
    turned: Mutex<Option<Duration>>,
}

/// What there is of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It makes what is made.
    InUse,
    /// It serves what it made.
    Predecessor,
    /// What it made cannot be used.
    Missing,
}

/// How much depends on a key, and on nothing else.
struct Holding {
    key: KeyId,
    standing: Standing,
    of_store: Dependants,
    audit_seals: u64,
    /// Whether the database still opens with this key only.
    canary: bool,
    /// Since when the key in use is; none for others.
    since: Option<Timestamp>,
}

impl KeyKeeper {
    /// With these sources.
    #[must_use]
    pub fn new(config: AppKeyConfig) -> Self {
        Self { config, turned: Mutex::new(None) }
    }

    /// INVARIANT: one rotation at a time.
    fn turn(&self) -> MutexGuard<'_, Option<Duration>> {
        self.turned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file that may be changed.
    fn file(&self) -> Result<&Path> {
        let by_hand = |source: &str| {
            ControlError::conflict(format!(
                "the APP_KEY comes from {source}, which the gateway cannot change. Put a new key above the old one there \
                 (`erp-access key generate --above FILE` does it with a file) and restart: the gateway then re-encrypts by \
                 itself, and `erp-access key status` shows how far it is"
            ))
        };
        match &self.config.source {
            Some(AppKeySource::File(file)) => Ok(file),
            Some(AppKeySource::Credential(_)) => Err(by_hand("a systemd credential")),
            Some(AppKeySource::Environment(_)) => Err(by_hand("ERP_ACCESS_APP_KEY")),
            None => Err(by_hand("nowhere")),
        }
    }
}

impl Control {
    /// Puts a new key into use and moves everything that is sealed to it. A rotation that was interrupted is finished
    /// instead.
    pub(super) fn rotate_key(&self, by: &By) -> Result<Value> {
        let mut turned = self.keys.turn();
        if let Some(former) = self.unfinished_rotation()? {
            let done = self.finish_rotation(by, former)?;
            return self.rotated(former, done, "an interrupted rotation was finished");
        }
        let file = self.keys.file()?;
        let new = AppKey::generate(&*self.entropy).map_err(ControlError::failed)?;
        // INVARIANT: the key is on disk before anything is made with it, and its predecessor stays there.
        put_key_first(file, &new.to_text()).map_err(unwritable)?;
        let (_, former) = self.key_ring.turn_to(&new).map_err(ControlError::failed)?;
        *turned = Some(self.clock.monotonic());
        let done = self.finish_rotation(by, former)?;
        self.rotated(former, done, "rotated")
    }

    fn rotated(&self, former: KeyId, done: Resealed, state: &str) -> Result<Value> {
        Ok(json!({
            "key": self.key_ring.current_id(), "former": former, "state": state, "resealed": done.moved,
            "unreadable": done.unreadable, "keys": self.key_status()?,
        }))
    }

    /// Finishes a rotation that was interrupted, or that came with a new key in the key file. For the start.
    pub fn resume_key_rotation(&self) {
        let _turning = self.keys.turn();
        let resumed = self.unfinished_rotation().and_then(|former| match former {
            Some(former) => self.finish_rotation(&self.by(Actor::System), former).map(Some),
            // What was on its way when the last rotation ended.
            None => self.reseal().map(|_| None),
        });
        self.copy_changes();
        match resumed {
            Ok(Some(Resealed { moved, .. })) => {
                log::info!("{moved} values were sealed anew; APP_KEY {} is in use alone", self.key_ring.current_id());
            }
            Ok(None) => {}
            Err(error) => {
                log::error!("the rotation of the APP_KEY could not be finished; the next start tries: {error}");
            }
        }
    }

    /// The key with which the database opens, where that is not the one in use.
    fn unfinished_rotation(&self) -> Result<Option<KeyId>> {
        let opens_with = self.store.check_app_key(&self.key_ring, &*self.entropy).map_err(ControlError::failed)?;
        Ok(Some(opens_with).filter(|key| *key != self.key_ring.current_id()))
    }

    fn finish_rotation(&self, by: &By, former: KeyId) -> Result<Resealed> {
        let current = self.key_ring.current_id();
        if self.store.rotated_to().map_err(ControlError::failed)? != Some(current) {
            self.directory.rotate_key(by, former, current)?;
        }
        let done = self.reseal()?;
        self.directory.end_key_rotation(by, former, &self.key_ring, done)?;
        Ok(done)
    }

    fn reseal(&self) -> Result<Resealed> {
        self.store.reseal(&self.key_ring, &*self.entropy, BATCH).map_err(ControlError::failed)
    }

    /// Every key that is held or that something names, newest first, with what depends on it.
    pub(super) fn key_status(&self) -> Result<Value> {
        Ok(self.holdings()?.iter().map(Holding::shown).collect())
    }

    fn holdings(&self) -> Result<Vec<Holding>> {
        let mut of_store = self.store.dependants(self.clock.now()).map_err(ControlError::failed)?;
        let mut seals: BTreeMap<KeyId, u64> = self.auditor.seals_by_key().map_err(ControlError::failed)?;
        let canary = self.unfinished_rotation()?;
        let since = self.store.key_in_use_since().map_err(ControlError::failed)?;
        let held = self.key_ring.ids();
        let missing: BTreeSet<KeyId> =
            of_store.keys().chain(seals.keys()).filter(|key| !held.contains(key)).copied().collect();
        let standing = |place: usize| if place == 0 { Standing::InUse } else { Standing::Predecessor };
        let keys = held.iter().enumerate().map(|(place, key)| (*key, standing(place)));
        let keys = keys.chain(missing.into_iter().map(|key| (key, Standing::Missing)));
        let holding = |(key, standing)| Holding {
            key,
            standing,
            of_store: of_store.remove(&key).unwrap_or_default(),
            audit_seals: seals.remove(&key).unwrap_or_default(),
            canary: canary == Some(key),
            since: since.filter(|_| matches!(standing, Standing::InUse)),
        };
        Ok(keys.map(holding).collect())
    }

    /// Gives a predecessor up, where nothing depends on it.
    pub(super) fn retire_key(&self, by: &By, key: KeyId) -> Result<Value> {
        let turned = self.keys.turn();
        let just_now = turned.is_some_and(|at| self.clock.monotonic().saturating_sub(at) < IN_FLIGHT);
        self.reseal()?;
        let holdings = self.holdings()?;
        let holding = holdings.iter().find(|holding| holding.key == key).ok_or_else(|| {
            ControlError::not_found(format!("there is no key `{key}`; `erp-access key status` shows them"))
        })?;
        match holding.standing {
            Standing::InUse => return Err(ControlError::conflict(format!("`{key}` is in use; rotate it first"))),
            Standing::Missing => return Err(ControlError::conflict(format!("`{key}` is not in the key ring already"))),
            Standing::Predecessor => {}
        }
        let dependants = holding.dependants();
        if !dependants.is_empty() {
            return Err(ControlError::conflict(format!("`{key}` is needed for {}", dependants.join(", "))));
        }
        if just_now {
            return Err(ControlError::conflict(format!(
                "`{key}` was in use until less than a minute ago; what is in progress may need it, so try again soon"
            )));
        }
        let file = self.keys.file()?;
        let is_it = |text: &Secret| AppKey::parse(text).ok().and_then(|key| key.id().ok()) == Some(key);
        let others = self.keys.config.previous_files.iter();
        if let Some(other) = others.filter(|other| holds(other, is_it)).map(|other| other.display()).next() {
            return Err(ControlError::conflict(format!(
                "`{key}` stands in `{other}`: take that file out of `app_key.previous_files` and restart"
            )));
        }
        self.directory.retire_key(by, key)?;
        take_key_out(file, is_it).map_err(unwritable)?;
        self.key_ring.forget(key);
        Ok(json!({ "key": key, "state": "retired" }))
    }

    pub(super) fn examine_keys(&self, findings: &mut Vec<Finding>) -> Result<()> {
        let before = findings.len();
        for holding in self.holdings()? {
            let Holding { key, standing, .. } = holding;
            let dependants = holding.dependants();
            match standing {
                Standing::InUse => {}
                Standing::Predecessor if dependants.is_empty() => findings.push(Finding::warn(
                    "APP_KEY",
                    format!("nothing depends on the former key `{key}` any more"),
                    format!("`erp-access key retire {key}`"),
                )),
                Standing::Predecessor => findings.push(Finding::ok(
                    "APP_KEY",
                    format!("the former key `{key}` is kept for {}", dependants.join(", ")),
                )),
                Standing::Missing => findings.push(Finding::fail(
                    "APP_KEY",
                    format!("the key `{key}` is not there, and it is needed for {}", dependants.join(", ")),
                    "bring it back into the key file, or issue these anew; docs/operations.md, \"A lost APP_KEY\"",
                )),
            }
        }
        if findings.len() == before {
            findings.push(Finding::ok("APP_KEY", format!("everything is made with `{}`", self.key_ring.current_id())));
        }
        Ok(())
    }
}

impl Holding {
    /// What depends on it, in words.
    fn dependants(&self) -> Vec<String> {
        let Dependants { sealed_values, client_secrets, operator_keys, user_passwords, tokens, portal_sessions } =
            self.of_store;
        let counted = [
            (sealed_values, "sealed value", "sealed values"),
            (client_secrets, "pair of client secrets", "pairs of client secrets"),
            (operator_keys, "operator key", "operator keys"),
            (
                user_passwords,
                "password or recovery code of portal users",
                "passwords and recovery codes of portal users",
            ),
            (tokens, "live token", "live tokens"),
            (portal_sessions, "session of the portal", "sessions of the portal"),
            (self.audit_seals, "seal of the audit trail", "seals of the audit trail"),
        ];
        let counted = counted.into_iter().filter(|(count, ..)| *count > 0);
        let word = |(count, one, many)| format!("{count} {}", if count == 1 { one } else { many });
        let mut words: Vec<_> = counted.map(word).collect();
        if self.canary {
            words.push("a rotation that has not ended".to_owned());
        }
        words
    }

    fn shown(&self) -> Value {
        let Dependants { sealed_values, client_secrets, operator_keys, user_passwords, tokens, portal_sessions } =
            self.of_store;
        let state = match self.standing {
            Standing::InUse => "in use",
            Standing::Missing => "missing",
            Standing::Predecessor if self.canary => "being replaced",
            Standing::Predecessor if self.dependants().is_empty() => "can be retired",
            Standing::Predecessor => "kept for what it made",
        };
        json!({
            "key": self.key, "state": state, "sealed_values": sealed_values, "client_secrets": client_secrets,
            "operator_keys": operator_keys, "user_passwords": user_passwords, "portal_sessions": portal_sessions,
            "live_tokens": tokens, "audit_seals": self.audit_seals, "since": self.since,
        })
    }
}

fn holds(file: &Path, is_it: impl Fn(&Secret) -> bool) -> bool {
    crate::config::read_secret_file(file).is_ok_and(|text| crate::config::keys_in(&text).iter().any(is_it))
}

fn unwritable(error: KeyFileError) -> ControlError {
    match error {
        KeyFileError::Unreadable(_) | KeyFileError::NotKept(_) => ControlError::failed(error),
        KeyFileError::Unwritable(ref file, _) => ControlError::conflict(format!(
            "{error}; nothing has changed. Let the gateway's user write to its folder, or put a new key above the old one \
             yourself (`erp-access key generate --above {}`) and restart: the gateway then re-encrypts by itself",
            file.display()
        )),
    }
}
