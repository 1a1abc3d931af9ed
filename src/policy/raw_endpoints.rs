//! `endpoints/*.yaml` as written.

use super::body::{Batch, BodyHolds, BodyRule};
use super::template::{Template, TrailingSlash};
use super::yaml::{Code, Fields, Node, Place, Problems, Reader, Source, Value, suggestion};
use crate::domain::{EndpointId, JsonPointer, JsonScalar, LARGEST_WHOLE, UpstreamName};

/// One endpoint as written, each part checked by itself.
#[derive(Debug)]
pub(super) struct RawEndpoint {
    pub(super) id: EndpointId,
    pub(super) place: Place,
    pub(super) upstream: UpstreamName,
    pub(super) methods: Vec<&'static str>,
    pub(super) path: Template,
    pub(super) path_text: String,
    pub(super) upstream_path: Template,
    pub(super) body: Option<BodyRule>,
}

pub(super) const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Those that come with a body.
const WITH_BODY: [&str; 3] = ["POST", "PUT", "PATCH"];
/// What Pingora keeps of a body so that it can be relayed after it was looked into.
const LARGEST_BODY: u64 = 64 * 1024;
/// Operations in one batch, where the file does not say.
const USUAL_PARTS: u64 = 20;
/// Operations in one batch at most: each is decided by itself before the first byte is relayed.
const MOST_PARTS: u64 = 100;

/// The endpoints that could be read, and what was wrong: mistakes between endpoints are found even beside others.
pub(super) fn read(source: &Source, root: &Node) -> (Vec<RawEndpoint>, Problems) {
    let mut reader = Reader::new(source);
    let endpoints = read_file(&mut reader, root).unwrap_or_default();
    (endpoints, reader.finish())
}

fn read_file(reader: &mut Reader<'_>, root: &Node) -> Option<Vec<RawEndpoint>> {
    let fields = reader.map(root, "an endpoints file", &["version", "upstream", "endpoints"])?;
    version(reader, &fields);
    let upstream = reader.required(&fields, "upstream", "an endpoints file");
    let upstream = upstream.and_then(|node| reader.parsed::<UpstreamName>(node, "upstream"));
    let list = reader.required(&fields, "endpoints", "an endpoints file")?;
    let items = reader.list(list, "endpoints")?;
    let mut endpoints: Vec<RawEndpoint> = Vec::with_capacity(items.len());
    for item in items {
        if let Some(endpoint) = read_endpoint(reader, item, upstream.as_ref()) {
            if endpoints.iter().any(|known| known.id == endpoint.id) {
                reader.note(Code::DuplicateId, endpoint.place, format!("duplicate endpoint id `{}`", endpoint.id));
            }
            endpoints.push(endpoint);
        }
    }
    Some(endpoints)
}

/// `version: 1`, the only one there is.
pub(super) fn version(reader: &mut Reader<'_>, fields: &Fields<'_>) {
    if let Some(node) = reader.required(fields, "version", "the file") {
        let _ = reader.number(node, "version", 1..=1);
    }
}

