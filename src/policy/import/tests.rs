use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::policy::yaml::Severity;
use crate::policy::{Circumstances, PolicySet, lint};

fn import_text(text: &str) -> Result<Imported, Problems> {
    let upstream = "erp".parse().expect("a name");
    import_openapi(Path::new("/downloads/erp.json"), text.as_bytes(), &upstream, &KnownEndpoints::default())
}

fn import(document: &Value) -> Imported {
    import_text(&document.to_string()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Ids and places of the endpoints in the proposal.
fn endpoints(imported: &Imported) -> Vec<(String, String)> {
    let texts = [("endpoints/erp.yaml".into(), imported.text.clone().into_bytes())];
    let set = PolicySet::from_texts(&texts).unwrap_or_else(|problems| panic!("{problems}\n{}", imported.text));
    let name = |endpoint: &crate::policy::Endpoint| {
        (endpoint.id().to_string(), format!("{} {}", endpoint.methods().join(" "), endpoint.path()))
    };
    set.endpoints().iter().map(|endpoint| name(endpoint)).collect()
}

fn with_paths(paths: &Value) -> Value {
    json!({ "openapi": "3.0.3", "info": { "title": "Pets", "version": "1" }, "paths": paths })
}

const YAML: &str = "openapi: 3.1.0
info: { title: \"Pet \\u202e shop\\nversion: 2\", version: '7' }
servers:
  - url: https://erp.example/api/v3
paths:
  /pets/:
    get: { operationId: listPets, summary: List pets }
    post:
      operationId: createPet
      servers: [{ url: /write }]
  /pets/{petId}:
    $ref: '#/components/pathItems/Pet'
  /files/{name}.json:
    get: { operationId: file }
  /elsewhere:
    $ref: other.yaml#/paths/x
components:
  pathItems:
    Pet:
      parameters: []
      get:
        description: >-
          Reads
          one
      trace: {}
";

#[test]
fn a_document_becomes_a_proposal_with_what_was_left_out_as_comments() {
    let imported = import_text(YAML).unwrap_or_else(|problems| panic!("{problems}"));
    let wanted = "# yaml-language-server: $schema=../endpoints.schema.json
# Proposed by `erp-access policy import openapi` from erp.json (Pet shop version: 2 7).
# To be reviewed by a person: remove what nobody needs, and check where each path leads.
# Nothing is allowed by importing: an endpoint can be called once a policy names it, or by an unrestricted credential set.
#
# Left out:
#   /elsewhere: it is described in another document: `other.yaml#/paths/x`
#   GET /files/{name}.json: in `{name}.json` the parameter is not a whole segment
#   TRACE /pets/{petId}: the gateway does not relay TRACE
version: 1
upstream: \"erp\"
endpoints:
  - id: list-pets
    methods: [GET]
    path: /pets
    upstream_path: /api/v3/pets/
    description: \"List pets\"
  - id: create-pet
    methods: [POST]
    path: /pets
    upstream_path: /write/pets/
  - id: get-pets-pet_id
    methods: [GET]
    path: /pets/{pet_id}
    upstream_path: /api/v3/pets/{pet_id}
    description: \"Reads one\"
";
    assert_eq!(imported.text, wanted);
    assert_eq!((imported.endpoints, imported.left_out.len()), (3, 3));
}

#[test]
fn what_an_import_writes_passes_lint_and_allows_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("endpoints")).expect("a folder");
    let imported = import_text(YAML).unwrap_or_else(|problems| panic!("{problems}"));
    std::fs::write(folder.path().join("endpoints/erp.yaml"), imported.text).expect("written");
    let found = lint(folder.path(), &Circumstances::default());
    assert_eq!(found.count(Severity::Error), 0, "{found}");
    assert_eq!(found.0.len(), 3, "each endpoint is unused: {found}");
}

#[test]
fn json_and_yaml_give_the_same() {
    let get = json!({ "get": { "operationId": "a", "summary": "An \u{1f600}" } });
    let document = with_paths(&json!({ "/a/{id}": get, "/b": get }));
    let from_json = import(&document);
    // JSON with escaped surrogates, as many tools write it.
    let escaped = import_text(&document.to_string().replace('\u{1f600}', "\\ud83d\\ude00")).expect("JSON");
    let from_yaml = import_text(&format!("---\n{document}")).expect("YAML");
    assert_eq!((&from_json.text, &from_json.text), (&escaped.text, &from_yaml.text));
    let wanted = [("a", "GET /a/{id}"), ("a_2", "GET /b")].map(|(id, at)| (id.to_owned(), at.to_owned()));
    assert_eq!(endpoints(&from_json), wanted);
}

#[test]
fn operations_that_differ_only_in_the_names_of_parameters_are_one_route() {
    let imported = import(&with_paths(&json!({ "/a/{x}": { "get": {} }, "/a/{y}": { "get": {} } })));
    assert_eq!(imported.endpoints, 1);
    assert!(imported.left_out[0].why.contains("same method and path"), "{:?}", imported.left_out);
}

#[test]
fn what_the_folder_maps_already_is_told_and_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("endpoints")).expect("a folder");
    let text = "version: 1\nupstream: erp\nendpoints:\n  - { id: read-pet, methods: [GET], path: '/pets/{id}' }\n  - { id: list-pets, methods: [GET], path: /animals }\n";
    std::fs::write(folder.path().join("endpoints/old.yaml"), text).expect("written");
    let known = KnownEndpoints::of(folder.path()).expect("read");
    let document = with_paths(&json!({
        "/pets": { "get": { "operationId": "listPets" } },
        "/pets/{petId}": { "get": { "operationId": "getPet" }, "delete": { "operationId": "dropPet" } },
    }));
    let upstream = "erp".parse().expect("a name");
    let imported =
        import_openapi(Path::new("a.json"), document.to_string().as_bytes(), &upstream, &known).expect("imported");
    let why: Vec<_> = imported.left_out.iter().map(|left| (left.operation.as_str(), left.why.as_str())).collect();
    assert_eq!(
        why,
        [
            ("GET /pets", "its id exists already: `list-pets` (endpoints/old.yaml:5)"),
            ("GET /pets/{petId}", "it is mapped already, as `read-pet` (endpoints/old.yaml:4)"),
        ]
    );
    assert!(imported.text.contains("id: drop-pet"), "{}", imported.text);
}

