//! Changes of what a credential set is, and of its secrets.

use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;

use super::change::{By, ChangeError, Result, no_credential};
use super::entry::entry;
use super::{Credential, CredentialState, Directory, FormerSecrets, HashedSecrets, Pair, Snapshot, TokenEntry, detail};
use crate::domain::CredentialId;

/// What is to be changed of a credential set; what is not said stays.
#[derive(Debug, Clone, Default)]
pub struct CredentialChange {
    /// What people call it.
    pub name: Option<String>,
    /// What it is for; an empty text takes it away.
    pub purpose: Option<String>,
    /// The networks from which it may be used; an empty list lets it be used from everywhere.
    pub clients: Option<Vec<IpNet>>,
    /// When it ends, or that it does not.
    pub expires_at: Option<Option<Timestamp>>,
}

/// New secrets for a credential set, hashed already.
#[derive(Debug)]
pub struct NewSecrets {
    /// What is kept of them.
    pub secrets: HashedSecrets,
    /// Until when the former ones serve; `None` ends them at once.
    pub overlap_until: Option<Timestamp>,
}

impl Directory {
    /// Changes what a credential set is.
    ///
    /// # Errors
    /// When there is no such set, it is revoked, nothing would change, or the store fails.
    pub fn update_credential(&self, by: &By, id: CredentialId, change: CredentialChange) -> Result<Credential> {
        self.with_lock(|snapshot| {
            let before = not_revoked(snapshot, id)?;
            by.finds(before.revision)?;
            let mut credential = Credential::clone(before);
            let CredentialChange { name, purpose, clients, expires_at } = change;
            credential.name = name.unwrap_or(credential.name);
            credential.clients = clients.unwrap_or(credential.clients);
            credential.expires_at = expires_at.unwrap_or(credential.expires_at);
            if let Some(purpose) = purpose {
                credential.purpose = Some(purpose).filter(|text| !text.is_empty());
            }
            let (was, is) = (detail::credential(before), detail::credential(&credential));
            if was == is {
                return Err(ChangeError::Conflict(format!("credential set `{id}` is so already")));
            }
            let entry = entry(by, "credential.update", id.to_string()).account(before.account).credential(id);
            let seq = self.commit(&entry.changed(was, is), |tx| tx.update_credential(&credential, by.at))?;
            let credential = self.put_credential(credential, seq);
            Ok(credential)
        })
    }

    /// Puts new secrets in place of a set's. The former ones serve until the overlap ends; without one they and the tokens
    /// that they got end at once.
    ///
    /// # Errors
    /// When there is no such set, it is revoked, former secrets still serve, or the store fails.
    pub fn rotate_credential(&self, by: &By, id: CredentialId, new: NewSecrets) -> Result<Credential> {
        self.with_lock(|snapshot| {
            let before = not_revoked(snapshot, id)?;
            by.finds(before.revision)?;
            if let Some(former) = before.former.as_ref().filter(|former| former.ends_at > by.at) {
                return Err(ChangeError::Conflict(format!(
                    "the secrets before the last rotation still serve until {}; end them first (`erp-access credential \
                     rotate-end {id}`)",
                    former.ends_at
                )));
            }
            let mut credential = Credential::clone(before);
            credential.former = new.overlap_until.map(|ends_at| FormerSecrets {
                password_hash: before.password_hash.clone(),
                api_key_hash: before.api_key_hash,
                hash_key: before.hash_key,
                ends_at,
            });
            credential.password_hash = new.secrets.password_hash;
            credential.api_key_hash = new.secrets.api_key_hash;
            credential.hash_key = new.secrets.hash_key;
            credential.rotated_at = Some(by.at);
            credential.used = Arc::default();
            if let (Some(_), Some(last)) = (&credential.former, before.used.last(Pair::Current)) {
                credential.used.note(Pair::Former, last);
            }
            let (credential, _) = self.replace(by, Step::Begin, before, credential)?;
            Ok(credential)
        })
    }

    /// Ends the former secrets of a set, and the tokens that they got.
    ///
    /// # Errors
    /// When there is no such set, no former secrets serve, or the store fails.
    pub fn end_rotation(&self, by: &By, id: CredentialId) -> Result<(Credential, usize)> {
        self.with_lock(|snapshot| {
            let before = snapshot.credential(id).ok_or_else(|| no_credential(id))?;
            by.finds(before.revision)?;
            if before.former.is_none() {
                return Err(ChangeError::Conflict(format!("credential set `{id}` has no former secrets that serve")));
            }
            let credential = Credential { former: None, ..Credential::clone(before) };
            self.replace(by, Step::End, before, credential)
        })
    }

    /// Forgets former secrets whose time is over, with the tokens that they got. They have served nothing since then.
    ///
    /// # Errors
    /// When the store fails.
    pub fn end_overlaps(&self, by: &By) -> Result<usize> {
        let over = |set: &&Arc<Credential>| set.former.as_ref().is_some_and(|former| former.ends_at <= by.at);
        let ids: Vec<_> = self.snapshot().credentials().into_iter().filter(over).map(|set| set.id).collect();
        for id in &ids {
            self.end_rotation(by, *id)?;
        }
        Ok(ids.len())
    }

    /// Writes when secrets were used last, for sets whose former ones are watched.
    ///
    /// # Errors
    /// When the store fails.
    pub fn keep_uses(&self) -> Result<()> {
        for set in self.snapshot().credentials().into_iter().filter(|set| set.former.is_some()) {
            self.store.note_use(set)?;
        }
        Ok(())
    }

    /// Commits a set with other secrets, ends the tokens whose secrets are gone and says how many there were.
    fn replace(&self, by: &By, step: Step, before: &Credential, after: Credential) -> Result<(Credential, usize)> {
        let operation = match step {
            Step::Begin => "credential.rotate",
            Step::End => "credential.rotate-end",
        };
        // From now on, whatever there is was got with former secrets.
        let outdated = |token: TokenEntry| match step {
            Step::Begin => token.got_with(Pair::Former),
            Step::End => token,
        };
        let tokens = self.tokens.list(Some(after.id), by.at).into_iter().map(outdated);
        let ended: Vec<TokenEntry> = tokens.filter(|token| !token.is_backed(&after, by.at)).collect();
        let entry = entry(by, operation, after.id.to_string()).account(after.account).credential(after.id);
        let entry = entry.changed(detail::credential(before), detail::credential(&after));
        let seq = self.commit(&entry, |tx| {
            tx.replace_secrets(&after, by.at)?;
            if step == Step::Begin {
                tx.outdate_tokens_of(after.id)?;
            }
            ended.iter().try_for_each(|token| tx.delete_token(token.id).map(drop))
        })?;
        // The set first: a token that is outdated before its former secrets are known would be refused for a moment.
        let after = self.put_credential(after, seq);
        if step == Step::Begin {
            self.tokens.outdate(after.id);
        }
        for token in &ended {
            self.tokens.revoke(*token);
        }
        self.changed();
        Ok((after, ended.len()))
    }
}

/// Which half of a rotation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Begin,
    End,
}

fn not_revoked(snapshot: &Snapshot, id: CredentialId) -> Result<&Arc<Credential>> {
    let set = snapshot.credential(id).ok_or_else(|| no_credential(id))?;
    if set.state == CredentialState::Revoked {
        return Err(ChangeError::Conflict(format!("credential set `{id}` is revoked, which is final")));
    }
    Ok(set)
}