fn read_endpoint(reader: &mut Reader<'_>, node: &Node, upstream: Option<&UpstreamName>) -> Option<RawEndpoint> {
    let fields = reader.map(node, "an endpoint", &["id", "methods", "path", "upstream_path", "body", "description"])?;
    let id = reader.required(&fields, "id", "an endpoint").and_then(|node| reader.parsed::<EndpointId>(node, "id"));
    let methods = reader.required(&fields, "methods", "an endpoint").and_then(|node| read_methods(reader, node));
    let path = reader
        .required(&fields, "path", "an endpoint")
        .and_then(|node| read_template(reader, node, "path", TrailingSlash::Never).map(|template| (template, node)));
    let upstream_path = match fields.get("upstream_path") {
        Some(node) => {
            read_template(reader, node, "upstream_path", TrailingSlash::Kept).map(|template| (template, Some(node)))
        }
        None => path.as_ref().map(|((template, _), _)| ((template.clone(), String::new()), None)),
    };
    if let Some(node) = fields.get("description") {
        reader.text(node, "description");
    }
    let body = match fields.get("body") {
        Some(node) => {
            let body = read_body(reader, node);
            body_fits_methods(reader, node, body.as_ref(), methods.as_deref().unwrap_or_default());
            Some(body?)
        }
        None => None,
    };
    let (((path, path_text), _), ((upstream_path, _), upstream_node)) = path.zip(upstream_path)?;
    if let Some(node) = upstream_node {
        same_parameters(reader, node, &path, &upstream_path);
    }
    let takes_batch = matches!(body.as_ref().map(|body| &body.holds), Some(BodyHolds::ODataBatch { .. }));
    if upstream_path.ends_with_batch() && !takes_batch {
        // SECURITY: no rule would see the requests inside.
        reader.problem(
            upstream_node.unwrap_or(node).place,
            "`$batch` carries requests that no rule would see; write `body: { batch: odata }`, or map the operations themselves",
        );
    }
    Some(RawEndpoint {
        id: id?,
        place: node.place,
        upstream: upstream?.clone(),
        methods: methods?,
        path,
        path_text,
        upstream_path,
        body,
    })
}

fn read_methods(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<&'static str>> {
    let items = reader.list(node, "methods")?;
    let mut methods = Vec::new();
    for item in items {
        let text = reader.text(item, "methods")?;
        match METHODS.iter().find(|method| **method == text) {
            Some(method) if methods.contains(method) => {
                reader.problem(item.place, format!("method `{method}` stands twice in `methods`"));
            }
            Some(method) => methods.push(*method),
            None => {
                let shown: String = text.chars().take(32).flat_map(char::escape_debug).collect();
                reader.problem(item.place, format!("`methods`: `{shown}` is not one of {}", METHODS.join(", ")));
            }
        }
    }
    if items.is_empty() {
        reader.problem(node.place, "`methods` is empty, so the endpoint could never be called");
    }
    Some(methods)
}

fn read_template(reader: &mut Reader<'_>, node: &Node, what: &str, slash: TrailingSlash) -> Option<(Template, String)> {
    let text = reader.text(node, what)?;
    match Template::parse(text, slash) {
        Ok(template) => Some((template, text.to_owned())),
        Err(why) => {
            reader.problem(node.place, format!("`{what}`: {why}"));
            None
        }
    }
}

fn same_parameters(reader: &mut Reader<'_>, node: &Node, path: &Template, upstream_path: &Template) {
    let known: Vec<_> = path.parameters().collect();
    for name in upstream_path.parameters().filter(|name| !known.contains(name)) {
        reader.problem(node.place, format!("`upstream_path` uses `{{{name}}}`, which is not in `path`"));
    }
    let used: Vec<_> = upstream_path.parameters().collect();
    for name in known.iter().filter(|name| !used.contains(name)) {
        reader.problem(
            node.place,
            format!("`upstream_path` leaves `{{{name}}}` out: every value would lead to the same place"),
        );
    }
    if path.has_rest() && !upstream_path.has_rest() && used.len() == known.len() {
        reader.problem(node.place, "`upstream_path` must take the rest parameter as `{name...}` too");
    }
}

/// A body on a method that has none is refused before anybody looks into it, so the endpoint could never be called.
fn body_fits_methods(reader: &mut Reader<'_>, node: &Node, body: Option<&BodyRule>, methods: &[&'static str]) {
    let is_batch = matches!(body.map(|body| &body.holds), Some(BodyHolds::ODataBatch { .. }));
    for method in methods {
        if is_batch && *method != "POST" {
            reader.problem(node.place, format!("only a POST brings an OData batch; remove {method} from `methods`"));
        } else if !WITH_BODY.contains(method) {
            reader.problem(node.place, format!("{method} comes without a body; remove it from `methods`"));
        }
    }
}

/// What `batch` says.
#[derive(Clone, Copy)]
enum BatchWord {
    Refused,
    Allowed,
    OData,
}

const BATCH_WORDS: [(&str, BatchWord); 3] =
    [("refused", BatchWord::Refused), ("allowed", BatchWord::Allowed), ("odata", BatchWord::OData)];

