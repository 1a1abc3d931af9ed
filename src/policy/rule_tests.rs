//! What a rule can say besides which endpoints: globs, `clients`, `until`.

use std::net::IpAddr;
use std::path::PathBuf;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::domain::{PolicyName, Target};

const ENDPOINTS: &str = "version: 1
upstream: erp
endpoints:
  - { id: orders.list, methods: [GET], path: /v1/orders }
  - { id: orders.read, methods: [GET], path: '/v1/orders/{id}' }
  - { id: orders.lines.list, methods: [GET], path: '/v1/orders/{id}/lines' }
  - { id: parties.read, methods: [GET], path: '/v1/parties/{id}' }
";
const SCHEDULE: &str = "version: 1
default:
  time_zone: UTC
  windows: [{ days: [mon, tue, wed, thu, fri, sat, sun], from: \"00:00\", to: \"24:00\" }]
";
/// Each endpoint with a request for it.
const TARGETS: [(&str, &str); 4] = [
    ("orders.list", "/v1/orders"),
    ("orders.read", "/v1/orders/1"),
    ("orders.lines.list", "/v1/orders/1/lines"),
    ("parties.read", "/v1/parties/1"),
];

/// Reads one policy, `reader`, with these rules.
fn read(rules: &str) -> Result<PolicySet, yaml::Problems> {
    let policy = format!("version: 1\npolicy: reader\nrules:\n{rules}");
    let texts: Vec<(PathBuf, Vec<u8>)> = vec![
        ("endpoints/erp.yaml".into(), ENDPOINTS.into()),
        ("reader.yaml".into(), policy.into()),
        ("schedule.yaml".into(), SCHEDULE.into()),
    ];
    PolicySet::from_texts(&texts)
}

fn set(rules: &str) -> PolicySet {
    read(rules).unwrap_or_else(|problems| panic!("{rules}: {problems}"))
}

fn refused(rules: &str) -> String {
    read(rules).map(drop).expect_err(rules).to_string()
}

fn decide_at(set: &PolicySet, target: &str, client: Option<IpAddr>, now: Timestamp) -> Result<(), Refused> {
    let target = Target::parse(target.as_bytes()).expect("a target");
    let matched = set.route("GET", target.path()).expect("mapped").resolve(None).expect("one endpoint");
    let reader: PolicyName = "reader".parse().expect("a name");
    let facts = Facts { client, ..Facts::new("GET", target.path(), target.query(), now) };
    set.decide(&matched, Grants::Bounded(&mut std::iter::once(&reader)), &facts).map(drop)
}

fn allowed_from(set: &PolicySet, client: Option<&str>) -> bool {
    let client = client.map(|address| address.parse().expect("an address"));
    decide_at(set, "/v1/orders", client, Timestamp::UNIX_EPOCH).is_ok()
}

fn allowed_at(set: &PolicySet, now: &str) -> bool {
    decide_at(set, "/v1/orders", None, now.parse().expect("a time")).is_ok()
}

/// The ids of the endpoints that may be called.
fn allowed(set: &PolicySet) -> Vec<&'static str> {
    let may = |target| decide_at(set, target, None, Timestamp::UNIX_EPOCH).is_ok();
    TARGETS.into_iter().filter(|(_, target)| may(target)).map(|(id, _)| id).collect()
}

#[test]
fn a_glob_allows_the_endpoints_whose_ids_fit() {
    assert_eq!(allowed(&set("  - { id: r, allow: [orders.*] }")), ["orders.list", "orders.read", "orders.lines.list"]);
    assert_eq!(allowed(&set("  - { id: r, allow: ['*.read'] }")), ["orders.read", "parties.read"]);
    assert_eq!(
        allowed(&set("  - { id: r, allow: [parties.read, orders.*.list] }")),
        ["orders.lines.list", "parties.read"]
    );
}

#[test]
fn a_glob_denies_the_endpoints_whose_ids_fit() {
    let set = set("  - { id: all, allow: ['*'] }\n  - { id: none, deny: [orders.*] }");
    assert_eq!(allowed(&set), ["parties.read"]);
}

#[test]
fn a_glob_that_fits_nothing_is_refused_for_allow_and_deny_with_a_suggestion() {
    for effect in ["allow", "deny"] {
        let problems = refused(&format!("  - {{ id: r, {effect}: [order.*] }}"));
        for part in ["no endpoint id fits `order.*`", "did you mean `orders.*`?", "reader.yaml:4:"] {
            assert!(problems.contains(part), "no `{part}` in {problems}");
        }
    }
    let problems = refused("  - { id: r, allow: [invoices.everything.*] }");
    assert!(problems.contains("from its first character to its last"), "{problems}");
}

#[test]
fn a_glob_that_yaml_takes_for_an_alias_is_refused_with_what_to_write() {
    for rules in ["  - { id: r, allow: [*.read] }", "  - id: r\n    allow:\n      - *", "  - { id: r, allow: [*] }"] {
        let problems = refused(rules);
        assert!(problems.contains("in quotes"), "{problems}");
    }
}

#[test]
fn a_rule_with_clients_is_for_those_clients_only() {
    let set = set("  - { id: r, allow: [orders.*], clients: [10.0.0.0/8, 192.0.2.7] }");
    assert!(allowed_from(&set, Some("10.1.2.3")) && allowed_from(&set, Some("192.0.2.7")));
    assert!(!allowed_from(&set, Some("192.0.2.8")));
    assert!(!allowed_from(&set, None), "an unknown client is allowed nothing");
}

#[test]
fn a_deny_rule_with_clients_denies_an_unknown_client_too() {
    let set = set("  - { id: r, allow: [orders.*] }\n  - { id: none, deny: [orders.*], clients: [192.0.2.0/24] }");
    assert!(allowed_from(&set, Some("10.1.2.3")));
    assert!(!allowed_from(&set, Some("192.0.2.7")));
    assert!(!allowed_from(&set, None));
}

#[test]
fn an_allow_rule_allows_nothing_from_its_end_on() {
    let set = set("  - { id: r, allow: [orders.*], until: 2026-12-01T00:00:00+05:00 }");
    assert!(allowed_at(&set, "2026-11-30T18:59:59.999Z"));
    assert!(!allowed_at(&set, "2026-11-30T19:00:00Z"));
}

#[test]
fn a_deny_rule_denies_nothing_from_its_end_on() {
    let set =
        set("  - { id: r, allow: [orders.*] }\n  - { id: none, deny: [orders.*], until: '2026-12-01T00:00:00Z' }");
    assert!(!allowed_at(&set, "2026-11-30T23:59:59Z"));
    assert!(allowed_at(&set, "2026-12-01T00:00:00Z"));
}

#[test]
fn an_end_that_is_no_instant_is_refused() {
    for until in [
        "2026-12-01",
        "2026-12-01T00:00:00",
        "2026-12-01T00:00:00+05:00[Europe/Berlin]",
        "tomorrow",
        "null",
        "1764547200",
        "2026-13-01T00:00:00Z",
    ] {
        let problems = refused(&format!("  - {{ id: r, allow: [orders.*], until: '{until}' }}"));
        assert!(problems.contains("an instant with its offset"), "{until}: {problems}");
    }
}

#[test]
fn a_rule_whose_narrowing_cannot_be_read_makes_the_file_unusable() {
    for key in ["until: soon", "clients: []", "clients: 10.0.0.0/8", "clients: [10.0.0.1/8]", "when: ''"] {
        let problems = refused(&format!("  - {{ id: r, allow: [orders.*], {key} }}"));
        assert!(problems.contains("reader.yaml:4:"), "{key}: {problems}");
    }
}

#[test]
fn all_mistakes_of_a_rule_are_told_at_once() {
    let problems =
        refused("  - { id: r, allow: [orders.*, 'A B', 'c*?'], clients: [office], until: soon, when: '1 ==' }");
    for part in ["`A B` is not", "`c*?` fits no", "`office` is neither", "`until` must", "`when`"] {
        assert!(problems.contains(part), "no `{part}` in {problems}");
    }
}

#[test]
fn a_mistake_in_a_condition_is_shown_where_it_stands() {
    for (rules, place) in [
        ("  - { id: r, allow: [orders.*], when: 'request.method == \"GET\" && reqest.tls' }", "reader.yaml:4:67"),
        (
            "  - id: r\n    allow: [orders.*]\n    when: |\n      !request.tls\n      || request.metod == \"GET\"",
            "reader.yaml:8:17",
        ),
        ("  - id: r\n    allow: [orders.*]\n    when: \"request.metod == \\\"GET\\\"\"", "reader.yaml:6:11"),
        ("  - id: r\n    allow: [orders.*]\n    when: request.method == 'GET' &&", "reader.yaml:6:"),
    ] {
        let problems = refused(rules);
        assert!(problems.contains(place), "no {place} in {problems}");
    }
}

#[test]
fn a_path_parameter_that_an_endpoint_does_not_have_is_refused_unless_it_is_asked_for() {
    let problems = refused("  - { id: r, allow: [orders.*], when: 'request.params.id == \"1\"' }");
    for part in ["`orders.list` (/v1/orders) has no parameter `id`", "has(request.params.id)", "reader.yaml:4:"] {
        assert!(problems.contains(part), "no `{part}` in {problems}");
    }
    let asked = set("  - { id: r, allow: [orders.*], when: 'has(request.params.id) && request.params.id == \"1\"' }");
    assert_eq!(allowed(&asked), ["orders.read", "orders.lines.list"]);
    assert_eq!(
        allowed(&set("  - { id: r, allow: ['*.read'], when: 'request.params.id == \"1\"' }")),
        ["orders.read", "parties.read"]
    );
}

/// A rule without its id, of every kind that there is.
fn any_rule() -> impl Strategy<Value = String> {
    let when = prop_oneof![
        Just(String::new()),
        Just(", when: 'request.path.contains(\"orders\")'".to_owned()),
        Just(", when: 'size(request.query) > 0'".to_owned()),
        Just(", when: 'int(request.path) == 1'".to_owned()),
        Just(", clients: [10.0.0.0/8]".to_owned()),
        Just(", until: 1969-01-01T00:00:00Z".to_owned()),
        Just(", until: 1971-01-01T00:00:00Z".to_owned()),
    ];
    let endpoints = prop_oneof![Just("'*'"), Just("orders.*"), Just("orders.list"), Just("'*.read'")];
    (any::<bool>(), endpoints, when)
        .prop_map(|(allow, endpoints, when)| format!("{}: [{endpoints}]{when}", if allow { "allow" } else { "deny" }))
}

fn listed(rules: &[String]) -> String {
    let named: Vec<(usize, String)> = rules.iter().cloned().enumerate().collect();
    listed_by_id(&named)
}

fn listed_by_id(rules: &[(usize, String)]) -> String {
    if rules.is_empty() {
        return "  []".to_owned();
    }
    let rules = rules.iter().map(|(number, rule)| format!("  - {{ id: r{number}, {rule} }}"));
    rules.collect::<Vec<_>>().join("\n")
}

fn globs() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("*".to_owned()),
        "[*]?(orders|parties|lines|read|list|o|s)[*]",
        "(orders|parties)\\.[*](read|list)?",
        "[*][.a-z]{0,3}[*]",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_empty_policy_set_denies(held in prop::collection::vec("[a-z]{1,8}", 0..4), target in 0_usize..4) {
        let texts: Vec<(PathBuf, Vec<u8>)> =
            vec![("endpoints/erp.yaml".into(), ENDPOINTS.into()), ("schedule.yaml".into(), SCHEDULE.into())];
        let set = PolicySet::from_texts(&texts).map_err(|problems| TestCaseError::fail(problems.to_string()))?;
        let target = Target::parse(TARGETS[target].1.as_bytes()).expect("a target");
        let matched = set.route("GET", target.path()).expect("mapped").resolve(None).expect("one endpoint");
        let held: Vec<PolicyName> = held.iter().map(|name| name.parse().expect("a name")).collect();
        let facts = Facts::new("GET", target.path(), None, Timestamp::UNIX_EPOCH);
        let decided = set.decide(&matched, Grants::Bounded(&mut held.iter()), &facts).map(drop);
        prop_assert_eq!(decided, Err(Refused::NoRuleMatched));
        prop_assert!(PolicySet::empty().route("GET", target.path()).is_none());
    }

    #[test]
    fn a_glob_decides_like_the_list_that_it_expands_to(glob in globs(), deny in any::<bool>()) {
        let fitting: Vec<&str> = match glob.parse() {
            Ok(pattern::EndpointPattern::Glob(glob)) => {
                TARGETS.into_iter().map(|(id, _)| id).filter(|id| glob.fits(id)).collect()
            }
            other => panic!("{other:?}"),
        };
        let rules = |list: &str| if deny {
            format!("  - {{ id: a, allow: ['*'] }}\n  - {{ id: d, deny: [{list}] }}")
        } else {
            format!("  - {{ id: a, allow: [{list}] }}")
        };
        let by_glob = read(&rules(&format!("'{glob}'")));
        if fitting.is_empty() {
            prop_assert!(by_glob.is_err());
        } else {
            let by_glob = by_glob.map_err(|problems| TestCaseError::fail(problems.to_string()))?;
            prop_assert_eq!(allowed(&by_glob), allowed(&set(&rules(&fitting.join(", ")))));
        }
    }

    #[test]
    fn a_rule_that_fails_never_allows(rules in prop::collection::vec(any_rule(), 0..5), place in 0_usize..5) {
        let mut rules = rules;
        rules.insert(place.min(rules.len()), "allow: ['*'], when: 'int(request.path) == 1'".to_owned());
        prop_assert!(allowed(&set(&listed(&rules))).is_empty());
    }

    #[test]
    fn the_order_of_rules_with_conditions_and_clients_changes_nothing(
        rules in prop::collection::vec(any_rule(), 1..6).prop_shuffle(),
        turn in 0_usize..6,
    ) {
        // Ids go with the rules, not with their places.
        let mut named: Vec<(usize, String)> = rules.into_iter().enumerate().collect();
        let one = allowed(&set(&listed_by_id(&named)));
        let length = named.len();
        named.rotate_left(turn % length);
        named.reverse();
        prop_assert_eq!(one, allowed(&set(&listed_by_id(&named))));
    }

    #[test]
    fn a_further_deny_of_any_kind_never_allows_more(
        rules in prop::collection::vec(any_rule(), 0..5),
        deny in any_rule(),
    ) {
        let before = allowed(&set(&listed(&rules)));
        let mut more = rules;
        more.push(deny.replacen("allow", "deny", 1));
        let after = allowed(&set(&listed(&more)));
        prop_assert!(after.iter().all(|id| before.contains(id)), "{after:?} of {before:?}");
    }

    #[test]
    fn an_expired_allow_never_allows(end in -1_000_000_i64..1_000_000, after in 0_i64..1_000_000) {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let set = set(&format!("  - {{ id: a, allow: ['*'], until: '{}' }}", at(end)));
        for (_, target) in TARGETS {
            prop_assert!(decide_at(&set, target, None, at(end + after)).is_err());
            prop_assert!(decide_at(&set, target, None, at(end - 1)).is_ok());
        }
    }
}
