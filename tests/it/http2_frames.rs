//! What RFC 9113 says of frames, headers and streams, one case after the other, in the manner of h2spec.

use crate::support::certificates::{Authority, Validity};
use crate::support::gateway::Setup;
use crate::support::http2_client::{
    ACK, CONTINUATION, DATA, Dial, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block,
};
use crate::support::recorder::Recorder;

const HOST: &str = "api.example";

const PROTOCOL_ERROR: u32 = 0x1;
const FLOW_CONTROL_ERROR: u32 = 0x3;
const STREAM_CLOSED: u32 = 0x5;
const FRAME_SIZE_ERROR: u32 = 0x6;
const COMPRESSION_ERROR: u32 = 0x9;

/// What must come of a case.
#[derive(Debug, Clone, Copy)]
enum Due {
    /// The connection ends, with one of these reasons where one is told. `PROTOCOL_ERROR` will do: it is the general one
    /// (RFC 9113 section 7), and what the `h2` library says of some frames.
    ConnectionEnds(&'static [u32]),
    /// The stream ends: reset for one of these reasons, or answered with 400; or the connection ends.
    StreamEnds(&'static [u32]),
    /// An answer with this `:status`, as its byte in the static table.
    Answer(u8),
    /// PING is answered: the connection goes on as if nothing had been.
    Nothing,
}

const OK: u8 = 0x88;
const BAD_REQUEST: u8 = 0x8c;

type Fields<'a> = Vec<(&'a str, &'a str)>;

fn fields() -> Fields<'static> {
    vec![(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/status")]
}

fn without(name: &str) -> Fields<'static> {
    fields().into_iter().filter(|(known, _)| *known != name).collect()
}

fn and(name: &'static str, value: &'static str) -> Fields<'static> {
    let mut fields = fields();
    fields.push((name, value));
    fields
}

fn with(name: &str, value: &'static str) -> Fields<'static> {
    fields().into_iter().map(|(known, kept)| (known, if known == name { value } else { kept })).collect()
}

fn get(fields: &Fields<'_>) -> Frame {
    Frame::new(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields))
}

/// Its answer waits for the body, so the stream stays open.
fn post(stream: u32) -> Frame {
    let fields = [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/oauth/token")];
    Frame::new(HEADERS, END_HEADERS, stream, &block(&fields))
}

/// Section, what is sent, what must come of it.
#[expect(clippy::too_many_lines, reason = "one line for each case")]
fn cases() -> Vec<(&'static str, Vec<Frame>, Due)> {
    use Due::{Answer, ConnectionEnds, Nothing, StreamEnds};
    let frame = Frame::new;
    let half = block(&fields());
    let (first, second) = half.split_at(half.len() / 2);
    vec![
        ("3.4 a request after the preface", vec![get(&fields())], Answer(OK)),
        ("4.1 a frame of unknown kind is ignored", vec![frame(0x16, 0, 0, b"????")], Nothing),
        ("4.1 unknown flags are ignored", vec![frame(PING, 0x10, 0, b"12345678")], Nothing),
        ("4.1 the reserved bit is ignored", vec![frame(PING, 0, 1 << 31, b"12345678")], Nothing),
        (
            "4.2 DATA longer than allowed",
            vec![post(1), frame(DATA, 0, 1, &[0; 16_385])],
            StreamEnds(&[FRAME_SIZE_ERROR]),
        ),
        (
            "4.2 HEADERS longer than allowed",
            vec![frame(HEADERS, END_HEADERS, 1, &[0; 16_385])],
            ConnectionEnds(&[FRAME_SIZE_ERROR]),
        ),
        (
            "4.3 a header block that cannot be read",
            vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x40])],
            ConnectionEnds(&[COMPRESSION_ERROR]),
        ),
        (
            "4.3 an index that is not in the table",
            vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0xff, 0x7f])],
            ConnectionEnds(&[COMPRESSION_ERROR]),
        ),
        (
            "4.3 a header block with another frame in between",
            vec![
                frame(HEADERS, 0, 1, first),
                frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]),
                frame(CONTINUATION, END_HEADERS, 1, second),
            ],
            ConnectionEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "4.3 a header block with another stream in between",
            vec![frame(HEADERS, END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 3, second)],
            ConnectionEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "6.10 a header block in two pieces",
            vec![frame(HEADERS, END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 1, second)],
            Answer(OK),
        ),
        (
            "6.10 CONTINUATION of nothing",
            vec![frame(CONTINUATION, END_HEADERS, 1, second)],
            ConnectionEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "5.1 DATA on an idle stream",
            vec![frame(DATA, END_STREAM, 1, b"x")],
            ConnectionEnds(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ),
        (
            "5.1 RST_STREAM on an idle stream",
            vec![frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())],
            ConnectionEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "5.1 WINDOW_UPDATE on an idle stream",
            vec![frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())],
            ConnectionEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "5.1 DATA after the end of the stream",
            vec![get(&fields()), frame(DATA, END_STREAM, 1, b"x")],
            StreamEnds(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        (
            "5.1.1 a stream with an even number",
            vec![Frame { stream: 2, ..get(&fields()) }],
            ConnectionEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "5.1.1 a stream with a lower number than the last",
            vec![Frame { stream: 5, ..get(&fields()) }, Frame { stream: 3, ..get(&fields()) }],
            ConnectionEnds(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ),
        (
            "5.3.1 a stream that depends on itself",
            vec![frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 255])],
            StreamEnds(&[PROTOCOL_ERROR]),
        ),
        ("6.1 DATA on the connection", vec![frame(DATA, 0, 0, b"x")], ConnectionEnds(&[PROTOCOL_ERROR])),
        (
            "6.1 padding longer than the frame",
            vec![post(1), frame(DATA, 0x8 | END_STREAM, 1, &[9, 0])],
            ConnectionEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "6.2 HEADERS on the connection",
            vec![Frame { stream: 0, ..get(&fields()) }],
            ConnectionEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "6.2 padding longer than the header block",
            vec![frame(HEADERS, 0x8 | END_HEADERS, 1, &[200, 0])],
            ConnectionEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "6.3 PRIORITY on the connection",
            vec![frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 255])],
            ConnectionEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "6.3 PRIORITY of a wrong length",
            vec![post(1), frame(PRIORITY, 0, 1, &[0, 0, 0])],
            StreamEnds(&[FRAME_SIZE_ERROR]),
        ),
        (
            "6.4 RST_STREAM on the connection",
            vec![frame(RST_STREAM, 0, 0, &8_u32.to_be_bytes())],
            ConnectionEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "6.4 RST_STREAM of a wrong length",
            vec![post(1), frame(RST_STREAM, 0, 1, &[0, 0])],
            ConnectionEnds(&[FRAME_SIZE_ERROR]),
        ),
        (
            "6.5 SETTINGS that are acknowledged with content",
            vec![frame(SETTINGS, ACK, 0, &[0; 6])],
            ConnectionEnds(&[FRAME_SIZE_ERROR]),
        ),
        ("6.5 SETTINGS on a stream", vec![frame(SETTINGS, 0, 1, &[])], ConnectionEnds(&[PROTOCOL_ERROR])),
        ("6.5 SETTINGS of a wrong length", vec![frame(SETTINGS, 0, 0, &[0; 5])], ConnectionEnds(&[FRAME_SIZE_ERROR])),
        (
            "6.5.2 ENABLE_PUSH that is neither 0 nor 1",
            vec![frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2])],
            ConnectionEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "6.5.2 a window that is too large",
            vec![frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])],
            ConnectionEnds(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "6.5.2 a frame size that is too small",
            vec![frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff])],
            ConnectionEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "6.5.2 a frame size that is too large",
            vec![frame(SETTINGS, 0, 0, &[0, 5, 1, 0, 0, 0])],
            ConnectionEnds(&[PROTOCOL_ERROR]),
        ),
        ("6.5.2 an unknown setting is ignored", vec![frame(SETTINGS, 0, 0, &[0xff, 0xff, 0, 0, 0, 1])], Nothing),
        (
            "6.6 a client that promises",
            vec![post(1), frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])],
            ConnectionEnds(&[PROTOCOL_ERROR]),
        ),
        ("6.7 PING is answered", vec![], Nothing),
        ("6.7 PING that is an answer is not answered", vec![frame(PING, ACK, 0, b"invalid!")], Nothing),
        ("6.7 PING on a stream", vec![frame(PING, 0, 1, b"12345678")], ConnectionEnds(&[PROTOCOL_ERROR])),
        ("6.7 PING of a wrong length", vec![frame(PING, 0, 0, b"123")], ConnectionEnds(&[FRAME_SIZE_ERROR])),
        ("6.8 GOAWAY on a stream", vec![frame(GOAWAY, 0, 1, &[0; 8])], ConnectionEnds(&[PROTOCOL_ERROR])),
        ("6.9 WINDOW_UPDATE by nothing", vec![frame(WINDOW_UPDATE, 0, 0, &[0; 4])], ConnectionEnds(&[PROTOCOL_ERROR])),
        (
            "6.9 WINDOW_UPDATE by nothing on a stream",
            vec![post(1), frame(WINDOW_UPDATE, 0, 1, &[0; 4])],
            StreamEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "6.9 WINDOW_UPDATE of a wrong length",
            vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])],
            ConnectionEnds(&[FRAME_SIZE_ERROR]),
        ),
        (
            "6.9.1 a window beyond its end",
            vec![
                frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()),
                frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()),
            ],
            ConnectionEnds(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "6.9.1 a stream's window beyond its end",
            vec![
                post(1),
                frame(WINDOW_UPDATE, 0, 1, &0x7fff_ffff_u32.to_be_bytes()),
                frame(WINDOW_UPDATE, 0, 1, &0x7fff_ffff_u32.to_be_bytes()),
            ],
            StreamEnds(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "8.1 trailers without the end of the stream",
            vec![post(1), frame(HEADERS, END_HEADERS, 1, &block(&[("x-a", "b")]))],
            StreamEnds(&[PROTOCOL_ERROR]),
        ),
        ("8.2 a name in capitals", vec![get(&and("X-Test", "a"))], StreamEnds(&[PROTOCOL_ERROR])),
        ("8.2.1 a name with a space", vec![get(&and("x test", "a"))], StreamEnds(&[PROTOCOL_ERROR])),
        ("8.2.1 a value with a line feed", vec![get(&and("x-test", "a\nb: c"))], StreamEnds(&[PROTOCOL_ERROR])),
        ("8.2.1 a value with a NUL", vec![get(&and("x-test", "a\0b"))], StreamEnds(&[PROTOCOL_ERROR])),
        ("8.2.2 Connection", vec![get(&and("connection", "keep-alive"))], StreamEnds(&[PROTOCOL_ERROR])),
        ("8.2.2 Transfer-Encoding", vec![get(&and("transfer-encoding", "chunked"))], StreamEnds(&[PROTOCOL_ERROR])),
        ("8.2.2 Upgrade", vec![get(&and("upgrade", "h2c"))], StreamEnds(&[PROTOCOL_ERROR])),
        ("8.2.2 TE other than trailers", vec![get(&and("te", "trailers, deflate"))], StreamEnds(&[PROTOCOL_ERROR])),
        ("8.3 an unknown pseudo-header", vec![get(&and(":test", "a"))], StreamEnds(&[PROTOCOL_ERROR])),
        ("8.3 a pseudo-header of answers", vec![get(&and(":status", "200"))], StreamEnds(&[PROTOCOL_ERROR])),
        (
            "8.3 a pseudo-header behind a header",
            vec![get(&vec![
                ("x-a", "b"),
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", HOST),
                (":path", "/status"),
            ])],
            StreamEnds(&[PROTOCOL_ERROR]),
        ),
        ("8.3.1 no method", vec![get(&without(":method"))], StreamEnds(&[PROTOCOL_ERROR])),
        ("8.3.1 no scheme", vec![get(&without(":scheme"))], StreamEnds(&[PROTOCOL_ERROR])),
        ("8.3.1 no path", vec![get(&without(":path"))], StreamEnds(&[PROTOCOL_ERROR])),
        ("8.3.1 an empty path", vec![get(&with(":path", ""))], StreamEnds(&[PROTOCOL_ERROR])),
        ("8.3.1 no authority", vec![get(&without(":authority"))], StreamEnds(&[PROTOCOL_ERROR])),
        ("8.3.1 two methods", vec![get(&and(":method", "POST"))], StreamEnds(&[PROTOCOL_ERROR])),
        ("8.3.1 two paths", vec![get(&and(":path", "/v1/orders"))], StreamEnds(&[PROTOCOL_ERROR])),
        (
            "8.3.1 an authority with a user",
            vec![get(&with(":authority", "root@api.example"))],
            StreamEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "8.3.1 a Host that is not the authority",
            vec![get(&and("host", "other.example"))],
            StreamEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "8.3.1 a path with a line feed",
            vec![get(&with(":path", "/status HTTP/1.1\r\nHost: a\r\n\r\n"))],
            StreamEnds(&[PROTOCOL_ERROR]),
        ),
        (
            "8.3.1 a whole URL for a path",
            vec![get(&with(":path", "https://api.example/status"))],
            StreamEnds(&[PROTOCOL_ERROR]),
        ),
        ("8.5 CONNECT", vec![get(&with(":method", "CONNECT"))], StreamEnds(&[PROTOCOL_ERROR])),
        (
            "8.1.1 a length that is not the body's",
            vec![
                Frame::new(
                    HEADERS,
                    END_HEADERS,
                    1,
                    &block(&[
                        (":method", "POST"),
                        (":scheme", "https"),
                        (":authority", HOST),
                        (":path", "/oauth/token"),
                        ("content-length", "1"),
                    ]),
                ),
                frame(DATA, END_STREAM, 1, b"two"),
            ],
            StreamEnds(&[PROTOCOL_ERROR]),
        ),
        ("8.1.1 a length without a body", vec![get(&and("content-length", "5"))], StreamEnds(&[PROTOCOL_ERROR])),
        (
            "8.1.1 two lengths",
            vec![
                Frame::new(
                    HEADERS,
                    END_HEADERS,
                    1,
                    &block(&[
                        (":method", "POST"),
                        (":scheme", "https"),
                        (":authority", HOST),
                        (":path", "/oauth/token"),
                        ("content-length", "1"),
                        ("content-length", "3"),
                    ]),
                ),
                frame(DATA, END_STREAM, 1, b"two"),
            ],
            StreamEnds(&[PROTOCOL_ERROR]),
        ),
    ]
}

