//! `request` and `response` of a rule as written.

use http::{HeaderName, HeaderValue};

use super::forced_query;
use super::obligations::{Demands, Mask};
use super::raw_endpoints;
use super::rules::Effect;
use super::yaml::{Fields, Node, Reader, Value};
use crate::domain::{JsonScalar, MaskPointer};

/// The keys of a rule that are read here.
pub(super) const KEYS: [&str; 2] = ["request", "response"];
/// The longest body that is masked, where the file does not say.
const USUAL_BODY: u64 = 256 * 1024;
/// The longest body that can be masked: it is held in memory, whole and twice.
const LARGEST_BODY: u64 = 8 * 1024 * 1024;
/// Pointers, parameters or headers in one rule.
const MOST: usize = 64;
/// A mask, in characters. It may come in place of each value of a body.
const LONGEST_MASK: usize = 64;
/// A forced name or value, in characters.
const LONGEST_FORCED: usize = 1024;

/// Headers that no rule can force.
///
/// SECURITY: they tell where a message ends, where it goes, who sends it, or how its body is to be read; the gateway
/// has decided on all of that before a rule is asked.
const NEVER: [&str; 41] = [
    "accept-encoding",
    "alt-svc",
    "authorization",
    "connection",
    "cookie",
    "cookie2",
    "digest",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "max-forwards",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
    "x-api-key",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
    "x-csrf-token",
];

/// Whether a rule may force this header.
#[must_use]
pub fn may_force(name: &HeaderName) -> bool {
    let text = name.as_str();
    let starts = ["content-", "proxy-", "sec-", "x-forwarded-", "x-erp-access-"];
    // `X_A` and `X-A` are one header to many servers; the one with `_` never passes, so no rule needs it.
    let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    plain && !NEVER.contains(&text) && !starts.iter().any(|start| text.starts_with(start))
}

/// What a rule demands; `None` where it demands nothing, or where what is written is wrong and noted.
pub(super) fn read(reader: &mut Reader<'_>, fields: &Fields<'_>, effect: Effect) -> Option<Demands> {
    let written: Vec<(&str, &Node, &Node)> = fields.iter().filter(|(key, ..)| KEYS.contains(key)).collect();
    if let (Effect::Deny, Some((key, place, _))) = (effect, written.first()) {
        let why = format!("`{key}` says nothing in a rule that denies; only what is allowed can be changed or masked");
        reader.problem(place.place, why);
        return None;
    }
    let mut demands = Demands::default();
    for (key, _, node) in &written {
        let read = if *key == "request" { read_request } else { read_response };
        read(reader, node, &mut demands)?;
    }
    (!written.is_empty()).then_some(demands)
}

fn read_request(reader: &mut Reader<'_>, node: &Node, demands: &mut Demands) -> Option<()> {
    let fields = reader.map(node, "`request`", &["force_query", "force_header"])?;
    if let Some(node) = fields.get("force_query") {
        demands.query = read_query(reader, node)?;
    }
    if let Some(node) = fields.get("force_header") {
        demands.headers = read_headers(reader, node)?;
    }
    if fields.iter().next().is_none() {
        reader.problem(node.place, "`request` is empty; write `force_query` or `force_header` in it");
    }
    Some(())
}

