//! Peers are built once from the configuration and cloned for each attempt.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pingora_core::protocols::tls::CaType;
use pingora_core::tls::x509::X509;
use pingora_core::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};

use crate::config::Upstream;

/// A private certificate authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The file cannot be read.
    #[error("cannot read the certificate authority `{0}`: {1}")]
    Read(PathBuf, std::io::Error),
    /// It holds no certificates.
    #[error("`{0}` holds no PEM certificates: {1}")]
    Parse(PathBuf, String),
}

/// The peers of one upstream, ready to be cloned.
#[derive(Debug)]
pub struct Peers {
    templates: Vec<(SocketAddr, HttpPeer)>,
}

impl Peers {
    /// Builds the templates. `group` keeps pooled connections of different upstreams apart.
    ///
    /// # Errors
    /// When a private certificate authority cannot be read.
    pub fn of(upstream: &Upstream, group: u64) -> Result<Self, PeerError> {
        let authority =
            upstream.tls.as_ref().and_then(|tls| tls.ca_file.as_ref()).map(|file| read_authority(file)).transpose()?;
        let templates = upstream
            .peers
            .iter()
            .map(|address| (*address, template(upstream, *address, group, authority.clone())))
            .collect();
        Ok(Self { templates })
    }

    /// The peer for this attempt: each attempt takes the next one.
    pub(super) fn choose(&self, attempt: usize) -> Option<(SocketAddr, Box<HttpPeer>)> {
        let index = attempt.checked_rem(self.templates.len())?;
        self.templates.get(index).map(|(address, peer)| (*address, Box::new(peer.clone())))
    }

    /// How many peers there are.
    pub(super) fn count(&self) -> usize {
        self.templates.len()
    }
}

fn read_authority(file: &Path) -> Result<Arc<CaType>, PeerError> {
    let pem = std::fs::read(file).map_err(|error| PeerError::Read(file.to_owned(), error))?;
    match X509::stack_from_pem(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(Arc::new(certificates.into_boxed_slice())),
        Ok(_) => Err(PeerError::Parse(file.to_owned(), "the file is empty".into())),
        Err(error) => Err(PeerError::Parse(file.to_owned(), error.to_string())),
    }
}

fn template(upstream: &Upstream, address: SocketAddr, group: u64, authority: Option<Arc<CaType>>) -> HttpPeer {
    let server_name = upstream.tls.as_ref().map(|tls| tls.server_name.clone());
    #[expect(clippy::disallowed_methods, reason = "a socket address resolves to itself, without asking anybody")]
    let mut peer = HttpPeer::new(address, server_name.is_some(), server_name.unwrap_or_default());
    peer.group_key = group;
    let options = &mut peer.options;
    options.ca = authority;
    // SECURITY: these two are Pingora's defaults; they are stated because a change there must not reach us.
    options.verify_cert = true;
    options.verify_hostname = true;
    options.connection_timeout = Some(upstream.timeouts.connect);
    options.total_connection_timeout = Some(upstream.timeouts.connect);
    options.read_timeout = Some(upstream.timeouts.read);
    options.write_timeout = Some(upstream.timeouts.write);
    options.idle_timeout = Some(upstream.timeouts.idle);
    // SECURITY: an upgraded connection is a tunnel past every check.
    options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
    peer
}
