//! `gateway:`: where clients reach us, and the limits they meet.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};
use ipnet::IpNet;

use super::decode::{Choice, Section, Wrong};
use super::scalar;
use super::tls::ListenTls;
use super::tree::Node;
use crate::domain;

/// Where clients reach us, and what they meet first.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Addresses to listen on. Never empty.
    pub listen: Vec<SocketAddr>,
    /// Addresses to listen on without TLS, wherever they are.
    pub plain_listen: Vec<SocketAddr>,
    /// TLS on `listen`.
    pub tls: Option<ListenTls>,
    /// How clients call us from outside; `None` where the Host of a request decides.
    pub public_url: Option<PublicUrl>,
    /// The path of the token endpoint.
    pub token_path: String,
    /// Whether a relay must carry the x-api-key besides the token.
    pub api_key_on_relay: ApiKeyOnRelay,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Networks whose connections begin with a PROXY header.
    pub proxy_protocol: Vec<IpNet>,
    /// Which changes cut relays in progress.
    pub cut_in_flight: Vec<CutBy>,
    /// How much may be asked for.
    pub rate_limits: RateLimits,
    /// Limits on what one client can take up.
    pub limits: Limits,
}

/// How much may be asked for, where nothing else is said of an account or a credential set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimits {
    /// By all sets of one account together.
    pub account: Option<domain::Limits>,
    /// By one credential set.
    pub credential: Option<domain::Limits>,
    /// From one address; an IPv6 network of 64 bits counts as one.
    pub address: Option<domain::Limits>,
}

/// A change that may cut the relays in progress that it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutBy {
    /// A kill switch is engaged.
    Kill,
    /// An account is suspended.
    Suspend,
    /// A credential set or a token is revoked.
    Revoke,
    /// A credential set is disabled.
    Disable,
    /// A grant is taken back.
    Grant,
    /// A policy's file is gone.
    Policy,
}

impl Choice for CutBy {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("kill", Self::Kill),
        ("suspend", Self::Suspend),
        ("revoke", Self::Revoke),
        ("disable", Self::Disable),
        ("grant", Self::Grant),
        ("policy", Self::Policy),
    ];
}

/// Whether a relay must carry the x-api-key besides the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiKeyOnRelay {
    /// It may be left out; if sent, it must match.
    Optional,
    /// It must be sent and match.
    Required,
}

impl Choice for ApiKeyOnRelay {
    const WORDS: &'static [(&'static str, Self)] = &[("optional", Self::Optional), ("required", Self::Required)];
}

/// Scheme and authority under which clients know us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and, where it is not the scheme's own, port.
    pub authority: Authority,
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.scheme, self.authority)
    }
}

/// Limits on what one client can take up.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest request line, in bytes.
    pub request_line: u64,
    /// Most header fields of a request.
    pub header_count: u32,
    /// All header fields of a request together, in bytes.
    pub header_bytes: u64,
    /// From the first byte of a request to the end of its headers.
    pub header_timeout: Duration,
    /// Between two reads of a request's body.
    pub body_read_timeout: Duration,
    /// The body of a request must come at least this fast, in bytes per second; `None` is any speed.
    pub minimum_receive_rate: Option<u64>,
    /// For one write to a client to be taken.
    pub write_timeout: Duration,
    /// A client must take an answer at least this fast, in bytes per second; `None` is any speed.
    pub minimum_send_rate: Option<u64>,
    /// An idle connection is kept this long.
    pub keep_alive: Duration,
    /// A connection takes requests this long.
    pub connection_lifetime: Duration,
    /// A connection serves this many requests.
    pub requests_per_connection: u32,
    /// Requests at once on one connection of HTTP/2; 0 where it is not offered.
    pub http2_streams: u32,
    /// Open connections of all clients together.
    pub connections: u32,
    /// Open connections of one address, of an IPv6 network of 64 bits together; `None` is unlimited.
    pub connections_per_address: Option<u32>,
    /// Largest request body, in bytes; `None` is unlimited.
    pub request_body: Option<u64>,
    /// Requests in progress of all clients together.
    pub requests_at_once: u32,
}

