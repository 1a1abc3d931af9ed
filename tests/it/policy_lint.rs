//! `policy lint` and `policy test`, as operators type them.

use std::path::Path;

use serde_json::Value;

use crate::support::gateway::Setup;
use crate::support::process::{self, Serving, free_address, program, run, succeed};

/// Exit code and standard output of a command without any configuration.
fn alone(arguments: &[&str]) -> (i32, String) {
    let output = program().arg("--config").arg("/nowhere.yaml").args(arguments).output().expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("text");
    (output.status.code().expect("an exit code"), text)
}

fn policies(more: &[(&'static str, &str)]) -> tempfile::TempDir {
    let setup = more.iter().fold(Setup::new(free_address()), |setup, (name, text)| setup.policy(name, text));
    setup.write()
}

fn shown(folder: &Path) -> String {
    folder.join("policies").display().to_string()
}

const MISTAKES: &str = "version: 1
policy: mistakes
rules:
  - id: first
    alow: [orders.list]
  - id: second
    allow: [stock.list, orders.lits]
";

#[test]
fn lint_of_a_folder_needs_nothing_else_and_shows_every_mistake() {
    let folder = policies(&[("mistakes.yaml", MISTAKES)]);
    let path = shown(folder.path());
    let (code, text) = alone(&["policy", "lint", &path]);
    let wanted = format!(
        "error[missing-key]: a rule needs `allow` or `deny`: a list of endpoint ids
 --> {path}/mistakes.yaml:4:5
  |
4 |   - id: first
  |     ^^^^^^^^^

error[unknown-key]: unknown key `alow` in a rule
 --> {path}/mistakes.yaml:5:5
  |
5 |     alow: [orders.list]
  |     ^^^^
  = help: did you mean `allow`?

error[unknown-endpoint]: there is no endpoint `orders.lits`
 --> {path}/mistakes.yaml:7:25
  |
7 |     allow: [stock.list, orders.lits]
  |                         ^^^^^^^^^^^
  = help: did you mean `orders.list`?

3 errors
"
    );
    assert_eq!((code, text.as_str()), (7, wanted.as_str()));
}

#[test]
fn lint_speaks_json_to_editors() {
    let folder = policies(&[("mistakes.yaml", MISTAKES)]);
    let path = shown(folder.path());
    let (code, text) = alone(&["policy", "lint", &path, "-o", "json"]);
    let found: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, found.as_array().map(Vec::len)), (7, Some(3)));
    let wanted = serde_json::json!({
        "file": format!("{path}/mistakes.yaml"), "line": 7, "column": 25, "end_column": 36, "severity": "error",
        "code": "unknown-endpoint", "message": "there is no endpoint `orders.lits`",
        "help": "did you mean `orders.list`?", "excerpt": "    allow: [stock.list, orders.lits]",
    });
    assert_eq!(found[2], wanted);
    let (_, lines) = alone(&["policy", "lint", &path, "-o", "ndjson"]);
    assert_eq!(lines.lines().count(), 3);
}

#[test]
fn warnings_are_no_failure_unless_they_are_denied() {
    let nothing = "version: 1\npolicy: nothing\nrules: [{ id: none, deny: [orders.list] }]\n";
    let folder = policies(&[("nothing.yaml", nothing)]);
    let path = shown(folder.path());
    let (code, text) = alone(&["policy", "lint", &path]);
    assert!(code == 0 && text.contains("warning[nothing-allowed]") && text.ends_with("1 warning\n"), "{code} {text}");
    assert_eq!(alone(&["policy", "lint", &path, "--deny-warnings"]).0, 7);
    assert_eq!(
        alone(&["policy", "lint", &shown(policies(&[]).path()), "--deny-warnings"]),
        (0, "nothing found\n".into())
    );
    assert_eq!(alone(&["policy", "lint"]).0, 7, "the configured folder needs a configuration");
}

