//! Sessions: what a browser holds, and what is kept of it.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;

use super::Portal;
use crate::control::{Caller, ControlError};
use crate::domain::{AccountId, Actor, Authority, IssuedKind, IssuedSecret, Role, SessionId};
use crate::secrets::HashPurpose;
use crate::store::{PortalSession, SignInUser, Stage, UserState};

/// SECURITY: with this prefix a browser takes the cookie over TLS or from this machine only, for this host and every path,
/// and no other host can set it.
const COOKIE: &str = "__Host-erp-access";

/// A session is marked as seen this often.
const SEEN: Duration = Duration::from_mins(1);

/// Proof: a session that lasts still, of a user who may sign in.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) kept: PortalSession,
    pub(super) user: SignInUser,
    /// The names of the portal's users, by what the audit trail calls them; nobody's for a client.
    pub(super) people: HashMap<String, String>,
}

impl Session {
    /// Who asks for operations. Sign-in must be complete.
    pub(super) fn caller(&self) -> Caller {
        Caller::new(Actor::User(self.kept.user), self.user.user.authority)
    }

    /// The account to which a client is held; `None` for the house.
    pub(super) fn client(&self) -> Option<AccountId> {
        match self.user.user.authority {
            Authority::Client(account) => Some(account),
            Authority::Admin | Authority::Operator | Authority::Auditor => None,
        }
    }
}

/// A session that begins, with what the browser is to hold.
pub(super) struct Begun {
    pub(super) stage: Stage,
    pub(super) cookie: HeaderValue,
}

/// Where a request comes from.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    pub(super) client: std::net::IpAddr,
    pub(super) agent: Option<String>,
}

impl Portal {
    /// The session of this request, at whatever stage.
    pub(super) fn session_of(&self, headers: &HeaderMap) -> Result<Option<Session>, ControlError> {
        let Some(secret) = presented(headers) else { return Ok(None) };
        let control = &self.control;
        let now = control.clock.now();
        let mut failed = None;
        let found = control.key_ring.find(HashPurpose::PortalSession, secret.secret().expose().as_bytes(), |hash| {
            control.store.portal_session(hash).unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        });
        if let Some(error) = failed {
            return Err(ControlError::failed(error));
        }
        let Some(session) = found.filter(|session| self.lasts(session, now)) else { return Ok(None) };
        let user = control.store.sign_in_user_with(session.user).map_err(ControlError::failed)?;
        let Some(user) = user.filter(|user| user.user.state == UserState::Active) else { return Ok(None) };
        // What a page asks for by itself is no use of the session.
        let by_itself = headers.contains_key("x-refresh");
        if !by_itself && now.duration_since(session.seen_at).unsigned_abs() >= SEEN {
            control.store.see_portal_session(session.id, now).map_err(ControlError::failed)?;
        }
        let people = match user.user.authority.role() {
            Role::Client => HashMap::new(),
            Role::Admin | Role::Operator | Role::Auditor => {
                let users = control.store.users().map_err(ControlError::failed)?;
                users.into_iter().map(|user| (Actor::User(user.id).to_string(), user.name)).collect()
            }
        };
        Ok(Some(Session { kept: session, user, people }))
    }

    fn lasts(&self, session: &PortalSession, now: Timestamp) -> bool {
        let age = |since: Timestamp| now.duration_since(since).unsigned_abs();
        // A clock that went back ends no session, and lengthens none.
        age(session.began_at) < self.rules.absolute && age(session.seen_at) < self.rules.idle
    }

    /// Begins a session of a user whose password was right, in place of the one that the browser had.
    pub(super) fn begin(
        &self,
        user: &SignInUser,
        stage: Stage,
        from: &Visitor,
        before: Option<&PortalSession>,
    ) -> Result<Begun, ControlError> {
        let control = &self.control;
        let now = control.clock.now();
        let secret = IssuedSecret::generate(IssuedKind::Session, &*control.entropy).map_err(ControlError::failed)?;
        let hash = control.key_ring.keyed_hash(HashPurpose::PortalSession, secret.secret().expose().as_bytes());
        let session = PortalSession {
            id: SessionId::new(now, &*control.entropy).map_err(ControlError::failed)?,
            user: user.user.id,
            stage,
            began_at: now,
            seen_at: now,
            proven_at: before.map_or(now, |before| before.proven_at),
            client: Some(from.client.to_string()),
            agent: from.agent.clone(),
        };
        let replaces = before.map(|before| before.id);
        control.store.begin_portal_session(hash, &session, replaces).map_err(ControlError::failed)?;
        // SECURITY: the one place where it leaves the process.
        let cookie = format!("{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Strict", secret.secret().expose());
        let mut cookie = HeaderValue::from_str(&cookie).map_err(ControlError::failed)?;
        cookie.set_sensitive(true);
        Ok(Begun { stage, cookie })
    }

    /// Forgets sessions that have ended by themselves. For housekeeping.
    pub(super) fn forget_ended(&self) {
        let now = self.control.clock.now();
        let ago = |time: Duration| now.checked_sub(time).unwrap_or(Timestamp::UNIX_EPOCH);
        let (began, seen) = (ago(self.rules.absolute), ago(self.rules.idle));
        if let Err(error) = self.control.store.forget_portal_sessions(began, seen) {
            log::error!("sessions that have ended could not be forgotten: {error}");
        }
    }
}

/// What takes the cookie away.
pub(super) fn no_cookie() -> HeaderValue {
    HeaderValue::from_static("__Host-erp-access=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// The secret that the browser holds. One that is sent twice is not taken.
fn presented(headers: &HeaderMap) -> Option<IssuedSecret> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value);
    let one = values.next()?;
    if values.next().is_some() {
        return None;
    }
    IssuedSecret::parse(IssuedKind::Session, one).ok()
}