fn read_query(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<(String, String)>> {
    let entries = some_entries(reader, node, "force_query")?;
    let mut query: Vec<(String, String)> = Vec::new();
    for (name, key, value) in entries.iter() {
        let value_text = reader.text(value, &shown(name))?;
        let fits = |text: &str| text.chars().count() <= LONGEST_FORCED && !text.chars().any(char::is_control);
        if name.trim().is_empty() || !fits(name) {
            let why = format!("`force_query`: a name has 1 to {LONGEST_FORCED} characters, none of them a control");
            reader.problem(key.place, why);
        } else if !fits(value_text) {
            let why =
                format!("`{}`: a value has at most {LONGEST_FORCED} characters, none of them a control", shown(name));
            reader.problem(value.place, why);
        } else if let Some((known, _)) = query.iter().find(|(known, _)| forced_query::is_spelling_of(known, name)) {
            let why = format!(
                "`{}` and `{}` are one parameter to some servers; force one of them",
                shown(name),
                shown(known)
            );
            reader.problem(key.place, why);
        } else {
            query.push((name.to_owned(), value_text.to_owned()));
        }
    }
    Some(query)
}

fn read_headers(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let entries = some_entries(reader, node, "force_header")?;
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (text, key, node) in entries.iter() {
        let name: Option<HeaderName> = text.parse().ok();
        let Some(name) = name.filter(may_force) else {
            let why = format!(
                "`force_header`: `{}` cannot be forced: it is no header name of letters, digits and `-`, or it belongs to \
                 framing, addressing, credentials, sessions, or the reading of the body",
                shown(text)
            );
            reader.problem(key.place, why);
            continue;
        };
        let value = reader.text(node, &shown(text))?;
        let printable = value.bytes().all(|byte| matches!(byte, b' '..=b'~')) && value.trim() == value;
        let parsed = HeaderValue::from_str(value).ok();
        let Some(parsed) = parsed.filter(|_| printable && !value.is_empty() && value.len() <= LONGEST_FORCED) else {
            let why = format!(
                "`{text}`: a header's value has 1 to {LONGEST_FORCED} printable ASCII characters, no space around them"
            );
            reader.problem(node.place, why);
            continue;
        };
        if headers.iter().any(|(known, _)| *known == name) {
            reader.problem(key.place, format!("`force_header`: `{name}` is written twice, in other capitals"));
        }
        headers.push((name, parsed));
    }
    Some(headers)
}

fn some_entries<'n>(reader: &mut Reader<'_>, node: &'n Node, what: &str) -> Option<Fields<'n>> {
    let entries = reader.any_map(node, &format!("`{what}`"))?;
    let count = entries.iter().count();
    if count == 0 || count > MOST {
        reader.problem(node.place, format!("`{what}` must have 1 to {MOST} entries, as in `{{ company: \"7\" }}`"));
    }
    Some(entries)
}

fn read_response(reader: &mut Reader<'_>, node: &Node, demands: &mut Demands) -> Option<()> {
    let fields = reader.map(node, "`response`", &["mask"])?;
    let mask = reader.required(&fields, "mask", "`response`")?;
    demands.mask = Some(read_mask(reader, mask)?);
    Some(())
}

fn read_mask(reader: &mut Reader<'_>, node: &Node) -> Option<Mask> {
    let fields = reader.map(node, "`mask`", &["pointers", "with", "max_bytes"])?;
    let pointers = reader.required(&fields, "pointers", "`mask`").and_then(|node| read_pointers(reader, node));
    let with = match fields.get("with") {
        Some(node) => read_with(reader, node),
        None => Some("null".to_owned()),
    };
    let max_bytes = match fields.get("max_bytes") {
        Some(node) => reader.size(node, "max_bytes", 1..=LARGEST_BODY),
        None => Some(USUAL_BODY),
    };
    Some(Mask { pointers: pointers?, with: with?, max_bytes: usize::try_from(max_bytes?).ok()? })
}

fn read_pointers(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<MaskPointer>> {
    let items = reader.list(node, "pointers")?;
    if items.is_empty() || items.len() > MOST {
        reader.problem(
            node.place,
            format!("`pointers` must have 1 to {MOST} items, as in `[/bank_account, /lines/*/cost]`"),
        );
    }
    let mut pointers: Vec<MaskPointer> = Vec::with_capacity(items.len());
    for item in items {
        let text = reader.text(item, "pointers")?;
        match text.parse::<MaskPointer>() {
            Ok(pointer) if pointers.contains(&pointer) => {
                reader.problem(item.place, format!("`pointers`: `{}` stands there twice", shown(text)));
            }
            Ok(pointer) => pointers.push(pointer),
            Err(why) => reader.problem(item.place, format!("`pointers`: `{}`: {why}", shown(text))),
        }
    }
    Some(pointers)
}

/// One JSON value that is no list and no object.
fn read_with(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    if matches!(&node.value, Value::Scalar { text, plain: true } if text == "null") {
        return Some("null".to_owned());
    }
    match raw_endpoints::read_value(reader, node, "with")? {
        JsonScalar::Text(text) if text.chars().count() > LONGEST_MASK => {
            reader.problem(node.place, format!("`with` has at most {LONGEST_MASK} characters"));
            None
        }
        JsonScalar::Text(text) => Some(serde_json::Value::String(text).to_string()),
        JsonScalar::Whole(number) => Some(number.to_string()),
        JsonScalar::Boolean(value) => Some(value.to_string()),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}