fn read_body(reader: &mut Reader<'_>, node: &Node) -> Option<BodyRule> {
    let fields = reader.map(node, "`body`", &["max_bytes", "where", "batch", "max_parts"])?;
    let max_bytes = match fields.get("max_bytes") {
        Some(node) => reader.number(node, "max_bytes", 1..=LARGEST_BODY),
        None => Some(LARGEST_BODY),
    };
    let batch = match fields.get("batch") {
        Some(node) => read_batch_word(reader, node),
        None => Some(BatchWord::Refused),
    };
    let most_parts = match fields.get("max_parts") {
        Some(node) => {
            if matches!(batch, Some(BatchWord::Refused)) {
                reader.problem(node.place, "`max_parts` says nothing without `batch: allowed` or `batch: odata`");
            }
            reader.number(node, "max_parts", 1..=MOST_PARTS)
        }
        None => Some(USUAL_PARTS),
    };
    let most_parts = most_parts.and_then(|parts| usize::try_from(parts).ok());
    let holds = match (batch, fields.get("where")) {
        (Some(BatchWord::OData), None) => Some(BodyHolds::ODataBatch { most_parts: most_parts? }),
        (Some(BatchWord::OData), Some(node)) => {
            let why =
                "`where` says nothing beside `batch: odata`: each request in the batch is decided by its own endpoint";
            reader.problem(node.place, why);
            None
        }
        (batch, _) => {
            let wanted = reader.required(&fields, "where", "`body`").and_then(|node| read_where(reader, node));
            let batch = match batch? {
                BatchWord::Allowed => Batch::Allowed { most_parts: most_parts? },
                BatchWord::Refused | BatchWord::OData => Batch::Refused,
            };
            Some(BodyHolds::Values { wanted: wanted?, batch })
        }
    };
    Some(BodyRule { max_bytes: usize::try_from(max_bytes?).ok()?, holds: holds? })
}

fn read_batch_word(reader: &mut Reader<'_>, node: &Node) -> Option<BatchWord> {
    let text = reader.text(node, "batch")?;
    let found = BATCH_WORDS.iter().find(|(word, _)| *word == text);
    if found.is_none() {
        let shown: String = text.chars().take(32).flat_map(char::escape_debug).collect();
        let hint = suggestion(text, &BATCH_WORDS.map(|(word, _)| word));
        reader.problem(node.place, format!("`batch`: `{shown}` is none of refused, allowed, odata{hint}"));
    }
    found.map(|(_, word)| *word)
}

