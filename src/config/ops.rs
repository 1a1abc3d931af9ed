//! `ops:`: where the machines that watch over the gateway ask.

use std::net::SocketAddr;

use super::decode::Section;
use super::gateway::address;
use super::scalar;

/// The listener for liveness, readiness and metrics.
#[derive(Debug, Clone)]
pub struct Ops {
    /// Addresses to listen on; empty where there is no such listener.
    pub listen: Vec<SocketAddr>,
}

impl Ops {
    pub(super) fn read(section: &Section<'_, '_>) -> Self {
        let shown = |address: &SocketAddr| scalar::quoted(&address.to_string());
        Self { listen: section.list("listen", Vec::new(), shown, address) }
    }
}
