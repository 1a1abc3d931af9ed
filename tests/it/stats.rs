//! `audit stats`: requests counted in groups.

use serde_json::Value;

use crate::support::gateway::{Gateway, Setup};
use crate::support::process::{program, succeed};
use crate::support::recorder::Recorder;

/// Three requests that pass, one that no rule allows, and one without a valid token.
fn scene() -> (Gateway, Recorder) {
    let erp = Recorder::start();
    let gateway = Setup::new(erp.address()).start();
    gateway.set_api_key("erp-side-key-1");
    let token = gateway.token(&gateway.issue("acme", &["order-reader"]));
    for target in ["/v1/orders", "/v1/orders", "/v1/customers"] {
        assert_eq!(gateway.get(&token, target).status, 200);
    }
    assert_eq!(gateway.relay(&token, "POST", "/v1/orders", Some(b"{}")).status, 403);
    assert_eq!(gateway.get("erpa_tok_wrong", "/v1/orders").status, 401);
    gateway.audit("relay", 5);
    (gateway, erp)
}

fn stats(gateway: &Gateway, arguments: &[&str]) -> Vec<Value> {
    let all = [&["audit", "stats", "--kind", "relay", "-o", "json"], arguments].concat();
    let printed = succeed(gateway.folder.path(), &all, "");
    serde_json::from_str(&printed).expect("a list")
}

/// The groups with total, allowed and denied.
fn counts(groups: &[Value]) -> Vec<(Option<&str>, u64, u64, u64)> {
    let number = |group: &Value, key: &str| group[key].as_u64().expect("a number");
    groups
        .iter()
        .map(|group| {
            (group["group"].as_str(), number(group, "total"), number(group, "allowed"), number(group, "denied"))
        })
        .collect()
}

#[test]
fn requests_are_counted_by_endpoint_account_code_and_hour() {
    let (gateway, _erp) = scene();
    let by_endpoint = stats(&gateway, &["--by", "endpoint"]);
    assert_eq!(
        counts(&by_endpoint),
        [
            (Some("orders.list"), 2, 2, 0),
            (None, 1, 0, 1),
            (Some("customers.list"), 1, 1, 0),
            (Some("orders.create"), 1, 0, 1)
        ]
    );
    assert!(by_endpoint[0]["p50_ms"].is_number() && by_endpoint[1]["p95_ms"].is_null(), "{by_endpoint:#?}");
    let by_account = stats(&gateway, &["--by", "account"]);
    assert_eq!(counts(&by_account), [(Some("acme"), 4, 3, 1), (None, 1, 0, 1)]);
    let by_code = stats(&gateway, &["--by", "code", "--decision", "denied"]);
    assert_eq!(counts(&by_code), [(Some("not_permitted"), 1, 0, 1), (Some("token_invalid"), 1, 0, 1)]);
    let by_hour = stats(&gateway, &[]);
    assert_eq!(by_hour.len(), 25, "the last 24 hours, each of them");
    assert_eq!(counts(&by_hour).last(), Some(&(Some("2026-11-23T07:00:00Z"), 5, 3, 2)));
}

#[test]
fn the_table_has_bars_that_fit_the_terminal() {
    let (gateway, _erp) = scene();
    let print = |locale: &str| {
        let config = gateway.folder.path().join("erp-access.yaml");
        let mut command = program();
        command.env("LC_ALL", locale).arg("--config").arg(config).args(["audit", "stats", "--by", "code"]);
        let output = command.output().expect("printed");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let blocks = print("C.UTF-8");
    assert!(blocks.contains("████████████████████") && blocks.contains("token_invalid"), "{blocks}");
    let ascii = print("C");
    assert!(ascii.contains("####################") && ascii.is_ascii(), "{ascii}");
    let help = succeed(gateway.folder.path(), &["audit", "stats", "--help"], "");
    assert!(help.contains("--by <BY>") && help.contains("--since") && !help.contains("--last"), "{help}");
}
