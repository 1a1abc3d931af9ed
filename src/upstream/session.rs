//! A session that serves: ready-made headers, and what must never be shown.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;

use super::error::SessionError;
use super::template;
use super::variables::Variables;
use crate::config::{Recipe, Upstream};
use crate::domain::Secret;

/// A signed-in session at one upstream. `Debug` shows no values.
pub struct UpstreamSession {
    generation: u64,
    headers: Vec<(HeaderName, HeaderValue)>,
    known_secrets: Vec<Secret>,
    life: Life,
}

impl UpstreamSession {
    /// The headers to set on each relayed request; the values are marked sensitive.
    #[must_use]
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// The values that no client, log or audit row may see: password, key, extracted values of at least eight bytes,
    /// the injected header values and what `base64()` made of them. The user name is not among them.
    #[must_use]
    pub fn known_secrets(&self) -> &[Secret] {
        &self.known_secrets
    }

    /// Tells this session from the ones before and after it at the same upstream, see [`super::Sessions::lost`].
    ///
    /// With a recipe without steps it is the version of the secrets: the same number again means that there is nothing
    /// new to try.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// When we signed in.
    #[must_use]
    pub fn signed_in_at(&self) -> Timestamp {
        self.life.signed_in_at
    }

    /// When it stops to serve; `None` until the ERP says that it is lost.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.life.expires_at
    }

    /// Makes the headers of `recipe` from `variables`.
    pub(super) fn build(
        recipe: &Recipe,
        variables: &Variables,
        generation: u64,
        life: Life,
    ) -> Result<Self, SessionError> {
        let mut headers = Vec::with_capacity(recipe.inject.len());
        let mut known_secrets = variables.secrets();
        for injected in &recipe.inject {
            headers.push(template::header(injected, variables)?);
            known_secrets.extend(template::secrets_on_the_wire(injected, variables)?);
        }
        Ok(Self { generation, headers, known_secrets, life })
    }

    pub(super) fn life(&self) -> Life {
        self.life
    }
}

impl fmt::Debug for UpstreamSession {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        out.debug_struct("UpstreamSession")
            .field("generation", &self.generation)
            .field("headers", &names)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

/// From when to when a session serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) signed_in_at: Timestamp,
    pub(super) expires_at: Option<Timestamp>,
}

impl Life {
    /// A life that ends a little before the ERP's: by a twentieth of it, ten seconds at most.
    pub(super) fn beginning(signed_in_at: Timestamp, lifetime: Option<Duration>) -> Self {
        let usable = |lifetime: Duration| lifetime.saturating_sub((lifetime / 20).min(Duration::from_secs(10)));
        let expires_at = lifetime.map(|lifetime| later(signed_in_at, usable(lifetime)));
        Self { signed_in_at, expires_at }
    }

    pub(super) fn is_over(self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }

    /// Whether four fifths of it have passed, so that the next session is made while this one still serves.
    pub(super) fn is_late(self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| now >= later(self.signed_in_at, between(self.signed_in_at, end) / 5 * 4))
    }

    pub(super) fn age(self, now: Timestamp) -> Duration {
        between(self.signed_in_at, now)
    }
}

/// `at` and `by` more; the end of time where that cannot be written.
pub(super) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Whether an answer with this status says that the session is gone.
#[must_use]
pub fn is_lost(upstream: &Upstream, status: StatusCode) -> bool {
    upstream.session.lost.status.contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn life_ends_ten_seconds_early() {
        let life = Life::beginning(at(0), Some(Duration::from_hours(1)));
        assert_eq!(life.expires_at, Some(at(3590)));
        assert!(!life.is_over(at(3589)));
        assert!(life.is_over(at(3590)));
    }

    #[test]
    fn short_life_ends_a_twentieth_early() {
        assert_eq!(Life::beginning(at(0), Some(Duration::from_secs(20))).expires_at, Some(at(19)));
    }

    #[test]
    fn life_is_late_after_four_fifths() {
        let life = Life::beginning(at(0), Some(Duration::from_secs(1010)));
        assert!(!life.is_late(at(799)));
        assert!(life.is_late(at(800)));
    }

    #[test]
    fn life_without_a_lifetime_is_never_late_nor_over() {
        let life = Life::beginning(at(0), None);
        assert!(!life.is_late(Timestamp::MAX));
        assert!(!life.is_over(Timestamp::MAX));
    }

    #[test]
    fn life_of_all_ages_does_not_overflow() {
        assert_eq!(Life::beginning(at(0), Some(Duration::MAX)).expires_at, Some(Timestamp::MAX));
    }
}
