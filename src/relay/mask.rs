//! Answers in which rules mask values: the body is kept until it is whole, and what cannot be masked is withheld.

use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use crate::domain::NotMasked;
use crate::policy::Obligations;

/// Headers that speak of the bytes as the ERP sent them.
///
/// SECURITY: a hash of the whole body lets a client find out a masked value by trying.
const ABOUT_BYTES: [&str; 10] = [
    "accept-ranges",
    "content-digest",
    "content-md5",
    "content-range",
    "digest",
    "etag",
    "repr-digest",
    "signature",
    "signature-input",
    "trailer",
];

/// Why the body of an answer cannot be masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// It is no JSON by its media type.
    #[error("it is not of a JSON media type in UTF-8")]
    MediaType,
    /// It is compressed.
    #[error("it has a content coding although none was asked for")]
    Coded,
    /// It is a piece of a document.
    #[error("it is a part of a document although the whole was asked for")]
    Part,
    /// It is too long.
    #[error("it is longer than the {0} bytes of `max_bytes`")]
    TooLong(usize),
    /// What came is not what its media type says, or grows too long.
    #[error(transparent)]
    Body(NotMasked),
}

/// The body of an answer that is kept until it is whole.
#[derive(Debug)]
pub struct KeptBody {
    bytes: Vec<u8>,
    longest: usize,
    /// Why it cannot be masked. An empty body needs no mask, so this counts with the first byte.
    unfit: Option<Withheld>,
}

impl KeptBody {
    /// The body of the answer with this head, where rules mask something in it; `None` where it passes as it comes.
    #[must_use]
    pub fn of(obligations: &Obligations, asked: &Method, status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let bodyless = asked == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if !obligations.masks() || bodyless {
            return None;
        }
        let longest = obligations.longest_masked();
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let unfit = if status == StatusCode::PARTIAL_CONTENT {
            Some(Withheld::Part)
        } else if !is_identity(headers) {
            Some(Withheld::Coded)
        } else if !is_json(headers) {
            Some(Withheld::MediaType)
        } else {
            announced.filter(|length| *length > longest).map(|_| Withheld::TooLong(longest))
        };
        Some(Self { bytes: Vec::with_capacity(announced.unwrap_or(0).min(longest)), longest, unfit })
    }

