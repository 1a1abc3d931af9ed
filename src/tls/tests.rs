use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};

use super::*;

const OFFER: Offer = Offer { protocols: Protocols::Http1, client_authorities: None };

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

fn certificate(names: &[&str], key: &PKey<Private>) -> X509 {
    let mut name = X509NameBuilder::new().expect("a name");
    name.append_entry_by_text("CN", "nobody.example").expect("an entry");
    let name = name.build();
    let mut builder = X509::builder().expect("a builder");
    builder.set_version(2).expect("a version");
    builder.set_subject_name(&name).expect("a subject");
    builder.set_issuer_name(&name).expect("an issuer");
    builder.set_pubkey(key).expect("a key");
    builder.set_not_before(&Asn1Time::from_unix(1_700_000_000).expect("a time")).expect("set");
    builder.set_not_after(&Asn1Time::from_unix(1_900_000_000).expect("a time")).expect("set");
    if !names.is_empty() {
        let mut alternative = SubjectAlternativeName::new();
        for name in names {
            alternative.dns(name);
        }
        let extension = alternative.build(&builder.x509v3_context(None, None)).expect("an extension");
        builder.append_extension(extension).expect("added");
    }
    builder.sign(key, MessageDigest::sha256()).expect("signed");
    builder.build()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn put(&self, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        path
    }

    fn pair(&self, name: &str, names: &[&str]) -> CertificateFiles {
        let key = key();
        let certificate = certificate(names, &key);
        CertificateFiles {
            chain: self.put(&format!("{name}.pem"), &certificate.to_pem().expect("PEM"), 0o644),
            key: self.put(&format!("{name}.key"), &key.private_key_to_pem_pkcs8().expect("PEM"), 0o640),
        }
    }
}

/// The first name of the certificate that a context shows.
fn shown(certificates: &Certificates, name: Option<&str>) -> String {
    let context = certificates.context(name).expect("one");
    let ssl = openssl::ssl::Ssl::new(&context).expect("a connection");
    let names = ssl.certificate().expect("a certificate").subject_alt_names().expect("names");
    names.iter().find_map(|name| name.dnsname().map(str::to_owned)).expect("a name")
}

#[test]
fn the_certificate_is_the_one_for_the_name_that_is_asked_for() {
    let folder = Folder::new();
    let files = vec![folder.pair("a", &["api.example"]), folder.pair("b", &["*.Branch.example", "other.example"])];
    let certificates = Certificates::load(files, OFFER).expect("loaded");
    for (asked, expected) in [
        (None, "api.example"),
        (Some("api.example"), "api.example"),
        (Some("API.example."), "api.example"),
        (Some("one.branch.example"), "*.Branch.example"),
        (Some("two.one.branch.example"), "api.example"),
        (Some("branch.example"), "api.example"),
        (Some(".branch.example"), "api.example"),
        (Some("unknown.example"), "api.example"),
    ] {
        assert_eq!(shown(&certificates, asked), expected, "{asked:?}");
    }
    let told = certificates.told();
    assert_eq!(told[1].names, ["*.branch.example", "other.example"]);
    assert_eq!(told[0].ends_at.as_second(), 1_900_000_000);
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_file() {
    let folder = Folder::new();
    let (good, other) = (folder.pair("good", &["a.example"]), folder.pair("other", &["b.example"]));
    let open =
        CertificateFiles { key: folder.put("open.key", &fs::read(&good.key).expect("read"), 0o644), ..good.clone() };
    let nobody = {
        let key = key();
        let certificate = certificate(&[], &key);
        CertificateFiles {
            chain: folder.put("nobody.pem", &certificate.to_pem().expect("PEM"), 0o644),
            key: folder.put("nobody.key", &key.private_key_to_pem_pkcs8().expect("PEM"), 0o600),
        }
    };
    let locked =
        key().private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_128_cbc(), b"secret").expect("PEM");
    let files = vec![
        good.clone(),
        CertificateFiles { chain: folder.0.path().join("missing.pem"), ..good.clone() },
        CertificateFiles { chain: folder.put("text.pem", b"hello", 0o644), ..good.clone() },
        CertificateFiles { key: other.key.clone(), ..good.clone() },
        CertificateFiles { key: folder.put("locked.key", &locked, 0o600), ..good.clone() },
        open,
        nobody,
    ];
    let errors = Certificates::load(files, OFFER).expect_err("refused");
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let expected = [
        "missing.pem` cannot be read",
        "text.pem` holds no certificate",
        "does not belong to the certificate",
        "locked.key` holds no private key",
        "open.key` is open to others (mode 0644)",
        "nobody.pem` names no host",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn renewed_files_are_shown_and_broken_ones_change_nothing() {
    let folder = Folder::new();
    let files = folder.pair("a", &["first.example"]);
    let certificates = Certificates::load(vec![files.clone()], OFFER).expect("loaded");
    assert!(!certificates.renew(Look::ByItself).expect("nothing is wrong"), "nothing has changed");
    fs::remove_file(&files.chain).expect("removed");
    assert!(!certificates.renew(Look::ByItself).expect("half of it may be on its way"));
    assert_eq!(certificates.problem(), None);
    certificates.renew(Look::ByItself).expect_err("it is missing still");
    assert_eq!(shown(&certificates, None), "first.example");
    assert!(certificates.problem().is_some_and(|problem| problem.contains("a.pem")));
    assert!(!certificates.renew(Look::Asked).expect("told once"), "it is told once");
    assert!(certificates.problem().is_some(), "and stays so");
    folder.pair("a", &["second.example"]);
    fs::write(&files.key, "half").expect("written");
    certificates.renew(Look::Asked).expect_err("whoever asks is told at once");
    folder.pair("a", &["second.example"]);
    assert!(certificates.renew(Look::ByItself).expect("renewed"));
    assert_eq!(shown(&certificates, None), "second.example");
    assert_eq!(certificates.problem(), None);
}