#[test]
fn the_configured_folder_is_held_against_grants_and_upstreams() {
    let spare = "version: 1\npolicy: spare\nrules: [{ id: all, allow: [orders.list] }]\n";
    let folder = policies(&[("spare.yaml", spare)]);
    let without_store = run(folder.path(), &["policy", "lint"], "");
    let note = String::from_utf8_lossy(&without_store.stderr).into_owned();
    assert!(without_store.status.success() && note.contains("grants were not checked"), "{note}");

    succeed(folder.path(), &["db", "migrate"], "");
    succeed(folder.path(), &["account", "create", "acme"], "");
    let issue = ["credential", "issue", "--account", "acme", "--name", "shop", "-o", "json"];
    let grants = ["--grant", "order-reader", "--grant", "order-writer", "--grant", "stock-always", "--grant", "spare"];
    succeed(folder.path(), &[&issue[..], &grants[..]].concat(), "");
    assert_eq!(succeed(folder.path(), &["policy", "lint"], ""), "nothing found\n");

    let policies = folder.path().join("policies");
    std::fs::rename(policies.join("spare.yaml"), policies.join("spore.yaml")).expect("renamed");
    std::fs::write(policies.join("spore.yaml"), spare.replace("spare", "spore")).expect("written");
    let text = succeed(folder.path(), &["policy", "lint"], "");
    assert!(text.contains("grant-without-policy") && text.contains("did you mean `spore`?"), "{text}");
    assert!(text.contains("no credential set holds policy `spore`") && text.ends_with("2 warnings\n"), "{text}");

    let endpoints = policies.join("endpoints/erp.yaml");
    let other = std::fs::read_to_string(&endpoints).expect("read").replace("upstream: erp", "upstream: erq");
    std::fs::write(endpoints, other).expect("written");
    let refused = run(folder.path(), &["policy", "lint"], "");
    let text = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(refused.status.code() == Some(7) && text.contains("the configuration has no upstream `erq`"), "{text}");
}

#[test]
fn status_counts_the_warnings_about_the_policies_in_force() {
    let nothing = "version: 1\npolicy: nothing\nrules: [{ id: none, deny: [orders.list] }]\n";
    let folder = policies(&[("nothing.yaml", nothing)]);
    succeed(folder.path(), &["db", "migrate"], "");
    let status: Value = serde_json::from_str(&succeed(folder.path(), &["status", "-o", "json"], "")).expect("JSON");
    assert_eq!((&status["policy_warnings"], &status["policy_problems"]), (&1.into(), &serde_json::json!([])));
}

#[test]
fn warnings_are_logged_once_for_each_generation() {
    let nothing =
        |endpoint: &str| format!("version: 1\npolicy: nothing\nrules: [{{ id: none, deny: [{endpoint}] }}]\n");
    let folder = policies(&[("nothing.yaml", &nothing("orders.list"))]);
    let serving = Serving::start(folder.path());
    let logged = || process::log(folder.path()).matches("[nothing-allowed]").count();
    assert_eq!(logged(), 1, "{}", process::log(folder.path()));
    succeed(folder.path(), &["policy", "reload"], "");
    assert_eq!(logged(), 1, "the same generation");
    std::fs::write(folder.path().join("policies/nothing.yaml"), nothing("orders.read")).expect("written");
    succeed(folder.path(), &["policy", "reload"], "");
    assert_eq!(logged(), 2, "{}", process::log(folder.path()));
    assert!(serving.terminate(), "{}", process::log(folder.path()));
}

const CASES: &str = "version: 1
cases:
  - name: a reader reads
    grants: [order-reader]
    request: { method: GET, path: /v1/orders, at: 2026-11-23T12:00:00+05:00 }
    expect: { decision: allowed }
  - name: a reader writes
    grants: [order-reader]
    request: { method: POST, path: /v1/orders, at: 2026-11-23T12:00:00+05:00 }
    expect: { decision: allowed, rule: order-writer/create }
";

#[test]
fn a_case_that_fails_is_shown_as_a_difference_with_its_place() {
    let folder = policies(&[("cases/c.yaml", CASES)]);
    let path = shown(folder.path());
    let (code, text) = alone(&["policy", "test", &path]);
    let wanted = format!(
        "ok    a reader reads
FAIL  a reader writes
  --> {path}/cases/c.yaml:7
    - expected: allowed by order-writer/create
    + decided:  denied, not_granted: no rule of a granted policy allows it
1 passed, 1 failed
"
    );
    assert_eq!((code, text.as_str()), (1, wanted.as_str()));
}

