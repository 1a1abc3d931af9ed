//! The batch format in `multipart/mixed` (RFC 2046 section 5.1, RFC 9112 for what is inside).
//!
//! SECURITY: multipart is where parsers differ most. So a boundary may stand only where it is one, lines of heads end with
//! CR LF, nothing is folded, nothing stands before, between or behind the parts, and a length must be the right one.

use std::borrow::Cow;

use super::{METHODS, Media, Part, media};
use crate::policy::endpoint::NotResolved;
use crate::policy::operations::PartRefused;

/// What stands between the parts: 1 to 70 letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary(String);

/// The boundary that a `Content-Type` of `multipart/mixed` names; `None` where it is another type, has another
/// parameter, or a boundary of characters that need thought.
#[must_use]
pub fn boundary_of(content_type: &str) -> Option<Boundary> {
    let (kind, parameter) = content_type.split_once(';')?;
    let (name, value) = parameter.trim().split_once('=')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/mixed") || !name.eq_ignore_ascii_case("boundary") {
        return None;
    }
    let plain = match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => value,
    };
    let fits = plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    (fits && (1..=70).contains(&plain.len())).then(|| Boundary(plain.to_owned()))
}

/// The headers of a part, names in lower case, and what stands behind them.
struct Block<'b> {
    headers: Vec<(String, &'b str)>,
    content: &'b [u8],
}

/// Takes a batch apart; requests in a change set count like those beside it.
pub(super) fn read<'b>(body: &'b [u8], boundary: &Boundary, most_parts: usize) -> Result<Vec<Part<'b>>, NotResolved> {
    let mut requests = Vec::new();
    for piece in pieces(body, boundary)? {
        let block = block(piece)?;
        match change_set(&block)? {
            Some(inner) => {
                for piece in pieces(block.content, &inner)? {
                    requests.push(request_of(&self::block(piece)?)?);
                }
            }
            None => requests.push(request_of(&block)?),
        }
        if requests.len() > most_parts {
            return Err(NotResolved::NotABatch("it holds more requests than `max_parts` allows"));
        }
    }
    let parts = requests.into_iter().zip(1..);
    parts.map(|(bytes, number)| part(bytes).map_err(|why| NotResolved::Part { number, why })).collect()
}

/// What stands between the boundaries, which stand nowhere else.
fn pieces<'b>(body: &'b [u8], boundary: &Boundary) -> Result<Vec<&'b [u8]>, NotResolved> {
    const MISPLACED: NotResolved = NotResolved::NotABatch("a boundary is missing, or stands where it is none");
    let delimiter = format!("--{}", boundary.0);
    let mut pieces = Vec::new();
    let mut rest = body.strip_prefix(delimiter.as_bytes()).ok_or(MISPLACED)?;
    loop {
        if let Some(behind) = rest.strip_prefix(b"--") {
            let ends = !pieces.is_empty() && matches!(behind, b"" | b"\r\n");
            return if ends { Ok(pieces) } else { Err(MISPLACED) };
        }
        rest = rest.strip_prefix(b"\r\n").ok_or(MISPLACED)?;
        let (piece, behind) = split(rest, delimiter.as_bytes()).ok_or(MISPLACED)?;
        pieces.push(piece.strip_suffix(b"\r\n").ok_or(MISPLACED)?);
        rest = behind;
    }
}

/// What stands before and behind the first `mark`.
fn split<'b>(bytes: &'b [u8], mark: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    Some((bytes.get(..at)?, bytes.get(at + mark.len()..)?))
}

const HEAD: NotResolved = NotResolved::NotABatch("the head of a part is not plain lines of `name: value`");

fn block(piece: &[u8]) -> Result<Block<'_>, NotResolved> {
    let (head, content) = split(piece, b"\r\n\r\n").ok_or(HEAD)?;
    Ok(Block { headers: headers(head)?, content })
}

fn headers(head: &[u8]) -> Result<Vec<(String, &str)>, NotResolved> {
    let text = std::str::from_utf8(head).map_err(|_| HEAD)?;
    let mut headers = Vec::new();
    for line in text.split("\r\n") {
        let (name, value) = line.split_once(':').ok_or(HEAD)?;
        let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !named || !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(HEAD);
        }
        headers.push((name.to_ascii_lowercase(), value.trim()));
    }
    Ok(headers)
}

/// The boundary of a change set, where the part is one.
fn change_set(block: &Block<'_>) -> Result<Option<Boundary>, NotResolved> {
    match block.headers.as_slice() {
        [(name, value)] if name == "content-type" && value.to_ascii_lowercase().starts_with("multipart/") => {
            boundary_of(value).map(Some).ok_or(NotResolved::NotABatch("the boundary of a change set cannot be used"))
        }
        _ => Ok(None),
    }
}

