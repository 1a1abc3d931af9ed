//! Peers are built once from the configuration and cloned for each attempt.

mod balance;
mod health;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pingora_core::protocols::tls::CaType;
use pingora_core::tls::pkey::{PKey, Private};
use pingora_core::tls::x509::X509;
use pingora_core::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora_core::utils::tls::CertKey;

use crate::config::{Connections, HttpVersion, Upstream};
use crate::upstream::UpstreamSession;

use balance::Balancer;

pub(super) use balance::{InUse, Tried};
pub use health::watch_health;

/// A certificate or key of an upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The file cannot be read.
    #[error("cannot read `{0}`: {1}")]
    Read(PathBuf, std::io::Error),
    /// It holds no certificates.
    #[error("`{0}` holds no PEM certificates: {1}")]
    Parse(PathBuf, String),
    /// It holds no private key.
    #[error("`{0}` holds no PEM private key without a passphrase")]
    Key(PathBuf),
    /// Others can read the key.
    #[error("`{0}` can be read by others; run `chmod 600 {0}`")]
    OpenKey(PathBuf),
    /// Certificate and key do not belong together.
    #[error("the key in `{1}` is not the one of the certificate in `{0}`")]
    Mismatch(PathBuf, PathBuf),
}

/// The peers of one upstream, ready to be cloned.
#[derive(Debug)]
pub struct Peers {
    templates: Vec<(SocketAddr, HttpPeer)>,
    balancer: Balancer,
    connections: Connections,
}

/// A peer for one attempt.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) address: SocketAddr,
    pub(super) peer: Box<HttpPeer>,
    pub(super) in_use: InUse,
}

impl Peers {
    /// Builds the templates. `group` keeps pooled connections of different upstreams apart.
    ///
    /// # Errors
    /// When a certificate or key cannot be used.
    pub fn of(upstream: &Upstream, group: u64) -> Result<Self, PeerError> {
        let tls = upstream.tls.as_ref();
        let authority = tls.and_then(|tls| tls.ca_file.as_ref()).map(|file| read_authority(file)).transpose()?;
        let own = tls.and_then(|tls| tls.client_certificate.as_ref());
        let own = own.map(|(certificate, key)| read_own_certificate(certificate, key)).transpose()?;
        let build = |address: SocketAddr| {
            let mut peer = template(upstream, address, group, authority.clone());
            peer.client_cert_key.clone_from(&own);
            (address, peer)
        };
        let templates = upstream.peers.iter().map(|peer| build(peer.address)).collect();
        let balancer = Balancer::new(&upstream.peers, upstream.balance, upstream.ejection);
        Ok(Self { templates, balancer, connections: upstream.connections })
    }

    /// The peer for the next attempt of an exchange that has tried some already.
    pub(super) fn choose(&self, tried: Tried, now: Duration) -> Option<Chosen> {
        let in_use = self.balancer.choose(tried, now)?;
        let (address, peer) = self.templates.get(in_use.index)?;
        Some(Chosen { address: *address, peer: Box::new(peer.clone()), in_use })
    }

    /// The same on a connection that this session may use.
    pub(super) fn choose_for(&self, session: &UpstreamSession, tried: Tried, now: Duration) -> Option<Chosen> {
        let mut chosen = self.choose(tried, now)?;
        if self.connections == Connections::PerSession {
            let mut hasher = DefaultHasher::new();
            (chosen.peer.group_key, session.key(), session.generation()).hash(&mut hasher);
            chosen.peer.group_key = hasher.finish();
        }
        Some(chosen)
    }

    /// The peer answered.
    pub(super) fn succeeded(&self, index: usize) {
        self.balancer.succeeded(index);
    }

    /// The peer could not be reached, broke off, or said that it cannot serve.
    pub(super) fn failed(&self, index: usize, now: Duration) {
        self.balancer.failed(index, now);
    }

    /// How many peers there are.
    pub(super) fn count(&self) -> usize {
        self.balancer.count()
    }
}

fn read_own_certificate(certificate: &Path, key: &Path) -> Result<Arc<CertKey>, PeerError> {
    let chain = read_certificates(certificate)?;
    let key_pem = std::fs::read(key).map_err(|error| PeerError::Read(key.to_owned(), error))?;
    let mode = std::fs::metadata(key).map_err(|error| PeerError::Read(key.to_owned(), error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(PeerError::OpenKey(key.to_owned()));
    }
    // A callback that gives no passphrase, or the library would ask for one on the terminal.
    let private: PKey<Private> =
        PKey::private_key_from_pem_callback(&key_pem, |_| Ok(0)).map_err(|_| PeerError::Key(key.to_owned()))?;
    let fits = chain.first().and_then(|leaf| leaf.public_key().ok()).is_some_and(|public| public.public_eq(&private));
    if !fits {
        return Err(PeerError::Mismatch(certificate.to_owned(), key.to_owned()));
    }
    Ok(Arc::new(CertKey::new(chain, private)))
}

fn read_certificates(file: &Path) -> Result<Vec<X509>, PeerError> {
    let pem = std::fs::read(file).map_err(|error| PeerError::Read(file.to_owned(), error))?;
    match X509::stack_from_pem(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(PeerError::Parse(file.to_owned(), "the file is empty".into())),
        Err(error) => Err(PeerError::Parse(file.to_owned(), error.to_string())),
    }
}

fn read_authority(file: &Path) -> Result<Arc<CaType>, PeerError> {
    read_certificates(file).map(|certificates| Arc::new(certificates.into_boxed_slice()))
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
    let read = upstream.timeouts.total.map_or(upstream.timeouts.read, |total| total.min(upstream.timeouts.read));
    options.read_timeout = Some(read);
    options.write_timeout = Some(upstream.timeouts.write);
    options.idle_timeout = Some(upstream.timeouts.idle);
    if upstream.http_version == HttpVersion::Two {
        options.set_http_version(2, 2);
        options.max_h2_streams = 100;
    }
    // SECURITY: an upgraded connection is a tunnel past every check.
    options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
    peer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ManualClock;
    use crate::upstream::double::{MemoryVault, ScriptedErp, account, erp, static_key};
    use crate::upstream::{NobodyIsTold, Sessions};

    #[tokio::test]
    async fn connections_of_a_session_are_for_that_session_alone() {
        let clock = ManualClock::at("2026-11-23T12:00:00Z".parse().expect("a time"));
        let vault = MemoryVault::with_password("password");
        let upstream = Upstream { connections: Connections::PerSession, ..static_key() };
        let sessions = Sessions::new(
            vec![upstream.clone()],
            ScriptedErp::new([]),
            Arc::<MemoryVault>::clone(&vault),
            Arc::new(clock),
            Arc::new(NobodyIsTold),
        );
        let sessions = sessions.expect("sessions");
        let peers = Peers::of(&upstream, 7).expect("peers");
        let group = |session: &UpstreamSession| {
            peers.choose_for(session, Tried::default(), Duration::ZERO).expect("a peer").peer.group_key
        };
        let first = sessions.obtain(&erp(), &account(1)).await.expect("a session");
        assert_eq!(group(&first), group(&first));
        assert_ne!(group(&first), 7);
        vault.set_password("another", 2);
        sessions.secret_changed(&erp(), None).await.expect("changed");
        let second = sessions.obtain(&erp(), &account(1)).await.expect("a session");
        assert_ne!(group(&first), group(&second));
        let shared = Peers::of(&Upstream { connections: Connections::Shared, ..upstream }, 7).expect("peers");
        assert_eq!(shared.choose_for(&first, Tried::default(), Duration::ZERO).expect("a peer").peer.group_key, 7);
    }
}