impl Gateway {
    pub(super) fn read(section: &Section<'_, '_>) -> Self {
        let tls = section.optional_section("tls", ListenTls::read_for_clients);
        let networks = |name| section.list(name, Vec::new(), |net: &IpNet| scalar::quoted(&net.to_string()), network);
        Self {
            listen: read_listen(section, tls.is_some()),
            plain_listen: section.list("plain_listen", Vec::new(), shown, address),
            tls,
            public_url: section.optional("public_url", PublicUrl::to_string, public_url),
            token_path: section.value("token_path", "/oauth/token".to_owned(), String::clone, own_path),
            api_key_on_relay: section.choice("api_key_on_relay", ApiKeyOnRelay::Optional),
            trusted_proxies: networks("trusted_proxies"),
            proxy_protocol: networks("proxy_protocol"),
            cut_in_flight: section.choices("cut_in_flight", vec![CutBy::Kill, CutBy::Suspend, CutBy::Revoke]),
            rate_limits: section.section("rate_limits", RateLimits::read),
            limits: section.section("limits", Limits::read),
        }
    }
}

impl RateLimits {
    /// What holds for an account that says this itself.
    #[must_use]
    pub fn of_account(&self, own: Option<domain::Limits>) -> Option<domain::Limits> {
        own.or(self.account)
    }

    /// What holds for a credential set that says this itself.
    #[must_use]
    pub fn of_credential(&self, own: Option<domain::Limits>) -> Option<domain::Limits> {
        own.or(self.credential)
    }

    fn read(section: &Section<'_, '_>) -> Self {
        Self {
            account: section.optional_section("account", one_limit).flatten(),
            credential: section.optional_section("set", one_limit).flatten(),
            address: section.optional_section("address", one_limit).flatten(),
        }
    }
}

/// Written as in a policy.
fn one_limit(section: &Section<'_, '_>) -> Option<domain::Limits> {
    let second = Duration::from_secs(1);
    let whole = |most: u32| {
        move |node: &Node| {
            let number = scalar::whole(node)?;
            let fits = u32::try_from(number).ok().filter(|number| (1..=most).contains(number));
            fits.ok_or_else(|| Wrong::new(format!("is not 1 to {most}")))
        }
    };
    let requests = section.optional("requests", u32::to_string, whole(1_000_000));
    let bytes = section.optional(
        "bytes",
        |size| scalar::show_size(*size),
        |node| {
            scalar::size(node).and_then(|size| if size == 0 { Err(Wrong::new("is not at least 1B")) } else { Ok(size) })
        },
    );
    let per = section.optional(
        "per",
        |per| scalar::show_duration(*per),
        |node| {
            let per = scalar::duration(node)?;
            let fits = (second..=second * 86_400).contains(&per) && per.subsec_nanos() == 0;
            if fits { Ok(per) } else { Err(Wrong::new("is not 1s to 24h in whole seconds")) }
        },
    );
    let concurrent = section.optional("concurrent", u32::to_string, whole(100_000));
    if per.is_some() != (requests.is_some() || bytes.is_some()) || (per.is_none() && concurrent.is_none()) {
        let help = "write for example { requests: 600, per: 1m, concurrent: 20 }";
        section.wrong("per", Wrong::new("needs `per` with `requests` or `bytes`, or `concurrent`").with_help(help));
        return None;
    }
    Some(domain::Limits::new(requests.zip(per), concurrent, bytes.zip(per)))
}

impl Limits {
    fn read(section: &Section<'_, '_>) -> Self {
        let seconds = Duration::from_secs;
        let timeouts = seconds(1)..=seconds(300);
        let some = |size: u64| Some(size).filter(|size| *size > 0);
        Self {
            request_line: section.size("request_line", 8 << 10, 256..=64 << 10),
            header_count: section.whole("header_count", 64, 8..=256),
            header_bytes: section.size("header_bytes", 32 << 10, 1 << 10..=1 << 20),
            header_timeout: section.duration("header_timeout", seconds(10), timeouts.clone()),
            body_read_timeout: section.duration("body_read_timeout", seconds(15), timeouts.clone()),
            minimum_receive_rate: some(section.size("minimum_receive_rate", 500, 0..=1 << 20)),
            write_timeout: section.duration("write_timeout", seconds(15), timeouts),
            minimum_send_rate: some(section.size("minimum_send_rate", 500, 0..=1 << 20)),
            keep_alive: section.duration("keep_alive", seconds(60), seconds(1)..=seconds(3600)),
            connection_lifetime: section.duration("connection_lifetime", seconds(3600), seconds(1)..=seconds(86_400)),
            requests_per_connection: section.whole("requests_per_connection", 1000, 1..=1_000_000),
            http2_streams: section.whole("http2_streams", 100, 0..=10_000),
            connections: section.whole("connections", 10_000, 1..=1_000_000),
            connections_per_address: Some(section.whole("connections_per_address", 1000, 0..=1_000_000))
                .filter(|most| *most > 0),
            request_body: some(section.size("request_body", 256 << 20, 0..=1 << 40)),
            requests_at_once: section.whole("requests_at_once", 4096, 1..=1_000_000),
        }
    }
}

