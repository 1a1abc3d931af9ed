//! `tls:` of a listener: the certificates that are shown to whoever connects.

use std::path::PathBuf;
use std::time::Duration;

use super::decode::{Section, Wrong};
use super::scalar;

/// TLS of a listener.
#[derive(Debug, Clone)]
pub struct ListenTls {
    /// At least one, by name; the first is shown where none is for the host that is asked for.
    pub certificates: Vec<ListenCertificate>,
    /// The certificates of authorities; clients are asked for one that they have signed. Of the gateway only.
    pub client_authorities: Option<PathBuf>,
    /// For how long browsers and programs are told to use TLS only; `None` tells them nothing.
    pub hsts: Option<Duration>,
}

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenCertificate {
    /// The certificate, and behind it those of the authorities in between.
    pub chain_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

impl ListenTls {
    /// Of the listener for clients, who may show certificates of their own.
    pub(super) fn read_for_clients(section: &Section<'_, '_>) -> Self {
        let show = |path: &PathBuf| path.display().to_string();
        let file = |node: &_| Ok(section.in_folder(scalar::text(node)?));
        let client_authorities = section.optional("client_authorities_file", show, file);
        Self { client_authorities, ..Self::read(section) }
    }

    pub(super) fn read(section: &Section<'_, '_>) -> Self {
        let day = Duration::from_hours(24);
        let certificates = section.section("certificates", read_certificates);
        if certificates.is_empty() && !section.has_items("certificates") {
            let help = "write for example\n  certificates:\n    main: { chain_file: tls/fullchain.pem, key_file: tls/privkey.pem }";
            section.wrong("certificates", Wrong::new("names no certificate").with_help(help));
        }
        let hsts = section.duration("hsts", 365 * day, Duration::ZERO..=730 * day);
        Self { certificates, client_authorities: None, hsts: Some(hsts).filter(|hsts| !hsts.is_zero()) }
    }
}

fn read_certificates(section: &Section<'_, '_>) -> Vec<ListenCertificate> {
    let read = |certificate: &Section<'_, '_>| {
        let file = |name: &str| {
            let show = |path: &PathBuf| path.display().to_string();
            certificate.required(name, show, |node| Ok(certificate.in_folder(scalar::text(node)?)))
        };
        // Both are asked for before one is missed.
        let (chain_file, key_file) = (file("chain_file"), file("key_file"));
        Some(ListenCertificate { chain_file: chain_file?, key_file: key_file? })
    };
    section.ask_all().iter().filter_map(|entry| section.section_of(entry, read)).collect()
}
