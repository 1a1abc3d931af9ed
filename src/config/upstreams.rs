//! `upstreams:`: the ERPs behind the gateway.

use std::collections::BTreeMap;
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderName, StatusCode};

use super::decode::{Section, Wrong};
use super::keeping::header_name;
use super::peers::{self, Peers, Resolve};
use super::recipe;
use super::scalar;
use super::tree::{Node, Value};
use super::upstream::{ApplicationError, Connections, HttpVersion, Upstream, UpstreamTimeouts};
use crate::domain::UpstreamName;

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
    let peers = Peers::read(section, resolve);
    for name in ["username", "password", "api_key", "secret", "token"] {
        section
            .refuse(name, "secrets are kept encrypted in the database: set them with `erp-access upstream secret set`");
    }
    let tls = section.optional_section("tls", peers::read_tls);
    let host = section.value("host", peers.first_host.clone(), String::clone, host);
    Some(Upstream {
        name: name?.clone(),
        peers: peers.list,
        balance: section.choice("balance", peers.usual_balance),
        ejection: section.section("ejection", peers::read_ejection),
        health_check: section.optional_section("health_check", peers::read_health_check).flatten(),
        http_version: section.choice("http_version", HttpVersion::One),
        connections: section.choice("connections", Connections::Shared),
        tls: tls.flatten(),
        host,
        timeouts: section.section("timeouts", read_timeouts),
        forward_headers: section.list("forward_headers", Vec::new(), ToString::to_string, forwardable),
        application_error: section.optional_section("application_error", read_application_error).flatten(),
        session: section.section("session", |session| recipe::read(session, upstreams)),
    })
}

fn read_application_error(section: &Section<'_, '_>) -> Option<ApplicationError> {
    let status = section.list(
        "status",
        vec![StatusCode::OK],
        |status| status.as_u16().to_string(),
        |node| {
            let status = u16::try_from(scalar::whole(node)?).ok().and_then(|number| StatusCode::from_u16(number).ok());
            status.ok_or_else(|| Wrong::new("is not a status"))
        },
    );
    Some(ApplicationError { status, body: recipe::read_body_match(section)? })
}

fn read_timeouts(section: &Section<'_, '_>) -> UpstreamTimeouts {
    let seconds = Duration::from_secs;
    let range = Duration::from_millis(100)..=seconds(3600);
    UpstreamTimeouts {
        connect: section.duration("connect", seconds(3), range.clone()),
        read: section.duration("read", seconds(30), range.clone()),
        write: section.duration("write", seconds(30), range.clone()),
        idle: section.duration("idle", seconds(30), range.clone()),
        sign_in: section.duration("sign_in", seconds(10), range.clone()),
        total: section.value(
            "total",
            None,
            |total| total.map_or("unlimited".to_owned(), scalar::show_duration),
            |node| {
                if matches!(&node.value, Value::Text(text) if text == "unlimited") {
                    return Ok(None);
                }
                let total = scalar::duration(node)
                    .map_err(|wrong| wrong.with_help("write for example `2m`, or `unlimited`"))?;
                if range.contains(&total) {
                    Ok(Some(total))
                } else {
                    Err(Wrong::new("is out of range: 100ms to 1h is possible"))
                }
            },
        ),
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
