//! What the gateway listens on, with the certificates that are shown there.

use std::sync::Arc;

use super::StartError;
use super::settings::certificate_files;
use crate::config::{Config, ListenTls};
use crate::control::{ListenError, OpsListener, PortalListener, Served};
use crate::proxy::{BindError, BoundListener};
use crate::service_manager::Inherited;
use crate::tls::{Certificates, Offer, Protocols};

/// The certificates of each listener.
#[derive(Debug, Default)]
pub(super) struct Shown {
    gateway: Option<Arc<Certificates>>,
    portal: Option<Arc<Certificates>>,
}

impl Shown {
    /// Reads them all, and says all that is wrong.
    pub(super) fn read(config: &Config) -> Result<Self, StartError> {
        let mut wrong = Vec::new();
        let mut read = |setting: &str, tls: Option<&ListenTls>, protocols| {
            let tls = tls?;
            let offer = Offer { protocols, client_authorities: tls.client_authorities.clone() };
            let loaded = Certificates::load(certificate_files(tls), offer);
            let errors = loaded.as_ref().err().into_iter().flatten();
            wrong.extend(errors.map(|error| format!("`{setting}.certificates`: {error}")));
            loaded.ok().map(Arc::new)
        };
        let to_clients = if config.gateway.limits.http2_streams > 0 { Protocols::Http2 } else { Protocols::Http1 };
        let gateway = read("gateway.tls", config.gateway.tls.as_ref(), to_clients);
        let portal = read("portal.tls", config.portal.tls.as_ref(), Protocols::Http1);
        if wrong.is_empty() { Ok(Self { gateway, portal }) } else { Err(StartError::Certificates(wrong.join("\n"))) }
    }

    /// For those who renew them and look after them.
    pub(super) fn served(&self) -> Arc<[Served]> {
        let pairs = [("gateway.tls", &self.gateway), ("portal.tls", &self.portal)];
        let served = pairs.into_iter().filter_map(|(setting, certificates)| {
            Some(Served { setting, certificates: Arc::clone(certificates.as_ref()?) })
        });
        served.collect()
    }

    pub(super) fn gateway(&self, config: &Config, given: &mut Inherited) -> Result<Vec<BoundListener>, BindError> {
        let mut listeners = Vec::new();
        for address in &config.gateway.listen {
            listeners.push(BoundListener::bind(*address, given)?.with_tls(self.gateway.clone()));
        }
        for address in &config.gateway.plain_listen {
            listeners.push(BoundListener::bind(*address, given)?);
        }
        Ok(listeners)
    }

    pub(super) fn portal(&self, config: &Config, given: &mut Inherited) -> Result<Vec<PortalListener>, ListenError> {
        let listeners = config.portal.listen.iter();
        listeners.map(|address| Ok(PortalListener::bind(*address, given)?.with_tls(self.portal.clone()))).collect()
    }
}

pub(super) fn ops(config: &Config, given: &mut Inherited) -> Result<Vec<OpsListener>, ListenError> {
    config.ops.listen.iter().map(|address| OpsListener::bind(*address, given)).collect()
}
