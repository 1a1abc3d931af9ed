//! `portal:`: where people and programs administer the gateway over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::decode::{Section, Wrong};
use super::gateway::{address, is_this_machine, network};
use super::scalar;
use super::tls::ListenTls;
use super::tree::Node;

/// The listener for the pages, and for the admin API with operator keys.
#[derive(Debug, Clone)]
pub struct Portal {
    /// Addresses to listen on; empty where there is no such listener.
    pub listen: Vec<SocketAddr>,
    /// TLS on them.
    pub tls: Option<ListenTls>,
    /// The proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// A session that is not used for so long ends.
    pub idle: Duration,
    /// A session ends after so long in any case.
    pub absolute: Duration,
}

impl Portal {
    pub(super) fn read(section: &Section<'_, '_>) -> Self {
        let shown = |address: &SocketAddr| scalar::quoted(&address.to_string());
        let (minute, hour) = (Duration::from_mins(1), Duration::from_hours(1));
        let tls = section.optional_section("tls", ListenTls::read);
        let safe = tls.is_some();
        Self {
            listen: section.list(
                "listen",
                Vec::new(),
                shown,
                |node| if safe { address(node) } else { on_loopback(node) },
            ),
            tls,
            trusted_proxies: section.list(
                "trusted_proxies",
                Vec::new(),
                |net: &IpNet| scalar::quoted(&net.to_string()),
                network,
            ),
            idle: section.duration("idle", 30 * minute, 5 * minute..=24 * hour),
            absolute: section.duration("absolute", 12 * hour, 5 * minute..=7 * 24 * hour),
        }
    }
}

/// SECURITY: keys and passwords travel on this listener, so without TLS only this machine may reach it.
fn on_loopback(node: &Node) -> Result<SocketAddr, Wrong> {
    let found = address(node)?;
    if is_this_machine(found.ip()) {
        return Ok(found);
    }
    let help = "operator keys would travel in the clear: say `portal.tls`, or listen on 127.0.0.1 or [::1] behind a proxy with TLS";
    Err(Wrong::new("is not an address of this machine alone").with_help(help))
}