/// What came of a case.
fn judge(frames: &mut Frames, due: Due) -> Result<(), String> {
    frames.send(&Frame::new(PING, 0, 0, b"12345678"));
    let mut seen = Vec::new();
    while let Some(frame) = frames.next() {
        let fits = match (due, frame.kind) {
            (Due::ConnectionEnds(reasons) | Due::StreamEnds(reasons), GOAWAY) if frame.reason() != 0 => {
                Some(frame.reason() == PROTOCOL_ERROR || reasons.contains(&frame.reason()))
            }
            (Due::StreamEnds(reasons), RST_STREAM) => Some(reasons.contains(&frame.reason())),
            (Due::StreamEnds(_), HEADERS) if frame.payload.first() == Some(&BAD_REQUEST) => Some(true),
            (Due::Answer(status), HEADERS) => Some(frame.payload.first() == Some(&status)),
            (Due::Nothing, PING) if frame.flags == ACK && frame.payload == b"12345678" => Some(true),
            (Due::Nothing | Due::Answer(_), GOAWAY | RST_STREAM) => Some(false),
            _ => None,
        };
        seen.push(frame);
        match fits {
            Some(true) => return Ok(()),
            Some(false) => return Err(format!("{seen:?}")),
            None => {}
        }
    }
    // RFC 9113 section 5.4.1: GOAWAY need not arrive before the connection ends.
    match due {
        Due::ConnectionEnds(_) | Due::StreamEnds(_) => Ok(()),
        Due::Answer(_) | Due::Nothing => Err(format!("the connection ended: {seen:?}")),
    }
}

#[test]
fn frames_are_taken_as_rfc_9113_says() {
    let erp = Recorder::answering("application/json", &[], b"[]");
    let authority = Authority::new("an authority");
    let gateway = Setup::new(erp.address()).start_with_tls(&authority.issue(HOST, Validity::Now));
    let address = gateway.tls.expect("TLS is spoken");
    let dial = Dial { authority: &authority, name: HOST, shows: None };
    let cases = cases();
    let mut wrong = Vec::new();
    for (name, sent, due) in &cases {
        let mut frames = Frames::begin(address, &dial);
        for frame in sent {
            frames.send(frame);
        }
        if let Err(seen) = judge(&mut frames, *due) {
            wrong.push(format!("{name}: {due:?} was due, but: {seen}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let mut broken = Frames::connect(address, &dial);
    broken.raw(b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\nmore than a preface has");
    while broken.next().is_some() {}
    let mut good = Frames::begin(address, &dial);
    good.send(&get(&fields()));
    assert_eq!(judge(&mut good, Due::Answer(OK)), Ok(()), "it serves on");
    assert_eq!(erp.count(), 0, "nothing came through");
}
