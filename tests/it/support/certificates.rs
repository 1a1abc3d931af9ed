//! Certificates made for one test.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{AlpnError, SslAcceptor, SslConnectorBuilder, SslMethod, SslVerifyMode, select_next_proto};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509Builder, X509NameBuilder};

/// A private certificate authority.
pub(crate) struct Authority {
    issued: Issued,
}

/// A certificate with its key.
pub(crate) struct Issued {
    certificate: X509,
    key: PKey<Private>,
}

/// When a certificate is valid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validity {
    Now,
    Past,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = new_key();
        let mut builder = begin(name, &key, Validity::Now);
        let subject = named(name);
        builder.set_issuer_name(&subject).expect("issuer");
        builder.append_extension(BasicConstraints::new().critical().ca().build().expect("extension")).expect("added");
        builder.sign(&key, MessageDigest::sha256()).expect("signed");
        Self { issued: Issued { certificate: builder.build(), key } }
    }

    pub(crate) fn certificate(&self) -> X509 {
        self.issued.certificate.clone()
    }

    pub(crate) fn issue(&self, name: &str, validity: Validity) -> Issued {
        let key = new_key();
        let mut builder = begin(name, &key, validity);
        builder.set_issuer_name(self.issued.certificate.subject_name()).expect("issuer");
        let context = builder.x509v3_context(Some(&self.issued.certificate), None);
        let alternative = SubjectAlternativeName::new().dns(name).build(&context).expect("extension");
        builder.append_extension(alternative).expect("added");
        builder.sign(&self.issued.key, MessageDigest::sha256()).expect("signed");
        Issued { certificate: builder.build(), key }
    }

    /// Writes the certificate of the authority.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let file = folder.join("authority.pem");
        std::fs::write(&file, self.issued.certificate.to_pem().expect("PEM")).expect("written");
        file
    }
}

impl Issued {
    /// Writes certificate and key, the key for the owner alone.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&certificate, self.certificate.to_pem().expect("PEM")).expect("written");
        std::fs::write(&key, self.key.private_key_to_pem_pkcs8().expect("PEM")).expect("written");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        (certificate, key)
    }

    /// Lets a client show this certificate.
    pub(crate) fn show(&self, client: &mut SslConnectorBuilder) {
        client.set_certificate(&self.certificate).expect("certificate");
        client.set_private_key(&self.key).expect("key");
    }

    /// What tells this certificate from all others: its SHA-256, in hexadecimal.
    pub(crate) fn fingerprint(&self) -> String {
        let digest = self.certificate.digest(MessageDigest::sha256()).expect("a digest");
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A server that shows this certificate, offers the protocols, and asks clients for one of `clients`.
    pub(crate) fn acceptor(&self, protocols: &'static [u8], clients: Option<&Authority>) -> SslAcceptor {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("a server");
        builder.set_certificate(&self.certificate).expect("certificate");
        builder.set_private_key(&self.key).expect("key");
        builder.set_alpn_select_callback(move |_, offered| {
            select_next_proto(protocols, offered).ok_or(AlpnError::ALERT_FATAL)
        });
        if let Some(authority) = clients {
            let mut store = X509StoreBuilder::new().expect("a store");
            store.add_cert(authority.issued.certificate.clone()).expect("added");
            builder.set_verify_cert_store(store.build()).expect("a store");
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
        builder.build()
    }
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

fn named(name: &str) -> openssl::x509::X509Name {
    let mut builder = X509NameBuilder::new().expect("a name");
    builder.append_entry_by_nid(Nid::COMMONNAME, name).expect("a name");
    builder.build()
}

fn begin(name: &str, key: &PKey<Private>, validity: Validity) -> X509Builder {
    let mut serial = BigNum::new().expect("a number");
    serial.rand(120, MsbOption::MAYBE_ZERO, false).expect("a number");
    let mut builder = X509::builder().expect("a certificate");
    builder.set_version(2).expect("version");
    builder.set_serial_number(&serial.to_asn1_integer().expect("a number")).expect("serial");
    builder.set_subject_name(&named(name)).expect("subject");
    builder.set_pubkey(key).expect("key");
    // By the machine's clock, as the TLS library looks at it.
    let (from, to) = match validity {
        Validity::Now => (Asn1Time::from_unix(0), Asn1Time::days_from_now(1)),
        Validity::Past => (Asn1Time::from_unix(0), Asn1Time::from_unix(86_400)),
    };
    builder.set_not_before(&from.expect("a time")).expect("from");
    builder.set_not_after(&to.expect("a time")).expect("to");
    builder
}
