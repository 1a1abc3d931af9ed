//! What runs beside the subjects, as processes of their own: the ERP, and Pingora without any of us.

use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Answers a list of orders of 1 KiB to everything, and 1 MiB to `/v1/download`.
pub(crate) fn erp(address: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.expect("bound");
        let answer = |size: usize| -> Bytes {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n");
            let mut body = String::from("[");
            for number in 1.. {
                let order = format!(
                    "{{\"id\":{number},\"state\":\"confirmed\",\"customer\":\"ACME GmbH\",\"total\":\"{number}.90\",\"currency\":\"EUR\"}},"
                );
                if body.len() + order.len() + 2 > size {
                    break;
                }
                body.push_str(&order);
            }
            body.push_str("{}");
            body.push_str(&" ".repeat(size - 1 - body.len()));
            body.push(']');
            (head + &body).into()
        };
        let (short, long) = (answer(1 << 10), answer(1 << 20));
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream, short.clone(), long.clone()));
        }
    });
}

async fn serve(mut stream: TcpStream, short: Bytes, long: Bytes) -> Option<()> {
    let mut buffer = BytesMut::with_capacity(64 << 10);
    loop {
        let end = loop {
            if let Some(end) = memchr::memmem::find(&buffer, b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        let head = buffer.split_to(end);
        let text = std::str::from_utf8(&head).ok()?.to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        while buffer.len() < length {
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        }
        drop(buffer.split_to(length));
        let answer = if text.contains(" /v1/download") { &long } else { &short };
        stream.write_all(answer).await.ok()?;
    }
}

struct Bare(HttpPeer);

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora_core::Result<Box<HttpPeer>> {
        Ok(Box::new(self.0.clone()))
    }
}

/// Where TLS is spoken, with this certificate and its key.
pub(crate) struct OverTls<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: &'a str,
    pub(crate) key: &'a str,
}

/// Relays everything.
pub(crate) fn bare(plain: SocketAddr, erp: SocketAddr, tls: Option<OverTls<'_>>) {
    let mut server = Server::new_with_opt_and_conf(None, ServerConf { threads: 1, ..ServerConf::default() });
    server.bootstrap();
    #[expect(clippy::disallowed_methods, reason = "a socket address resolves to itself")]
    let peer = HttpPeer::new(erp, false, String::new());
    let mut service = http_proxy_service(&server.configuration, Bare(peer));
    service.add_tcp(&plain.to_string());
    if let Some(tls) = tls {
        let mut settings = TlsSettings::intermediate(tls.certificate, tls.key).expect("TLS");
        settings.enable_h2();
        service.add_tls_with_settings(&tls.address.to_string(), None, settings);
    }
    server.add_service(service);
    server.run_forever();
}