#[test]
fn coverage_lists_rules_and_endpoints_that_no_case_exercises() {
    let folder = policies(&[("cases/c.yaml", CASES)]);
    let path = shown(folder.path());
    let (_, text) = alone(&["policy", "test", &path, "--coverage"]);
    for line in [
        &format!("no case  rule order-reader/no-archive  {path}/order-reader.yaml:9"),
        &format!("no case  rule order-writer/create  {path}/order-writer.yaml:"),
        &format!("no case  endpoint orders.read  {path}/endpoints/erp.yaml:"),
        "cases exercise 1 of 4 rules and reach 2 of 7 endpoints",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("rule order-reader/read "), "{text}");
    let (code, json) = alone(&["policy", "test", &path, "--coverage", "-o", "json"]);
    let report: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, &report["passed"], &report["failed"]), (1, &1.into(), &1.into()));
    assert_eq!((&report["cases"][1]["line"], &report["cases"][1]["passed"]), (&7.into(), &false.into()));
    assert_eq!(report["coverage"]["untested_rules"].as_array().map(Vec::len), Some(3), "{report:#}");
}

#[test]
fn the_schemas_are_written_and_do_not_disturb_the_folder() {
    let folder = policies(&[]);
    let path = shown(folder.path());
    let (code, text) = alone(&["policy", "schema", "--directory", &path]);
    assert_eq!((code, text.lines().count()), (0, 4), "{text}");
    for name in ["endpoints", "policy", "schedule", "cases"] {
        let file = folder.path().join(format!("policies/{name}.schema.json"));
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(file).expect("written")).expect("JSON");
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    }
    assert_eq!(alone(&["policy", "lint", &path]), (0, "nothing found\n".into()));
    assert_eq!(alone(&["policy", "schema", "--directory", &path]).0, 0, "they are written again");
    assert_eq!(alone(&["policy", "schema", "--directory", "/nowhere/at/all"]).0, 1);
}

const PETS: &str = "openapi: 3.0.3
info: { title: Pets, version: '1' }
servers: [{ url: https://erp.example/api }]
paths:
  /pets: { get: { operationId: listPets } }
  /pets/{petId}.json: { get: {} }
  /v1/orders: { get: { operationId: allOrders } }
";

#[test]
fn an_import_is_a_proposal_that_overwrites_nothing_and_passes_lint() {
    let folder = policies(&[]);
    let document = folder.path().join("pets.yaml");
    std::fs::write(&document, PETS).expect("written");
    let output = folder.path().join("policies/endpoints/pets.yaml");
    let (document, output) = (document.display().to_string(), output.display().to_string());
    let import = ["policy", "import", "openapi", &document];
    let proposed = run(folder.path(), &import, "");
    let (text, told) = (String::from_utf8_lossy(&proposed.stdout), String::from_utf8_lossy(&proposed.stderr));
    assert!(proposed.status.success() && text.contains("  - id: list-pets\n"), "{text}{told}");
    assert!(text.contains("upstream: \"erp\"\n"), "the only configured upstream: {text}");
    assert!(told.contains("GET /v1/orders: it is mapped already, as `orders.list` (endpoints/erp.yaml:"), "{told}");
    assert!(told.contains("endpoints proposed: 1, operations left out: 2"), "{told}");

    let to_file = [&import[..], &["--write", &output]].concat();
    succeed(folder.path(), &to_file, "");
    assert_eq!(std::fs::read_to_string(&output).expect("written"), text);
    assert_eq!(run(folder.path(), &to_file, "").status.code(), Some(7), "it exists already");
    let (code, found) = alone(&["policy", "lint", &shown(folder.path())]);
    assert!(code == 0 && found.contains("warning[unused-endpoint]") && found.ends_with("1 warning\n"), "{found}");

    assert_eq!(alone(&import).0, 7, "without a configuration the upstream must be named");
    assert_eq!(alone(&[&import[..], &["--upstream", "erp"]].concat()).0, 0);
    std::fs::write(&document, "swagger: '2.0'").expect("written");
    let refused = run(folder.path(), &import, "");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(7) && told.contains("this is Swagger 2.0"), "{told}");
}
