//! Which audit trail there is after a restore.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{RestoreError, WithAudit};
use crate::audit::{self, Anchor, AuditSettings, Auditor, Damage, Position};
use crate::control::{Manifest, PARTS};
use crate::secrets::KeyRing;

/// The index of the trail, which is made anew for another trail.
const INDEX: &str = "audit-index.db";

/// Which audit trail there is after a restore.
#[derive(Debug)]
pub(super) enum Trail {
    /// The one that is there goes on, from this place.
    Kept(PathBuf, Option<Anchor>),
    /// The backup's takes the place of one that is there, for this reason.
    Replaced(String),
    /// The backup's; there is none.
    New,
}

impl Trail {
    /// Chooses. `ready` is where the backup's is, which is brought to this version's format and verified.
    pub(super) fn choose(
        directory: &Path,
        ready: &AuditSettings,
        manifest: &Manifest,
        ring: &KeyRing,
        with_audit: WithAudit,
        warnings: &mut Vec<String>,
    ) -> Result<Self, RestoreError> {
        let [_, name] = PARTS;
        let (there, backup) = (directory.join(name), ready.directory.join(name));
        audit::check_integrity(&backup)?;
        Auditor::migrate(ready)?;
        if audit::anchor_of(&backup)?.map(|anchor| (anchor.sequence, anchor.head_in_hex()))
            != Some((manifest.audit_sequence, manifest.audit_head.clone()))
        {
            return Err(RestoreError::Trail("it does not end where its manifest says".into()));
        }
        let damage = damage(&backup, ring)?;
        let trail = Self::between(&there, &backup, with_audit)?;
        match (damage, &trail) {
            (None, _) => {}
            (Some(damage), Self::Kept(..)) => {
                warnings.push(format!("the audit trail in the backup, which is not used, does not verify: {damage}"));
            }
            (Some(damage), Self::Replaced(_) | Self::New) => return Err(RestoreError::Trail(damage)),
        }
        Ok(trail)
    }

    fn between(there: &Path, backup: &Path, with_audit: WithAudit) -> Result<Self, RestoreError> {
        if !there.exists() {
            return Ok(Self::New);
        }
        if with_audit == WithAudit::Replace {
            return Ok(Self::Replaced("as was asked for".into()));
        }
        let anchor = match audit::check_integrity(there).and_then(|()| audit::anchor_of(there)) {
            Ok(anchor) => anchor,
            Err(error) => return Ok(Self::Replaced(format!("it cannot be read: {error}"))),
        };
        let goes_on = match audit::anchor_of(backup)? {
            Some(noted) => audit::continues_in(there, noted)?,
            None => true,
        };
        if !goes_on {
            let text =
                "the audit trail that is there does not go on from the backup's: it is of another history, or was cut";
            return Err(RestoreError::WouldReplaceTrail(text.into()));
        }
        Ok(Self::Kept(there.to_owned(), anchor))
    }

    /// The file that stays.
    pub(super) fn kept(&self) -> Option<&Path> {
        match self {
            Self::Kept(file, _) => Some(file),
            Self::Replaced(_) | Self::New => None,
        }
    }

    /// What is to be noted of the one that stays, so that an older one in its place is noticed.
    pub(super) fn anchor(&self) -> Option<Anchor> {
        match self {
            Self::Kept(_, anchor) => *anchor,
            Self::Replaced(_) | Self::New => None,
        }
    }

    /// The files of the backup that are put in place.
    pub(super) fn files(&self) -> Vec<String> {
        let [state, audit] = PARTS;
        match self {
            Self::Kept(..) => vec![state.to_owned()],
            // The trail first: state never stands beside a trail that knows less of it than it should.
            Self::Replaced(_) | Self::New => vec![audit.to_owned(), state.to_owned()],
        }
    }

    /// The files that go with the trail that is replaced.
    pub(super) fn gone(&self) -> Vec<String> {
        match self {
            Self::Kept(..) => Vec::new(),
            Self::Replaced(_) | Self::New => vec![INDEX.to_owned()],
        }
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(..) => out.write_str("the audit trail that is there is kept"),
            Self::Replaced(why) => write!(out, "the audit trail that is there is replaced by the backup's: {why}"),
            Self::New => out.write_str("the audit trail of the backup is used: there is none"),
        }
    }
}

/// What is wrong with a trail, in words. Seals of a key that is gone cannot be checked, which is no damage.
fn damage(file: &Path, ring: &KeyRing) -> Result<Option<String>, RestoreError> {
    let mut position = Position::default();
    loop {
        let progress = audit::verify_at_rest(file, position, ring)?;
        let found = progress.findings.into_iter().find(|finding| finding.kind != Damage::UnknownKey);
        if let Some(finding) = found {
            return Ok(Some(finding.text));
        }
        if progress.done {
            return Ok(None);
        }
        position = progress.position;
    }
}
