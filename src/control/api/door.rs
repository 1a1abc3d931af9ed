//! Who asks: over the Unix socket the kernel says it, over HTTP an operator key does.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::json;

use super::super::socket::Peer;
use super::super::{Caller, Control, os_user};
use super::problem::problem;
use crate::audit::Entry;
use crate::domain::{Actor, Authority, IssuedKind, IssuedSecret, Role};
use crate::token::Throttle;

/// What the OS users who reach the socket may do. Root and the user that runs the gateway may do everything; of the
/// others those who are named.
#[derive(Debug, Clone, Default)]
pub struct SocketRoles {
    named: HashMap<String, Role>,
}

impl SocketRoles {
    /// These users have these roles; `client` is no role of an OS user.
    #[must_use]
    pub fn new(named: impl IntoIterator<Item = (String, Role)>) -> Self {
        Self { named: named.into_iter().collect() }
    }

    fn authority(&self, user: u32, name: &str) -> Option<Authority> {
        if user == 0 || user == rustix::process::geteuid().as_raw() {
            return Some(Authority::Admin);
        }
        self.named.get(name).and_then(|role| Authority::of(*role, None))
    }
}

/// The socket's door.
#[derive(Debug)]
pub(super) struct SocketDoor {
    pub(super) control: Arc<Control>,
    pub(super) roles: SocketRoles,
}

/// Leaves the row of somebody who was not let in.
fn refusal(control: &Control, actor: Actor, from: Option<IpAddr>, why: &'static str) {
    let row = control.system_row("control.sign-in", "admin API".to_owned(), &json!({}));
    control.leave_denied(row.map(|row| Entry { client: from, ..row }), actor, why);
}

/// Checks who is at the other end of the socket.
pub(super) async fn at_socket(State(door): State<Arc<SocketDoor>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<Peer>>().and_then(|ConnectInfo(peer)| peer.user());
    let Some(user) = peer else {
        return unknown("the kernel does not say who is asking");
    };
    let name = os_user(user);
    if let Some(authority) = door.roles.authority(user, &name) {
        request.extensions_mut().insert(Caller::new(Actor::Operator(name), authority));
        return next.run(request).await;
    }
    let about = format!(
        "the user `{name}` has no role here; an administrator names it in `admin.administrators`, `admin.operators` or \
         `admin.auditors` of the configuration"
    );
    refusal(&door.control, Actor::Operator(name), None, "the OS user has no role");
    problem(StatusCode::FORBIDDEN, "forbidden", "The role does not allow it", &about)
}

/// Checks operator keys, and slows guessing down.
#[derive(Debug)]
pub(super) struct KeyDoor {
    control: Arc<Control>,
    failures: Throttle,
}

/// Failed sign-ins of one address per minute.
const FAILURES: u32 = 10;

impl KeyDoor {
    /// A door to these operations.
    #[must_use]
    pub(super) fn new(control: Arc<Control>) -> Self {
        Self { control, failures: Throttle::new(FAILURES) }
    }

    fn caller(&self, headers: &HeaderMap, from: SocketAddr) -> Result<Caller, Refusal> {
        let mut presented = headers.get_all("x-api-key").iter();
        let text = match (presented.next(), presented.next()) {
            (Some(one), None) => one.to_str().unwrap_or_default(),
            (None, _) => return Err(Refusal::Nothing),
            (Some(_), Some(_)) => "",
        };
        let key = IssuedSecret::parse(IssuedKind::ApiKey, text).ok();
        let caller = key.and_then(|key| self.control.caller_with(&key, from.ip()));
        // A key cannot be guessed; what is slowed down is the noise, so the right key passes whoever else knocks.
        caller.ok_or_else(|| self.refused(from))
    }

    fn refused(&self, from: SocketAddr) -> Refusal {
        let now = self.control.clock.monotonic();
        if let Err(wait) = self.failures.check(from.ip(), now) {
            return Refusal::Throttled(wait);
        }
        self.failures.failed(from.ip(), now);
        // At most as many rows as the throttle lets through.
        refusal(&self.control, Actor::Unknown, Some(from.ip()), "no such operator key serves from there");
        Refusal::Unknown
    }
}

enum Refusal {
    Nothing,
    Unknown,
    Throttled(Duration),
}

/// Checks the operator key of a request.
pub(super) async fn with_key(State(door): State<Arc<KeyDoor>>, mut request: Request, next: Next) -> Response {
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(from)| *from);
    let Some(from) = from else { return unknown("it is not known where this comes from") };
    match door.caller(request.headers(), from) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(Refusal::Nothing) => unknown("send an operator key in the header `x-api-key`"),
        Err(Refusal::Unknown) => unknown("the operator key is unknown, expired, revoked or not for this address"),
        Err(Refusal::Throttled(wait)) => {
            let about = "too many failed sign-ins from this address";
            let mut response =
                problem(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many failed sign-ins", about);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
            response
        }
    }
}

fn unknown(about: &str) -> Response {
    let mut response = problem(StatusCode::UNAUTHORIZED, "unauthenticated", "Nobody is known by that", about);
    let challenge = HeaderValue::from_static("ApiKey header=\"x-api-key\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody's own number here.
    const SOMEBODY: u32 = 4_000_000_000;

    #[test]
    fn who_is_not_named_may_do_nothing_and_who_is_named_what_the_configuration_says() {
        let roles = SocketRoles::new([("olga".to_owned(), Role::Operator), ("rita".to_owned(), Role::Auditor)]);
        assert_eq!(roles.authority(SOMEBODY, "nobody"), None);
        assert_eq!(roles.authority(SOMEBODY, "olga"), Some(Authority::Operator));
        assert_eq!(roles.authority(SOMEBODY, "rita"), Some(Authority::Auditor));
        assert_eq!(SocketRoles::default().authority(SOMEBODY, "olga"), None);
    }

    #[test]
    fn root_and_the_user_that_runs_the_gateway_may_do_everything() {
        let own = rustix::process::geteuid().as_raw();
        for user in [0, own] {
            assert_eq!(SocketRoles::default().authority(user, "somebody"), Some(Authority::Admin));
        }
    }

    #[test]
    fn client_is_no_role_of_an_os_user() {
        let roles = SocketRoles::new([("carl".to_owned(), Role::Client)]);
        assert_eq!(roles.authority(SOMEBODY, "carl"), None);
    }
}
