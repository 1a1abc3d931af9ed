//! Signing in: a password, then what is missing besides it. Every failure looks alike and takes as long.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;

use super::Portal;
use super::passwords::{self, Factors};
use super::second_factor::{Seed, as_recovery_code, recovery_codes};
use super::sessions::{Begun, Session, Visitor};
use crate::audit::{Decision, Entry, Step, Verdict};
use crate::control::ControlError;
use crate::directory::By;
use crate::domain::{Actor, Role, Secret};
use crate::secrets::{HashPurpose, HashingError, Place, SealPurpose, Verified};
use crate::store::{PortalSession, SignInUser, Stage, StoreError, UserState};

/// Names that are longer are nobody's.
const LONGEST_NAME: usize = 100;
/// A password that was given so long ago must be given again before what is sensitive.
const PROVEN: SignedDuration = SignedDuration::from_mins(10);

/// Why somebody is not let in.
#[derive(Debug)]
pub(super) enum Refused {
    /// Name, password or code are wrong, or the user may not sign in.
    Wrong,
    /// There were too many failures.
    Throttled(Duration),
    /// Too many passwords are being checked.
    Busy,
    /// What was chosen is not taken.
    Weak(String),
    /// Something is broken.
    Failed(ControlError),
}

impl From<ControlError> for Refused {
    fn from(error: ControlError) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Failed(ControlError::failed(error))
    }
}

type Result<T> = std::result::Result<T, Refused>;

impl Portal {
    /// Checks name and password, and begins a session at the stage that comes next.
    pub(super) async fn sign_in(
        self: &Arc<Self>,
        name: &str,
        password: Secret,
        from: &Visitor,
        before: Option<Session>,
    ) -> Result<Begun> {
        let name = if name.len() <= LONGEST_NAME { name.to_owned() } else { String::new() };
        let now = self.control.clock.monotonic();
        // The failures of one address with one name, and of one address: whoever guesses elsewhere locks nobody out here.
        self.by_name.check((name.as_str(), from.client), now).map_err(Refused::Throttled)?;
        self.by_address.check(from.client, now).map_err(Refused::Throttled)?;
        let asked = name.clone();
        let known = self.blocking(move |portal| Ok(portal.control.store.sign_in_user(&asked)?)).await?;
        let known = known.filter(|user| user.user.state == UserState::Active);
        let kept = known.as_ref().map(|user| user.password.clone());
        // SECURITY: nobody's password costs as much as somebody's.
        let verified = self.verify(password, kept).await?;
        let today = self.control.clock.now();
        let serves = |user: &SignInUser| user.first_password_until.is_none_or(|until| today < until);
        let Some(user) = known.filter(|user| verified && serves(user)) else {
            self.by_name.failed((name.as_str(), from.client), now);
            self.by_address.failed(from.client, now);
            self.record("portal.sign-in", Actor::Unknown, Some(from), "name or password are wrong, or may not sign in");
            return Err(Refused::Wrong);
        };
        let from = from.clone();
        self.blocking(move |portal| {
            let stage = next_stage(&user, Stage::Password);
            let begun = portal.begin(&user, stage, &from, None)?;
            if let Some(before) = before {
                // SECURITY: what the browser held before serves no longer.
                portal.control.store.end_portal_session(before.kept.user, before.kept.id)?;
            }
            portal.signed_in(&user, stage, &from);
            Ok(begun)
        })
        .await
    }

