//! The rows of requests that Pingora or the limits of a connection refuse, so that no filter ever sees them.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::audit::{Auditor, Entry, Kind, Redactor, Step, Verdict};
use crate::domain::{Clock, Code, Entropy, RequestId};

use super::connections::Refused;
use super::head_watch::Seen;

/// Longest path kept, in characters.
const LONGEST_PATH: usize = 200;
/// Pingora's own limit on a head, in bytes.
const LARGEST_HEAD: usize = 1_048_575;

/// Leaves rows of what no filter sees.
pub(super) struct UnreadRows {
    pub(super) auditor: Arc<Auditor>,
    pub(super) redactor: Arc<Redactor>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
}

/// Why no filter saw it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unread {
    /// Pingora could not read the head, and answered.
    Refused(u16),
    /// The head did not arrive in time.
    Late,
    /// A connection of HTTP/2 broke its rules.
    NotHttp2,
    /// A connection of HTTP/2 asked for too much, so many times.
    TooManyStreams(usize),
    /// A proxy did not say for whom the connection is.
    ForNobody,
    /// There is no room for the connection.
    TooMany(Refused),
}

impl fmt::Debug for UnreadRows {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("UnreadRows")
    }
}

impl UnreadRows {
    /// Leaves the row. Never waits: without room it is counted, and the log says so once.
    pub(super) fn leave(&self, unread: Unread, client: Option<IpAddr>, seen: &Seen) {
        let now = self.clock.now();
        let Ok(id) = RequestId::new(now, &*self.entropy) else { return };
        let (code, status) = match unread {
            Unread::Refused(status) => (Code::BadRequest, Some(status)),
            Unread::NotHttp2 | Unread::ForNobody => (Code::BadRequest, None),
            Unread::Late => (Code::RequestTimeout, None),
            Unread::TooMany(_) | Unread::TooManyStreams(_) => (Code::Overloaded, None),
        };
        let (method, path) = self.request_line(&seen.start);
        self.auditor.leave(Entry {
            client,
            method,
            path,
            code: Some(code),
            status,
            verdicts: vec![Verdict::denied(Step::Request, reason(unread, seen))],
            ..Entry::new(id, Kind::Relay, now)
        });
    }

    /// Method and path, where the first line begins as one of HTTP. SECURITY: anything else may be a secret, and the query
    /// may hold one.
    fn request_line(&self, start: &[u8]) -> (Cow<'static, str>, String) {
        let line = start.trim_ascii_start().split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let mut words = line.split(|byte| *byte == b' ');
        let method = words.next().unwrap_or_default();
        if !(1..=16).contains(&method.len()) || !method.iter().all(u8::is_ascii_uppercase) {
            return (Cow::Borrowed(""), String::new());
        }
        let path = words.next().filter(|target| target.starts_with(b"/")).unwrap_or_default();
        let path = String::from_utf8_lossy(path.split(|byte| *byte == b'?').next().unwrap_or_default());
        let path = self.redactor.text(&path).chars().take(LONGEST_PATH).collect();
        (String::from_utf8_lossy(method).into_owned().into(), path)
    }
}

