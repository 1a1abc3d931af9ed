//! A session that serves: ready-made headers, and what must never be shown.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use jiff::Timestamp;

use super::error::SessionError;
use super::key::{AccountRef, SessionKey};
use super::template;
use super::variables::Variables;
use crate::config::{BodyMatch, InjectedHeader, Lifetime, LostRule, Recipe, Upstream};
use crate::domain::Secret;

/// A signed-in session at one upstream. `Debug` shows no values.
pub struct UpstreamSession {
    key: SessionKey,
    generation: u64,
    /// For every request.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For requests that write, besides.
    write_headers: Vec<(HeaderName, HeaderValue)>,
    /// What differs by account although the session is shared; almost always empty.
    by_account: Vec<ByAccount>,
    variables: Variables,
    known_secrets: Vec<Secret>,
    life: Life,
    last_used: AtomicI64,
}

/// A header that names the account on whose behalf a request is relayed.
struct ByAccount {
    header: InjectedHeader,
    writes_only: bool,
}

impl UpstreamSession {
    /// Sets what the recipe injects into a relayed request; the values are marked sensitive.
    ///
    /// # Errors
    /// When a header with the account's name in it cannot be made. Nothing may be relayed then.
    pub fn inject(
        &self,
        method: &Method,
        account: &AccountRef,
        mut set: impl FnMut(&HeaderName, HeaderValue),
    ) -> Result<(), SessionError> {
        let writes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let write_headers = if writes { self.write_headers.as_slice() } else { &[] };
        for (name, value) in self.headers.iter().chain(write_headers) {
            set(name, value.clone());
        }
        if self.by_account.is_empty() {
            return Ok(());
        }
        let variables = self.variables.clone().for_account(Some(account));
        for by_account in self.by_account.iter().filter(|by_account| writes || !by_account.writes_only) {
            if let Some((name, value)) = template::header(&by_account.header, &variables)? {
                set(&name, value);
            }
        }
        Ok(())
    }

    /// The values that no client, log or audit row may see: password, key, extracted values of at least eight bytes,
    /// the injected values and what the functions of templates made of them. The user name is not among them.
    #[must_use]
    pub fn known_secrets(&self) -> &[Secret] {
        &self.known_secrets
    }

    /// The names of all headers that it sets, for an operator.
    pub(super) fn names_of_injected(&self) -> Vec<String> {
        let own = self.headers.iter().chain(&self.write_headers).map(|(name, _)| name.to_string());
        own.chain(self.by_account.iter().map(|by_account| by_account.header.name.to_string())).collect()
    }

    /// Whose session it is.
    #[must_use]
    pub fn key(&self) -> &SessionKey {
        &self.key
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
        self.life.end(self.last_used())
    }

    /// Makes what `recipe` injects from `variables`.
    pub(super) fn build(
        recipe: &Recipe,
        variables: Variables,
        key: SessionKey,
        generation: u64,
        life: Life,
    ) -> Result<Self, SessionError> {
        let mut known_secrets = variables.secrets();
        let mut by_account = Vec::new();
        let mut render = |injected: &[InjectedHeader], writes_only: bool| -> Result<Vec<_>, SessionError> {
            let mut headers = Vec::with_capacity(injected.len());
            for header in injected {
                if template::names_account(&header.value) && key.account.is_none() {
                    by_account.push(ByAccount { header: header.clone(), writes_only });
                    continue;
                }
                headers.extend(template::header(header, &variables)?);
                known_secrets.extend(template::secrets_on_the_wire(&header.value, &variables)?);
            }
            Ok(headers)
        };
        let mut headers = render(&recipe.inject.headers, false)?;
        let write_headers = render(&recipe.inject.write_headers, true)?;
        headers.extend(template::cookies(&recipe.inject.cookies, &variables)?);
        for cookie in &recipe.inject.cookies {
            known_secrets.extend(template::secrets_on_the_wire(&cookie.value, &variables)?);
        }
        let last_used = AtomicI64::new(life.signed_in_at.as_microsecond());
        Ok(Self { key, generation, headers, write_headers, by_account, variables, known_secrets, life, last_used })
    }

    pub(super) fn life(&self) -> &Life {
        &self.life
    }

    pub(super) fn variables(&self) -> &Variables {
        &self.variables
    }

    /// A request uses it at this moment.
    pub(super) fn used(&self, now: Timestamp) {
        if self.life.idle {
            self.last_used.fetch_max(now.as_microsecond(), Ordering::Relaxed);
        }
    }

    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.life.is_over(self.last_used(), now)
    }

    pub(super) fn is_late(&self, now: Timestamp) -> bool {
        self.life.is_late(now)
    }

    fn last_used(&self) -> Timestamp {
        Timestamp::from_microsecond(self.last_used.load(Ordering::Relaxed)).unwrap_or(self.life.signed_in_at)
    }

    #[cfg(test)]
    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }
}

impl fmt::Debug for UpstreamSession {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().chain(&self.write_headers).map(|(name, _)| name).collect();
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
    /// How long it serves, a little less than the ERP allows; `None` until the ERP says that it is lost.
    usable: Option<Duration>,
    /// Whether that counts from the last use.
    idle: bool,
}

