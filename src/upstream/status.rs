//! What an operator sees of the sessions. Nothing here is secret.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{AccountName, UpstreamName};

/// One upstream's session as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatus {
    /// The upstream.
    pub upstream: UpstreamName,
    /// The account whose own ERP user it is; `None` for the one that all accounts share.
    pub account: Option<AccountName>,
    /// Where it stands.
    pub state: SessionState,
    /// How old the session is.
    pub age: Option<Duration>,
    /// When the session stops to serve; `None` without session or without known end.
    pub expires_at: Option<Timestamp>,
    /// Why the last try failed; `None` after a success.
    pub last_error: Option<String>,
    /// Failures since the last success.
    pub failures: u32,
    /// Sign-ins since the start, failures included.
    pub sign_ins: u64,
}

/// Where an upstream's session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// The recipe needs a secret that is not set.
    NoSecret,
    /// No session; the next request makes one.
    SignedOut,
    /// No session yet; a sign-in is under way.
    SigningIn,
    /// A session serves.
    SignedIn,
    /// No session, and no sign-in before `until`.
    BackingOff {
        /// When the next sign-in may begin.
        until: Timestamp,
    },
}

impl SessionState {
    /// What the states are called.
    pub const NAMES: [&'static str; 5] = ["no secret set", "signed out", "signing in", "signed in", "backing off"];

    /// What it is called.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        let [no_secret, signed_out, signing_in, signed_in, backing_off] = Self::NAMES;
        match self {
            Self::NoSecret => no_secret,
            Self::SignedOut => signed_out,
            Self::SigningIn => signing_in,
            Self::SignedIn => signed_in,
            Self::BackingOff { .. } => backing_off,
        }
    }
}
