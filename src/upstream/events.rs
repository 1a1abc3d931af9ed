//! Who is told that the gateway has signed in somewhere or could not, and that it leaves something alone for a while.

use std::fmt;
use std::net::SocketAddr;

use crate::domain::UpstreamName;

use super::error::SessionError;
use super::key::SessionKey;

/// Is told of every sign-in and of every circuit that opens or closes. Must not block.
pub trait SessionEvents: Send + Sync + fmt::Debug {
    /// A sign-in has ended, well or not.
    fn signed_in(&self, key: &SessionKey, result: Result<(), &SessionError>);

    /// A circuit has changed, for the reason in `note`.
    fn circuit(&self, guarded: Guarded<'_>, circuit: Circuit, note: String);
}

/// What a circuit protects from being tried too often.
#[derive(Debug, Clone, Copy)]
pub enum Guarded<'a> {
    /// Signing in with one set of secrets.
    SignIn(&'a SessionKey),
    /// One peer of an upstream.
    Peer(&'a UpstreamName, SocketAddr),
}

/// What a circuit has become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// After failures it is left alone for a while.
    Open,
    /// It is tried again.
    HalfOpen,
    /// It works again.
    Closed,
}

/// Nobody is told.
#[derive(Debug, Clone, Copy)]
pub struct NobodyIsTold;

impl SessionEvents for NobodyIsTold {
    fn signed_in(&self, _: &SessionKey, _: Result<(), &SessionError>) {}

    fn circuit(&self, _: Guarded<'_>, _: Circuit, _: String) {}
}
