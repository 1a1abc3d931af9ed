//! Holds schemas and readers against each other. A key that only one of them knows, in any map, fails here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Map;

use super::*;
use crate::policy::set::PolicySet;
use crate::policy::yaml::{Code, Node, Source, Value as Yaml};

type Texts = BTreeMap<PathBuf, Vec<u8>>;

/// Every key of every kind of file, at least once; each file is accepted.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "endpoints/erp.yaml",
        "version: 1
upstream: erp
endpoints:
  - id: rpc.search
    description: Search
    methods: [POST]
    path: /v1/rpc/{kind}
    upstream_path: /rpc/{kind}/
    body: { max_bytes: 100, where: { /method: [a, 1, true] }, batch: allowed, max_parts: 3 }
  - { id: orders.list, methods: [GET], path: /v1/orders }
",
    ),
    (
        "party-reader.yaml",
        "version: 1
policy: party-reader
description: Read
schedule: default
rules:
  - id: mask
    allow: [orders.list]
    request: { force_query: { company: \"7\" }, force_header: { x-company: \"7\" } }
    response: { mask: { pointers: [/a], with: \"*\", max_bytes: 1MiB } }
  - { id: read, allow: [orders.list], when: 'request.method == \"GET\"', description: Read }
  - { id: search, deny: [rpc.*], clients: [10.0.0.0/8], until: 2030-01-01T00:00:00Z }
limits: { requests: 600, per: 1m, concurrent: 20, bytes: 10MiB }
",
    ),
    (
        "schedule.yaml",
        "version: 1
default:
  time_zone: UTC
  windows: [{ days: [mon], from: \"09:00\", to: \"24:00\" }]
  holidays: [{ date: 2026-12-26, name: Boxing }, { every: 12-25 }]
  exceptions: [{ date: 2026-12-24, windows: [{ from: \"09:00\", to: \"10:00\" }], name: Eve }]
",
    ),
    (
        "cases/c.yaml",
        "version: 1
cases:
  - name: reads
    grants: [party-reader]
    principal: { account: acme, credential: shop, kind: bounded, labels: { tier: gold } }
    request: { method: POST, path: /v1/rpc/x, at: 1970-01-01T00:00:00Z, body: '{}', headers: { x-a: b }, client: 10.1.2.3, tls: true }
    expect: { decision: denied, reason: body }
  - name: reads again
    grants: [party-reader]
    request: { method: GET, path: /v1/orders, at: 1970-01-05T10:00:00Z }
    expect: { decision: allowed, rule: party-reader/read }
  - name: lists
    grants: [party-reader]
    request: { method: GET, path: /v1/orders, at: 1970-01-05T10:00:00Z }
    expect: { decision: allowed, obligations: [mask /a, query company=7, header x-company=7] }
",
    ),
];

fn examples() -> Texts {
    EXAMPLES.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect()
}

fn load(texts: &Texts) -> Result<PolicySet, crate::policy::yaml::Problems> {
    let texts: Vec<_> = texts.clone().into_iter().collect();
    PolicySet::from_texts(&texts)
}

fn schema_of(path: &Path) -> Value {
    let name = match path.to_str().expect("text") {
        path if path.starts_with("endpoints/") => "endpoints.schema.json",
        path if path.starts_with("cases/") => "cases.schema.json",
        "schedule.yaml" => "schedule.schema.json",
        _ => "policy.schema.json",
    };
    let found = schemas().into_iter().find(|schema| schema.name == name).expect("a schema");
    serde_json::from_str(&found.text()).expect("JSON")
}

/// A file as an editor's YAML 1.2 reads it; `None` where it is no YAML of ours.
fn as_json(path: &Path, text: &[u8]) -> Option<Value> {
    fn value(node: &Node) -> Value {
        match &node.value {
            Yaml::Scalar { text, plain: true } => match text.as_str() {
                "" | "~" | "null" | "Null" | "NULL" => Value::Null,
                "true" | "True" | "TRUE" => json!(true),
                "false" | "False" | "FALSE" => json!(false),
                text => text.parse::<i64>().map_or_else(
                    |_| {
                        text.parse::<f64>()
                            .ok()
                            .filter(|number| number.is_finite())
                            .map_or_else(|| json!(text), |number| json!(number))
                    },
                    |number| json!(number),
                ),
            },
            Yaml::Scalar { text, plain: false } => json!(text),
            Yaml::List(items) => items.iter().map(value).collect(),
            Yaml::Map(entries) => {
                let entry = |(key, item): &(Node, Node)| match &key.value {
                    Yaml::Scalar { text, .. } => (text.clone(), value(item)),
                    Yaml::List(_) | Yaml::Map(_) => panic!("a key is a text"),
                };
                Value::Object(entries.iter().map(entry).collect())
            }
        }
    }
    Some(value(&Source::new(path, text).ok()?.parse().ok()?))
}

/// What a schema has against a value. Knows the keywords that the schemas use and refuses all others.
fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let Value::Object(keywords) = schema else {
        return if schema == &json!(true) { Vec::new() } else { vec!["nothing may stand here".into()] };
    };
    let mut found = Vec::new();
    for (keyword, wanted) in keywords {
        let fine = match keyword.as_str() {
            // The last three are looked at member by member, below.
            "$schema" | "title" | "description" | "properties" | "patternProperties" | "additionalProperties" => true,
            "type" => wanted
                .as_array()
                .map_or_else(|| has_type(wanted, value), |types| types.iter().any(|name| has_type(name, value))),
            "const" => wanted == value,
            "enum" => wanted.as_array().expect("a list").contains(value),
            "pattern" => value.as_str().is_none_or(|text| pattern(wanted).is_match(text)),
            "minLength" => {
                value.as_str().is_none_or(|text| text.chars().count() as u64 >= wanted.as_u64().expect("a number"))
            }
            "maxLength" => {
                value.as_str().is_none_or(|text| text.chars().count() as u64 <= wanted.as_u64().expect("a number"))
            }
            "minimum" => value.as_f64().is_none_or(|number| number >= wanted.as_f64().expect("a number")),
            "maximum" => value.as_f64().is_none_or(|number| number <= wanted.as_f64().expect("a number")),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= wanted.as_u64().expect("a number")),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= wanted.as_u64().expect("a number")),
            "minProperties" => {
                value.as_object().is_none_or(|map| map.len() as u64 >= wanted.as_u64().expect("a number"))
            }
            "uniqueItems" => value.as_array().is_none_or(|items| {
                items.iter().enumerate().all(|(at, item)| !items.iter().take(at).any(|other| other == item))
            }),
            "required" => value.as_object().is_none_or(|map| names(wanted).iter().all(|name| map.contains_key(*name))),
            "dependencies" => value.as_object().is_none_or(|map| {
                let each = wanted.as_object().expect("a map").iter();
                each.filter(|(name, _)| map.contains_key(*name))
                    .all(|(_, needed)| names(needed).iter().all(|name| map.contains_key(*name)))
            }),
            "oneOf" => {
                wanted.as_array().expect("a list").iter().filter(|one| violations(one, value).is_empty()).count() == 1
            }
            "items" => {
                found.extend(value.as_array().into_iter().flatten().flat_map(|item| violations(wanted, item)));
                true
            }
            other => panic!("the keyword `{other}` is not evaluated"),
        };
        if !fine {
            found.push(format!("{value}: not {keyword} {wanted}"));
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let schemas = member_schemas(keywords, name);
        if schemas.is_empty() && keywords.get("additionalProperties") == Some(&json!(false)) {
            found.push(format!("unknown key `{name}`"));
        }
        found.extend(schemas.iter().flat_map(|schema| violations(schema, member)));
    }
    found
}

fn member_schemas<'s>(keywords: &'s Map<String, Value>, name: &str) -> Vec<&'s Value> {
    if let Some(found) = keywords.get("properties").and_then(|properties| properties.get(name)) {
        return vec![found];
    }
    let patterns = keywords.get("patternProperties").and_then(Value::as_object).into_iter().flatten();
    patterns.filter(|(text, _)| pattern(&json!(text)).is_match(name)).map(|(_, schema)| schema).collect()
}

fn pattern(text: &Value) -> regex::Regex {
    regex::Regex::new(text.as_str().expect("a text")).expect("a pattern")
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|name| name.as_str().expect("a text")).collect()
}

fn has_type(name: &Value, value: &Value) -> bool {
    match name.as_str().expect("a text") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the type `{other}` is not evaluated"),
    }
}

/// Each map in a value, with the way to it.
fn maps(value: &Value, way: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.push(way.to_owned());
            for (name, member) in members {
                maps(member, &format!("{way}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| maps(item, &format!("{way}/{index}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The schema of the map at the end of a way.
fn schema_at<'s>(schema: &'s Value, way: &str) -> &'s Value {
    way.split('/').skip(1).fold(schema, |schema, step| {
        let keywords = schema.as_object().expect("a schema");
        match keywords.get("items") {
            Some(items) => items,
            None => member_schemas(keywords, &step.replace("~1", "/").replace("~0", "~"))
                .first()
                .expect("a schema of the key"),
        }
    })
}

const STRANGER: &str = "qqqqqqqqqqqq";

#[test]
fn every_map_takes_the_keys_that_its_schema_names_and_no_others() {
    let examples = examples();
    load(&examples).unwrap_or_else(|problems| panic!("{problems}"));
    let mut compared = 0;
    for (path, text) in &examples {
        let (json, schema) = (as_json(path, text).expect("YAML"), schema_of(path));
        let mut ways = Vec::new();
        maps(&json, "", &mut ways);
        for way in ways {
            let Some(properties) = schema_at(&schema, &way)
                .get("properties")
                .filter(|_| !(way.is_empty() && path == Path::new("schedule.yaml")))
            else {
                continue;
            };
            // The reader is asked what it knows by a key that nobody knows.
            let mut asked = json.clone();
            asked.pointer_mut(&way).and_then(Value::as_object_mut).expect("a map").insert(STRANGER.into(), json!(1));
            let mut texts = examples.clone();
            texts.insert(path.clone(), asked.to_string().into_bytes());
            let problems = load(&texts).expect_err("an unknown key");
            let told = problems.0.iter().find(|problem| problem.message.contains(STRANGER)).expect("the unknown key");
            let help = told.help.clone().unwrap_or_default();
            let known: BTreeSet<&str> =
                help.strip_prefix("the keys are ").unwrap_or_else(|| panic!("{told}")).split(", ").collect();
            let written: BTreeSet<&str> = properties.as_object().expect("a map").keys().map(String::as_str).collect();
            assert_eq!(written, known, "schema and reader at {} {way}", path.display());
            compared += 1;
        }
    }
    assert!(compared >= 15, "{compared} maps were compared");
}

#[test]
fn every_key_of_a_schema_stands_in_an_example() {
    fn keys(schema: &Value, way: &str, found: &mut BTreeSet<String>) {
        for (name, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            // A schema of `false` says that the key may not stand there.
            if member != &json!(false) {
                found.insert(format!("{way}/{name}"));
                keys(member, &format!("{way}/{name}"), found);
            }
        }
        if let Some(items) = schema.get("items") {
            keys(items, &format!("{way}/0"), found);
        }
        for member in schema.get("patternProperties").and_then(Value::as_object).into_iter().flatten() {
            keys(member.1, &format!("{way}/*"), found);
        }
    }
    fn used(schema: &Value, value: &Value, way: &str, found: &mut BTreeSet<String>) {
        let keywords = schema.as_object().cloned().unwrap_or_default();
        for (name, member) in value.as_object().into_iter().flatten() {
            let named = keywords.get("properties").and_then(|properties| properties.get(name)).is_some();
            let step = if named { name.as_str() } else { "*" };
            found.insert(format!("{way}/{step}"));
            if let Some(schema) = member_schemas(&keywords, name).first() {
                used(schema, member, &format!("{way}/{step}"), found);
            }
        }
        if let Some(items) = keywords.get("items") {
            value.as_array().into_iter().flatten().for_each(|item| used(items, item, &format!("{way}/0"), found));
        }
    }
    for (path, text) in examples() {
        let schema = schema_of(&path);
        let (mut wanted, mut found) = (BTreeSet::new(), BTreeSet::new());
        keys(&schema, "", &mut wanted);
        used(&schema, &as_json(&path, &text).expect("YAML"), "", &mut found);
        let missing: Vec<_> = wanted.difference(&found).collect();
        assert!(missing.is_empty(), "{}: {missing:?}", path.display());
    }
}

#[test]
fn examples_and_shipped_files_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let shipped = crate::policy::folder::read(&folder).expect("the shipped policies").texts;
    assert!(shipped.len() >= 6);
    for (path, text) in examples().into_iter().chain(shipped) {
        let json = as_json(&path, &text).expect("YAML");
        assert_eq!(violations(&schema_of(&path), &json), [""; 0], "{}", path.display());
    }
}

#[test]
fn the_corpus_is_valid_where_it_is_accepted_and_not_where_its_structure_is_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/yaml_policies");
    let base = ["endpoints/erp.yaml", "party-reader.yaml", "schedule.yaml", "cases/party-reader.yaml"];
    let base: Texts = base
        .iter()
        .map(|file| (PathBuf::from(file), std::fs::read(folder.join("_base").join(file)).expect("a file")))
        .collect();
    let manifest = std::fs::read_to_string(folder.join("manifest.jsonl")).expect("the manifest");
    let (mut accepted, mut refused) = (0, 0);
    for line in manifest.lines() {
        let row: Value = serde_json::from_str(line).expect("a row");
        let (name, replaced) = (row["file"].as_str().expect("a name"), row["replaces"].as_str().expect("a path"));
        let path = PathBuf::from(replaced.trim_start_matches("policies/"));
        let text = crate::policy::tests::corpus_file(&folder, name);
        let Some(json) = as_json(&path, &text) else { continue };
        let violations = violations(&schema_of(&path), &json);
        let mut texts = base.clone();
        texts.insert(path, text);
        match load(&texts) {
            Ok(_) => {
                accepted += 1;
                assert_eq!(violations, [""; 0], "{name}");
            }
            Err(problems) => {
                let structure = |code: &Code| matches!(code, Code::UnknownKey | Code::MissingKey | Code::WrongType);
                if problems.0.iter().any(|problem| structure(&problem.code)) {
                    refused += 1;
                    assert!(!violations.is_empty(), "{name}:\n{problems}");
                }
            }
        }
    }
    assert!(accepted >= 15 && refused >= 10, "{accepted} accepted, {refused} refused for their structure");
}

#[test]
fn the_shipped_schemas_are_those_that_the_command_writes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for schema in schemas() {
        let shipped = std::fs::read_to_string(folder.join(schema.name)).unwrap_or_default();
        assert_eq!(shipped, schema.text(), "{}: write it anew with `erp-access policy schema`", schema.name);
    }
}

#[test]
fn every_shipped_file_names_its_schema() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for (path, text) in crate::policy::folder::read(&folder).expect("the shipped policies").texts {
        let text = String::from_utf8(text).expect("text");
        let first = text.lines().next().unwrap_or_default();
        let named =
            first.strip_prefix("# yaml-language-server: $schema=").unwrap_or_else(|| panic!("{}", path.display()));
        let schema = folder.join(&path).parent().expect("a folder").join(named);
        assert!(schema.is_file(), "{}: {named}", path.display());
        let title = serde_json::from_str::<Value>(&std::fs::read_to_string(schema).expect("read")).expect("JSON");
        assert_eq!(title["title"], schema_of(&path)["title"], "{}", path.display());
    }
}
