use std::fmt::Write as _;
use std::path::PathBuf;

use super::*;
use crate::policy::PolicyStore;
use crate::policy::yaml::{Code, Severity};

const ENDPOINTS: &str = "version: 1
upstream: erp
endpoints:
  - { id: orders.list, methods: [GET], path: /v1/orders }
  - { id: orders.read, methods: [GET], path: '/v1/orders/{id}' }
  - { id: orders.drop, methods: [DELETE], path: '/v1/orders/{id}' }
";
const SCHEDULE: &str = "version: 1
default:
  time_zone: UTC
  windows: [{ days: [mon, tue, wed, thu, fri], from: \"08:00\", to: \"17:00\" }]
";
const CLEAN: &str = "version: 1
policy: clean
rules: [{ id: all, allow: [orders.list, orders.read, orders.drop] }]
";

/// The clean files, with these instead or besides.
fn texts(files: &[(&str, &str)]) -> Vec<(PathBuf, Vec<u8>)> {
    let mut texts: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    let clean = [("endpoints/erp.yaml", ENDPOINTS), ("schedule.yaml", SCHEDULE), ("clean.yaml", CLEAN)];
    for (path, text) in clean.iter().chain(files) {
        texts.retain(|(known, _)| known != Path::new(path));
        texts.push((PathBuf::from(path), text.as_bytes().to_vec()));
    }
    texts
}

fn found_around(files: &[(&str, &str)], around: &Circumstances<'_>) -> Problems {
    let set = PolicySet::from_texts(&texts(files)).unwrap_or_else(|problems| panic!("{problems}"));
    look(&set, around)
}

fn found(files: &[(&str, &str)]) -> Problems {
    found_around(files, &Circumstances::default())
}

/// What is underlined in the text of the finding's file.
fn underlined(files: &[(&str, &str)], problem: &Problem) -> String {
    let texts = texts(files);
    let (_, text) = texts.iter().find(|(path, _)| *path == problem.file).expect("the file");
    let text = String::from_utf8(text.clone()).expect("text");
    let line = text.lines().nth(problem.line - 1).expect("the line");
    line.chars().skip(problem.column - 1).take(problem.end_column - problem.column).collect()
}

/// One finding: its code, its place and what it says.
fn finds(files: &[(&str, &str)], code: Code, file: &str, line: usize, mark: &str, says: &str) {
    let found = found(files);
    let [problem] = found.0.as_slice() else { panic!("not one finding: {found}") };
    assert_eq!((problem.code, problem.file.as_path(), problem.line), (code, Path::new(file), line), "{problem}");
    assert_eq!(underlined(files, problem), mark, "{problem}");
    assert!(problem.message.contains(says), "{problem}");
    assert_eq!(problem.severity(), Severity::Warning);
}

fn policy(name: &str, rules: &str) -> String {
    format!("version: 1\npolicy: {name}\nrules:\n{rules}")
}

#[test]
fn clean_files_have_no_finding() {
    assert_eq!(found(&[]).to_string(), "nothing found");
}

#[test]
fn the_shipped_policies_have_no_error() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let found = lint(&folder, &Circumstances::default());
    assert_eq!(found.count(Severity::Error), 0, "{found}");
}

#[test]
fn templates_that_match_one_path_are_told_with_the_one_that_wins() {
    let text = format!("{ENDPOINTS}  - {{ id: orders.new, methods: [GET, POST], path: /v1/orders/new }}\n");
    let rules = policy("other", "  - { id: new, allow: [orders.new] }\n");
    let files = [("endpoints/erp.yaml", text.as_str()), ("other.yaml", rules.as_str())];
    finds(
        &files,
        Code::TemplateOverlap,
        "endpoints/erp.yaml",
        5,
        "'/v1/orders/{id}'",
        "does not get `/v1/orders/new` (`orders.new` takes it)",
    );
}

#[test]
fn an_overlap_is_found_in_every_shape_and_the_winner_is_the_routers() {
    let overlaps = |one: &str, other: &str| {
        let text = format!(
            "version: 1\nupstream: erp\nendpoints:\n  - {{ id: one, methods: [GET], path: '{one}', upstream_path: '{one}' }}\n  \
             - {{ id: other, methods: [GET], path: '{other}', upstream_path: '{other}' }}\n"
        );
        let clean = policy("clean", "  - { id: all, allow: [one, other] }\n");
        let found = found(&[("endpoints/erp.yaml", &text), ("clean.yaml", &clean)]);
        found.0.iter().map(|problem| problem.line).collect::<Vec<_>>()
    };
    assert_eq!(overlaps("/a/{x}", "/a/b"), [4], "the literal wins, so the parameter is told");
    assert_eq!(overlaps("/a/b", "/a/{x}"), [5]);
    assert_eq!(overlaps("/a/{x...}", "/a/b/c"), [4]);
    assert_eq!(overlaps("/a/b/{x...}", "/a/{y}/c"), [5]);
    assert_eq!(overlaps("/{x}/b/c", "/a/{y}/c"), [4]);
    assert_eq!(overlaps("/a/{x}", "/b/{x}"), [0_usize; 0]);
    assert_eq!(overlaps("/a/{x}", "/a/b/c"), [0_usize; 0]);
    assert_eq!(overlaps("/a/{x...}", "/a"), [0_usize; 0]);
}

#[test]
fn templates_that_no_router_keeps_apart_are_an_error_at_the_later_one() {
    let text = "version: 1\nupstream: erp\nendpoints:\n  - { id: one, methods: [GET], path: '/a/{x}/c' }\n  \
                - { id: other, methods: [GET], path: '/a/{y...}' }\n  - { id: third, methods: [GET], path: '/a/{z...}' }\n";
    let clean = policy("clean", "  - { id: all, allow: [one, other] }\n");
    let files = texts(&[
        ("endpoints/erp.yaml", &text.replace("third, methods: [GET]", "third, methods: [POST]")),
        ("clean.yaml", &clean),
    ]);
    let problems = PolicySet::from_texts(&files).expect_err("refused");
    let places: Vec<_> = problems.0.iter().map(|problem| (problem.code, problem.line, problem.column)).collect();
    assert_eq!(places, [(Code::ConflictingTemplates, 5, 40)], "{problems}");
    assert!(problems.to_string().contains("that of `one`"), "{problems}");
}

#[test]
fn an_edit_whose_templates_conflict_keeps_the_last_good_version_of_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in texts(&[]) {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }
    let store = PolicyStore::open(folder.path()).unwrap_or_else(|problems| panic!("{problems}"));
    let text = format!("{ENDPOINTS}  - {{ id: rest, methods: [GET], path: '/v1/orders/{{all...}}' }}\n");
    std::fs::write(folder.path().join("endpoints/erp.yaml"), text).expect("written");
    let report = store.reload();
    assert_eq!(report.problems.0.iter().map(|problem| problem.code).collect::<Vec<_>>(), [Code::ConflictingTemplates]);
    assert_eq!((report.changed, store.current().endpoints().len()), (false, 3), "{}", report.problems);
}