fn shown(address: &SocketAddr) -> String {
    scalar::quoted(&address.to_string())
}

/// SECURITY: tokens and secrets travel here, so without TLS only this machine may reach it, but where that is asked for.
fn read_listen(section: &Section<'_, '_>, tls: bool) -> Vec<SocketAddr> {
    let default = vec![SocketAddr::from(([127, 0, 0, 1], 8080))];
    let listen = section.list("listen", default, shown, |node| {
        let found = address(node)?;
        if tls || is_this_machine(found.ip()) {
            return Ok(found);
        }
        let help = "secrets would travel in the clear: say `gateway.tls`, or name it in `gateway.plain_listen` where a proxy \
            with TLS is in front";
        Err(Wrong::new("is not an address of this machine alone, and there is no TLS").with_help(help))
    });
    if listen.is_empty() && !section.has_items("listen") {
        section.wrong("listen", Wrong::new("names no address to listen on"));
    }
    listen
}

/// Nobody else reaches it; IPv4 may be written as IPv6.
pub(super) fn is_this_machine(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

pub(super) fn address(node: &Node) -> Result<SocketAddr, Wrong> {
    scalar::text(node)?.parse().map_err(|_| {
        Wrong::new("is not an address with a port").with_help("write for example `127.0.0.1:8080` or `\"[::1]:8080\"`")
    })
}

pub(super) fn network(node: &Node) -> Result<IpNet, Wrong> {
    let text = scalar::text(node)?;
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
        Wrong::new("is not a network").with_help("write for example `10.0.0.0/8`, `192.0.2.7` or `\"2001:db8::/32\"`")
    })?;
    if net.prefix_len() == 0 {
        // SECURITY: with everybody trusted, each client chooses the address that is throttled and audited.
        return Err(Wrong::new("trusts everybody").with_help("name the proxies that stand in front of the gateway"));
    }
    if net.trunc() != net {
        return Err(Wrong::new("has bits set behind its prefix").with_help(format!("did you mean `{}`?", net.trunc())));
    }
    Ok(net)
}

fn public_url(node: &Node) -> Result<PublicUrl, Wrong> {
    let wrong =
        || Wrong::new("is not a URL of scheme and host").with_help("write for example `https://erp.example.com`");
    let uri = scalar::text(node)?.parse::<Uri>().map_err(|_| wrong())?;
    let parts = uri.into_parts();
    let path = parts.path_and_query.map_or(String::new(), |path| path.to_string());
    let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else { return Err(wrong()) };
    let known = scheme == Scheme::HTTP || scheme == Scheme::HTTPS;
    if !known || authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(wrong());
    }
    if !matches!(path.as_str(), "" | "/") {
        return Err(Wrong::new("has a path or query").with_help("clients reach the gateway at the root of its host"));
    }
    Ok(PublicUrl { scheme, authority })
}

/// A path of our own: plain segments, nothing that two servers could read differently.
fn own_path(node: &Node) -> Result<String, Wrong> {
    let text = scalar::text(node)?;
    let plain = |segment: &str| {
        !segment.is_empty()
            && !segment.starts_with('.')
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    match text.strip_prefix('/') {
        Some(segments) if segments.split('/').all(plain) => Ok(text.to_owned()),
        Some(_) | None => Err(Wrong::new("is not a plain path").with_help("write for example `/oauth/token`")),
    }
}