impl Life {
    /// A life that ends a little before the ERP's: by the recipe's skew, else by a twentieth of it, ten seconds at most.
    pub(super) fn beginning(signed_in_at: Timestamp, rule: &Lifetime, told: Option<Duration>) -> Self {
        let skew = |lifetime: Duration| rule.skew.unwrap_or_else(|| (lifetime / 20).min(Duration::from_secs(10)));
        let usable = told.or(rule.fallback).map(|lifetime| lifetime.saturating_sub(skew(lifetime)));
        Self { signed_in_at, usable, idle: rule.idle }
    }

    /// The life of a session that was kept; one that counts from its last use is taken as unused since.
    pub(super) fn kept(signed_in_at: Timestamp, expires_at: Option<Timestamp>, rule: &Lifetime) -> Self {
        Self { signed_in_at, usable: expires_at.map(|end| between(signed_in_at, end)), idle: rule.idle }
    }

    pub(super) fn end(&self, last_used: Timestamp) -> Option<Timestamp> {
        let from = if self.idle { last_used } else { self.signed_in_at };
        self.usable.map(|usable| later(from, usable))
    }

    fn is_over(&self, last_used: Timestamp, now: Timestamp) -> bool {
        self.end(last_used).is_some_and(|end| now >= end)
    }

    /// Whether four fifths of it have passed, so that the next session is made while this one still serves. A life that
    /// each use prolongs is never late.
    fn is_late(&self, now: Timestamp) -> bool {
        !self.idle && self.usable.is_some_and(|usable| now >= later(self.signed_in_at, usable / 5 * 4))
    }

    pub(super) fn age(&self, now: Timestamp) -> Duration {
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

/// What an answer says of the session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss<'a> {
    /// It serves on.
    None,
    /// It is gone.
    Lost,
    /// It is gone if the body holds this.
    IfBody(&'a BodyMatch),
}

/// What an answer with this head says of the session.
#[must_use]
pub fn loss<'a>(upstream: &'a Upstream, status: StatusCode, headers: &HeaderMap) -> Loss<'a> {
    let fits = |rule: &&LostRule| rule.status.contains(&status) && has_header(rule, headers);
    let mut by_body = Loss::None;
    for rule in upstream.session.lost.iter().filter(fits) {
        match &rule.body {
            None => return Loss::Lost,
            Some(body) => by_body = Loss::IfBody(body),
        }
    }
    by_body
}

fn has_header(rule: &LostRule, headers: &HeaderMap) -> bool {
    let holds = |(name, wanted): &(HeaderName, String)| {
        headers.get_all(name).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(wanted.as_bytes()))
    };
    rule.headers.is_empty() || rule.headers.iter().any(holds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LifetimeSource;

    const NEVER_USED: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn fixed(fallback: Option<Duration>) -> Lifetime {
        Lifetime { source: LifetimeSource::Recipe, fallback, skew: None, idle: false }
    }

    fn life(lifetime: Option<Duration>) -> Life {
        Life::beginning(at(0), &fixed(lifetime), None)
    }

    #[test]
    fn life_ends_ten_seconds_early() {
        let life = life(Some(Duration::from_hours(1)));
        assert_eq!(life.end(NEVER_USED), Some(at(3590)));
        assert!(!life.is_over(NEVER_USED, at(3589)));
        assert!(life.is_over(NEVER_USED, at(3590)));
    }

    #[test]
    fn short_life_ends_a_twentieth_early() {
        assert_eq!(life(Some(Duration::from_secs(20))).end(NEVER_USED), Some(at(19)));
    }

    #[test]
    fn life_is_what_the_answer_says_minus_the_recipes_skew() {
        let rule = Lifetime { skew: Some(Duration::from_secs(30)), ..fixed(Some(Duration::from_hours(9))) };
        let told = Life::beginning(at(0), &rule, Some(Duration::from_hours(1)));
        assert_eq!(told.end(NEVER_USED), Some(at(3570)));
        let untold = Life::beginning(at(0), &rule, None);
        assert_eq!(untold.end(NEVER_USED), Some(at(9 * 3600 - 30)));
    }

    #[test]
    fn idle_life_counts_from_the_last_use_and_is_never_late() {
        let rule = Lifetime { idle: true, ..fixed(Some(Duration::from_secs(20))) };
        let life = Life::beginning(at(0), &rule, None);
        assert_eq!(life.end(at(100)), Some(at(119)));
        assert!(!life.is_over(at(100), at(118)));
        assert!(life.is_over(at(100), at(119)));
        assert!(!life.is_late(at(118)));
    }

    #[test]
    fn life_is_late_after_four_fifths() {
        let life = life(Some(Duration::from_secs(1010)));
        assert!(!life.is_late(at(799)));
        assert!(life.is_late(at(800)));
    }

    #[test]
    fn life_without_a_lifetime_is_never_late_nor_over() {
        let life = life(None);
        assert!(!life.is_late(Timestamp::MAX));
        assert!(!life.is_over(NEVER_USED, Timestamp::MAX));
    }

    #[test]
    fn life_of_all_ages_does_not_overflow() {
        assert_eq!(life(Some(Duration::MAX)).end(NEVER_USED), Some(Timestamp::MAX));
    }
}
