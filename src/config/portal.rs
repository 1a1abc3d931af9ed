//! `portal:`: where people and programs administer the gateway over HTTP.

use std::net::SocketAddr;

use super::decode::{Section, Wrong};
use super::gateway::address;
use super::scalar;
use super::tree::Node;

/// The listener for the admin API with operator keys.
#[derive(Debug, Clone)]
pub struct Portal {
    /// Addresses to listen on; empty where there is no such listener.
    pub listen: Vec<SocketAddr>,
}

impl Portal {
    pub(super) fn read(section: &Section<'_, '_>) -> Self {
        let shown = |address: &SocketAddr| scalar::quoted(&address.to_string());
        Self { listen: section.list("listen", Vec::new(), shown, on_loopback) }
    }
}

/// SECURITY: keys travel on this listener and it has no TLS of its own, so only this machine may reach it.
fn on_loopback(node: &Node) -> Result<SocketAddr, Wrong> {
    let found = address(node)?;
    if found.ip().is_loopback() {
        return Ok(found);
    }
    let help =
        "operator keys would travel in the clear: listen on 127.0.0.1 or [::1] and put a proxy with TLS in front";
    Err(Wrong::new("is not an address of this machine alone").with_help(help))
}