/// The request in a part that says to be one, and to stand there as it is.
fn request_of<'b>(block: &Block<'b>) -> Result<&'b [u8], NotResolved> {
    let mut is_request = false;
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in &block.headers {
        let fits = match name.as_str() {
            "content-type" => {
                let plain = value.replace(' ', "").to_ascii_lowercase();
                is_request = matches!(plain.as_str(), "application/http" | "application/http;msgtype=request");
                is_request
            }
            "content-transfer-encoding" => value.eq_ignore_ascii_case("binary"),
            "content-id" => true,
            _ => false,
        };
        if !fits || seen.contains(&name.as_str()) {
            return Err(NotResolved::NotABatch(
                "a part must be `application/http`, `binary`, with a `Content-ID` at most besides",
            ));
        }
        seen.push(name);
    }
    if is_request { Ok(block.content) } else { Err(NotResolved::NotABatch("a part is not `application/http`")) }
}

/// The request that stands in a part.
fn part(bytes: &[u8]) -> Result<Part<'_>, PartRefused> {
    // Without headers and body, the empty line may be that before the boundary.
    let (head, body) = match split(bytes, b"\r\n\r\n") {
        Some(parts) => parts,
        None => (bytes.strip_suffix(b"\r\n").ok_or(PartRefused::RequestLine)?, [].as_slice()),
    };
    let (line, fields) = split(head, b"\r\n").map_or((head, None), |(line, fields)| (line, Some(fields)));
    let line = std::str::from_utf8(line).map_err(|_| PartRefused::RequestLine)?;
    let words: Vec<&str> = line.split(' ').collect();
    let [method, url, "HTTP/1.1"] = words.as_slice() else { return Err(PartRefused::RequestLine) };
    let (method, with_body) = *METHODS.iter().find(|(known, _)| known == method).ok_or(PartRefused::Method)?;
    let mut fields = fields.map_or(Ok(Vec::new()), headers).map_err(|_| PartRefused::Header)?;
    let length = take_length(&mut fields)?;
    let media = media(fields.iter().map(|(name, value)| (name.as_str(), *value)), Media::Other)?;
    let body = whole(body, length)?;
    if !body.is_empty() && !with_body {
        return Err(PartRefused::BodyOnMethod);
    }
    let body = (!body.is_empty()).then_some((body, media));
    Ok(Part { method, url: Cow::Borrowed(url), body })
}

fn take_length(fields: &mut Vec<(String, &str)>) -> Result<Option<usize>, PartRefused> {
    let Some(at) = fields.iter().position(|(name, _)| name == "content-length") else { return Ok(None) };
    let (_, value) = fields.remove(at);
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten().map(Some).ok_or(PartRefused::Length)
}

