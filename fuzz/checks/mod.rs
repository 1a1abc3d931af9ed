//! What must hold of any input. The fuzzer looks for one that breaks it; the test suite runs what it has found so far.

mod body;
mod configuration;
mod credentials;
mod decision;
mod redaction;

use std::path::{Path, PathBuf};

use erp_access::domain::{CanonicalPath, PolicyName, Target};
use erp_access::policy::{Body, Facts, Grants, PolicySet};
use jiff::Timestamp;

pub(crate) use body::body;
pub(crate) use configuration::{configuration, recipe};
pub(crate) use credentials::credentials;
pub(crate) use decision::decision;
pub(crate) use redaction::redaction;

/// A target that is accepted has one meaning: a canonical path, which stays as it is, and which no server reads
/// differently.
pub(crate) fn path(input: &[u8]) {
    let Ok(target) = Target::parse(input) else { return };
    let path = target.path().as_str();
    let again = CanonicalPath::parse(path.as_bytes()).unwrap_or_else(|error| panic!("`{path}` is refused: {error}"));
    assert_eq!(again.as_str(), path, "canonical is canonical");
    assert!(path.starts_with('/'), "{path}");
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
    assert!(!path.contains(['\\', '?', '#', ';']), "{path}");
    for segment in path.split('/').skip(1) {
        assert!(!matches!(segment, "" | "." | ".."), "{path}");
    }
    for escape in path.split('%').skip(1) {
        let digits = escape.get(..2).unwrap_or_else(|| panic!("half an escape in {path}"));
        let byte = u8::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("no escape in {path}"));
        let means_another = byte.is_ascii_control() || b"/\\%;.".contains(&byte) || byte.is_ascii_alphanumeric();
        assert!(!means_another, "`%{digits}` in {path}");
        assert_eq!(digits.to_ascii_uppercase(), digits, "{path}");
    }
    if let Some(query) = target.query() {
        assert!(query.bytes().all(|byte| byte.is_ascii_graphic()), "{query}");
    }
}

const SCHEDULE: &str = "version: 1\ndefault:\n  time_zone: UTC\n  windows: [{ days: [mon, tue, wed, thu, fri, sat, sun], from: \"00:00\", to: \"24:00\" }]\n";
const ENDPOINTS: &str = "version: 1\nupstream: erp\nendpoints:\n  - { id: orders.list, methods: [GET], path: /v1/orders }\n  - { id: orders.read, methods: [GET], path: '/v1/orders/{id}' }\n";
const READER: &str = "version: 1\npolicy: reader\nrules:\n  - { id: read, allow: [orders.*] }\n";
const CASES: &str = "version: 1\ncases: []\n";

/// A file is either refused, with a place in it for each mistake, or makes a set that denies whoever holds nothing. Its
/// first byte says which file it is.
pub(crate) fn policy(input: &[u8]) {
    let Some((kind, text)) = input.split_first() else { return };
    let names = ["reader.yaml", "endpoints/erp.yaml", "schedule.yaml", "cases/reader.yaml"];
    let replaced = names[usize::from(*kind) % names.len()];
    let base = [READER, ENDPOINTS, SCHEDULE, CASES];
    let files: Vec<(PathBuf, Vec<u8>)> = names
        .into_iter()
        .zip(base)
        .map(|(name, base)| (name.into(), if name == replaced { text.to_vec() } else { base.as_bytes().to_vec() }))
        .collect();
    // YAML ends lines with CR, with LF, and with both.
    let lines = text.split(|byte| matches!(byte, b'\n' | b'\r')).count();
    match PolicySet::from_texts(&files) {
        Ok(set) => {
            for (method, path) in [("GET", "/v1/orders"), ("GET", "/v1/orders/1"), ("POST", "/v1/orders")] {
                assert!(!decide(&set, method, path, &[]), "nothing is granted");
                // Whatever it says, it is said.
                let _ = decide(&set, method, path, &["reader"]);
            }
            let _ = set.run_cases();
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                let own = problem.file == Path::new(replaced);
                assert!(problem.line >= 1 && problem.column >= 1, "{problem}");
                assert!(!own || problem.line <= lines + 1, "{problem}");
                assert!(!problem.to_string().contains('\u{1b}'), "a terminal is not steered");
            }
        }
    }
}

/// An expression is refused when it is loaded, or decides: one that fails never allows.
pub(crate) fn condition(input: &[u8]) {
    let expression = String::from_utf8_lossy(input);
    // JSON texts are YAML texts.
    let quoted = serde_json::Value::from(expression.as_ref()).to_string();
    let files = |effect: &str| -> Vec<(PathBuf, Vec<u8>)> {
        let rules = format!(
            "version: 1\npolicy: reader\nrules:\n  - {{ id: all, allow: [orders.read] }}\n  - id: asked\n    {effect}: [orders.list]\n    when: {quoted}\n"
        );
        vec![
            ("reader.yaml".into(), rules.into_bytes()),
            ("endpoints/erp.yaml".into(), ENDPOINTS.into()),
            ("schedule.yaml".into(), SCHEDULE.into()),
        ]
    };
    let (Ok(allowing), Ok(denying)) = (PolicySet::from_texts(&files("allow")), PolicySet::from_texts(&files("deny")))
    else {
        assert!(PolicySet::from_texts(&files("allow")).is_err() && PolicySet::from_texts(&files("deny")).is_err());
        return;
    };
    for path in ["/v1/orders", "/v1/orders?page=1&sort=name", "/v1/orders?page=1&page=2"] {
        assert!(!decide(&denying, "GET", path, &["reader"]), "a deny rule allows nothing");
        let _ = decide(&allowing, "GET", path, &["reader"]);
        assert!(decide(&allowing, "GET", "/v1/orders/1", &["reader"]), "the condition is not about this endpoint");
    }
}

/// Whether the holder of these policies may do this.
fn decide(set: &PolicySet, method: &str, target: &str, held: &[&str]) -> bool {
    let target = Target::parse(target.as_bytes()).expect("a target");
    let held: Vec<PolicyName> = held.iter().map(|name| name.parse().expect("a name")).collect();
    let Some(route) = set.route(method, target.path()) else { return false };
    let Ok(operations) = set.operations(route, &target, Some(Body::json(b"{}"))) else { return false };
    let headers = http::HeaderMap::new();
    let facts = Facts {
        headers: Some(&headers),
        tls: Some(true),
        client: "192.0.2.1".parse().ok(),
        ..Facts::new(method, target.path(), target.query(), Timestamp::UNIX_EPOCH)
    };
    operations.iter().all(|operation| set.decide_operation(operation, Grants::Bounded(&mut held.iter()), facts).is_ok())
}