#[test]
fn one_finding_tells_all_paths_that_an_endpoint_does_not_get() {
    let mut text = ENDPOINTS.to_owned();
    for number in 0..9 {
        let _ = writeln!(text, "  - {{ id: n{number}, methods: [GET], path: /v1/orders/n{number} }}");
    }
    let found = found(&[("endpoints/erp.yaml", &text)]);
    let overlaps: Vec<_> = found.0.iter().filter(|problem| problem.code == Code::TemplateOverlap).collect();
    assert!(overlaps.len() == 1 && overlaps[0].message.contains("and 6 more"), "{found}");
}

#[test]
fn an_allow_rule_whose_endpoints_are_all_denied_is_told() {
    let rules = policy(
        "p",
        "  - { id: read, allow: [orders.read, orders.list] }\n  - { id: never, deny: [orders.read] }\n  \
         - { id: none, deny: [orders.list] }\n",
    );
    let says = "rule `read` can never allow anything: `never` (line 5), `none` (line 6) always deny its endpoints";
    finds(&[("p.yaml", &rules)], Code::ShadowedRule, "p.yaml", 4, "read", says);
}

#[test]
fn an_endpoint_that_is_allowed_and_always_denied_is_told() {
    let rules = policy(
        "p",
        "  - id: read\n    allow: [orders.list, orders.read]\n  - { id: never, deny: [orders.read, orders.drop] }\n",
    );
    let says = "`never` (line 6) always denies it";
    finds(&[("p.yaml", &rules)], Code::ShadowedEndpoint, "p.yaml", 5, "orders.read", says);
}

#[test]
fn a_deny_with_a_condition_shadows_nothing() {
    let rules = policy(
        "p",
        "  - { id: read, allow: [orders.read] }\n  - { id: never, deny: [orders.read], when: 'request.method == \"GET\"' }\n",
    );
    assert!(found(&[("p.yaml", &rules)]).is_empty());
}

#[test]
fn of_two_rules_that_deny_the_same_the_second_is_told() {
    let rules = policy(
        "p",
        "  - { id: read, allow: [orders.list] }\n  - { id: never, deny: [orders.read] }\n  - { id: again, deny: [orders.read] }\n",
    );
    finds(
        &[("p.yaml", &rules)],
        Code::ShadowedRule,
        "p.yaml",
        6,
        "again",
        "rule `again` changes nothing: `never` (line 5)",
    );
}

