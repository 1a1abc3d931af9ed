//! The certificates that the gateway shows to whoever connects: chosen by the name that is asked for, and taken over anew
//! when their files are renewed.

mod files;
#[cfg(test)]
mod tests;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use openssl::ssl::{
    AlpnError, NameType, SslAcceptor, SslAcceptorBuilder, SslContext, SslMethod, SslOptions, SslSessionCacheMode,
    select_next_proto,
};

pub use files::{CertificateError, CertificateFiles};

use files::Pair;

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

/// Certificates with the files that they came from.
pub struct Certificates {
    files: Vec<CertificateFiles>,
    protocols: Protocols,
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
    pub fn load(files: Vec<CertificateFiles>, protocols: Protocols) -> Result<Self, Vec<CertificateError>> {
        let stamps = stamps(&files);
        let shown = read(&files, protocols)?;
        let looked = Mutex::new(Looked { stamps, ..Looked::default() });
        Ok(Self { files, protocols, current: ArcSwap::from_pointee(shown), looked })
    }

    /// Reads the files again where one has changed. Connections that are open go on; new ones get the new certificates.
    /// Gives whether others are shown from now on.
    ///
    /// # Errors
    /// What is wrong with the new files; those from before are shown on. Once for the same files, and by itself only when
    /// they are the same at the next look.
    pub fn renew(&self, look: Look) -> Result<bool, Vec<CertificateError>> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.files);
        if stamps == looked.stamps {
            return Ok(false);
        }
        match read(&self.files, self.protocols) {
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
        let mut builder = basis(self.protocols)?;
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

fn read(files: &[CertificateFiles], protocols: Protocols) -> Result<Vec<Shown>, Vec<CertificateError>> {
    let (mut shown, mut errors) = (Vec::new(), Vec::new());
    for files in files {
        match Pair::read(files).and_then(|pair| ready(&files.chain, &pair, protocols)) {
            Ok(one) => shown.push(one),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(shown) } else { Err(errors) }
}

fn ready(file: &Path, pair: &Pair, protocols: Protocols) -> Result<Shown, CertificateError> {
    let context = || -> Result<SslContext, openssl::error::ErrorStack> {
        let mut builder = basis(protocols)?;
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

fn stamps(files: &[CertificateFiles]) -> Vec<Option<Stamp>> {
    let stamp = |file: &Path| {
        let found = fs::metadata(file).ok()?;
        Some((found.mtime(), found.mtime_nsec(), found.len(), found.ino()))
    };
    files.iter().flat_map(|files| [stamp(&files.chain), stamp(&files.key)]).collect()
}
