use std::path::{Path, PathBuf};

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::domain::{CanonicalPath, PolicyName};

pub(super) type Texts = Vec<(PathBuf, Vec<u8>)>;

const ENDPOINTS: &str = "version: 1
upstream: erp
endpoints:
  - { id: orders.list, methods: [GET], path: /v1/orders }
  - { id: orders.read, methods: [GET], path: '/v1/orders/{id}' }
  - { id: orders.export, methods: [GET], path: /v1/orders/export }
  - { id: files.read, methods: [GET], path: '/v1/files/{path...}', upstream_path: '/f/{path...}' }
";
const SCHEDULE: &str = "version: 1
default:
  time_zone: UTC
  windows: [{ days: [mon, tue, wed, thu, fri, sat, sun], from: \"00:00\", to: \"24:00\" }]
";

pub(super) fn texts(files: &[(&str, &str)]) -> Texts {
    let mut texts: Texts =
        vec![("endpoints/erp.yaml".into(), ENDPOINTS.into()), ("schedule.yaml".into(), SCHEDULE.into())];
    texts.extend(files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())));
    texts
}

pub(super) fn policy(name: &str, rules: &str) -> String {
    format!("version: 1\npolicy: {name}\nrules: [{rules}]\n")
}

pub(super) fn set(files: &[(&str, &str)]) -> PolicySet {
    PolicySet::from_texts(&texts(files)).unwrap_or_else(|problems| panic!("{problems}"))
}

pub(super) fn decide(set: &PolicySet, grants: &[&str], target: &str) -> Result<Allowed, Refused> {
    let target = crate::domain::Target::parse(target.as_bytes()).expect("a target");
    let matched = set.route("GET", target.path()).expect("mapped").resolve(None).expect("one endpoint");
    let names: Vec<PolicyName> = grants.iter().map(|name| name.parse().expect("a name")).collect();
    let facts = Facts::new("GET", target.path(), target.query(), Timestamp::UNIX_EPOCH);
    set.decide(&matched, Grants::Bounded(&mut names.iter()), &facts)
}

fn path(text: &str) -> CanonicalPath {
    CanonicalPath::parse(text.as_bytes()).expect("a path")
}

fn endpoint_at(set: &PolicySet, text: &str) -> Option<String> {
    let path = path(text);
    Some(set.route("GET", &path)?.resolve(None).ok()?.endpoint().id().to_string())
}

#[test]
fn a_literal_beats_a_parameter_and_the_rest_takes_what_is_left() {
    let set = set(&[]);
    assert_eq!(endpoint_at(&set, "/v1/orders/export").as_deref(), Some("orders.export"));
    assert_eq!(endpoint_at(&set, "/v1/orders/exports").as_deref(), Some("orders.read"));
    assert_eq!(endpoint_at(&set, "/v1/files/a/b/c").as_deref(), Some("files.read"));
    assert_eq!(endpoint_at(&set, "/v1/files"), None);
    assert_eq!(endpoint_at(&set, "/v1/orders/1/2"), None);
    assert!(set.route("POST", &path("/v1/orders")).is_none());
}

#[test]
fn what_was_matched_is_what_is_sent() {
    let set = set(&[]);
    let path = path("/v1/files/a/b%23c");
    let matched = set.route("GET", &path).expect("mapped").resolve(None).expect("one endpoint");
    assert_eq!(matched.upstream_target(Some("x=1")), "/f/a/b%23c?x=1");
}

#[test]
fn an_empty_set_of_grants_is_denied() {
    let reader = policy("reader", "{ id: read, allow: [orders.read] }");
    let set = set(&[("reader.yaml", &reader)]);
    assert_eq!(decide(&set, &[], "/v1/orders/1").map(drop), Err(Refused::NoRuleMatched));
    assert!(decide(&set, &["reader"], "/v1/orders/1").is_ok());
    assert_eq!(decide(&set, &["reader"], "/v1/orders").map(drop), Err(Refused::NoRuleMatched));
    assert_eq!(decide(&set, &["missing"], "/v1/orders/1").map(drop), Err(Refused::NoRuleMatched));
}

