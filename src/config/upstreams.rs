//! `upstreams:`: the ERPs behind the gateway.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use http::HeaderName;
use http::uri::Authority;

use super::decode::{Section, Wrong};
use super::keeping::header_name;
use super::recipe;
use super::scalar;
use super::tree::Node;
use super::upstream::{Upstream, UpstreamTimeouts, UpstreamTls};
use crate::domain::UpstreamName;

/// Finds the addresses of a host.
pub(super) type Resolve = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Asks the system, which may ask the network.
pub(super) fn resolve_by_system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

pub(super) fn read_all(section: &Section<'_, '_>, resolve: Resolve) -> BTreeMap<UpstreamName, Upstream> {
    let mut upstreams = BTreeMap::new();
    let names: Vec<&str> = section.ask_all().iter().map(|entry| entry.key.as_str()).collect();
    for entry in section.ask_all() {
        let name = entry.key.parse::<UpstreamName>();
        let upstream = section.section_of(entry, |upstream| read(upstream, name.as_ref().ok(), &names, resolve));
        match (name, upstream) {
            (Ok(name), Some(upstream)) => {
                upstreams.entry(name).or_insert(upstream);
            }
            (Ok(_), None) => {}
            (Err(_), _) => {
                let wrong = Wrong::new("is not the name of an upstream")
                    .with_help("use 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit");
                section.wrong_at(&entry.key, entry.place, wrong);
            }
        }
    }
    upstreams
}

fn read(
    section: &Section<'_, '_>,
    name: Option<&UpstreamName>,
    upstreams: &[&str],
    resolve: Resolve,
) -> Option<Upstream> {
    let link_local = if section.switch("allow_link_local", false) { LinkLocal::Allowed } else { LinkLocal::Refused };
    let peers = section.list("peers", Vec::new(), Peer::show, |node| Peer::read(node, resolve, link_local));
    // What was written and is wrong has been reported by now.
    if peers.is_empty() && !section.has_items("peers") {
        section.wrong("peers", Wrong::new("names no address").with_help("write for example `[erp.internal:8069]`"));
    }
    for name in ["username", "password", "api_key", "secret", "token"] {
        section
            .refuse(name, "secrets are kept encrypted in the database: set them with `erp-access upstream secret set`");
    }
    let first_host = peers.first().map_or_else(String::new, |peer| peer.written.clone());
    let tls = section.optional_section("tls", read_tls);
    let host = section.value("host", first_host, String::clone, host);
    let upstream = Upstream {
        name: name?.clone(),
        peers: Vec::new(),
        tls: tls.flatten(),
        host,
        timeouts: section.section("timeouts", read_timeouts),
        forward_headers: section.list("forward_headers", Vec::new(), ToString::to_string, forwardable),
        session: section.section("session", |session| recipe::read(session, upstreams)),
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in peers.into_iter().flat_map(|peer| peer.addresses) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Some(Upstream { peers: addresses, ..upstream })
}

fn read_tls(section: &Section<'_, '_>) -> Option<UpstreamTls> {
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
    Some(UpstreamTls { server_name: server_name?, ca_file })
}

fn read_timeouts(section: &Section<'_, '_>) -> UpstreamTimeouts {
    let seconds = Duration::from_secs;
    let range = Duration::from_millis(100)..=seconds(3600);
    UpstreamTimeouts {
        connect: section.duration("connect", seconds(3), range.clone()),
        read: section.duration("read", seconds(30), range.clone()),
        write: section.duration("write", seconds(30), range.clone()),
        idle: section.duration("idle", seconds(30), range.clone()),
        sign_in: section.duration("sign_in", seconds(10), range),
    }
}

/// Headers of a client that never reach an ERP: they carry the client's own secrets, decide what a request is, or
/// claim what only the gateway may say.
const NEVER_FORWARDED: [&str; 26] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "origin",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "forwarded",
    "x-real-ip",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "true-client-ip",
    "cf-connecting-ip",
    "via",
];

fn forwardable(node: &Node) -> Result<HeaderName, Wrong> {
    let name = header_name(node)?;
    if NEVER_FORWARDED.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded-") {
        return Err(Wrong::new("names a header that never passes from a client to an ERP"));
    }
    if name.as_str().contains('_') {
        return Err(Wrong::new("names a header with `_`, which servers confuse with `-`"));
    }
    Ok(name)
}

fn host(node: &Node) -> Result<String, Wrong> {
    let text = scalar::text(node)?;
    let authority = text.parse::<Authority>().ok().filter(|authority| !authority.host().is_empty());
    authority
        .filter(|authority| !authority.as_str().contains('@'))
        .map(|authority| authority.to_string())
        .ok_or_else(|| Wrong::new("is not a host").with_help("write for example `erp.internal` or `erp.internal:8069`"))
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
    addresses: Vec<SocketAddr>,
}

impl Peer {
    fn show(&self) -> String {
        scalar::quoted(&self.written)
    }

    fn read(node: &Node, resolve: Resolve, link_local: LinkLocal) -> Result<Self, Wrong> {
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
        Ok(Self { written: written.to_owned(), addresses })
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