fn read_where(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<(JsonPointer, Vec<JsonScalar>)>> {
    let conditions = reader.any_map(node, "`where`")?;
    let mut wanted = Vec::new();
    for (text, key, value) in conditions.iter() {
        let shown: String = text.chars().take(64).flat_map(char::escape_debug).collect();
        let pointer = text.parse::<JsonPointer>();
        if let Err(why) = &pointer {
            reader.problem(key.place, format!("`where`: `{shown}`: {why}"));
        }
        let Some(items) = reader.list(value, &shown) else { continue };
        let mut values: Vec<JsonScalar> = Vec::with_capacity(items.len());
        for item in items {
            match read_value(reader, item, &shown) {
                Some(value) if values.contains(&value) => {
                    reader.problem(item.place, format!("`{shown}` lists {value} twice"));
                }
                Some(value) => values.push(value),
                None => {}
            }
        }
        if items.is_empty() {
            reader.problem(value.place, format!("`{shown}` lists nothing, so no body could ever fit"));
        }
        wanted.extend(pointer.ok().map(|pointer| (pointer, values)));
    }
    if conditions.iter().next().is_none() {
        reader.problem(conditions.place(), "`where` is empty: every body would fit");
    }
    Some(wanted)
}

/// A value as JSON knows it: `true` and `1` are no texts, and what YAML readers disagree about must be quoted.
pub(super) fn read_value(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<JsonScalar> {
    if let Value::Scalar { text, plain: true } = &node.value {
        match text.as_str() {
            "true" => return Some(JsonScalar::Boolean(true)),
            "false" => return Some(JsonScalar::Boolean(false)),
            _ => {}
        }
        if let Some(number) = whole_number(text) {
            if (-LARGEST_WHOLE..=LARGEST_WHOLE).contains(&number) {
                return Some(JsonScalar::Whole(number));
            }
            let why = format!("`{what}`: {text} is beyond 2^53 - 1, where JSON readers begin to round");
            reader.problem(node.place, why);
            return None;
        }
        if is_number_somewhere(text) {
            let shown: String = text.chars().take(32).collect();
            let why = format!(
                "`{what}`: `{shown}` is a number or a time to some YAML readers; write \"{shown}\" if the text is meant, \
                 or a whole number without sign `+`, leading zero, `.`, `_` or `e`"
            );
            reader.problem(node.place, why);
            return None;
        }
    }
    reader.text(node, what).map(|text| JsonScalar::Text(text.to_owned()))
}

/// `-` and digits without leading zero; `-0` is another number to some.
fn whole_number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = !digits.starts_with('0') || text == "0";
    (canonical && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().unwrap_or(i64::MAX))
}

/// What YAML 1.1 or 1.2 reads as a number, in any base, or as a date or time.
fn is_number_somewhere(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let unsigned = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
    if matches!(unsigned, ".inf" | ".nan" | "inf" | "nan" | "infinity") {
        return true;
    }
    let plain = unsigned.replace('_', "");
    let in_base = ["0x", "0o", "0b"]
        .iter()
        .any(|base| plain.strip_prefix(base).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit())));
    let times = plain.starts_with(|first: char| first.is_ascii_digit())
        && plain.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'-' | b'.' | b't' | b'z' | b'+'))
        && plain.contains([':', '-']);
    let begins = plain.trim_start_matches('.').starts_with(|first: char| first.is_ascii_digit());
    begins && (in_base || times || plain.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const HEAD: &str = "version: 1\nupstream: erp\nendpoints:\n";

    fn read_text(endpoints: &str) -> (Vec<RawEndpoint>, Problems) {
        let source = Source::new(Path::new("erp.yaml"), format!("{HEAD}{endpoints}").as_bytes()).expect("a text");
        let root = source.parse().unwrap_or_else(|problems| panic!("{problems}"));
        read(&source, &root)
    }

    fn endpoint(methods: &str, body: &str) -> String {
        format!("  - id: rpc\n    methods: [{methods}]\n    path: /v1/rpc\n    body: {body}\n")
    }

    fn rule(body: &str) -> BodyRule {
        let (endpoints, problems) = read_text(&endpoint("POST", body));
        assert!(problems.is_empty(), "{problems}");
        endpoints.into_iter().next().and_then(|endpoint| endpoint.body).expect("a body")
    }

    #[test]
    fn values_keep_the_type_in_which_they_are_written() {
        let rule = rule("{ max_bytes: 100, where: { /method: [a, \"1\", 2fa.on, v1.2.3], /params/0: [1, -7, true] } }");
        let BodyHolds::Values { wanted, batch } = rule.holds else { panic!("values") };
        let text = |text: &str| JsonScalar::Text(text.into());
        assert_eq!(wanted[0].1, [text("a"), text("1"), text("2fa.on"), text("v1.2.3")]);
        assert_eq!(wanted[1].1, [JsonScalar::Whole(1), JsonScalar::Whole(-7), JsonScalar::Boolean(true)]);
        assert_eq!((rule.max_bytes, batch), (100, Batch::Refused));
    }

    #[test]
    fn batches_are_refused_unless_the_endpoint_says_so() {
        assert_eq!(rule("{ where: { /a: [b] } }").most_parts(), 0);
        assert_eq!(rule("{ where: { /a: [b] }, batch: refused }").most_parts(), 0);
        assert_eq!(rule("{ where: { /a: [b] }, batch: allowed }").most_parts(), 20);
        assert_eq!(rule("{ where: { /a: [b] }, batch: allowed, max_parts: 3 }").most_parts(), 3);
        assert!(matches!(rule("{ batch: odata, max_parts: 5 }").holds, BodyHolds::ODataBatch { most_parts: 5 }));
    }

    #[test]
    fn what_is_wrong_with_a_body_is_said_with_its_place() {
        for (methods, body, place, says) in [
            ("POST", "{ where: { method: [a] } }", "method", "write `/method`"),
            ("POST", "{ where: { /a~2: [a] } }", "/a~2", "`~1` stands for `/`"),
            ("POST", "{ where: { /a/-: [a] } }", "/a/-", "nothing ever stands there"),
            ("POST", "{ where: { /a: b } }", "b }", "must be a list"),
            ("POST", "{ where: { /a: [] } }", "[]", "no body could ever fit"),
            ("POST", "{ where: { /a: [x, x] } }", "x] ", "lists \"x\" twice"),
            ("POST", "{ where: { /a: [~] } }", "~", "not null"),
            ("POST", "{ where: { /a: [yes] } }", "yes", "boolean to some YAML readers"),
            ("POST", "{ where: { /a: [1.0] } }", "1.0", "number or a time to some YAML readers"),
            ("POST", "{ where: { /a: [1e3] } }", "1e3", "number or a time"),
            ("POST", "{ where: { /a: [0x1F] } }", "0x1F", "number or a time"),
            ("POST", "{ where: { /a: [007] } }", "007", "number or a time"),
            ("POST", "{ where: { /a: [+1] } }", "+1", "number or a time"),
            ("POST", "{ where: { /a: [-0] } }", "-0", "number or a time"),
            ("POST", "{ where: { /a: [1_000] } }", "1_000", "number or a time"),
            ("POST", "{ where: { /a: [.inf] } }", ".inf", "number or a time"),
            ("POST", "{ where: { /a: [12:30] } }", "12:30", "number or a time"),
            ("POST", "{ where: { /a: [2026-11-23] } }", "2026", "number or a time"),
            ("POST", "{ where: { /a: [9007199254740992] } }", "9007", "begin to round"),
            ("POST", "{ where: { /a: [99999999999999999999] } }", "9999", "begin to round"),
            ("POST", "{ where: {} }", "{}", "every body would fit"),
            ("POST", "{ batch: allowed }", "{ batch", "`where` is missing"),
            ("POST", "{ where: { /a: [b] }, batch: odta }", "odta", "did you mean `odata`?"),
            ("POST", "{ where: { /a: [b] }, batch: yes }", "yes", "boolean to some YAML readers"),
            ("POST", "{ where: { /a: [b] }, batch: odata }", "{ /a", "is decided by its own endpoint"),
            ("POST", "{ where: { /a: [b] }, max_parts: 3 }", "3 }", "says nothing without"),
            ("POST", "{ batch: odata, max_parts: 0 }", "0 }", "from 1 to 100"),
            ("POST", "{ batch: odata, max_parts: 101 }", "101", "from 1 to 100"),
            ("POST", "{ batch: odata, max_bytes: 65537 }", "65537", "from 1 to 65536"),
            ("POST", "{ wher: { /a: [b] } }", "wher", "did you mean `where`?"),
            ("GET", "{ batch: odata }", "{ batch", "only a POST"),
            ("GET", "{ where: { /a: [b] } }", "{ where", "GET comes without a body"),
        ] {
            let (_, problems) = read_text(&endpoint(methods, body));
            let found = problems.0.iter().find(|problem| problem.to_string().contains(says));
            let found = found.unwrap_or_else(|| panic!("{body}: no `{says}` in\n{problems}"));
            let line = format!("    body: {body}");
            let column = 1 + line.find(place).expect("in the line");
            assert_eq!((found.line, found.column, found.excerpt()), (7, column, line.as_str()), "{found}");
        }
    }

    #[test]
    fn several_mistakes_in_one_body_are_reported_at_once() {
        let body = "{ max_bytes: 0, batch: maybe, where: { a: [1.5], /b: [] } }";
        let (_, problems) = read_text(&endpoint("POST", body));
        assert_eq!(problems.0.len(), 5, "{problems}");
    }
}