#[test]
fn a_condition_that_is_false_for_every_request_is_told() {
    let rules = policy("p", "  - { id: read, allow: [orders.read], when: '1 > 2' }\n");
    finds(&[("p.yaml", &rules)], Code::NeverMatches, "p.yaml", 4, "'1 > 2'", "false for every request");
}

#[test]
fn an_endpoint_twice_in_a_rule_is_told() {
    let rules = policy("p", "  - { id: read, allow: [orders.read, orders.list, orders.read] }\n");
    finds(&[("p.yaml", &rules)], Code::DuplicateEndpoint, "p.yaml", 4, "orders.read", "stands twice in rule `read`");
}

#[test]
fn a_policy_without_any_allow_rule_is_told() {
    let rules = policy("p", "  - { id: never, deny: [orders.read] }\n");
    finds(&[("p.yaml", &rules)], Code::NothingAllowed, "p.yaml", 3, "rules", "policy `p` has no `allow` rule");
}

#[test]
fn an_endpoint_that_no_rule_mentions_is_told() {
    let text = format!("{ENDPOINTS}  - {{ id: extra, methods: [GET], path: /v1/extra }}\n");
    let says = "no rule mentions endpoint `extra`";
    finds(&[("endpoints/erp.yaml", &text)], Code::UnusedEndpoint, "endpoints/erp.yaml", 7, "extra", says);
}

#[test]
fn a_schedule_that_nothing_uses_is_told_but_not_the_default_one() {
    let night = SCHEDULE.replace("version: 1\ndefault", "night");
    let text = format!("{SCHEDULE}{night}");
    let exempt = CLEAN.replace("rules", "schedule: exempt\nrules");
    let files = [("schedule.yaml", text.as_str()), ("clean.yaml", exempt.as_str())];
    finds(&files, Code::UnusedSchedule, "schedule.yaml", 5, "night", "no policy uses schedule `night`");
}

#[test]
fn a_window_inside_of_another_is_told() {
    let with = |window: &str| SCHEDULE.replace("}]", &format!("}}, {window}]"));
    let inside = "{ days: [tue], from: \"09:00\", to: \"17:00\" }";
    let text = with(inside);
    let says = "08:00-17:00 is open on its days already";
    finds(&[("schedule.yaml", &text)], Code::CoveredWindow, "schedule.yaml", 4, inside, says);
    for beside in [
        "{ days: [sat, tue], from: \"09:00\", to: \"10:00\" }",
        "{ days: [tue], from: \"09:00\", to: \"01:00\" }",
        "{ days: [tue], from: \"07:59\", to: \"10:00\" }",
    ] {
        assert!(found(&[("schedule.yaml", &with(beside))]).is_empty(), "{beside}");
    }
}

#[test]
fn a_schedule_that_never_opens_is_told_where_the_time_is_known() {
    let text = "version: 1\ndefault:\n  time_zone: UTC\n  windows: []\n";
    assert!(found(&[("schedule.yaml", text)]).is_empty());
    let around = Circumstances { now: Some(Timestamp::UNIX_EPOCH), ..Circumstances::default() };
    let found = found_around(&[("schedule.yaml", text)], &around);
    assert_eq!(found.0.iter().map(|problem| (problem.code, problem.line)).collect::<Vec<_>>(), [(Code::NeverOpens, 2)]);
}

#[test]
fn a_file_of_cases_without_cases_is_told() {
    let text = "version: 1\ncases: []\n";
    finds(&[("cases/p.yaml", text)], Code::NoCases, "cases/p.yaml", 2, "[]", "no case in this file");
}

#[test]
fn grants_and_policies_that_miss_each_other_are_told_where_grants_are_known() {
    let held = |policy: &str| HeldPolicy { holder: "webshop".into(), policy: policy.parse().expect("a name") };
    let found_with =
        |held: &[HeldPolicy]| found_around(&[], &Circumstances { held: Some(held), ..Circumstances::default() });
    assert!(found_with(&[held("clean")]).is_empty());
    let found = found_with(&[held("claen")]);
    let codes: Vec<_> = found.0.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [Code::GrantWithoutPolicy, Code::UnheldPolicy]);
    assert!(found.to_string().contains("did you mean `clean`?"), "{found}");
}

#[test]
fn an_upstream_that_is_not_configured_is_an_error_once_a_file() {
    let configured = ["erq".parse().expect("a name")];
    let around = Circumstances { upstreams: Some(&configured), ..Circumstances::default() };
    let found = found_around(&[], &around);
    assert_eq!(
        found.0.iter().map(|problem| (problem.code, problem.line)).collect::<Vec<_>>(),
        [(Code::UnknownUpstream, 2)]
    );
    assert_eq!(found.count(Severity::Error), 1);
    assert!(found.to_string().contains("did you mean `erq`?"), "{found}");
}

