use proptest::prelude::*;

use super::again::{Again, Asker, Past};
use super::*;
use crate::audit::{Recorded, RecordedPart};
use crate::control::Bounds;
use crate::directory::Grant;
use crate::domain::{AccountId, CredentialId, PolicyName, RequestId};
use crate::policy::PolicySet;

const ENDPOINTS: &str = "version: 1
upstream: erp
endpoints:
  - { id: orders.list, methods: [GET], path: /v1/orders }
  - { id: orders.read, methods: [GET], path: '/v1/orders/{id}' }
  - { id: stock.read, methods: [GET], path: '/v1/stock/{sku}' }
  - { id: ping, methods: [GET], path: /v1/ping }
";
const SCHEDULE: &str = "version: 1
default:
  time_zone: UTC
  windows: [{ days: [mon, tue, wed, thu, fri], from: \"08:00\", to: \"18:00\" }]
night:
  time_zone: UTC
  windows: [{ days: [mon, tue, wed, thu, fri], from: \"16:00\", to: \"02:00\" }]
";

fn files(policies: &[(&str, &str)]) -> Vec<(String, String)> {
    let fixed = [("endpoints/erp.yaml", ENDPOINTS), ("schedule.yaml", SCHEDULE)];
    let all = fixed.iter().chain(policies);
    all.map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

/// A credential set with these policies in force, which it holds.
fn in_force(policies: &[(&str, &str)], kind: Bounds) -> InForce {
    let held = policies.iter().map(|(path, _)| path.trim_end_matches(".yaml").parse().expect("a name"));
    let holder = Holder {
        id: CredentialId::from_bytes([7; 16]),
        name: "Web shop: ü\u{202e}".into(),
        account: Some("acme".parse().expect("a name")),
        account_id: AccountId::from_bytes([1; 16]),
        labels: Vec::new(),
        kind,
        usable: true,
        grants: held.map(|policy| (policy, None)).collect(),
    };
    InForce {
        at: "2026-11-28T00:00:00Z".parse().expect("a time"),
        generation: 1,
        hash: String::new(),
        files: files(policies),
        broken: Vec::new(),
        holders: vec![holder],
    }
}

/// A request: what is asked for, and the hour of a day in the week of 23 November 2026.
#[derive(Debug, Clone)]
struct Asked {
    target: &'static str,
    day: i64,
    hour: i64,
}

/// The row that the gate would have left of it.
fn recorded(set: &PolicySet, holder: &Holder, wanted: &Asked, number: u8) -> Recorded {
    let (path, query) =
        wanted.target.split_once('?').map_or((wanted.target, None), |(path, query)| (path, Some(query)));
    let monday: jiff::Timestamp = "2026-11-23T00:00:00Z".parse().expect("a time");
    let after = jiff::SignedDuration::from_hours(wanted.day * 24 + wanted.hour);
    let mut row = Recorded {
        id: RequestId::from_bytes([number; 16]),
        at: monday.checked_add(after).expect("a time"),
        credential: Some(holder.id),
        client: Some("192.0.2.7".into()),
        method: "GET".into(),
        path: path.into(),
        query: query.map(str::to_owned),
        endpoint: None,
        policy: None,
        rule: None,
        snapshot: None,
        denied_at: None,
        batch: None,
        by_override: false,
        repeats: 1,
    };
    let grants = holder.granted();
    let asker = Asker { kind: holder.kind(), grants: &grants, requester: None };
    let denied = |step: &str| Some(step.to_owned());
    match Past::from(&row).decide(set, &|| None, asker).expect("told").again {
        Again::NoEndpoint(_) => row.denied_at = denied("endpoint"),
        Again::Refused(refused) => {
            row.denied_at = denied("policy");
            row.policy = refused.policy().map(ToString::to_string);
            row.rule = refused.rule().map(ToString::to_string);
        }
        Again::Allowed(allowed) => {
            row.endpoint = Some(allowed.endpoint().id().to_string());
            match allowed.open_at(row.at) {
                None => row.denied_at = denied("schedule"),
                Some(by) => {
                    row.policy = by.policy().map(|policy| policy.name().to_string());
                    row.rule = by.rule().map(ToString::to_string);
                }
            }
        }
    }
    row
}

fn trail(set: &PolicySet, holder: &Holder, asked: &[Asked]) -> RecordedPart {
    let rows = asked.iter().zip(0..).map(|(asked, number)| recorded(set, holder, asked, number)).collect();
    RecordedPart { rows, ..RecordedPart::default() }
}

fn since() -> jiff::Timestamp {
    "2026-11-01T00:00:00Z".parse().expect("a time")
}

fn suggested(in_force: &InForce, part: &RecordedPart) -> Suggested {
    let set = in_force.policies().expect("good");
    let holder = in_force.holders.first().expect("a holder");
    let mut suggestion = Suggestion::new(in_force, &set, holder);
    suggestion.take(part, &[]);
    let name = name_for(holder).expect("a name");
    suggestion.finish(in_force, &name, since()).expect("suggested")
}

/// Whether each request is allowed to a bounded set that holds these files' policies and nothing else.
fn allowed_under(in_force: &InForce, files: &[(String, String)], part: &RecordedPart) -> Vec<bool> {
    let all: Vec<_> = in_force.files.iter().chain(files).cloned().collect();
    let set = policies_of(&all).expect("the loader takes it");
    let held = files.iter().map(|(file, _)| file.trim_end_matches(".yaml").parse::<PolicyName>().expect("a name"));
    let grants: Vec<Grant> = held.map(|policy| Grant { policy, expires_at: None }).collect();
    let asker = Asker { kind: crate::directory::CredentialKind::Bounded, grants: &grants, requester: None };
    let decide = |row: &Recorded| match Past::from(row).decide(&set, &|| None, asker).expect("told").again {
        Again::Allowed(allowed) => allowed.open_at(row.at).is_some(),
        Again::Refused(_) | Again::NoEndpoint(_) => false,
    };
    part.rows.iter().map(decide).collect()
}

const READER: &str = "version: 1\npolicy: a\nrules:\n  - { id: read, allow: [orders.list], clients: [192.0.2.0/24], response: { mask: { pointers: [/iban] } } }\n";

#[test]
fn a_suggestion_keeps_what_narrows_a_rule_and_says_what_held_policies_demand_besides() {
    let in_force = in_force(&[("a.yaml", READER)], Bounds::Bounded);
    let set = in_force.policies().expect("good");
    let part = trail(&set, &in_force.holders[0], &[Asked { target: "/v1/orders", day: 0, hour: 12 }]);
    let files = suggested(&in_force, &part).files;
    let text = files.first().map(|(_, text)| text.as_str()).expect("a file");
    assert!(text.contains("    clients: [\"192.0.2.0/24\"]\n"), "{text}");
    assert!(text.contains("# TO BE ADDED: ") && text.contains("#   a/read: mask /iban if the client is in"), "{text}");
}

#[test]
fn what_an_override_of_then_decided_is_out_of_scope() {
    let in_force = in_force(&[("a.yaml", READER)], Bounds::Bounded);
    let set = in_force.policies().expect("good");
    let mut part = trail(&set, &in_force.holders[0], &[Asked { target: "/v1/orders", day: 0, hour: 12 }]);
    part.rows[0].by_override = true;
    let mut replay = Replay::new(&in_force, &set, &set);
    replay.take(&part, &[]);
    let report = serde_json::to_value(replay.finish()).expect("JSON");
    assert_eq!(report["out_of_scope"], serde_json::json!({ "override of a schedule": 1 }), "{report:#}");
}

#[test]
fn a_suggestion_names_endpoints_with_counts_and_denied_requests_as_comments() {
    let reader = "version: 1\npolicy: a\nrules:\n  - { id: read, allow: [orders.list, orders.read, stock.read] }\n  - { id: less, deny: [orders.list], when: \"request.query['x'] == '1'\" }\n";
    let in_force = in_force(&[("a.yaml", reader)], Bounds::Bounded);
    let asked = |target, hour| Asked { target, day: 0, hour };
    let all = [
        asked("/v1/orders", 9),
        asked("/v1/orders", 10),
        asked("/v1/orders/5?secret=hush", 10),
        asked("/v1/orders?x=1", 11),
        asked("/v1/ping", 11),
    ];
    let set = in_force.policies().expect("good");
    let part = trail(&set, &in_force.holders[0], &all);
    let Suggested { requests, allowed, files, .. } = suggested(&in_force, &part);
    assert_eq!((requests, allowed), (5, 3));
    let [(file, text)] = files.as_slice() else { panic!("{files:#?}") };
    assert_eq!(file, "suggested-web-shop.yaml");
    for part in [
        "# Suggested, to be reviewed: what credential set `Web shop: ü?` (",
        "Nothing is granted by this file.\n",
        "# Looked at: 5 requests from 2026-11-01T00:00:00Z to 2026-11-28T00:00:00Z, 3 allowed and 2 denied.\n",
        "schedule: default\nrules:\n  - id: orders\n    allow:\n      - orders.list  # 2 requests, last 2026-11-23T10:00:00Z\n      - orders.read  # 1 request, last 2026-11-23T10:00:00Z\n",
        "  - id: no-1\n    deny: [orders.list]\n    when: \"request.query['x'] == '1'\"\n",
        "# Denied, and so not in the rules:\n#   GET /v1/orders, denied at policy (a/less): 1 request, last 2026-11-23T11:00:00Z\n#   GET /v1/ping, denied at policy: 1 request, last 2026-11-23T11:00:00Z\n",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    assert!(!text.contains("hush") && !text.contains("stock"), "{text}");
}

#[test]
fn requests_at_hours_of_several_schedules_make_a_policy_for_each() {
    let day = "version: 1\npolicy: a\nrules: [{ id: r, allow: [orders.list] }]\n";
    let always = "version: 1\npolicy: b\nschedule: exempt\nrules: [{ id: r, allow: [stock.read, ping] }]\n";
    let in_force = in_force(&[("a.yaml", day), ("b.yaml", always)], Bounds::Bounded);
    let asked = |target, hour| Asked { target, day: 1, hour };
    let set = in_force.policies().expect("good");
    let part =
        trail(&set, &in_force.holders[0], &[asked("/v1/orders", 9), asked("/v1/stock/1", 23), asked("/v1/ping", 9)]);
    let files = suggested(&in_force, &part).files;
    let names: Vec<_> = files.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!(names, ["suggested-web-shop-exempt.yaml", "suggested-web-shop-default.yaml"]);
    assert!(files[0].1.contains("stock.read") && !files[0].1.contains("- ping"), "{}", files[0].1);
    assert!(files[1].1.contains("orders.list") && files[1].1.contains("- ping"), "used by day only: {}", files[1].1);
}

#[test]
fn the_endpoints_of_a_batch_are_taken_from_its_row() {
    let all = "version: 1\npolicy: a\nrules: [{ id: r, allow: [orders.list, stock.read] }]\n";
    let in_force = in_force(&[("a.yaml", all)], Bounds::Unrestricted);
    let set = in_force.policies().expect("good");
    let mut part = trail(&set, &in_force.holders[0], &[Asked { target: "/v1/orders", day: 0, hour: 9 }]);
    part.rows[0].batch = Some("a batch of 3: `orders.list` (2), `stock.read` (1), `gone` (1)".into());
    let text = &suggested(&in_force, &part).files[0].1;
    assert!(text.contains("orders.list  # 1 request") && text.contains("stock.read  # 1 request"), "{text}");
}

#[test]
fn a_name_that_is_taken_is_refused_and_nothing_allowed_suggests_nothing() {
    let all = "version: 1\npolicy: a\nrules: [{ id: r, allow: [orders.list] }]\n";
    let in_force = in_force(&[("a.yaml", all)], Bounds::Bounded);
    let set = in_force.policies().expect("good");
    let holder = &in_force.holders[0];
    let finish = |target| {
        let mut suggestion = Suggestion::new(&in_force, &set, holder);
        suggestion.take(&trail(&set, holder, &[Asked { target, day: 0, hour: 9 }]), &[]);
        suggestion.finish(&in_force, &"a".parse().expect("a name"), since())
    };
    assert!(matches!(finish("/v1/orders"), Err(error) if error.message.contains("--name")));
    assert!(finish("/v1/ping").expect("nothing").files.is_empty());
}

#[test]
fn too_many_groups_are_counted_and_told_as_such() {
    let in_force = in_force(&[], Bounds::Bounded);
    let set = in_force.policies().expect("good");
    let mut replay = Replay::new(&in_force, &set, &set);
    let mut row = recorded(&set, &in_force.holders[0], &Asked { target: "/v1/ping", day: 0, hour: 9 }, 1);
    row.denied_at = None;
    let rows = (0..10_002).map(|number| Recorded {
        policy: Some("p".into()),
        rule: Some(format!("r{number}")),
        ..row.clone()
    });
    replay.take(&RecordedPart { rows: rows.collect(), ..RecordedPart::default() }, &[]);
    let report = serde_json::to_value(replay.finish()).expect("JSON");
    assert_eq!((&report["already"], &report["ungrouped"]), (&10_002.into(), &2.into()));
    assert_eq!(report["already_so"].as_array().map(Vec::len), Some(10_000));
}

/// Policies of up to four rules over the endpoints.
fn any_policy(name: &'static str) -> impl Strategy<Value = String> {
    let rule = (
        prop::sample::select(vec!["allow", "allow", "allow", "deny"]),
        prop::sample::subsequence(vec!["orders.list", "orders.read", "stock.read", "ping"], 1..=3),
        prop::sample::select(vec![
            "",
            "",
            ", when: 'request.query[\"x\"] == \"1\"'",
            ", when: \"request.query['x'] != '1'\"",
            ", when: 'now < timestamp(\"2026-11-25T00:00:00Z\")'",
            ", clients: [192.0.2.0/24]",
            ", clients: [198.51.100.0/24, \"2001:db8::/32\"]",
            ", until: '2026-11-26T00:00:00Z'",
            ", clients: [192.0.2.7], until: '2026-11-24T12:00:00Z', when: 'request.query.size() == 1'",
        ]),
    );
    let schedule = prop::sample::select(vec!["default", "exempt", "night"]);
    (prop::collection::vec(rule, 1..5), schedule).prop_map(move |(rules, schedule)| {
        let rules: Vec<String> = rules
            .iter()
            .enumerate()
            .map(|(number, (effect, endpoints, when))| {
                format!("{{ id: r{number}, {effect}: [{}]{when} }}", endpoints.join(", "))
            })
            .collect();
        format!("version: 1\npolicy: {name}\nschedule: {schedule}\nrules: [{}]\n", rules.join(", "))
    })
}

fn any_request() -> impl Strategy<Value = Asked> {
    let target = prop::sample::select(vec![
        "/v1/orders",
        "/v1/orders?x=1",
        "/v1/orders/5",
        "/v1/orders/5?x=1",
        "/v1/stock/A?x=2",
        "/v1/stock/B",
        "/v1/ping",
        "/v1/nowhere",
    ]);
    (target, 0..7_i64, 0..24_i64).prop_map(|(target, day, hour)| Asked { target, day, hour })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_trail_replayed_under_the_unchanged_folder_changes_nothing(
        a in any_policy("a"), b in any_policy("b"), asked in prop::collection::vec(any_request(), 1..40), free in any::<bool>(),
    ) {
        let kind = if free { Bounds::Unrestricted } else { Bounds::Bounded };
        let in_force = in_force(&[("a.yaml", &a), ("b.yaml", &b)], kind);
        let set = in_force.policies().expect("good");
        let part = trail(&set, &in_force.holders[0], &asked);
        let mut replay = Replay::new(&in_force, &set, &set);
        replay.take(&part, &[]);
        let report = serde_json::to_value(replay.finish()).expect("JSON");
        prop_assert_eq!(&report["same"], &serde_json::json!(asked.len()), "{:#}", report);
        prop_assert_eq!(&report["by_another_rule"], &serde_json::json!(0));
    }

    #[test]
    fn what_is_suggested_allows_exactly_what_was_allowed(
        a in any_policy("a"), b in any_policy("b"), asked in prop::collection::vec(any_request(), 1..40), free in any::<bool>(),
    ) {
        let kind = if free { Bounds::Unrestricted } else { Bounds::Bounded };
        let in_force = in_force(&[("a.yaml", &a), ("b.yaml", &b)], kind);
        let set = in_force.policies().expect("good");
        let part = trail(&set, &in_force.holders[0], &asked);
        let files = suggested(&in_force, &part).files;
        let was: Vec<bool> = part.rows.iter().map(|row| row.denied_at.is_none()).collect();
        let is = allowed_under(&in_force, &files, &part);
        prop_assert_eq!(was, is, "{}", files.iter().map(|(_, text)| text.as_str()).collect::<String>());
    }
}
