//! The portal: pages for people, over the operations that everything else uses. It stays up while the kill switch is on.

mod figures;
mod guard;
mod incoming;
mod pages;
mod passwords;
mod second_factor;
mod sessions;
mod sign_in;
mod verification;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use ipnet::IpNet;
use tokio::sync::Semaphore;

use crate::control::{Control, PortalListener, api_over_http};
use crate::domain::client_address;
use crate::token::Throttle;

use figures::Figures;
use incoming::{Incoming, Peer};
use second_factor::Waiting;
use verification::Verification;

/// Failed sign-ins a minute: of one address with one name, of one address, and codes of one user.
const WITH_ONE_NAME: u32 = 5;
const FROM_ONE_ADDRESS: u32 = 20;
const CODES: u32 = 5;

/// So many follow the audit trail at a time, and export it.
const FOLLOWERS: usize = 20;
const EXPORTS: usize = 2;

/// How often sessions that have ended are forgotten.
const HOUSEKEEPING: Duration = Duration::from_mins(1);

/// What the configuration says about the portal.
#[derive(Debug, Clone)]
pub struct PortalRules {
    /// A session that is not used for so long ends.
    pub idle: Duration,
    /// A session ends after so long in any case.
    pub absolute: Duration,
    /// The proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether its listeners speak TLS.
    pub tls: bool,
    /// What clients over TLS are told of using TLS only.
    pub hsts: Option<HeaderValue>,
}

/// What the pages work on.
#[derive(Debug)]
pub struct Portal {
    control: Arc<Control>,
    rules: PortalRules,
    by_name: Throttle,
    by_address: Throttle,
    by_code: Throttle,
    waiting: Waiting,
    figures: Figures,
    verification: Verification,
    /// Turns of those who follow the audit trail, and of exports.
    followers: Arc<Semaphore>,
    exports: Arc<Semaphore>,
}

impl Portal {
    /// A portal to these operations.
    #[must_use]
    pub fn new(control: Arc<Control>, rules: PortalRules) -> Self {
        Self {
            control,
            rules,
            by_name: Throttle::new(WITH_ONE_NAME),
            by_address: Throttle::new(FROM_ONE_ADDRESS),
            by_code: Throttle::new(CODES),
            waiting: Waiting::default(),
            figures: Figures::default(),
            verification: Verification::default(),
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
            exports: Arc::new(Semaphore::new(EXPORTS)),
        }
    }

    /// Serves pages, and the admin API under `/v1/`, until dropped.
    ///
    /// # Errors
    /// When the socket breaks.
    pub async fn serve(self: Arc<Self>, listener: PortalListener) -> io::Result<()> {
        // SECURITY: a session opens pages only; the API asks for an operator key.
        let routes = pages::routes(Arc::clone(&self)).merge(api_over_http(&self.control));
        let routes = routes.layer(from_fn_with_state(Arc::clone(&self), behind_proxies));
        let service = routes.into_make_service_with_connect_info::<Peer>();
        let tls = listener.tls();
        let incoming = Incoming::new(listener.into_tokio()?, tls)?;
        let forgetting = async {
            loop {
                tokio::time::sleep(HOUSEKEEPING).await;
                let portal = Arc::clone(&self);
                let _ = tokio::task::spawn_blocking(move || portal.forget_ended()).await;
            }
        };
        tokio::select! {
            served = async { axum::serve(incoming, service).await } => served,
            () = forgetting => Ok(()),
        }
    }
}

/// Whoever stands behind a trusted proxy is who is meant from here on.
async fn behind_proxies(State(portal): State<Arc<Portal>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|ConnectInfo(Peer(peer))| *peer);
    if let Some(peer) = peer {
        let forwarded = request.headers().get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let client = client_address(peer.ip().to_canonical(), forwarded, &portal.rules.trusted_proxies);
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(client, peer.port())));
    }
    let mut response = next.run(request).await;
    if let Some(hsts) = &portal.rules.hsts {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    response
}