/// The body without the empty lines behind it. A length that is told must leave nothing else over.
fn whole(body: &[u8], length: Option<usize>) -> Result<&[u8], PartRefused> {
    let mut trimmed = body;
    while let Some(shorter) = trimmed.strip_suffix(b"\r\n") {
        trimmed = shorter;
    }
    match length {
        None => Ok(trimmed),
        Some(length) if (trimmed.len()..=body.len()).contains(&length) => Ok(trimmed),
        Some(_) => Err(PartRefused::Length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method, URL and body.
    type Plain = (&'static str, String, Option<String>);

    fn parts(body: &str) -> Result<Vec<Plain>, NotResolved> {
        let boundary = boundary_of("multipart/mixed; boundary=b").expect("a boundary");
        let parts = read(body.as_bytes(), &boundary, 3)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(parts
            .iter()
            .map(|part| (part.method, part.url.to_string(), part.body.map(|(body, _)| text(body))))
            .collect())
    }

    /// A batch of one part that holds this.
    fn one(inside: &str) -> String {
        format!(
            "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n{inside}\r\n--b--\r\n"
        )
    }

    const GET: &str = "GET Orders HTTP/1.1\r\nAccept: application/json\r\n\r\n";

    #[test]
    fn requests_and_those_in_change_sets_are_found() {
        let post = "POST Orders HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        let http = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 1\r\n\r\n";
        let set = format!("--c\r\n{http}{post}\r\n--c--");
        let body = format!(
            "--b\r\n{http}{GET}\r\n--b\r\nContent-Type: multipart/mixed;boundary=\"c\"\r\n\r\n{set}\r\n--b\r\n{http}DELETE Orders/1 HTTP/1.1\r\n\r\n--b--"
        );
        assert_eq!(
            parts(&body),
            Ok(vec![
                ("GET", "Orders".into(), None),
                ("POST", "Orders".into(), Some("{\"a\":1}".into())),
                ("DELETE", "Orders/1".into(), None),
            ])
        );
    }

    #[test]
    fn a_batch_that_two_parsers_take_apart_differently_is_refused() {
        let spelled = one(GET);
        for body in [
            String::new(),
            "--b--\r\n".into(),
            format!("preamble\r\n{spelled}"),
            format!("{spelled}epilogue"),
            spelled.replace("--b--\r\n", ""),
            spelled.replace("--b--", "--b -- "),
            spelled.replace("\r\n", "\n"),
            spelled.replacen("--b\r\n", "--b \r\n", 1),
            spelled.replacen("--b\r\n", "--bc\r\n", 1),
            one(&format!("{GET}x--b\r\n{GET}")),
            one(&format!("{GET}\n--b\n{GET}")),
            one(&format!("{GET}\r\n--bc\r\n{GET}")),
            spelled.replace("application/http", "application/http; msgtype=response"),
            spelled.replace("application/http", "message/http"),
            spelled.replace("binary", "base64"),
            spelled.replace("Content-Transfer-Encoding: binary\r\n", "Content-Type: application/http\r\n"),
            spelled
                .replace("Content-Transfer-Encoding: binary\r\n", "Content-Transfer-Encoding: binary\r\n folded\r\n"),
            spelled.replace("Content-Transfer-Encoding: binary\r\n", "X-HTTP-Method: DELETE\r\n"),
            spelled.replace("Content-Transfer-Encoding: binary", "Content-Transfer-Encoding : binary"),
            spelled.replace("Content-Type: application/http\r\n", ""),
            [GET; 4].map(|get| one(get).replace("--b--\r\n", "")).concat() + "--b--",
            one("").replace("application/http", "multipart/mixed; boundary=\"b c\""),
        ] {
            assert!(matches!(parts(&body), Err(NotResolved::NotABatch(_))), "{body:?}: {:?}", parts(&body));
        }
    }

    #[test]
    fn a_request_that_two_servers_read_differently_is_refused() {
        let post = |head: &str, body: &str| format!("POST Orders HTTP/1.1\r\n{head}\r\n\r\n{body}");
        for (inside, why) in [
            ("GET Orders\r\n\r\n".into(), PartRefused::RequestLine),
            ("GET  Orders HTTP/1.1\r\n\r\n".into(), PartRefused::RequestLine),
            ("GET Orders HTTP/1.0\r\n\r\n".into(), PartRefused::RequestLine),
            ("GET Orders HTTP/1.1".into(), PartRefused::RequestLine),
            ("GET Orders x HTTP/1.1\r\n\r\n".into(), PartRefused::RequestLine),
            ("GET Orders HTTP/1.1\nX-HTTP-Method: DELETE\r\n\r\n".into(), PartRefused::RequestLine),
            ("get Orders HTTP/1.1\r\n\r\n".into(), PartRefused::Method),
            ("OPTIONS Orders HTTP/1.1\r\n\r\n".into(), PartRefused::Method),
            (format!("{GET}DELETE Orders HTTP/1.1\r\n\r\n"), PartRefused::BodyOnMethod),
            (post("X-HTTP-Method-Override: DELETE", "{}"), PartRefused::Header),
            (post("Host: evil.test", "{}"), PartRefused::Header),
            (post("Transfer-Encoding: chunked", "0\r\n\r\n"), PartRefused::Header),
            (post("Accept: a\r\n b", "{}"), PartRefused::Header),
            (post("Accept: a\nHost: b", "{}"), PartRefused::Header),
            (post("Content-Length: 1", "{}"), PartRefused::Length),
            (post("Content-Length: 3", "{}"), PartRefused::Length),
            (post("Content-Length: +2", "{}"), PartRefused::Length),
            (post("Content-Length: 2\r\nContent-Length: 2", "{}"), PartRefused::Header),
        ] {
            let found = parts(&one(&inside)).expect_err("refused");
            assert_eq!(found, NotResolved::Part { number: 1, why }, "{inside:?}");
        }
    }

    #[test]
    fn empty_lines_behind_a_request_are_no_body() {
        for behind in ["", "\r\n", "\r\n\r\n"] {
            assert_eq!(parts(&one(&format!("{GET}{behind}"))), Ok(vec![("GET", "Orders".into(), None)]));
        }
        let named = one(GET).replace("application/http", "application/http; msgtype=request");
        assert!(parts(&named).is_ok());
        let told = "POST Orders HTTP/1.1\r\nContent-Length: 4\r\n\r\n{}\r\n";
        assert_eq!(parts(&one(told)), Ok(vec![("POST", "Orders".into(), Some("{}".into()))]));
    }

    #[test]
    fn a_boundary_is_plain_and_stands_alone() {
        for text in ["multipart/mixed; boundary=A-b_c.1", "Multipart/Mixed;BOUNDARY=\"A-b_c.1\""] {
            assert_eq!(boundary_of(text), Some(Boundary("A-b_c.1".into())), "{text}");
        }
        let long = format!("multipart/mixed; boundary={}", "b".repeat(71));
        for text in [
            "multipart/mixed",
            "multipart/mixed; boundary=",
            "multipart/mixed; boundary=\"\"",
            "multipart/mixed; boundary=\"b",
            "multipart/mixed; boundary=b; boundary=c",
            "multipart/mixed; charset=utf-8; boundary=b",
            "multipart/mixed; boundary=b c",
            "multipart/mixed; boundary = b",
            "multipart/mixed; boundary*=b",
            "multipart/form-data; boundary=b",
            "application/json; boundary=b",
            &long,
        ] {
            assert_eq!(boundary_of(text), None, "{text}");
        }
    }
}
