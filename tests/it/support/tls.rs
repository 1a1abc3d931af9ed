//! Certificates made for one test, and servers that use them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{AlpnError, SslAcceptor, SslAcceptorBuilder, SslMethod, SslVerifyMode, select_next_proto};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509NameBuilder};

/// A certificate and its key.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: X509,
    pub(crate) key: PKey<Private>,
}

/// A certificate authority of its own.
pub(crate) struct Authority(Pair);

impl Authority {
    pub(crate) fn new() -> Self {
        Self(make("test authority", None))
    }

    pub(crate) fn issue(&self, name: &str) -> Pair {
        make(name, Some(&self.0))
    }

    /// Writes the authority's certificate into `folder`.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let file = folder.join("ca.pem");
        std::fs::write(&file, self.0.certificate.to_pem().expect("PEM")).expect("written");
        file
    }
}

impl Pair {
    /// Writes certificate and key into `folder`.
    pub(crate) fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join("own.pem"), folder.join("own.key"));
        std::fs::write(&certificate, self.certificate.to_pem().expect("PEM")).expect("written");
        std::fs::write(&key, self.key.private_key_to_pem_pkcs8().expect("PEM")).expect("written");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        (certificate, key)
    }
}

fn make(name: &str, signer: Option<&Pair>) -> Pair {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
    let mut subject = X509NameBuilder::new().expect("a name");
    subject.append_entry_by_text("CN", name).expect("a name");
    let subject = subject.build();
    let mut builder = X509::builder().expect("a builder");
    builder.set_version(2).expect("set");
    let serial = BigNum::from_u32(if signer.is_some() { 2 } else { 1 }).and_then(|number| number.to_asn1_integer());
    builder.set_serial_number(&serial.expect("a number")).expect("set");
    builder.set_subject_name(&subject).expect("set");
    builder.set_issuer_name(signer.map_or(&subject, |signer| signer.certificate.subject_name())).expect("set");
    builder.set_not_before(&Asn1Time::days_from_now(0).expect("a time")).expect("set");
    builder.set_not_after(&Asn1Time::days_from_now(2).expect("a time")).expect("set");
    builder.set_pubkey(&key).expect("set");
    if signer.is_some() {
        let context = builder.x509v3_context(signer.map(|signer| &*signer.certificate), None);
        let names = SubjectAlternativeName::new().dns(name).build(&context).expect("an extension");
        builder.append_extension(names).expect("set");
    } else {
        builder.append_extension(BasicConstraints::new().critical().ca().build().expect("an extension")).expect("set");
    }
    builder.sign(signer.map_or(&key, |signer| &signer.key), MessageDigest::sha256()).expect("signed");
    Pair { certificate: builder.build(), key }
}

fn acceptor(pair: &Pair) -> SslAcceptorBuilder {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("an acceptor");
    acceptor.set_certificate(&pair.certificate).expect("set");
    acceptor.set_private_key(&pair.key).expect("set");
    acceptor
}

/// An ERP with TLS that answers 200 to everything, and counts.
pub(crate) struct TlsErp {
    pub(crate) address: SocketAddr,
    answered: Arc<AtomicUsize>,
}

impl TlsErp {
    /// With `clients`, only clients with a certificate of that authority are served.
    pub(crate) fn start(pair: &Pair, clients: Option<&Authority>) -> Self {
        let mut acceptor = acceptor(pair);
        if let Some(Authority(authority)) = clients {
            let mut store = X509StoreBuilder::new().expect("a store");
            store.add_cert(authority.certificate.clone()).expect("added");
            acceptor.set_verify_cert_store(store.build()).expect("set");
            acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
        let acceptor = Arc::new(acceptor.build());
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("an address");
        let answered = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&answered);
        std::thread::spawn(move || {
            for stream in listener.incoming().take(50).flatten() {
                let (acceptor, counted) = (Arc::clone(&acceptor), Arc::clone(&counted));
                std::thread::spawn(move || answer(&acceptor, stream, &counted));
            }
        });
        Self { address, answered }
    }

    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::Acquire)
    }
}

fn answer(acceptor: &SslAcceptor, stream: TcpStream, answered: &AtomicUsize) {
    let Ok(mut stream) = acceptor.accept(stream) else { return };
    let mut received = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        received.extend_from_slice(&chunk[..count]);
        if received.ends_with(b"\r\n\r\n") {
            received.clear();
            answered.fetch_add(1, Ordering::AcqRel);
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").is_err() {
                return;
            }
        }
    }
}

/// An ERP that speaks HTTP/2 over TLS only; its answers name the version and the header that the gateway injects.
pub(crate) fn http2_erp(pair: &Pair) -> SocketAddr {
    let mut acceptor = acceptor(pair);
    acceptor.set_alpn_select_callback(|_, offered| select_next_proto(b"\x02h2", offered).ok_or(AlpnError::ALERT_FATAL));
    let acceptor = Arc::new(acceptor.build());
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("set");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            for _ in 0..50 {
                let Ok((stream, _)) = listener.accept().await else { return };
                let acceptor = Arc::clone(&acceptor);
                tokio::spawn(async move {
                    let ssl = openssl::ssl::Ssl::new(acceptor.context()).expect("a session");
                    let mut stream = tokio_openssl::SslStream::new(ssl, stream).expect("a stream");
                    if std::pin::Pin::new(&mut stream).accept().await.is_ok() {
                        answer_http2(stream).await;
                    }
                });
            }
        });
    });
    address
}

async fn answer_http2(stream: tokio_openssl::SslStream<tokio::net::TcpStream>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let key = request.headers().get("x-erp-session").and_then(|value| value.to_str().ok()).unwrap_or("none");
        let body = format!("{:?} {} {key}", request.version(), request.uri().path());
        let response = http::Response::builder().status(200).body(()).expect("a response");
        if let Ok(mut sending) = respond.send_response(response, false) {
            let _ = sending.send_data(body.into(), true);
        }
    }
}