    /// Keeps the next piece.
    ///
    /// # Errors
    /// When it is clear already that the body cannot be masked.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Withheld> {
        if piece.is_empty() {
            return Ok(());
        }
        if let Some(unfit) = self.unfit {
            return Err(unfit);
        }
        let length = self.bytes.len().saturating_add(piece.len());
        if length > self.longest {
            return Err(Withheld::TooLong(self.longest));
        }
        if length > self.bytes.capacity() {
            // Twice as much each time, but never more than can be needed.
            let room = self.bytes.capacity().saturating_mul(2).clamp(length, self.longest);
            self.bytes.reserve_exact(room.saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// So many bytes are kept.
    #[must_use]
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The whole body, masked.
    ///
    /// # Errors
    /// When it cannot be masked.
    pub fn finish(self, obligations: &Obligations) -> Result<Vec<u8>, Withheld> {
        if self.bytes.is_empty() { Ok(self.bytes) } else { obligations.mask(&self.bytes).map_err(Withheld::Body) }
    }
}

/// Whether a header of an answer goes with the bytes that the mask changes.
#[must_use]
pub fn speaks_of_bytes(name: &HeaderName) -> bool {
    ABOUT_BYTES.contains(&name.as_str())
}

/// Whether a request header is left out where the answer is masked: what asks for other bytes than the whole in plain,
/// or, where nothing is written, lets a client find out by trying what the unmasked bytes are.
#[must_use]
pub fn yields_to_mask(name: &HeaderName, method: &Method) -> bool {
    let asks = matches!(*name, header::ACCEPT_ENCODING | header::RANGE | header::IF_RANGE);
    asks || method.is_safe() && matches!(*name, header::IF_MATCH | header::IF_NONE_MATCH)
}

fn is_identity(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// One `Content-Type` of JSON, in UTF-8.
fn is_json(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(content_type), None) = (all.next(), all.next()) else { return false };
    let text = content_type.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let json = media_type == "application/json"
        || media_type == "application/json-rpc"
        || media_type.starts_with("application/") && media_type.ends_with("+json");
    json && parts.all(|parameter| match parameter.split_once('=') {
        Some((name, charset)) if name.trim() == "charset" => {
            matches!(charset.trim().trim_matches('"'), "utf-8" | "utf8" | "us-ascii")
        }
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::policy::double::obligations;

    const JSON: (&str, &str) = ("content-type", "application/json");

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let parsed = lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        for (name, value) in parsed {
            headers.append(name, value);
        }
        headers
    }

    fn masks() -> Obligations {
        obligations("response: { mask: { pointers: [/bank, /lines/*/cost], with: '***', max_bytes: 100 } }")
    }

    fn kept(status: u16, lines: &[(&'static str, &'static str)]) -> KeptBody {
        let status = StatusCode::from_u16(status).expect("a status");
        KeptBody::of(&masks(), &Method::GET, status, &headers(lines)).expect("kept")
    }

    fn masked(mut kept: KeptBody, body: &[u8]) -> Result<Vec<u8>, Withheld> {
        kept.push(body)?;
        kept.finish(&masks())
    }

    #[test]
    fn nothing_is_kept_without_a_mask_or_without_a_body() {
        let asked = |obligations: &Obligations, method, status| {
            KeptBody::of(obligations, &method, status, &headers(&[JSON])).is_some()
        };
        let none = Obligations::default();
        let query = obligations("request: { force_query: { company: '7' } }");
        assert!(!asked(&none, Method::GET, StatusCode::OK));
        assert!(!asked(&query, Method::GET, StatusCode::OK));
        assert!(asked(&masks(), Method::GET, StatusCode::OK));
        assert!(!asked(&masks(), Method::HEAD, StatusCode::OK));
        assert!(!asked(&masks(), Method::GET, StatusCode::NO_CONTENT));
        assert!(!asked(&masks(), Method::GET, StatusCode::NOT_MODIFIED));
    }

    #[test]
    fn json_of_any_status_is_masked() {
        for (status, content_type) in [
            (200, "application/json"),
            (201, "application/problem+json; charset=UTF-8"),
            (404, "application/json;charset=\"utf-8\";odata.metadata=minimal"),
            (500, "Application/JSON"),
            (302, "application/json-rpc"),
        ] {
            let body = masked(kept(status, &[("content-type", content_type)]), br#"{"bank":1,"a":1.0}"#);
            assert_eq!(body.as_deref(), Ok(&br#"{"bank":"***","a":1.0}"#[..]), "{content_type}");
        }
    }

    #[test]
    fn what_cannot_be_masked_is_withheld() {
        let body = br#"{"bank":1}"#;
        for (lines, why) in [
            (&[][..], Withheld::MediaType),
            (&[("content-type", "text/html")], Withheld::MediaType),
            (&[("content-type", "text/json")], Withheld::MediaType),
            (&[("content-type", "application/json-seq")], Withheld::MediaType),
            (&[("content-type", "application/json; charset=utf-16")], Withheld::MediaType),
            (&[("content-type", "multipart/mixed; boundary=application/json")], Withheld::MediaType),
            (&[JSON, JSON], Withheld::MediaType),
            (&[JSON, ("content-encoding", "gzip")], Withheld::Coded),
            (&[JSON, ("content-encoding", "identity"), ("content-encoding", "br")], Withheld::Coded),
            (&[JSON, ("content-length", "101")], Withheld::TooLong(100)),
        ] {
            assert_eq!(masked(kept(200, lines), body), Err(why), "{lines:?}");
            assert_eq!(kept(200, lines).finish(&masks()), Ok(Vec::new()), "an empty body holds nothing: {lines:?}");
        }
        assert_eq!(masked(kept(206, &[JSON]), body), Err(Withheld::Part));
        assert_eq!(masked(kept(200, &[JSON]), &[b' '; 101]), Err(Withheld::TooLong(100)));
        assert_eq!(masked(kept(200, &[JSON]), b"{\"bank\":"), Err(Withheld::Body(NotMasked::NotJson)));
        let grown = format!("{{\"lines\":[{}]}}", ["{\"cost\":1}"; 8].join(","));
        assert_eq!(masked(kept(200, &[JSON]), grown.as_bytes()), Err(Withheld::Body(NotMasked::TooLong)));
    }

    #[test]
    fn no_more_is_kept_than_the_rule_allows() {
        let mut kept = kept(200, &[JSON, ("content-length", "99999999999")]);
        assert!(kept.bytes.capacity() <= 100);
        assert!(kept.push(&[b' '; 4096]).is_err() && kept.length() == 0);
        let mut in_pieces = KeptBody { bytes: Vec::new(), longest: 100, unfit: None };
        for _ in 0..100 {
            in_pieces.push(b" ").expect("fits");
            assert!(in_pieces.bytes.capacity() <= 100);
        }
        assert_eq!(in_pieces.push(b" "), Err(Withheld::TooLong(100)));
    }

    #[test]
    fn requests_for_other_bytes_than_the_whole_do_not_reach_the_erp() {
        let yields = |name: &'static str, method| yields_to_mask(&HeaderName::from_static(name), &method);
        for name in ["range", "if-range", "accept-encoding", "if-none-match", "if-match"] {
            assert!(yields(name, Method::GET), "{name}");
        }
        assert!(!yields("if-modified-since", Method::GET) && !yields("accept", Method::GET));
        // `If-None-Match: *` keeps a PUT from overwriting.
        assert!(!yields("if-none-match", Method::PUT) && !yields("if-match", Method::PATCH));
    }

    proptest! {
        #[test]
        fn no_masked_value_leaves_however_the_body_is_cut(
            lines in prop::collection::vec(("secret-[a-z]{3,9}", "[a-z]{0,3}", any::<bool>()), 0..40),
            bank in "secret-[0-9]{2,9}",
            cuts in prop::collection::vec(1_usize..60, 1..50),
        ) {
            let obligations =
                obligations("response: { mask: { pointers: [/bank, /lines/*/cost], with: '***', max_bytes: 64KiB } }");
            let render = |bank: &str, with: Option<&str>| {
                let items = lines.iter().map(|(cost, other, twice)| {
                    let cost = with.unwrap_or(cost);
                    let again = if *twice { format!(", \"c\\u006fst\" : \"{cost}\"") } else { String::new() };
                    format!("{{\"cost\":\"{cost}\", \"x\" : \"{other}\"{again}}}")
                });
                format!(" {{\"bank\": \"{bank}\",\"lines\":[{}]}}\n", items.collect::<Vec<_>>().join(" , "))
            };
            let mut kept = KeptBody::of(&obligations, &Method::GET, StatusCode::OK, &headers(&[JSON])).expect("kept");
            let text = render(&bank, None);
            let mut rest = text.as_bytes();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, behind) = rest.split_at((*cut).min(rest.len()));
                kept.push(piece).expect("fits");
                rest = behind;
            }
            let masked = String::from_utf8(kept.finish(&obligations).expect("masked")).expect("text");
            prop_assert!(!masked.contains("secret"), "{}", masked);
            prop_assert_eq!(masked, render("***", Some("***")));
        }
    }
}