    /// Works off the async threads: on the databases.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let portal = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&portal)).await;
        done.map_err(|error| Refused::Failed(ControlError::failed(error)))?
    }

    async fn verify(&self, password: Secret, kept: Option<crate::secrets::HashedPassword>) -> Result<bool> {
        match self.control.hasher.verify(password, kept).await {
            Ok(Verified::Right | Verified::RightWithNewHash(_)) => Ok(true),
            Ok(Verified::Wrong) => Ok(false),
            Err(HashingError::Overloaded) => Err(Refused::Busy),
            Err(error) => Err(Refused::Failed(ControlError::failed(error))),
        }
    }

    /// Sets the password that a user has chosen, who has a first one from an administrator or gives the present one.
    pub(super) async fn choose_password(
        self: &Arc<Self>,
        session: &Session,
        present: Option<Secret>,
        chosen: Secret,
        from: &Visitor,
    ) -> Result<Begun> {
        let user = &session.user;
        if session.kept.stage == Stage::Full {
            self.prove(session, present.unwrap_or_else(|| Secret::new(String::new())), from).await?;
        }
        let two = user.totp.is_some() || user.user.authority.role() == Role::Admin;
        let factors = if two { Factors::Two } else { Factors::One };
        passwords::check(&chosen, &user.user.name, factors).map_err(|weak| Refused::Weak(weak.to_string()))?;
        if self.verify(chosen.clone(), Some(user.password.clone())).await? {
            return Err(Refused::Weak("choose another password than the present one".into()));
        }
        let hashed = self.control.hasher.hash(chosen).await.map_err(ControlError::failed)?;
        let (session, from) = (session.clone(), from.clone());
        self.blocking(move |portal| {
            let Session { kept: session, user, .. } = session;
            let set =
                portal.control.directory.set_own_password(&portal.by(&user), &user.user, &hashed, Some(session.id));
            set.map_err(ControlError::from)?;
            portal.control.copy_changes();
            let stage = match session.stage {
                Stage::Password => next_stage(&user, Stage::Enrol),
                stage @ (Stage::Enrol | Stage::Code | Stage::Full) => stage,
            };
            let begun = portal.begin(&user, stage, &from, Some(&session))?;
            if session.stage == Stage::Password {
                portal.signed_in(&user, stage, &from);
            }
            Ok(begun)
        })
        .await
    }

    /// The seed that a session is shown, until its first code is right.
    pub(super) fn seed_for(&self, session: &Session) -> Result<Seed> {
        let seed = self.waiting.of(session.kept.id, &*self.control.entropy);
        Ok(seed.map_err(ControlError::failed)?)
    }

    /// Sets the second factor up, whose first code this is. Gives the recovery codes, which are shown once.
    pub(super) fn enrol(&self, session: &Session, code: &str, from: &Visitor) -> Result<(Begun, Vec<Secret>)> {
        let (control, user) = (&self.control, &session.user);
        self.slowly(user, from)?;
        let seed = self.seed_for(session)?;
        let step = seed.step_of(code, control.clock.now()).ok_or_else(|| self.wrong_code(user, from))?;
        let codes = recovery_codes(&*control.entropy).map_err(ControlError::failed)?;
        let hash = |code: &Secret| control.key_ring.keyed_hash(HashPurpose::RecoveryCode, code.expose().as_bytes());
        let hashes: Vec<_> = codes.iter().map(hash).collect();
        let row = user.user.id.to_string();
        let sealed = control.key_ring.seal(SealPurpose::Totp, &place(&row), seed.bytes(), &*control.entropy);
        let sealed = sealed.map_err(ControlError::failed)?;
        let set = control.directory.set_totp(&self.by(user), &user.user, (&sealed, step), &hashes);
        set.map_err(ControlError::from)?;
        control.copy_changes();
        self.waiting.forget(session.kept.id);
        let begun = self.begin(user, Stage::Full, from, Some(&session.kept))?;
        self.signed_in(user, Stage::Full, from);
        Ok((begun, codes))
    }

    /// Takes a code of the second factor, or a recovery code; each serves once.
    pub(super) fn give_code(&self, session: &Session, code: &str, from: &Visitor) -> Result<Begun> {
        let (control, user) = (&self.control, &session.user);
        self.slowly(user, from)?;
        let id = user.user.id;
        let taken = if let Some(recovery) = as_recovery_code(code) {
            let mut taken = Ok(false);
            control.key_ring.find(HashPurpose::RecoveryCode, recovery.expose().as_bytes(), |hash| {
                taken = control.store.take_recovery_code(id, hash);
                matches!(taken, Ok(true) | Err(_)).then_some(())
            });
            taken.map_err(ControlError::failed)?
        } else {
            let step = self.seed_of(user)?.and_then(|seed| seed.step_of(code, control.clock.now()));
            step.map_or(Ok(false), |step| control.store.take_code(id, step)).map_err(ControlError::failed)?
        };
        if !taken {
            return Err(self.wrong_code(user, from));
        }
        let begun = self.begin(user, Stage::Full, from, Some(&session.kept))?;
        self.signed_in(user, Stage::Full, from);
        Ok(begun)
    }

    fn seed_of(&self, user: &SignInUser) -> Result<Option<Seed>> {
        let Some(sealed) = &user.totp else { return Ok(None) };
        let row = user.user.id.to_string();
        let opened = self.control.key_ring.open(SealPurpose::Totp, &place(&row), sealed);
        Ok(Some(Seed::from_bytes(&opened.map_err(ControlError::failed)?)))
    }

    /// A code has a million values: guessing is slowed down whoever guesses.
    fn slowly(&self, user: &SignInUser, from: &Visitor) -> Result<()> {
        let now = self.control.clock.monotonic();
        self.by_code.check(user.user.id, now).map_err(Refused::Throttled)?;
        self.by_address.check(from.client, now).map_err(Refused::Throttled)
    }

    fn wrong_code(&self, user: &SignInUser, from: &Visitor) -> Refused {
        let now = self.control.clock.monotonic();
        self.by_code.failed(user.user.id, now);
        self.by_address.failed(from.client, now);
        self.record("portal.sign-in", Actor::User(user.user.id), Some(from), "the code is wrong, or was used before");
        Refused::Wrong
    }

    /// Whether the password was given lately enough for what is sensitive.
    pub(super) fn is_proven(&self, session: &Session) -> bool {
        self.control.clock.now().duration_since(session.kept.proven_at) < PROVEN
    }

    /// Checks the password of somebody who is signed in.
    pub(super) async fn prove(&self, session: &Session, password: Secret, from: &Visitor) -> Result<()> {
        let name = session.user.user.name.as_str();
        let now = self.control.clock.monotonic();
        self.by_name.check((name, from.client), now).map_err(Refused::Throttled)?;
        if self.verify(password, Some(session.user.password.clone())).await? {
            return Ok(());
        }
        self.by_name.failed((name, from.client), now);
        self.record("portal.prove", Actor::User(session.kept.user), Some(from), "the password is wrong");
        Err(Refused::Wrong)
    }

    /// Begins a session in place of this one, whose password was given just now.
    pub(super) fn begin_proven(&self, session: &Session, from: &Visitor) -> Result<Begun> {
        let now = self.control.clock.now();
        let before = PortalSession { proven_at: now, ..session.kept.clone() };
        Ok(self.begin(&session.user, Stage::Full, from, Some(&before))?)
    }

    /// Ends a session of a user.
    pub(super) fn sign_out(&self, session: &Session, id: crate::domain::SessionId) -> Result<bool> {
        let ended = self.control.store.end_portal_session(session.kept.user, id)?;
        if ended {
            let row = self.control.system_row("portal.sign-out", format!("session {id}"), &json!({}));
            self.control.leave(row.map(|row| Entry { actor: Actor::User(session.kept.user), ..row }));
        }
        Ok(ended)
    }

    fn by(&self, user: &SignInUser) -> By {
        By { actor: Actor::User(user.user.id), at: self.control.clock.now(), expected: None }
    }

    /// The row of a sign-in that is complete, and of one that has come as far as a next step.
    fn signed_in(&self, user: &SignInUser, stage: Stage, from: &Visitor) {
        let detail = json!({ "user": user.user.name, "stage": stage.as_str() });
        let row = self.control.system_row("portal.sign-in", user.user.name.clone(), &detail);
        self.control.leave(row.map(|row| Entry {
            actor: Actor::User(user.user.id),
            account: user.user.authority.account(),
            client: Some(from.client),
            ..row
        }));
    }

    fn record(&self, operation: &'static str, actor: Actor, from: Option<&Visitor>, why: &'static str) {
        let row = self.control.system_row(operation, "portal".into(), &json!({}));
        self.control.leave(row.map(|mut row| {
            row.actor = actor;
            row.client = from.map(|from| from.client);
            row.decision = Decision::Denied;
            row.verdicts.push(Verdict::denied(Step::Authentication, why));
            row
        }));
    }
}

/// What a user must do next, who has done what comes before this stage.
fn next_stage(user: &SignInUser, from: Stage) -> Stage {
    let admin = user.user.authority.role() == Role::Admin;
    match from {
        Stage::Password if user.user.must_change_password => Stage::Password,
        Stage::Password | Stage::Enrol | Stage::Code if user.totp.is_some() => Stage::Code,
        // Administrators must have a second factor.
        Stage::Password | Stage::Enrol if admin => Stage::Enrol,
        Stage::Password | Stage::Enrol | Stage::Code | Stage::Full => Stage::Full,
    }
}

fn place(row: &str) -> Place<'_> {
    Place { table: "portal_user", row, column: "totp" }
}
