use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use flate2::read::GzDecoder;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

use super::*;
use crate::audit::tests::{open_in, relay, settings};
use crate::audit::{Auditor, End, Outcome};
use crate::config::{SinkProtocol, SinkStart};
use crate::domain::{ManualClock, SystemEntropy};

fn http(listener: &TcpListener) -> config::Sink {
    http_at(listener.local_addr().expect("an address").port())
}

fn http_at(port: u16) -> config::Sink {
    config::Sink {
        name: "collector".parse().expect("a name"),
        host: "127.0.0.1".into(),
        port,
        tls: None,
        protocol: SinkProtocol::Http { target: "/in".into(), gzip: true, token_file: None },
        start: SinkStart::Beginning,
        batch: 3,
        poll: Duration::from_millis(1),
        retry: Duration::from_millis(1),
        timeout: Duration::from_secs(20),
    }
}

fn syslog(listener: &TcpListener) -> config::Sink {
    config::Sink { protocol: SinkProtocol::Syslog { facility: 13 }, ..http(listener) }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("bound")
}

/// The trail in this folder with this sink.
fn with_sink(folder: &tempfile::TempDir, sink: &config::Sink) -> Arc<Auditor> {
    Arc::new(open_in(folder.path(), 64).with_sinks(std::slice::from_ref(sink)).expect("known"))
}

fn start(auditor: &Arc<Auditor>) -> JoinHandle<()> {
    let clock = Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH));
    let sink = Arc::clone(auditor.sinks().first().expect("a sink"));
    tokio::spawn(run(Arc::clone(auditor), sink, clock, Arc::new(SystemEntropy)))
}

/// Two records on disk, the second refers to the first.
async fn exchange(auditor: &Auditor) {
    let end = auditor.end() + 2;
    let row = auditor.reserve().await.expect("room").open_row(relay()).await.expect("committed");
    row.close(Outcome { status: Some(200), ..Outcome::of(End::Completed, Timestamp::UNIX_EPOCH) });
    while auditor.end() < end {
        tokio::task::yield_now().await;
    }
}

