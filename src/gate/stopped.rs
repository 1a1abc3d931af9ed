//! Steps 1 and 2: the request has one meaning, and no kill switch stops everything.

use jiff::Timestamp;

use crate::audit::Step;
use crate::directory::TokenEntry;
use crate::domain::{Code, IssuedSecret};
use crate::secrets::HashPurpose;

use super::limits::Place;
use super::presented::presented_bearer;
use super::{Asked, CleanHead, Denial, Gate, Trail};

/// Proof: the request has one meaning.
#[must_use]
pub(super) struct Request<'a> {
    pub(super) asked: Asked<'a>,
    pub(super) head: CleanHead,
}

/// Proof: no kill switch stops everything.
#[must_use]
pub(super) struct Running<'a> {
    pub(super) request: Request<'a>,
    /// The directory's change counter before anything was looked up in it.
    pub(super) epoch: u64,
    /// Its place among the requests at once, as far as limits have been looked at.
    pub(super) place: Place,
}

impl Gate {
    pub(super) fn read_head<'a>(&self, asked: Asked<'a>, trail: &mut Trail) -> Result<Request<'a>, Denial> {
        let head = CleanHead::check(&asked.head, &self.rules.head).map_err(|refused| {
            trail.target_as_it_came(asked.head.raw_target, &self.redactor);
            Denial::new(Step::Request, refused.code, refused.reason).detail(refused.reason)
        })?;
        trail.target(head.target(), head.target().query().map(|query| self.redactor.query(query)));
        if let (Some(limit), Some(length)) = (self.rules.body, head.content_length())
            && length > limit
        {
            return Err(Denial::new(
                Step::Request,
                Code::TooLarge,
                format!("a body of {length} bytes, {limit} allowed"),
            ));
        }
        trail.passed(Step::Request, "one meaning");
        Ok(Request { asked, head })
    }

    pub(super) fn not_stopped<'a>(&self, request: Request<'a>, trail: &mut Trail) -> Result<Running<'a>, Denial> {
        let epoch = self.directory.epoch();
        let snapshot = self.directory.snapshot();
        if let Some(engaged) = snapshot.kill_switches().global(request.asked.now) {
            self.name_actor(&request, trail);
            trail.stopped_by(engaged);
            return Err(Denial::stopped(Step::KillSwitch, engaged, request.asked.now));
        }
        trail.passed(Step::KillSwitch, "not engaged");
        trail.not_stopped();
        Ok(Running { request, epoch, place: Place::default() })
    }

    /// Names the actor in the row of a request that is stopped anyway. No password is hashed for it.
    fn name_actor(&self, request: &Request<'_>, trail: &mut Trail) {
        if let Ok(Some(token)) = presented_bearer(request.asked.head.headers)
            && let Some(entry) = self.find_token(&token, request.asked.now)
        {
            let account = self.directory.snapshot().credential(entry.credential).map(|credential| credential.account);
            trail.known_by_token(entry.id, entry.credential, account);
        }
    }

    /// The live token with this text.
    pub(super) fn find_token(&self, token: &IssuedSecret, now: Timestamp) -> Option<TokenEntry> {
        let text = token.secret().expose().as_bytes();
        self.key_ring.find(HashPurpose::Token, text, |hash| self.directory.find_token(hash, now))
    }
}
