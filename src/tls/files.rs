//! A certificate chain and its key, read from two files.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::pkey::{PKey, Private};
use openssl::x509::{X509, X509Ref};
use zeroize::Zeroizing;

/// The files of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and behind it those of the authorities in between, as PEM.
    pub chain: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// A certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("`{file}` cannot be read: {source}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others may read or change the key.
    #[error(
        "`{file}` is open to others (mode {mode:04o}): run `chmod 0640 {file}`, with a group that only the gateway is in"
    )]
    OpenToOthers {
        /// The file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// There is no certificate in it.
    #[error("`{file}` holds no certificate in PEM")]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// There is no key in it, or one with a password.
    #[error("`{file}` holds no private key in PEM without a password")]
    NoKey {
        /// The file.
        file: PathBuf,
    },
    /// The key is that of another certificate.
    #[error("the key in `{key}` does not belong to the certificate in `{chain}`")]
    Foreign {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        chain: PathBuf,
    },
    /// It says for whom it is in no way that browsers and programs read.
    #[error("the certificate in `{file}` names no host: it needs a subject alternative name")]
    NamesNobody {
        /// The file.
        file: PathBuf,
    },
    /// OpenSSL does not take it.
    #[error("the certificate in `{file}` is not taken: {why}")]
    Refused {
        /// The file.
        file: PathBuf,
        /// What OpenSSL says.
        why: String,
    },
}

/// What was read.
pub(super) struct Pair {
    /// The certificate first.
    pub(super) chain: Vec<X509>,
    pub(super) key: PKey<Private>,
    pub(super) names: Vec<String>,
    pub(super) ends_at: Timestamp,
}

impl Pair {
    pub(super) fn read(files: &CertificateFiles) -> Result<Self, CertificateError> {
        let file = || files.chain.clone();
        let unreadable = |source| CertificateError::Unreadable { file: file(), source };
        let pem = std::fs::read(&files.chain).map_err(unreadable)?;
        let chain = X509::stack_from_pem(&pem).unwrap_or_default();
        let first = chain.first().ok_or_else(|| CertificateError::NoCertificate { file: file() })?;
        let key = private_key(&files.key)?;
        if !first.public_key().is_ok_and(|public| public.public_eq(&key)) {
            return Err(CertificateError::Foreign { key: files.key.clone(), chain: file() });
        }
        let names = names_of(first);
        if names.is_empty() {
            return Err(CertificateError::NamesNobody { file: file() });
        }
        let ends_at = moment(first.not_after());
        let why = "its end is no time".to_owned();
        let ends_at = ends_at.ok_or_else(|| CertificateError::Refused { file: file(), why })?;
        Ok(Self { chain, key, names, ends_at })
    }
}

/// The certificates of authorities in a file.
pub(super) fn read_authorities(file: &Path) -> Result<Vec<X509>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable { file: file.to_owned(), source };
    let found = X509::stack_from_pem(&std::fs::read(file).map_err(unreadable)?).unwrap_or_default();
    if found.is_empty() { Err(CertificateError::NoCertificate { file: file.to_owned() }) } else { Ok(found) }
}

/// More than any private key takes, in bytes.
const MAX_KEY: usize = 64 * 1024;

fn private_key(file: &Path) -> Result<PKey<Private>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable { file: file.to_owned(), source };
    let open = File::open(file).map_err(unreadable)?;
    // SECURITY: asked of the open file, so that nobody exchanges it between the check and the reading. A group may read
    // it: keys of certificates belong to root, and the gateway does not run as root.
    let mode = open.metadata().map_err(unreadable)?.mode() & 0o7777;
    if mode & 0o037 != 0 {
        return Err(CertificateError::OpenToOthers { file: file.to_owned(), mode });
    }
    // Reserved at once: a growing text leaves copies behind.
    let mut pem = Zeroizing::new(Vec::with_capacity(MAX_KEY));
    open.take(u64::try_from(MAX_KEY).unwrap_or(u64::MAX)).read_to_end(&mut pem).map_err(unreadable)?;
    // SECURITY: without a callback OpenSSL would ask for the password of an encrypted key on the terminal. Its text is
    // left out of the error, because it may quote the file.
    PKey::private_key_from_pem_callback(&pem, |_| Ok(0)).map_err(|_| CertificateError::NoKey { file: file.to_owned() })
}

/// The hosts that a certificate is for, in small letters.
fn names_of(certificate: &X509Ref) -> Vec<String> {
    let names = certificate.subject_alt_names().into_iter().flatten();
    let texts = names.filter_map(|name| {
        let address = || name.ipaddress().and_then(address);
        name.dnsname().map(str::to_ascii_lowercase).or_else(address)
    });
    texts.collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = || <[u8; 4]>::try_from(bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string());
    let sixteen = || <[u8; 16]>::try_from(bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string());
    four().or_else(sixteen)
}

/// A time of OpenSSL as ours.
fn moment(time: &Asn1TimeRef) -> Option<Timestamp> {
    let since = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    let seconds = i64::from(since.days).checked_mul(86_400)?.checked_add(i64::from(since.secs))?;
    Timestamp::from_second(seconds).ok()
}
