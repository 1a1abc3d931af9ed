use std::path::PathBuf;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::directory::CredentialKind;
use crate::domain::{PolicyName, Target};

const ENDPOINTS: &str = "version: 1
upstream: erp
endpoints:
  - { id: orders.list, methods: [GET], path: /v1/orders }
  - { id: orders.read, methods: [GET], path: '/v1/orders/{id}' }
  - { id: files.read, methods: [GET], path: '/v1/files/{path...}', upstream_path: '/f/{path...}' }
";
const SCHEDULE: &str = "version: 1
default:
  time_zone: UTC
  windows: [{ days: [mon, tue, wed, thu, fri, sat, sun], from: \"00:00\", to: \"24:00\" }]
night:
  time_zone: UTC
  windows: [{ days: [mon], from: \"22:00\", to: \"04:00\" }]
";

fn set(files: &[(&str, &str)]) -> PolicySet {
    let mut texts: Vec<(PathBuf, Vec<u8>)> =
        files.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect();
    for (path, text) in [("endpoints/erp.yaml", ENDPOINTS), ("schedule.yaml", SCHEDULE)] {
        if !files.iter().any(|(given, _)| *given == path) {
            texts.push((path.into(), text.into()));
        }
    }
    PolicySet::from_texts(&texts).unwrap_or_else(|problems| panic!("{problems}"))
}

fn policy(name: &str, rules: &str) -> String {
    format!("version: 1\npolicy: {name}\nrules: [{rules}]\n")
}

fn names(held: &[&str]) -> Vec<PolicyName> {
    held.iter().map(|name| name.parse().expect("a name")).collect()
}

/// `METHOD path: before → after` of each change.
fn changes(before: &PolicySet, after: &PolicySet, kind: CredentialKind, held: &[&str]) -> Vec<String> {
    let comparison = Comparison::new(before, after);
    let changes = comparison.changes(kind, names(held).iter());
    changes
        .iter()
        .map(|change| format!("{} {}: {} → {}", change.place.method, change.place.path, change.before, change.after))
        .collect()
}

fn bounded(before: &[(&str, &str)], after: &[(&str, &str)], held: &[&str]) -> Vec<String> {
    changes(&set(before), &set(after), CredentialKind::Bounded, held)
}

#[test]
fn rules_that_come_and_go_are_gains_and_losses_of_method_and_path() {
    let before = policy("a", "{ id: r, allow: [orders.list] }");
    let after = policy("a", "{ id: r, allow: [orders.read] }");
    assert_eq!(
        bounded(&[("a.yaml", &before)], &[("a.yaml", &after)], &["a"]),
        [
            "GET /v1/orders: allowed in `default` → not allowed",
            "GET /v1/orders/{id}: not allowed → allowed in `default`"
        ]
    );
    assert_eq!(bounded(&[("a.yaml", &before)], &[("a.yaml", &after)], &["b"]), [""; 0]);
    assert_eq!(bounded(&[("a.yaml", &before)], &[], &["a"]), ["GET /v1/orders: allowed in `default` → not allowed"]);
}

#[test]
fn conditions_and_hours_are_told() {
    let before = policy("a", "{ id: r, allow: [orders.list] }");
    let narrowed = policy("a", "{ id: r, allow: [orders.list], when: 'request.method == \"GET\"' }");
    let denied = policy("a", "{ id: r, allow: [orders.list] }, { id: d, deny: [orders.list], when: 'true' }");
    let exempt = before.replace("policy: a", "policy: a\nschedule: exempt");
    let (clients, until) = ("clients: [192.0.2.0/24, 10.1.2.3]", "until: '2027-01-01T00:00:00Z'");
    let some_clients = policy("a", &format!("{{ id: r, allow: [orders.list], {clients}, {until} }}"));
    let masked = policy("a", "{ id: r, allow: [orders.list], response: { mask: { pointers: [/iban] } } }");
    for (after, expected) in [
        (&narrowed, "allowed in `default` if `request.method == \"GET\"`"),
        (&denied, "allowed in `default`, unless `true`"),
        (&exempt, "allowed at any time"),
        (
            &some_clients,
            "allowed in `default` if the client is in 192.0.2.0/24, 10.1.2.3/32 and it is before 2027-01-01T00:00:00Z",
        ),
        (&masked, "allowed in `default`, with mask /iban"),
    ] {
        let told = bounded(&[("a.yaml", &before)], &[("a.yaml", after)], &["a"]);
        assert_eq!(told, [format!("GET /v1/orders: allowed in `default` → {expected}")]);
    }
}

#[test]
fn a_rule_that_moves_to_another_held_policy_changes_nothing_for_who_holds_both() {
    let one = policy("a", "{ id: r, allow: [orders.list, orders.read] }");
    let (left, moved) =
        (policy("a", "{ id: r, allow: [orders.list] }"), policy("b", "{ id: m, allow: [orders.read] }"));
    let before = [("a.yaml", one.as_str())];
    let after = [("a.yaml", left.as_str()), ("b.yaml", moved.as_str())];
    assert_eq!(bounded(&before, &after, &["a", "b"]), [""; 0]);
    assert_eq!(bounded(&before, &after, &["a"]).len(), 1);
}

#[test]
fn another_id_or_parameter_name_for_the_same_place_changes_nothing() {
    let renamed = ENDPOINTS.replace("orders.read", "orders.one").replace("{id}", "{number}");
    let (old, new) = (policy("a", "{ id: r, allow: [orders.read] }"), policy("a", "{ id: r, allow: [orders.one] }"));
    let after = [("endpoints/erp.yaml", renamed.as_str()), ("a.yaml", new.as_str())];
    assert_eq!(bounded(&[("a.yaml", &old)], &after, &["a"]), [""; 0]);
    let (before, after) = (set(&[("a.yaml", &old)]), set(&after));
    assert_eq!(Comparison::new(&before, &after).moved().count(), 0);
}

#[test]
fn a_literal_that_takes_requests_away_from_a_parameter_is_a_loss_where_it_is_not_granted() {
    let reader = policy("a", "{ id: r, allow: [orders.read] }");
    let literal = format!("{ENDPOINTS}  - {{ id: orders.export, methods: [GET], path: /v1/orders/export }}\n");
    assert_eq!(
        bounded(&[("a.yaml", &reader)], &[("a.yaml", &reader), ("endpoints/erp.yaml", &literal)], &["a"]),
        ["GET /v1/orders/export: allowed in `default` → not allowed"]
    );
}

#[test]
fn who_is_unrestricted_gains_what_is_mapped_and_loses_what_a_policy_denies() {
    let more = format!("{ENDPOINTS}  - {{ id: stock.list, methods: [GET], path: /v1/stock }}\n");
    let less = policy("less", "{ id: d, deny: [orders.list] }");
    let (before, after) = (set(&[]), set(&[("endpoints/erp.yaml", &more), ("less.yaml", &less)]));
    assert_eq!(
        changes(&before, &after, CredentialKind::Unrestricted, &["less"]),
        ["GET /v1/orders: allowed in `default` → not allowed", "GET /v1/stock: not allowed → allowed in `default`"]
    );
}

#[test]
fn endpoints_that_share_a_path_are_told_apart_by_their_bodies() {
    let rpc = |values: &str| {
        format!(
            "version: 1\nupstream: erp\nendpoints:\n  - {{ id: rpc.read, methods: [POST], path: /v1/rpc, body: {{ where: {{ /method: [{values}] }} }} }}\n  - {{ id: rpc.write, methods: [POST], path: /v1/rpc, body: {{ where: {{ /method: [write] }} }} }}\n"
        )
    };
    let reader = policy("a", "{ id: r, allow: [rpc.read] }");
    let (narrow, wide) = (rpc("read"), rpc("read, search"));
    let with = |rpc: &str| set(&[("endpoints/erp.yaml", rpc), ("a.yaml", &reader)]);
    let (before, after) = (with(&narrow), with(&wide));
    let comparison = Comparison::new(&before, &after);
    let held = names(&["a"]);
    let changes = comparison.changes(CredentialKind::Bounded, held.iter());
    let told: Vec<_> = changes.iter().map(|change| (change.place.body.as_deref(), change.after.to_string())).collect();
    assert_eq!(
        told,
        [
            (Some("/method is \"read\" or \"search\", at most 65536 bytes"), "allowed in `default`".to_owned()),
            (Some("/method is \"read\", at most 65536 bytes"), "not allowed".to_owned())
        ]
    );
}

#[test]
fn other_hours_of_a_schedule_and_another_way_to_the_erp_are_told_once() {
    let shorter = SCHEDULE.replace("to: \"04:00\"", "to: \"03:00\"");
    let elsewhere = ENDPOINTS.replace("'/f/{path...}'", "'/g/{path...}'");
    let before = set(&[]);
    let after = set(&[("schedule.yaml", &shorter), ("endpoints/erp.yaml", &elsewhere)]);
    let comparison = Comparison::new(&before, &after);
    let schedules: Vec<_> = comparison.schedules().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(schedules, ["night"]);
    let moved: Vec<_> = comparison.moved().collect();
    let [(place, (was, is))] = moved.as_slice() else { panic!("{moved:?}") };
    assert_eq!((place.path.as_str(), was.as_str()), ("/v1/files/{path...}", "erp /f/…3/…"));
    assert!(is.starts_with("erp /g/"), "{is}");
}

/// Policies of up to three rules each over the endpoints, with conditions that can be evaluated.
fn any_policy(name: &'static str) -> impl Strategy<Value = String> {
    let rule = (
        prop::sample::select(vec!["allow", "deny"]),
        prop::sample::select(vec!["orders.list", "orders.read", "files.read"]),
        prop::sample::select(vec![
            "",
            ", when: 'request.query[\"x\"] == \"1\"'",
            ", when: 'request.query[\"x\"] != \"1\"'",
            ", clients: [192.0.2.0/24]",
            ", until: '2026-11-24T00:00:00Z'",
            ", clients: [198.51.100.0/24], until: '2026-12-24T00:00:00Z'",
        ]),
    );
    let schedule = prop::sample::select(vec!["default", "exempt", "night"]);
    (prop::collection::vec(rule, 0..4), schedule).prop_map(move |(rules, schedule)| {
        let rules: Vec<String> = rules
            .iter()
            .enumerate()
            .map(|(number, (effect, endpoint, when))| format!("{{ id: r{number}, {effect}: [{endpoint}]{when} }}"))
            .collect();
        format!("version: 1\npolicy: {name}\nschedule: {schedule}\nrules: [{}]\n", rules.join(", "))
    })
}

fn decided(set: &PolicySet, kind: CredentialKind, target: &str, at: Timestamp) -> bool {
    let target = Target::parse(target.as_bytes()).expect("a target");
    let matched = set.route("GET", target.path()).expect("mapped").resolve(None).expect("one endpoint");
    let client = "192.0.2.7".parse().ok();
    let facts = Facts { client, ..Facts::new("GET", target.path(), target.query(), at) };
    let grants: Vec<_> =
        names(&["a", "b"]).into_iter().map(|policy| crate::directory::Grant { policy, expires_at: None }).collect();
    set.decide_for(&matched, kind, &grants, &facts).is_ok_and(|allowed| allowed.open_at(at).is_some())
}

proptest! {
    #[test]
    fn no_decision_changes_where_no_change_is_told(
        a in any_policy("a"), b in any_policy("b"), c in any_policy("a"), d in any_policy("b"), free in any::<bool>(),
    ) {
        let kind = if free { CredentialKind::Unrestricted } else { CredentialKind::Bounded };
        let before = set(&[("a.yaml", &a), ("b.yaml", &b)]);
        let after = set(&[("a.yaml", &c), ("b.yaml", &d)]);
        let comparison = Comparison::new(&before, &after);
        let held = names(&["a", "b"]);
        let told: Vec<String> =
            comparison.changes(kind, held.iter()).iter().map(|change| change.place.path.clone()).collect();
        for (place, path) in [("/v1/orders", "/v1/orders"), ("/v1/orders/{id}", "/v1/orders/5"), ("/v1/files/{path...}", "/v1/files/a/b")] {
            for query in ["", "?x=1", "?x=2"] {
                for at in ["2026-11-23T23:00:00Z", "2026-11-25T12:00:00Z"] {
                    let (target, at) = (format!("{path}{query}"), at.parse().expect("a time"));
                    let same = decided(&before, kind, &target, at) == decided(&after, kind, &target, at);
                    prop_assert!(same || told.iter().any(|told| told == place), "{target} at {at}");
                }
            }
        }
        // A set differs in nothing from itself.
        let itself = Comparison::new(&before, &before);
        prop_assert!(itself.changes(kind, held.iter()).is_empty() && itself.schedules().is_empty());
        prop_assert_eq!(itself.moved().count(), 0);
    }
}
