//! What is looked into of bodies: conditions and batches on the way in, application errors on the way out.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use erp_access::control::Command;
use erp_access::domain::Code;
use serde_json::Value;

use crate::support::gateway::{Gateway, Setup};
use crate::support::http::{self, Connection, Response};
use crate::support::recorder::Recorder;

const ENDPOINTS: &str = "version: 1
upstream: erp
endpoints:
  - id: rpc.search
    methods: [POST]
    path: /v1/rpc
    upstream_path: /erp/rpc/
    body: { where: { /method: [search, count] }, batch: allowed, max_parts: 3 }
  - id: rpc.read
    methods: [POST]
    path: /v1/rpc
    upstream_path: /erp/rpc/
    body: { where: { /method: [read], /params/0: [1, true, \"1\"] }, batch: allowed }
  - id: rpc.write
    methods: [POST]
    path: /v1/rpc
    upstream_path: /erp/rpc/
    body: { where: { /method: [write] }, batch: allowed }
  - id: rpc.login
    methods: [POST]
    path: /v1/rpc
    upstream_path: /erp/rpc/
    body: { where: { /method: [login] } }
  - id: rpc.elsewhere
    methods: [POST]
    path: /v1/rpc
    upstream_path: /erp/other/
    body: { where: { /method: [elsewhere] }, batch: allowed }
  - id: sales.batch
    methods: [POST]
    path: /sales/$batch
    upstream_path: /odata/sales/$batch
    body: { batch: odata, max_parts: 4 }
  - id: sales.orders
    methods: [GET]
    path: /sales/Orders
    upstream_path: /odata/sales/Orders
  - id: sales.order
    methods: [GET, PATCH]
    path: /sales/Orders/{id}
    upstream_path: /odata/sales/Orders/{id}
  - id: sales.release
    methods: [POST]
    path: /sales/Release
    upstream_path: /odata/sales/Release
    body: { where: { /kind: [order] } }
  - id: sales.delete
    methods: [DELETE]
    path: /sales/Orders/{id}
    upstream_path: /odata/sales/Orders/{id}
  - id: sales.moved
    methods: [GET]
    path: /sales/Moved
    upstream_path: /odata/hr/Salaries
";

const CLERK: &str = "version: 1
policy: clerk
schedule: exempt
rules:
  - { id: rpc, allow: [rpc.search, rpc.read, rpc.login, rpc.elsewhere] }
  - { id: sales, allow: [sales.batch, sales.orders, sales.order, sales.release, sales.moved] }
  - { id: no-archive, deny: [sales.orders], when: 'request.query[\"archived\"] == \"true\"' }
";

const WRITER: &str = "version: 1
policy: writer
schedule: default
rules:
  - { id: write, allow: [rpc.write] }
limits: { requests: 3, per: 1m }
";

struct Scene {
    erp: Recorder,
    gateway: Gateway,
    token: String,
}

impl Scene {
    /// A client that holds these policies.
    fn holding(grants: &[&str]) -> Self {
        Self::at(Recorder::start(), grants, |setup| setup)
    }

    fn at(erp: Recorder, grants: &[&str], change: impl FnOnce(Setup) -> Setup) -> Self {
        let mut setup = Setup::new(erp.address());
        setup.policies.retain(|name, _| *name == "schedule.yaml");
        let setup =
            setup.policy("endpoints/erp.yaml", ENDPOINTS).policy("clerk.yaml", CLERK).policy("writer.yaml", WRITER);
        let gateway = change(setup).start();
        gateway.set_api_key("erp-side-key-1");
        let token = gateway.token(&gateway.issue("acme", grants));
        Self { erp, gateway, token }
    }

    fn rpc(&self, body: &str) -> Response {
        self.gateway.relay(&self.token, "POST", "/v1/rpc", Some(body.as_bytes()))
    }

    fn batch(&self, body: &str) -> Response {
        self.gateway.relay(&self.token, "POST", "/sales/$batch", Some(body.as_bytes()))
    }

    fn send(&self, target: &str, content_type: &str, body: &str) -> Response {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", content_type)];
        http::once(self.gateway.address, "POST", target, &headers, Some(body.as_bytes()))
    }

    /// The ERP got exactly this; the row, whose notes are returned, says that it was allowed.
    fn relayed(&self, response: &Response, target: &str, body: &str) -> Value {
        assert_eq!(response.status, 200, "{}", response.text());
        let seen = self.erp.take();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!((seen[0].target.as_str(), seen[0].body.as_slice()), (target, body.as_bytes()));
        let row = self.gateway.row_of(response);
        assert_eq!(row["decision"].as_str(), Some("allowed"));
        row
    }

    /// The client got this code, the ERP nothing, and the row's last verdict is of this step and says this.
    fn denied(&self, response: &Response, code: Code, step: &str, says: &str) -> Value {
        assert_eq!((response.status, response.code().as_str()), (code.status(), code.as_str()), "{says}");
        assert_eq!(self.erp.count(), 0, "the ERP saw nothing");
        let row = self.gateway.row_of(response);
        assert_eq!((row["decision"].as_str(), row["code"].as_str()), (Some("denied"), Some(code.as_str())));
        let last = row["verdicts"].as_array().and_then(|verdicts| verdicts.last()).expect("a verdict");
        assert_eq!((last[0].as_str(), last[1].as_str()), (Some(step), Some("denied")), "{row:#}");
        assert!(last[2].as_str().is_some_and(|note| note.contains(says)), "no `{says}` in {last}");
        row
    }
}

fn note(row: &Value, step: &str) -> String {
    let verdicts = row["verdicts"].as_array().expect("verdicts");
    let verdict = verdicts.iter().find(|verdict| verdict[0] == step).expect("the step");
    verdict[2].as_str().expect("a note").to_owned()
}

#[test]
fn values_in_a_body_are_compared_with_their_type_and_the_body_passes_unchanged() {
    let scene = Scene::holding(&["clerk"]);
    for body in [
        r#" { "method" : "read", "params":[ 1 , {"deep":[[],{}]} ], "x":1.50e3 } "#,
        r#"{"params":[true],"method":"re\u0061d"}"#,
        "{\"method\":\"read\",\r\n\"params\":[\"1\"]}",
    ] {
        let row = scene.relayed(&scene.rpc(body), "/erp/rpc/", body);
        assert_eq!(row["endpoint"].as_str(), Some("rpc.read"));
    }
    let fits = "has a condition that fits";
    for body in [
        r#"{"method":"read","params":[2]}"#,
        r#"{"method":"read","params":[false]}"#,
        r#"{"method":"read","params":["true"]}"#,
        r#"{"method":"read","params":[[1]]}"#,
        r#"{"method":"read","params":[1.5]}"#,
        r#"{"method":"read"}"#,
        r#"{"method":"read "}"#,
        "{}",
    ] {
        scene.denied(&scene.rpc(body), Code::NotPermitted, "endpoint", fits);
    }
}

#[test]
fn a_body_that_two_parsers_read_differently_never_reaches_the_erp() {
    let scene = Scene::holding(&["clerk"]);
    let deep = format!(r#"{{"method":"search","x":{}{}}}"#, "[".repeat(80), "]".repeat(80));
    for (body, says) in [
        (r#"{"method":"search","method":"write"}"#, "a key occurs twice"),
        (r#"{"method":"search","x":[{"a":1,"\u0061":2}]}"#, "a key occurs twice"),
        (r#"{"method":"search","METHOD":"write"}"#, "only in capitals"),
        (r#"{"method":"search","method\u0000":"write"}"#, "behind a NUL"),
        (r#"{"method":"search","params":[1.0]}"#, "a number that decides"),
        (r#"{"method":"search","params":[9007199254740993]}"#, "a number that decides"),
        (r#"{"method":"search","x":1e400}"#, "not exactly one JSON document"),
        (r#"{"method":"search","x":"\ud800"}"#, "not exactly one JSON document"),
        (r#"{"method":"search"}{"method":"write"}"#, "not exactly one JSON document"),
        ("\u{feff}{\"method\":\"search\"}", "not exactly one JSON document"),
        (deep.as_str(), "deeper than 64 levels"),
        (r#""search""#, "not an object"),
        ("", "not exactly one JSON document"),
    ] {
        scene.denied(&scene.rpc(body), Code::BadRequest, "endpoint", says);
    }
}

#[test]
fn a_json_rpc_batch_passes_where_every_part_is_permitted() {
    let scene = Scene::holding(&["clerk", "writer"]);
    let body = r#"[{"method":"search"}, {"method":"write","id":2},{"method":"search","id":3}]"#;
    let row = scene.relayed(&scene.rpc(body), "/erp/rpc/", body);
    assert_eq!(note(&row, "endpoint"), "a batch of 3: `rpc.search` (2), `rpc.write` (1)");
    let policy = note(&row, "policy");
    assert_eq!(policy, "`rpc.search` allowed by clerk/rpc; `rpc.write` allowed by writer/write");
    assert_eq!(note(&row, "schedule"), "exempt, `default` is open");
    let alone = r#"[{"method":"read","params":[1]}]"#;
    scene.relayed(&scene.rpc(alone), "/erp/rpc/", alone);
}

#[test]
fn a_json_rpc_batch_with_one_part_that_is_not_permitted_is_denied_whole() {
    let scene = Scene::holding(&["clerk"]);
    let permitted = Code::NotPermitted;
    for (body, code, step, says) in [
        (r#"[{"method":"search"},{"method":"write"}]"#, permitted, "policy", "no rule of a granted policy"),
        (r#"[{"method":"search"},{"method":"drop"}]"#, permitted, "endpoint", "part 2 of the batch: no endpoint"),
        (r#"[{"method":"search"},{}]"#, permitted, "endpoint", "part 2 of the batch: no endpoint"),
        (r#"[{"method":"login"}]"#, permitted, "endpoint", "`rpc.login` does not allow a batch"),
        (r#"[{"method":"search"},{"method":"elsewhere"}]"#, permitted, "endpoint", "part 2 of the batch: its endpoint"),
        (
            r#"[{"method":"search"},{"method":"read","params":[1]},{"method":"search"},{"method":"search"}]"#,
            permitted,
            "endpoint",
            "part 1 of the batch: its endpoint `rpc.search` does not allow a batch of so many parts",
        ),
        (r#"[{"method":"search"},[{"method":"search"}]]"#, Code::BadRequest, "endpoint", "a list of objects"),
        ("[]", Code::BadRequest, "endpoint", "a list of objects that is not empty"),
        (r#"[{"method":"search","method":"search"}]"#, Code::BadRequest, "endpoint", "a key occurs twice"),
    ] {
        scene.denied(&scene.rpc(body), code, step, says);
    }
    let long = format!("[{}]", [r#"{"method":"search"}"#; 21].join(","));
    scene.denied(&scene.rpc(&long), Code::BadRequest, "endpoint", "more parts than allowed");
    let row = scene.gateway.row_of(&scene.rpc(r#"[{"method":"search"},{"method":"write"}]"#));
    assert_eq!(row["endpoint"].as_str(), Some("rpc.write"), "the part that stopped it");
}

#[test]
fn each_part_of_a_batch_has_its_own_hours_kill_switch_and_limit() {
    let scene = Scene::holding(&["clerk", "writer"]);
    let write = r#"{"method":"write"}"#;
    let mixed = format!(r#"[{{"method":"search"}},{write}]"#);
    scene.relayed(&scene.rpc(&mixed), "/erp/rpc/", &mixed);
    let twice = format!("[{write},{write}]");
    scene.relayed(&scene.rpc(&twice), "/erp/rpc/", &twice);
    scene.denied(&scene.rpc(&mixed), Code::RateLimited, "limits", "3 requests per");
    scene.gateway.clock.advance(Duration::from_mins(1));
    let many = format!("[{write},{write},{write},{write}]");
    scene.denied(&scene.rpc(&many), Code::RateLimited, "limits", "the batch has 4 operations");

    let scope: erp_access::kill_switch::Scope = "policy:writer".parse().expect("a scope");
    let engage = Command::KillEngage { scope: scope.clone(), message: None, reason: "test".into(), until: None };
    scene.gateway.operate(engage).expect("engaged");
    scene.denied(&scene.rpc(&mixed), Code::KillSwitchEngaged, "scoped_kill_switch", "policy:writer");
    scene.gateway.operate(Command::KillRelease { scope, reason: "test".into() }).expect("released");

    scene.gateway.clock.set("2026-11-23T20:00:00+05:00".parse().expect("a time"));
    let night = Scene { token: scene.gateway.token(&scene.gateway.issue("night", &["clerk", "writer"])), ..scene };
    night.denied(&night.rpc(&mixed), Code::OutsideSchedule, "schedule", "`default` is closed");
    let searches = r#"[{"method":"search"},{"method":"count"}]"#;
    night.relayed(&night.rpc(searches), "/erp/rpc/", searches);
}

#[test]
fn an_odata_batch_passes_where_every_request_in_it_would_pass_alone() {
    let scene = Scene::holding(&["clerk"]);
    let body = r#"{ "requests": [
        {"id":"1","method":"get","url":"Orders?$top=5&archived=false","headers":{"Accept":"application/json"}},
        {"id":"2","atomicityGroup":"g","method":"PATCH","url":"/odata/sales/Orders/7","body":{"State":"open"}},
        {"id":"3","dependsOn":["1"],"method":"post","url":"Release","headers":{"content-type":"application/json"},
         "body":{"kind":"order","n":1.0}}]}"#;
    let response = scene.batch(body);
    // A path from the root is the ERP's own, and that is not what the gateway maps.
    scene.denied(&response, Code::NotPermitted, "endpoint", "part 2 of the batch: no endpoint has its method and path");
    let body = body.replace("/odata/sales/Orders/7", "Orders/7");
    let row = scene.relayed(&scene.batch(&body), "/odata/sales/$batch", &body);
    assert_eq!(row["endpoint"].as_str(), Some("sales.batch"));
    let named = note(&row, "endpoint");
    assert_eq!(named, "a batch of 4: `sales.batch` (1), `sales.order` (1), `sales.orders` (1), `sales.release` (1)");
}

#[test]
fn an_odata_batch_with_a_request_that_would_not_pass_alone_is_denied_whole() {
    let scene = Scene::holding(&["clerk"]);
    let one =
        |part: &str| format!(r#"{{"requests":[{{"id":"0","method":"GET","url":"Orders"}},{{"id":"1",{part}}}]}}"#);
    for (part, step, says) in [
        (r#""method":"DELETE","url":"Orders/7""#, "policy", "no rule of a granted policy allows it"),
        (r#""method":"GET","url":"Orders?archived=true""#, "policy", "denied by rule `clerk/no-archive`"),
        (r#""method":"GET","url":"Secrets""#, "endpoint", "part 2 of the batch: no endpoint has its method and path"),
        (r#""method":"POST","url":"Release","body":{"kind":"all"}"#, "endpoint", "part 2 of the batch: no endpoint on"),
        (r#""method":"POST","url":"Release""#, "endpoint", "the body is not plain JSON"),
        (
            r#""method":"POST","url":"Release","headers":{"content-type":"text/plain"},"body":{"kind":"order"}"#,
            "endpoint",
            "the body is not plain JSON",
        ),
        (r#""method":"POST","url":"Release","body":["order"]"#, "endpoint", "its body has no single meaning"),
        (r#""method":"POST","url":"Release","body":{"kind":"order","Kind":"x"}"#, "endpoint", "only in capitals"),
        (r#""method":"GET","url":"Orders","body":{}"#, "endpoint", "comes without a body"),
        (r#""method":"POST","url":"$batch","body":{"requests":[]}"#, "endpoint", "refers to another part"),
        (r#""method":"POST","url":"/sales/$batch","body":{"requests":[]}"#, "endpoint", "it is a batch itself"),
        (r#""method":"GET","url":"Orders/$batch""#, "endpoint", "carries requests that no rule would see"),
        (r#""method":"GET","url":"$0/Lines""#, "endpoint", "refers to another part"),
        (r#""method":"GET","url":"%240/Lines""#, "endpoint", "refers to another part"),
        (r#""method":"GET","url":"http://evil.test/sales/Orders""#, "endpoint", "names a scheme or a host"),
        (r#""method":"GET","url":"//evil.test/sales/Orders""#, "endpoint", "names a scheme or a host"),
        (r#""method":"GET","url":"../hr/Salaries""#, "endpoint", "dot segment"),
        (r#""method":"GET","url":"Orders/%2e%2e/x""#, "endpoint", "dot segment"),
        (r#""method":"GET","url":"Order%73""#, "endpoint", "not in canonical form"),
        (r#""method":"GET","url":"Orders#x""#, "endpoint", "a character that no URI may hold"),
        (r#""method":"GET","url":"""#, "endpoint", "an empty segment"),
        (r#""method":"GET","url":"?x""#, "endpoint", "an empty segment"),
        (r#""method":"GET","url":"Moved""#, "endpoint", "`sales.moved` is at another place of the ERP"),
        (r#""method":"TRACE","url":"Orders""#, "endpoint", "its method is none of"),
        (r#""method":"GET","url":"Orders","headers":{"X-HTTP-Method":"DELETE"}"#, "endpoint", "one of its headers"),
        (r#""method":"GET","url":"Orders","headers":{"Authorization":"Basic x"}"#, "endpoint", "one of its headers"),
        (r#""method":"GET","url":"Orders","headers":{"accept":"a","Accept":"b"}"#, "endpoint", "one of its headers"),
    ] {
        let body = one(part);
        scene.denied(&scene.batch(&body), Code::NotPermitted, step, says);
    }
}

#[test]
fn what_is_no_odata_batch_is_denied() {
    let scene = Scene::holding(&["clerk"]);
    let get = |id: u8| format!(r#"{{"id":"{id}","method":"GET","url":"Orders"}}"#);
    let five: Vec<_> = (0..5).map(get).collect();
    for (body, says) in [
        (r#"{"requests":[]}"#.to_owned(), "holds no request"),
        (format!(r#"{{"requests":[{}]}}"#, five.join(",")), "more requests than `max_parts` allows"),
        (format!(r#"{{"requests":[{},{}]}}"#, get(1), get(1)), "the same `id`"),
        (format!(r#"{{"requests":[{}],"x":1}}"#, get(1)), "has a member more"),
        (r#"{"requests":[{"id":"1","method":"GET","url":"Orders","Url":"x"}]}"#.to_owned(), "has a member more"),
        (r#"{"requests":[{"id":"1","method":"GET"}]}"#.to_owned(), "no OData batch"),
        (r#"{"requests":[{"id":1,"method":"GET","url":"Orders"}]}"#.to_owned(), "no OData batch"),
        (r#"{"requests":[{"id":"1","method":"GET","url":"x","url":"Orders"}]}"#.to_owned(), "a key occurs twice"),
        (r#"{"requests":[["1","GET","Orders"]]}"#.to_owned(), "no OData batch"),
        (r#"{"requests":[{"id":"1","method":"GET","url":"Orders","headers":[]}]}"#.to_owned(), "no OData batch"),
        (format!("[{}]", get(1)), "it is not an object"),
    ] {
        scene.denied(&scene.batch(&body), Code::BadRequest, "endpoint", says);
    }
    for content_type in ["multipart/mixed", "multipart/form-data; boundary=b", "text/plain"] {
        let response = scene.send("/sales/$batch", content_type, &one_part("GET Orders HTTP/1.1"));
        scene.denied(&response, Code::UnsupportedMediaType, "endpoint", "a batch must be plain JSON");
    }
    let without = Scene::holding(&["writer"]);
    let body = format!(r#"{{"requests":[{}]}}"#, get(1));
    let row = without.denied(&without.batch(&body), Code::NotPermitted, "policy", "no rule of a granted policy");
    assert_eq!(row["endpoint"].as_str(), Some("sales.batch"));
}

/// A batch of one request with this line.
fn one_part(line: &str) -> String {
    format!(
        "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n{line}\r\nAccept: application/json\r\n\r\n\r\n--b--\r\n"
    )
}

#[test]
fn a_multipart_batch_is_decided_part_by_part_and_passes_unchanged() {
    let scene = Scene::holding(&["clerk"]);
    let send = |body: &str| scene.send("/sales/$batch", "multipart/mixed; boundary=b", body);
    let body = "--b\r\nContent-Type: application/http\r\n\r\nGET Orders?$top=1 HTTP/1.1\r\n\r\n\r\n--b\r\n\
        Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: application/http\r\nContent-ID: 1\r\n\r\n\
        POST Release HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{\"kind\":\"order\"}\r\n--c--\r\n--b--\r\n";
    let row = scene.relayed(&send(body), "/odata/sales/$batch", body);
    assert_eq!(note(&row, "endpoint"), "a batch of 3: `sales.batch` (1), `sales.orders` (1), `sales.release` (1)");
    for (line, step, says) in [
        ("DELETE Orders/7 HTTP/1.1", "policy", "no rule of a granted policy allows it"),
        ("GET Orders?archived=true HTTP/1.1", "policy", "denied by rule"),
        ("GET Secrets HTTP/1.1", "endpoint", "no endpoint has its method and path"),
        ("GET http://erp.test/odata/sales/Orders HTTP/1.1", "endpoint", "names a scheme or a host"),
        ("GET Orders HTTP/1.1\r\nX-HTTP-Method: DELETE", "endpoint", "one of its headers"),
        ("GET Orders HTTP/1.1\r\nContent-Length: 5", "endpoint", "`Content-Length` is not the length"),
    ] {
        scene.denied(&send(&one_part(line)), Code::NotPermitted, step, says);
    }
    for body in [
        body.replace("\"order\"", "\"all\""),
        body.replace("application/json", "text/plain"),
        body.replace("{\"kind\"", "{\"kind\":\"all\",\"kind\""),
    ] {
        scene.denied(&send(&body), Code::NotPermitted, "endpoint", "part 2 of the batch");
    }
    scene.denied(&send(&body.replace("\r\n--c--", "")), Code::BadRequest, "endpoint", "a boundary is missing");
    scene.denied(
        &scene.send("/v1/rpc", "multipart/mixed; boundary=b", body),
        Code::UnsupportedMediaType,
        "endpoint",
        "not plain JSON",
    );
}

const ERROR: &str = r#"{"id":4,"error":["UserError",["no stock",""]]}"#;

/// A gateway whose ERP answers with this, and knows application errors by `/error`.
fn answering(erp: Recorder) -> Scene {
    Scene::at(erp, &["clerk"], |mut setup| {
        setup.upstream.push_str("    application_error: { pointer: /error }\n");
        setup
    })
}

/// Code, end and detail of the outcome; the client's answer is the ERP's.
fn outcome(scene: &Scene, body: &[u8]) -> (Option<String>, Option<String>) {
    let response = scene.rpc(r#"{"method":"search"}"#);
    assert_eq!((response.status, response.body.as_slice()), (200, body));
    let row = scene.gateway.row_of(&response);
    assert_eq!(row["outcome"]["ended"].as_str(), Some("completed"), "{row:#}");
    assert_eq!(row["decision"].as_str(), Some("allowed"));
    let text = |name: &str| row["outcome"][name].as_str().map(str::to_owned);
    (text("code"), text("detail"))
}

#[test]
fn an_error_inside_of_an_answer_is_told_in_the_audit_row_and_the_client_gets_the_answer() {
    let scene = answering(Recorder::answering("application/json", &[], ERROR.as_bytes()));
    let (code, detail) = outcome(&scene, ERROR.as_bytes());
    assert_eq!(code.as_deref(), Some("upstream_app_error"));
    assert!(detail.is_some_and(|detail| detail.contains("application_error") && !detail.contains("no stock")));
    let found = scene.gateway.operate(Command::AuditSearch(Box::new(erp_access::control::AuditQuery {
        last: 10,
        code: Some("upstream_app_error".into()),
        ..Default::default()
    })));
    assert_eq!(found.expect("rows").as_array().map(Vec::len), Some(1), "it is found by its code");
}

#[test]
fn answers_that_meet_no_rule_have_no_code() {
    let long = format!(r#"{{"error":1,"x":"{}"}}"#, "x".repeat(70_000));
    for (content_type, body) in
        [("application/json", r#"{"id":4,"result":[1]}"#), ("application/json", long.as_str()), ("text/html", ERROR)]
    {
        let scene = answering(Recorder::answering(content_type, &[], body.as_bytes()));
        assert_eq!(outcome(&scene, body.as_bytes()), (None, None), "{body}");
    }
    let without = Scene::at(Recorder::answering("application/json", &[], ERROR.as_bytes()), &["clerk"], |setup| setup);
    assert_eq!(outcome(&without, ERROR.as_bytes()), (None, None), "there is no rule");
}

#[test]
fn no_compression_is_asked_for_where_answers_are_looked_into() {
    let looked_into = answering(Recorder::answering("application/json", &[], ERROR.as_bytes()));
    let plain = Scene::at(Recorder::answering("application/json", &[], ERROR.as_bytes()), &["clerk"], |setup| setup);
    for (scene, passed) in [(looked_into, false), (plain, true)] {
        let bearer = format!("Bearer {}", scene.token);
        let headers =
            [("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Accept-Encoding", "gzip")];
        http::once(scene.gateway.address, "POST", "/v1/rpc", &headers, Some(br#"{"method":"search"}"#));
        assert_eq!(scene.erp.take()[0].header("accept-encoding").is_some(), passed);
    }
}

#[test]
fn an_answer_that_is_looked_into_is_not_held_back() {
    let (first, rest) = ERROR.split_at(10);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    let (arrived, arrival) = mpsc::channel::<()>();
    let erp = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a request");
        let _ = stream.read(&mut [0; 4096]);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(format!("{head}a\r\n{first}\r\n").as_bytes()).expect("sent");
        // The rest comes only when the client has the first bytes.
        arrival.recv_timeout(Duration::from_mins(1)).expect("the client has the beginning");
        stream.write_all(format!("{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len()).as_bytes()).expect("sent");
    });
    let scene = Scene::at(Recorder::start(), &["clerk"], |mut setup| {
        setup.peers = vec![address];
        setup.upstream.push_str("    application_error: { pointer: /error }\n");
        setup
    });
    let mut connection = Connection::open(scene.gateway.address);
    let bearer = format!("Bearer {}", scene.token);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    connection.send(&http::render("POST", "/v1/rpc", &headers, Some(br#"{"method":"search"}"#))).expect("sent");
    let (status, headers) = connection.head().expect("a head");
    // The size in hex, the first bytes, and the end of the chunk.
    assert_eq!((status, &connection.some(15)[3..13]), (200, first.as_bytes()));
    arrived.send(()).expect("told");
    let behind = connection.some(rest.len() + 6);
    assert_eq!(&behind[4..behind.len() - 2], rest.as_bytes());
    erp.join().expect("done");
    let row = scene.gateway.row_of(&Response { status, headers, body: Vec::new(), whole: true });
    assert_eq!(row["outcome"]["code"].as_str(), Some("upstream_app_error"));
}
