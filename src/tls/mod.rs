//! The certificates that the gateway shows to whoever connects: chosen by the name that is asked for, and taken over anew
//! when their files are renewed.

mod files;
#[cfg(test)]
mod tests;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use openssl::ssl::{
    AlpnError, NameType, SslAcceptor, SslAcceptorBuilder, SslContext, SslMethod, SslOptions, SslSessionCacheMode,
    SslVerifyMode, select_next_proto,
};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;

pub use files::{CertificateError, CertificateFiles};

use files::{Pair, read_authorities};

/// What is spoken over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 rather than HTTP/1.1.
    Http2,
}

impl Protocols {
    /// As TLS writes them (RFC 7301).
    const fn offered(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"\x08http/1.1",
            Self::Http2 => b"\x02h2\x08http/1.1",
        }
    }
}

/// What a listener offers beside its certificates.
#[derive(Debug, Clone)]
pub struct Offer {
    /// What is spoken.
    pub protocols: Protocols,
    /// Certificates of authorities as PEM: clients are asked for one that they have signed, and may show none.
    pub client_authorities: Option<PathBuf>,
}

/// The same, read.
struct Terms {
    protocols: Protocols,
    client_authorities: Option<Vec<X509>>,
}

/// Certificates with the files that they came from.
pub struct Certificates {
    files: Vec<CertificateFiles>,
    offer: Offer,
    current: ArcSwap<Vec<Shown>>,
    looked: Mutex<Looked>,
}

/// What was found when the files were looked at last.
#[derive(Debug, Default)]
struct Looked {
    stamps: Vec<Option<Stamp>>,
    /// What did not fit together at the last look.
    unfit: Option<Vec<Option<Stamp>>>,
    problem: Option<String>,
}

/// Who looks at the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Somebody who has put them in their place.
    Asked,
    /// The gateway by itself: it may come between the certificate and its key.
    ByItself,
}

/// What tells that a file has changed: when, how long, which.
type Stamp = (i64, i64, u64, u64);

/// One certificate, ready to be shown.
struct Shown {
    names: Vec<String>,
    ends_at: Timestamp,
    context: SslContext,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

/// What there is to be said of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The hosts that it is for.
    pub names: Vec<String>,
    /// When it ends.
    pub ends_at: Timestamp,
}

impl Certificates {
    /// Reads all of them. The first is shown where no name fits.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn load(files: Vec<CertificateFiles>, offer: Offer) -> Result<Self, Vec<CertificateError>> {
        let stamps = stamps(&files, &offer);
        let shown = read(&files, &offer)?;
        let looked = Mutex::new(Looked { stamps, ..Looked::default() });
        Ok(Self { files, offer, current: ArcSwap::from_pointee(shown), looked })
    }

    /// Reads the files again where one has changed. Connections that are open go on; new ones get the new certificates.
    /// Gives whether others are shown from now on.
    ///
    /// # Errors
    /// What is wrong with the new files; those from before are shown on. Once for the same files, and by itself only when
    /// they are the same at the next look.
    pub fn renew(&self, look: Look) -> Result<bool, Vec<CertificateError>> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.files, &self.offer);
        if stamps == looked.stamps {
            return Ok(false);
        }
        match read(&self.files, &self.offer) {
            Ok(shown) => {
                self.current.store(Arc::new(shown));
                *looked = Looked { stamps, ..Looked::default() };
                Ok(true)
            }
            Err(_) if look == Look::ByItself && looked.unfit.as_ref() != Some(&stamps) => {
                looked.unfit = Some(stamps);
                Ok(false)
            }
            Err(errors) => {
                looked.stamps = stamps;
                looked.problem = errors.first().map(ToString::to_string);
                Err(errors)
            }
        }
    }

    /// What is shown now.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        let current = self.current.load();
        current.iter().map(|shown| Told { names: shown.names.clone(), ends_at: shown.ends_at }).collect()
    }

    /// Why renewed files are not shown, where that is so.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner).problem.clone()
    }

    /// What a connection goes on with whose client asks for this name.
    #[must_use]
    pub fn context(&self, name: Option<&str>) -> Option<SslContext> {
        let current = self.current.load();
        let name = name.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let asked = name.as_deref().and_then(|name| {
            let exact = current.iter().find(|shown| shown.names.iter().any(|known| known == name));
            exact.or_else(|| current.iter().find(|shown| shown.names.iter().any(|known| covers(known, name))))
        });
        asked.or_else(|| current.first()).map(|shown| shown.context.clone())
    }

    /// What a listener begins each connection with; the certificate is chosen when the client has said for which name.
    ///
    /// # Errors
    /// When OpenSSL cannot.
    pub fn acceptor(self: &Arc<Self>) -> Result<SslAcceptorBuilder, openssl::error::ErrorStack> {
        let mut builder = basis(self.offer.protocols)?;
        if self.offer.client_authorities.is_some() {
            // Each context has the authorities; whether one is asked for is said here.
            builder.set_verify(SslVerifyMode::PEER);
        }
        let certificates = Arc::clone(self);
        builder.set_servername_callback(move |ssl, _| {
            // Without a name too: certificates that were renewed are shown to everybody.
            let context = certificates.context(ssl.servername(NameType::HOST_NAME));
            context.map_or(Ok(()), |context| {
                ssl.set_ssl_context(&context).map_err(|_| openssl::ssl::SniError::ALERT_FATAL)
            })
        });
        Ok(builder)
    }
}

