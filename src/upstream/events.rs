//! Who is told that the gateway has signed in somewhere, or could not.

use std::fmt;

use super::error::SessionError;
use super::key::SessionKey;

/// Is told of every sign-in. Must not block.
pub trait SessionEvents: Send + Sync + fmt::Debug {
    /// A sign-in has ended, well or not.
    fn signed_in(&self, key: &SessionKey, result: Result<(), &SessionError>);
}

/// Nobody is told.
#[derive(Debug, Clone, Copy)]
pub struct NobodyIsTold;

impl SessionEvents for NobodyIsTold {
    fn signed_in(&self, _: &SessionKey, _: Result<(), &SessionError>) {}
}