/// What a receiver does with a batch.
#[derive(Clone, Copy)]
enum Answer {
    Status(&'static str),
    /// Closes without one.
    Nothing,
}

/// One request as a collector gets it: its head, and the places of the records in its body.
struct Got {
    head: String,
    body: Vec<u8>,
}

impl Got {
    fn documents(&self) -> Vec<Value> {
        let mut text = String::new();
        if self.head.contains("content-encoding: gzip") {
            GzDecoder::new(self.body.as_slice()).read_to_string(&mut text).expect("gzip");
        } else {
            text.push_str(std::str::from_utf8(&self.body).expect("UTF-8"));
        }
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn places(&self) -> Vec<i64> {
        self.documents().iter().map(|document| document["seq"].as_i64().expect("a place")).collect()
    }
}

/// A collector that answers as told, and with 204 when it is told nothing more.
fn collector(listener: TcpListener, answers: Vec<Answer>) -> UnboundedReceiver<Got> {
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Some(got) = request(&mut stream).await {
                let answer = answers.next().unwrap_or(Answer::Status("204 No Content"));
                if sender.send(got).is_err() {
                    return;
                }
                let Answer::Status(status) = answer else { break };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    receiver
}

async fn request(stream: &mut TcpStream) -> Option<Got> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.expect("a length").parse().expect("a number");
            if bytes.len() >= end + 4 + length {
                return Some(Got { head, body: bytes.split_off(end + 4) });
            }
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

async fn next(receiver: &mut UnboundedReceiver<Got>) -> Got {
    tokio::time::timeout(Duration::from_secs(30), receiver.recv()).await.expect("in time").expect("running")
}

/// Waits until the sink has delivered up to `place`.
async fn until_delivered(auditor: &Auditor, place: i64) {
    for _ in 0..30_000 {
        if auditor.shipped_to() == Some(place) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{:?}", auditor.sink_reports(Timestamp::UNIX_EPOCH));
}

#[tokio::test]
async fn every_record_arrives_in_order_whatever_the_receiver_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = listener().await;
    let auditor = with_sink(&folder, &http(&listener));
    for _ in 0..5 {
        exchange(&auditor).await;
    }
    let refused = Answer::Status("500 Internal Server Error");
    let script = vec![refused, Answer::Status("204 No Content"), Answer::Nothing, refused, Answer::Nothing];
    let mut got = collector(listener, script);
    let running = start(&auditor);
    let places = [
        vec![1, 2, 3],
        vec![1, 2, 3],
        vec![4, 5, 6],
        vec![4, 5, 6],
        vec![4, 5, 6],
        vec![4, 5, 6],
        vec![7, 8, 9],
        vec![10],
    ];
    for wanted in places {
        assert_eq!(next(&mut got).await.places(), wanted);
    }
    until_delivered(&auditor, 10).await;
    running.abort();
    let report = auditor.sink_reports(Timestamp::UNIX_EPOCH).remove(0);
    assert_eq!((report.state, report.lag_records, report.failures), (SinkState::Ok, 0, 0));
    assert!(got.try_recv().is_err(), "nothing comes twice without a failure");
}

#[tokio::test]
async fn a_record_says_what_the_row_says_and_an_outcome_names_its_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = listener().await;
    let auditor = with_sink(&folder, &http(&listener));
    exchange(&auditor).await;
    let mut got = collector(listener, Vec::new());
    let running = start(&auditor);
    let got = next(&mut got).await;
    running.abort();
    assert!(got.head.starts_with("post /in http/1.1") && got.head.contains("application/x-ndjson"), "{}", got.head);
    let documents = got.documents();
    let member = |document: usize, name: &str| documents[document][name].clone();
    assert_eq!((member(0, "record"), member(1, "record")), ("decision".into(), "outcome".into()));
    assert_eq!(
        (member(0, "kind"), member(0, "path"), member(0, "node")),
        ("relay".into(), "/v1/a".into(), "test".into())
    );
    assert_eq!((member(0, "at"), member(1, "status")), ("1970-01-01T00:00:00Z".into(), 200.into()));
    assert!(member(0, "id").is_string() && member(0, "verdicts").is_array(), "{documents:?}");
    assert_eq!((member(0, "id"), member(1, "decision_seq")), (member(1, "id"), 1.into()));
}

#[tokio::test]
async fn a_sink_goes_on_where_it_stopped_and_a_new_one_starts_where_it_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (listener().await, listener().await);
    let (sink, late) =
        (http(&first), config::Sink { start: SinkStart::Now, name: "late".parse().expect("a name"), ..http(&second) });
    let auditor = with_sink(&folder, &sink);
    exchange(&auditor).await;
    let mut got = collector(first, Vec::new());
    let running = start(&auditor);
    assert_eq!(next(&mut got).await.places(), [1, 2]);
    until_delivered(&auditor, 2).await;
    running.abort();
    let _ = running.await;
    auditor.stop();
    drop(auditor);
    let auditor = with_sink(&folder, &sink);
    assert_eq!(auditor.shipped_to(), Some(2));
    exchange(&auditor).await;
    let running = start(&auditor);
    assert_eq!(next(&mut got).await.places(), [3, 4]);
    running.abort();
    let _ = running.await;
    drop(auditor);
    let auditor = with_sink(&folder, &late);
    assert_eq!(auditor.shipped_to(), Some(4));
}

#[tokio::test]
async fn a_batch_that_is_too_large_for_the_receiver_is_halved() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = listener().await;
    let auditor = with_sink(&folder, &config::Sink { batch: 4, ..http(&listener) });
    for _ in 0..3 {
        exchange(&auditor).await;
    }
    let too_large = Answer::Status("413 Content Too Large");
    let mut got = collector(listener, vec![too_large, too_large]);
    let running = start(&auditor);
    for wanted in [vec![1, 2, 3, 4], vec![1, 2], vec![1], vec![2, 3], vec![4, 5, 6]] {
        assert_eq!(next(&mut got).await.places(), wanted);
    }
    running.abort();
}

#[tokio::test]
async fn what_a_sink_has_not_delivered_is_not_pruned() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = listener().await;
    let auditor = with_sink(&folder, &http(&listener));
    exchange(&auditor).await;
    let later = Timestamp::from_second(10).expect("a time");
    assert_eq!(auditor.prunable(later, auditor.shipped_to()).expect("read"), None);
    let mut got = collector(listener, Vec::new());
    let running = start(&auditor);
    next(&mut got).await;
    until_delivered(&auditor, 2).await;
    running.abort();
    let pruned = auditor.prunable(later, auditor.shipped_to()).expect("read").expect("some");
    assert_eq!(pruned.through, 2);
    let pruning = Arc::clone(&auditor);
    let done = tokio::task::spawn_blocking(move || pruning.prune(&pruned, later, relay()));
    done.await.expect("ended").expect("pruned");
    let left: Vec<_> = auditor.records_after(0, 10).expect("read").iter().map(|record| record.seq).collect();
    assert_eq!(left, [3], "what is gone is passed over");
}