#[test]
fn deny_rule_wins_over_an_earlier_allow_rule_of_another_policy() {
    let reader = policy("reader", "{ id: read, allow: [orders.read] }");
    let closed = policy("closed", "{ id: none, deny: [orders.read] }");
    let set = set(&[("reader.yaml", &reader), ("closed.yaml", &closed)]);
    for grants in [["reader", "closed"], ["closed", "reader"]] {
        let refused = decide(&set, &grants, "/v1/orders/1").expect_err("denied");
        assert!(matches!(refused, Refused::DeniedByRule { .. }), "{refused}");
    }
}

#[test]
fn the_order_of_grants_changes_nothing_and_exempt_policies_come_first() {
    let names = ["delta", "alpha", "echo", "bravo", "charlie"];
    let texts = names.map(|name| {
        let schedule = if name == "echo" { "schedule: exempt\n" } else { "" };
        (
            format!("{name}.yaml"),
            format!("version: 1\npolicy: {name}\n{schedule}rules: [{{ id: read, allow: [orders.read] }}]\n"),
        )
    });
    let files: Vec<(&str, &str)> = texts.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
    let set = set(&files);
    let mut held = names.to_vec();
    held.insert(2, "missing");
    for _ in 0..held.len() {
        held.rotate_left(1);
        let allowed = decide(&set, &held, "/v1/orders/1").expect("allowed");
        let by: Vec<String> = allowed.by().iter().map(AllowedBy::name).collect();
        assert_eq!(by, ["echo/read", "alpha/read", "bravo/read", "charlie/read", "delta/read"], "{held:?}");
    }
}

#[test]
fn a_condition_that_cannot_be_evaluated_denies_on_an_allow_rule_too() {
    let broken = policy("broken", "{ id: read, allow: [orders.read], when: 'int(request.path) == 1' }");
    let reader = policy("reader", "{ id: read, allow: [orders.read] }");
    let set = set(&[("broken.yaml", &broken), ("reader.yaml", &reader)]);
    let refused = decide(&set, &["reader", "broken"], "/v1/orders/1").expect_err("denied");
    assert!(matches!(refused, Refused::ConditionFailed { .. }), "{refused}");
}

#[test]
fn the_shipped_samples_are_valid_and_their_cases_come_out_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let store = PolicyStore::open(&folder).unwrap_or_else(|problems| panic!("{problems}"));
    let results = store.current().run_cases();
    assert!(results.len() >= 7);
    for result in results {
        assert_eq!(result.difference, None, "{}", result.name);
    }
}

#[test]
fn a_case_says_who_asks_from_where_and_with_which_headers() {
    let reader = policy(
        "reader",
        "{ id: read, allow: [orders.read], clients: [10.0.0.0/8], when: 'request.headers[\"x-channel\"] == \"shop\" && principal.labels.tier == \"gold\" && request.tls' }",
    );
    let case = |principal: &str, more: &str, expected: &str| {
        format!(
            "version: 1\ncases:\n  - name: a case\n    grants: [reader]\n{principal}    request: {{ method: GET, path: /v1/orders/1, at: 2026-11-23T12:00:00Z{more} }}\n    expect: {expected}\n"
        )
    };
    let gold = "    principal: { account: acme, labels: { tier: gold } }\n";
    let silver = "    principal: { account: acme, labels: { tier: silver } }\n";
    let all = ", headers: { X-Channel: shop }, client: 10.1.2.3, tls: true";
    for (principal, more, expected) in [
        (gold, all, "{ decision: allowed, rule: reader/read }"),
        (silver, all, "{ decision: denied, reason: not_granted }"),
        (gold, ", headers: { X-Channel: shop }, tls: true", "{ decision: denied, reason: not_granted }"),
        (gold, ", client: 10.1.2.3, tls: true", "{ decision: denied, reason: not_granted }"),
        ("", all, "{ decision: denied, reason: condition_failed }"),
    ] {
        let set = set(&[("reader.yaml", &reader), ("cases/reader.yaml", &case(principal, more, expected))]);
        for result in set.run_cases() {
            assert_eq!(result.difference, None, "{principal}{more}");
        }
    }
    for wrong in [
        case("    principal: { acount: acme }\n", "", "{ decision: denied }"),
        case("    principal: { account: acme, kind: admin }\n", "", "{ decision: denied }"),
        case("    principal: { account: acme, labels: { Tier: x } }\n", "", "{ decision: denied }"),
        case("", ", client: office", "{ decision: denied }"),
        case("", ", tls: 'yes'", "{ decision: denied }"),
        case("", ", headers: { 'x y': z }", "{ decision: denied }"),
    ] {
        let texts = texts(&[("reader.yaml", &reader), ("cases/reader.yaml", &wrong)]);
        assert!(PolicySet::from_texts(&texts).is_err(), "{wrong}");
    }
}

