//! Previews of bodies.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use erp_access::audit::{ContentDescription, PreviewCollector, Redactor};
use erp_access::domain::Secret;

const TYPES: [&str; 7] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "text/csv",
    "text/xml; charset=iso-8859-1",
    "multipart/form-data; boundary=b",
    "application/octet-stream",
    "",
];
const KNOWN: &str = "Zq93-known.secret";

/// However a body is cut into chunks, its preview is the same; it is safe to print, no longer than it may be, and a known
/// secret in it does not show, whatever stands around it.
///
/// The first byte says what the body is said to be, the second where it is cut, the third where the secret stands.
pub(crate) fn redaction(input: &[u8]) {
    const LIMIT: usize = 256;
    let [kind, cut, place, body @ ..] = input else { return };
    let content_type = TYPES[usize::from(*kind) % TYPES.len()];
    let description = ContentDescription { content_type: Some(content_type), content_encoding: None };
    let (before, after) = body.split_at(usize::from(*place) % (body.len() + 1));
    let encoded = STANDARD.encode(KNOWN);
    let body = [before, KNOWN.as_bytes(), after, b"\n", encoded.as_bytes(), b"\n"].concat();
    let known = [Secret::new(KNOWN.to_owned())];
    let redactor = Redactor::default();
    let preview = |size: usize| {
        let mut collector = PreviewCollector::new(LIMIT, &description);
        body.chunks(size).for_each(|chunk| collector.push(chunk));
        collector.finish(&redactor, &known)
    };
    let whole = preview(body.len());
    assert_eq!(whole, preview(1 + usize::from(*cut) % 97));
    assert_eq!(whole.length, body.len() as u64);
    assert!(whole.text.len() <= LIMIT, "{} bytes", whole.text.len());
    assert!(!whole.text.contains(char::is_control), "{:?}", whole.text);
    assert!(!whole.text.contains(KNOWN) && !whole.text.contains(&encoded), "{:?}", whole.text);
}
