//! Connections that a proxy has made for somebody: it says for whom, by the PROXY protocol of `HAProxy` (versions 1 and 2).

use std::io;
use std::net::{IpAddr, SocketAddr};

use pingora_core::protocols::l4::socket::SocketAddr as AnyAddress;
use pingora_core::protocols::{SocketDigest, Stream};
use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Longest first line of version 1, in bytes, with its end.
const LONGEST_LINE: usize = 107;
/// Most that version 2 may say besides, in bytes: addresses take 36, and proxies add little.
const MOST_BESIDES: usize = 1024;
/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The proxy has not said for whom the connection is.
#[derive(Debug)]
pub(super) enum Unsaid {
    /// It closed the connection before it said anything, as those do that only look whether we live.
    Nothing,
    /// What it said is none of the protocol.
    Malformed,
}

/// Reads for whom a connection is; `None` where the proxy speaks for itself.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, Unsaid> {
    let malformed = |_: io::Error| Unsaid::Malformed;
    let mut head = vec![0; SIGNATURE.len()];
    let Some((first, rest)) = head.split_first_mut() else { return Err(Unsaid::Malformed) };
    *first = stream.read_u8().await.map_err(|_| Unsaid::Nothing)?;
    stream.read_exact(rest).await.map_err(malformed)?;
    if head == SIGNATURE {
        let (kind, length) = (stream.read_u16().await.map_err(malformed)?, stream.read_u16().await.map_err(malformed)?);
        head.extend(kind.to_be_bytes());
        head.extend(length.to_be_bytes());
        let besides = usize::from(length);
        if besides > MOST_BESIDES {
            return Err(Unsaid::Malformed);
        }
        let from = head.len();
        head.resize(from + besides, 0);
        stream.read_exact(head.get_mut(from..).unwrap_or_default()).await.map_err(malformed)?;
        return of_version_2(&head);
    }
    if !head.starts_with(b"PROXY ") {
        return Err(Unsaid::Malformed);
    }
    while !head.ends_with(b"\r\n") {
        if head.len() >= LONGEST_LINE {
            return Err(Unsaid::Malformed);
        }
        head.push(stream.read_u8().await.map_err(malformed)?);
    }
    of_version_1(&head)
}

fn of_version_1(line: &[u8]) -> Result<Option<SocketAddr>, Unsaid> {
    match v1::Header::try_from(line).map_err(|_| Unsaid::Malformed)?.addresses {
        v1::Addresses::Tcp4(said) => Ok(Some((said.source_address, said.source_port).into())),
        v1::Addresses::Tcp6(said) => Ok(Some((said.source_address, said.source_port).into())),
        v1::Addresses::Unknown => Ok(None),
    }
}

fn of_version_2(header: &[u8]) -> Result<Option<SocketAddr>, Unsaid> {
    let header = v2::Header::try_from(header).map_err(|_| Unsaid::Malformed)?;
    match (header.command, header.addresses) {
        (v2::Command::Local, _) | (v2::Command::Proxy, v2::Addresses::Unspecified) => Ok(None),
        (v2::Command::Proxy, v2::Addresses::IPv4(said)) => Ok(Some((said.source_address, said.source_port).into())),
        (v2::Command::Proxy, v2::Addresses::IPv6(said)) => Ok(Some((said.source_address, said.source_port).into())),
        (v2::Command::Proxy, v2::Addresses::Unix(_)) => Err(Unsaid::Malformed),
    }
}

/// The connection comes from there, for everything behind this.
pub(super) fn comes_from(stream: &mut Stream, address: SocketAddr) {
    let digest = SocketDigest::from_raw_fd(stream.id());
    // The only time that it is set.
    let _ = digest.peer_addr.set(Some(AnyAddress::Inet(address)));
    stream.set_socket_digest(digest);
}

/// The address of whoever made the connection, IPv4 as IPv4 on a listener for both families too.
pub(super) fn address_of(stream: &Stream) -> Option<IpAddr> {
    let digest = stream.get_socket_digest()?;
    digest.peer_addr().and_then(|address| address.as_inet()).map(|address| address.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(bytes: &[u8]) -> Result<Option<String>, String> {
        let mut left = bytes;
        let read = read(&mut left).await.map_err(|unsaid| format!("{unsaid:?}"))?;
        assert_eq!(left, b"GET", "only the header is taken");
        Ok(read.map(|address| address.to_string()))
    }

    fn version_2(kind: [u8; 2], besides: &[u8]) -> Vec<u8> {
        let length = u16::try_from(besides.len()).expect("a length").to_be_bytes();
        [&SIGNATURE[..], &kind, &length, besides, b"GET"].concat()
    }

    #[tokio::test]
    async fn both_versions_say_for_whom_a_connection_is() {
        let to = |address: &str| Ok(Some(address.to_owned()));
        assert_eq!(said(b"PROXY TCP4 192.0.2.7 10.0.0.1 51000 443\r\nGET").await, to("192.0.2.7:51000"));
        assert_eq!(said(b"PROXY TCP6 2001:db8::7 ::1 51000 443\r\nGET").await, to("[2001:db8::7]:51000"));
        assert_eq!(said(b"PROXY UNKNOWN\r\nGET").await, Ok(None));
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0xc7, 0x38, 1, 0xbb];
        assert_eq!(said(&version_2([0x21, 0x11], &four)).await, to("192.0.2.7:51000"));
        let more = [&four[..], &[4, 0, 1, 0]].concat();
        assert_eq!(said(&version_2([0x21, 0x11], &more)).await, to("192.0.2.7:51000"), "with more than addresses");
        assert_eq!(said(&version_2([0x20, 0x00], &[])).await, Ok(None), "the proxy itself");
        assert_eq!(said(&version_2([0x20, 0x11], &four)).await, Ok(None), "the proxy itself");
    }

    #[tokio::test]
    async fn everything_else_is_refused() {
        let unix = [0; 216];
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7".to_vec(),
            b"PROXY TCP4 192.0.2.700 10.0.0.1 51000 443\r\nGET".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 510000 443\r\nGET".to_vec(),
            [&b"PROXY UNKNOWN "[..], &[b'x'; 200], b"\r\nGET"].concat(),
            version_2([0x11, 0x11], &[0; 12]),
            version_2([0x21, 0x11], &[0; 3]),
            version_2([0x21, 0x31], &unix),
            version_2([0x21, 0x11], &[0; 2000]),
            SIGNATURE.to_vec(),
        ] {
            let mut left = bytes.as_slice();
            assert!(matches!(read(&mut left).await, Err(Unsaid::Malformed)), "{}", bytes.escape_ascii());
        }
        assert!(matches!(read(&mut &b""[..]).await, Err(Unsaid::Nothing)));
    }
}
