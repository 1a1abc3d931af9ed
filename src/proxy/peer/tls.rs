//! Certificates and keys of an upstream, read once at the start.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pingora_core::protocols::tls::CaType;
use pingora_core::tls::pkey::{PKey, Private};
use pingora_core::tls::x509::X509;
use pingora_core::utils::tls::CertKey;
use zeroize::Zeroizing;

use crate::config::Upstream;

/// A certificate or a private key of an upstream cannot be used. Each names the key of the configuration and the file.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The file cannot be read.
    #[error("`{key}`: the file `{file}` cannot be read: {source}")]
    Unreadable {
        /// The key of the configuration.
        key: String,
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It holds no certificates in PEM.
    #[error("`{key}`: the file `{file}` holds no certificates in PEM: {reason}")]
    NoCertificates {
        /// The key of the configuration.
        key: String,
        /// The file.
        file: PathBuf,
        /// What the TLS library says.
        reason: String,
    },
    /// It holds no private key in PEM.
    #[error("`{key}`: the file `{file}` holds no private key in PEM that is not encrypted")]
    NoPrivateKey {
        /// The key of the configuration.
        key: String,
        /// The file.
        file: PathBuf,
    },
    /// Others than the owner may read or change the private key.
    #[error("`{key}`: the private key `{file}` is open to others (mode {mode:04o}): run `chmod 0600 {file}`")]
    OpenToOthers {
        /// The key of the configuration.
        key: String,
        /// The file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The private key is not the one of the certificate.
    #[error("`{key}`: the private key `{file}` does not belong to the first certificate of `certificate_file`")]
    ForeignKey {
        /// The key of the configuration.
        key: String,
        /// The file.
        file: PathBuf,
    },
}

/// Whom we trust and what we show of ourselves.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// A private certificate authority; `None` is the system's.
    pub(super) authority: Option<Arc<CaType>>,
    /// Our own certificate with its key.
    pub(super) client: Option<Arc<CertKey>>,
}

impl Identity {
    pub(super) fn read(upstream: &Upstream) -> Result<Self, PeerError> {
        let Some(tls) = &upstream.tls else { return Ok(Self::default()) };
        let key = |name: &str| format!("upstreams.{}.tls.{name}", upstream.name);
        let authority = tls.ca_file.as_ref().map(|file| certificates(key("ca_file"), file)).transpose()?;
        let client = tls.client_certificate.as_ref();
        let client = client.map(|(certificate, private)| self::client(&key, certificate, private)).transpose()?;
        Ok(Self {
            authority: authority.map(|certificates| Arc::new(certificates.into_boxed_slice())),
            client: client.map(Arc::new),
        })
    }
}

/// Checks a file of certificate authorities that Pingora reads by itself, and would break on.
///
/// # Errors
/// When it cannot be read or holds no certificates. `key` names it in the message.
pub fn check_authorities(key: &str, file: &Path) -> Result<(), PeerError> {
    certificates(key.to_owned(), file).map(drop)
}

/// Never empty.
fn certificates(key: String, file: &Path) -> Result<Vec<X509>, PeerError> {
    let file = file.to_owned();
    let pem = match std::fs::read(&file) {
        Ok(pem) => pem,
        Err(source) => return Err(PeerError::Unreadable { key, file, source }),
    };
    match X509::stack_from_pem(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(PeerError::NoCertificates { key, file, reason: "there is none in it".into() }),
        Err(error) => Err(PeerError::NoCertificates { key, file, reason: error.to_string() }),
    }
}

fn client(key: &impl Fn(&str) -> String, certificate: &Path, private: &Path) -> Result<CertKey, PeerError> {
    let (key_of_certificate, key_of_private) =
        (key("client_certificate.certificate_file"), key("client_certificate.key_file"));
    let certificates = certificates(key_of_certificate, certificate)?;
    let parsed = private_key(key_of_private.clone(), private)?;
    let public = certificates.first().and_then(|certificate| certificate.public_key().ok());
    if !public.is_some_and(|public| public.public_eq(&parsed)) {
        return Err(PeerError::ForeignKey { key: key_of_private, file: private.to_owned() });
    }
    Ok(CertKey::new(certificates, parsed))
}

/// More than any private key takes, in bytes.
const MAX_KEY: usize = 64 * 1024;

fn private_key(key: String, file: &Path) -> Result<PKey<Private>, PeerError> {
    let path = file.to_owned();
    let unreadable = |source| PeerError::Unreadable { key: key.clone(), file: path.clone(), source };
    let open = File::open(file).map_err(unreadable)?;
    // SECURITY: asked of the open file, so that nobody exchanges it between the check and the reading.
    let mode = open.metadata().map_err(unreadable)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(PeerError::OpenToOthers { key, file: path, mode });
    }
    // Reserved at once: a growing text leaves copies behind.
    let mut pem = Zeroizing::new(Vec::with_capacity(MAX_KEY));
    open.take(u64::try_from(MAX_KEY).unwrap_or(u64::MAX)).read_to_end(&mut pem).map_err(unreadable)?;
    // SECURITY: without a callback the TLS library would ask for the password of an encrypted key on the terminal. Its
    // text is left out of the error, because it may quote the file.
    PKey::private_key_from_pem_callback(&pem, |_| Ok(0)).map_err(|_| PeerError::NoPrivateKey { key, file: path })
}
