use std::path::PathBuf;

use proptest::prelude::*;

use super::tests::{decide, policy, set, texts};
use super::*;
use crate::domain::{PolicyName, RuleId};

/// Policy `a` with one rule that reads orders and has these further keys.
fn with(keys: &str) -> String {
    policy("a", &format!("{{ id: read, allow: [orders.read], {keys} }}"))
}

fn problems(text: &str) -> String {
    PolicySet::from_texts(&texts(&[("a.yaml", text)])).expect_err("refused").to_string()
}

fn words(allowed: &Allowed) -> Vec<String> {
    allowed.obligations().in_words().into_iter().collect()
}

fn allowed(files: &[(&str, &str)], grants: &[&str]) -> Allowed {
    decide(&set(files), grants, "/v1/orders/1").unwrap_or_else(|refused| panic!("{refused}"))
}

const MASK: &str = "response: { mask: { pointers: [/bank_account, '/lines/*/cost'] } }";

#[test]
fn a_rule_demands_what_its_file_says() {
    let text = with(
        "request: { force_query: { company: \"7\" }, force_header: { X-Company: \"7\" } }, \
         response: { mask: { pointers: [/bank_account, '/lines/*/cost'], with: '***', max_bytes: 1MiB } }",
    );
    let allowed = allowed(&[("a.yaml", &text)], &["a"]);
    assert_eq!(words(&allowed), ["header x-company=7", "mask /bank_account", "mask /lines/*/cost", "query company=7"]);
    let obligations = allowed.obligations();
    assert_eq!(obligations.longest_masked(), 1024 * 1024);
    assert_eq!(obligations.forced_query(Some("company=8&a=1")).as_deref(), Some("a=1&company=7"));
    let headers: Vec<_> =
        obligations.headers().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect();
    assert_eq!(headers, [("x-company", "7")]);
    let masked = obligations.mask(br#"{"bank_account":"DE1","lines":[{"cost":1}]}"#).expect("masked");
    assert_eq!(masked, br#"{"bank_account":"***","lines":[{"cost":"***"}]}"#);
    assert_eq!(
        allowed.to_string(),
        "allowed by a/read; masked /bank_account by a/read, masked /lines/*/cost by a/read, \
         query company=7 by a/read, header x-company=7 by a/read"
    );
}

#[test]
fn a_rule_that_demands_nothing_owes_nothing() {
    let allowed = allowed(&[("a.yaml", &with("description: none"))], &["a"]);
    let obligations = allowed.obligations();
    assert!(obligations.is_empty() && !obligations.masks() && obligations.longest_masked() == 0);
    assert_eq!(obligations.forced_query(Some("a=1")), None);
    assert_eq!(allowed.to_string(), "allowed by a/read");
}

#[test]
fn a_mask_is_null_and_256_kib_where_the_file_does_not_say() {
    let allowed = allowed(&[("a.yaml", &with(MASK))], &["a"]);
    assert_eq!(allowed.obligations().longest_masked(), 256 * 1024);
    assert_eq!(allowed.obligations().mask(br#"{"bank_account":[1]}"#).expect("masked"), br#"{"bank_account":null}"#);
}

#[test]
fn a_mask_is_any_json_value_but_a_list_or_an_object() {
    for (with, masked) in [("null", "null"), ("0", "0"), ("true", "true"), ("'0'", "\"0\""), ("'a\"b'", r#""a\"b""#)] {
        let obligations = double::obligations(&format!("response: {{ mask: {{ pointers: [/a], with: {with} }} }}"));
        assert_eq!(obligations.mask(b"{\"a\":1}").expect("masked"), format!("{{\"a\":{masked}}}").into_bytes());
    }
}

#[test]
fn the_demands_of_all_allowing_rules_add_up_and_a_rule_without_any_lifts_none() {
    let a = policy(
        "a",
        "{ id: plain, allow: [orders.read] }, \
         { id: z-mask, allow: [orders.read], response: { mask: { pointers: [/a], max_bytes: 2KiB } } }, \
         { id: other, allow: [orders.list], response: { mask: { pointers: [/never] } } }, \
         { id: not-now, allow: [orders.read], when: 'request.method == \"PUT\"', response: { mask: { pointers: [/never] } } }",
    );
    let b = policy("b", "{ id: read, allow: [orders.read], response: { mask: { pointers: [/b], max_bytes: 1KiB } } }");
    let c = policy("c", "{ id: read, allow: [orders.read] }");
    let files = [("a.yaml", a.as_str()), ("b.yaml", &b), ("c.yaml", &c)];
    let all = allowed(&files, &["c", "b", "a"]);
    assert_eq!(words(&all), ["mask /a", "mask /b"]);
    assert_eq!(all.obligations().longest_masked(), 1024, "the strictest counts");
    assert_eq!(all.by().first().map(AllowedBy::name).as_deref(), Some("a/plain"));
    assert_eq!(words(&allowed(&files, &["c"])), Vec::<String>::new());
    assert_eq!(words(&allowed(&files, &["a", "c"])), ["mask /a"]);
}

#[test]
fn an_unrestricted_set_owes_what_the_policies_it_holds_demand() {
    let set = set(&[("a.yaml", &with(MASK))]);
    let target = crate::domain::Target::parse(b"/v1/orders/1").expect("a target");
    let matched = set.route("GET", target.path()).expect("mapped").resolve(None).expect("one endpoint");
    let facts = Facts::new("GET", target.path(), None, jiff::Timestamp::UNIX_EPOCH);
    let held: PolicyName = "a".parse().expect("a name");
    let masks = |held: &[PolicyName]| {
        let mut held = held.iter();
        set.decide(&matched, Grants::Unrestricted(&mut held), &facts).expect("allowed").obligations().masks()
    };
    assert!(masks(&[held]));
    assert!(!masks(&[]));
}

#[test]
fn rules_that_force_one_thing_to_different_values_deny() {
    let force =
        |name: &str, keys: &str| policy(name, &format!("{{ id: read, allow: [orders.read], request: {{ {keys} }} }}"));
    let decide = |one: &str, other: &str| {
        let (a, b) = (force("a", one), force("b", other));
        let set = set(&[("a.yaml", &a), ("b.yaml", &b)]);
        decide(&set, &["b", "a"], "/v1/orders/1").map(|allowed| words(&allowed))
    };
    for (one, other, about) in [
        ("force_query: { company: '7' }", "force_query: { company: '8' }", "the query parameter `company`"),
        ("force_query: { company: '7' }", "force_query: { Company: '7' }", "the query parameter `company`"),
        ("force_header: { X-Company: '7' }", "force_header: { x-company: '8' }", "the header `x-company`"),
    ] {
        let refused = decide(one, other).expect_err("denied");
        assert_eq!(
            (refused.policy().map(PolicyName::as_str), refused.rule().map(RuleId::as_str)),
            (Some("a"), Some("read"))
        );
        let text = refused.to_string();
        assert_eq!(text, format!("rules `a/read` (a.yaml:3) and `b/read` force {about} to different values"));
    }
    let same = decide("force_query: { company: '7' }", "force_query: { company: '7', a: '1' }").expect("allowed");
    assert_eq!(same, ["query a=1", "query company=7"]);
}

#[test]
fn a_deny_rule_cannot_demand_anything() {
    for keys in [MASK, "request: { force_query: { a: '1' } }"] {
        let text = policy("a", &format!("{{ id: read, deny: [orders.read], {keys} }}"));
        assert!(problems(&text).contains("says nothing in a rule that denies"), "{keys}");
    }
}

#[test]
fn every_mistake_is_found_with_its_place() {
    for (keys, says) in [
        ("request: {}", "`request` is empty"),
        ("request: { force: { a: '1' } }", "unknown key `force`"),
        ("request: { force_query: {} }", "1 to 64 entries"),
        ("request: { force_query: [a] }", "must be a map"),
        ("request: { force_query: { a: [1] } }", "`a` must be a text"),
        ("request: { force_query: { a: null } }", "`a` must be a text, not null"),
        ("request: { force_query: { '': '1' } }", "a name has 1 to 1024 characters"),
        ("request: { force_query: { a: \"x\\ny\" } }", "none of them a control"),
        ("request: { force_query: { a: '1', a: '2' } }", "duplicate key `a`"),
        ("request: { force_query: { a: '1', A: '1' } }", "are one parameter to some servers"),
        ("request: { force_query: { a: '1', 'a[]': '1' } }", "are one parameter to some servers"),
        ("request: { force_header: {} }", "1 to 64 entries"),
        ("request: { force_header: { 'X Y': '1' } }", "cannot be forced"),
        ("request: { force_header: { X_Y: '1' } }", "cannot be forced"),
        ("request: { force_header: { Host: erp } }", "`Host` cannot be forced"),
        ("request: { force_header: { Cookie: a=1 } }", "cannot be forced"),
        ("request: { force_header: { Authorization: x } }", "cannot be forced"),
        ("request: { force_header: { Content-Type: text/plain } }", "cannot be forced"),
        ("request: { force_header: { X-Forwarded-For: '1' } }", "cannot be forced"),
        ("request: { force_header: { X-A: 'é' } }", "printable ASCII"),
        ("request: { force_header: { X-A: \"a\\r\\nB: c\" } }", "printable ASCII"),
        ("request: { force_header: { X-A: '' } }", "printable ASCII"),
        ("request: { force_header: { X-A: ' a' } }", "printable ASCII"),
        ("request: { force_header: { X-A: '1', x-a: '2' } }", "written twice, in other capitals"),
        ("response: {}", "`mask` is missing"),
        ("response: { hide: [/a] }", "unknown key `hide`"),
        ("response: { mask: {} }", "`pointers` is missing"),
        ("response: { mask: { pointers: [] } }", "1 to 64 items"),
        ("response: { mask: { pointers: [a] } }", "`a`: it is not a JSON pointer"),
        ("response: { mask: { pointers: [''] } }", "it is not a JSON pointer"),
        ("response: { mask: { pointers: [/a, /a] } }", "`/a` stands there twice"),
        ("response: { mask: { pointers: [/a~2] } }", "`~1` stands for `/`"),
        ("response: { mask: { pointers: [/a], with: [1] } }", "`with` must be a text"),
        ("response: { mask: { pointers: [/a], with: 1.5 } }", "`with`: `1.5` is a number"),
        ("response: { mask: { pointers: [/a], with: yes } }", "`with`: `yes` is a boolean"),
        ("response: { mask: { pointers: [/a], max_bytes: 9MiB } }", "from 1 to 8388608 bytes"),
        ("response: { mask: { pointers: [/a], max_bytes: 0 } }", "from 1 to 8388608 bytes"),
    ] {
        let found = problems(&with(keys));
        assert!(found.contains(says) && found.contains("a.yaml:3:"), "{keys}: {found}");
    }
    let long = format!("response: {{ mask: {{ pointers: [/a], with: '{}' }} }}", "x".repeat(65));
    assert!(problems(&with(&long)).contains("`with` has at most 64 characters"));
    let both = problems(&with("request: {}, response: {}"));
    assert!(both.contains("2 errors"), "{both}");
}

#[test]
fn a_byte_limit_needs_a_period() {
    let limited = |limits: &str| format!("{}limits: {limits}\n", with("description: none"));
    for wrong in ["{ bytes: 10MiB }", "{ per: 1h }", "{ requests: 1, bytes: 1KiB }", "{ bytes: 10MiB, concurrent: 2 }"]
    {
        assert!(problems(&limited(wrong)).contains("`per` belongs together"), "{wrong}");
    }
    assert!(problems(&limited("{ bytes: 0, per: 1h }")).contains("`bytes` must be a size"));
    let text = limited("{ bytes: 10MiB, per: 1h }");
    let set = set(&[("a.yaml", &text)]);
    let limits = set.policy(&"a".parse().expect("a name")).and_then(|policy| policy.limits().copied()).expect("limits");
    assert_eq!(limits.bytes(), Some((10 * 1024 * 1024, std::time::Duration::from_hours(1))));
    assert_eq!(limits.rate(), None);
}

mod cases {
    use super::*;

    fn differences(policies: &[(&str, &str)], expect: &str) -> Option<String> {
        let case = format!(
            "version: 1\ncases:\n  - name: one\n    grants: [a]\n    request: {{ method: GET, path: /v1/orders/1, \
             at: 2026-11-23T12:00:00Z }}\n    expect: {expect}\n"
        );
        let mut files = policies.to_vec();
        files.push(("cases/a.yaml", &case));
        set(&files).run_cases().into_iter().next().expect("a case").difference.as_ref().map(super::both_sides)
    }

    #[test]
    fn a_case_states_all_obligations_or_does_not_ask() {
        let text = with(
            "request: { force_query: { company: \"7\" }, force_header: { X-Company: \"7\" } }, \
             response: { mask: { pointers: [/bank_account] } }",
        );
        let files = [("a.yaml", text.as_str())];
        let all = "[mask /bank_account, query company=7, header X-Company=7]";
        assert_eq!(differences(&files, &format!("{{ decision: allowed, obligations: {all} }}")), None);
        assert_eq!(differences(&files, "{ decision: allowed }"), None);
        let some = differences(&files, "{ decision: allowed, obligations: [mask /bank_account] }").expect("differs");
        assert!(some.contains("with mask /bank_account\n") && some.contains("query company=7"), "{some}");
        let none = differences(&files, "{ decision: allowed, obligations: [] }").expect("differs");
        assert!(none.contains("without obligations"), "{none}");
        let plain = with("description: none");
        assert_eq!(differences(&[("a.yaml", &plain)], "{ decision: allowed, obligations: [] }"), None);
    }

    #[test]
    fn an_obligation_that_is_none_is_refused() {
        let text = with(MASK);
        for (expect, says) in [
            ("{ decision: allowed, obligations: [hide /a] }", "are written `mask /pointer`"),
            ("{ decision: denied, obligations: [mask /a] }", "says nothing where the request is denied"),
        ] {
            let case = format!(
                "version: 1\ncases: [{{ name: one, grants: [a], request: {{ method: GET, path: /v1/orders, \
                 at: 2026-11-23T12:00:00Z }}, expect: {expect} }}]\n"
            );
            let files = texts(&[("a.yaml", &text), ("cases/a.yaml", &case)]);
            let problems = PolicySet::from_texts(&files).expect_err("refused").to_string();
            assert!(problems.contains(says), "{problems}");
        }
    }

    #[test]
    fn conflicts_have_a_reason_of_their_own() {
        let a = policy(
            "a",
            "{ id: one, allow: [orders.read], request: { force_query: { c: '1' } } }, \
             { id: two, allow: [orders.read], request: { force_query: { c: '2' } } }",
        );
        let files = [("a.yaml", a.as_str())];
        assert_eq!(differences(&files, "{ decision: denied, reason: obligations_conflict }"), None);
    }
}

#[test]
fn the_mask_of_a_policy_that_is_closed_holds_while_another_lets_the_request_through() {
    let schedule = "version: 1
night: { time_zone: UTC, windows: [{ days: [mon, tue, wed, thu, fri, sat, sun], from: \"22:00\", to: \"23:00\" }] }
";
    let by_night = with(MASK).replace("rules:", "schedule: night\nrules:");
    let always = policy("b", "{ id: read, allow: [orders.read] }").replace("rules:", "schedule: exempt\nrules:");
    let case = "version: 1
cases:
  - name: noon
    grants: [a, b]
    request: { method: GET, path: /v1/orders/1, at: 2026-11-23T12:00:00Z }
    expect: { decision: allowed, rule: b/read, obligations: [mask /bank_account, mask /lines/*/cost] }
";
    let mut files = texts(&[("a.yaml", &by_night), ("b.yaml", &always), ("cases/a.yaml", case)]);
    files.retain(|(path, _)| !path.ends_with("schedule.yaml"));
    files.push(("schedule.yaml".into(), schedule.into()));
    let set = PolicySet::from_texts(&files).unwrap_or_else(|problems| panic!("{problems}"));
    let results = set.run_cases();
    assert_eq!(results.iter().map(|result| result.difference.clone()).collect::<Vec<_>>(), [None]);
}

/// The files of the document's section, each a block that begins with its path.
fn files_of_the_document() -> Vec<(PathBuf, Vec<u8>)> {
    let document = include_str!("../../docs/policies.md");
    let section = document.split("\n## Obligations\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("a text");
    let blocks = section.split("\n```yaml\n").skip(1).map(|rest| rest.split("\n```").next().expect("a block"));
    let file = |block: &str| {
        let path = block.lines().next().and_then(|line| line.strip_prefix("# policies/")).expect("a path");
        (PathBuf::from(path), format!("{block}\n").into_bytes())
    };
    blocks.map(file).collect()
}

#[test]
fn what_the_document_shows_loads_and_its_cases_come_out_as_written() {
    let mut files = files_of_the_document();
    assert_eq!(files.len(), 2);
    for (path, text) in [
        ("endpoints/erp.yaml", include_str!("../../policies/endpoints/erp.yaml")),
        ("schedule.yaml", include_str!("../../policies/schedule.yaml")),
    ] {
        files.push((path.into(), text.into()));
    }
    let set = PolicySet::from_texts(&files).unwrap_or_else(|problems| panic!("{problems}"));
    let results = set.run_cases();
    assert_eq!(results.len(), 2);
    for result in results {
        assert_eq!(result.difference, None, "{}", result.name);
    }
}

mod batches {
    use super::*;

    const ENDPOINTS: &str = "version: 1
upstream: erp
endpoints:
  - { id: rpc.read, methods: [POST], path: /v1/rpc, body: { where: { /method: [read] }, batch: allowed } }
  - { id: sales.batch, methods: [POST], path: /s/$batch, body: { batch: odata } }
  - { id: sales.orders, methods: [GET], path: /s/Orders }
";

    fn decided(rules: &str, path: &str, body: &str) -> Option<String> {
        let policy = policy("a", rules);
        let case = format!(
            "version: 1\ncases:\n  - name: one\n    grants: [a]\n    request: {{ method: POST, path: {path}, \
             at: 2026-11-23T12:00:00Z, body: '{body}' }}\n    expect: {{ decision: denied, reason: obligation_in_batch }}\n"
        );
        let files: Vec<(PathBuf, Vec<u8>)> =
            [("endpoints/erp.yaml", ENDPOINTS), ("a.yaml", &policy), ("cases/a.yaml", &case)]
                .map(|(path, text)| (path.into(), text.into()))
                .into();
        let files =
            [files, texts(&[]).into_iter().filter(|(path, _)| path.ends_with("schedule.yaml")).collect()].concat();
        let set = PolicySet::from_texts(&files).unwrap_or_else(|problems| panic!("{problems}"));
        set.run_cases().into_iter().next().expect("a case").difference.as_ref().map(super::both_sides)
    }

    #[test]
    fn a_part_of_a_batch_that_owes_something_denies_the_batch_be_it_the_only_one() {
        for keys in [MASK, "request: { force_query: { a: '1' } }", "request: { force_header: { X-A: '1' } }"] {
            let rpc = format!("{{ id: read, allow: [rpc.read], {keys} }}");
            let one = r#"{"method":"read"}"#;
            for body in [format!("[{one}]"), format!("[{one},{one}]")] {
                assert_eq!(decided(&rpc, "/v1/rpc", &body), None, "{keys}");
            }
            let alone = decided(&rpc, "/v1/rpc", one).expect("it differs");
            assert!(alone.contains("decided: allowed by a/read"), "{alone}");

            let odata = format!("{{ id: read, allow: [sales.orders], {keys} }}, {{ id: batch, allow: [sales.batch] }}");
            let body = r#"{"requests":[{"id":"1","method":"GET","url":"Orders"}]}"#;
            assert_eq!(decided(&odata, "/s/$batch", body), None, "{keys}");
        }
    }

    #[test]
    fn the_request_that_brings_an_odata_batch_owes_like_any_other() {
        let rules = format!("{{ id: read, allow: [sales.orders] }}, {{ id: batch, allow: [sales.batch], {MASK} }}");
        let body = r#"{"requests":[{"id":"1","method":"GET","url":"Orders"}]}"#;
        let decided = decided(&rules, "/s/$batch", body).expect("it differs");
        assert!(decided.contains("decided: allowed by a/batch, a/read with mask /bank_account"), "{decided}");
    }
}

proptest! {
    /// Neither the order of rules and grants, nor a rule without demands, changes what is owed.
    #[test]
    fn more_grants_never_lift_an_obligation(
        pointers in prop::collection::vec("/[a-d]", 1..5),
        order in any::<prop::sample::Index>(),
        plain in any::<bool>(),
    ) {
        let files: Vec<(String, String)> = pointers
            .iter()
            .enumerate()
            .map(|(number, pointer)| {
                let name = format!("p{number}");
                let mask = format!("response: {{ mask: {{ pointers: [{pointer}] }} }}");
                let plain = if plain { ", { id: aaa, allow: [orders.read] }" } else { "" };
                let text = policy(&name, &format!("{{ id: read, allow: [orders.read], {mask} }}{plain}"));
                (format!("{name}.yaml"), text)
            })
            .collect();
        let set = set(&files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>());
        let mut grants: Vec<String> = (0..pointers.len()).map(|number| format!("p{number}")).collect();
        grants.rotate_left(order.index(pointers.len()));
        let mut so_far = std::collections::BTreeSet::new();
        for count in 1..=grants.len() {
            let held: Vec<&str> = grants.iter().take(count).map(String::as_str).collect();
            let owed = decide(&set, &held, "/v1/orders/1").expect("allowed").obligations().in_words();
            prop_assert!(owed.is_superset(&so_far));
            so_far = owed;
        }
        let all: std::collections::BTreeSet<String> = pointers.iter().map(|pointer| format!("mask {pointer}")).collect();
        prop_assert_eq!(so_far, all);
    }
}

fn both_sides(difference: &crate::policy::Difference) -> String {
    format!("expected: {}\n   decided: {}", difference.expected, difference.decided)
}
