//! Asks peers whether they are well, beside the requests.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header;
use pingora::http::RequestHeader;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use pingora_core::{Error, ErrorType, Result};
use pingora_load_balancing::discovery::Static;
use pingora_load_balancing::health_check::{HealthCheck as Check, HttpHealthCheck};
use pingora_load_balancing::{Backend, Backends};
use tokio::task::JoinSet;

use super::Peers;
use super::pool::{Checked, Pool};
use crate::config::HealthCheck;
use crate::domain::UpstreamName;

/// The health checks of all upstreams that have any.
pub(in crate::proxy) struct HealthChecks {
    peers: Arc<HashMap<UpstreamName, Peers>>,
    options: ConnectorOptions,
}

impl HealthChecks {
    /// `None` where no upstream is checked.
    pub(in crate::proxy) fn of(peers: &Arc<HashMap<UpstreamName, Peers>>, options: ConnectorOptions) -> Option<Self> {
        let any = peers.values().any(|peers| peers.health_check.is_some());
        any.then(|| Self { peers: Arc::clone(peers), options })
    }
}

#[async_trait]
impl BackgroundService for HealthChecks {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut rounds = JoinSet::new();
        for (name, peers) in &*self.peers {
            let Some(rules) = &peers.health_check else { continue };
            match backends(name, peers, rules, &self.options).await {
                Ok(backends) => drop(rounds.spawn(ask_on_and_on(backends, rules.every))),
                Err(error) => {
                    log::error!("upstream `{name}`: its peers are not checked: {}", error.etype().as_str());
                }
            }
        }
        // Dropped at the end, the set ends the rounds.
        let _ = shutdown.changed().await;
    }
}

async fn ask_on_and_on(backends: Backends, every: Duration) {
    loop {
        backends.run_health_check(true).await;
        tokio::time::sleep(every).await;
    }
}

async fn backends(
    name: &UpstreamName,
    peers: &Peers,
    rules: &HealthCheck,
    options: &ConnectorOptions,
) -> Result<Backends> {
    let checks: HashMap<SocketAddr, HttpHealthCheck> = peers
        .templates
        .iter()
        .map(|(address, template)| {
            let mut check = HttpHealthCheck::new("", false);
            check.req = request(&peers.host, rules)?;
            check.peer_template = template.clone();
            super::template::hurry(&mut check.peer_template, rules.timeout);
            let good = rules.status.clone();
            check.validator = Some(Box::new(move |answer| {
                let status = answer.status;
                good.contains(&status).then_some(()).ok_or_else(|| Error::new(ErrorType::HTTPStatus(status.as_u16())))
            }));
            check.set_connector(Connector::new(Some(options.clone())));
            Ok((*address, check))
        })
        .collect::<Result<_>>()?;
    let members = checks.keys().map(|address| Backend::new(&address.to_string())).collect::<Result<BTreeSet<_>>>()?;
    let mut backends = Backends::new(Static::new(members));
    let check = PeerCheck { upstream: name.clone(), checks, rules: rules.clone(), pool: Arc::clone(&peers.pool) };
    backends.set_health_check(Box::new(check));
    backends.update(|_| {}).await?;
    Ok(backends)
}

/// The question. SECURITY: it holds nothing of a session: whoever answers at the address may read it.
fn request(host: &str, rules: &HealthCheck) -> Result<RequestHeader> {
    let mut request = RequestHeader::build(http::Method::GET, rules.path.as_bytes(), Some(2))?;
    request.insert_header(header::HOST, host)?;
    request.insert_header(header::USER_AGENT, "erp-access-health-check")?;
    Ok(request)
}

/// Checks a peer with a limit on the whole check, and tells the pool what came of it.
struct PeerCheck {
    upstream: UpstreamName,
    checks: HashMap<SocketAddr, HttpHealthCheck>,
    rules: HealthCheck,
    pool: Arc<Pool>,
}

#[async_trait]
impl Check for PeerCheck {
    async fn check(&self, target: &Backend) -> Result<()> {
        let check = target.addr.as_inet().and_then(|address| self.checks.get(address));
        let check = check.ok_or_else(|| Error::new(ErrorType::InternalError))?;
        match tokio::time::timeout(self.rules.timeout, check.check(target)).await {
            Ok(checked) => checked.map_err(|error| Error::new(error.etype().clone())),
            Err(_) => Err(Error::new(ErrorType::ReadTimedout)),
        }
    }

    async fn health_status_change(&self, target: &Backend, healthy: bool) {
        if let Some(address) = target.addr.as_inet() {
            self.pool.checked(*address, if healthy { Checked::Well } else { Checked::Unwell });
        }
    }

    fn backend_summary(&self, target: &Backend) -> String {
        format!("upstream `{}`: peer {}", self.upstream, target.addr)
    }

    fn health_threshold(&self, success: bool) -> usize {
        let threshold = if success { self.rules.healthy } else { self.rules.unhealthy };
        usize::try_from(threshold).unwrap_or(usize::MAX)
    }
}