/// The YAML blocks of a document that say which file they are, by that file.
fn blocks(document: &str) -> Texts {
    let blocks = document.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let named = blocks.filter_map(|block| {
        let path = block.lines().next()?.strip_prefix("# policies/")?.split_whitespace().next()?;
        Some((PathBuf::from(path), block.as_bytes().to_vec()))
    });
    named.collect()
}

#[test]
fn the_policies_of_the_documents_load() {
    let blocks = blocks(include_str!("../../docs/policies.md"));
    let is_policy = |path: &Path| path.components().count() == 1 && path != Path::new("schedule.yaml");
    let (policies, others): (Texts, Texts) = blocks.into_iter().partition(|(path, _)| is_policy(path));
    assert!(!policies.is_empty() && !others.is_empty());
    // Its own catalogue, or the one that is shipped.
    let own: Texts = others.iter().filter(|(path, _)| path.starts_with("endpoints")).cloned().collect();
    let shipped: Texts =
        vec![("endpoints/erp.yaml".into(), include_bytes!("../../policies/endpoints/erp.yaml").to_vec())];
    for policy in policies {
        let load = |catalogue: &Texts| {
            let schedule: Texts = vec![("schedule.yaml".into(), SCHEDULE.into())];
            PolicySet::from_texts(&[schedule, catalogue.clone(), vec![policy.clone()]].concat()).map(drop)
        };
        let loaded = load(&own).or_else(|problems| load(&shipped).map_err(|_| problems));
        assert!(loaded.is_ok(), "{}: {loaded:?}", policy.0.display());
    }
}

#[derive(serde::Deserialize)]
struct Row {
    file: String,
    replaces: String,
    safe: Vec<String>,
    #[serde(default)]
    error_should_mention_any: Option<Vec<String>>,
    #[serde(default)]
    line: Option<usize>,
}

/// Rows that a later decision has overtaken: globs over endpoint ids are part of the format (docs/adr/0006).
const OVERTAKEN: [&str; 1] = ["p-rule-prefix.yaml"];

/// Files that are too large to be kept beside the others.
pub(super) fn corpus_file(folder: &Path, name: &str) -> Vec<u8> {
    let base =
        |file: &str| String::from_utf8(std::fs::read(folder.join("_base").join(file)).expect("a file")).expect("text");
    match name {
        "e-big-scalar.yaml" => base("endpoints/erp.yaml").replacen("erp", &"e".repeat(600_000), 1).into_bytes(),
        "p-long-line.yaml" => {
            base("party-reader.yaml").replacen("Read customers", &"long ".repeat(40_000), 1).into_bytes()
        }
        name => std::fs::read(folder.join(name)).expect("a file"),
    }
}

