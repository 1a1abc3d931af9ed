//! A peer as Pingora wants it, built once and cloned for each attempt.

use std::net::SocketAddr;

use pingora_core::upstreams::peer::{ALPN, HttpPeer, HttpUpstreamRequestPolicy};

use super::tls::Identity;
use crate::config::{HttpVersion, Upstream};

/// Requests at once on one HTTP/2 connection, as long as the ERP allows as many.
const STREAMS: usize = 100;

pub(super) fn build(upstream: &Upstream, address: SocketAddr, group: u64, identity: &Identity) -> HttpPeer {
    let server_name = upstream.tls.as_ref().map(|tls| tls.server_name.clone());
    #[expect(clippy::disallowed_methods, reason = "a socket address resolves to itself, without asking anybody")]
    let mut peer = HttpPeer::new(address, server_name.is_some(), server_name.unwrap_or_default());
    // Pooled connections are told apart by address, name and this, but not by the authority that vouched for them.
    peer.group_key = group;
    peer.client_cert_key.clone_from(&identity.client);
    let options = &mut peer.options;
    options.ca.clone_from(&identity.authority);
    // SECURITY: these two are Pingora's defaults; they are stated because a change there must not reach us.
    options.verify_cert = true;
    options.verify_hostname = true;
    options.alpn = match upstream.http_version {
        HttpVersion::Two => ALPN::H2,
        HttpVersion::One => ALPN::H1,
    };
    options.max_h2_streams = STREAMS;
    options.connection_timeout = Some(upstream.timeouts.connect);
    options.total_connection_timeout = Some(upstream.timeouts.connect);
    options.read_timeout = Some(upstream.timeouts.read);
    options.write_timeout = Some(upstream.timeouts.write);
    options.idle_timeout = Some(upstream.timeouts.idle);
    // SECURITY: an upgraded connection is a tunnel past every check.
    options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
    peer
}

/// Shortens every wait to what is left of the time for the whole exchange.
pub(super) fn hurry(peer: &mut HttpPeer, left: std::time::Duration) {
    let options = &mut peer.options;
    for limit in [
        &mut options.connection_timeout,
        &mut options.total_connection_timeout,
        &mut options.read_timeout,
        &mut options.write_timeout,
    ] {
        *limit = Some(limit.map_or(left, |limit| limit.min(left)));
    }
}
