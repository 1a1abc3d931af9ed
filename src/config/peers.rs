//! Where an ERP listens, and how its addresses share the work.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use http::StatusCode;
use http::uri::Authority;

use super::decode::{Choice, Section, Wrong};
use super::recipe::path;
use super::scalar;
use super::tree::{Node, Value};
use super::upstream::{Balance, Connections, Ejection, HealthCheck, HttpVersion, UpstreamPeer, UpstreamTls};

/// Finds the addresses of a host.
pub(super) type Resolve = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Asks the system, which may ask the network.
pub(super) fn resolve_by_system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

impl Choice for Balance {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("round_robin", Self::RoundRobin),
        ("least_connections", Self::LeastConnections),
        ("in_order", Self::InOrder),
    ];
}

impl Choice for Connections {
    const WORDS: &'static [(&'static str, Self)] = &[("shared", Self::Shared), ("per_session", Self::PerSession)];
}

impl Choice for HttpVersion {
    const WORDS: &'static [(&'static str, Self)] = &[("http1", Self::One), ("http2", Self::Two)];
}

/// The addresses of an upstream.
pub(super) struct Peers {
    pub(super) list: Vec<UpstreamPeer>,
    /// The first one as written.
    pub(super) first_host: String,
    /// How they share the work where nobody says so.
    pub(super) usual_balance: Balance,
}

impl Peers {
    pub(super) fn read(section: &Section<'_, '_>, resolve: Resolve) -> Self {
        let allowed = section.switch("allow_link_local", false);
        let link_local = if allowed { LinkLocal::Allowed } else { LinkLocal::Refused };
        let read = |node: &Node| Peer::read(section, node, resolve, link_local);
        let written = section.list("peers", Vec::new(), Peer::show, read);
        // What was written and is wrong has been reported by now.
        if written.is_empty() && !section.has_items("peers") {
            section.wrong("peers", Wrong::new("names no address").with_help("write for example `[erp.internal:8069]`"));
        }
        let first_host = written.first().map_or_else(String::new, |peer| peer.written.clone());
        // A name may have several addresses of one machine, where taking turns would only find the dead one.
        let usual_balance = if written.len() > 1 { Balance::RoundRobin } else { Balance::InOrder };
        let mut peers: Vec<UpstreamPeer> = Vec::new();
        for Peer { weight, addresses, .. } in written {
            for address in addresses {
                if !peers.iter().any(|known| known.address == address) {
                    peers.push(UpstreamPeer { address, weight });
                }
            }
        }
        Self { list: peers, first_host, usual_balance }
    }
}

pub(super) fn read_ejection(section: &Section<'_, '_>) -> Ejection {
    Ejection {
        failures: section.value("failures", 5, u32::to_string, |node| {
            let number = scalar::whole(node)?;
            u32::try_from(number)
                .ok()
                .filter(|number| *number <= 1000)
                .ok_or_else(|| Wrong::new("is out of range: 0 to 1000 is possible"))
        }),
        pause: section.duration("pause", Duration::from_secs(10), Duration::from_millis(100)..=Duration::from_hours(1)),
    }
}

pub(super) fn read_health_check(section: &Section<'_, '_>) -> Option<HealthCheck> {
    let path = section.required("path", String::clone, path);
    let short = Duration::from_millis(100)..=Duration::from_hours(1);
    let check = HealthCheck {
        path: path.unwrap_or_default(),
        every: section.duration("every", Duration::from_secs(5), short.clone()),
        timeout: section.duration("timeout", Duration::from_secs(2), short),
        healthy: section.whole("healthy", 2, 1..=100),
        unhealthy: section.whole("unhealthy", 3, 1..=100),
        status: section.list(
            "status",
            vec![StatusCode::OK],
            |status| status.as_u16().to_string(),
            |node| {
                let status =
                    u16::try_from(scalar::whole(node)?).ok().and_then(|number| StatusCode::from_u16(number).ok());
                status.ok_or_else(|| Wrong::new("is not a status"))
            },
        ),
    };
    if check.status.is_empty() && !section.has_items("status") {
        section.wrong("status", Wrong::new("names no status"));
    }
    (!check.path.is_empty()).then_some(check)
}