#[test]
fn every_file_of_the_corpus_is_refused_or_accepted_as_it_should_be() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/yaml_policies");
    let base: Texts = ["endpoints/erp.yaml", "party-reader.yaml", "schedule.yaml", "cases/party-reader.yaml"]
        .iter()
        .map(|file| (PathBuf::from(file), std::fs::read(folder.join("_base").join(file)).expect("a file")))
        .collect();
    assert!(PolicySet::from_texts(&base).is_ok(), "the base is valid");
    let manifest = std::fs::read_to_string(folder.join("manifest.jsonl")).expect("the manifest");
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in manifest.lines() {
        let row: Row = serde_json::from_str(line).expect("a row");
        count += 1;
        if OVERTAKEN.contains(&row.file.as_str()) {
            continue;
        }
        let replaced = PathBuf::from(row.replaces.trim_start_matches("policies/"));
        let mut texts = base.clone();
        texts.retain(|(path, _)| *path != replaced);
        texts.push((replaced.clone(), corpus_file(&folder, &row.file)));
        let outcome = PolicySet::from_texts(&texts);
        let said = if outcome.is_ok() { "accept" } else { "refuse" };
        if !row.safe.iter().any(|safe| safe == said) {
            wrong.push(format!("{}: {said}, safe is {:?}", row.file, row.safe));
        }
        if let Err(problems) = outcome {
            let text = problems.to_string().to_lowercase();
            let mentions = row.error_should_mention_any.unwrap_or_default();
            if !mentions.is_empty() && !mentions.iter().any(|word| text.contains(&word.to_lowercase())) {
                wrong.push(format!("{}: mentions none of {mentions:?}: {text}", row.file));
            }
            // A change of a name may be found where the name is used, in another file.
            let lines: Vec<_> =
                problems.0.iter().filter(|problem| problem.file == replaced).map(|problem| problem.line).collect();
            if let Some(line) = row.line
                && !lines.is_empty()
                && !lines.iter().any(|found| *found == line || *found == line + 1)
            {
                wrong.push(format!("{}: lines {lines:?}, expected {line}", row.file));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 120, "{count} rows were judged");
}

#[test]
fn a_secret_in_a_file_is_not_repeated_in_the_error() {
    let key = "erpa_key_0123456789012345678901234567890123456789012345678";
    let text = format!("version: 1\npolicy: reader\nx-api-key: {key}\npassword: hunter2hunter2\nrules: []\n");
    let problems = PolicySet::from_texts(&texts(&[("reader.yaml", &text)])).expect_err("refused").to_string();
    assert!(problems.contains("x-api-key") && !problems.contains(key) && !problems.contains("hunter2"), "{problems}");
}

mod reload {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(files: &[(&str, &str)]) -> Self {
            let folder = Self(tempfile::tempdir().expect("a folder"));
            for (path, text) in texts(files) {
                folder.write(&path, &text);
            }
            folder
        }

        fn write(&self, path: &Path, text: &[u8]) {
            let path = self.0.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("written");
        }

        fn open(&self) -> PolicyStore {
            PolicyStore::open(self.0.path()).unwrap_or_else(|problems| panic!("{problems}"))
        }
    }

    fn reader() -> String {
        policy("reader", "{ id: read, allow: [orders.read] }")
    }

    #[test]
    fn an_edit_takes_effect_and_makes_a_generation() {
        let folder = Folder::new(&[("reader.yaml", &reader())]);
        let store = folder.open();
        assert!(!store.reload().changed);
        folder.write(Path::new("reader.yaml"), policy("reader", "{ id: read, allow: [orders.list] }").as_bytes());
        let report = store.reload();
        assert!(report.changed && report.generation == 2 && report.problems.is_empty(), "{report:?}");
        assert!(decide(&store.current(), &["reader"], "/v1/orders").is_ok());
    }

    #[test]
    fn a_broken_edit_keeps_the_last_good_version_of_that_file_while_others_change() {
        let folder = Folder::new(&[
            ("reader.yaml", &reader()),
            ("other.yaml", &policy("other", "{ id: a, allow: [orders.list] }")),
        ]);
        let store = folder.open();
        folder.write(
            Path::new("reader.yaml"),
            b"version: 1\npolicy: reader\nrules: [{ id: read, alow: [orders.read] }]\n",
        );
        folder.write(Path::new("other.yaml"), policy("other", "{ id: a, allow: [orders.export] }").as_bytes());
        let report = store.reload();
        assert!(report.changed && report.problems.to_string().contains("alow"), "{report:?}");
        assert!(decide(&store.current(), &["reader"], "/v1/orders/1").is_ok(), "the last good version");
        assert!(decide(&store.current(), &["other"], "/v1/orders/export").is_ok(), "the other file's new version");
    }

    #[test]
    fn a_deleted_file_is_gone_even_while_another_is_broken() {
        let folder = Folder::new(&[
            ("reader.yaml", &reader()),
            ("other.yaml", &policy("other", "{ id: a, allow: [orders.list] }")),
        ]);
        let store = folder.open();
        folder.write(Path::new("other.yaml"), b"not: [valid");
        std::fs::remove_file(folder.0.path().join("reader.yaml")).expect("removed");
        store.reload();
        assert!(decide(&store.current(), &["reader"], "/v1/orders/1").is_err());
        assert!(decide(&store.current(), &["other"], "/v1/orders").is_ok());
    }

    #[test]
    fn a_new_policy_that_is_broken_allows_nobody_who_holds_it() {
        let folder = Folder::new(&[("reader.yaml", &reader())]);
        let store = folder.open();
        folder.write(Path::new("new.yaml"), b"version: 1\npolicy: new\nrules: 7\n");
        store.reload();
        let refused = decide(&store.current(), &["reader", "new"], "/v1/orders/1").expect_err("denied");
        assert!(matches!(refused, Refused::PolicyBroken { .. }), "{refused}");
        assert!(decide(&store.current(), &["reader"], "/v1/orders/1").is_ok());
    }

    #[test]
    fn a_first_reading_that_is_broken_is_an_error() {
        let folder = Folder::new(&[("reader.yaml", "version: 2\n")]);
        assert!(PolicyStore::open(folder.0.path()).is_err());
    }
}