#[test]
fn batches_root_paths_and_wildcards_are_left_out_with_the_reason() {
    let get = json!({ "get": {}, "post": {} });
    let imported = import(&with_paths(
        &json!({ "/$batch": get, "/": get, "/a/*": get, "/b/{c:.*}": get, "/d?e=f": get, "no": get }),
    ));
    assert_eq!((imported.endpoints, imported.left_out.len()), (0, 12), "{:?}", imported.left_out);
    assert!(imported.text.contains("endpoints: []\n"), "{}", imported.text);
}

#[test]
fn a_document_that_is_hostile_or_none_is_a_clear_error() {
    let deep_json = format!("{{\"openapi\": {}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let deep_yaml = format!("openapi: {}1{}", "[".repeat(5000), "]".repeat(5000));
    let large = format!("{{\"openapi\": \"{}\"}}", "3".repeat(LARGEST_DOCUMENT));
    let reference = |to: &str| with_paths(&json!({ "/a": { "$ref": to } })).to_string();
    let circle = json!({
        "openapi": "3.1.0", "paths": { "/a": { "$ref": "#/paths/~1b" }, "/b": { "$ref": "#/paths/~1a" } },
    });
    for (text, says) in [
        ("", "the file is empty"),
        ("{\"openapi\": ", "this is not valid JSON"),
        ("openapi: [", "this is not valid YAML"),
        ("a: &a [1]\nb: *a\n", "anchors and aliases"),
        (&deep_json, "recursion limit"),
        (&deep_yaml, "recursion limit"),
        (&large, "too large"),
        ("{\"openapi\": \"3.0.0\",\n \"paths\": {\"/a\": {}, \"/a\": {}}}", "duplicate key `/a`"),
        ("openapi: 3.0.0\npaths:\n  /a: {}\n  /a: {}\n", "duplicate key `/a`"),
        ("<html></html>", "no OpenAPI document"),
        ("{\"swagger\": \"2.0\"}", "Swagger 2.0"),
        ("{\"openapi\": \"3.2.0\"}", "this is OpenAPI 3.2.0"),
        ("{\"openapi\": \"3.0.0\"}", "has no `paths`"),
        ("{\"openapi\": \"3.0.0\", \"paths\": []}", "not a map of paths"),
        ("{\"openapi\": \"3.0.0\", \"paths\": {\"/a\": 1}}", "not a map of methods"),
        (&reference("#/nowhere"), "not in the document"),
        (&circle.to_string(), "leads in a circle"),
    ] {
        let problems = import_text(text).expect_err(says);
        assert!(problems.to_string().contains(says), "{says}: {problems}");
        assert!(problems.to_string().len() < 2000, "{says}");
    }
    let repeated = import_text("{\"openapi\": \"3.0.0\",\n \"paths\": {\"/a\": {}, \"/a\": {}}}").expect_err("refused");
    assert_eq!(repeated.0.iter().map(|problem| problem.line).collect::<Vec<_>>(), [2], "{repeated}");
}

#[test]
fn a_proposal_that_no_load_would_take_is_an_error() {
    let paths: serde_json::Map<_, _> =
        (0..9000).map(|number| (format!("/a/{number}"), json!({ "get": { "summary": "long ".repeat(20) } }))).collect();
    let problems = import_text(&with_paths(&Value::Object(paths)).to_string()).expect_err("too large");
    assert!(problems.to_string().contains("too large"), "{problems}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Texts of a document end up in comments and values and nowhere else.
    #[test]
    fn whatever_a_document_says_its_proposal_is_in_order(
        title in "\\PC{0,20}|[\u{0}-\u{ff}]{0,20}",
        summary in "\\PC{0,20}|[\u{0}-\u{ff}\u{2028}\u{202e}#:\"' -]{0,20}",
        id in "\\PC{0,20}|[\u{0}-\u{ff}]{0,20}",
        path in "/[a-z{}%*:;?#. \"'\u{e9}-]{0,12}",
        server in "[a-z:/{}?# \"\u{e9}]{0,12}",
    ) {
        let document = json!({
            "openapi": "3.0.0",
            "info": { "title": title },
            "servers": [{ "url": server }],
            "paths": { path: { "get": { "operationId": id, "summary": summary } } },
        });
        // A bidi control character in the document is refused as a whole.
        if let Ok(imported) = import_text(&document.to_string()) {
            prop_assert_eq!(endpoints(&imported).len(), imported.endpoints);
            prop_assert_eq!(imported.endpoints + imported.left_out.len(), 1);
        }
    }
}