pub(super) fn read_tls(section: &Section<'_, '_>) -> Option<UpstreamTls> {
    let server_name = section.required("server_name", String::clone, |node| {
        let text = scalar::text(node)?;
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        // SECURITY: Pingora verifies no certificate when the name is empty.
        if plain { Ok(text.to_owned()) } else { Err(Wrong::new("is not the name of a server")) }
    });
    let ca_file = section.optional(
        "ca_file",
        |path: &std::path::PathBuf| path.display().to_string(),
        |node| Ok(section.in_folder(scalar::text(node)?)),
    );
    let client_certificate = section.optional_section("client_certificate", |section| {
        let file = |name: &str| {
            section.required(
                name,
                |path: &std::path::PathBuf| path.display().to_string(),
                |node| Ok(section.in_folder(scalar::text(node)?)),
            )
        };
        // Both are asked for before one is missed.
        let (certificate, key) = (file("certificate_file"), file("key_file"));
        Some((certificate?, key?))
    });
    Some(UpstreamTls { server_name: server_name?, ca_file, client_certificate: client_certificate.flatten() })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkLocal {
    Refused,
    Allowed,
}

/// A peer as written and where it is.
#[derive(Debug, PartialEq)]
struct Peer {
    written: String,
    weight: u32,
    addresses: Vec<SocketAddr>,
}

impl Peer {
    fn show(&self) -> String {
        let address = scalar::quoted(&self.written);
        if self.weight == 1 { address } else { format!("{{ address: {address}, weight: {} }}", self.weight) }
    }

    fn read(section: &Section<'_, '_>, node: &Node, resolve: Resolve, link_local: LinkLocal) -> Result<Self, Wrong> {
        if !matches!(node.value, Value::Map(_)) {
            return Self::at(node, 1, resolve, link_local);
        }
        section.section_at_item("peers", node, |peer| {
            let weight = peer.whole("weight", 1, 1..=100);
            let address = peer.ask("address").ok_or_else(|| {
                Wrong::new("has no `address`")
                    .with_help("write for example `{ address: \"erp.internal:8069\", weight: 2 }`")
            })?;
            Self::at(&address.node, weight, resolve, link_local)
        })
    }

    fn at(node: &Node, weight: u32, resolve: Resolve, link_local: LinkLocal) -> Result<Self, Wrong> {
        let wrong = || Wrong::new("is not a host with a port").with_help("write for example `erp.internal:8069`");
        let written = scalar::text(node)?;
        let authority = written.parse::<Authority>().map_err(|_| wrong())?;
        if authority.as_str().contains('@') {
            return Err(wrong());
        }
        let port = authority.port_u16().filter(|port| *port != 0).ok_or_else(wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let addresses = resolve(host, port).map_err(|_| {
            Wrong::new("cannot be resolved").with_help("is the name right, and does this machine know it?")
        })?;
        if addresses.is_empty() {
            return Err(Wrong::new("resolves to no address"));
        }
        for address in &addresses {
            refuse_special(address.ip(), link_local)?;
        }
        Ok(Self { written: written.to_owned(), weight, addresses })
    }
}

/// The instance metadata service of Amazon over IPv6.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

// SECURITY: behind link-local addresses stand the metadata services of clouds, which hand out credentials to whoever asks.
fn refuse_special(address: IpAddr, link_local: LinkLocal) -> Result<(), Wrong> {
    let near = match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address == METADATA_V6,
    };
    let nobody = match address.to_canonical() {
        IpAddr::V4(address) => address.is_unspecified() || address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unspecified() || address.is_multicast(),
    };
    match link_local {
        LinkLocal::Refused if near => Err(Wrong::new(format!("is at {address}, a link-local or metadata address"))
            .with_help("set `allow_link_local: true` if the ERP really is there")),
        LinkLocal::Refused | LinkLocal::Allowed if nobody => Err(Wrong::new("is no address of a single machine")),
        LinkLocal::Refused | LinkLocal::Allowed => Ok(()),
    }
}