/// Rules over three endpoints, as an order-free list.
fn rules() -> impl Strategy<Value = Vec<(bool, usize)>> {
    prop::collection::vec((any::<bool>(), 0_usize..3), 0..6)
}

const IDS: [(&str, &str); 3] =
    [("orders.list", "/v1/orders"), ("orders.read", "/v1/orders/1"), ("orders.export", "/v1/orders/export")];

fn set_of(rules: &[(bool, usize)]) -> PolicySet {
    let rules: Vec<String> = rules
        .iter()
        .enumerate()
        .map(|(number, (allow, endpoint))| {
            let effect = if *allow { "allow" } else { "deny" };
            format!("{{ id: r{number}, {effect}: [{}] }}", IDS[*endpoint].0)
        })
        .collect();
    let reader = policy("reader", &rules.join(", "));
    set(&[("reader.yaml", &reader)])
}

fn allowed(set: &PolicySet) -> Vec<bool> {
    IDS.iter().map(|(_, path)| decide(set, &["reader"], path).is_ok()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_of_rules_changes_nothing(rules in rules().prop_shuffle(), seed in any::<u64>()) {
        let mut other = rules.clone();
        let length = other.len().max(1);
        other.rotate_left(usize::try_from(seed % u64::try_from(length).expect("small")).expect("small") % length.max(1));
        prop_assert_eq!(allowed(&set_of(&rules)), allowed(&set_of(&other)));
    }

    #[test]
    fn a_further_deny_never_allows_more(rules in rules(), endpoint in 0_usize..3) {
        let before = allowed(&set_of(&rules));
        let mut more = rules;
        more.push((false, endpoint));
        let after = allowed(&set_of(&more));
        prop_assert!(before.iter().zip(&after).all(|(before, after)| *before || !*after));
    }

    #[test]
    fn exactly_what_is_allowed_and_not_denied_is_allowed(rules in rules()) {
        let expected: Vec<bool> =
            (0..3).map(|endpoint| rules.contains(&(true, endpoint)) && !rules.contains(&(false, endpoint))).collect();
        prop_assert_eq!(allowed(&set_of(&rules)), expected);
    }
}
