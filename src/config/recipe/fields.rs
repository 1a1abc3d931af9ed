//! Names, pointers, statuses, headers and cookies as recipes write them.

use std::ops::RangeInclusive;

use http::{HeaderName, Method, StatusCode};

use super::super::decode::{Section, Wrong};
use super::super::scalar;
use super::super::template;
use super::super::texts::Place;
use super::super::tree::{Entry, Node};
use super::read::Written;
use super::{InjectedCookie, InjectedHeader, Template};

/// Headers whose values are the connection's own business.
const NEVER_SET: [&str; 12] = [
    "cookie",
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
    "content-type",
];

pub(super) fn method(node: &Node) -> Result<Method, Wrong> {
    match scalar::text(node)? {
        "GET" => Ok(Method::GET),
        "POST" => Ok(Method::POST),
        "PUT" => Ok(Method::PUT),
        "DELETE" => Ok(Method::DELETE),
        _ => Err(Wrong::new("is none of `GET`, `POST`, `PUT`, `DELETE`")),
    }
}

pub(in super::super) fn path(node: &Node) -> Result<String, Wrong> {
    let text = scalar::text(node)?;
    if text.contains("{{") {
        // SECURITY: paths and queries reach the logs of every server on the way.
        return Err(Wrong::new("takes no variables")
            .with_help("a secret in a path ends up in logs: send it in the body or a header"));
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\' | b'"' | b'<' | b'>'));
    if plain && text.starts_with('/') && !text.starts_with("//") {
        return Ok(text.to_owned());
    }
    Err(Wrong::new("is not a path").with_help("begin with one `/`; write what is not plain ASCII as `%XX`"))
}

pub(super) fn pointer(node: &Node) -> Result<String, Wrong> {
    let text = scalar::text(node)?;
    let escapes = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    if text.starts_with('/') && escapes {
        return Ok(text.to_owned());
    }
    Err(Wrong::new("is not a JSON pointer")
        .with_help("write for example `/result/0`; `~1` stands for `/` and `~0` for `~`"))
}

pub(super) fn statuses(
    section: &Section<'_, '_>,
    default: Vec<StatusCode>,
    range: RangeInclusive<u64>,
) -> Vec<StatusCode> {
    let statuses = section.list(
        "status",
        default,
        |status| status.as_u16().to_string(),
        |node| {
            let number = scalar::whole(node)?;
            let status = u16::try_from(number).ok().and_then(|number| StatusCode::from_u16(number).ok());
            status
                .filter(|_| range.contains(&number))
                .ok_or_else(|| Wrong::new(format!("is not a status from {} to {}", range.start(), range.end())))
        },
    );
    if statuses.is_empty() && !section.has_items("status") {
        section.wrong("status", Wrong::new("names no status"));
    }
    statuses
}

pub(super) fn headers(section: &Section<'_, '_>, name: &str, templates: &mut Vec<Written>) -> Vec<InjectedHeader> {
    section.section(name, |headers| {
        let mut read = Vec::new();
        for entry in headers.ask_all() {
            match header(entry) {
                Ok((name, template)) => {
                    if read.iter().any(|earlier: &InjectedHeader| earlier.name == name) {
                        headers.wrong_at(&entry.key, entry.place, Wrong::new("is written twice"));
                    }
                    let text = scalar::text(&entry.node).unwrap_or_default();
                    headers.note(&entry.key, &scalar::quoted(text), Some(entry.node.place));
                    templates.push(Written {
                        key: headers.key(&entry.key),
                        place: entry.node.place,
                        template: template.clone(),
                    });
                    read.push(InjectedHeader { name, value: template });
                }
                Err((place, wrong)) => headers.wrong_at(&entry.key, place, wrong),
            }
        }
        read
    })
}

fn header(entry: &Entry) -> Result<(HeaderName, Template), (Place, Wrong)> {
    let name: HeaderName =
        entry.key.parse().map_err(|_| (entry.place, Wrong::new("is not the name of a header field")))?;
    if NEVER_SET.contains(&name.as_str()) {
        let wrong = Wrong::new("is set by the gateway itself and cannot be set here");
        return Err((
            entry.place,
            if name == http::header::COOKIE { wrong.with_help("write it under `cookies`") } else { wrong },
        ));
    }
    let value = scalar::text(&entry.node).map_err(|wrong| (entry.node.place, wrong))?;
    if !value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err((entry.node.place, Wrong::new("is not printable ASCII on one line")));
    }
    let template = template::parse(value).map_err(|wrong| (entry.node.place, wrong))?;
    Ok((name, template))
}

pub(super) fn cookies(section: &Section<'_, '_>, templates: &mut Vec<Written>) -> Vec<InjectedCookie> {
    section.section("cookies", |cookies| {
        let mut read = Vec::new();
        for entry in cookies.ask_all() {
            match cookie(entry) {
                Ok(value) => {
                    let text = scalar::text(&entry.node).unwrap_or_default();
                    cookies.note(&entry.key, &scalar::quoted(text), Some(entry.node.place));
                    templates.push(Written {
                        key: cookies.key(&entry.key),
                        place: entry.node.place,
                        template: value.clone(),
                    });
                    read.push(InjectedCookie { name: entry.key.clone(), value });
                }
                Err((place, wrong)) => cookies.wrong_at(&entry.key, place, wrong),
            }
        }
        read
    })
}

fn cookie(entry: &Entry) -> Result<Template, (Place, Wrong)> {
    cookie_name(&entry.key).map_err(|wrong| (entry.place, wrong))?;
    let in_value = |wrong| (entry.node.place, wrong);
    let text = scalar::text(&entry.node).map_err(in_value)?;
    // RFC 6265 section 4.1.1.
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b';' | b',' | b'"' | b'\\')) {
        return Err(in_value(Wrong::new("holds a character that no cookie may hold")));
    }
    template::parse(text).map_err(in_value)
}

/// RFC 6265: the name of a cookie is a token.
pub(super) fn cookie_name(name: &str) -> Result<(), Wrong> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if plain && !name.is_empty() { Ok(()) } else { Err(Wrong::new("is not the name of a cookie")) }
}