/// What is spoken over TLS 1.2; TLS 1.3 has no others.
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
    ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

/// Whether a name with a wildcard for its first label covers this one.
fn covers(known: &str, name: &str) -> bool {
    let rest = known.strip_prefix("*.");
    rest.is_some_and(|rest| name.split_once('.').is_some_and(|(first, behind)| !first.is_empty() && behind == rest))
}

/// TLS 1.2 and 1.3 with forward secrecy, as Mozilla's intermediate configuration has it.
fn basis(protocols: Protocols) -> Result<SslAcceptorBuilder, openssl::error::ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
    // SECURITY: whoever steals the key of tickets reads what was said, and a session that is resumed has seen no
    // certificate: each handshake is a whole one.
    builder.set_options(SslOptions::NO_TICKET | SslOptions::NO_RENEGOTIATION);
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_num_tickets(0)?;
    // SECURITY: the finite-field exchanges cost the server much more than the client (CVE-2002-20001).
    builder.set_cipher_list(CIPHERS)?;
    let offered = protocols.offered();
    builder.set_alpn_select_callback(move |_, wanted| select_next_proto(offered, wanted).ok_or(AlpnError::NOACK));
    Ok(builder)
}

fn read(files: &[CertificateFiles], offer: &Offer) -> Result<Vec<Shown>, Vec<CertificateError>> {
    let (mut shown, mut errors) = (Vec::new(), Vec::new());
    let client_authorities = offer.client_authorities.as_deref().map(read_authorities).transpose();
    let client_authorities = client_authorities.unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    let terms = Terms { protocols: offer.protocols, client_authorities };
    for files in files {
        match Pair::read(files).and_then(|pair| ready(&files.chain, &pair, &terms)) {
            Ok(one) => shown.push(one),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(shown) } else { Err(errors) }
}

fn ready(file: &Path, pair: &Pair, terms: &Terms) -> Result<Shown, CertificateError> {
    let context = || -> Result<SslContext, openssl::error::ErrorStack> {
        let mut builder = basis(terms.protocols)?;
        if let Some(authorities) = &terms.client_authorities {
            builder.set_verify(SslVerifyMode::PEER);
            let mut store = X509StoreBuilder::new()?;
            for authority in authorities {
                builder.add_client_ca(authority)?;
                store.add_cert(authority.clone())?;
            }
            builder.set_cert_store(store.build());
        }
        let mut chain = pair.chain.iter();
        if let Some(first) = chain.next() {
            builder.set_certificate(first)?;
        }
        for between in chain {
            builder.add_extra_chain_cert(between.clone())?;
        }
        builder.set_private_key(&pair.key)?;
        builder.check_private_key()?;
        Ok(builder.build().into_context())
    };
    let refused =
        |error: openssl::error::ErrorStack| CertificateError::Refused { file: file.to_owned(), why: error.to_string() };
    Ok(Shown { names: pair.names.clone(), ends_at: pair.ends_at, context: context().map_err(refused)? })
}

fn stamps(files: &[CertificateFiles], offer: &Offer) -> Vec<Option<Stamp>> {
    let stamp = |file: &Path| {
        let found = fs::metadata(file).ok()?;
        Some((found.mtime(), found.mtime_nsec(), found.len(), found.ino()))
    };
    let pairs = files.iter().flat_map(|files| [&files.chain, &files.key]);
    pairs.chain(&offer.client_authorities).map(|file| stamp(file)).collect()
}