#[test]
fn pauses_double_up_to_five_minutes_and_a_receiver_may_ask_for_longer_ones() {
    let sink = Sink::new(config::Sink { retry: Duration::from_secs(1), ..http_at(1) }, 0);
    let mut pauses: Vec<u64> = (0..12).map(|_| sink.failed(&SinkError::TimedOut, 0).as_secs()).collect();
    assert_eq!(pauses.split_off(8), [256, 300, 300, 300]);
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128]);
    assert_eq!(sink.failed(&SinkError::TimedOut, 255).as_secs(), 374, "a quarter more at most");
    sink.delivered(1, 1, Timestamp::UNIX_EPOCH);
    let asked = |seconds| SinkError::Refused { status: 429, retry_after: Some(Duration::from_secs(seconds)) };
    assert_eq!((sink.failed(&asked(20), 0).as_secs(), sink.failed(&asked(100_000), 0).as_secs()), (20, 300));
}

#[tokio::test]
async fn the_token_goes_to_the_receiver_and_nowhere_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = listener().await;
    let file = folder.path().join("token");
    let token = "collector-token-4711";
    let write = |text: &str, mode| {
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("set");
    };
    let protocol = SinkProtocol::Http { target: "/in".into(), gzip: false, token_file: Some(file.clone()) };
    let auditor = with_sink(&folder, &config::Sink { protocol, ..http(&listener) });
    exchange(&auditor).await;
    let shown = |auditor: &Auditor| format!("{:?} {auditor:?}", auditor.sink_reports(Timestamp::UNIX_EPOCH));
    write(token, 0o644);
    let mut got = collector(listener, vec![Answer::Status("401 Unauthorized")]);
    let running = start(&auditor);
    while !shown(&auditor).contains("is open to others (mode 0644)") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(got.try_recv().is_err(), "a token that others can read is not used");
    write(&format!("{token}\n"), 0o600);
    assert!(next(&mut got).await.head.contains(&format!("authorization: bearer {token}")));
    write(&format!("Splunk {token}"), 0o600);
    assert!(next(&mut got).await.head.contains(&format!("authorization: splunk {token}")), "read anew");
    until_delivered(&auditor, 2).await;
    running.abort();
    assert!(!shown(&auditor).contains(token));
}

/// Takes frames of RFC 6587 apart.
fn frames(mut bytes: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
        let length: usize = std::str::from_utf8(&bytes[..space]).expect("digits").parse().expect("a number");
        frames.push(String::from_utf8(bytes[space + 1..space + 1 + length].to_vec()).expect("UTF-8"));
        bytes = &bytes[space + 1 + length..];
    }
    assert!(bytes.is_empty(), "a frame was cut");
    frames
}

#[tokio::test]
async fn a_syslog_receiver_confirms_by_reading_to_the_end_and_closing() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = listener().await;
    let auditor = with_sink(&folder, &syslog(&listener));
    exchange(&auditor).await;
    let running = start(&auditor);
    // It dies with the batch unread: the system resets the connection.
    let (stream, _) = listener.accept().await.expect("a connection");
    stream.readable().await.expect("something came");
    stream.set_zero_linger().expect("set");
    drop(stream);
    let (mut stream, _) = listener.accept().await.expect("another try");
    assert_eq!(auditor.shipped_to(), Some(0), "nothing was confirmed");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("the sink says that no more comes");
    assert_eq!(auditor.shipped_to(), Some(0), "not yet");
    drop(stream);
    until_delivered(&auditor, 2).await;
    running.abort();
    let frames = frames(&bytes);
    let [decision, outcome] = frames.as_slice() else { panic!("{frames:?}") };
    // Facility 13, severity informational.
    assert!(
        decision.starts_with("<110>1 1970-01-01T00:00:00.000000Z ") && decision.contains(" erp-access "),
        "{decision}"
    );
    assert!(decision.contains(" decision [erp-access@32473 seq=\"1\" id=\""), "{decision}");
    assert!(outcome.contains(" outcome [erp-access@32473 seq=\"2\" id=\""), "{outcome}");
    let (_, json) = decision.split_once('\u{feff}').expect("a byte order mark");
    assert_eq!(serde_json::from_str::<Value>(json).expect("JSON")["path"], "/v1/a");
}

#[test]
fn what_a_client_sends_cannot_end_a_syslog_message_or_its_structured_data() {
    let json =
        serde_json::json!({ "record": "decision", "id": "a\"] x\\", "decision": "denied", "path": "/\n<0>1 forged" });
    let line = json.to_string();
    let record = StoredRecord { seq: 7, at: Timestamp::UNIX_EPOCH, json, line };
    let body = syslog::body(&[record], 13);
    let [message] = frames(&body).try_into().expect("one frame");
    assert!(message.starts_with("<108>1 "), "a denial is a warning: {message}");
    assert!(message.contains(r#"id="a\"\] x\\"]"#) && !message.contains('\n'), "{message}");
}

#[test]
fn a_trail_without_sinks_holds_nothing_back() {
    let folder = tempfile::tempdir().expect("a folder");
    Auditor::migrate(&settings(folder.path())).expect("migrated");
    assert_eq!(open_in(folder.path(), 64).shipped_to(), None);
}