fn reason(unread: Unread, seen: &Seen) -> Cow<'static, str> {
    match unread {
        Unread::Refused(405) => "CONNECT is not served".into(),
        // A handshake begins with the record type 22 and the major version 3 (RFC 8446 section 5.1).
        Unread::Refused(_) if seen.start.starts_with(&[22, 3]) => "TLS was spoken where plain HTTP is".into(),
        Unread::Refused(_) if seen.bytes > LARGEST_HEAD => {
            format!("the head is larger than {LARGEST_HEAD} bytes").into()
        }
        Unread::Refused(_) => "the head could not be read: its first line, a header or its framing is wrong".into(),
        Unread::ForNobody => {
            "the connection comes from `gateway.proxy_protocol`, and does not begin with a PROXY header; closed".into()
        }
        Unread::NotHttp2 => "what came breaks the rules of HTTP/2 (RFC 9113); closed".into(),
        Unread::TooManyStreams(refused) => {
            format!("too much was asked for on one connection of HTTP/2, {refused} streams were refused; closed").into()
        }
        Unread::Late => {
            format!("the head did not arrive in time; {} bytes came; closed without an answer", seen.bytes).into()
        }
        Unread::TooMany(Refused::OfAll(open)) => {
            format!("{open} connections are open, as many as are allowed; closed").into()
        }
        Unread::TooMany(Refused::OfAddress(open)) => {
            format!("{open} connections of this address are open, as many as are allowed; closed").into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{AuditSettings, Filter, Guarantee, QueueSettings, Row, Synchronous};
    use crate::domain::{ManualClock, SystemEntropy};
    use crate::secrets::{AppKey, KeyRing};
    use std::time::Duration;

    struct Rows {
        rows: UnreadRows,
        _folder: tempfile::TempDir,
    }

    impl Rows {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let settings = AuditSettings {
                directory: folder.path().to_owned(),
                synchronous: Synchronous::Normal,
                busy_timeout: Duration::from_millis(100),
            };
            Auditor::migrate(&settings).expect("migrated");
            let queue = QueueSettings {
                fold_after: 1000,
                rows: 2,
                bytes: 1 << 20,
                preview_bytes: 0,
                reserve_timeout: Duration::ZERO,
                guarantee: Guarantee::BeforeRelay,
                node: "test".into(),
                stalled_after: Duration::from_secs(10),
            };
            let ring = KeyRing::new(&AppKey::generate(&SystemEntropy).expect("entropy"), &[]).expect("derived");
            let clock = Arc::new(ManualClock::at(jiff::Timestamp::UNIX_EPOCH));
            let auditor = Auditor::open(&settings, queue, Arc::new(ring), clock.clone()).expect("opened");
            let rows = UnreadRows {
                auditor: Arc::new(auditor),
                redactor: Arc::new(Redactor::default()),
                clock,
                entropy: Arc::new(SystemEntropy),
            };
            Self { rows, _folder: folder }
        }

        fn row_of(self, start: &[u8]) -> Row {
            let seen = Seen { start: start.to_vec(), bytes: start.len(), ..Seen::default() };
            self.rows.leave(Unread::Refused(400), Some([127, 0, 0, 1].into()), &seen);
            self.rows.auditor.stop();
            self.rows.auditor.search(&Filter { last: 1, ..Filter::default() }).expect("rows").remove(0)
        }
    }

    #[test]
    fn what_is_no_request_line_is_not_kept() {
        for start in [b"Authorization: Bearer hunter2".as_slice(), b"\x16\x03\x01hunter2", b"PASSWORD hunter2", b""] {
            let row = Rows::new().row_of(start);
            assert!(!format!("{row:?}").contains("hunter2"), "{row:?}");
        }
    }

    #[test]
    fn method_and_path_are_kept_short_and_printable_and_the_query_is_not() {
        let row = Rows::new().row_of(b"\r\nGET /v1/\x1b[31morders?token=hunter2 HTTP/9\r\nX: hunter2\r\n");
        assert_eq!((row.method.as_str(), row.code.as_deref(), row.status), ("GET", Some("bad_request"), Some(400)));
        assert!(row.path.starts_with("/v1/") && row.path.ends_with("orders"), "{}", row.path);
        assert!(!format!("{row:?}").contains("hunter2") && !row.path.contains('\u{1b}'), "{row:?}");
        let long = [b"GET /".as_slice(), &[b'a'; 500]].concat();
        assert_eq!(Rows::new().row_of(&long).path.len(), LONGEST_PATH);
    }

    #[test]
    fn without_room_a_row_is_counted_and_nobody_waits() {
        let rows = Rows::new();
        let taken = rows.rows.auditor.try_reserve().expect("the only room");
        rows.rows.leave(Unread::TooMany(Refused::OfAll(1)), None, &Seen::default());
        assert_eq!(rows.rows.auditor.health().lost, 1);
        drop(taken);
    }
}
