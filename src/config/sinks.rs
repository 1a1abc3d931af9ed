//! `audit.sinks:`: where audit records are collected besides here.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::decode::{Choice, Section, Wrong};
use super::gateway::is_this_machine;
use super::scalar;
use super::tree::Node;
use crate::domain::SinkName;

/// Where audit records are sent.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Its name; how far it has come is kept under it.
    pub name: SinkName,
    /// The receiver's host, without brackets.
    pub host: String,
    /// The receiver's port.
    pub port: u16,
    /// TLS; `None` for plain connections.
    pub tls: Option<SinkTls>,
    /// What it speaks.
    pub protocol: SinkProtocol,
    /// What a new sink gets.
    pub start: SinkStart,
    /// Records sent at once, at most.
    pub batch: u32,
    /// How long it waits for new records.
    pub poll: Duration,
    /// How long it waits after a first failure.
    pub retry: Duration,
    /// How long one batch may take, connecting included.
    pub timeout: Duration,
}

/// How the receiver's certificate is checked.
#[derive(Debug, Clone)]
pub struct SinkTls {
    /// Authorities in place of the system's, as PEM.
    pub ca_file: Option<PathBuf>,
}

/// What a sink speaks.
#[derive(Debug, Clone)]
pub enum SinkProtocol {
    /// `POST` with a JSON document a line.
    Http {
        /// Path and query.
        target: String,
        /// Whether the body is compressed.
        gzip: bool,
        /// A file with what goes into `Authorization`, read anew for each batch.
        token_file: Option<PathBuf>,
    },
    /// RFC 5424, framed by counting octets.
    Syslog {
        /// The facility, 0 to 23.
        facility: u8,
    },
}

/// What a sink gets that was not there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkStart {
    /// The whole trail.
    Beginning,
    /// What comes from now on.
    Now,
}

impl Choice for SinkStart {
    const WORDS: &'static [(&'static str, Self)] = &[("beginning", Self::Beginning), ("now", Self::Now)];
}

/// The facility for log audits (RFC 5424, table 1).
const LOG_AUDIT: u32 = 13;

pub(super) fn read_all(section: &Section<'_, '_>) -> Vec<Sink> {
    let mut sinks = Vec::new();
    for entry in section.ask_all() {
        let name = entry.key.parse::<SinkName>();
        if let Err(error) = &name {
            section.wrong_at(&entry.key, entry.place, Wrong::new(format!("is wrong: {error}")));
        }
        sinks.extend(section.section_of(entry, |sink| read(sink, name.ok())));
    }
    sinks
}

fn read(section: &Section<'_, '_>, name: Option<SinkName>) -> Option<Sink> {
    let second = Duration::from_secs(1);
    let receiver = section.required("url", |receiver: &Receiver| receiver.text.clone(), receiver);
    let start = section.choice("start", SinkStart::Beginning);
    let batch = section.whole("batch", 500, 1..=5000);
    let poll = section.duration("poll", second, second / 10..=second * 3600);
    let retry = section.duration("retry", second, second / 10..=second * 300);
    let timeout = section.duration("timeout", second * 30, second..=second * 600);
    let Some(Receiver { tls, host, port, target, .. }) = receiver else {
        // Which of the other keys belong here depends on the URL.
        section.ask_all();
        return None;
    };
    let tls = tls.then(|| SinkTls { ca_file: file(section, "ca_file") });
    let protocol = match target {
        Some(target) => {
            SinkProtocol::Http { target, gzip: section.switch("gzip", true), token_file: file(section, "token_file") }
        }
        None => SinkProtocol::Syslog {
            facility: u8::try_from(section.whole("facility", LOG_AUDIT, 0..=23)).unwrap_or_default(),
        },
    };
    Some(Sink { name: name?, host, port, tls, protocol, start, batch, poll, retry, timeout })
}

fn file(section: &Section<'_, '_>, name: &str) -> Option<PathBuf> {
    let show = |path: &PathBuf| path.display().to_string();
    section.optional(name, show, |node| Ok(section.in_folder(scalar::text(node)?)))
}

struct Receiver {
    text: String,
    tls: bool,
    host: String,
    port: u16,
    /// Path and query; `None` for syslog.
    target: Option<String>,
}

fn receiver(node: &Node) -> Result<Receiver, Wrong> {
    let wrong = || {
        Wrong::new("is not the URL of a receiver").with_help(
            "write for example `https://collector.internal/ingest`, `syslog+tls://siem.internal:6514`, or on this host `http://127.0.0.1:8686/` or `syslog+tcp://127.0.0.1:601`",
        )
    };
    let text = scalar::text(node)?;
    let uri = text.parse::<Uri>().map_err(|_| wrong())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(wrong()) };
    if authority.as_str().contains('@') {
        return Err(Wrong::new("holds a user name").with_help("put what the receiver wants to know into `token_file`"));
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    // Ports: RFC 9110 4.2, RFC 5425 4.1, RFC 6587 3.2.
    let (tls, usual, http) = match scheme {
        "https" => (true, 443, true),
        "http" => (false, 80, true),
        "syslog+tls" => (true, 6514, false),
        "syslog+tcp" => (false, 601, false),
        _ => return Err(wrong()),
    };
    if !http && target != "/" {
        return Err(Wrong::new("has a path, which syslog does not know"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let has_port = authority.port_u16().is_some() || authority.as_str() == authority.host();
    if host.is_empty() || !has_port {
        return Err(wrong());
    }
    // SECURITY: the rows say who did what, and the token opens the collector.
    if !tls && !is_this_host(&host) {
        return Err(Wrong::new("would send audit records over the network in the clear")
            .with_help("use `https://` or `syslog+tls://`; plain connections are for receivers on this host"));
    }
    let port = authority.port_u16().unwrap_or(usual);
    Ok(Receiver { text: text.to_owned(), tls, host, port, target: http.then(|| target.to_owned()) })
}

fn is_this_host(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(is_this_machine)
}
