//! What the little ERP remembers: sessions, posted orders, switches.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use super::Settings;
use super::data::{self, Order};
use super::recorder::Recorder;
use crate::domain::{EntropyError, Secret};

const SESSIONS_KEPT: usize = 1_000;
const POSTED_ORDERS_KEPT: usize = 1_000;

/// The header that carries a session.
pub(super) const SESSION_HEADER: &str = "x-erp-session";

#[derive(Debug)]
pub(super) struct State {
    address: SocketAddr,
    settings: Settings,
    sessions: Sessions,
    posted: Mutex<Vec<Order>>,
    recorder: Recorder,
    sign_ins: AtomicU64,
    sign_in_delay_millis: AtomicU64,
    fail_sign_ins: AtomicBool,
}

impl State {
    pub(super) fn new(address: SocketAddr, settings: Settings) -> Self {
        Self {
            address,
            settings,
            sessions: Sessions::default(),
            posted: Mutex::default(),
            recorder: Recorder::default(),
            sign_ins: AtomicU64::new(0),
            sign_in_delay_millis: AtomicU64::new(0),
            fail_sign_ins: AtomicBool::new(false),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(super) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(super) fn session_lifetime(&self) -> Duration {
        self.settings.session_lifetime
    }

    pub(super) fn sign_ins(&self) -> u64 {
        self.sign_ins.load(Ordering::SeqCst)
    }

    pub(super) fn count_sign_in(&self) {
        self.sign_ins.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn sign_in_delay(&self) -> Duration {
        Duration::from_millis(self.sign_in_delay_millis.load(Ordering::SeqCst))
    }

    pub(super) fn set_sign_in_delay(&self, delay: Duration) {
        self.sign_in_delay_millis.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    pub(super) fn set_fail_sign_ins(&self, fail: bool) {
        self.fail_sign_ins.store(fail, Ordering::SeqCst);
    }

    /// Whether this pair may sign in now.
    pub(super) fn may_sign_in(&self, username: &str, password: &str) -> bool {
        !self.fail_sign_ins.load(Ordering::SeqCst)
            && username == self.settings.username
            && same(password, &self.settings.password)
    }

    /// Begins a session and gives its token.
    pub(super) fn begin_session(&self) -> Result<String, EntropyError> {
        let mut random = [0_u8; 32];
        self.settings.entropy.fill(&mut random)?;
        let token = URL_SAFE_NO_PAD.encode(random);
        let now = self.settings.clock.monotonic();
        self.sessions.insert(token.clone(), now.saturating_add(self.settings.session_lifetime), now);
        Ok(token)
    }

    /// Whether the request carries a live session or the static key.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let session = headers.get(SESSION_HEADER).and_then(|value| value.to_str().ok());
        if session.is_some_and(|token| self.sessions.is_live(token, self.settings.clock.monotonic())) {
            return true;
        }
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        match (&self.settings.api_key, bearer) {
            (Some(key), Some(presented)) => same(presented, key),
            (None, _) | (_, None) => false,
        }
    }

    /// The orders of the first day and those posted since.
    pub(super) fn orders(&self) -> Vec<Order> {
        let mut orders = data::orders();
        orders.extend(self.posted().iter().cloned());
        orders
    }

    /// Adds an order under the next number, or gives `None` when there is no more room.
    pub(super) fn add_order(&self, make: impl FnOnce(u32) -> Order) -> Option<Order> {
        let mut posted = self.posted();
        if posted.len() == POSTED_ORDERS_KEPT {
            return None;
        }
        let number = data::FIRST_POSTED_ORDER + u32::try_from(posted.len()).ok()?;
        let order = make(number);
        posted.push(order.clone());
        Some(order)
    }

    fn posted(&self) -> MutexGuard<'_, Vec<Order>> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn same(presented: &str, expected: &Secret) -> bool {
    presented.as_bytes().ct_eq(expected.expose().as_bytes()).into()
}

/// Session tokens, each with the moment at which it ends.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    live: Mutex<HashMap<String, Duration>>,
}

impl Sessions {
    fn insert(&self, token: String, ends: Duration, now: Duration) {
        let mut live = self.lock();
        live.retain(|_, other_ends| *other_ends > now);
        if live.len() == SESSIONS_KEPT {
            live.clear();
        }
        live.insert(token, ends);
    }

    fn is_live(&self, token: &str, now: Duration) -> bool {
        self.lock().get(token).is_some_and(|ends| *ends > now)
    }

    pub(super) fn end(&self, token: &str) {
        self.lock().remove(token);
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Duration>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