#[test]
fn mistakes_in_several_files_and_of_several_kinds_are_told_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = policy("first", "  - { id: read, alow: [orders.raed] }\n  - { id: more, allow: [orders.lits] }\n");
    let second = policy("second", "  - { id: read, allow: [orders.raed] }\n");
    let cases = "version: 1\ncases: [{ name: a, grants: [claen], request: { method: GET, path: /v1/orders, at: 1970-01-01T00:00:00Z }, expect: { decision: allowed } }]\n";
    let late = SCHEDULE.replace("17:00", "25:00");
    for (path, text) in
        texts(&[("first.yaml", &first), ("second.yaml", &second), ("cases/c.yaml", cases), ("schedule.yaml", &late)])
    {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }
    let found = lint(folder.path(), &Circumstances::default());
    let codes: Vec<_> = found.0.iter().map(|problem| problem.code).collect();
    assert_eq!(
        codes,
        [Code::MissingKey, Code::UnknownKey, Code::UnknownEndpoint, Code::ImpossibleTime, Code::UnknownEndpoint],
        "{found}"
    );
    assert!(found.0.iter().all(|problem| problem.file.starts_with(folder.path())), "{found}");
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let found = lint(Path::new("/nowhere/at/all"), &Circumstances::default());
    assert_eq!(found.0.iter().map(|problem| problem.code).collect::<Vec<_>>(), [Code::Unreadable]);
}

#[test]
fn warnings_stop_no_load_and_are_kept_with_the_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!("{ENDPOINTS}  - {{ id: extra, methods: [GET], path: /v1/extra }}\n");
    for (path, text) in texts(&[("endpoints/erp.yaml", &text)]) {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }
    let store = PolicyStore::open(folder.path()).unwrap_or_else(|problems| panic!("{problems}"));
    let warnings = store.warnings();
    assert_eq!(warnings.0.iter().map(|problem| problem.code).collect::<Vec<_>>(), [Code::UnusedEndpoint]);
    assert!(store.problems().is_empty());
    assert!(warnings.0.iter().all(|problem| problem.file.starts_with(folder.path())), "{warnings}");
}

#[test]
fn a_large_catalogue_is_looked_at_whole() {
    let mut text = ENDPOINTS.to_owned();
    for number in 0..2000 {
        let _ = writeln!(text, "  - {{ id: e{number}, methods: [GET, POST], path: '/v1/k{number}/{{id}}/x' }}");
    }
    text.push_str("  - { id: any, methods: [GET], path: '/v1/{a}/{b}/{c}' }\n");
    let found = found(&[("endpoints/erp.yaml", &text)]);
    assert_eq!(found.0.len(), 2001 + 1, "each endpoint is unused, and one loses its paths");
}

#[test]
fn every_refused_file_of_the_corpus_has_a_finding_that_an_editor_can_show() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/yaml_policies");
    let base = ["endpoints/erp.yaml", "party-reader.yaml", "schedule.yaml", "cases/party-reader.yaml"];
    let manifest = std::fs::read_to_string(folder.join("manifest.jsonl")).expect("the manifest");
    let mut refused = 0;
    for line in manifest.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("a row");
        let (name, replaced) = (row["file"].as_str().expect("a name"), row["replaces"].as_str().expect("a path"));
        let replaced = replaced.trim_start_matches("policies/");
        let texts = base.map(|file| {
            let text = if file == replaced {
                crate::policy::tests::corpus_file(&folder, name)
            } else {
                std::fs::read(folder.join("_base").join(file)).expect("a file")
            };
            (PathBuf::from(file), text)
        });
        let Err(problems) = PolicySet::from_texts(&texts) else { continue };
        refused += 1;
        for problem in &problems.0 {
            let json = serde_json::to_value(problem).expect("JSON");
            let number = |key: &str| json[key].as_u64().unwrap_or_else(|| panic!("{name}: {key} in {json}"));
            assert!(base.contains(&json["file"].as_str().expect("a file")), "{name}: {json}");
            assert!(number("line") >= 1 && number("column") >= 1, "{name}: {json}");
            assert!(number("end_column") > number("column"), "{name}: {json}");
            assert_eq!(json["severity"], "error", "{name}: {json}");
            assert!(json["message"].as_str().is_some_and(|text| !text.is_empty()), "{name}: {json}");
        }
    }
    assert!(refused >= 100, "{refused} files are refused");
}
